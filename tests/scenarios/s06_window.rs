//! 6. The slow drip: many small deletions add up within the windows.

use crate::harness::{HOUR, World, changes};

#[test]
fn s06_twenty_commits_of_two_per_cent_within_an_hour_halt() {
    let world = World::new();
    world.repo.fill("", 0..100);
    world.baseline();
    let before = world.tree("web");
    let mut halted_at = None;
    for commit in 0..18 {
        world.repo.drop("", commit * 2..commit * 2 + 2);
        world.repo.publish(&format!("drop a little, {commit}"));
        world.counted_cycle();
        let deleted = changes(&before, &world.tree("web")).deleted.len();
        assert!(deleted <= 10, "{deleted} deletions within an hour, the limit is ten");
        if halted_at.is_none() && world.status("web").latch("PLAN").is_some() {
            halted_at = Some(commit);
            let status = world.assert_latch("web", "PLAN", &["window"]);
            let reason = status.reason("PLAN", "window");
            assert_eq!((&reason["observed"], &reason["limit"]), (&12.into(), &10.into()), "{reason:#}");
            world.assert_printed(&["PLAN", "12", "10"]);
        }
    }
    assert_eq!(halted_at, Some(5), "the sixth commit is the one that crosses ten deletions in an hour");
    assert_eq!(changes(&before, &world.tree("web")).deleted.len(), 10);
    world.assert_latch("web", "PLAN", &["window"]);
}

#[test]
fn s06_at_the_limit_once_an_hour_the_day_s_window_halts() {
    let mut world = World::new();
    // A number that does not shrink with the inventory.
    world.app("web").guard("deleteHalt: 10");
    world.repo.fill("", 0..100);
    world.baseline();
    let before = world.tree("web");
    for round in 0..2 {
        world.repo.drop("", round * 10..round * 10 + 10);
        world.repo.publish(&format!("ten an hour, {round}"));
        world.converge("web");
        world.clock.advance(HOUR + 60);
        world.cycle();
    }
    assert_eq!(changes(&before, &world.tree("web")).deleted.len(), 20, "the hour's window must let ten an hour pass");
    world.repo.drop("", 20..25);
    world.repo.publish("five more");
    world.counted_cycles(3);
    assert_eq!(changes(&before, &world.tree("web")).deleted.len(), 20, "25 deletions in a day, the limit is 20");
    let status = world.assert_latch("web", "PLAN", &["window"]);
    let reason = status.reason("PLAN", "window");
    assert_eq!((&reason["observed"], &reason["limit"]), (&25.into(), &20.into()), "{reason:#}");

    // Time never clears it; a revert does.
    world.clock.advance(4 * HOUR);
    world.counted_cycles(2);
    world.assert_latch("web", "PLAN", &["window"]);
    let held = world.repo.head();
    world.repo.revert(&held, "alice");
    world.repo.push();
    world.counted_cycle();
    world.assert_no_latch("web", "PLAN");
}

#[test]
fn s06_changes_have_a_window_of_an_hour() {
    let world = World::new();
    world.repo.fill("", 0..50);
    world.baseline();
    let before = world.tree("web");
    world.repo.change("", 0..10, "omega");
    world.repo.publish("ten");
    world.converge("web");
    world.repo.change("", 10..20, "omega");
    world.repo.publish("ten more");
    world.counted_cycles(3);
    assert_eq!(
        changes(&before, &world.tree("web")).updated.len(),
        10,
        "twenty changes in an hour, the limit is fifteen"
    );
    let status = world.assert_latch("web", "PLAN", &["window"]);
    let reason = status.reason("PLAN", "window");
    assert_eq!((&reason["observed"], &reason["limit"]), (&20.into(), &15.into()), "{reason:#}");
}

#[test]
fn s06_the_same_resources_again_are_not_counted_twice() {
    let world = World::new();
    world.repo.fill("", 0..50);
    world.baseline();
    for value in ["beta", "gamma", "delta"] {
        world.repo.change("", 0..10, value);
        world.repo.publish(&format!("the same ten to {value}"));
        world.converge("web");
    }
    world.assert_free("web");
}

#[test]
fn s06_an_approved_rollout_is_exempt_from_the_windows() {
    let world = World::new();
    world.repo.fill("", 0..100);
    world.baseline();
    world.repo.drop("", 0..12);
    world.repo.publish("drop twelve");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["delete_halt"]).digest();
    world.approve("web", &digest).ok();
    world.converge("web");
    world.repo.drop("", 12..17);
    world.repo.publish("drop five more");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s06_a_clock_that_jumps_forward_drains_no_window() {
    let world = World::new();
    world.repo.fill("", 0..100);
    world.baseline();
    let before = world.tree("web");
    world.repo.drop("", 0..10);
    world.repo.publish("drop ten");
    world.converge("web");
    world.clock.jump(30 * HOUR);
    world.repo.drop("", 10..15);
    world.repo.publish("drop five more");
    world.counted_cycles(3);
    assert_eq!(changes(&before, &world.tree("web")).deleted.len(), 10, "a jump of the clock drained the window");
    world.assert_latch("web", "PLAN", &["window"]);
}
