//! The `status` of an Application in a cluster: a projection of what the ledger's last report says, for people and for
//! programs that read conditions (`kstatus`). The ledger stays the record.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the controller last found. It is a projection: the ledger on the controller's volume is the record.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationStatus {
    /// The generation of the `spec` that all of this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word: Converged, Reconciling, Drifted, Observing, Halted, Frozen, Failing, Unread or Invalid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// The mode that governs: `observe` or `converge`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// The commit that everything was last converged to, abbreviated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The replica of the controller that owns the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
    /// Ready, Reconciling and Stalled as `kstatus` reads them, and one per latch.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<Writes>,
    /// Every latch that holds, and what clears it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latches: Vec<Latch>,
    /// Where the branch and the target stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How many resources are managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<u32>,
    /// Live drift in numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What would be promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// A promotion under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What waits for an approval of its own; the first of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<Parked>,
    /// What the `spec` loosens; until it is approved the stricter one governs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// How many resources do not converge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<u32>,
    /// Everything that is wrong with the `spec`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SpecError>,
}

/// A condition, as Kubernetes has them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for programs.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// Since when it is so.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// The generation that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Writes {
    /// On to new commits.
    pub promotion: bool,
    /// Back to the accepted state.
    pub healing: bool,
}

/// A latch that holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Latch {
    /// Which.
    pub name: String,
    /// What it withholds: `all`, `promotion`, `healing`.
    pub scope: String,
    /// Since when.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// Why; the first reasons.
    pub reasons: Vec<Reason>,
    /// What clears it.
    pub clear: String,
    /// The digest that lets it go when approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// One reason of a latch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What was crossed.
    pub code: String,
    /// The same for people.
    pub message: String,
}

/// Where the branch and the target stand.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The branch's tip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<String>,
    /// The newest commit that a promotion was begun for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// The commit that everything was last converged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<String>,
    /// How many first-parent commits the target is behind.
    pub behind: u32,
    /// Why the tip could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Live drift in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// All of it.
    pub total: u32,
    /// Accepted resources that are gone.
    pub missing: u32,
    /// Accepted resources that are otherwise.
    pub changed: u32,
    /// By class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_class: BTreeMap<String, u32>,
}

/// What would be promoted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// What an approval names.
    pub digest: String,
    /// Creations.
    pub creates: u32,
    /// Updates, bumps apart.
    pub updates: u32,
    /// Deletions, with what would go with them.
    pub deletes: u32,
    /// Version-only updates.
    pub bumps: u32,
    /// The commit that crosses a limit alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<String>,
}

/// A promotion under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// Operations done.
    pub done: u32,
    /// Operations in total.
    pub total: u32,
}

/// Something that waits for an approval of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// Which.
    pub resource: String,
    /// Why.
    pub reason: String,
    /// What an approval names.
    pub digest: String,
}

/// A looser configuration that waits for an approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// Which parameters.
    pub loosened: Vec<String>,
    /// What an approval names.
    pub digest: String,
}

/// Something that is wrong with the `spec`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpecError {
    /// The field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}
