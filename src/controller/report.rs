//! What a cycle found, as people and programs read it.

mod document;
pub mod operations;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assess::Assessment;
use crate::core::commit::CommitId;
use crate::core::culprit::{self, CommitEffect, Verdict};
use crate::core::drift;
use crate::core::judge::Held;
use crate::core::plan::Plan;
use crate::core::reason::Reason;
use crate::core::resource::Id;
use crate::core::state::{LatchName, Purpose, State, Trouble};
pub use document::{
    CommitStatus, ConfigurationStatus, CycleStatus, DriftStatus, Drifted, DriftedStatus, FailingStatus, HandedStatus,
    LatchStatus, OperationStatus, ParkedStatus, PlanStatus, RolloutStatus, SourceStatus, Status, Writes,
};

/// How many operations, drifted resources and commits a kept report lists; the counts are always whole.
const LISTED: usize = 500;

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
            format!(
                "remove the FREEZE by a verified commit; one set by a person: holdfast thaw {name}; spec.freeze: take it out"
            )
        }
        LatchName::State => format!("look at the target, then: holdfast reanchor {name} {base} --reason \"…\""),
        LatchName::Observation => "three complete observations; make the target readable".to_owned(),
        LatchName::Observe if held.latch.reasons.iter().any(|reason| &*reason.code == "mode") => {
            "set mode: converge in the configuration".to_owned()
        }
        LatchName::Observe if held.latch.reasons.iter().any(|reason| &*reason.code == "permission") => {
            "grant what is missing: holdfast doctor says which rules".to_owned()
        }
        LatchName::Observe => "by itself, after the observe-only cycle".to_owned(),
        LatchName::History => {
            format!("push a tip that goes on from {base}; or: holdfast reanchor {name} COMMIT --reason \"…\"")
        }
        LatchName::Signature => format!(
            "push a range that verifies, or vouch: git tag -s holdfast-vouch/COMMIT; see: holdfast verify {name}"
        ),
        LatchName::Render if unfetched(&held.latch.reasons) => {
            "by itself, once the repository can be read; holdfast doctor says what is wrong".to_owned()
        }
        LatchName::Render => "push a tip that renders".to_owned(),
        LatchName::Plan if held.latch.reasons.iter().any(Reason::is_reconfiguration) => approve(
            "the configuration and the renderer's program as they were, or a listed person who did not write it",
        ),
        LatchName::Plan => approve("git revert and push, or a listed person who did not write it"),
        LatchName::Health => approve("push a revert (a return is not held), or once healthy"),
        LatchName::Drift => approve("commit the change, or let it be reverted"),
        LatchName::Failure => "a probe that succeeds, or a new tip; see: holdfast drift".to_owned(),
    }
}

/// Tells whether what is desired is unknown only because the repository was not read: nothing is wrong with any commit.
pub fn unfetched(reasons: &[Reason]) -> bool {
    !reasons.is_empty() && reasons.iter().all(|reason| &*reason.code == "fetch")
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
        status.leftover += u32::from(!drift.leftover.is_empty());
        *status.by_class.entry(drift.class.as_str().into()).or_default() += 1;
        if status.resources.len() < LISTED {
            status.resources.push(DriftedStatus {
                resource: drift.id.as_str().into(),
                class: drift.class.as_str().into(),
                since: drift.since,
                by: drift.by.clone(),
                answer: drift::becomes(drift),
                leftover: drift.leftover.clone(),
                diff: assessment.details.get(&drift.id).cloned().unwrap_or_default(),
            });
        }
    }
    let handed = assessment.comparison.handed.iter().take(LISTED);
    status.handed_over =
        handed.map(|(id, left)| HandedStatus { resource: id.as_str().into(), leftover: left.clone() }).collect();
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
            // A first sync, or another path: no commit did it.
            Verdict::Accumulation(order) if order.is_empty() => {}
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

/// Says what one commit does; who signed it is known of those that were judged.
pub fn commit_status(assessment: &Assessment, effect: &CommitEffect) -> CommitStatus {
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
        merge: judged.is_some_and(|judged| judged.commit.parents.len() > 1),
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
