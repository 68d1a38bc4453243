//! What each fact does to the state. The same facts in the same order always give the same state.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::approval;
use super::super::clock::Clock;
use super::super::commit::CommitId;
use super::super::op::{Effect, Op, Verb};
use super::super::pace;
use super::super::reason;
use super::super::resource::{Anchor, Digest, Id, told};
use super::super::state::{
    About, Abouts, Accepted, AnchorState, Approval, Batch, Good, LatchName, OpState, Purpose, Resource, Rollout,
    RolloutOp, Spent, Standing, State, Trouble, Watched,
};
use super::{Fact, Touched};

/// How many good states are remembered at most; only those of the last day are of use (`GUARDS.md` 5.5).
const GOOD_KEPT: usize = 200;

/// How many automated reverts of one resource are remembered at most: more than any fight takes.
const REVERTS_KEPT: usize = 100;

/// What is remembered of a resource is kept at least so long: the longest of the default windows, and a day.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(8 * 24);

impl State {
    /// Folds one fact. The same facts in the same order always give the same state.
    pub fn fold(&mut self, fact: &Fact, touched: &mut Touched) {
        self.seq += 1;
        match fact {
            Fact::Cycle { clock, counted, complete, wanted } => {
                self.fold_cycle(clock, *counted, *complete, *wanted, touched);
            }
            Fact::ObservedEnough => self.app.watched.passed = true,
            Fact::ObserveAgain => self.app.watched = Watched::default(),
            Fact::Converging => self.app.ever_converged = true,
            Fact::Sighted { commits } => {
                let now = self.now();
                for commit in commits {
                    self.app.sights.entry(commit.clone()).or_insert(now);
                }
            }
            Fact::Unsighted { commits } => {
                for commit in commits {
                    self.app.sights.remove(commit);
                }
            }
            Fact::Governed { governing, .. } => self.app.governing = Some(governing.as_ref().clone()),
            Fact::Identified { identity } => self.app.identity = Some(identity.clone()),
            Fact::Latched { latch, state } => {
                self.app.latches.insert(*latch, state.as_ref().clone());
            }
            Fact::Cleared { latch, .. } => {
                self.app.latches.remove(latch);
                if *latch == LatchName::Failure {
                    self.half_open(touched);
                }
            }
            Fact::Barred { bar, reasons } => {
                let now = self.now();
                self.app.bars.entry(*bar).or_insert(now);
                self.app.barred_for.insert(*bar, reason::codes(reasons));
            }
            Fact::Unbarred { bar } => {
                self.app.bars.remove(bar);
                self.app.barred_for.remove(bar);
            }
            Fact::Freezes { state, .. } => self.app.freeze = state.clone(),
            Fact::Drifted { id, mark } => self.trouble_mut(id, touched).drift = Some(mark.clone()),
            Fact::Announced { id, .. } => {
                let now = self.now();
                self.mend(id, touched, |trouble| {
                    if let Some(mark) = &mut trouble.drift {
                        mark.told = Some(now);
                    }
                });
            }
            Fact::Undrifted { id } => self.mend(id, touched, |trouble| trouble.drift = None),
            Fact::Accepted { id, accepted } => self.accept(id, Some(accepted), touched),
            Fact::Forgotten { id } => self.accept(id, None, touched),
            Fact::Verified { commit, keys } => {
                self.app.first.get_or_insert_with(|| commit.clone());
                // What is promoted of the same commit later, such as what was parked, has a range without commits.
                if self.app.last_verified.as_ref() == Some(commit) {
                    let new = keys.iter().filter(|key| !self.app.vouched_by.contains(key)).cloned().collect::<Vec<_>>();
                    self.app.vouched_by.extend(new);
                } else {
                    self.app.vouched_by.clone_from(keys);
                }
                self.app.last_verified = Some(commit.clone());
            }
            Fact::Converged { commit, desired, good, skipped, left, .. } => {
                if self.app.converged.as_ref() != Some(commit) {
                    self.app.skipped.clone_from(skipped);
                }
                self.fold_converged(commit, *desired, *good, left, touched);
            }
            Fact::Contributed { parts } => self.app.parts.clone_from(parts),
            Fact::Poisoned { commit } => self.app.poisoned = Some(commit.clone()),
            Fact::PlanSeen { digest } => self.app.plan_seen = Some((*digest, self.now())),
            Fact::RolloutStarted { purpose, rollout, ops } => self.start_rollout(*purpose, rollout, ops, touched),
            Fact::RolloutEnded { purpose, .. } => self.drop_rollout(*purpose, touched),
            Fact::AnchorIntended { anchor } => self.app.anchor.intended = Some(anchor.as_ref().clone()),
            Fact::AnchorKnown => {
                if let Some(anchor) = self.app.anchor.intended.take() {
                    self.app.anchor.known = Some(anchor);
                }
            }
            Fact::BatchStarted { purpose, size } => {
                if let Some(rollout) = self.app.rollouts.get_mut(purpose) {
                    rollout.batch = Some(Batch { size: *size, wrote: Vec::new(), settling: None });
                }
            }
            Fact::BatchSettling { purpose } => {
                let now = self.now();
                if let Some(batch) = self.app.rollouts.get_mut(purpose).and_then(|rollout| rollout.batch.as_mut()) {
                    batch.settling = Some(now);
                }
            }
            Fact::BatchSettled { purpose, unhealthy } => {
                if let Some(rollout) = self.app.rollouts.get_mut(purpose) {
                    if let Some(batch) = rollout.batch.take() {
                        // Twice what was written and seen to work, not twice what might have been.
                        let wrote = u32::try_from(batch.wrote.len()).unwrap_or(u32::MAX);
                        rollout.next_batch = if wrote == 0 { batch.size } else { wrote.saturating_mul(2) };
                    }
                    rollout.unhealthy.extend(unhealthy.iter().cloned());
                }
            }
            Fact::Reserved { purpose, index, deletes } => self.reserve(*purpose, *index, *deletes, touched),
            Fact::Wrote { purpose, index, id, effect, accepted, windowed, .. } => {
                self.fold_wrote(*purpose, *index, id, windowed.then_some(*effect), accepted.as_ref(), touched);
            }
            Fact::FoundDone { purpose, index, accepted, id } => {
                self.landed_untold(*purpose, *index, touched);
                self.finish_op(*purpose, *index, id, touched);
                self.accept(id, accepted.as_ref(), touched);
                self.mend(id, touched, |trouble| {
                    trouble.drift = None;
                    trouble.breaker = None;
                    trouble.differing = None;
                });
            }
            Fact::Failed { purpose, index, id, breaker, unknown } => {
                if !unknown {
                    self.unreserve(*purpose, *index, touched);
                }
                self.trouble_mut(id, touched).breaker = Some(breaker.clone());
            }
            Fact::Moved { purpose, index, .. } => self.unreserve(*purpose, *index, touched),
            Fact::Approved { approval } => self.fold_approved(approval),
            Fact::ApprovalRefused { .. } | Fact::Noticed { .. } => {}
            Fact::ApprovalSpent { digest, how } if &**how == "lapsed" => {
                self.app.approvals.retain(|approval| approval.digest != *digest);
            }
            Fact::ApprovalSpent { digest, .. } => {
                for approval in self.app.approvals.iter_mut().filter(|approval| approval.digest == *digest) {
                    approval.used = true;
                }
            }
            Fact::Held { id, hold } => {
                let trouble = self.trouble_mut(id, touched);
                trouble.hold = Some(hold.clone());
                if let Some(mark) = &mut trouble.drift {
                    mark.released = None;
                }
            }
            // What ends a hold says nothing yet of what was changed meanwhile.
            Fact::Released { id, .. } => {
                let now = self.now();
                self.mend(id, touched, |trouble| {
                    if trouble.hold.take().is_none()
                        && let Some(mark) = &mut trouble.drift
                    {
                        mark.released = Some(now);
                    }
                });
            }
            Fact::Quarantined { id } => {
                let now = self.now();
                self.trouble_mut(id, touched).quarantined = Some(now);
            }
            Fact::Unquarantined { id } => self.mend(id, touched, |trouble| {
                trouble.quarantined = None;
                trouble.reverts.clear();
            }),
            Fact::Differs { id, differing } => self.trouble_mut(id, touched).differing = Some(differing.clone()),
            Fact::Agrees { id } => self.mend(id, touched, |trouble| {
                trouble.differing = None;
                trouble.breaker = None;
            }),
            Fact::Reanchored { commit, clock, anchor, .. } => {
                self.fold_reanchored(commit, clock.as_ref(), anchor.as_deref(), touched);
            }
        }
    }

    fn fold_cycle(&mut self, clock: &Clock, counted: bool, complete: bool, wanted: bool, touched: &mut Touched) {
        let now = clock.now;
        self.app.clock = Some(clock.clone());
        if !complete && let Some(latch) = self.app.latches.get_mut(&LatchName::Observation) {
            // Also where the process died before it judged: only what is read whole again and again clears it.
            latch.clean = 0;
        }
        if !counted {
            return;
        }
        self.app.counted += 1;
        self.app.counted_at = Some(now);
        // A cycle that could not tell what it would write has shown nobody anything.
        if complete && wanted {
            self.app.watched.cycles += 1;
            self.app.watched.since.get_or_insert(now);
        }
        let n = self.inventory();
        self.app.highs.measure(now, n);
        // Longer than the longest default window by a day; a longer configured window sees what is left.
        self.app.highs.forget(REMEMBERED.as_secs(), now);
        self.forget(now, touched);
    }

    /// Forgets what no window of the configuration that governs can see any longer.
    fn forget(&mut self, now: Timestamp, touched: &mut Touched) {
        let guards = self.app.governing.as_ref().map(|governing| &governing.guards);
        let longest = guards.into_iter().flat_map(|guards| {
            guards.window_deletes.keys().chain(guards.window_changes.keys()).chain(guards.fight.keys())
        });
        let longest = longest.max().map(|window| SignedDuration::try_from(*window).unwrap_or(SignedDuration::MAX));
        let longest = longest.unwrap_or_default().max(REMEMBERED);
        let old = |at: Timestamp| now.duration_since(at) > longest;
        let stale = self.resources.iter().filter(|(_, resource)| {
            resource.trouble.as_deref().is_some_and(|trouble| {
                trouble.changed.is_some_and(old)
                    || trouble.deleted.is_some_and(old)
                    || trouble.reverts.first().copied().is_some_and(old)
            })
        });
        let stale: Vec<Id> = stale.map(|(id, _)| id.clone()).collect();
        for id in stale {
            self.mend(&id, touched, |trouble| {
                trouble.changed = trouble.changed.filter(|at| !old(*at));
                trouble.deleted = trouble.deleted.filter(|at| !old(*at));
                trouble.reverts.retain(|at| !old(*at));
            });
        }
    }

    /// Lets each resource with an open breaker be attempted once: what made them fail may be over.
    fn half_open(&mut self, touched: &mut Touched) {
        let now = self.now();
        for (id, resource) in &mut self.resources {
            let breaker = resource.trouble.as_deref_mut().and_then(|trouble| trouble.breaker.as_mut());
            if let Some(breaker) = breaker.filter(|breaker| breaker.open) {
                pace::half_open(breaker, now);
                touched.resources.insert(id.clone());
            }
        }
    }

    fn fold_converged(&mut self, commit: &CommitId, desired: Digest, good: bool, left: &[Id], touched: &mut Touched) {
        let now = self.now();
        if self.app.converged.as_ref() != Some(commit) {
            self.app.converged_at = Some(now);
            let left: BTreeSet<&Id> = left.iter().collect();
            let mut abouts = Abouts::default();
            for (id, resource) in &mut self.resources {
                let Some(accepted) = resource.accepted.as_mut() else { continue };
                if left.contains(id) {
                    touched.resources.insert(id.clone());
                } else if accepted.about.commit != *commit {
                    let about = About { commit: commit.clone(), ..(*accepted.about).clone() };
                    Arc::make_mut(accepted).about = abouts.get(about);
                    touched.all_resources = true;
                }
            }
        }
        self.app.converged = Some(commit.clone());
        self.app.last_verified = Some(commit.clone());
        self.app.plan_seen = None;
        self.app.begun = 0;
        if good {
            let lately = |good: &Good| now.duration_since(good.at) <= SignedDuration::from_hours(48);
            self.app.good.retain(|known| known.desired != desired && lately(known));
            self.app.good.push(Good { desired, commit: commit.clone(), at: now });
            let excess = self.app.good.len().saturating_sub(GOOD_KEPT);
            self.app.good.drain(..excess);
        }
    }

    fn fold_wrote(
        &mut self,
        purpose: Purpose,
        index: u32,
        id: &Id,
        windowed: Option<Effect>,
        accepted: Option<&Arc<Accepted>>,
        touched: &mut Touched,
    ) {
        let now = self.now();
        self.finish_op(purpose, index, id, touched);
        self.accept(id, accepted, touched);
        self.mend(id, touched, |trouble| {
            trouble.drift = None;
            trouble.breaker = None;
            // If it differs again, that is counted from then on.
            trouble.differing = None;
        });
        if purpose == Purpose::Heal {
            self.reverted(id, now, touched);
        }
        self.in_window(id, windowed, now, touched);
    }

    /// Counts what landed, or may have, although nobody said so: a lost answer or a crash must hide nothing from the windows
    /// (`GUARDS.md` 6 and 8).
    fn landed_untold(&mut self, purpose: Purpose, index: u32, touched: &mut Touched) {
        let Some(slot) = self.rollout_ops.get(&(purpose, index)).filter(|slot| slot.state == OpState::Reserved) else {
            return;
        };
        let (id, effect, now) = (slot.op.id.clone(), slot.op.effect, self.now());
        let passed = self.app.rollouts.get(&purpose).is_some_and(|rollout| rollout.standing == Standing::Passed);
        match purpose {
            Purpose::Heal => self.reverted(&id, now, touched),
            Purpose::Promote => self.in_window(&id, passed.then_some(effect), now, touched),
        }
    }

    fn reverted(&mut self, id: &Id, now: Timestamp, touched: &mut Touched) {
        let reverts = &mut self.trouble_mut(id, touched).reverts;
        reverts.push(now);
        let excess = reverts.len().saturating_sub(REVERTS_KEPT);
        reverts.drain(..excess);
    }

    fn in_window(&mut self, id: &Id, effect: Option<Effect>, now: Timestamp, touched: &mut Touched) {
        match effect {
            None | Some(Effect::Create) => {}
            Some(Effect::Update) => self.trouble_mut(id, touched).changed = Some(now),
            Some(Effect::Delete) => self.trouble_mut(id, touched).deleted = Some(now),
        }
    }

    fn fold_approved(&mut self, approval: &Approval) {
        self.app.approvals.retain(|known| known.digest != approval.digest || known.by != approval.by);
        let now = self.now();
        self.app.approvals.retain(|known| !approval::is_stale(known.at, now));
        self.app.approvals.push(approval.clone());
    }

    fn fold_reanchored(
        &mut self,
        commit: &CommitId,
        clock: Option<&Clock>,
        anchor: Option<&Anchor>,
        touched: &mut Touched,
    ) {
        for purpose in Purpose::ALL {
            self.drop_rollout(purpose, touched);
        }
        for latch in [LatchName::State, LatchName::History, LatchName::Signature] {
            self.app.latches.remove(&latch);
        }
        // The history that a freeze was seen in may be gone: from here on a verified commit can take it away.
        for freeze in &mut self.app.freeze.freezes {
            if let crate::core::freeze::Source::Branch { commit: seen, .. } = &mut freeze.source {
                *seen = commit.clone();
            }
        }
        self.app.last_verified = Some(commit.clone());
        self.app.converged = Some(commit.clone());
        self.app.watched = Watched::default();
        self.app.anchor = AnchorState { known: anchor.cloned(), intended: None };
        self.app.identity = None;
        self.app.vouched_by.clear();
        if let Some(clock) = clock {
            self.app.clock = Some(clock.clone());
        }
    }

    fn start_rollout(&mut self, purpose: Purpose, rollout: &Rollout, ops: &[Op], touched: &mut Touched) {
        self.drop_rollout(purpose, touched);
        for (index, op) in (0..).zip(ops) {
            self.rollout_ops.insert((purpose, index), RolloutOp { op: op.clone(), state: OpState::Pending });
            touched.ops.insert((purpose, index));
        }
        if purpose == Purpose::Promote {
            let count = |verb| u32::try_from(ops.iter().filter(|op| op.verb == verb).count()).unwrap_or(u32::MAX);
            self.app.begun = self.inventory().saturating_add(count(Verb::Create)).saturating_sub(count(Verb::Delete));
        }
        if rollout.standing == Standing::Return {
            self.app.returned = Some(self.now());
        }
        self.app.rollouts.insert(purpose, rollout.clone());
    }

    fn drop_rollout(&mut self, purpose: Purpose, touched: &mut Touched) {
        let keys: Vec<_> = self.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX)).map(|(key, _)| *key).collect();
        for key in &keys {
            self.landed_untold(purpose, key.1, touched);
        }
        self.app.rollouts.remove(&purpose);
        for key in keys {
            self.rollout_ops.remove(&key);
            touched.ops.insert(key);
        }
    }

    fn reserve(&mut self, purpose: Purpose, index: u32, deletes: bool, touched: &mut Touched) {
        let cycle = self.app.counted;
        let spent = self.app.spent.entry(purpose).or_default();
        if spent.cycle != cycle {
            *spent = Spent { cycle, writes: 0, deletes: 0 };
        }
        spent.writes += 1;
        spent.deletes += u32::from(deletes);
        if let Some(slot) = self.rollout_ops.get_mut(&(purpose, index)) {
            slot.state = OpState::Reserved;
            touched.ops.insert((purpose, index));
        }
    }

    fn unreserve(&mut self, purpose: Purpose, index: u32, touched: &mut Touched) {
        if let Some(slot) = self.rollout_ops.get_mut(&(purpose, index)) {
            slot.state = OpState::Pending;
            touched.ops.insert((purpose, index));
        }
    }

    fn finish_op(&mut self, purpose: Purpose, index: u32, id: &Id, touched: &mut Touched) {
        let Some(slot) = self.rollout_ops.get_mut(&(purpose, index)) else { return };
        if slot.state == OpState::Done {
            return;
        }
        // What somebody else did meanwhile says nothing about whether what is written here works (`GUARDS.md` 5.8).
        let ours = slot.state == OpState::Reserved;
        slot.state = OpState::Done;
        touched.ops.insert((purpose, index));
        let late = slot.op.is_late();
        if let Some(rollout) = self.app.rollouts.get_mut(&purpose) {
            rollout.done += 1;
            if !late {
                rollout.writes_left = rollout.writes_left.saturating_sub(1);
            }
            if let Some(batch) = rollout.batch.as_mut().filter(|_| ours) {
                batch.wrote.push(id.clone());
            }
        }
    }

    fn accept(&mut self, id: &Id, accepted: Option<&Arc<Accepted>>, touched: &mut Touched) {
        touched.resources.insert(id.clone());
        match accepted {
            Some(accepted) => {
                let mut accepted = accepted.clone();
                if accepted.about.origin.is_some() {
                    let origin = told(accepted.about.origin.clone(), id);
                    if origin.is_none() {
                        Arc::make_mut(&mut Arc::make_mut(&mut accepted).about).origin = None;
                    }
                }
                self.resources.entry(id.clone()).or_default().accepted = Some(accepted);
            }
            None => {
                if let Some(resource) = self.resources.get_mut(id) {
                    resource.accepted = None;
                    if resource.trouble.is_none() {
                        self.resources.remove(id);
                    }
                }
            }
        }
    }

    fn trouble_mut(&mut self, id: &Id, touched: &mut Touched) -> &mut Trouble {
        touched.resources.insert(id.clone());
        self.resources.entry(id.clone()).or_default().trouble.get_or_insert_default()
    }

    fn mend(&mut self, id: &Id, touched: &mut Touched, change: impl FnOnce(&mut Trouble)) {
        let Some(resource) = self.resources.get_mut(id) else { return };
        let Some(trouble) = resource.trouble.as_deref_mut() else { return };
        change(trouble);
        let empty = trouble.is_none();
        if empty {
            resource.trouble = None;
        }
        let forgotten = *resource == Resource::default();
        if forgotten {
            self.resources.remove(id);
        }
        touched.resources.insert(id.clone());
    }
}
