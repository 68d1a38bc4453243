use jiff::SignedDuration;

use super::super::fixture::{World, files};
use super::super::state::LatchName;
use super::*;

#[test]
fn a_month_of_names_that_come_and_go_leaves_nothing_behind() {
    let mut world = World::at(files(0..30, 1));
    for day in 0..40_u32 {
        let mut wanted = files(0..30, 1);
        wanted.insert(format!("generated-{day}"), 1);
        world.push(&format!("day-{day}"), wanted);
        for _ in 0..3 {
            let _ = world.cycle();
        }
        assert!(world.live.contains_key(&format!("generated-{day}")), "it is not written on day {day}");
        assert_eq!(world.live.len(), 31);
        world.wait(SignedDuration::from_hours(24));
    }
    let names = world.state.resources.len();
    assert!(names <= 31 + 9, "{names} resources are remembered of 31");
    assert!(world.state.app.good.len() <= 4, "{:?}", world.state.app.good);
}

#[test]
fn what_is_promoted_later_of_the_same_commit_forgets_no_key_that_vouched_for_it() {
    let mut world = World::at(files(0..3, 1));
    let mut verified = |commit: &str, keys: &[&str]| {
        let keys = keys.iter().map(|key| Arc::from(*key)).collect();
        world.fold(vec![Fact::Verified { commit: CommitId::new(commit), keys }]);
        world.state.app.vouched_by.join(" ")
    };
    assert_eq!(verified("tip", &["a", "b"]), "a b");
    assert_eq!(verified("tip", &[]), "a b");
    assert_eq!(verified("tip", &["b", "c"]), "a b c");
    assert_eq!(verified("next", &["d"]), "d");
}

#[test]
fn before_anything_has_converged_the_range_begins_at_the_first_promotion() {
    let mut state = super::super::state::State::default();
    let mut fold = |fact: &Fact| {
        state.fold(fact, &mut Touched::default());
        state.app.base().map(|commit| commit.as_str().to_owned())
    };
    let verified = |commit: &str| Fact::Verified { commit: CommitId::new(commit), keys: Vec::new() };
    assert_eq!(fold(&verified("first")).as_deref(), Some("first"));
    assert_eq!(fold(&verified("second")).as_deref(), Some("first"), "who made the second may not approve it");
    let (commit, desired) = (CommitId::new("second"), Digest::of_parts(["desired"]));
    let converged = Fact::Converged { commit, desired, good: true, seconds: None, skipped: vec![], left: vec![] };
    assert_eq!(fold(&converged).as_deref(), Some("second"));
}

#[test]
fn reverts_of_one_resource_are_bounded() {
    let mut world = World::at(files(0..3, 1));
    world.guards.fight.clear();
    world.guards.drift.grace = std::time::Duration::ZERO;
    for _ in 0..130 {
        world.live.insert("f001".to_owned(), 7);
        let _ = world.cycle();
        let _ = world.cycle();
    }
    let reverts = world.state.trouble(&Id::new("f001")).map_or(0, |trouble| trouble.reverts.len());
    assert_eq!(reverts, 100);
}

#[test]
fn clearing_failure_half_opens_every_breaker() {
    let mut world = World::at(files(0..3, 1));
    let next = world.state.now() + SignedDuration::from_hours(1);
    let breaker = Breaker { attempts: 12, next, open: true, reason: "no".into() };
    let id = Id::new("f001");
    let failed = Fact::Failed { purpose: Purpose::Heal, index: 0, id: id.clone(), breaker, unknown: false };
    world.fold(vec![failed]);
    let mut touched = Touched::default();
    world.state.fold(&Fact::Cleared { latch: LatchName::Failure, by: "a probe".into() }, &mut touched);
    let now = world.state.trouble(&id).and_then(|trouble| trouble.breaker.clone()).unwrap();
    assert_eq!((now.open, now.attempts, now.next), (false, 9, world.state.now()));
    assert!(touched.resources.contains(&id));
}
