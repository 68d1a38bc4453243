//! The words of `status`, `plan` and `drift` as JSON has them: stable names, absent rather than null (`INTERFACE.md`).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::commit::CommitId;
use crate::core::guards::Mode;
use crate::core::plan::Magnitude;
use crate::core::reason::Reason;
use crate::core::resource::{Digest, FieldChange, Leftover};
use crate::core::state::LatchName;

/// One application's status, plan and drift.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The application.
    pub name: Arc<str>,
    /// `observe` or `converge`.
    pub mode: Mode,
    /// What may be written.
    pub writes: Writes,
    /// Every latch and bar that holds.
    pub latches: Vec<LatchStatus>,
    /// Where the branch and the target stand.
    pub source: SourceStatus,
    /// N.
    pub inventory: u32,
    /// Live drift in numbers.
    pub drift: DriftStatus,
    /// What would be promoted; absent when nothing would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// The rollout of a promotion under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// What waits for an approval of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedStatus>,
    /// What the configuration loosens and is held for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationStatus>,
    /// The cycle that this is of.
    pub last_cycle: CycleStatus,
    /// What does not converge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingStatus>,
    /// Why the target is not watched, so that changes are seen by the interval's cycles alone; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwatched: Option<Arc<str>>,
    /// The newest promotion that left something out because a later commit of its range took it back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<CommitId>,
}

/// What `drift` says of one application.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct Drifted {
    /// The application.
    pub name: Arc<str>,
    /// N.
    #[serde(default)]
    pub inventory: u32,
    /// Live drift, of what could be read.
    #[serde(default)]
    pub drift: DriftStatus,
    /// Why not everything could be read; absent if everything was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

impl Status {
    /// Returns what of it is about drift. What is unread is neither drift nor none.
    pub fn drifted(&self) -> Drifted {
        let latches = self.latches.iter().filter(|latch| latch.name == LatchName::Observation);
        Drifted {
            name: self.name.clone(),
            inventory: self.inventory,
            drift: self.drift.clone(),
            unread: latches.flat_map(|latch| &latch.reasons).map(|reason| reason.message.clone()).collect(),
        }
    }
}

/// What may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Writes {
    /// On to new commits.
    pub promotion: bool,
    /// Back to the accepted state.
    pub healing: bool,
}

/// A latch or bar.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LatchStatus {
    /// Which.
    pub name: LatchName,
    /// What it withholds: `all`, `promotion`, `healing`.
    pub scope: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What clears it, with the command to type.
    pub clear: String,
    /// The digest that lets it go when approved, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Where the branch and the target stand.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The branch's tip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<CommitId>,
    /// Why the tip could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The newest commit that a promotion was begun for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<CommitId>,
    /// The newest commit that everything was converged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<CommitId>,
    /// When it was.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "convergedAt")]
    pub converged_at: Option<Timestamp>,
    /// How many first-parent commits the target is behind.
    pub behind: u32,
}

/// Live drift in numbers, and the first drifted resources.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// Accepted resources that are gone.
    pub missing: u32,
    /// Accepted resources that are otherwise.
    pub changed: u32,
    /// What an exclusive target holds besides.
    pub extra: u32,
    /// How many of the changed ones are as accepted but for what no commit declares any longer.
    #[serde(default)]
    pub leftover: u32,
    /// By class.
    pub by_class: BTreeMap<Arc<str>, u32>,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<DriftedStatus>,
    /// What commits ceased to declare and somebody else declares: no drift.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed_over: Vec<HandedStatus>,
}

impl DriftStatus {
    /// Returns how many resources drift.
    pub const fn total(&self) -> u32 {
        self.missing + self.changed + self.extra
    }
}

/// What of a resource somebody else declares since no commit does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HandedStatus {
    /// Which.
    pub resource: Arc<str>,
    /// What of it, and who declares it.
    pub leftover: Vec<Leftover>,
}

/// One drifted resource.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DriftedStatus {
    /// Which.
    pub resource: Arc<str>,
    /// Its class.
    pub class: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Who, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// What becomes of it.
    pub answer: String,
    /// What no commit declares any longer and is still there, with its owners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftover: Vec<Leftover>,
    /// What differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<FieldChange>,
}

/// What would be promoted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlanStatus {
    /// What an approval names.
    pub digest: Digest,
    /// What a pre-approval names.
    pub change: Digest,
    /// Effects in numbers, bumps and inert changes apart.
    #[serde(flatten)]
    pub magnitude: Magnitude,
    /// The poisoned commit, when the plan is held because of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<CommitStatus>,
    /// `accumulation`, when no commit crosses a limit alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Arc<str>>,
    /// Who contributes, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<CommitStatus>,
    /// The operations in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationStatus>,
    /// The commits of the range, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<CommitStatus>,
}

/// One operation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OperationStatus {
    /// Which resource.
    pub resource: Arc<str>,
    /// What it amounts to.
    pub effect: Arc<str>,
    /// How it is counted.
    pub class: Arc<str>,
    /// What it shares with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Arc<str>>,
    /// What changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<FieldChange>,
}

/// One commit and what it does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommitStatus {
    /// Which.
    pub commit: CommitId,
    /// Who it claims wrote it.
    pub author: String,
    /// Who signed it, where that verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Arc<str>>,
    /// The first line of its message.
    pub subject: String,
    /// Its own creations.
    pub creates: u32,
    /// Its own updates.
    pub updates: u32,
    /// Its own deletions.
    pub deletes: u32,
    /// Its own magnitude: what the limits look at.
    pub magnitude: u32,
    /// `verified`, `vouched`, `exempt`, or the code of what failed.
    pub verdict: Arc<str>,
    /// The limits that it crosses alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crosses: Vec<Arc<str>>,
    /// Whether it is a merge; absent where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merge: bool,
}

impl CommitStatus {
    /// Returns the command that takes it back.
    pub fn revert(&self) -> String {
        let main = if self.merge { "-m 1 " } else { "" };
        format!("git revert {main}{}", self.commit.short())
    }
}

/// A rollout under way.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Its plan.
    pub digest: Digest,
    /// Operations done.
    pub done: u32,
    /// Operations in total.
    pub total: u32,
    /// Who approved it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "approvedBy")]
    pub approved_by: Option<Arc<str>>,
}

/// Something that waits for an approval of its own.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ParkedStatus {
    /// Which.
    pub resource: Arc<str>,
    /// What it would be.
    pub effect: Arc<str>,
    /// Why: `protected` or `conflict`.
    pub reason: Arc<str>,
    /// The same for people.
    pub message: Arc<str>,
    /// What an approval names.
    pub digest: Digest,
}

/// What the configuration loosens.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// Which parameters.
    pub loosened: Vec<String>,
    /// What an approval names.
    pub digest: Digest,
}

/// A cycle.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CycleStatus {
    /// Its number.
    pub id: Arc<str>,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Whether everything was read.
    pub complete: bool,
    /// What acting came to, per purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acted: Vec<String>,
}

/// A resource that does not converge.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FailingStatus {
    /// Which.
    pub resource: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// Why.
    pub reason: String,
}
