//! What does not converge, whatever the reason (`GUARDS.md` 7).

use std::collections::BTreeMap;

use super::compare::Comparison;
use super::drift::{self, Answer};
use super::ledger::Fact;
use super::plan::removes;
use super::resource::{Id, Observed};
use super::state::{Differing, LatchName, State, Trouble};

/// Every word that says why a resource does not converge.
pub const WHYS: [&str; 10] =
    ["pending", "protected", "unhealthy", "drifted", "held", "fought", "conflict", "unread", "leaving", "failed"];

/// Counts the cycles in which a resource differs or is unhealthy up to `failures`, and notices what agrees again. With the
/// last of them it is marked to be alerted, once, whatever the reason.
///
/// No further: a plan that is held for a weekend must not write one fact per resource and cycle into the journal.
///
/// Without an observation nothing agrees. While what is desired is not known (`wanted` is false), what only a promotion
/// would change does not either: neither shows that a write which failed would succeed now.
pub fn count(
    comparison: &Comparison,
    observed: &Observed,
    state: &State,
    failures: u32,
    counted: bool,
    wanted: bool,
) -> Vec<Fact> {
    let why = reasons(comparison, state);
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
    if observed.failure.is_some() {
        return facts;
    }
    for (id, resource) in &state.resources {
        let Some(trouble) = resource.trouble.as_deref() else { continue };
        let differs = trouble.differing.is_some() || trouble.breaker.is_some();
        if differs && !why.contains_key(id) && (wanted || !awaits_promotion(trouble)) {
            facts.push(Fact::Agrees { id: id.clone() });
        }
    }
    facts
}

/// Tells whether a resource may differ from nothing but what is desired, so that only that can say that it agrees.
fn awaits_promotion(trouble: &Trouble) -> bool {
    let word = trouble.differing.as_ref().map(|differing| &*differing.why);
    trouble.breaker.is_some() || matches!(word, Some("pending" | "protected" | "conflict" | "failed"))
}

/// Says of each resource that does not converge why, in one of [`WHYS`].
fn reasons<'a>(comparison: &'a Comparison, state: &'a State) -> BTreeMap<&'a Id, &'static str> {
    let mut why: BTreeMap<&Id, &'static str> = BTreeMap::new();
    for id in &comparison.ill {
        why.insert(id, "unhealthy");
    }
    for id in state.app.latches.get(&LatchName::Health).iter().flat_map(|latch| &latch.only) {
        why.insert(id, "unhealthy");
    }
    for op in &comparison.promote {
        // Parked until somebody approves it, or on its way like everything else.
        let approved = || state.app.approvals.iter().any(|approval| approval.digest == op.digest());
        let parked = op.nature.protected && removes(op) && !approved();
        why.insert(&op.id, if parked { "protected" } else { "pending" });
    }
    for drift in &comparison.drift {
        let word = match &drift.answer {
            Answer::Leave(_) if drift::quarantined(state.trouble(&drift.id)) => "fought",
            Answer::Leave(_) if drift::held(state.trouble(&drift.id), state.now()) => "held",
            Answer::Leave(_) => continue,
            Answer::Escalate(_) => "held",
            Answer::Revert | Answer::RevertAt(_) => "drifted",
        };
        why.insert(&drift.id, word);
    }
    for conflict in &comparison.conflicts {
        let fought = drift::quarantined(state.trouble(&conflict.id));
        why.insert(&conflict.id, if fought { "fought" } else { "conflict" });
    }
    for (id, _) in &comparison.unread {
        why.insert(id, "unread");
    }
    for id in &comparison.leaving {
        why.insert(id, "leaving");
    }
    why
}

#[cfg(test)]
mod tests {
    use super::super::compare::{View, compare};
    use super::super::fixture::{World, files};
    use super::super::state::{Breaker, Purpose};
    use super::*;

    /// A resource whose write failed for good, one that a promotion waits for, and one that drifts.
    fn world() -> World {
        let mut world = World::at(files(0..8, 1));
        let now = world.state.now();
        let breaker = Breaker { attempts: 12, next: now, open: true, reason: "no".into() };
        let differs = |id: &str, why: &str| {
            let differing = Differing { since: now, cycles: 2, at: 1, alerted: false, why: why.into() };
            Fact::Differs { id: Id::new(id), differing }
        };
        let failed = Fact::Failed { purpose: Purpose::Promote, index: 0, id: Id::new("f001"), breaker, unknown: false };
        world.fold(vec![failed, differs("f002", "pending"), differs("f003", "drifted")]);
        world
    }

    fn agrees(facts: &[Fact]) -> Vec<&str> {
        fn agreed(fact: &Fact) -> Option<&str> {
            match fact {
                Fact::Agrees { id } => Some(id.as_str()),
                _ => None,
            }
        }
        facts.iter().filter_map(agreed).collect()
    }

    #[test]
    fn a_target_that_cannot_be_read_agrees_with_nothing() {
        let world = world();
        let refused = Observed { failure: Some("permission denied".into()), ..Observed::default() };
        let facts = count(&Comparison::default(), &refused, &world.state, 3, true, true);
        assert!(agrees(&facts).is_empty(), "{facts:?}");
    }

    #[test]
    fn only_what_is_desired_says_that_a_promotion_needs_no_retry() {
        let world = world();
        let (state, guards, observed) = (&world.state, &world.guards, &world.observed());
        let comparison = compare(View { desired: None, observed, state, guards, now: state.now() });
        assert_eq!(agrees(&count(&comparison, observed, state, 3, true, false)), ["f003"]);
        let comparison = world.compare(world.tip());
        assert_eq!(agrees(&count(&comparison, observed, state, 3, true, true)), ["f001", "f002", "f003"]);
    }
}
