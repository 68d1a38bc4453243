//! What does not converge, whatever the reason (`GUARDS.md` 7).

use std::collections::BTreeMap;

use super::compare::Comparison;
use super::drift::{self, Answer};
use super::ledger::Fact;
use super::resource::{Health, Id, Observed};
use super::state::{Differing, LatchName, State};

/// Every word that says why a resource does not converge.
pub const WHYS: [&str; 8] = ["pending", "unhealthy", "drifted", "held", "fought", "conflict", "unread", "failed"];

/// Counts the cycles in which a resource differs or is unhealthy up to `failures`, and notices what agrees again. With the
/// last of them it is marked to be alerted, once, whatever the reason.
///
/// No further: a plan that is held for a weekend must not write one fact per resource and cycle into the journal.
pub fn count(comparison: &Comparison, observed: &Observed, state: &State, failures: u32, counted: bool) -> Vec<Fact> {
    let why = reasons(comparison, observed, state);
    let mut facts = Vec::new();
    for (id, word) in &why {
        let trouble = state.trouble(id);
        let word = if trouble.is_some_and(|trouble| trouble.breaker.is_some()) { "failed" } else { word };
        let known = trouble.and_then(|trouble| trouble.differing.as_ref());
        let mut differing = known.cloned().unwrap_or(Differing {
            since: state.now(),
            cycles: 0,
            at: 0,
            alerted: false,
            why: word.into(),
        });
        if *differing.why != *word {
            differing.why = word.into();
        }
        if counted && differing.at != state.app.counted && differing.cycles < failures {
            differing.cycles += 1;
            differing.at = state.app.counted;
        }
        differing.alerted |= differing.cycles >= failures;
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

/// Says of each resource that does not converge why, in one of [`WHYS`].
fn reasons<'a>(comparison: &'a Comparison, observed: &'a Observed, state: &'a State) -> BTreeMap<&'a Id, &'static str> {
    let mut why: BTreeMap<&Id, &'static str> = BTreeMap::new();
    let ill = |live: &super::resource::Live| live.here().is_some_and(|here| here.health == Health::Unhealthy);
    for (id, _) in observed.seen.iter().filter(|(_, live)| ill(live)) {
        why.insert(id, "unhealthy");
    }
    for id in state.app.latches.get(&LatchName::Health).iter().flat_map(|latch| &latch.only) {
        why.insert(id, "unhealthy");
    }
    for op in &comparison.promote {
        why.insert(&op.id, "pending");
    }
    for drift in &comparison.drift {
        let word = match &drift.answer {
            Answer::Leave(_) if state.trouble(&drift.id).is_some_and(|trouble| trouble.quarantined.is_some()) => {
                "fought"
            }
            Answer::Leave(_) if drift::held(state.trouble(&drift.id), state.now()) => "held",
            Answer::Leave(_) => continue,
            Answer::Escalate(_) => "held",
            Answer::Revert | Answer::RevertAt(_) => "drifted",
        };
        why.insert(&drift.id, word);
    }
    for conflict in &comparison.conflicts {
        why.insert(&conflict.id, "conflict");
    }
    for (id, _) in &comparison.unread {
        why.insert(id, "unread");
    }
    why
}
