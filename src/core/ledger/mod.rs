//! The journal's rows and what each does to the state: nothing is told twice in different words.
//!
//! A [`Fact`] is at once a row of the journal, the change of [`State`](super::state::State), a log line and, for some, a
//! notice. Folding the whole journal gives the state.

mod fold;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approval::Parts;
use super::clock::Clock;
use super::commit::CommitId;
use super::drift::Class;
use super::freeze::FreezeState;
use super::op::{Effect, Op, Verb};
use super::reason::Reason;
use super::resource::{Anchor, Digest, Id};
use super::state::{
    Accepted, Approval, Breaker, Differing, DriftMark, Governing, Hold, Identity, Latch, LatchName, Purpose, Rollout,
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
        /// Whether the target was read whole.
        complete: bool,
        /// Whether what is desired could be told.
        #[serde(default = "told")]
        wanted: bool,
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
    /// A bar holds from now on, or for other reasons than before.
    Barred {
        /// Which.
        bar: LatchName,
        /// Why.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<Reason>,
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
    /// People are told of a resource's drift (`GUARDS.md` 6).
    Announced {
        /// Which.
        id: Id,
        /// Its class.
        class: Class,
        /// What becomes of it, for people.
        answer: String,
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
        accepted: Arc<Accepted>,
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
        /// Resources that stay as they were accepted, which this commit does not render: parked, held, ignored.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<Id>,
    },
    /// What waits for an approval, or who may not give it, changed.
    Contributed {
        /// Absent when nothing waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parts: Option<Parts>,
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
        accepted: Option<Arc<Accepted>>,
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
        accepted: Option<Arc<Accepted>>,
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
        /// Whether it may have landed although nobody said so: the operation stays reserved until an observation tells.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unknown: bool,
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
    /// A hold ended; or, where there was none, what differs there now may be taken back.
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

/// What rows of before the word existed meant.
const fn told() -> bool {
    true
}
