//! What `status`, `plan`, `drift` and `history` say, for the commands and for the API alike.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::assess::{Assessment, along, assess};
use super::book::Scratch;
use super::edges::LedgerError;
use super::live::{Live, OpenError, local_freezes};
use super::report::{self, CommitStatus, LatchStatus, Status};
use super::run::settings;
use crate::clock::MachineClock;
use crate::config::{Application, Config};
use crate::core::commit::CommitId;
use crate::core::freeze;
use crate::core::reason::Reason;
use crate::core::state::{LatchName, State};
use crate::store::{self, EVERY, Filter, Ledger, StoreError};

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The application's clone or target cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The judgement could not be made.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A kept report is not what this version writes.
    #[error("read the kept report: {0}")]
    Json(#[from] serde_json::Error),
}

/// Judges an application now, without writing anything.
///
/// # Errors
/// Those of opening and reading; what cannot be read of repository and target is part of the status.
pub fn judge(
    app: &Application,
    config: &Config,
    ledger: Option<&Ledger>,
    rev: Option<String>,
) -> Result<Status, ViewError> {
    let mut live = Live::open(app, &config.controller.state_dir, Arc::new(AtomicBool::new(false)))?;
    live.at_rev(rev);
    Ok(judged(&mut live, ledger)?.1)
}

/// Judges what the edges read, in memory alone.
fn judged(live: &mut Live, ledger: Option<&Ledger>) -> Result<(Assessment, Status), ViewError> {
    let app = live.application().clone();
    let (mut state, every, id) = match ledger {
        Some(ledger) => (ledger.load(&app.name)?, ledger.load(EVERY)?, ledger.id().clone()),
        None => (State::default(), State::default(), Arc::from("none")),
    };
    live.belong_to(&id);
    let started = std::time::Instant::now();
    let mut scratch = Scratch::new(id, app.name.clone(), every);
    let assessment = assess(&settings(&app), live, &mut scratch, &mut state)?;
    let status = report::status(&app.name, &assessment, &state, started.elapsed().as_secs_f64(), Vec::new());
    Ok((assessment, status))
}

/// What the merge of a proposed head would bring to one application.
#[derive(Debug)]
pub struct Merging {
    /// The judgement, as if the merge were the tip.
    pub status: Status,
    /// The tip that it was merged onto, where that is known.
    pub onto: Option<CommitId>,
    /// Where both sides changed the same things.
    pub conflicts: Vec<Arc<str>>,
    /// What the commits that it brings do, each by itself, the largest first; empty where nothing is held.
    pub brings: Vec<CommitStatus>,
}

/// Judges what the merge of a head into the tracked branch would bring, without writing anything.
///
/// # Errors
/// Those of reading the ledger; what cannot be read of repository and target is part of the status.
pub fn judge_merge(live: &mut Live, ledger: &Ledger, head: &CommitId) -> Result<Merging, ViewError> {
    live.propose(head.clone());
    let (assessment, status) = judged(live, Some(ledger))?;
    let proposed = live.proposed().cloned();
    let mut brings = Vec::new();
    if status.latches.iter().any(|latch| latch.name == LatchName::Plan)
        && let Some((base, commits)) = live.brought()
    {
        let effects = along(live, &base, &commits, &assessment.guards);
        brings = effects.iter().map(|effect| report::commit_status(&assessment, effect)).collect();
        brings.sort_by_key(|commit| std::cmp::Reverse(commit.magnitude));
    }
    let (onto, conflicts) = proposed.map(|proposed| (proposed.onto, proposed.conflicts)).unwrap_or_default();
    Ok(Merging { status, onto, conflicts, brings })
}

/// Returns the last cycle's report, brought up to date with freezes: those of commands hold from now on.
///
/// # Errors
/// Those of reading the ledger.
pub fn last_status(app: &Application, config: &Config, ledger: &Ledger) -> Result<Option<Status>, ViewError> {
    let Some(report) = ledger.get_report(&app.name)? else { return Ok(None) };
    let mut status: Status = serde_json::from_str(&report.json)?;
    let state = ledger.load(&app.name)?;
    let every = ledger.load(EVERY)?;
    let now = MachineClock::wall();
    let logical =
        |state: &State| state.app.clock.as_ref().map_or(now, |clock| clock.advance(&MachineClock::read()).now);
    let mut reasons: Vec<Reason> = local_freezes(app, &config.controller.state_dir, &state.app.freeze, logical(&state));
    for state in [&every, &state] {
        let active = state.app.freeze.active(&app.name, logical(state)).into_iter();
        reasons.extend(active.filter(|frozen| !frozen.is_local()).map(freeze::reason));
    }
    let known =
        status.latches.iter().position(|latch| latch.name == LatchName::Freeze).map(|at| status.latches.remove(at));
    if !reasons.is_empty() {
        let since = state.app.freeze.freezes.iter().chain(&every.app.freeze.freezes).map(|freeze| freeze.since).min();
        status.writes = report::Writes { promotion: false, healing: false };
        status.latches.insert(
            0,
            LatchStatus {
                name: LatchName::Freeze,
                scope: "all".into(),
                since: since.or(known.map(|known| known.since)).unwrap_or(now),
                reasons,
                clear: format!(
                    "remove the FREEZE by a verified commit; one set by a person: holdfast thaw {}",
                    app.name
                ),
                digest: None,
            },
        );
    }
    Ok(Some(status))
}

/// Says that nothing is known of an application yet.
fn unobserved(app: &Application) -> Value {
    let reason = Reason::new("observe_for", "not observed yet: start the controller with `holdfast run`");
    let latch = json!({ "name": "OBSERVE", "scope": "all", "since": MachineClock::wall(), "reasons": [reason], "clear": "holdfast run" });
    json!({ "name": app.name, "mode": app.guards.mode, "writes": { "promotion": false, "healing": false }, "latches": [latch],
        "source": { "behind": 0 }, "inventory": 0, "drift": { "missing": 0, "changed": 0, "extra": 0, "byClass": {} } })
}

/// Makes the document of `status`.
///
/// # Errors
/// Never for what this program makes.
pub fn status_document(statuses: &[(&Application, Option<Status>)]) -> Result<Value, ViewError> {
    let document = |(app, status): &(&Application, Option<Status>)| match status {
        Some(status) => serde_json::to_value(status),
        None => Ok(unobserved(app)),
    };
    let documents = statuses.iter().map(document).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "applications": documents }))
}

/// Makes the document of `plan`: the operations and commits beside the plan, as `INTERFACE.md` has them.
///
/// # Errors
/// Never for what this program makes.
pub fn plan_document(statuses: &[Status]) -> Result<Value, ViewError> {
    let flat = |status: &Status| -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(status)?;
        if let Some(plan) = &status.plan {
            value["operations"] = serde_json::to_value(&plan.operations)?;
            value["commits"] = serde_json::to_value(&plan.commits)?;
        }
        Ok(value)
    };
    let plans = statuses.iter().map(flat).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "applications": plans }))
}

/// Makes the document of `drift`.
pub fn drift_document(statuses: &[Status]) -> Value {
    json!({ "applications": statuses.iter().map(Status::drifted).collect::<Vec<_>>() })
}

/// A row of the journal and whose it is.
pub type Row = (Arc<str>, store::Entry);

/// Reads the newest rows of the journal of some applications, and of what concerns all.
///
/// # Errors
/// Those of reading the ledger.
pub fn history(apps: &[&Application], ledger: &Ledger, last: usize) -> Result<Vec<Row>, ViewError> {
    let mut rows: Vec<Row> = Vec::new();
    for name in apps.iter().map(|app| app.name.clone()).chain([Arc::from(EVERY)]) {
        rows.extend(ledger.history(&name, &Filter::default(), last)?.into_iter().map(|row| (name.clone(), row)));
    }
    rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.at, row.seq)));
    rows.truncate(last);
    Ok(rows)
}

/// Makes the document of `history`.
pub fn history_document(rows: &[Row]) -> Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|(app, row)| {
            let fact: Value = serde_json::from_str(&row.json).unwrap_or_default();
            json!({ "application": app, "seq": row.seq, "at": row.at, "kind": row.kind, "fact": fact })
        })
        .collect();
    json!({ "history": rows })
}
