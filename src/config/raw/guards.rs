//! Guards and drift as written. Parts that are not written keep the defaults of `GUARDS.md` 8.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{Disabled, RawDuration, RawLimit, RawWindows};

/// What stops the loop. Zero means zero; off is written `disabled`.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGuards {
    /// Deletions in one plan.
    pub delete_halt: Option<RawLimit>,
    /// Updates and deletions in one plan, bumps apart.
    pub change_halt: Option<RawLimit>,
    /// Version-only updates in one plan.
    pub bump_halt: Option<RawLimit>,
    /// A plan that multiplies what is managed.
    pub growth_halt: Option<RawGrowth>,
    /// Whole groups (directory under the path, or namespace) emptied by one plan.
    pub group_halt: Option<RawGroups>,
    /// Live drift without a commit.
    pub drift_halt: Option<RawLimit>,
    /// What a source path does that is missing, empty or renders nothing.
    pub empty_desired: Option<RawEmptyDesired>,
    /// Globs over resources that are never deleted or replaced without an approval; added to the defaults.
    pub protected: Option<Vec<String>>,
    /// Whether the target's own list of protected resources holds.
    pub protected_defaults: Option<bool>,
    /// How much may go in a window of time, as multiples of `deleteHalt` and `changeHalt`.
    pub window: Option<RawWindow>,
    /// Writes an interval; the percentage is of the larger of N and the rollout.
    pub write_cap: Option<RawLimit>,
    /// Deletions an interval; the percentage is of the rollout.
    pub delete_cap: Option<RawLimit>,
    /// Writes a second against the target's API.
    pub rate: Option<RawRate>,
    /// How long a failed resource waits before it is tried again, doubled each time, with full jitter.
    pub backoff: Option<RawBackoff>,
    /// Counted cycles after which a resource that does not converge is alerted.
    pub failures: Option<u32>,
    /// Automated reverts of one resource, in a window of time, that quarantine it.
    pub fight: Option<RawWindows>,
    /// How long a batch may take to become healthy.
    pub settle: Option<RawDuration>,
    /// How long an approval is good for, from its first sight.
    pub approval_ttl: Option<RawDuration>,
    /// What is done with the good commits before a poisoned one.
    pub on_poison: Option<RawOnPoison>,
    /// How long is only observed before the first write: `1 cycle`, `2 cycles`, or a duration.
    pub observe_for: Option<String>,
    /// Whether whoever can write the ledger may approve on the controller's own machine.
    pub local_approval: Option<bool>,
    /// Whether one person may approve their own change, after 30 minutes.
    pub solo: Option<bool>,
}

/// A halt on a plan that multiplies what is managed.
#[derive(Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum RawGrowth {
    /// Off.
    Off(Disabled),
    /// When.
    Parts(RawGrowthParts),
}

/// When a plan multiplies what is managed.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGrowthParts {
    /// Desired is at least so many times N.
    pub factor: Option<u32>,
    /// Only from this N on.
    pub from: Option<u32>,
    /// Only with so many creations or more.
    pub creates: Option<u32>,
}

/// A halt on whole groups disappearing.
#[derive(Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum RawGroups {
    /// Off.
    Off(Disabled),
    /// When.
    Parts(RawGroupsParts),
}

/// When whole groups disappear.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGroupsParts {
    /// So many groups or more.
    pub groups: Option<u32>,
    /// Of so many resources or more each.
    pub from: Option<u32>,
}

/// What a source path does that is missing, empty or renders nothing.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawEmptyDesired {
    /// It halts.
    Halt,
    /// It is taken at its word: everything is to be deleted, as far as the other guards let it.
    Allow,
}

/// How much may go in a window of time.
#[derive(Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum RawWindow {
    /// Off, both.
    Off(Disabled),
    /// Deletions and changes.
    Parts(RawWindowParts),
}

/// How much may go in a window of time, as multiples of a halt.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawWindowParts {
    /// Distinct deletions: a length to a multiple of `deleteHalt`.
    pub deletes: Option<RawWindows>,
    /// Distinct changes: a length to a multiple of `changeHalt`.
    pub changes: Option<RawWindows>,
}

/// Writes a second.
#[derive(Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum RawRate {
    /// Off.
    Off(Disabled),
    /// How many.
    Parts(RawRateParts),
}

/// Writes a second; zero writes nothing.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRateParts {
    /// Sustained writes a second.
    pub per_second: Option<u32>,
    /// How many may come at once.
    pub burst: Option<u32>,
}

/// How long a failed resource waits.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBackoff {
    /// The first time.
    pub initial: Option<RawDuration>,
    /// At most.
    pub max: Option<RawDuration>,
}

/// What is done with the good commits before a poisoned one.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum RawOnPoison {
    /// The whole range is held.
    Hold,
    /// The newest commit before it is converged to, if that much stays under half of every limit.
    LastGood,
}

/// How live drift is answered, by class.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawDrift {
    /// An accepted resource is gone.
    pub missing: Option<RawDriftPolicy>,
    /// Access control was changed.
    pub tamper: Option<RawDriftPolicy>,
    /// A person changed it, by a hold mark or an interactive writer.
    pub emergency: Option<RawDriftPolicy>,
    /// Anything else, once `grace` is over.
    pub routine: Option<RawDriftPolicy>,
    /// How long a change by nobody known is announced before it is routine.
    pub grace: Option<RawDuration>,
    /// Drift that is not looked at.
    pub ignore: Option<Vec<RawIgnore>>,
}

/// What becomes of drift: `revert`, `escalate`, `adopt`, or `{escalate: {revertAfter: 8h}}`.
#[derive(Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum RawDriftPolicy {
    /// One word.
    Word(RawDriftWord),
    /// Escalation with an end.
    Escalate(RawEscalate),
}

/// What becomes of drift.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawDriftWord {
    /// It is reverted to the accepted state.
    Revert,
    /// People are told, and nothing is done.
    Escalate,
    /// It is left alone, and no longer told.
    Adopt,
}

/// Escalation with options.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawEscalate {
    /// The options.
    #[schemars(required)]
    pub escalate: Option<RawEscalateOptions>,
}

/// Options of escalation.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawEscalateOptions {
    /// When it is reverted after all; absent: never.
    pub revert_after: Option<RawDuration>,
}

/// Drift that is not looked at: by kind, by resource, or both.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawIgnore {
    /// A kind of the target's own.
    pub kind: Option<String>,
    /// A glob over resources.
    pub resource: Option<String>,
    /// JSON pointers, into a list by number, `key=value` or `*`; absent: the whole resource. A file has no paths inside.
    pub paths: Option<Vec<String>>,
}

/// What all applications of one repository may do together, bumps apart.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawFleet {
    /// Updates and deletions over all applications. Default `{over: 30, percent: 20}`.
    pub change: Option<RawLimit>,
    /// Deletions over all applications. Default `{over: 5, percent: 5}`.
    pub delete: Option<RawLimit>,
}
