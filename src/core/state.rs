//! What is remembered of an application between cycles: the durable state that the journal folds into.

mod memory;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::approval::Parts;
use super::clock::Clock;
use super::commit::CommitId;
use super::freeze::FreezeState;
use super::guards::{Guards, TrustPolicy};
use super::highs::Highs;
use super::op::Verb;
use super::reason::Reason;
use super::resource::{Anchor, Digest, Id};
pub use memory::{About, Abouts, Accepted, Breaker, Differing, DriftMark, Hold, Resource, Trouble};
pub use rollout::{Batch, OpState, Rollout, RolloutOp, Standing};

/// Everything durable of one application.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct State {
    /// How many facts were folded.
    pub seq: u64,
    /// What does not grow with the number of resources.
    pub app: App,
    /// What is remembered per resource.
    pub resources: BTreeMap<Id, Resource>,
    /// The operations of the rollouts under way, by purpose and position.
    pub rollout_ops: BTreeMap<(Purpose, u32), RolloutOp>,
}

/// Why something is written. Each purpose has its own plan, budget and latch (`GUARDS.md` 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Back to the accepted state.
    Heal,
    /// On to a new commit.
    Promote,
}

impl Purpose {
    /// Both, in the order in which they act.
    pub const ALL: [Self; 2] = [Self::Heal, Self::Promote];

    /// Returns the word that JSON and logs have for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heal => "heal",
            Self::Promote => "promote",
        }
    }
}

/// What a person calls a latch (`GUARDS.md` 2), bars included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LatchName {
    /// A person said stop.
    Freeze,
    /// The ledger and the target do not belong together, or the clock is wrong.
    State,
    /// The target could not be read whole.
    Observation,
    /// Nothing is written until asked for.
    Observe,
    /// The branch does not go on from what was verified.
    History,
    /// The range is not signed as the policy wants.
    Signature,
    /// Desired is not complete.
    Render,
    /// The plan is too large to be let go unasked.
    Plan,
    /// What was written does not work.
    Health,
    /// Too much changed without a commit.
    Drift,
    /// The target refuses.
    Failure,
}

impl LatchName {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Freeze,
        Self::State,
        Self::Observation,
        Self::Observe,
        Self::History,
        Self::Signature,
        Self::Render,
        Self::Plan,
        Self::Health,
        Self::Drift,
        Self::Failure,
    ];

    /// Returns the name as it is printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "FREEZE",
            Self::State => "STATE",
            Self::Observation => "OBSERVATION",
            Self::Observe => "OBSERVE",
            Self::History => "HISTORY",
            Self::Signature => "SIGNATURE",
            Self::Render => "RENDER",
            Self::Plan => "PLAN",
            Self::Health => "HEALTH",
            Self::Drift => "DRIFT",
            Self::Failure => "FAILURE",
        }
    }
}

/// A durable latch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latch {
    /// When it was set, in logical time.
    pub since: Timestamp,
    /// Why.
    pub reasons: Vec<Reason>,
    /// What was judged: the desired digest (PLAN), the tip (HEALTH, FAILURE). Only another one can clear it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Arc<str>>,
    /// The digest that lets it go when approved, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The desired digest that was being written, where that was not the tip's: of the good commits before a culprit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrote: Option<Digest>,
    /// Counted cycles in a row without its cause.
    #[serde(default)]
    pub clean: u32,
    /// The counted cycle that was last added to `clean`.
    #[serde(default)]
    pub clean_at: u64,
    /// The resources that it withholds; empty means all of its scope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Id>,
}

/// What was written in the present counted cycle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// The counted cycle that it belongs to.
    pub cycle: u64,
    /// Reserved writes, deletions included.
    pub writes: u32,
    /// Reserved deletions.
    pub deletes: u32,
}

/// A state recorded as converged and healthy (`GUARDS.md` 5.5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Good {
    /// The digest of everything desired.
    pub desired: Digest,
    /// The commit.
    pub commit: CommitId,
    /// When it was last seen converged and healthy.
    pub at: Timestamp,
}

/// An approval that was given and not yet used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The digest that was approved: of a plan, of an operation, of a change, of a configuration.
    pub digest: Digest,
    /// Who, as the policy names them, or `local:USER`.
    pub by: Arc<str>,
    /// Which way it came: `local`, `api`, `tag`.
    pub via: Arc<str>,
    /// When the controller first saw it.
    pub at: Timestamp,
    /// Whether it was used.
    #[serde(default)]
    pub used: bool,
    /// The key that signed it, of a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
}

/// What the application's configuration was when it last governed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Governing {
    /// The guards.
    pub guards: Guards,
    /// The trust policy.
    pub trust: TrustPolicy,
    /// Their digest.
    pub digest: Digest,
}

/// Which source and target the ledger is about; a change of it is a halt (`GUARDS.md` 3.6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The repository's address, credentials removed.
    pub url: Arc<str>,
    /// The branch.
    pub branch: Arc<str>,
    /// The path in the repository.
    pub path: Arc<str>,
    /// The renderer and its version.
    pub renderer: Arc<str>,
    /// The target.
    pub target: Arc<str>,
}

/// What the ledger knows of the target's anchor.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AnchorState {
    /// What this ledger last wrote there and knows to have arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Anchor>,
    /// What it was about to write; after a crash either may be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended: Option<Anchor>,
}

/// How far the first, observing cycles are.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Watched {
    /// Complete counted cycles since the last reset.
    pub cycles: u32,
    /// When the first of them began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Whether the observe-only time is over.
    pub passed: bool,
}

/// What does not grow with the number of resources.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct App {
    /// The logical clock; absent before the first cycle.
    pub clock: Option<Clock>,
    /// The number of the last counted cycle.
    pub counted: u64,
    /// When it began.
    pub counted_at: Option<Timestamp>,
    /// The observe-only time.
    pub watched: Watched,
    /// Whether it was ever allowed to write.
    pub ever_converged: bool,
    /// The newest commit that a promotion was begun for.
    pub last_verified: Option<CommitId>,
    /// The commit that the first promotion of all was begun for.
    pub first: Option<CommitId>,
    /// The newest commit that everything was converged to.
    pub converged: Option<CommitId>,
    /// When it was.
    pub converged_at: Option<Timestamp>,
    /// The target's anchor.
    pub anchor: AnchorState,
    /// Durable latches.
    pub latches: BTreeMap<LatchName, Latch>,
    /// Since when bars hold.
    pub bars: BTreeMap<LatchName, Timestamp>,
    /// The codes of the reasons that were told of them last: another reason is news.
    pub barred_for: BTreeMap<LatchName, BTreeSet<Arc<str>>>,
    /// Freezes.
    pub freeze: FreezeState,
    /// Approvals.
    pub approvals: Vec<Approval>,
    /// Budgets of the present counted cycle.
    pub spent: BTreeMap<Purpose, Spent>,
    /// The largest inventories lately.
    pub highs: Highs,
    /// States recorded as converged and healthy.
    pub good: Vec<Good>,
    /// When a return was last begun.
    pub returned: Option<Timestamp>,
    /// The configuration that governs.
    pub governing: Option<Governing>,
    /// What source and target the ledger is about.
    pub identity: Option<Identity>,
    /// When pending commits were first seen.
    pub sights: BTreeMap<CommitId, Timestamp>,
    /// When the plan under judgement was first seen.
    pub plan_seen: Option<(Digest, Timestamp)>,
    /// How much there will be once the promotion that was begun last is done; 0 when one has converged since.
    pub begun: u32,
    /// Rollouts under way, by purpose.
    pub rollouts: BTreeMap<Purpose, Rollout>,
    /// The keys that vouched for the accepted commits, to notice their revocation.
    pub vouched_by: Vec<Arc<str>>,
    /// The poisoned commit that was counted last, so that it is counted once.
    pub poisoned: Option<CommitId>,
    /// Poisoned commits that were never written, of the range that `converged` ends.
    pub skipped: Vec<CommitId>,
    /// What waits for an approval, and who may not give it.
    pub parts: Option<Parts>,
}

impl App {
    /// Returns where the range to a tip begins: where everything converged; before it ever did, where the first promotion
    /// led. What was begun since and not finished is still to be judged, and whoever has a part in it may not approve it.
    pub fn base(&self) -> Option<&CommitId> {
        self.converged.as_ref().or(self.first.as_ref()).or(self.last_verified.as_ref())
    }
}

impl State {
    /// Returns the number of resources with an accepted state (N).
    pub fn inventory(&self) -> u32 {
        let n = self.resources.values().filter(|resource| resource.accepted.is_some()).count();
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// Returns what was accepted otherwise than a desired state has it.
    pub fn left_by(&self, desired: &super::resource::Desired) -> Vec<Id> {
        let accepted = self.resources.iter().filter_map(|(id, resource)| Some((id, resource.accepted.as_deref()?)));
        let left = accepted.filter(|(id, accepted)| desired.get(id).is_none_or(|want| want.digest != accepted.desired));
        left.map(|(id, _)| id.clone()).collect()
    }

    /// Holds each identity that a desired state has too only once, and all of them as tightly as one can.
    ///
    /// Changes nothing that can be seen: a hundred thousand resources that were read from a ledger, or accepted one after
    /// the other, take some ten megabytes less.
    pub fn share(&mut self, desired: &super::resource::Desired) {
        let mut wants = desired.wants().iter().map(|want| &want.id).peekable();
        let known = std::mem::take(&mut self.resources).into_iter();
        let shared = known.map(|(id, resource)| {
            while wants.next_if(|want| **want < id).is_some() {}
            (wants.next_if(|want| **want == id).cloned().unwrap_or(id), resource)
        });
        self.resources = shared.collect();
    }

    /// Returns the operations of a rollout under way, in their order.
    pub fn slots(&self, purpose: Purpose) -> impl Iterator<Item = &RolloutOp> {
        self.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX)).map(|(_, slot)| slot)
    }

    /// Returns the resources that a promotion under way is still to write; it may lead to another commit than the tip.
    pub fn to_be_written(&self) -> impl Iterator<Item = &Id> {
        let slots = self.slots(Purpose::Promote);
        slots.filter(|slot| slot.state != OpState::Done && slot.op.verb != Verb::Delete).map(|slot| &slot.op.id)
    }

    /// Returns what a promotion that nobody approved may have written without having been told: it counts as written, also in
    /// the judgement that ends that rollout.
    pub fn untold(&self) -> impl Iterator<Item = &super::op::Op> {
        let passed =
            self.app.rollouts.get(&Purpose::Promote).is_some_and(|rollout| rollout.standing == Standing::Passed);
        let slots = self.slots(Purpose::Promote);
        slots.filter(move |slot| passed && slot.state == OpState::Reserved).map(|slot| &slot.op)
    }

    /// Returns what is remembered of a resource beyond what was accepted.
    pub fn trouble(&self, id: &Id) -> Option<&Trouble> {
        self.resources.get(id)?.trouble.as_deref()
    }

    /// Returns logical time, or the epoch before the first cycle.
    pub fn now(&self) -> Timestamp {
        self.app.clock.as_ref().map_or(Timestamp::UNIX_EPOCH, |clock| clock.now)
    }

    /// Returns the largest inventory within a window that ends now (N of `GUARDS.md` 8).
    pub fn largest(&self, window: std::time::Duration) -> u32 {
        self.app.highs.largest(window, self.now()).max(self.inventory())
    }
}
