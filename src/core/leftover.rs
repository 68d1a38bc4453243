//! What is left over: parts of a resource that were ours, that no commit declares any longer, and that are still there.
//!
//! A target with several writers of one resource keeps what any of them owns. What a person or a program wrote over ours, and
//! a commit then ceases to declare, would stay for ever, and nothing would tell: it is no part of what is accepted. So what
//! was ours is remembered with what was accepted ([`Fields`](super::resource::Fields)), and what of it is still there is
//! drift (`GUARDS.md` 6), by whoever owns it now: reported, judged and taken away like any other. It is taken away once: what
//! somebody puts there again is his. What another declares, or runs, is his at once: dropping it is how a commit hands it over.

use std::sync::Arc;

use jiff::Timestamp;

use super::drift::{Drift, classify};
use super::guards::DriftPolicies;
use super::resource::{Hand, Here, Id, Leftover, Live, More, Touch};
use super::state::{Accepted, Trouble};

/// What is left over of one resource, by what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sorted {
    /// Nobody else declares it: drift.
    pub drifts: Vec<Leftover>,
    /// Somebody else declares it, and people are told.
    pub handed: Vec<Leftover>,
}

/// Sorts what is left over. What runs the resource decides on, as an autoscaler does on replicas, is nobody's news.
pub fn sort(leftover: &[Leftover]) -> Sorted {
    let mut sorted = Sorted::default();
    for left in leftover {
        let has = |hand: Hand| left.owners.iter().any(|owner| owner.hand == hand);
        match (has(Hand::Applies), has(Hand::Runs)) {
            (true, _) => sorted.handed.push(left.clone()),
            (false, true) => {}
            (false, false) => sorted.drifts.push(left.clone()),
        }
    }
    sorted
}

/// Says what becomes of what drifts of it. Nobody says when it came to be left over, so it counts from when it was first
/// seen; a mark on the resource that holds it for a person holds this too.
pub fn drift(
    id: &Id,
    accepted: &Accepted,
    here: &Here,
    leftover: Vec<Leftover>,
    trouble: Option<&Trouble>,
    policies: &DriftPolicies,
    now: Timestamp,
) -> Drift {
    let owners = || leftover.iter().flat_map(|left| &left.owners);
    let person = owners().find(|owner| owner.hand == Hand::Person);
    let by: Option<Arc<str>> = person.or_else(|| owners().next()).map(|owner| owner.name.clone());
    let touched = here.touch();
    let marked = touched.interactive && touched.at.is_none();
    let touch = Touch { by, interactive: person.is_some() || marked, at: None };
    let live = Live::Here(Here { more: Some(Box::new(More { touch, ..More::default() })), ..here.clone() });
    Drift { leftover, ..classify(id, accepted, &live, trouble, policies, now) }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::drift::{Answer, Class};
    use super::super::fixture::{World, files};
    use super::super::ledger::Fact;
    use super::super::op::Effect;
    use super::super::rehearse::{Key, Rehearsal};
    use super::super::resource::{Owner, Vitals};
    use super::super::state::LatchName;
    use super::*;

    fn left(path: &str, hands: &[Hand]) -> Leftover {
        let owner = |hand: &Hand| Owner { name: format!("{hand:?}").to_lowercase().into(), hand: *hand };
        Leftover { path: path.into(), owners: hands.iter().map(owner).collect() }
    }

    /// Converged, with these left over of `f001`.
    fn world(leftover: &[Leftover]) -> World {
        let mut world = World::at(files(0..3, 1));
        world.leftover.insert("f001".to_owned(), leftover.to_vec());
        world
    }

    fn said(world: &mut World, rehearsal: Rehearsal) {
        world.rehearsals.insert(Key { id: Id::new("f001"), reverts: true }, rehearsal);
    }

    fn goes(path: &str) -> Rehearsal {
        Rehearsal::Reclaims { paths: vec![path.into()], from: Vitals::CONTENT, to: Vitals::CONTENT }
    }

    #[test]
    fn by_whoever_owns_it_it_is_an_emergency_or_routine_or_his() {
        let minutes = |world: &mut World, count| {
            for _ in 0..count {
                let _ = world.judge();
            }
        };
        for (hands, class, after) in [
            (&[][..], Class::Fresh, true),
            (&[Hand::Updates][..], Class::Fresh, true),
            (&[Hand::Person][..], Class::Emergency, false),
            (&[Hand::Updates, Hand::Person][..], Class::Emergency, false),
        ] {
            let mut world = world(&[left("/a", hands)]);
            let comparison = world.compare(world.tip());
            assert_eq!((comparison.drift[0].class, comparison.heal.len()), (class, 0), "{hands:?}");
            minutes(&mut world, 12);
            let comparison = world.compare(world.tip());
            assert_eq!(!comparison.heal.is_empty(), after, "{hands:?}: {:?}", comparison.drift);
            assert!(comparison.promote.is_empty() && comparison.handed.is_empty());
        }
        for (hand, told) in [(Hand::Applies, 1), (Hand::Runs, 0)] {
            let world = world(&[left("/a", &[hand, Hand::Person])]);
            let comparison = world.compare(world.tip());
            assert!(comparison.drift.is_empty() && comparison.reversals.is_empty(), "{hand:?}");
            assert_eq!(comparison.handed.len(), told);
        }
    }

    #[test]
    fn what_comes_back_by_itself_is_forgotten_and_what_goes_is_taken_away_once() {
        let mut world = world(&[left("/default", &[]), left("/stays", &[])]);
        said(&mut world, goes("/stays"));
        let _ = world.cycle();
        let fields = |world: &World| {
            let accepted = world.state.resources[&Id::new("f001")].accepted.clone().unwrap();
            accepted.about.fields.as_ref().map(|fields| fields.left.clone()).unwrap_or_default()
        };
        assert_eq!(fields(&world), ["/stays".into()]);
        world.wait(SignedDuration::from_mins(31));
        let _ = world.cycle();
        assert_eq!(world.wrote.last().map(String::as_str), Some("f001"));
        let wrote = world.journal.iter().filter(|fact| matches!(fact, Fact::Wrote { effect: Effect::Update, .. }));
        assert_eq!(wrote.count(), 1);
    }

    #[test]
    fn what_all_comes_back_is_no_drift_and_is_told_nobody() {
        let mut world = world(&[left("/default", &[])]);
        said(&mut world, Rehearsal::Reclaims { paths: Vec::new(), from: Vitals::CONTENT, to: Vitals::CONTENT });
        let judgement = world.judge();
        assert!(judgement.standing.is_empty(), "{:?}", judgement.standing);
        assert!(world.state.trouble(&Id::new("f001")).is_none_or(|trouble| trouble.drift.is_none()));
    }

    #[test]
    fn it_counts_as_drift_and_what_it_would_empty_is_a_deletion() {
        let mut world = World::at(files(0..8, 1));
        for at in 0..8 {
            world.leftover.insert(format!("f{at:03}"), vec![left("/a", &[])]);
        }
        assert!(world.judge().latch(LatchName::Drift).is_some(), "eight of eight");
        let mut world = self::world(&[left("/a", &[])]);
        let _ = world.judge();
        world.wait(SignedDuration::from_mins(31));
        said(
            &mut world,
            Rehearsal::Reclaims { paths: vec!["/a".into()], from: Vitals::CONTENT, to: Vitals::default() },
        );
        let comparison = world.rehearsed();
        assert_eq!(comparison.heal.iter().map(|op| op.effect).collect::<Vec<_>>(), [Effect::Delete]);
    }

    #[test]
    fn what_the_target_does_not_let_go_is_told_and_left_alone() {
        let mut world = world(&[left("/a", &[])]);
        let _ = world.judge();
        world.wait(SignedDuration::from_mins(31));
        said(&mut world, Rehearsal::Refused("required".into()));
        let comparison = world.rehearsed();
        assert!(comparison.heal.is_empty());
        assert!(matches!(&comparison.drift[0].answer, Answer::Leave(why) if why.contains("required")));
    }

    #[test]
    fn what_is_going_to_be_deleted_takes_it_along_and_a_change_of_the_same_resource_goes_first() {
        let mut world = world(&[left("/a", &[])]);
        let mut tip = files(0..3, 1);
        tip.remove("f001");
        world.push("tip", tip.clone());
        assert!(world.compare(world.tip()).drift.is_empty());
        tip.insert("f001".to_owned(), 2);
        world.push("next", tip);
        let comparison = world.compare(world.tip());
        assert_eq!((comparison.promote.len(), comparison.drift.len()), (1, 1));
    }
}
