//! The journal's rows and what each does to the state: nothing is told twice in different words.
//!
//! A [`Fact`] is at once a row of the journal, the change of [`State`], a log line and, for some, a notice. Folding the whole
//! journal gives the state.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::commit::CommitId;
use super::freeze::FreezeState;
use super::op::{Effect, Op, Verb};
use super::resource::{Anchor, Digest, Id};
use super::state::{
    Accepted, AnchorState, Approval, Batch, Breaker, Differing, DriftMark, Good, Governing, Hold, Identity, Latch,
    LatchName, OpState, Purpose, Resource, Rollout, RolloutOp, State, Trouble, Watched,
};

/// Something that happened, and was made durable.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fact {
    /// A cycle ended its observation.
    Cycle {
        /// The advanced clock.
        clock: Clock,
        /// Whether it counted (`GUARDS.md` 1, *counted cycle*).
        counted: bool,
        /// Whether everything was read.
        complete: bool,
    },
    /// The observe-only time is over.
    ObservedEnough,
    /// The observe-only time begins again.
    ObserveAgain,
    /// The application may write for the first time.
    Converging,
    /// Commits were seen for the first time.
    Sighted {
        /// Which, all at the cycle's time.
        commits: Vec<CommitId>,
    },
    /// Sightings that no longer matter were dropped.
    Unsighted {
        /// Which.
        commits: Vec<CommitId>,
    },
    /// The configuration now governs.
    Governed {
        /// What governs.
        governing: Box<Governing>,
        /// What got looser.
        loosened: Vec<String>,
    },
    /// The ledger is about this source and target.
    Identified {
        /// Which.
        identity: Identity,
    },
    /// A latch was set, or its reasons changed.
    Latched {
        /// Which.
        latch: LatchName,
        /// Its state.
        state: Box<Latch>,
    },
    /// A latch was cleared.
    Cleared {
        /// Which.
        latch: LatchName,
        /// What cleared it.
        by: Arc<str>,
    },
    /// A bar holds from now on.
    Barred {
        /// Which.
        bar: LatchName,
    },
    /// A bar holds no longer.
    Unbarred {
        /// Which.
        bar: LatchName,
    },
    /// Freezes changed.
    Freezes {
        /// All that hold now.
        state: FreezeState,
        /// What happened, for people.
        change: String,
    },
    /// A resource was seen to drift, or to have drifted further.
    Drifted {
        /// Which.
        id: Id,
        /// How.
        mark: DriftMark,
    },
    /// A resource drifts no longer.
    Undrifted {
        /// Which.
        id: Id,
    },
    /// A desired state was found already in place, or accepted anew.
    Accepted {
        /// Which.
        id: Id,
        /// What.
        accepted: Box<Accepted>,
    },
    /// A resource left the inventory without a write.
    Forgotten {
        /// Which.
        id: Id,
    },
    /// Promotion to a commit was begun, or nothing was left to do for it.
    Verified {
        /// The commit.
        commit: CommitId,
        /// The keys that vouched for it.
        keys: Vec<Arc<str>>,
    },
    /// Everything that may be written is as a commit wants it.
    Converged {
        /// The commit.
        commit: CommitId,
        /// The digest of everything it desires.
        desired: Digest,
        /// Whether all of it is healthy and nothing is parked: a state to return to.
        good: bool,
        /// How long since the commit was first seen, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        /// Poisoned commits that were in the range and never written.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        skipped: Vec<CommitId>,
    },
    /// A poisoned commit was named.
    Poisoned {
        /// Which.
        commit: CommitId,
    },
    /// The plan under judgement was first seen.
    PlanSeen {
        /// Its digest.
        digest: Digest,
    },
    /// A rollout was begun.
    RolloutStarted {
        /// What for.
        purpose: Purpose,
        /// Its head.
        rollout: Box<Rollout>,
        /// Its operations in order.
        ops: Vec<Op>,
    },
    /// A rollout ended.
    RolloutEnded {
        /// What for.
        purpose: Purpose,
        /// How: `done`, or why it was cancelled.
        how: Arc<str>,
    },
    /// The anchor is about to be swapped.
    AnchorIntended {
        /// To what.
        anchor: Box<Anchor>,
    },
    /// The anchor was seen to be what was intended.
    AnchorKnown,
    /// A batch was begun.
    BatchStarted {
        /// What for.
        purpose: Purpose,
        /// How many it may hold.
        size: u32,
    },
    /// A batch is complete and settles.
    BatchSettling {
        /// What for.
        purpose: Purpose,
    },
    /// A batch is over.
    BatchSettled {
        /// What for.
        purpose: Purpose,
        /// What of it is unhealthy.
        unhealthy: Vec<Id>,
    },
    /// Budget was reserved for one operation. No write without it.
    Reserved {
        /// What for.
        purpose: Purpose,
        /// Which operation of the rollout.
        index: u32,
        /// Whether it deletes.
        deletes: bool,
    },
    /// An operation was written.
    Wrote {
        /// What for.
        purpose: Purpose,
        /// Which operation of the rollout.
        index: u32,
        /// Which resource.
        id: Id,
        /// How.
        verb: Verb,
        /// What it amounted to.
        effect: Effect,
        /// What is accepted there now; absent after a removal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<Box<Accepted>>,
        /// Whether it counts in the window.
        windowed: bool,
        /// Seconds since the drift was first seen, for a heal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        healed_after: Option<u64>,
    },
    /// An operation was found done already.
    FoundDone {
        /// What for.
        purpose: Purpose,
        /// Which operation of the rollout.
        index: u32,
        /// What is accepted there now; absent after a removal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<Box<Accepted>>,
        /// Which resource.
        id: Id,
    },
    /// An attempted write failed or its outcome is unknown.
    Failed {
        /// What for.
        purpose: Purpose,
        /// Which operation of the rollout.
        index: u32,
        /// Which resource.
        id: Id,
        /// Its breaker now.
        breaker: Breaker,
    },
    /// A write was not made: what was observed had moved. Observe again.
    Moved {
        /// What for.
        purpose: Purpose,
        /// Which operation of the rollout.
        index: u32,
        /// Which resource.
        id: Id,
        /// What was found.
        why: Arc<str>,
    },
    /// An approval was given.
    Approved {
        /// Which.
        approval: Approval,
    },
    /// An approval was refused.
    ApprovalRefused {
        /// The digest that was named.
        digest: Digest,
        /// By whom.
        by: Arc<str>,
        /// Why it does not count.
        why: String,
    },
    /// An approval was used, or lapsed.
    ApprovalSpent {
        /// Which digest.
        digest: Digest,
        /// `used` or `lapsed`.
        how: Arc<str>,
    },
    /// A person holds a resource.
    Held {
        /// Which.
        id: Id,
        /// How.
        hold: Hold,
    },
    /// A hold ended.
    Released {
        /// Which.
        id: Id,
        /// By whom, or `expired`.
        by: Arc<str>,
    },
    /// A resource was fought over and is left alone.
    Quarantined {
        /// Which.
        id: Id,
    },
    /// A resource's quarantine was lifted.
    Unquarantined {
        /// Which.
        id: Id,
    },
    /// A resource does not converge.
    Differs {
        /// Which.
        id: Id,
        /// For how long and why.
        differing: Differing,
    },
    /// A resource converges again.
    Agrees {
        /// Which.
        id: Id,
    },
    /// An operator accepted a new beginning.
    Reanchored {
        /// From this commit.
        commit: CommitId,
        /// Who.
        by: Arc<str>,
        /// Why.
        reason: String,
        /// The clock as it is now, if it was wrong.
        clock: Option<Clock>,
        /// The target's anchor as it was found: what the next swap replaces.
        anchor: Option<Box<Anchor>>,
    },
    /// Something people must be told (a notice's text), journalled with its code.
    Noticed {
        /// What it is about: `halt`, `freeze`, `failing`, …
        kind: Arc<str>,
        /// The text.
        message: String,
    },
}

/// Which parts of the state a fact changed: what a store has to write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// Resources that changed or went.
    pub resources: BTreeSet<Id>,
    /// All resources changed.
    pub all_resources: bool,
    /// Operations of rollouts that changed or went.
    pub ops: BTreeSet<(Purpose, u32)>,
}

/// How many approvals are remembered after use, to refuse them a second time with the right words.
const SPENT_APPROVALS_KEPT: usize = 200;

/// How many good states are remembered.
const GOOD_KEPT: usize = 200;

impl State {
    /// Folds one fact. The same facts in the same order always give the same state.
    pub fn fold(&mut self, fact: &Fact, touched: &mut Touched) {
        self.seq += 1;
        match fact {
            Fact::Cycle { clock, counted, complete } => self.fold_cycle(clock, *counted, *complete),
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
            }
            Fact::Barred { bar } => {
                let now = self.now();
                self.app.bars.insert(*bar, now);
            }
            Fact::Unbarred { bar } => {
                self.app.bars.remove(bar);
            }
            Fact::Freezes { state, .. } => self.app.freeze = state.clone(),
            Fact::Drifted { id, mark } => self.trouble_mut(id, touched).drift = Some(mark.clone()),
            Fact::Undrifted { id } => self.mend(id, touched, |trouble| trouble.drift = None),
            Fact::Accepted { id, accepted } => self.accept(id, Some(accepted), touched),
            Fact::Forgotten { id } => self.accept(id, None, touched),
            Fact::Verified { commit, keys } => {
                self.app.last_verified = Some(commit.clone());
                self.app.vouched_by.clone_from(keys);
            }
            Fact::Converged { commit, desired, good, .. } => self.fold_converged(commit, *desired, *good, touched),
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
                self.fold_wrote(*purpose, *index, id, *effect, accepted.as_deref(), *windowed, touched);
            }
            Fact::FoundDone { purpose, index, accepted, id } => {
                self.finish_op(*purpose, *index, id, touched);
                self.accept(id, accepted.as_deref(), touched);
                self.mend(id, touched, |trouble| {
                    trouble.drift = None;
                    trouble.breaker = None;
                });
            }
            Fact::Failed { purpose, index, id, breaker } => {
                self.unreserve(*purpose, *index, touched);
                self.trouble_mut(id, touched).breaker = Some(breaker.clone());
            }
            Fact::Moved { purpose, index, .. } => self.unreserve(*purpose, *index, touched),
            Fact::Approved { approval } => self.fold_approved(approval),
            Fact::ApprovalRefused { .. } | Fact::Noticed { .. } => {}
            Fact::ApprovalSpent { digest, .. } => {
                for approval in self.app.approvals.iter_mut().filter(|approval| approval.digest == *digest) {
                    approval.used = true;
                }
            }
            Fact::Held { id, hold } => self.trouble_mut(id, touched).hold = Some(hold.clone()),
            Fact::Released { id, .. } => self.mend(id, touched, |trouble| trouble.hold = None),
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

    fn fold_cycle(&mut self, clock: &Clock, counted: bool, complete: bool) {
        let now = clock.now;
        self.app.clock = Some(clock.clone());
        if !counted {
            return;
        }
        self.app.counted += 1;
        self.app.counted_at = Some(now);
        if complete {
            self.app.watched.cycles += 1;
            self.app.watched.since.get_or_insert(now);
        }
        let hour = now.as_second().div_euclid(3600) * 3600;
        let n = self.inventory();
        let high = self.app.highs.entry(hour).or_default();
        *high = n.max(*high);
        // Longer than the longest default window by a day; a longer configured window sees what is left.
        self.app.highs.retain(|at, _| *at >= hour - 8 * 24 * 3600);
    }

    fn fold_converged(&mut self, commit: &CommitId, desired: Digest, good: bool, touched: &mut Touched) {
        let now = self.now();
        if self.app.converged.as_ref() != Some(commit) {
            self.app.converged_at = Some(now);
        }
        // What is parked, in conflict or drifted is not as this commit wants it: its bytes stay with the commit that has them.
        if good {
            for (id, resource) in &mut self.resources {
                if let Some(accepted) = resource.accepted.as_mut().filter(|accepted| accepted.commit != *commit) {
                    let _ = id;
                    accepted.commit = commit.clone();
                    touched.all_resources = true;
                }
            }
        }
        self.app.converged = Some(commit.clone());
        self.app.last_verified = Some(commit.clone());
        self.app.plan_seen = None;
        if good {
            self.app.good.retain(|known| known.desired != desired);
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
        effect: Effect,
        accepted: Option<&Accepted>,
        windowed: bool,
        touched: &mut Touched,
    ) {
        let now = self.now();
        self.finish_op(purpose, index, id, touched);
        self.accept(id, accepted, touched);
        self.mend(id, touched, |trouble| {
            trouble.drift = None;
            trouble.breaker = None;
        });
        if purpose == Purpose::Heal {
            self.trouble_mut(id, touched).reverts.push(now);
        }
        if windowed {
            let trouble = self.trouble_mut(id, touched);
            match effect {
                Effect::Create => {}
                Effect::Update => trouble.changed = Some(now),
                Effect::Delete => trouble.deleted = Some(now),
            }
        }
    }

    fn fold_approved(&mut self, approval: &Approval) {
        self.app.approvals.retain(|known| known.digest != approval.digest || known.by != approval.by);
        self.app.approvals.push(approval.clone());
        let excess = self.app.approvals.len().saturating_sub(SPENT_APPROVALS_KEPT);
        self.app.approvals.drain(..excess);
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
            if let super::freeze::Source::Branch { commit: seen, .. } = &mut freeze.source {
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
        if rollout.standing == super::state::Standing::Return {
            self.app.returned = Some(self.now());
        }
        self.app.rollouts.insert(purpose, rollout.clone());
    }

    fn drop_rollout(&mut self, purpose: Purpose, touched: &mut Touched) {
        self.app.rollouts.remove(&purpose);
        let keys: Vec<_> = self.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.rollout_ops.remove(&key);
            touched.ops.insert(key);
        }
    }

    fn reserve(&mut self, purpose: Purpose, index: u32, deletes: bool, touched: &mut Touched) {
        let cycle = self.app.counted;
        let spent = self.app.spent.entry(purpose).or_default();
        if spent.cycle != cycle {
            *spent = super::state::Spent { cycle, writes: 0, deletes: 0 };
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
        slot.state = OpState::Done;
        touched.ops.insert((purpose, index));
        let deletes = slot.op.verb == Verb::Delete;
        if let Some(rollout) = self.app.rollouts.get_mut(&purpose) {
            rollout.done += 1;
            if !deletes {
                rollout.writes_left = rollout.writes_left.saturating_sub(1);
            }
            if let Some(batch) = rollout.batch.as_mut() {
                batch.wrote.push(id.clone());
            }
        }
    }

    fn accept(&mut self, id: &Id, accepted: Option<&Accepted>, touched: &mut Touched) {
        touched.resources.insert(id.clone());
        match accepted {
            Some(accepted) => self.resources.entry(id.clone()).or_default().accepted = Some(accepted.clone()),
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
