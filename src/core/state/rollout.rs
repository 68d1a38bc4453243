//! A plan that passed or was approved, made durable: its operations, and how far it is (`GUARDS.md` 1, *rollout*).

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::commit::CommitId;
use crate::core::op::Op;
use crate::core::resource::{Digest, Id};

/// Where an operation of a rollout stands.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpState {
    /// Not yet written.
    Pending,
    /// Its budget is reserved: it is being written, or was when the process died.
    Reserved,
    /// Written.
    Done,
}

/// One operation of a rollout and its state.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RolloutOp {
    /// What is done.
    pub op: Op,
    /// How far it is.
    pub state: OpState,
}

/// What exempts a rollout from limits (`GUARDS.md` 5.4, 5.5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It passed every limit.
    Passed,
    /// A person approved it.
    Approved {
        /// Who.
        by: Arc<str>,
        /// The digest they named.
        digest: Digest,
    },
    /// It returns to a state that was good.
    Return,
}

/// The batch that is under way or settling.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// How many it may hold.
    pub size: u32,
    /// What it wrote.
    pub wrote: Vec<Id>,
    /// When it was complete and began to settle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling: Option<Timestamp>,
}

/// A plan that passed or was approved, made durable (`GUARDS.md` 1). Its operations are in [`State::rollout_ops`](super::State::rollout_ops).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The plan's digest.
    pub digest: Digest,
    /// The commit that it leads to.
    pub commit: CommitId,
    /// The digest of everything that is desired there.
    pub desired: Digest,
    /// N at its start.
    pub n: u32,
    /// What exempts it.
    pub standing: Standing,
    /// When it began.
    pub started: Timestamp,
    /// How many operations it has.
    pub total: u32,
    /// How many are done.
    pub done: u32,
    /// How many operations that do not delete are left.
    pub writes_left: u32,
    /// The batch under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// What the next batch may hold.
    pub next_batch: u32,
    /// What it wrote that turned unhealthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unhealthy: Vec<Id>,
    /// Poisoned commits of its range that later ones took back: nothing of them is written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<CommitId>,
}
