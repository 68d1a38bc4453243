//! The commands that only look: `status`, `plan`, `drift`, `history`, `verify`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::args::{self, Cli, Output};
use super::{Done, Failure, chosen, history_text, load, print_json, progress, put, style, text};
use crate::clock::MachineClock;
use crate::config::{Application, Config};
use crate::controller::edges::Read as _;
use crate::controller::live::Live;
use crate::controller::report::Status;
use crate::controller::{operate, view};
use crate::core::govern::govern;
use crate::core::reason::Reason;
use crate::core::state::LatchName;
use crate::store::{Ledger, Mode, StoreError};

/// Opens the ledger to look at it; `None` when there is none yet.
fn reader(config: &Config) -> Result<Option<Ledger>, Failure> {
    match Ledger::open(&config.controller.state_dir, Mode::Reader) {
        Ok(ledger) => Ok(Some(ledger)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `status`: what the last cycle found, and what freezes now.
pub(super) fn status(cli: &Cli, name: Option<&str>) -> Done {
    let config = load(cli)?;
    let apps = chosen(&config, name)?;
    let ledger = match reader(&config) {
        Ok(ledger) => ledger,
        Err(failure) => return unusable(cli, &apps, &failure),
    };
    let mut statuses = Vec::new();
    for app in apps {
        let last = ledger.as_ref().map(|ledger| view::last_status(app, &config, ledger)).transpose()?.flatten();
        statuses.push((app, last));
    }
    if cli.output == Output::Json {
        return print_json(&view::status_document(&statuses)?);
    }
    for (app, status) in &statuses {
        match status {
            Some(status) => put(&text::status(status, MachineClock::wall(), style(cli)))?,
            None => println!("{:<8} not observed yet: start the controller with `holdfast run`", app.name),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what a ledger that cannot be used means: STATE, for every application.
fn unusable(cli: &Cli, apps: &[&Application], failure: &Failure) -> Done {
    if cli.output == Output::Json {
        let now = MachineClock::wall();
        let latch = |app: &Application| {
            json!({ "name": "STATE", "scope": "all", "since": now,
                "reasons": [Reason::new("ledger", failure.message.clone())],
                "clear": format!("holdfast reanchor {} COMMIT --reason \"…\"", app.name) })
        };
        let statuses: Vec<_> = apps
            .iter()
            .map(|app| json!({ "name": app.name, "mode": app.guards.mode, "writes": { "promotion": false, "healing": false }, "latches": [latch(app)] }))
            .collect();
        return print_json(&json!({ "applications": statuses }));
    }
    for app in apps {
        println!("{:<8} HALTED   promotion stopped · healing stopped · detection goes on", app.name);
        println!("  STATE  {}", failure.message.trim_end());
        println!(
            "      to clear STATE  look at the target, then: holdfast reanchor {} COMMIT --reason \"…\"",
            app.name
        );
        println!("      more   docs/runbook/state.md");
    }
    Ok(ExitCode::SUCCESS)
}

/// `plan`: fetches and judges; nothing is written.
pub(super) fn plan(cli: &Cli, args: &args::Plan) -> Done {
    let config = load(cli)?;
    let ledger = reader(&config)?;
    let spinner = progress::spinner("reading the repository and the target");
    let mut statuses = Vec::new();
    for app in chosen(&config, args.app.as_deref())? {
        let status = view::judge(app, &config, ledger.as_ref(), args.rev.clone())?;
        if let (Some(rev), Some(why)) = (&args.rev, &status.source.error) {
            return Err(Failure::new(format!("plan {rev:?} for {}: {why}", app.name)));
        }
        if let Some(plan) = status.plan.as_ref().filter(|_| args.rev.is_some()) {
            remember(&config, app, plan.change)?;
        }
        statuses.push(status);
    }
    drop(spinner);
    let code = if args.exit_code { exit_code(&statuses) } else { 0 };
    if cli.output == Output::Json {
        print_json(&view::plan_document(&statuses)?)?;
    } else {
        for status in &statuses {
            put(&text::plan(status, style(cli)))?;
        }
    }
    Ok(ExitCode::from(code))
}

/// Remembers a change that was shown, so that an approval of it is told from a slip of the fingers.
fn remember(config: &Config, app: &Application, change: crate::core::resource::Digest) -> Result<(), Failure> {
    let ledger = Ledger::open(&config.controller.state_dir, Mode::Writer)?;
    Ok(ledger.put_report(&operate::shown(app, change), MachineClock::wall(), "{}")?)
}

fn exit_code(statuses: &[Status]) -> u8 {
    let halts = |status: &Status| status.latches.iter().any(|latch| latch.name != LatchName::Observe);
    let changes = |status: &Status| {
        status.plan.as_ref().is_some_and(|plan| !plan.magnitude.is_zero()) || status.drift.total() > 0
    };
    if statuses.iter().any(halts) {
        3
    } else if statuses.iter().any(changes) {
        2
    } else {
        0
    }
}

/// `drift`: observes now.
pub(super) fn drift(cli: &Cli, name: Option<&str>) -> Done {
    let config = load(cli)?;
    let ledger = reader(&config)?;
    let spinner = progress::spinner("reading the repository and the target");
    let mut statuses = Vec::new();
    for app in chosen(&config, name)? {
        statuses.push(view::judge(app, &config, ledger.as_ref(), None)?);
    }
    drop(spinner);
    if cli.output == Output::Json {
        return print_json(&view::drift_document(&statuses));
    }
    for status in &statuses {
        put(&text::drift(&status.drifted(), MachineClock::wall(), style(cli)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `history`: the journal, newest first.
pub(super) fn history(cli: &Cli, args: &args::History) -> Done {
    let config = load(cli)?;
    let Some(ledger) = reader(&config)? else {
        if cli.output == Output::Json {
            return print_json(&json!({ "history": [] }));
        }
        println!("nothing happened yet: start the controller with `holdfast run`");
        return Ok(ExitCode::SUCCESS);
    };
    let rows = view::history(&chosen(&config, args.app.as_deref())?, &ledger, args.last)?;
    if cli.output == Output::Json {
        return print_json(&view::history_document(&rows));
    }
    for (app, row) in &rows {
        let fact: serde_json::Value = serde_json::from_str(&row.json).unwrap_or_default();
        put(&history_text::row(row.at, app, row.seq, &row.kind, &fact))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `verify`: the verdict on every commit of a range.
pub(super) fn verify(cli: &Cli, args: &args::Verify) -> Done {
    let config = load(cli)?;
    let ledger = reader(&config)?;
    let (name, range) = match (&args.app, &args.range) {
        (Some(app), None) if app.contains("..") => (None, Some(app.as_str())),
        (app, range) => (app.as_deref(), range.as_deref()),
    };
    let (base, rev) = match range.map(|range| range.split_once("..").ok_or(range)) {
        None => (None, None),
        Some(Ok((base, tip))) => (Some(base), Some(tip.to_owned()).filter(|tip| !tip.is_empty())),
        Some(Err(range)) => return Err(Failure::usage(format!("{range:?} is no range: write BASE..TIP"))),
    };
    let mut verdicts: BTreeMap<Arc<str>, Vec<serde_json::Value>> = BTreeMap::new();
    let mut failed = false;
    for app in chosen(&config, name)? {
        let mut state = ledger.as_ref().map(|ledger| ledger.load(&app.name)).transpose()?.unwrap_or_default();
        let mut live = Live::open(app, &config.controller.state_dir, Arc::new(AtomicBool::new(false)))?;
        live.at_rev(rev.clone());
        let spinner = progress::spinner(&format!("verifying {}", app.name));
        let tip = live.fetch().map_err(|why| Failure::new(why.to_string()))?;
        if let (Some(base), Some(snapshot)) = (base, live.snapshot()) {
            let base = snapshot.resolve(&app.source.branch, base)?;
            (state.app.converged, state.app.last_verified) = (Some(base.clone()), Some(base));
        }
        let trusted = live
            .trust(&state, &tip, &govern(&state, &app.governing()).policy)
            .map_err(|why| Failure::new(format!("judge the range to {}: {why}", tip.short())))?;
        drop(spinner);
        failed |= !trusted.signature.is_empty() || trusted.history.is_some();
        let rows = verdicts.entry(app.name.clone()).or_default();
        for judged in &trusted.commits {
            if cli.output == Output::Text {
                let signer = judged.signer.as_deref().unwrap_or("-");
                println!(
                    "{:<8} {}  {:<22} {signer:<28} {:?}",
                    app.name,
                    judged.commit.id.short(),
                    judged.verdict,
                    judged.commit.subject
                );
                if let Some(why) = &judged.why {
                    println!("         {why}");
                }
            }
            let mut row = json!({ "commit": judged.commit.id, "author": judged.commit.author.email,
                "subject": judged.commit.subject, "verdict": judged.verdict });
            if let Some(signer) = &judged.signer {
                row["signer"] = json!(signer);
            }
            if let Some(why) = &judged.why {
                row["why"] = json!(why);
            }
            rows.push(row);
        }
        if cli.output == Output::Text && trusted.commits.is_empty() {
            println!("{:<8} nothing beyond {}: it is verified already", app.name, tip.short());
        }
        if let Some(history) = trusted.history.filter(|_| cli.output == Output::Text) {
            println!("{:<8} HISTORY  {}", app.name, history.message);
        }
    }
    if cli.output == Output::Json {
        let apps: Vec<_> =
            verdicts.into_iter().map(|(name, commits)| json!({ "name": name, "commits": commits })).collect();
        print_json(&json!({ "applications": apps }))?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}
