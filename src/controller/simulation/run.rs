//! One seed: a world, a storm, and a quiet end in which everything converges.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::edges::SimEdges;
use super::ledger::{SimBook, Store};
use super::random::Random;
use super::repository::{PEOPLE, Repository, Signed, Source};
use super::script;
use super::target::{Target, by_hand};
use super::world::{Crash, Faults, Shared, Stop, Violation, World};
use crate::controller::act::{Stopped, act};
use crate::controller::assess::{Settings, assess};
use crate::controller::edges::{LedgerError, Rendered};
use crate::core::commit::CommitId;
use crate::core::fleet::{self, Member};
use crate::core::freeze;
use crate::core::guard_digest::guard_digest;
use crate::core::guards::{FleetGuards, Guards, Limit, Mode, TrustPolicy};
use crate::core::plan::Details;
use crate::core::resource::{Desired, Digest};
use crate::core::state::{Identity, LatchName, State};

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Crash at this step as well.
    pub crash_at: Option<u64>,
    /// Print what happens.
    pub verbose: bool,
    /// How many things happen before it is quiet; chosen by the seed if absent.
    pub length: Option<usize>,
}

/// What came of a seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// The digest of everything that happened.
    pub trace: u64,
    /// How many steps there were.
    pub steps: u64,
    /// Writes that landed.
    pub written: u64,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
}

/// Counted cycles within which a quiet world must be converged.
const QUIET_CYCLES: usize = 200;

/// How a cycle ended.
enum Ended {
    Done { again: bool },
    Crashed,
    Broken,
}

/// One process of the controller with what it keeps in memory.
struct Controller {
    world: Shared,
    pid: usize,
    store: usize,
    parts: Vec<(SimBook, State)>,
}

impl Controller {
    fn start(world: &Shared, store: usize) -> Self {
        let pid = world.borrow_mut().start(store);
        let apps = world.borrow().settings.len();
        let parts = (0..apps).map(|app| SimBook::open(world, pid, app)).collect();
        Self { world: world.clone(), pid, store, parts }
    }

    /// Ends the process and starts another one: all that is left is what was durable.
    fn restart(&mut self) {
        self.world.borrow_mut().kill(self.pid);
        *self = Self::start(&self.world, self.store);
    }

    /// Judges the applications of the repository together, as the group of the real loop does.
    fn judge_fleet(&mut self, tip: &Result<CommitId, Arc<str>>) {
        let mut members = Vec::new();
        for (app, (book, state)) in self.parts.iter_mut().enumerate() {
            book.refresh(state);
            let world = self.world.borrow();
            let rendered = tip.as_ref().ok().map(|tip| world.repository.render(tip, app));
            let missing = Desired { inputs: Digest::of_parts([b"missing"]), wants: Vec::new() };
            let desired = match &rendered {
                Some(Rendered::Desired(desired)) => Some(desired.as_ref()),
                Some(Rendered::Missing(_)) => Some(&missing),
                Some(Rendered::Broken(_)) | None => None,
            };
            let settings = &world.settings[app];
            members.push(Member::new(&settings.name, state, desired, &settings.guards, |_| Details::new()));
        }
        let mut world = self.world.borrow_mut();
        let judged = fleet::judge(&members, &world.fleet);
        for (settings, member) in world.settings.iter_mut().zip(&members) {
            settings.fleet = judged.clone().filter(|_| !member.magnitude.is_zero());
        }
    }

    fn cycle(&mut self) -> Ended {
        let tip = self.world.borrow_mut().fetch();
        if self.parts.len() > 1 {
            self.judge_fleet(&tip);
        }
        let mut again = false;
        for app in 0..self.parts.len() {
            let ended = catch_unwind(AssertUnwindSafe(|| self.cycle_of(app, tip.clone())));
            match ended {
                Ok(Ok(more)) => again |= more,
                Ok(Err(_)) => {}
                Err(payload) => return self.unwound(payload.as_ref()),
            }
        }
        Ended::Done { again }
    }

    fn unwound(&self, payload: &(dyn Any + Send)) -> Ended {
        if payload.is::<Crash>() {
            return Ended::Crashed;
        }
        if !payload.is::<Stop>() {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let violation = Violation { invariant: "panic", message: text.unwrap_or_default() };
            self.world.borrow_mut().violation.get_or_insert(violation);
        }
        Ended::Broken
    }

    fn cycle_of(&mut self, app: usize, tip: Result<CommitId, Arc<str>>) -> Result<bool, LedgerError> {
        let (book, state) = &mut self.parts[app];
        book.refresh(state);
        let mut edges = SimEdges::open(&self.world, self.pid, app, Some(tip));
        let settings: Settings = self.world.borrow().settings[app].clone();
        let assessment = assess(&settings, &mut edges, book, state)?;
        self.world.borrow_mut().show(self.store, app, &assessment);
        let held: Vec<_> = assessment.judgement.standing.iter().map(|held| held.name.as_str()).collect();
        self.world.borrow_mut().note(|| {
            format!(
                "assessed {app}: {held:?}, {} to promote, {} parked, {} in conflict, {} to heal, {} drift",
                assessment.promote.ops.len(),
                assessment.promote.parked.len(),
                assessment.comparison.conflicts.len(),
                assessment.heal.ops.len(),
                assessment.comparison.drift.len()
            )
        });
        for parked in &assessment.promote.parked {
            self.world.borrow_mut().note(|| format!("parked: {} {}", parked.op.id, parked.digest));
        }
        let stops = act(&settings.name, &assessment, &mut edges, book, state)?;
        self.world.borrow_mut().note(|| format!("acted on {app}: {stops:?}"));
        Ok(stops.iter().any(|(_, stopped)| matches!(stopped, Stopped::Again(_))))
    }
}

fn limit(random: &mut Random, over: u32, percent: u32) -> Limit {
    match random.below(12) {
        0 => Limit::Disabled,
        1 => Limit::Fixed(0),
        2 | 3 => Limit::Relative { over: over / 2, percent, at_most: None },
        _ => Limit::Relative { over, percent, at_most: None },
    }
}

fn guards(random: &mut Random) -> Guards {
    let mut guards = Guards { mode: Mode::Converge, ..Guards::default() };
    if random.chance(500) {
        guards.delete_halt = limit(random, 4, 10);
        guards.change_halt = limit(random, 8, 30);
        guards.drift_halt = limit(random, 4, 20);
        guards.write_cap =
            Limit::Relative { over: 3 + u32::try_from(random.below(8)).unwrap_or(0), percent: 10, at_most: None };
        guards.delete_cap =
            Limit::Relative { over: 1 + u32::try_from(random.below(3)).unwrap_or(0), percent: 2, at_most: None };
    }
    if random.chance(200) {
        guards.growth_halt = None;
    }
    if random.chance(200) {
        guards.group_halt = None;
    }
    if random.chance(100) {
        guards.empty_desired_halts = false;
    }
    if random.chance(200) {
        guards.window_deletes.clear();
        guards.window_changes.clear();
    }
    if random.chance(300) {
        guards.drift.grace = Duration::from_secs(60);
    }
    if random.chance(300) {
        guards.protected.push("db/**".into());
    }
    guards
}

fn world(seed: u64, verbose: bool) -> World {
    let mut random = Random::new(seed);
    let apps = if random.chance(200) { 2 + random.below(2) } else { 1 };
    let mut settings = Vec::new();
    let mut sources = Vec::new();
    let mut targets = Vec::new();
    for app in 0..apps {
        let guards = guards(&mut random);
        let policy = TrustPolicy { approvers: vec![PEOPLE[1].into(), PEOPLE[2].into()], ..TrustPolicy::default() };
        let target = Digest::of_parts([format!("target-{app}")]);
        settings.push(Settings {
            name: format!("app-{app}").into(),
            guards_digest: guard_digest(&guards, &policy, target),
            guards,
            policy,
            identity: Identity {
                url: "https://example.org/r.git".into(),
                branch: "main".into(),
                path: format!("app-{app}").into(),
                renderer: "plain 1".into(),
                target: format!("target-{app}").into(),
            },
            fleet: None,
            unreliable: None,
            claims: crate::core::claims::Claims::default(),
        });
        let size = [1, 2, 3, 4, 8, 12, 20, 20, 30, 40][random.below(10)];
        let tree = script::tree(size);
        let mut there = Target::default();
        for (id, thing) in &tree {
            if random.chance(300) {
                there.put(id, thing, by_hand(false, None), 0);
            }
            if random.chance(50)
                && let Some(object) = there.objects.get_mut(id)
            {
                object.dependants = 8;
            }
        }
        sources.push(Source::Tree(tree));
        targets.push(there);
    }
    let repository = Repository::new(sources, World::beginning());
    let mut world = World::new(random, settings, FleetGuards::default(), repository, targets, verbose);
    world.stores.push(Store::new("ledger-0".to_owned(), apps));
    world
}

fn faults(random: &mut Random) -> Faults {
    let rate = |random: &mut Random, most: usize| u32::try_from(random.below(most)).unwrap_or(0);
    let mut faults = Faults { meanwhile: rate(random, 25), slow: rate(random, 400), ..Faults::default() };
    // Not everything at once: a world in which nothing ever succeeds shows nothing.
    for _ in 0..random.below(4) {
        match random.below(8) {
            0 => faults.observe = rate(random, 150),
            1 => faults.unread = rate(random, 40),
            2 => faults.fetch = rate(random, 200),
            3 => faults.refuse = rate(random, 500),
            4 => faults.unknown = rate(random, 500),
            5 => faults.claim = rate(random, 200),
            6 => faults.before = rate(random, 30),
            _ => faults.after = rate(random, 30),
        }
    }
    faults
}

/// Runs one seed.
pub fn run(seed: u64, options: Options) -> Ran {
    let mut world = world(seed, options.verbose);
    world.crash_at = options.crash_at;
    let length = 10 + world.random.below(50);
    let world: Shared = Rc::new(RefCell::new(world));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut controller = Controller::start(&world, 0);
        if storm(&world, &mut controller, options.length.unwrap_or(length)) {
            calm(&world, &mut controller);
        }
    }));
    if let Err(payload) = ended
        && !payload.is::<Stop>()
    {
        std::panic::resume_unwind(payload);
    }
    let world = world.borrow();
    Ran { trace: world.trace(), steps: world.steps, written: world.written, violation: world.violation.clone() }
}

/// Runs cycles until nothing asks for another one at once; returns whether nothing was broken.
fn cycles(controller: &mut Controller) -> bool {
    for _ in 0..4 {
        match controller.cycle() {
            Ended::Done { again: true } => {}
            Ended::Done { again: false } => return true,
            Ended::Crashed => controller.restart(),
            Ended::Broken => return false,
        }
    }
    true
}

fn storm(world: &Shared, controller: &mut Controller, length: usize) -> bool {
    let crashes = world.borrow_mut().random.chance(500);
    for step in 0..length {
        {
            let mut world = world.borrow_mut();
            let world = &mut *world;
            if step % 6 == 0 {
                world.faults = faults(&mut world.random);
                if world.random.chance(300) || step == 0 {
                    world.faults = Faults::default();
                }
            }
            for _ in 0..world.random.below(3) {
                script::happen(world, controller.store);
            }
            let pass = [2, 30, 185, 185, 185, 185, 400, 1900, 4000][world.random.below(9)];
            world.pass(pass);
            if crashes && world.random.chance(250) {
                world.crash_at = Some(world.steps + 1 + world.random.below(60) as u64);
            }
            if world.random.chance(10) {
                world.reboot();
            }
        }
        if !cycles(controller) {
            return false;
        }
    }
    true
}

/// The faults are over, and somebody looks after what is held: everything must converge, and stay so.
fn calm(world: &Shared, controller: &mut Controller) {
    {
        let mut world = world.borrow_mut();
        world.faults = Faults::default();
        world.crash_at = None;
        let behind = world.skew < 0;
        world.note(|| "it is quiet".to_owned());
        if behind {
            world.skew = 0;
        }
        world.local = vec![None; world.settings.len()];
        let store = controller.store;
        world.operator_thaw(store);
        let sources = good(&mut world);
        world.repository.revoked.clear();
        world.push(sources, BTreeMap::new(), Signed::By(0));
    }
    for _ in 0..QUIET_CYCLES {
        world.borrow_mut().pass(185);
        if !cycles(controller) {
            return;
        }
        let mut inner = world.borrow_mut();
        if (0..inner.settings.len()).all(|app| unconverged(&inner, app).is_none()) {
            let written = inner.written;
            inner.pass(185);
            drop(inner);
            if !cycles(controller) {
                return;
            }
            let mut inner = world.borrow_mut();
            if inner.written != written {
                inner.broken("stable", "a converged target was written to".to_owned());
            }
            return;
        }
        for app in 0..inner.settings.len() {
            look_after(&mut inner, controller.store, app);
        }
    }
    let mut inner = world.borrow_mut();
    let held: Vec<_> = inner.eyes.values().map(|eye| eye.held.clone()).collect();
    let why: Vec<String> = (0..inner.settings.len()).filter_map(|app| unconverged(&inner, app)).collect();
    inner.broken("converges", format!("after {QUIET_CYCLES} quiet cycles {why:?}; held: {held:?}"));
}

/// Makes a commit that works: whatever the tip wants, none of it sick, and what people changed by hand undone or adopted.
fn good(world: &mut World) -> Vec<Source> {
    let mut sources = world.repository.at_tip().sources.clone();
    for source in &mut sources {
        let mut tree = source.tree().filter(|tree| !tree.is_empty()).unwrap_or_else(|| script::tree(6));
        for thing in tree.values_mut() {
            if thing.sick {
                (thing.sick, thing.content) = (false, 7);
            }
        }
        *source = Source::Tree(tree);
    }
    for target in &mut world.targets {
        for object in target.objects.values_mut() {
            object.touch.interactive = false;
        }
    }
    sources
}

/// Says what is not as the tip wants it, if anything.
fn unconverged(world: &World, app: usize) -> Option<String> {
    let tree = world.repository.at_tip().sources[app].tree().unwrap_or_default();
    let state = world.durable(0, app);
    let objects = &world.targets[app].objects;
    let is =
        |id, thing: &super::repository::Thing| objects.get(id).is_some_and(|object| object.digest == thing.digest());
    if let Some((id, _)) = tree.iter().find(|(id, thing)| !is(*id, thing)) {
        return Some(format!("{id} of {app} is not as the tip wants it"));
    }
    let left = state.resources.iter().find(|(id, resource)| resource.accepted.is_some() && !tree.contains_key(id));
    if let Some((id, _)) = left {
        return Some(format!("{id} of {app} is still accepted"));
    }
    if !state.app.rollouts.is_empty() {
        return Some(format!("a rollout of {app} goes on"));
    }
    let there = state.app.converged.as_ref() == Some(&world.repository.tip);
    (!there).then(|| format!("{:?} of {app} is converged", state.app.converged))
}

/// Tells whether something still freezes that was only ever seen on a branch which was rewritten since: no commit leads from
/// there to the tip, so that none can thaw it.
fn stranded(world: &World, store: usize, app: usize) -> bool {
    let gone = |commit: &CommitId| !world.repository.range(commit, &world.repository.tip).2;
    let freezes = &world.durable(store, app).app.freeze.freezes;
    freezes.iter().any(|freeze| matches!(&freeze.source, freeze::Source::Branch { commit, .. } if gone(commit)))
}

/// What an operator does about what is held: for each latch the way that `GUARDS.md` names.
fn look_after(world: &mut World, store: usize, app: usize) {
    world.release_all(store, app);
    let held = world.eye(store, app).held.clone();
    if stranded(world, store, app)
        || held.contains(&LatchName::State)
        || held.contains(&LatchName::History)
        || held.contains(&LatchName::Signature)
    {
        world.reanchor(store, app);
    }
    let latches = world.durable(store, app).app.latches.clone();
    let digests: Vec<Digest> = latches.values().filter_map(|latch| latch.digest).collect();
    for digest in digests {
        world.approve_anew(store, app, digest, "local:ops");
    }
    let state = world.durable(store, app).clone();
    let parked: Vec<Digest> = {
        let eye = world.eye(store, app);
        eye.shown_ops.keys().copied().collect()
    };
    for digest in parked {
        let now = state.now();
        let lives = |at| now.duration_since(at).as_secs() < 3600;
        let mut known = state.app.approvals.iter();
        let known = known.any(|approval| approval.digest == digest && !approval.used && lives(approval.at));
        if !known {
            world.approve_anew(store, app, digest, "local:ops");
        }
    }
}
