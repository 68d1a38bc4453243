//! What `doctor` looks at before anything runs: every question that a controller would be stopped by, each with an answer,
//! where, why, and what to do. It writes nothing, and changes nothing that it looks at.
//!
//! - `files`: files with secrets and with trust: are they there, readable, and nobody else's?
//! - `state`: the state directory, the ledger, the clock, and what is frozen.
//! - `source`: the repository: is it reached, is the branch there, does its tip render?
//! - `trust`: who may sign, and would the tip be let through?
//! - `cluster`: the cluster: reached, ours, and what is permitted there.
//! - `target`: the directory: there, writable, lockable, ours, watched; and the commands that are run.
//! - `incluster`: where Applications are a cluster's: is it reached, and are the rights there?
//! - `network`: the port that is listened on, and the receivers of alerts.
//! - `forges`: the hosting services, and what the credentials are good for there.

mod cluster;
mod files;
mod forges;
mod incluster;
mod network;
mod source;
mod state;
mod target;
mod trust;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::config::{Application, Config};

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warning,
    /// It does not work, or is not safe.
    Problem,
}

/// One check, and how it came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The question, in one word: `repository`, `trust`, `clock` and so on.
    pub check: &'static str,
    /// Which application it is about, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<Arc<str>>,
    /// How it came out.
    pub verdict: Verdict,
    /// Which file, address or other place it is about.
    #[serde(rename = "where", skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What was found, and why that matters.
    pub message: String,
    /// What to do; empty when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// Takes up checks of one kind.
struct Notes<'a> {
    check: &'static str,
    application: Option<Arc<str>>,
    checks: &'a mut Vec<Check>,
}

impl Notes<'_> {
    fn add(&mut self, verdict: Verdict, place: impl ToString, message: impl Into<String>, advice: impl Into<String>) {
        self.checks.push(Check {
            check: self.check,
            application: self.application.clone(),
            verdict,
            place: place.to_string(),
            message: message.into(),
            advice: advice.into(),
        });
    }

    fn ok(&mut self, place: impl ToString, message: impl Into<String>) {
        self.add(Verdict::Ok, place, message, "");
    }

    fn warning(&mut self, place: impl ToString, message: impl Into<String>, advice: impl Into<String>) {
        self.add(Verdict::Warning, place, message, advice);
    }

    fn problem(&mut self, place: impl ToString, message: impl Into<String>, advice: impl Into<String>) {
        self.add(Verdict::Problem, place, message, advice);
    }
}

/// Checks everything that a configuration names, in order, as the pod of this name. `progress` is told what is looked at next.
pub fn examine(config: &Config, pod: Option<&str>, stop: &AtomicBool, progress: &mut dyn FnMut(&str)) -> Vec<Check> {
    let mut checks = Vec::new();
    progress("the state directory");
    files::controller(config, &mut notes("secrets", None, &mut checks));
    let state = state::state(config, &mut notes("state", None, &mut checks));
    network::listen(config, state.running.as_deref(), &mut notes("listen", None, &mut checks));
    if !config.controller.notify.is_empty() {
        progress("the receivers of alerts");
        network::notify(config, &mut notes("notify", None, &mut checks));
    }
    if !config.controller.forges.is_empty() {
        progress("the hosting services");
        forges::forges(config, &mut notes("hosting", None, &mut checks));
    }
    if let Some(settings) = &config.controller.cluster {
        progress("the cluster");
        incluster::incluster(settings, pod.unwrap_or("holdfast-0"), &mut notes("cluster", None, &mut checks));
    }
    let mut glimpses = source::Glimpses::default();
    for app in &config.applications {
        examine_application(app, config, &state, &mut glimpses, stop, progress, &mut checks);
    }
    checks
}

fn examine_application(
    app: &Application,
    config: &Config,
    state: &state::Seen,
    glimpses: &mut source::Glimpses,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
    checks: &mut Vec<Check>,
) {
    let name = Some(app.name.clone());
    files::source(app, &mut notes("secrets", name.clone(), checks));
    progress(&format!("the repository of {}", app.name));
    let seen = glimpses.of(app, config, stop);
    let wanted = source::source(app, &seen, &mut notes("repository", name.clone(), checks));
    let keys = trust::files(app, &mut notes("trust", name.clone(), checks));
    if let (Some(keys), Ok(glimpse)) = (&keys, &*seen) {
        trust::tip(app, keys, glimpse, &mut notes("trust", name.clone(), checks));
    }
    progress(&format!("the target of {}", app.name));
    target::target(app, &wanted, state, &mut notes("target", name.clone(), checks));
    target::commands(app, &mut notes("commands", name.clone(), checks));
    state::clock(app, state, &mut notes("clock", name.clone(), checks));
    state::freezes(app, config, state, seen.as_ref().as_ref().ok(), &mut notes("freeze", name.clone(), checks));
}

fn notes<'a>(check: &'static str, application: Option<Arc<str>>, checks: &'a mut Vec<Check>) -> Notes<'a> {
    Notes { check, application, checks }
}

/// Spells an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
