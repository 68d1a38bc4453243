//! The guards' parameters as values (`GUARDS.md` 8), with their defaults and their arithmetic.
//!
//! Separate from the configuration that people write: these are validated, and part of an approval's digest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The largest allowed value of a magnitude, given how much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// Never crossed.
    Disabled,
    /// `max(over, percent of N)`, at most `at_most`; either part at zero makes it zero.
    Relative {
        /// The absolute part.
        over: u32,
        /// The part in percent of N, rounded down.
        percent: u32,
        /// An upper bound, if any.
        at_most: Option<u32>,
    },
    /// The same whatever N is.
    Fixed(u32),
}

impl Limit {
    /// Returns the largest allowed value at `n`; `None` means no limit.
    pub fn at(self, n: u32) -> Option<u32> {
        match self {
            Self::Disabled => None,
            Self::Fixed(limit) => Some(limit),
            Self::Relative { over: 0, .. } | Self::Relative { percent: 0, .. } => Some(0),
            Self::Relative { over, percent, at_most } => {
                let share = u64::from(n) * u64::from(percent) / 100;
                let share = u32::try_from(share).unwrap_or(u32::MAX);
                Some(over.max(share).min(at_most.unwrap_or(u32::MAX)))
            }
        }
    }
}

/// Writes per second against the target's API.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Sustained writes a second; zero writes nothing.
    pub per_second: u32,
    /// How many may come at once.
    pub burst: u32,
}

/// What becomes of drift of a class (`GUARDS.md` 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DriftPolicy {
    /// It is reverted to the accepted state.
    Revert,
    /// People are told; it is reverted only after the given time, if any.
    Escalate {
        /// When it is reverted after all.
        revert_after: Option<Duration>,
    },
    /// It is left alone, and no longer told.
    Adopt,
}

/// How live drift is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftPolicies {
    /// An accepted resource is gone.
    pub missing: DriftPolicy,
    /// Access control was changed.
    pub tamper: DriftPolicy,
    /// A person changed it, by a hold mark or an interactive writer.
    pub emergency: DriftPolicy,
    /// Anything else, once `grace` is over.
    pub routine: DriftPolicy,
    /// How long a change by nobody known is announced before it is routine.
    pub grace: Duration,
    /// Resources (glob over the identity) whose drift is ignored, all or at some paths.
    pub ignore: Vec<Ignore>,
}

/// Drift that is not looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ignore {
    /// A kind of the target's own, if it has kinds.
    pub kind: Option<Arc<str>>,
    /// A glob over the identity.
    pub resource: Option<Arc<str>>,
    /// JSON pointers; none means the whole resource.
    pub paths: Vec<Arc<str>>,
}

/// What is done with the good commits before a culprit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnPoison {
    /// The whole range is held.
    Hold,
    /// The newest commit before the culprit is converged to, if the prefix stays under half of every limit.
    LastGood,
}

/// How long an application is only observed before its first write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObserveFor {
    /// Whole counted cycles, at least one.
    Cycles(u32),
    /// At least so long, and one whole cycle.
    Time(Duration),
}

/// Whether anything may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is written until asked for.
    #[default]
    Observe,
    /// What the guards let through is written.
    Converge,
}

/// A halt on a plan that multiplies what is managed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    /// Desired is at least so many times N.
    pub factor: u32,
    /// Only from this N on.
    pub from: u32,
    /// Only with so many creations or more.
    pub creates: u32,
}

/// A halt on whole groups disappearing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Groups {
    /// So many groups or more.
    pub groups: u32,
    /// Of so many resources or more each.
    pub from: u32,
}

/// Every parameter of one application's guards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guards {
    /// Whether anything may be written.
    pub mode: Mode,
    /// The length of a counted cycle.
    pub interval: Duration,
    /// Whether desired that is missing, empty or renders nothing halts.
    pub empty_desired_halts: bool,
    /// Deletions in one plan.
    pub delete_halt: Limit,
    /// Updates and deletions in one plan, bumps apart.
    pub change_halt: Limit,
    /// Version-only updates in one plan.
    pub bump_halt: Limit,
    /// A plan that multiplies what is managed; `None` is disabled.
    pub growth_halt: Option<Growth>,
    /// Whole groups emptied; `None` is disabled.
    pub group_halt: Option<Groups>,
    /// Live drift without a commit.
    pub drift_halt: Limit,
    /// Globs over identities that are never deleted or replaced without an approval, besides the defaults of the target.
    pub protected: Vec<Arc<str>>,
    /// Whether the target's own list of protected resources holds.
    pub protected_defaults: bool,
    /// Window length to multiple of `delete_halt` for distinct deletions; empty is disabled.
    #[serde(with = "by_duration")]
    pub window_deletes: BTreeMap<Duration, u32>,
    /// Window length to multiple of `change_halt` for distinct changes; empty is disabled.
    #[serde(with = "by_duration")]
    pub window_changes: BTreeMap<Duration, u32>,
    /// Writes an interval; the percentage is of the larger of N and the rollout.
    pub write_cap: Limit,
    /// Deletions an interval; the percentage is of the rollout.
    pub delete_cap: Limit,
    /// Writes a second; `None` is the target's default, `Some(None)` is disabled.
    #[serde(default, with = "maybe_disabled", skip_serializing_if = "Option::is_none")]
    pub rate: Option<Option<Rate>>,
    /// The first back-off of a failed resource.
    pub backoff_initial: Duration,
    /// The longest back-off.
    pub backoff_max: Duration,
    /// Counted cycles after which what does not converge is alerted.
    pub failures: u32,
    /// Window length to number of automated reverts that quarantine a resource; empty is disabled.
    #[serde(with = "by_duration")]
    pub fight: BTreeMap<Duration, u32>,
    /// How long a batch may take to become healthy.
    pub settle: Duration,
    /// How long an approval is good for, from its first sight.
    pub approval_ttl: Duration,
    /// What is done with the good commits before a culprit.
    pub on_poison: OnPoison,
    /// How long is only observed before the first write.
    pub observe_for: ObserveFor,
    /// Whether whoever can write the ledger may approve on this machine.
    pub local_approval: bool,
    /// Whether one person may approve their own change, after 30 minutes.
    pub solo: bool,
    /// Whether what nobody declared stays where the target lists it: a directory that is not `exclusive`.
    #[serde(default)]
    pub spare_undeclared: bool,
    /// How live drift is answered.
    pub drift: DriftPolicies,
}

/// Writes a map of durations as pairs: a duration is no key of a JSON object.
mod by_duration {
    use super::{BTreeMap, Deserialize, Duration};

    pub fn serialize<S: serde::Serializer>(map: &BTreeMap<Duration, u32>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<Duration, u32>, D::Error> {
        Ok(Vec::<(Duration, u32)>::deserialize(from)?.into_iter().collect())
    }
}

/// Tells "the target's default" (absent) from "disabled" (null).
mod maybe_disabled {
    use super::{Deserialize, Rate};
    use serde::Serialize;

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub fn serialize<S: serde::Serializer>(rate: &Option<Option<Rate>>, to: S) -> Result<S::Ok, S::Error> {
        rate.unwrap_or_default().serialize(to)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<Rate>>, D::Error> {
        Option::deserialize(from).map(Some)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for DriftPolicies {
    fn default() -> Self {
        Self {
            missing: DriftPolicy::Revert,
            tamper: DriftPolicy::Revert,
            emergency: DriftPolicy::Escalate { revert_after: None },
            routine: DriftPolicy::Revert,
            grace: 30 * MINUTE,
            ignore: Vec::new(),
        }
    }
}

impl Default for Guards {
    /// Returns the defaults of `GUARDS.md` 8.
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            interval: 3 * MINUTE,
            empty_desired_halts: true,
            delete_halt: Limit::Relative { over: 5, percent: 10, at_most: Some(50) },
            change_halt: Limit::Relative { over: 15, percent: 30, at_most: None },
            bump_halt: Limit::Relative { over: 50, percent: 75, at_most: None },
            growth_halt: Some(Growth { factor: 2, from: 10, creates: 20 }),
            group_halt: Some(Groups { groups: 2, from: 3 }),
            drift_halt: Limit::Relative { over: 5, percent: 20, at_most: None },
            protected: Vec::new(),
            protected_defaults: true,
            window_deletes: [(HOUR, 1), (DAY, 2), (7 * DAY, 3)].into(),
            window_changes: [(HOUR, 1)].into(),
            write_cap: Limit::Relative { over: 10, percent: 10, at_most: None },
            delete_cap: Limit::Relative { over: 3, percent: 2, at_most: None },
            rate: None,
            backoff_initial: Duration::from_secs(30),
            backoff_max: 30 * MINUTE,
            failures: 3,
            fight: [(HOUR, 3), (7 * DAY, 5)].into(),
            settle: 2 * MINUTE,
            approval_ttl: 4 * HOUR,
            on_poison: OnPoison::Hold,
            observe_for: ObserveFor::Cycles(1),
            local_approval: true,
            solo: false,
            spare_undeclared: false,
            drift: DriftPolicies::default(),
        }
    }
}

impl Guards {
    /// Tells whether a resource is never deleted or replaced without an approval of its own (`GUARDS.md` 8, `protected`):
    /// the configuration's globs, and what the target protects by itself.
    pub fn protects(&self, id: &super::resource::Id, by_target: bool) -> bool {
        (self.protected_defaults && by_target)
            || self.protected.iter().any(|pattern| super::glob::matches(pattern, id.as_str()))
    }
}

/// What a whole repository's applications may do together (`GUARDS.md` 5.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetGuards {
    /// Updates and deletions over all applications, bumps apart.
    pub change: Limit,
    /// Deletions over all applications.
    pub delete: Limit,
}

impl Default for FleetGuards {
    fn default() -> Self {
        Self {
            change: Limit::Relative { over: 30, percent: 20, at_most: None },
            delete: Limit::Relative { over: 5, percent: 5, at_most: None },
        }
    }
}

/// Which commits of a range must verify (`GUARDS.md` 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// All of the range.
    #[default]
    Repository,
    /// Each first-parent commit that changes anything this application reads.
    Path,
}

/// Who must match the signer of a commit (`GUARDS.md` 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// A listed principal.
    #[default]
    Signer,
    /// A listed principal that is also the committer's address.
    Committer,
}

/// Who may sign and approve. The keys themselves stay with the edge that does cryptography.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustPolicy {
    /// Which commits must verify.
    pub verify: Verify,
    /// Who must match.
    pub match_: Match,
    /// Principals that may sign; empty means every principal of the files.
    pub signers: Vec<Arc<str>>,
    /// Principals that may approve and vouch.
    pub approvers: Vec<Arc<str>>,
    /// A person's name to their addresses and key fingerprints.
    pub people: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Whether a commit that the hosting service made of commits that verify is covered by our own merge of them.
    #[serde(default)]
    pub service_merges: bool,
    /// The first commit that is taken as verified, if configured.
    pub anchor: Option<super::commit::CommitId>,
}
