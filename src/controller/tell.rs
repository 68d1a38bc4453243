//! Tells people and machines what happened: log line, metric and alert are made of the fact that the journal keeps, here
//! and nowhere else.

use std::sync::Arc;

use super::alerting::Receivers;
use super::incluster::herald::Herald;
use super::metrics::{Event, Metrics};
use crate::core::commit::CommitId;
use crate::core::ledger::Fact;
use crate::core::state::State;
use crate::store::Notice;

/// Tells what happened to one application.
#[derive(Clone)]
pub struct Teller {
    app: Arc<str>,
    /// The kind of its target.
    target: &'static str,
    receivers: Arc<Receivers>,
    metrics: Arc<Metrics>,
    herald: Option<Arc<Herald>>,
}

/// What is told of facts once they are durable.
#[derive(Debug)]
pub struct Told {
    /// What is queued in the same commit.
    pub notices: Vec<Notice>,
    events: Vec<Event>,
}

impl Teller {
    /// Makes what tells of one application.
    pub const fn new(app: Arc<str>, target: &'static str, receivers: Arc<Receivers>, metrics: Arc<Metrics>) -> Self {
        Self { app, target, receivers, metrics, herald: None }
    }

    /// Tells the cluster too.
    pub fn with_herald(self, herald: Option<Arc<Herald>>) -> Self {
        Self { herald, ..self }
    }

    /// Prepares what will be told; asked before the commit, since facts name what only the state before them knows.
    pub fn prepare(&self, ledger: &str, before: &State, facts: &[Fact]) -> Told {
        let notices = self.receivers.notices(ledger, &self.app, before, facts);
        let events = facts.iter().filter_map(|fact| Event::of(self.target, before, fact)).collect();
        Told { notices, events }
    }

    /// Tells it, now that it is durable.
    pub fn tell(&self, facts: &[Fact], told: &Told) {
        for fact in facts {
            log(&self.app, fact);
        }
        for event in &told.events {
            self.metrics.count(&self.app, event);
        }
        if let Some(herald) = &self.herald {
            herald.happened(&self.app, facts);
        }
    }
}

/// Logs a fact that somebody may want to read in a log.
pub fn log(app: &str, fact: &Fact) {
    match fact {
        Fact::Latched { latch, state } => {
            let why = state.reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default();
            tracing::warn!(%app, latch = latch.as_str(), why, "halted");
        }
        Fact::Cleared { latch, by } => tracing::info!(%app, latch = latch.as_str(), %by, "cleared"),
        Fact::Barred { bar, reasons } => {
            let why = reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default();
            tracing::warn!(%app, latch = bar.as_str(), why, "withheld");
        }
        Fact::Unbarred { bar } => tracing::info!(%app, latch = bar.as_str(), "withheld no longer"),
        Fact::Freezes { change, .. } => tracing::warn!(%app, %change, "freeze"),
        Fact::Poisoned { commit } => tracing::warn!(%app, commit = commit.short(), "a poisoned commit was named"),
        Fact::RolloutStarted { purpose, rollout, .. } => {
            tracing::info!(%app, ?purpose, commit = rollout.commit.short(), operations = rollout.total, "rollout started");
        }
        Fact::RolloutEnded { purpose, how } => tracing::info!(%app, ?purpose, %how, "rollout ended"),
        Fact::Wrote { id, effect, .. } => tracing::info!(%app, resource = %id, %effect, "wrote"),
        Fact::Failed { id, breaker, .. } => {
            tracing::warn!(%app, resource = %id, reason = %breaker.reason, attempts = breaker.attempts, "a write failed");
        }
        Fact::Moved { id, why, .. } => tracing::info!(%app, resource = %id, %why, "not written"),
        Fact::Converged { commit, skipped, .. } => {
            let skipped = skipped.iter().map(CommitId::short).collect::<Vec<_>>().join(" ");
            tracing::info!(%app, commit = commit.short(), %skipped, "converged");
        }
        Fact::Approved { approval } => tracing::info!(%app, digest = %approval.digest, by = %approval.by, "approved"),
        Fact::Reanchored { commit, by, reason, .. } => {
            tracing::warn!(%app, commit = CommitId::short(commit), %by, %reason, "reanchored");
        }
        Fact::Announced { id, class, answer } => tracing::warn!(%app, resource = %id, %class, %answer, "drifted"),
        Fact::Quarantined { id } => tracing::warn!(%app, resource = %id, "quarantined after a fight"),
        Fact::Differs { id, differing } if differing.alerted => {
            tracing::warn!(%app, resource = %id, why = %differing.why, cycles = differing.cycles, "not converged");
        }
        _ => tracing::debug!(%app, ?fact, "fact"),
    }
}
