//! What does not converge, whatever the reason (`GUARDS.md` 7).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compare::Comparison;
use super::drift::Answer;
use super::ledger::Fact;
use super::resource::Id;
use super::state::{Differing, State};

/// Counts the cycles in which a resource differs up to `failures`, and notices what agrees again.
///
/// No further: a plan that is held for a weekend must not write one fact per resource and cycle into the journal.
pub fn count(comparison: &Comparison, state: &State, failures: u32, counted: bool) -> Vec<Fact> {
    let mut why: BTreeMap<&Id, Arc<str>> = BTreeMap::new();
    for op in &comparison.promote {
        why.insert(&op.id, "pending".into());
    }
    for drift in &comparison.drift {
        let word = match &drift.answer {
            Answer::Leave(_) if state.trouble(&drift.id).is_some_and(|trouble| trouble.quarantined.is_some()) => {
                "fought"
            }
            Answer::Leave(_) => continue,
            Answer::Escalate(_) => "held",
            Answer::Revert | Answer::RevertAt(_) => "drifted",
        };
        why.insert(&drift.id, word.into());
    }
    for conflict in &comparison.conflicts {
        why.insert(&conflict.id, "conflict".into());
    }
    for (id, _) in &comparison.unread {
        why.insert(id, "unread".into());
    }
    let mut facts = Vec::new();
    for (id, word) in &why {
        let trouble = state.trouble(id);
        let word =
            if trouble.is_some_and(|trouble| trouble.breaker.is_some()) { "failed".into() } else { word.clone() };
        let known = trouble.and_then(|trouble| trouble.differing.as_ref());
        let mut differing = known.cloned().unwrap_or(Differing {
            since: state.now(),
            cycles: 0,
            at: 0,
            alerted: false,
            why: word.clone(),
        });
        differing.why = word;
        if counted && differing.at != state.app.counted && differing.cycles < failures {
            differing.cycles += 1;
            differing.at = state.app.counted;
        }
        if known != Some(&differing) {
            facts.push(Fact::Differs { id: (*id).clone(), differing });
        }
    }
    for (id, resource) in &state.resources {
        let differs =
            resource.trouble.as_deref().is_some_and(|trouble| trouble.differing.is_some() || trouble.breaker.is_some());
        if differs && !why.contains_key(id) {
            facts.push(Fact::Agrees { id: id.clone() });
        }
    }
    facts
}
