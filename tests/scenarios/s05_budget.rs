//! 5. The budget of an interval survives kills and wakes.

use crate::harness::{World, changes};

#[test]
fn s05_killed_after_two_of_three_budgeted_deletions_one_more_is_allowed() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.drop("", 0..5);
    world.repo.publish("drop five");
    let before = world.tree("web");
    world.clock.advance(181);
    let saved = world.save();
    let mut most = 0;
    let mut seen = 0;
    for step in 1.. {
        assert!(step < 200, "no step leaves two deleted");
        world.restore(&saved);
        let ran = world.crash_at(step);
        let deleted = changes(&before, &world.tree("web")).deleted.len();
        assert!(deleted <= 3, "{deleted} deletions in one interval");
        if deleted == 2 {
            seen += 1;
            // The same interval, twice over: whatever was reserved stays spent.
            world.cycle();
            world.cycle();
            let deleted = changes(&before, &world.tree("web")).deleted.len();
            assert!(deleted <= 3, "{deleted} deletions in one interval after a kill at step {step}");
            most = most.max(deleted);
            let status = world.status("web");
            let done = (status.number("/rollout/done"), status.number("/rollout/total"));
            let deleted = i64::try_from(deleted).expect("it fits");
            assert_eq!(done, (deleted, 5), "after a kill at step {step}");
            world.assert_printed(&[&format!("rolling out {deleted} of 5")]);
            world.counted_cycles(3);
            world.assert_converged("web");
            world.assert_free("web");
        } else if deleted > 2 || ran.code == Some(0) {
            break;
        }
    }
    assert!(seen > 0, "the cycle was never killed after two deletions");
    assert_eq!(most, 3, "the third deletion of the budget was lost with the kill");
}

#[test]
fn s05_sixty_wakes_in_a_minute_write_one_interval_s_budget() {
    let world = World::new();
    world.repo.fill("", 0..100);
    world.baseline();
    world.repo.change("", 0..30, "omega");
    world.repo.publish("thirty updates");
    let before = world.tree("web");
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 10, "an interval's budget is ten");
    for _ in 0..59 {
        world.clock.advance(1);
        world.cycle();
    }
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 10, "wakes wrote more than an interval's budget");
    let status = world.status("web");
    assert_eq!((status.number("/rollout/done"), status.number("/rollout/total")), (10, 30));
    world.assert_free("web");
    world.assert_printed(&["rolling out 10 of 30"]);
    assert_eq!(changes(&before, &world.tree("web")).total(), 10);
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 20);
    world.counted_cycle();
    world.assert_converged("web");
}

#[test]
fn s05_deletions_come_last_and_have_a_cap_of_their_own() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.drop("", 0..6).change("", 10..22, "omega");
    world.repo.publish("twelve updates, six deletions");
    let before = world.tree("web");
    world.counted_cycle();
    let changed = changes(&before, &world.tree("web"));
    assert_eq!((changed.updated.len(), changed.deleted.len()), (10, 0), "deleted before everything else was written");
    let mut previous = 0;
    for _ in 0..4 {
        world.counted_cycle();
        let changed = changes(&before, &world.tree("web"));
        assert!(changed.deleted.is_empty() || changed.updated.len() == 12, "deleted too early: {changed:?}");
        assert!(changed.deleted.len() - previous <= 3, "more than three deletions in an interval");
        previous = changed.deleted.len();
    }
    world.assert_converged("web");
}
