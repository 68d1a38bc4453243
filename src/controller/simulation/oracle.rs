//! What an onlooker remembers of a ledger and its target, to judge by the world and not by what the controller says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;

use super::world::{Landed, World};
use crate::controller::assess::Assessment;
use crate::core::commit::CommitId;
use crate::core::freeze;
use crate::core::guards::Guards;
use crate::core::ledger::Fact;
use crate::core::op::{Class, Effect, Op, Verb};
use crate::core::reason::Reason;
use crate::core::resource::{Digest, Health, Id};
use crate::core::state::{Latch, LatchName, Purpose, Rollout, Standing, State};

/// What was reserved for one write.
#[derive(Clone, Debug)]
pub struct Credit {
    /// By which process.
    pub pid: usize,
    /// What for.
    pub purpose: Purpose,
    /// Which operation of the rollout.
    pub index: u32,
    /// The operation.
    pub op: Op,
    /// The rollout's head.
    pub rollout: Rollout,
    /// Operations of the rollout that do not delete and are not done.
    pub before_deletes: Vec<Id>,
    /// The latches that were durable.
    pub latches: BTreeMap<LatchName, Latch>,
    /// What was converged to.
    pub base: Option<CommitId>,
    /// Whether somebody held the resource.
    pub held: bool,
}

/// One approval that was given.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Of what.
    pub digest: Digest,
    /// By whom.
    pub by: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// Whether a rollout used it.
    pub used: bool,
}

/// What an approver was shown: the operations, each with what is there and what shall be.
pub type Print = BTreeSet<(Id, Verb, Option<Digest>, Option<Digest>)>;

/// The batch under way.
#[derive(Clone, Copy, Debug)]
pub struct BatchEye {
    /// How many it may hold.
    pub allowed: u32,
    /// How many it wrote.
    pub wrote: u32,
}

/// A freeze that was at the tip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frozen {
    /// Where.
    pub path: Arc<str>,
    /// What it said.
    pub bytes: Vec<u8>,
    /// The tip at which it was seen.
    pub commit: CommitId,
    /// When.
    pub since: Timestamp,
}

/// What is known of one application's part of one ledger.
#[derive(Clone, Debug, Default)]
pub struct Eye {
    /// Reservations that no write used yet.
    pub credits: Vec<Credit>,
    /// Attempted writes and deletions since the last counted cycle began.
    pub spent: BTreeMap<Purpose, (u32, u32)>,
    /// When the last counted cycle began, in true time, unless that says nothing.
    pub counted_at: Option<i64>,
    /// Complete counted observations since the beginning or a reanchoring.
    pub complete: u32,
    /// What could not be read, until three complete counted observations.
    pub unread: BTreeSet<Id>,
    /// Nothing could be read, until then.
    pub unread_all: bool,
    clean: u32,
    /// The inventory by time.
    pub highs: Vec<(Timestamp, u32)>,
    /// The inventory when the cycle began.
    pub inventory: u32,
    /// The commit that the first promotion of all led to.
    pub first: Option<CommitId>,
    /// What it comes to by the promotion that was begun last, until one has converged.
    pub begun: usize,
    /// How many resources each group had then.
    pub groups: BTreeMap<Arc<str>, u32>,
    /// What landed of promotions that only passed, with its effect.
    pub landed: Vec<(Timestamp, Id, Effect)>,
    /// Reverts by resource.
    pub reverts: BTreeMap<Id, Vec<Timestamp>>,
    /// What this controller created, and when.
    pub created: BTreeMap<Id, Timestamp>,
    /// Approvals.
    pub grants: Vec<Grant>,
    /// What was shown under a plan's digest.
    pub shown: BTreeMap<Digest, Print>,
    /// Plans that were latched, shown or not: a cycle that fails after it wrote shows nothing, and can be approved.
    pub latched: BTreeSet<Digest>,
    /// What was shown under a change's digest.
    pub shown_changes: BTreeMap<Digest, Print>,
    /// What was shown under an operation's digest.
    pub shown_ops: BTreeMap<Digest, (Id, Option<Digest>, Option<Digest>)>,
    /// Digests of what the applications would change together.
    pub shown_fleet: BTreeSet<Digest>,
    /// The commit of a promotion whose batch turned bad.
    pub bad: Option<CommitId>,
    /// The batches under way.
    pub batches: BTreeMap<Purpose, BatchEye>,
    /// Resources that were written and found not to work, of the rollout under way.
    pub unhealthy: BTreeMap<Purpose, BTreeSet<Id>>,
    /// Freezes on the branch that hold.
    pub frozen: Vec<Frozen>,
    /// Since when an operator's freeze is in the ledger.
    pub operator: Option<Landed>,
    /// States that were good: what was desired, and when.
    pub good: Vec<(Digest, Timestamp)>,
    /// When something was returned to.
    pub returned: Vec<Timestamp>,
    /// Commits that an operator took as verified.
    pub anchored: BTreeSet<CommitId>,
    /// The guards that govern: a looser configuration does so only once somebody approved it.
    pub governs: Option<Rc<Guards>>,
    /// Failed attempts in a row by resource, and when the last one was.
    pub failed: BTreeMap<Id, (u32, Timestamp)>,
    /// Resources that were found fought over.
    pub fought: BTreeSet<Id>,
    /// What was held in the last cycle.
    pub held: BTreeSet<LatchName>,
}

impl Eye {
    /// Drops what a process had reserved.
    pub fn forget(&mut self, pid: usize) {
        self.credits.retain(|credit| credit.pid != pid);
    }

    fn use_up(&mut self, purpose: Purpose, index: u32) {
        self.credits.retain(|credit| (credit.purpose, credit.index) != (purpose, index));
    }

    /// Returns the largest inventory of a window.
    pub fn largest(&self, window: std::time::Duration, now: Timestamp) -> u32 {
        // What was measured counts by the minute in which it was.
        let from = now.as_second() - i64::try_from(window.as_secs()).unwrap_or(i64::MAX / 2) - 2 * 60;
        let highs = self.highs.iter().filter(|(at, _)| at.as_second() >= from).map(|(_, n)| *n);
        highs.max().unwrap_or(0).max(self.inventory)
    }
}

/// Fingerprints operations as an approver sees them.
pub fn print(ops: &[Op]) -> Print {
    let from = |op: &Op| op.from.as_ref().map(|(digest, _)| *digest);
    ops.iter().map(|op| (op.id.clone(), op.verb, from(op), op.to)).collect()
}

fn change_print(ops: &[Op]) -> Print {
    ops.iter().map(|op| (op.id.clone(), op.verb, op.was, op.to)).collect()
}

/// Fingerprints what operations change, whatever is there.
pub fn print_change(ops: &[Op]) -> Print {
    change_print(ops)
}

impl World {
    /// Returns the eye on an application's part of a ledger.
    pub fn eye(&mut self, store: usize, app: usize) -> &mut Eye {
        self.eyes.entry((store, app)).or_default()
    }

    /// Returns an application's durable state.
    pub fn durable(&self, store: usize, app: usize) -> &State {
        &self.stores[store].parts[app].state
    }

    /// Remembers what an assessment showed to people.
    pub fn show(&mut self, pid: usize, app: usize, fleet: Option<&(Vec<Reason>, Digest)>, assessment: &Assessment) {
        let store = self.processes[pid].store;
        let (unread, failed) = (self.seen(pid, app).unread.clone(), self.seen(pid, app).failed);
        let eye = self.eye(store, app);
        for plan in [&assessment.promote, &assessment.heal] {
            eye.shown.insert(plan.digest, print(&plan.ops));
            eye.shown_changes.insert(plan.change, change_print(&plan.ops));
            let parked = plan.parked.iter().map(|parked| &parked.op);
            for op in parked.chain(assessment.comparison.conflicts.iter().map(|conflict| &conflict.op)) {
                let from = op.from.as_ref().map(|(digest, _)| *digest);
                eye.shown_ops.insert(op.digest(), (op.id.clone(), from, op.to));
            }
        }
        // Withheld from when it was judged: a crash before that is followed by a fresh observation.
        eye.unread.extend(unread);
        eye.unread_all |= failed;
        eye.shown_fleet.extend(fleet.map(|(_, digest)| *digest));
        eye.held = assessment.judgement.standing.iter().map(|held| held.name).collect();
        for name in eye.held.clone() {
            self.count(name.as_str());
        }
        self.check_standing(pid, app);
    }

    /// Looks at facts that just became durable.
    pub fn observe_facts(&mut self, pid: Option<usize>, store: usize, app: usize, facts: &[Fact]) {
        for fact in facts {
            self.observe_fact(pid, store, app, fact);
        }
    }

    fn observe_fact(&mut self, pid: Option<usize>, store: usize, app: usize, fact: &Fact) {
        let now = self.durable(store, app).now();
        match fact {
            Fact::Cycle { counted, .. } => {
                if let Some(pid) = pid {
                    self.observe_cycle(pid, store, app, *counted);
                }
            }
            Fact::Reserved { purpose, index, .. } => {
                if let Some(pid) = pid {
                    self.reserved(pid, store, app, *purpose, *index);
                }
            }
            Fact::Wrote { purpose, index, id, verb, .. } => {
                let eye = self.eye(store, app);
                eye.use_up(*purpose, *index);
                eye.failed.remove(id);
                match verb {
                    Verb::Create => drop(eye.created.insert(id.clone(), now)),
                    Verb::Update => {}
                    Verb::Delete => drop(eye.created.remove(id)),
                }
            }
            Fact::Failed { purpose, index, id, .. } => {
                let eye = self.eye(store, app);
                eye.use_up(*purpose, *index);
                let failed = eye.failed.entry(id.clone()).or_insert((0, now));
                *failed = (failed.0 + 1, now);
                if failed.0 == 10 {
                    self.count("a breaker opens");
                }
            }
            Fact::Moved { purpose, index, .. } => self.eye(store, app).use_up(*purpose, *index),
            Fact::FoundDone { purpose, index, id, .. } => {
                let eye = self.eye(store, app);
                eye.use_up(*purpose, *index);
                eye.failed.remove(id);
                self.count("a write is found done");
            }
            Fact::Agrees { id } => drop(self.eye(store, app).failed.remove(id)),
            Fact::Quarantined { id } => {
                self.eye(store, app).fought.insert(id.clone());
                self.count("a fight");
            }
            Fact::Unquarantined { id } => {
                let eye = self.eye(store, app);
                eye.reverts.remove(id);
                eye.fought.remove(id);
            }
            Fact::Governed { governing, loosened } => self.check_governed(store, app, governing, loosened),
            Fact::RolloutEnded { how, .. } if !how.starts_with("done") => self.count("a rollout is cancelled"),
            Fact::Cleared { latch: LatchName::Failure, .. } => {
                // Each is tried once more.
                for failed in self.eye(store, app).failed.values_mut() {
                    failed.0 = failed.0.min(9);
                }
            }
            Fact::RolloutStarted { purpose, rollout, ops } => {
                let eye = self.eye(store, app);
                eye.batches.insert(*purpose, BatchEye { allowed: 1, wrote: 0 });
                eye.unhealthy.remove(purpose);
                self.count(match rollout.standing {
                    Standing::Passed => "a plan passes",
                    Standing::Approved { .. } => "an approved rollout",
                    Standing::Return => "a return",
                });
                if let Some(pid) = pid {
                    self.check_rollout(pid, store, app, *purpose, rollout, ops);
                }
                if *purpose == Purpose::Promote {
                    let count = |verb| ops.iter().filter(|op| op.verb == verb).count();
                    let there =
                        self.durable(store, app).resources.values().filter(|one| one.accepted.is_some()).count();
                    self.eye(store, app).first.get_or_insert_with(|| rollout.commit.clone());
                    self.eye(store, app).begun = (there + count(Verb::Create)).saturating_sub(count(Verb::Delete));
                }
            }
            Fact::Latched { state, .. } => self.eye(store, app).latched.extend(state.digest),
            Fact::BatchSettled { purpose, .. } => {
                if let Some(batch) = self.eye(store, app).batches.get_mut(purpose) {
                    let next = if batch.wrote == 0 { batch.allowed } else { batch.wrote.saturating_mul(2) };
                    *batch = BatchEye { allowed: next, wrote: 0 };
                }
            }
            Fact::Approved { approval } => {
                let grant = Grant { digest: approval.digest, by: approval.by.clone(), at: approval.at, used: false };
                self.eye(store, app).grants.push(grant);
            }
            Fact::Converged { commit, desired, good, .. } => {
                self.check_converged(pid, store, app, commit);
                self.eye(store, app).begun = 0;
                if *good {
                    self.check_good(store, app, commit);
                    self.eye(store, app).good.push((*desired, now));
                }
            }
            Fact::Cleared { latch: LatchName::Health, .. } => self.eye(store, app).bad = None,
            Fact::Reanchored { commit, .. } => {
                let eye = self.eye(store, app);
                eye.anchored.insert(commit.clone());
                for frozen in &mut eye.frozen {
                    frozen.commit = commit.clone();
                }
                (eye.complete, eye.counted_at) = (0, None);
                eye.credits.clear();
            }
            _ => {}
        }
    }

    fn observe_cycle(&mut self, pid: usize, store: usize, app: usize, counted: bool) {
        let (tip, began, revoked) = {
            let seen = self.seen(pid, app);
            (seen.tip.clone(), seen.began, seen.revoked.clone())
        };
        let complete = self.is_whole(pid, app);
        let read_all = {
            let seen = self.seen(pid, app);
            !seen.failed && seen.unread.is_empty()
        };
        let interval = i64::try_from(self.guards(store, app).interval.as_millis()).unwrap_or(i64::MAX);
        let state = self.durable(store, app);
        let (now, inventory) = (state.now(), state.inventory());
        let mut groups: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        for accepted in state.resources.values().filter_map(|resource| resource.accepted.as_deref()) {
            if let Some(group) = &accepted.about.nature.group {
                *groups.entry(group.clone()).or_default() += 1;
            }
        }
        let eye = self.eye(store, app);
        (eye.inventory, eye.groups) = (inventory, groups);
        if !read_all {
            eye.clean = 0;
        }
        if counted {
            eye.highs.push((now, inventory));
            eye.spent.clear();
            let early = eye.counted_at.is_some_and(|at| (began - at) * 21 / 20 + 10_000 < interval);
            eye.counted_at = Some(began);
            eye.complete += u32::from(complete);
            eye.clean += u32::from(read_all);
            if early {
                self.broken("interval", format!("application {app}: a cycle counted before its interval was over"));
            }
        }
        let eye = self.eye(store, app);
        if eye.clean >= 3 {
            eye.unread.clear();
            eye.unread_all = false;
        }
        if let Some(tip) = tip {
            self.observe_freezes(store, app, &tip, &revoked);
        }
    }

    /// Takes up the branch's freezes: only a verified range takes one away.
    fn observe_freezes(&mut self, store: usize, app: usize, tip: &CommitId, revoked: &BTreeSet<usize>) {
        let state = self.durable(store, app);
        let now = state.now();
        let last = state.app.last_verified.clone();
        let base = state.app.base().cloned();
        let verified = self.verified(base.as_ref(), tip, revoked)
            && last.is_none_or(|last| self.repository.range(&last, tip).on_chain);
        let Some(entries) = self.repository.get(tip).map(|commit| commit.freezes.clone()) else { return };
        let old = self.eye(store, app).frozen.clone();
        let mut frozen: Vec<Frozen> = Vec::new();
        for mut known in old {
            let leads = self.repository.range(&known.commit, tip).on_chain;
            let over = freeze::parse(&known.bytes, known.since).until.is_some_and(|until| until <= now);
            let same = entries.get(&known.path) == Some(&known.bytes);
            if same && !leads {
                known.commit = tip.clone();
            }
            // One that freezes everything for ever takes the place of any.
            let replaced = entries.get(&known.path).is_some_and(|bytes| {
                let said = freeze::parse(bytes, now);
                said.scope.is_empty() && said.until.is_none()
            });
            if same || !(over || replaced || verified && leads) {
                frozen.push(known);
            }
        }
        for (path, bytes) in entries {
            if !frozen.iter().any(|known| known.path == path && known.bytes == bytes) {
                frozen.push(Frozen { path, bytes, commit: tip.clone(), since: now });
            }
        }
        self.eye(store, app).frozen = frozen;
    }

    /// Tells whether every commit from a base to a tip counts as verified, and leads there.
    pub fn verified(&self, base: Option<&CommitId>, tip: &CommitId, revoked: &BTreeSet<usize>) -> bool {
        let Some(base) = base else { return self.repository.is_good(tip, revoked, self.wall()) };
        let range = self.repository.range(base, tip);
        range.on_chain && range.all.iter().all(|commit| self.repository.is_good(commit, revoked, self.wall()))
    }

    fn reserved(&mut self, pid: usize, store: usize, app: usize, purpose: Purpose, index: u32) {
        let state = self.durable(store, app);
        let (Some(slot), Some(rollout)) = (state.rollout_ops.get(&(purpose, index)), state.app.rollouts.get(&purpose))
        else {
            return;
        };
        let slots = state.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX)).map(|(_, slot)| slot);
        // A replacement deletes too.
        let stays = |op: &Op| op.verb != Verb::Delete && op.class != Class::Replace;
        let open = slots.filter(|slot| slot.state != crate::core::state::OpState::Done && stays(&slot.op));
        let hold = state.trouble(&slot.op.id).and_then(|trouble| trouble.hold.as_ref());
        let now = state.now();
        let credit = Credit {
            held: hold.is_some_and(|hold| hold.until.is_none_or(|until| now < until)),
            pid,
            purpose,
            index,
            op: slot.op.clone(),
            rollout: rollout.clone(),
            before_deletes: open.map(|slot| slot.op.id.clone()).collect(),
            latches: state.app.latches.clone(),
            base: state.app.converged.clone(),
        };
        // A process that could not go on after it had reserved does so anew.
        let eye = self.eye(store, app);
        let again = |known: &Credit| (known.pid, &known.op.id) == (pid, &credit.op.id);
        eye.credits.retain(|known| !again(known));
        eye.credits.push(credit);
    }

    /// Takes note of what a batch amounted to.
    pub fn settled(&mut self, pid: usize, app: usize, health: &[(Id, Health, Option<String>)]) {
        let store = self.processes[pid].store;
        let state = self.durable(store, app);
        let under_way: Vec<(Purpose, CommitId, Vec<Id>)> = state
            .app
            .rollouts
            .iter()
            .filter_map(|(purpose, rollout)| {
                let wrote = rollout.batch.as_ref()?.wrote.clone();
                Some((*purpose, rollout.commit.clone(), wrote))
            })
            .collect();
        for (purpose, commit, wrote) in under_way {
            let sick: Vec<&Id> = health
                .iter()
                .filter(|(id, health, _)| wrote.contains(id) && *health == Health::Unhealthy)
                .map(|(id, _, _)| id)
                .collect();
            let turned = sick.len() >= 2 || (!sick.is_empty() && sick.len() * 10 >= wrote.len());
            let eye = self.eye(store, app);
            eye.unhealthy.entry(purpose).or_default().extend(sick.into_iter().cloned());
            if turned && purpose == Purpose::Promote {
                eye.bad = Some(commit);
            }
        }
    }
}
