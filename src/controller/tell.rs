//! Tells people and machines what happened: log lines from facts, in the journal's own words.

use crate::core::commit::CommitId;
use crate::core::ledger::Fact;

/// Logs a fact that somebody may want to read in a log.
pub fn log(app: &str, fact: &Fact) {
    match fact {
        Fact::Latched { latch, state } => {
            let why = state.reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default();
            tracing::warn!(%app, latch = latch.as_str(), why, "halted");
        }
        Fact::Cleared { latch, by } => tracing::info!(%app, latch = latch.as_str(), %by, "cleared"),
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
        Fact::Moved { id, why, .. } => tracing::info!(%app, resource = %id, %why, "not written: it moved"),
        Fact::Converged { commit, skipped, .. } => {
            let skipped = skipped.iter().map(CommitId::short).collect::<Vec<_>>().join(" ");
            tracing::info!(%app, commit = commit.short(), %skipped, "converged");
        }
        Fact::Approved { approval } => tracing::info!(%app, digest = %approval.digest, by = %approval.by, "approved"),
        Fact::Reanchored { commit, by, reason, .. } => {
            tracing::warn!(%app, commit = CommitId::short(commit), %by, %reason, "reanchored");
        }
        Fact::Quarantined { id } => tracing::warn!(%app, resource = %id, "quarantined after a fight"),
        _ => tracing::debug!(%app, ?fact, "fact"),
    }
}
