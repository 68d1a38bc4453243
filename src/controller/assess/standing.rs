//! What stands in the way before anything is planned, and what must be remembered of what was seen.

use std::collections::BTreeSet;

use super::super::edges::Ledger;
use super::{Reads, Settings};
use crate::core::commit::CommitId;
use crate::core::compare::Comparison;
use crate::core::guards::Guards;
use crate::core::ledger::Fact;
use crate::core::reason::Reason;
use crate::core::resource::Observed;
use crate::core::state::{Purpose, State};
use crate::core::{anchor, approval, drift, failing, pace};

/// Says why another source or target than the ledger's is a halt (`GUARDS.md` 3.6).
pub(super) fn identity_reasons(settings: &Settings, state: &State) -> (Option<Reason>, Option<Reason>) {
    let Some(known) = &state.app.identity else { return (None, None) };
    let now = &settings.identity;
    let history = (known.url != now.url || known.branch != now.branch).then(|| {
        let message = format!(
            "the configuration names {} branch {:?}; the ledger is about {} branch {:?}",
            now.url, &*now.branch, known.url, &*known.branch
        );
        Reason::new("configuration", message)
    });
    let path = (known.path != now.path).then(|| format!("path {:?} instead of {:?}", &*now.path, &*known.path));
    // While the program is not there, nothing renders; it is not another one.
    let other = known.renderer != now.renderer && !now.renderer.is_empty();
    let renderer = other.then(|| format!("renderer {} instead of {}", now.renderer, known.renderer));
    let changed = path.map(|what| ("configuration", what)).or_else(|| renderer.map(|what| ("renderer", what)));
    (history, changed.map(|(code, what)| Reason::new(code, format!("the configuration changed: {what}"))))
}

pub(super) fn misplaced(settings: &Settings, ledger: &impl Ledger, state: &State, reads: &Reads) -> Option<Reason> {
    if let Some(reason) = &settings.unreliable {
        return Some(reason.clone());
    }
    if let Some(behind) = reads.behind {
        let message = format!("the wall clock is {} s behind what this ledger has seen", behind.as_secs());
        return Some(Reason::new("clock", message));
    }
    let known = state.app.identity.as_ref();
    if let Some(known) = known.filter(|known| known.target != settings.identity.target) {
        let message = format!(
            "the configuration names the target {}, the ledger is about {}",
            settings.identity.target, known.target
        );
        return Some(Reason::new("configuration", message));
    }
    if reads.observed.failed().is_some() {
        return None;
    }
    anchor::misplaced(&state.app.anchor, &reads.observed.anchor, &settings.name, &ledger.id())
}

/// Returns what must be remembered of drift and of what does not converge, before anything is judged.
pub(super) fn remember(
    comparison: &Comparison,
    observed: &Observed,
    state: &State,
    guards: &Guards,
    counted: bool,
    wanted: bool,
) -> Vec<Fact> {
    let mut facts = Vec::new();
    for drift in &comparison.drift {
        if let Some(mark) = drift::mark(drift, state.trouble(&drift.id)) {
            facts.push(Fact::Drifted { id: drift.id.clone(), mark });
        }
        // What a promotion settles is no news while one goes on.
        if !comparison.settled.contains(&drift.id) {
            facts.extend(drift::announce(drift, state.trouble(&drift.id), state.now()));
        }
    }
    let confirmed = comparison.noted.iter().chain(&comparison.confirmed);
    facts.extend(confirmed.map(|(id, now)| Fact::Accepted { id: id.clone(), accepted: now.clone() }));
    facts.extend(comparison.undrifted.iter().map(|id| Fact::Undrifted { id: id.clone() }));
    let now = state.now();
    for (id, resource) in &state.resources {
        let Some(trouble) = resource.trouble.as_deref() else { continue };
        if trouble.hold.as_ref().and_then(|hold| hold.until).is_some_and(|until| until <= now) {
            facts.push(Fact::Released { id: id.clone(), by: "expired".into() });
        }
    }
    let lapsed = approval::lapsed(state).into_iter();
    facts.extend(lapsed.map(|digest| Fact::ApprovalSpent { digest, how: "lapsed".into() }));
    facts.extend(failing::count(comparison, observed, state, guards.failures, counted, wanted));
    facts
}

/// Returns what was fought over, before anything is compared: whoever meddles at once gets no further revert.
pub(super) fn fought(state: &State, guards: &Guards) -> Vec<Fact> {
    let now = state.now();
    let fights = state.resources.iter().filter(|(_, resource)| {
        let trouble = resource.trouble.as_deref();
        trouble.is_some_and(|trouble| trouble.quarantined.is_none() && pace::is_fight(&trouble.reverts, guards, now))
    });
    fights.map(|(id, _)| Fact::Quarantined { id: id.clone() }).collect()
}

/// Returns which commits are seen for the first time, and which of those that were seen no longer matter.
///
/// While the range is not known, nothing is forgotten: that would make old commits new.
pub(super) fn sightings(state: &State, pending: &BTreeSet<CommitId>, known: bool) -> Vec<Fact> {
    let sights = &state.app.sights;
    let new: Vec<CommitId> = pending.iter().filter(|commit| !sights.contains_key(commit)).cloned().collect();
    let goal = state.app.rollouts.get(&Purpose::Promote).map(|rollout| &rollout.commit);
    let matters = |commit: &CommitId| pending.contains(commit) || Some(commit) == goal;
    let old: Vec<CommitId> = sights.keys().filter(|commit| known && !matters(commit)).cloned().collect();
    let mut facts = Vec::new();
    if !new.is_empty() {
        facts.push(Fact::Sighted { commits: new });
    }
    if !old.is_empty() {
        facts.push(Fact::Unsighted { commits: old });
    }
    facts
}
