//! What of a cycle's report goes into the Application's status: nothing that changes without news.

use jiff::Timestamp;

use super::super::report::{self, LatchStatus};
use crate::cluster::status::{
    ApplicationStatus, Condition, Configuration, Drift, Latch, Parked, Plan, Reason, Rollout, Source, SpecError, Writes,
};
use crate::config::ConfigError;
use crate::core::guards::Mode;
use crate::core::state::LatchName;

/// How many reasons of one latch, parked operations and errors are shown: an object in etcd is small.
const SHOWN: usize = 10;

/// Every latch with the name of its condition.
const LATCHES: [(LatchName, &str); 11] = [
    (LatchName::Freeze, "Freeze"),
    (LatchName::State, "State"),
    (LatchName::Observation, "Observation"),
    (LatchName::Observe, "Observe"),
    (LatchName::History, "History"),
    (LatchName::Signature, "Signature"),
    (LatchName::Render, "Render"),
    (LatchName::Plan, "Plan"),
    (LatchName::Health, "Health"),
    (LatchName::Drift, "Drift"),
    (LatchName::Failure, "Failure"),
];

/// What a status is about.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// The generation of the `spec`.
    pub generation: i64,
    /// Which replica says it.
    pub replica: &'a str,
    /// What was said before: a condition that stays keeps its time.
    pub before: Option<&'a ApplicationStatus>,
    /// When it is said.
    pub now: Timestamp,
}

/// Returns the name of a latch's condition.
pub fn condition_of(latch: LatchName) -> &'static str {
    LATCHES.iter().find(|(name, _)| *name == latch).map_or("Latch", |(_, condition)| condition)
}

/// Projects a cycle's report.
pub fn project(status: &report::Status, about: &About<'_>) -> ApplicationStatus {
    let word = word(status);
    let why = why(status, word);
    let drift = &status.drift;
    let source = &status.source;
    let short = |commit: &crate::core::commit::CommitId| commit.short().to_owned();
    ApplicationStatus {
        observed_generation: Some(about.generation),
        state: word.as_str().to_owned(),
        mode: match status.mode {
            Mode::Observe => "observe".to_owned(),
            Mode::Converge => "converge".to_owned(),
        },
        revision: source.converged.as_ref().map(short),
        replica: Some(about.replica.to_owned()),
        conditions: conditions(status, word, &why, about),
        writes: Some(Writes { promotion: status.writes.promotion, healing: status.writes.healing }),
        latches: status.latches.iter().map(latch).collect(),
        source: Some(Source {
            tip: source.tip.as_ref().map(ToString::to_string),
            verified: source.verified.as_ref().map(ToString::to_string),
            converged: source.converged.as_ref().map(ToString::to_string),
            behind: source.behind,
            error: source.error.clone(),
        }),
        inventory: Some(status.inventory),
        drift: Some(Drift {
            total: drift.total(),
            missing: drift.missing,
            changed: drift.changed,
            by_class: drift.by_class.iter().map(|(class, count)| (class.to_string(), *count)).collect(),
        }),
        plan: status.plan.as_ref().map(|plan| Plan {
            digest: plan.digest.to_string(),
            creates: plan.magnitude.creates,
            updates: plan.magnitude.updates,
            deletes: plan.magnitude.deletes,
            bumps: plan.magnitude.bumps,
            culprit: plan.culprit.as_ref().map(|culprit| format!("{} {}", culprit.commit.short(), culprit.subject)),
        }),
        rollout: status.rollout.as_ref().map(|rollout| Rollout { done: rollout.done, total: rollout.total }),
        parked: status
            .parked
            .iter()
            .take(SHOWN)
            .map(|parked| Parked {
                resource: parked.resource.to_string(),
                reason: parked.reason.to_string(),
                digest: parked.digest.to_string(),
            })
            .collect(),
        configuration: status.configuration.as_ref().map(|configuration| Configuration {
            loosened: configuration.loosened.clone(),
            digest: configuration.digest.to_string(),
        }),
        failing: Some(u32::try_from(status.failing.len()).unwrap_or(u32::MAX)),
        errors: Vec::new(),
    }
}

/// Says of an Application that it cannot be worked on, and everything that is wrong with it. What was found before stays
/// shown: it is still what the target holds.
pub fn invalid(errors: &[SpecError], about: &About<'_>) -> ApplicationStatus {
    let mut status = about.before.cloned().unwrap_or_default();
    let first = errors.first().map(|error| format!("{}: {}", error.field, error.what)).unwrap_or_default();
    let message = match errors.len() {
        0 | 1 => first,
        more => format!("{first}; and {} more (status.errors)", more - 1),
    };
    status.observed_generation = Some(about.generation);
    "Invalid".clone_into(&mut status.state);
    status.replica = Some(about.replica.to_owned());
    status.writes = Some(Writes { promotion: false, healing: false });
    status.errors = errors.to_vec();
    let make = |kind: &str, holds: bool| condition(kind, holds, "Invalid", &message, about, None);
    let mut conditions = vec![make("Ready", false), make("Reconciling", false), make("Stalled", true)];
    let known = status.conditions.iter().filter(|known| !conditions.iter().any(|new| new.kind == known.kind));
    let kept: Vec<Condition> = known.cloned().collect();
    conditions.extend(kept);
    status.conditions = conditions;
    status
}

/// Spells what is wrong with a `spec`.
pub fn spec_errors(errors: &[ConfigError]) -> Vec<SpecError> {
    let spell = |error: &ConfigError| SpecError {
        field: error.field.clone(),
        what: error.what.clone(),
        hint: error.hint.clone(),
    };
    errors.iter().map(spell).collect()
}

/// How it stands, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Converged,
    Reconciling,
    Drifted,
    Observing,
    Halted,
    Frozen,
    Failing,
    Unread,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Converged => "Converged",
            Self::Reconciling => "Reconciling",
            Self::Drifted => "Drifted",
            Self::Observing => "Observing",
            Self::Halted => "Halted",
            Self::Frozen => "Frozen",
            Self::Failing => "Failing",
            Self::Unread => "Unread",
        }
    }
}

fn word(status: &report::Status) -> Word {
    let has = |name: LatchName| status.latches.iter().any(|latch| latch.name == name);
    let drifted = status.drift.total() > 0;
    let pending = status.rollout.is_some() || status.source.behind > 0 || status.source.converged.is_none();
    if has(LatchName::Freeze) {
        Word::Frozen
    } else if status.latches.iter().any(halts) {
        Word::Halted
    } else if has(LatchName::Observation) || status.source.error.is_some() {
        Word::Unread
    } else if has(LatchName::Failure) || !status.failing.is_empty() {
        Word::Failing
    } else if has(LatchName::Observe) {
        Word::Observing
    } else if pending {
        Word::Reconciling
    } else if drifted {
        Word::Drifted
    } else {
        Word::Converged
    }
}

/// Tells whether a latch waits for a person. A repository that cannot be read waits for nobody's commit.
fn halts(latch: &LatchStatus) -> bool {
    match latch.name {
        LatchName::State
        | LatchName::History
        | LatchName::Signature
        | LatchName::Plan
        | LatchName::Health
        | LatchName::Drift => true,
        LatchName::Render => !report::unfetched(&latch.reasons),
        LatchName::Freeze | LatchName::Observation | LatchName::Observe | LatchName::Failure => false,
    }
}

/// Says why it is so, for people.
fn why(status: &report::Status, word: Word) -> String {
    // Of all latches the one that made it the word it is: an application that observes may be halted as well.
    let telling = status.latches.iter().find(|latch| match word {
        Word::Halted => halts(latch),
        Word::Frozen => latch.name == LatchName::Freeze,
        Word::Unread => latch.name == LatchName::Observation,
        Word::Failing => latch.name == LatchName::Failure,
        _ => true,
    });
    let latched = telling.map(|latch| {
        let reason = latch.reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default();
        format!("{}: {reason}; to clear it: {}", latch.name.as_str(), latch.clear)
    });
    let commit = status.source.converged.as_ref().map(|commit| commit.short()).unwrap_or_default();
    match word {
        Word::Converged => format!("the target is as commit {commit} wants it"),
        Word::Reconciling => match &status.rollout {
            Some(rollout) => format!("{} of {} operations are done", rollout.done, rollout.total),
            None => format!("the target is {} commits behind", status.source.behind),
        },
        Word::Drifted => "resources were changed without a commit".to_owned(),
        Word::Failing => status.failing.first().map_or_else(
            || latched.unwrap_or_default(),
            |failing| {
                format!(
                    "{} of {} resources do not converge: {}",
                    status.failing.len(),
                    status.inventory,
                    failing.reason
                )
            },
        ),
        Word::Unread => match (&status.source.error, latched) {
            (Some(error), _) => format!("the repository could not be read: {error}"),
            (None, latched) => latched.unwrap_or_default(),
        },
        Word::Observing | Word::Halted | Word::Frozen => latched.unwrap_or_default(),
    }
}

fn conditions(status: &report::Status, word: Word, why: &str, about: &About<'_>) -> Vec<Condition> {
    let agrees = status.plan.is_none() && status.drift.total() == 0;
    let by_mode = status.latches.iter().any(|latch| latch.reasons.iter().any(|reason| &*reason.code == "mode"));
    let ready = match word {
        Word::Converged => true,
        // An application that shall only observe is ready once there is nothing to tell.
        Word::Observing => by_mode && agrees && status.last_cycle.complete,
        _ => false,
    };
    let reconciling = word == Word::Reconciling
        || word == Word::Drifted && status.writes.healing
        || (word == Word::Observing && !by_mode);
    let stalled = matches!(word, Word::Halted | Word::Frozen);
    let make = |kind: &str, holds: bool, since| condition(kind, holds, word.as_str(), why, about, since);
    let mut conditions =
        vec![make("Ready", ready, None), make("Reconciling", reconciling, None), make("Stalled", stalled, None)];
    for (name, kind) in LATCHES {
        let held = status.latches.iter().find(|latch| latch.name == name);
        conditions.push(match held {
            Some(latch) => {
                let reasons: Vec<&str> =
                    latch.reasons.iter().take(SHOWN).map(|reason| reason.message.as_str()).collect();
                let reason = latch.reasons.first().map_or_else(|| "Set".to_owned(), |reason| camel(&reason.code));
                let message = format!("{}; to clear it: {}", reasons.join("; "), latch.clear);
                condition(kind, true, &reason, &message, about, Some(latch.since))
            }
            None => condition(kind, false, "Clear", "", about, None),
        });
    }
    conditions
}

/// Makes a condition; one that stays what it was keeps its time.
fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    about: &About<'_>,
    since: Option<Timestamp>,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let known = about.before.and_then(|before| before.conditions.iter().find(|known| known.kind == kind));
    let kept = known.filter(|known| known.status == status).map(|known| known.last_transition_time.clone());
    // Kubernetes' own times have whole seconds.
    let time = |at: Timestamp| format!("{at:.0}");
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: kept.unwrap_or_else(|| time(since.unwrap_or(about.now))),
        observed_generation: Some(about.generation),
    }
}

/// Spells a reason's code as conditions want it: `delete_halt` is `DeleteHalt`.
fn camel(code: &str) -> String {
    code.split(['_', '-'])
        .filter_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
        })
        .collect()
}

fn latch(latch: &LatchStatus) -> Latch {
    let spell = |reason: &crate::core::reason::Reason| Reason {
        code: reason.code.to_string(),
        message: reason.message.clone(),
    };
    Latch {
        name: latch.name.as_str().to_owned(),
        scope: latch.scope.to_string(),
        since: format!("{:.0}", latch.since),
        reasons: latch.reasons.iter().take(SHOWN).map(spell).collect(),
        clear: latch.clear.clone(),
        digest: latch.digest.map(|digest| digest.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report(more: Value) -> report::Status {
        let commit = "3f2c1a9d7b8e6f5a4c3b2a1908f7e6d5c4b3a291";
        let mut value = json!({
            "name": "web", "mode": "converge", "writes": { "promotion": true, "healing": true }, "latches": [],
            "source": { "tip": commit, "verified": commit, "converged": commit, "behind": 0 },
            "inventory": 12, "drift": { "missing": 0, "changed": 0, "extra": 0, "byClass": {} },
            "lastCycle": { "id": "1-1", "started": "2026-01-01T00:00:00Z", "seconds": 0.2, "complete": true },
        });
        for (name, field) in more.as_object().into_iter().flatten() {
            value[name] = field.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    fn latch(name: &str, code: &str) -> Value {
        json!([{ "name": name, "scope": "all", "since": "2026-01-01T00:00:00Z", "clear": "wait",
            "reasons": [{ "code": code, "message": "because" }] }])
    }

    fn about<'a>(before: Option<&'a ApplicationStatus>, now: &str) -> About<'a> {
        About { generation: 3, replica: "holdfast/holdfast-0", before, now: now.parse().unwrap() }
    }

    /// Returns the word and which of Ready, Reconciling and Stalled hold.
    fn stands(report: &report::Status) -> (String, Vec<String>) {
        let status = project(report, &about(None, "2026-01-02T00:00:00Z"));
        let holds = status.conditions.iter().take(3).filter(|condition| condition.status == "True");
        (status.state, holds.map(|condition| condition.kind.clone()).collect())
    }

    #[test]
    fn each_state_is_told_as_kstatus_reads_it() {
        let failing = json!([{ "resource": "a", "since": "2026-01-01T00:00:00Z", "attempts": 3, "reason": "refused" }]);
        let drift = json!({ "missing": 1, "changed": 0, "extra": 0, "byClass": { "missing": 1 } });
        let tip = "a".repeat(40);
        let cases: [(Value, &str, &[&str]); 11] = [
            (json!({}), "Converged", &["Ready"]),
            (json!({ "source": { "tip": tip, "behind": 2 } }), "Reconciling", &["Reconciling"]),
            (json!({ "drift": drift }), "Drifted", &["Reconciling"]),
            (json!({ "latches": latch("PLAN", "delete_halt") }), "Halted", &["Stalled"]),
            (json!({ "latches": latch("FREEZE", "freeze") }), "Frozen", &["Stalled"]),
            (json!({ "latches": latch("OBSERVE", "mode"), "mode": "observe" }), "Observing", &["Ready"]),
            (json!({ "latches": latch("OBSERVE", "observe_for") }), "Observing", &["Reconciling"]),
            (json!({ "latches": latch("OBSERVATION", "unread") }), "Unread", &[]),
            (json!({ "latches": latch("RENDER", "render") }), "Halted", &["Stalled"]),
            (
                json!({ "latches": latch("RENDER", "fetch"), "source": { "error": "no route", "behind": 0 } }),
                "Unread",
                &[],
            ),
            (json!({ "failing": failing }), "Failing", &[]),
        ];
        for (more, word, holds) in cases {
            assert_eq!(
                stands(&report(more.clone())),
                (word.to_owned(), holds.iter().map(|kind| (*kind).to_owned()).collect()),
                "{more}"
            );
        }
    }

    #[test]
    fn the_latch_that_made_the_word_is_the_one_that_is_told() {
        let mut latches = latch("OBSERVE", "mode");
        latches.as_array_mut().unwrap().extend(latch("SIGNATURE", "unsigned").as_array().unwrap().iter().cloned());
        let status =
            project(&report(json!({ "latches": latches, "mode": "observe" })), &about(None, "2026-01-02T00:00:00Z"));
        assert_eq!(status.state, "Halted");
        assert_eq!(status.conditions[0].message, "SIGNATURE: because; to clear it: wait");
    }

    #[test]
    fn what_stays_keeps_its_time_and_without_news_nothing_changes() {
        let first = project(&report(json!({})), &about(None, "2026-01-02T00:00:00Z"));
        let again = project(
            &report(json!({ "lastCycle": {
            "id": "9-9", "started": "2026-01-03T00:00:00Z", "seconds": 3.0, "complete": true,
        } })),
            &about(Some(&first), "2026-01-03T00:00:00Z"),
        );
        assert_eq!(first, again);
        let halted = project(
            &report(json!({ "latches": latch("PLAN", "delete_halt") })),
            &about(Some(&first), "2026-01-03T00:00:00Z"),
        );
        let time = |status: &ApplicationStatus, kind: &str| {
            let condition = status.conditions.iter().find(|condition| condition.kind == kind).unwrap();
            (condition.status.clone(), condition.reason.clone(), condition.last_transition_time.clone())
        };
        assert_eq!(time(&halted, "Plan"), ("True".into(), "DeleteHalt".into(), "2026-01-01T00:00:00Z".into()));
        assert_eq!(time(&halted, "Ready"), ("False".into(), "Halted".into(), "2026-01-03T00:00:00Z".into()));
        assert_eq!(time(&halted, "Render").2, "2026-01-02T00:00:00Z");
    }

    #[test]
    fn what_is_invalid_keeps_what_was_found_and_tells_every_error() {
        let before = project(&report(json!({})), &about(None, "2026-01-02T00:00:00Z"));
        let error = |field: &str| SpecError { field: field.into(), what: "wrong".into(), hint: String::new() };
        let told = invalid(&[error("spec.a"), error("spec.b")], &about(Some(&before), "2026-01-03T00:00:00Z"));
        assert_eq!((told.state.as_str(), told.errors.len(), &told.revision), ("Invalid", 2, &before.revision));
        assert_eq!(told.conditions[2].message, "spec.a: wrong; and 1 more (status.errors)");
        assert_eq!(told.conditions.len(), before.conditions.len());
    }
}
