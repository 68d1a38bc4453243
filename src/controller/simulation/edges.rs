//! The edges of one application as one process has them open.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::rival;
use super::target::Object;
use super::world::{Seen, Shared, World};
use crate::controller::edges::{Read, Rendered, Trusted, Unclaimed, Write};
use jiff::SignedDuration;

use crate::core::approval::Contributor;
use crate::core::clock::Reading;
use crate::core::commit::CommitId;
use crate::core::culprit::WantChange;
use crate::core::expect::Expect;
use crate::core::freeze::FreezeState;
use crate::core::guards::TrustPolicy;
use crate::core::op::{Op, Verb};
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::rehearse::Rehearsals;
use crate::core::resource::{Anchor, AnchorSeen, Health, Id, Live, Observed};
use crate::core::state::State;
use crate::core::weaken::{self, Weakened};
use crate::core::write::Outcome;

/// The edges.
pub struct SimEdges {
    world: Shared,
    pid: usize,
    app: usize,
    fetched: bool,
    given: Option<Fetched>,
    fetched_at: Option<i64>,
}

/// What the applications of a repository fetched together, and the uptime at which that began.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The tip, or why there is none.
    pub tip: Result<CommitId, Arc<str>>,
    /// When.
    pub at: i64,
}

impl SimEdges {
    /// Opens the edges.
    pub fn open(world: &Shared, pid: usize, app: usize, given: Option<Fetched>) -> Self {
        Self { world: world.clone(), pid, app, fetched: false, given, fetched_at: None }
    }

    fn enter(&self, name: &'static str) -> std::cell::RefMut<'_, World> {
        rival::interrupt(&self.world, self.pid);
        let mut world = self.world.borrow_mut();
        world.enter(self.pid, self.app, name);
        world
    }
}

impl Read for SimEdges {
    fn clock(&mut self) -> Reading {
        let mut world = self.enter("clock");
        let reading = world.reading();
        let store = world.processes[self.pid].store;
        let known = world.stores[store].parts[self.app].state.app.clock.as_ref().map(|clock| clock.wall);
        let behind = known.is_some_and(|known| known.duration_since(reading.wall).as_secs() > 5);
        let now = world.now;
        let seen = world.seen(self.pid, self.app);
        if !self.fetched {
            *seen = Seen { behind, began: now, ..Seen::default() };
        }
        reading
    }

    fn fetch(&mut self) -> Result<CommitId, Arc<str>> {
        self.fetched = true;
        let given = self.given.take();
        self.fetched_at = given.as_ref().map(|given| given.at);
        let mut world = self.enter("fetch");
        let tip = given.map_or_else(|| world.fetch(), |given| given.tip);
        let now = world.now;
        let seen = world.seen(self.pid, self.app);
        seen.tip = tip.clone().ok();
        // The host does not answer: the next look is ten seconds on.
        seen.acting_since = tip.is_err().then_some(now);
        tip
    }

    fn fetched_at(&self) -> Option<i64> {
        self.fetched_at
    }

    fn trust(&mut self, state: &State, tip: &CommitId, policy: &TrustPolicy) -> Result<Trusted, Arc<str>> {
        let mut world = self.enter("trust");
        let revoked = world.repository.revoked.clone();
        world.seen(self.pid, self.app).revoked = revoked;
        // Longer ago than the clock is ever set back before anybody has seen it.
        let expiry = World::beginning() - SignedDuration::from_hours(24);
        world.repository.trust(state, tip, policy, world.wall(), expiry)
    }

    fn freeze(
        &mut self,
        state: &State,
        tip: Option<&CommitId>,
        trusted: Option<&Trusted>,
    ) -> Option<(FreezeState, String)> {
        let world = self.enter("freeze");
        let tip = tip?;
        let commit = world.repository.get(tip)?;
        let entries: Vec<_> = commit.freezes.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        let verified = trusted.is_some_and(|trusted| trusted.signature.is_empty() && trusted.history.is_none());
        let leads = |commit: &CommitId| commit == tip || world.repository.range(commit, tip).on_chain;
        let reading = world.reading();
        let now = state.app.clock.as_ref().map_or(reading.wall, |clock| clock.advance(&reading).now);
        state.app.freeze.at_tip(tip, &entries, verified, &leads, now)
    }

    fn render(&mut self, commit: &CommitId) -> Rendered {
        self.enter("render").repository.render(commit, self.app)
    }

    fn changes(&mut self, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, Arc<str>> {
        self.enter("changes").repository.changes(old, new, self.app)
    }

    fn change_details(&mut self, _: &CommitId, _: &CommitId, _: &[WantChange]) -> Details {
        Details::new()
    }

    fn contributors(&mut self, base: &CommitId, tip: &CommitId, id: &Id) -> Result<Vec<Contributor>, Arc<str>> {
        let people = self.enter("contributors").repository.contributors(base, tip, self.app, &[id].into());
        Ok(people.into_iter().map(|who| Contributor { names: vec![who.into()] }).collect())
    }

    fn details(&mut self, _: &State, _: &[Op]) -> Details {
        Details::new()
    }

    fn observe(&mut self, expect: &[Expect<'_>]) -> Observed {
        let mut world = self.enter("observe");
        let faults = world.faults;
        let mut observed = Observed { anchor: world.targets[self.app].seen(), ..Observed::default() };
        if world.random.chance(faults.observe) {
            world.count("nothing is observed");
            observed.failure = Some("permission denied".into());
            world.seen(self.pid, self.app).failed = true;
            return observed;
        }
        if world.random.chance(faults.unread / 4) {
            world.count("the anchor is not read");
            observed.anchor = AnchorSeen::Unread("permission denied".into());
            world.seen(self.pid, self.app).failed = true;
        }
        world.seen(self.pid, self.app).anchor = Some(observed.anchor.clone());
        let objects: Rc<BTreeMap<Id, Object>> = Rc::new(world.targets[self.app].objects.clone());
        let now = world.now;
        for Expect { id, .. } in expect {
            if world.random.chance(faults.unread) {
                world.count("a resource is not read");
                world.seen(self.pid, self.app).unread.insert((*id).clone());
                observed.seen.push(((*id).clone(), Live::Unread("time-out".into())));
                continue;
            }
            let live = world.targets[self.app].look(id, now);
            if live == Live::Leaving {
                world.seen(self.pid, self.app).leaving.insert((*id).clone());
            }
            observed.seen.push(((*id).clone(), live));
        }
        world.seen(self.pid, self.app).objects = objects;
        observed
    }

    fn rehearse(&mut self, _: &State, ops: &[&Op]) -> Rehearsals {
        self.enter("rehearse").rehearse(self.app, ops)
    }

    fn unhealthy(&mut self, ids: &[Id]) -> Vec<Id> {
        let world = self.enter("unhealthy");
        let sick = |id: &&Id| {
            let object = world.targets[self.app].objects.get(*id);
            object.is_some_and(|object| object.health(world.now) != Health::Healthy)
        };
        ids.iter().filter(sick).cloned().collect()
    }

    fn still(&mut self, tip: Option<&CommitId>) -> bool {
        let mut world = self.enter("still");
        let faults = world.faults;
        if world.random.chance(faults.fetch) {
            world.count("the tip is not read again");
            // The host does not answer: the next look is ten seconds on.
            let now = world.now;
            world.seen(self.pid, self.app).acting_since = Some(now);
            return true;
        }
        tip == Some(&world.repository.tip)
    }

    fn local_freezes(&mut self, _: &State) -> Vec<Reason> {
        let world = self.enter("local_freezes");
        world.local[self.app].iter().map(|_| Reason::new("freeze", "FREEZE in the state directory")).collect()
    }
}

impl Write for SimEdges {
    fn claim(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed> {
        let mut world = self.enter("claim");
        let faults = world.faults;
        if world.random.chance(faults.claim) {
            world.count("the target is not claimed");
            return Err(Unclaimed("the target does not answer".into()));
        }
        let target = &world.targets[self.app];
        if target.lock.is_some_and(|lock| lock != self.pid) {
            world.count("the target is locked by another");
            return Err(Unclaimed("another process holds the lock".into()));
        }
        if target.seen() != *expected {
            world.count("the anchor was swapped by another");
            return Err(Unclaimed("the anchor was swapped by somebody else".into()));
        }
        world.check_claim(self.pid, self.app);
        world.note(|| format!("process {} claims {} as {}", self.pid, self.app, new.token));
        world.targets[self.app].anchor = Some(new.clone());
        world.targets[self.app].lock = Some(self.pid);
        world.leave(self.pid, "claimed");
        Ok(())
    }

    fn release(&mut self) {
        let mut world = self.world.borrow_mut();
        world.targets[self.app].lock.take_if(|lock| *lock == self.pid);
    }

    fn write(&mut self, op: &Op) -> Outcome {
        let mut world = self.enter("write");
        world.check_write(self.pid, self.app, op);
        let faults = world.faults;
        if world.random.chance(faults.refuse) || world.jammed.contains(&(self.app, op.id.clone())) {
            world.count("a write is refused");
            world.note(|| format!("write of {} is refused", op.id));
            return Outcome::Refused("admission says no".into());
        }
        let from = op.from.as_ref();
        let moved = world.targets[self.app].moved(&op.id, op.verb, from);
        if let Some(why) = moved.filter(|_| !weaken::is(Weakened::Precondition)) {
            world.count("a precondition fails");
            world.note(|| format!("write of {}: {why}", op.id));
            return Outcome::Moved(why);
        }
        if let Some(outcome) = world.not_taken(self.app, op) {
            world.note(|| format!("write of {}: {outcome:?}", op.id));
            return outcome;
        }
        let unknown = world.random.chance(faults.unknown);
        if unknown && world.random.chance(500) {
            world.count("a write is lost");
            world.note(|| format!("write of {} is lost", op.id));
            return Outcome::Unknown("time-out".into());
        }
        world.check_landing(self.pid, self.app, op);
        let live = land(&mut world, self.app, op);
        world.written += 1;
        world.note(|| format!("wrote {:?} {} -> {:?}", op.verb, op.id, op.to.map(|to| to.short())));
        world.leave(self.pid, "written");
        if unknown {
            world.count("a write lands and times out");
            return Outcome::Unknown("time-out".into());
        }
        Outcome::Done(live)
    }

    fn settle(&mut self, wrote: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        let mut world = self.enter("settle");
        let (now, faults) = (world.now, world.faults);
        if world.random.chance(faults.unread / 4) {
            world.count("health is not read");
            return wrote.iter().map(|id| (id.clone(), Health::Unread, Some("time-out".to_owned()))).collect();
        }
        let objects = &world.targets[self.app].objects;
        let health = |id: &Id| {
            let health = objects.get(id).map_or(Health::Healthy, |object| object.health(now));
            (id.clone(), health, None)
        };
        let health: Vec<_> = wrote.iter().map(health).collect();
        world.settled(self.pid, self.app, &health);
        health
    }

    fn wait(&mut self, time: Duration) -> bool {
        let mut world = self.enter("wait");
        // Polls are drawn out: nothing of interest happens within a second.
        let time = i64::try_from(time.as_millis()).unwrap_or(0) * 8;
        world.now += time;
        true
    }

    fn random(&mut self) -> (f64, Arc<str>) {
        let mut world = self.world.borrow_mut();
        let value = world.random.next();
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let fraction = (value >> 11) as f64 / (1_u64 << 53) as f64;
        (fraction, format!("{value:016x}").into())
    }
}

fn land(world: &mut World, app: usize, op: &Op) -> Live {
    if op.verb == Verb::Delete {
        let gone = world.leaves(app);
        return world.targets[app].delete(&op.id, gone);
    }
    let commit = op.source.as_ref().map(|source| source.commit.clone()).unwrap_or_else(|| CommitId::new(""));
    let tree = world.repository.get(&commit).and_then(|commit| commit.sources[app].tree()).unwrap_or_default();
    let Some(thing) = tree.get(&op.id).cloned() else {
        world.broken("content", format!("{} is not in {commit}, from which it shall be written", op.id));
        return Live::Gone;
    };
    if Some(thing.digest()) != op.to {
        world.broken("content", format!("{} in {commit} is not what was judged", op.id));
    }
    let slow = world.faults.slow;
    let ready = if world.random.chance(slow) { i64::try_from(world.random.below(200)).unwrap_or(0) * 1000 } else { 0 };
    let at = world.now + ready;
    world.land(app, op, &thing, at)
}
