//! What other applications on the same target desire or hold: handed over, never deleted, and never had twice (`GUARDS.md` 5.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compare::{Comparison, Conflict};
use super::op::{Op, Verb};
use super::resource::Id;
use super::state::State;

/// What another application has to do with a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which application.
    pub by: Arc<str>,
    /// Whether it desires it at its tip.
    pub desires: bool,
    /// Whether it is in its inventory.
    pub holds: bool,
}

/// What the other applications on a target claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// By resource. Of several claims on one, the strongest: whoever holds it, then whoever comes first by name.
    pub by_id: BTreeMap<Id, Claim>,
    /// Whether every other application has said what it desires.
    pub complete: bool,
}

impl Default for Claims {
    /// Nobody else is there.
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), complete: true }
    }
}

impl Claims {
    /// Adds what another application claims.
    pub fn add(&mut self, id: &Id, claim: Claim) {
        let rank = |claim: &Claim| (!claim.holds, !claim.desires, claim.by.clone());
        match self.by_id.get_mut(id) {
            Some(known) if rank(known) <= rank(&claim) => {}
            Some(known) => *known = claim,
            None => drop(self.by_id.insert(id.clone(), claim)),
        }
    }
}

/// What becomes of one operation.
enum Answer {
    Go,
    Hand,
    Wait(Arc<str>),
    Refuse(Arc<str>),
}

/// Changes what comparing found by what others claim.
pub fn apply(comparison: &mut Comparison, claims: &Claims, name: &str, state: &State) {
    if claims.complete && claims.by_id.is_empty() {
        return;
    }
    for op in std::mem::take(&mut comparison.promote) {
        match answer(&op, claims, name, state) {
            Answer::Go => comparison.promote.push(op),
            Answer::Hand => {
                comparison.gone.push(op.id.clone());
                comparison.settled.insert(op.id);
            }
            Answer::Wait(why) => comparison.conflicts.push(Conflict { id: op.id.clone(), why, op }),
            Answer::Refuse(why) => {
                comparison.refused.push((op.id.clone(), why));
                comparison.blind.push(op);
            }
        }
    }
}

fn answer(op: &Op, claims: &Claims, name: &str, state: &State) -> Answer {
    let claim = claims.by_id.get(&op.id);
    if op.verb == Verb::Delete {
        return match claim {
            Some(_) => Answer::Hand,
            None if claims.complete => Answer::Go,
            None => Answer::Wait("not every application on this target has said yet what it desires".into()),
        };
    }
    let held = state.resources.get(&op.id).is_some_and(|resource| resource.accepted.is_some());
    let Some(claim) = claim.filter(|_| !held) else { return Answer::Go };
    let by = &claim.by;
    match (claim.holds, claim.desires) {
        (true, true) => {
            Answer::Refuse(format!("application {by} has it already: take it out of one of the two").into())
        }
        (true, false) => {
            Answer::Wait(format!("application {by} holds it, and hands it over with its own promotion").into())
        }
        (false, _) if **by < *name => {
            Answer::Refuse(format!("application {by} desires it too: take it out of one of the two").into())
        }
        (false, _) => Answer::Go,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, files};
    use super::*;

    fn claims(id: &str, by: &str, desires: bool, holds: bool) -> Claims {
        let mut claims = Claims::default();
        claims.add(&Id::new(id), Claim { by: by.into(), desires, holds });
        claims
    }

    /// The tip of `web` removes f001 and adds f002.
    fn applied(claims: &Claims) -> Comparison {
        let mut world = World::at(files(0..2, 1));
        let mut tip = files(0..3, 1);
        tip.remove("f001");
        world.push("tip", tip);
        let mut comparison = world.compare(world.tip());
        apply(&mut comparison, claims, "web", &world.state);
        comparison
    }

    fn promoted(comparison: &Comparison) -> Vec<&str> {
        comparison.promote.iter().map(|op| op.id.as_str()).collect()
    }

    #[test]
    fn what_another_application_desires_or_holds_is_handed_over() {
        assert_eq!(promoted(&applied(&Claims::default())), ["f001", "f002"]);
        for (desires, holds) in [(true, false), (false, true), (true, true)] {
            let comparison = applied(&claims("f001", "db", desires, holds));
            assert_eq!(promoted(&comparison), ["f002"]);
            assert_eq!(comparison.gone, [Id::new("f001")]);
        }
    }

    #[test]
    fn nothing_is_deleted_before_everybody_has_said_what_they_desire() {
        let comparison = applied(&Claims { complete: false, ..Claims::default() });
        assert_eq!(promoted(&comparison), ["f002"]);
        assert_eq!((comparison.conflicts[0].id.as_str(), comparison.gone.len()), ("f001", 0));
    }

    #[test]
    fn of_two_applications_that_desire_one_resource_the_second_is_refused() {
        let refused = |claims: &Claims| applied(claims).refused.len();
        assert_eq!(refused(&claims("f002", "db", true, true)), 1, "it holds it");
        assert_eq!(refused(&claims("f002", "db", true, false)), 1, "it comes first");
        assert_eq!(refused(&claims("f002", "zz", true, false)), 0, "it comes second");
        assert_eq!(refused(&claims("f002", "zz", true, true)), 1, "it holds it");
        assert_eq!(refused(&claims("f000", "db", true, true)), 0, "web holds that and changes nothing of it");
    }

    #[test]
    fn what_another_application_still_holds_is_waited_for() {
        let comparison = applied(&claims("f002", "db", false, true));
        assert_eq!((promoted(&comparison), comparison.refused.len()), (vec!["f001"], 0));
        assert!(comparison.conflicts[0].why.contains("hands it over"));
    }

    #[test]
    fn the_strongest_claim_is_kept() {
        let mut both = claims("f002", "db", true, false);
        both.add(&Id::new("f002"), Claim { by: "zz".into(), desires: false, holds: true });
        both.add(&Id::new("f002"), Claim { by: "aa".into(), desires: true, holds: false });
        assert_eq!(&*both.by_id[&Id::new("f002")].by, "zz");
    }
}
