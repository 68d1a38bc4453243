//! 16. What was written does not work: HEALTH, and the way back.

use crate::harness::{World, changes, content};

/// Makes a world whose check fails as soon as three files hold `poison`, with a commit that poisons ten.
fn sickening() -> World {
    let mut world = World::new();
    let root = world.root("web");
    let check = world.script("check.sh", &format!("test \"$(grep -lr poison {root:?} | wc -l)\" -lt 3"));
    let run = world.script("hook.sh", "true");
    world.app("web").directory(&format!("reload: [ {{ match: \"*\", run: {run}, check: {check} }} ]"));
    world.repo.fill("", 0..40);
    world.baseline();
    world.repo.change("", 0..10, "poison");
    world.repo.publish("a new upstream");
    world
}

#[test]
fn s16_the_third_unhealthy_resource_stops_the_rollout_and_the_revert_returns_at_once() {
    let world = sickening();
    let before = world.tree("web");
    world.counted_cycle();
    // A failed check may be given until `settle` is over; nothing more is written meanwhile.
    world.counted_cycle();
    let changed = changes(&before, &world.tree("web"));
    assert_eq!(changed.updated.len(), 3, "batches of one and two, then the check fails: {changed:?}");
    let status = world.assert_latch("web", "HEALTH", &["health"]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    world.assert_printed(&["HEALTH", "web"]);

    // Time does not clear it.
    let sick = world.tree("web");
    world.advance(120);
    world.counted_cycles(2);
    world.assert_unchanged("web", &sick);
    world.assert_latch("web", "HEALTH", &["health"]);

    let head = world.repo.head();
    world.repo.revert(&head, "alice");
    world.repo.push();
    world.counted_cycle();
    world.assert_unchanged("web", &before);
    world.counted_cycle();
    world.assert_converged("web");
    world.assert_no_latch("web", "HEALTH");
}

#[test]
fn s16_healthy_again_is_not_enough_without_an_approval() {
    let world = sickening();
    world.counted_cycles(2);
    let status = world.assert_latch("web", "HEALTH", &["health"]);
    std::fs::write(world.dir().join("check.sh"), "exit 0\n").expect("the check is mended");
    let sick = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &sick);
    world.assert_latch("web", "HEALTH", &["health"]);
    let digests = world.status("web").digests_to_approve("HEALTH");
    let digest = digests.first().cloned().unwrap_or_else(|| status.digest());
    world.approve("web", &digest).ok();
    world.converge("web");
}

#[test]
fn s16_an_approval_is_not_enough_while_it_is_unhealthy() {
    let world = sickening();
    world.counted_cycles(2);
    let status = world.assert_latch("web", "HEALTH", &["health"]);
    let digest = status.digests_to_approve("HEALTH").first().cloned().unwrap_or_else(|| status.digest());
    let _ = world.approve("web", &digest);
    let sick = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &sick);
    world.assert_latch("web", "HEALTH", &["health"]);
}

#[test]
fn s16_a_new_tip_clears_it_and_begins_small_again() {
    let world = sickening();
    world.counted_cycles(2);
    world.assert_latch("web", "HEALTH", &["health"]);
    world.repo.change("", 0..10, "gamma");
    world.repo.publish("a better upstream");
    world.converge("web");
    world.assert_no_latch("web", "HEALTH");
}

#[test]
fn s16_a_return_is_exempt_from_the_limits_that_held_nothing_on_the_way_there() {
    // Thirty changes with an approval, and a revert of thirty: at three in the morning nobody approves the revert.
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    let before = world.tree("web");
    world.repo.change("", 0..30, "omega");
    world.repo.publish("thirty changes");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["change_halt"]).digest();
    world.approve("web", &digest).ok();
    world.converge("web");
    let bad = world.repo.head();
    world.repo.revert(&bad, "dave");
    world.repo.push();
    world.counted_cycle();
    world.assert_unchanged("web", &before);
    world.assert_free("web");

    // Once in a day: forth with an approval and back again is held.
    world.repo.change("", 0..30, "sigma");
    world.repo.publish("thirty changes, again");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["change_halt"]).digest();
    world.approve("web", &digest).ok();
    world.converge("web");
    let bad = world.repo.head();
    world.repo.revert(&bad, "dave");
    world.repo.push();
    let after = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &after);
    world.assert_latch("web", "PLAN", &["change_halt"]);
}

#[test]
fn s16_a_return_obeys_a_freeze_and_protection() {
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    world.repo.write("fstab", "none\n").change("", 0..5, "omega");
    world.repo.publish("add a protected file");
    world.converge("web");
    let bad = world.repo.head();
    world.repo.revert(&bad, "alice");
    world.repo.write("FREEZE", "");
    world.repo.publish("back, but frozen");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.repo.remove("FREEZE");
    world.repo.publish("go");
    world.counted_cycles(3);
    assert_eq!(world.live("web", "f000.conf"), content(0, "alpha"));
    assert!(world.exists("web", "fstab"), "a return deleted what is protected");
    assert_eq!(world.status("web").list("/parked").len(), 1);
}

#[test]
fn s16_an_unsigned_revert_does_not_return() {
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    world.repo.change("", 0..5, "omega");
    world.repo.publish("five changes");
    world.converge("web");
    world.repo.change("", 0..5, "alpha");
    world.repo.commit("back").unsigned_by("mallory");
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "SIGNATURE", &["unsigned"]);
}
