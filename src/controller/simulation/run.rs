//! One seed: a world, a storm, and a quiet end in which everything converges.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::cluster::{Cluster, Owner, inhabit};
use super::ledger::Store;
use super::process::{Controller, Ended};
use super::random::Random;
use super::repository::{PEOPLE, Repository, Signed, Source};
use super::target::{Object, Target};
use super::world::{Faults, Shared, Stop, Violation, World};
use super::{commits, focus, rival, script};
use crate::controller::assess::Settings;
use crate::core::commit::CommitId;
use crate::core::freeze;
use crate::core::guard_digest::guard_digest;
use crate::core::guards::{FleetGuards, Guards, Limit, Mode, OnPoison, TrustPolicy};
use crate::core::resource::Digest;
use crate::core::state::{Identity, LatchName};
use crate::core::weaken::Weakened;

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Crash at this step as well.
    pub crash_at: Option<u64>,
    /// Print what happens.
    pub verbose: bool,
    /// How many things happen before it is quiet; chosen by the seed if absent.
    pub length: Option<usize>,
    /// The guard that the script turns to more often than to anything else.
    pub focus: Option<Weakened>,
    /// Keep what happens in the trace in words, not only when.
    pub traced: bool,
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
    /// What happened how often.
    pub events: BTreeMap<&'static str, u64>,
    /// Where processes were stopped, and how often.
    pub crashes: BTreeMap<&'static str, u64>,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
}

/// Counted cycles within which a quiet world must be converged.
const QUIET_CYCLES: usize = 200;

fn limit(random: &mut Random, over: u32, percent: u32) -> Limit {
    match random.below(12) {
        0 => Limit::Disabled,
        1 => Limit::Fixed(0),
        2 | 3 => Limit::Relative { over: over / 2, percent, at_most: None },
        _ => Limit::Relative { over, percent, at_most: None },
    }
}

fn guards(random: &mut Random, focus: Option<Weakened>) -> Guards {
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
    // In a hurry, so that breakers open too.
    if random.chance(300) {
        guards.drift.grace = Duration::from_secs(60);
        guards.backoff_max = Duration::from_secs(60);
    }
    if random.chance(300) {
        guards.protected.push("db/**".into());
    }
    if random.chance(150) {
        guards.on_poison = OnPoison::LastGood;
    }
    if let Some(focus) = focus {
        focus::guards(&mut guards, focus);
    }
    guards
}

fn world(seed: u64, options: Options) -> World {
    let mut random = Random::new(seed);
    let several = if options.focus == Some(Weakened::Fleet) { 1000 } else { 200 };
    let apps = if random.chance(several) { 2 + random.below(2) } else { 1 };
    let mut settings = Vec::new();
    let mut sources = Vec::new();
    let mut targets = Vec::new();
    for app in 0..apps {
        let guards = guards(&mut random, options.focus);
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
        let tree = commits::tree(size);
        let mut there = Target::default();
        let clusters = if options.focus.is_some_and(focus::is_of_clusters) { 1000 } else { 350 };
        there.cluster = random.chance(clusters).then(Cluster::default);
        for (id, thing) in &tree {
            if random.chance(300) {
                inhabit(&mut there, id, thing, random.chance(700));
            }
            if random.chance(50)
                && let Some(object) = there.objects.get_mut(id)
            {
                object.dependants = 8;
            }
        }
        sources.push(Source::Tree(Rc::new(tree)));
        targets.push(there);
    }
    let repository = Repository::new(sources, World::beginning());
    let mut world = World::new(random, settings, FleetGuards::default(), repository, targets, options.verbose);
    (world.focus, world.traced, world.crash_at) = (options.focus, options.traced, options.crash_at);
    world.stores.push(Store::new("ledger-0".to_owned(), apps));
    world
}

fn faults(random: &mut Random) -> Faults {
    let rate = |random: &mut Random, most: usize| u32::try_from(random.below(most)).unwrap_or(0);
    let mut faults =
        Faults { meanwhile: rate(random, 25), slow: rate(random, 400), rival: rate(random, 8), ..Faults::default() };
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
    let mut world = world(seed, options);
    let length = 10 + world.random.below(50);
    let length = if options.focus.is_some_and(focus::stays_jammed) { length + 60 } else { length };
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
    let mut world = world.borrow_mut();
    // It holds the world in turn.
    world.rival = None;
    Ran {
        trace: world.trace(),
        steps: world.steps,
        written: world.written,
        events: std::mem::take(&mut world.events),
        crashes: std::mem::take(&mut world.crashes),
        violation: world.violation.take(),
    }
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
    let (outside, rivals) = {
        let mut world = world.borrow_mut();
        let often = if world.focus == Some(Weakened::Anchor) { 700 } else { 150 };
        (world.random.chance(often), world.random.chance(often))
    };
    for step in 0..length {
        if outside {
            from_outside(world, controller);
        }
        if rivals {
            challenge(world);
        }
        {
            let mut world = world.borrow_mut();
            let world = &mut *world;
            if step % 6 == 0 {
                world.faults = faults(&mut world.random);
                if world.random.chance(300) || step == 0 {
                    world.faults = Faults::default();
                }
                // What is observed at first is what that guard is about.
                if let Some(focus) = world.focus.filter(|focus| step > 0 || *focus == Weakened::Observe) {
                    focus::faults(&mut world.faults, focus);
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

/// Ledgers are copied, restored and lost, while the controller is not running.
fn from_outside(world: &Shared, controller: &mut Controller) {
    let what = world.borrow_mut().random.below(40);
    match what {
        0..=3 => {
            let mut world = world.borrow_mut();
            let backup = world.backup();
            world.backups.push(backup);
        }
        4 | 5 if !world.borrow().backups.is_empty() => {
            world.borrow_mut().restore();
            controller.restart();
        }
        6 => {
            world.borrow_mut().lose();
            controller.restart();
        }
        _ => {}
    }
}

/// Another controller comes, has its turn, or goes.
fn challenge(world: &Shared) {
    let (what, there) = {
        let mut world = world.borrow_mut();
        (world.random.below(12), world.rival.is_some())
    };
    match what {
        0..=2 if !there => rival::arrive(world),
        3..=6 if there => rival::between(world),
        7 if there => rival::dismiss(world),
        _ => {}
    }
}

/// The faults are over, and somebody looks after what is held: everything must converge, and stay so.
fn calm(world: &Shared, controller: &mut Controller) {
    rival::dismiss(world);
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
        world.jammed.clear();
        for app in 0..world.settings.len() {
            world.mount(app, true);
        }
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
        let known = source.tree().filter(|tree| !tree.is_empty());
        let mut tree = known.unwrap_or_else(|| Rc::new(commits::tree(6)));
        for thing in Rc::make_mut(&mut tree).values_mut() {
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
    // What somebody else owns is taken back, be it the same.
    let ours = |object: &Object| world.targets[app].cluster.is_none() || object.owner == Owner::Ours;
    // Nor is what is being deleted there to stay.
    let stays = |id: &crate::core::resource::Id| !world.targets[app].is_leaving(id);
    let is = |id, thing: &super::repository::Thing| {
        objects.get(id).is_some_and(|object| object.holds == thing.digest() && ours(object)) && stays(id)
    };
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
    let gone = |commit: &CommitId| !world.repository.range(commit, &world.repository.tip).on_chain;
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
