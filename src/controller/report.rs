//! What a cycle found, as JSON has it (`INTERFACE.md`): field names are stable, absent rather than null.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::assess::Assessment;
use crate::core::commit::CommitId;
use crate::core::culprit::{self, CommitEffect, Verdict};
use crate::core::drift;
use crate::core::guards::Mode;
use crate::core::judge::Held;
use crate::core::plan::{Magnitude, Plan};
use crate::core::reason::Reason;
use crate::core::resource::{Digest, FieldChange, Id};
use crate::core::state::{LatchName, Purpose, State, Trouble};

/// How many operations, drifted resources and commits a kept report lists; the counts are always whole.
const LISTED: usize = 500;

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
    /// By class.
    pub by_class: BTreeMap<Arc<str>, u32>,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<DriftedStatus>,
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

/// Makes the report of a cycle, after acting.
pub fn status(name: &Arc<str>, assessment: &Assessment, state: &State, seconds: f64, acted: Vec<String>) -> Status {
    let held = standing(assessment, state);
    let withheld = |purpose| held.iter().any(|held| held.scope.withholds(purpose));
    Status {
        name: name.clone(),
        mode: assessment.guards.mode,
        writes: Writes { promotion: !withheld(Purpose::Promote), healing: !withheld(Purpose::Heal) },
        latches: held.iter().map(|held| latch_status(name, held, state)).collect(),
        source: source_status(assessment, state),
        inventory: state.inventory(),
        drift: drift_status(assessment),
        plan: plan_status(assessment, held.iter().any(|held| held.name == LatchName::Plan)),
        rollout: state.app.rollouts.get(&Purpose::Promote).map(|rollout| RolloutStatus {
            digest: rollout.digest,
            done: rollout.done,
            total: rollout.total,
            approved_by: match &rollout.standing {
                crate::core::state::Standing::Approved { by, .. } => Some(by.clone()),
                _ => None,
            },
        }),
        parked: parked_status(assessment),
        configuration: assessment.loosened.clone().map(|(loosened, digest)| ConfigurationStatus { loosened, digest }),
        last_cycle: CycleStatus {
            id: format!("{}-{}", state.app.counted, state.seq).into(),
            started: assessment.started,
            seconds: (seconds * 1000.0).round() / 1000.0,
            complete: assessment.complete,
            acted,
        },
        failing: failing_status(assessment, state),
        unwatched: None,
        skipped: skipped(state),
    }
}

impl Status {
    /// Says that this process writes nothing whatever the ledger says: another one may by now.
    pub fn withhold(&mut self, reason: Reason) {
        self.writes = Writes { promotion: false, healing: false };
        let since = self.last_cycle.started;
        let clear = "by itself, once this replica holds its Lease".to_owned();
        let latch = LatchStatus {
            name: LatchName::State,
            scope: "all".into(),
            since,
            reasons: vec![reason],
            clear,
            digest: None,
        };
        self.latches.insert(0, latch);
    }
}

/// Counts what does not converge, by the reason's word.
pub fn failing_by_reason<'a>(assessment: &Assessment, state: &'a State) -> BTreeMap<&'a str, u32> {
    let mut counts = BTreeMap::new();
    for (_, trouble) in failing(assessment, state) {
        let why = trouble.differing.as_ref().map_or("failed", |differing| &differing.why);
        *counts.entry(why).or_default() += 1;
    }
    counts
}

/// Returns every latch that holds after acting: acting may have set HEALTH.
fn standing(assessment: &Assessment, state: &State) -> Vec<Held> {
    let mut held = assessment.judgement.standing.clone();
    if let Some(latch) = state.app.latches.get(&LatchName::Health)
        && !held.iter().any(|held| held.name == LatchName::Health)
    {
        held.push(Held { name: LatchName::Health, latch: latch.clone(), scope: crate::core::judge::Scope::Promotion });
    }
    held.sort_by_key(|held| held.name);
    held
}

fn latch_status(name: &str, held: &Held, state: &State) -> LatchStatus {
    let digest = held.latch.digest;
    LatchStatus {
        name: held.name,
        scope: held.scope.as_str().into(),
        since: held.latch.since,
        reasons: held.latch.reasons.clone(),
        clear: clear(name, held, state),
        digest,
    }
}

/// Says what clears a latch, with the command to type (`GUARDS.md` 2).
fn clear(name: &str, held: &Held, state: &State) -> String {
    let approve = |what: &str| match held.latch.digest {
        Some(digest) => format!("{what}: holdfast approve {name} {digest}"),
        None => what.to_owned(),
    };
    let base = state.app.last_verified.as_ref().map_or("COMMIT", CommitId::as_str);
    match held.name {
        LatchName::Freeze => {
            format!("remove the FREEZE by a verified commit; one set by a person: holdfast thaw {name}")
        }
        LatchName::State => format!("look at the target, then: holdfast reanchor {name} {base} --reason \"…\""),
        LatchName::Observation => "three complete observations; make the target readable".to_owned(),
        LatchName::Observe if held.latch.reasons.iter().any(|reason| &*reason.code == "mode") => {
            "set mode: converge in the configuration".to_owned()
        }
        LatchName::Observe => "by itself, after the observe-only cycle".to_owned(),
        LatchName::History => {
            format!("push a tip that goes on from {base}; or: holdfast reanchor {name} COMMIT --reason \"…\"")
        }
        LatchName::Signature => format!(
            "push a range that verifies, or vouch: git tag -s holdfast-vouch/COMMIT; see: holdfast verify {name}"
        ),
        LatchName::Render => "push a tip that renders".to_owned(),
        LatchName::Plan => approve("git revert and push, or a listed person who did not write it"),
        LatchName::Health => approve("push a revert (a return is not held), or once healthy"),
        LatchName::Drift => approve("commit the change, or let it be reverted"),
        LatchName::Failure => "a probe that succeeds, or a new tip; see: holdfast drift".to_owned(),
    }
}

fn source_status(assessment: &Assessment, state: &State) -> SourceStatus {
    let converged = state.app.converged.clone();
    let behind = assessment.commits.iter().filter(|effect| Some(&effect.commit) != converged.as_ref()).count();
    let there = assessment.tip.as_ref().ok() == converged.as_ref();
    SourceStatus {
        tip: assessment.tip.as_ref().ok().cloned(),
        error: assessment.tip.as_ref().err().map(ToString::to_string),
        verified: state.app.last_verified.clone(),
        converged_at: state.app.converged_at.filter(|_| converged.is_some()),
        converged,
        behind: if there { 0 } else { u32::try_from(behind).unwrap_or(u32::MAX) },
    }
}

fn drift_status(assessment: &Assessment) -> DriftStatus {
    let mut status = DriftStatus::default();
    let promotes = assessment.judgement.may_begin(Purpose::Promote);
    let settled = &assessment.leading().settled;
    for drift in assessment.comparison.drift.iter().filter(|drift| !(promotes && settled.contains(&drift.id))) {
        match (drift.class, drift.live) {
            (crate::core::drift::Class::Extra, _) => status.extra += 1,
            (_, None) => status.missing += 1,
            (_, Some(_)) => status.changed += 1,
        }
        *status.by_class.entry(drift.class.as_str().into()).or_default() += 1;
        if status.resources.len() < LISTED {
            status.resources.push(DriftedStatus {
                resource: drift.id.as_str().into(),
                class: drift.class.as_str().into(),
                since: drift.since,
                by: drift.by.clone(),
                answer: drift::answer_text(&drift.id, &drift.answer),
                diff: assessment.details.get(&drift.id).cloned().unwrap_or_default(),
            });
        }
    }
    status
}

fn plan_status(assessment: &Assessment, held: bool) -> Option<PlanStatus> {
    let plan: &Plan = &assessment.promote;
    if plan.is_empty() && assessment.commits.is_empty() && !held {
        return None;
    }
    let commits: Vec<CommitStatus> =
        assessment.commits.iter().map(|effect| commit_status(assessment, effect)).collect();
    let (mut culprit, mut contributors, mut verdict) = (None, Vec::new(), None);
    if held {
        match culprit::verdict(&assessment.commits) {
            Verdict::Culprit(at) => culprit = commits.get(at).cloned(),
            Verdict::Accumulation(order) => {
                verdict = Some("accumulation".into());
                contributors = order.iter().filter_map(|at| commits.get(*at).cloned()).take(LISTED).collect();
            }
        }
    }
    let operations = plan.ops.iter().take(LISTED).map(|op| OperationStatus {
        resource: op.id.as_str().into(),
        effect: op.effect.to_string().into(),
        class: format!("{:?}", op.class).to_lowercase().into(),
        shape: op.shape.clone(),
        diff: assessment.details.get(&op.id).cloned().unwrap_or_default(),
    });
    Some(PlanStatus {
        digest: plan.digest,
        change: plan.change,
        magnitude: plan.magnitude,
        culprit,
        verdict,
        contributors,
        operations: operations.collect(),
        commits: commits.into_iter().take(LISTED).collect(),
    })
}

fn commit_status(assessment: &Assessment, effect: &CommitEffect) -> CommitStatus {
    let judged =
        assessment.trusted.iter().flat_map(|trusted| &trusted.commits).find(|judged| judged.commit.id == effect.commit);
    CommitStatus {
        commit: effect.commit.clone(),
        author: effect.author.clone(),
        signer: judged.and_then(|judged| judged.signer.clone()),
        subject: effect.subject.clone(),
        creates: effect.magnitude.creates,
        updates: effect.magnitude.updates + effect.magnitude.bumps,
        deletes: effect.magnitude.deletes,
        magnitude: effect.magnitude.rank(),
        verdict: judged.map_or_else(|| "unknown".into(), |judged| judged.verdict.clone()),
        crosses: effect.crosses.clone(),
    }
}

fn parked_status(assessment: &Assessment) -> Vec<ParkedStatus> {
    let plans = [&assessment.promote, &assessment.heal];
    let parked = plans.iter().flat_map(|plan| &plan.parked).map(|parked| ParkedStatus {
        resource: parked.op.id.as_str().into(),
        effect: parked.op.effect.to_string().into(),
        reason: parked.code.into(),
        message: parked.why.clone(),
        digest: parked.digest,
    });
    let conflicts = assessment.comparison.conflicts.iter().map(|conflict| ParkedStatus {
        resource: conflict.id.as_str().into(),
        effect: conflict.op.effect.to_string().into(),
        reason: "conflict".into(),
        message: conflict.why.clone(),
        digest: conflict.op.digest(),
    });
    parked.chain(conflicts).take(LISTED).collect()
}

/// Finds what failed, or has differed for as many counted cycles as it takes.
fn failing<'a>(assessment: &Assessment, state: &'a State) -> impl Iterator<Item = (&'a Id, &'a Trouble)> {
    // What was pending was written in this cycle, and is only forgotten when the next one finds it in place.
    let converged = assessment.tip.is_ok() && assessment.tip.as_ref().ok() == state.app.converged.as_ref();
    let failures = assessment.guards.failures;
    state.resources.iter().filter_map(move |(id, resource)| {
        let trouble = resource.trouble.as_deref()?;
        let differing = trouble.differing.as_ref();
        let failed = trouble.breaker.is_some();
        if !failed && differing.is_none_or(|differing| differing.cycles < failures) {
            return None;
        }
        let written = converged && !failed && differing.is_some_and(|differing| &*differing.why == "pending");
        (!written).then_some((id, trouble))
    })
}

fn failing_status(assessment: &Assessment, state: &State) -> Vec<FailingStatus> {
    let failing = failing(assessment, state).map(|(id, trouble)| {
        let (differing, breaker) = (trouble.differing.as_ref(), trouble.breaker.as_ref());
        FailingStatus {
            resource: id.as_str().into(),
            since: differing.map_or(state.now(), |differing| differing.since),
            attempts: breaker.map_or(0, |breaker| breaker.attempts),
            next: breaker.map(|breaker| breaker.next),
            reason: breaker.map_or_else(
                || differing.map(|differing| differing.why.to_string()).unwrap_or_default(),
                |breaker| breaker.reason.to_string(),
            ),
        }
    });
    failing.take(LISTED).collect()
}

/// Returns the poisoned commits that a promotion left out because later ones took them back: of the rollout under way, or of
/// the range that was converged to last.
fn skipped(state: &State) -> Vec<CommitId> {
    let rollout = state.app.rollouts.get(&Purpose::Promote);
    rollout.map_or(&state.app.skipped, |rollout| &rollout.skipped).clone()
}
