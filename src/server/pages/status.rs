//! What the pages read of a status. Everything may be missing: a page shows what there is.

use serde::Deserialize;
use std::collections::BTreeMap;

/// `status --output json`.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Statuses {
    pub applications: Vec<Status>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    pub name: String,
    pub mode: String,
    pub writes: Writes,
    pub latches: Vec<Latch>,
    pub source: Source,
    pub inventory: u64,
    pub drift: Drift,
    pub plan: Option<Plan>,
    pub rollout: Option<Rollout>,
    pub parked: Vec<Parked>,
    pub configuration: Option<Configuration>,
    pub last_cycle: Option<Cycle>,
    pub failing: Vec<Failing>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Writes {
    pub promotion: bool,
    pub healing: bool,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Latch {
    pub name: String,
    pub since: Option<jiff::Timestamp>,
    pub reasons: Vec<Reason>,
    pub clear: String,
    pub digest: Option<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Reason {
    pub code: String,
    pub message: String,
    pub observed: Option<u64>,
    pub limit: Option<u64>,
    pub n: Option<u64>,
}

impl Reason {
    /// Tells whether it is that the configuration or the renderer is another: no commit takes that back.
    pub fn is_reconfiguration(&self) -> bool {
        matches!(self.code.as_str(), "configuration" | "renderer")
    }
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub struct Source {
    pub tip: Option<String>,
    pub error: Option<String>,
    pub converged: Option<String>,
    pub converged_at: Option<jiff::Timestamp>,
    pub behind: u64,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub struct Drift {
    pub missing: u64,
    pub changed: u64,
    pub extra: u64,
    pub by_class: BTreeMap<String, u64>,
    pub resources: Vec<Drifted>,
    pub handed_over: Vec<Handed>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Handed {
    pub resource: String,
    pub leftover: Vec<Leftover>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Leftover {
    pub path: String,
    pub owners: Vec<Owner>,
}

impl Leftover {
    /// Returns whose it is now, several separated by commas.
    pub fn whose(&self) -> String {
        self.owners.iter().map(|owner| owner.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Owner {
    pub name: String,
}

impl Drift {
    pub fn total(&self) -> u64 {
        self.missing.saturating_add(self.changed).saturating_add(self.extra)
    }
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Drifted {
    pub resource: String,
    pub class: String,
    pub since: Option<jiff::Timestamp>,
    pub by: Option<String>,
    pub answer: String,
    pub leftover: Vec<Leftover>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Plan {
    pub digest: String,
    pub creates: u64,
    pub updates: u64,
    pub deletes: u64,
    pub bumps: u64,
    pub culprit: Option<Commit>,
    pub verdict: Option<String>,
    pub contributors: Vec<Commit>,
    pub operations: Vec<Operation>,
    pub commits: Vec<Commit>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Operation {
    pub resource: String,
    pub effect: String,
    pub shape: Option<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Commit {
    pub commit: String,
    pub author: String,
    pub signer: Option<String>,
    pub subject: String,
    pub creates: u64,
    pub updates: u64,
    pub deletes: u64,
    pub magnitude: u64,
    pub verdict: String,
    pub merge: bool,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, rename_all = "camelCase")]
pub struct Rollout {
    pub done: u64,
    pub total: u64,
    pub approved_by: Option<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Parked {
    pub resource: String,
    pub effect: String,
    pub reason: String,
    pub message: String,
    pub digest: String,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Configuration {
    pub loosened: Vec<String>,
    pub digest: String,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Cycle {
    pub started: Option<jiff::Timestamp>,
    pub seconds: f64,
    pub complete: bool,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Failing {
    pub resource: String,
    pub since: Option<jiff::Timestamp>,
    pub attempts: u64,
    pub next: Option<jiff::Timestamp>,
    pub reason: String,
}

/// `history --output json`.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Journal {
    pub history: Vec<Row>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct Row {
    pub at: Option<jiff::Timestamp>,
    pub kind: String,
    pub fact: serde_json::Value,
}
