//! 8. History that does not go on from what was verified: HISTORY, and healing goes on.

use crate::harness::{World, short};

/// Makes a world with two verified states, and returns the older commit and the newer.
fn two_states() -> (World, String, String) {
    let world = World::new();
    world.repo.fill("", 0..12);
    let first = world.baseline();
    world.repo.change("", 0..3, "omega");
    let second = world.repo.publish("a second state");
    world.converge("web");
    (world, first, second)
}

/// Asserts HISTORY with nothing written, and healing to the accepted state.
#[track_caller]
fn assert_history(world: &World, verified: &str) {
    assert_history_for(world, verified, "history");
}

/// As [`assert_history`], for another reason.
#[track_caller]
fn assert_history_for(world: &World, verified: &str, code: &str) {
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "HISTORY", &[code]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    assert_eq!(status.text("/source/verified"), verified);
    assert_eq!(status.converged(), Some(verified));
    world.assert_printed(&["HISTORY", short(verified)]);
    world.assert_heals("web", "f001.conf");
    assert!(world.live("web", "f001.conf").contains("omega"), "healed to something else than the accepted state");
}

#[test]
fn s08_a_force_push_to_an_older_signed_commit_is_held() {
    let (world, first, second) = two_states();
    world.repo.git(&["reset", "-q", "--hard", &first]);
    world.repo.force_push();
    assert_history(&world, &second);

    // Only a tip that continues what was verified clears it: not time, not a restart, not another older history.
    world.repo.write("other.conf", "upstream = beta\n");
    world.repo.publish("go on from the older one");
    world.counted_cycles(2);
    world.assert_latch("web", "HISTORY", &["history"]);

    world.repo.git(&["reset", "-q", "--hard", &second]);
    world.repo.change("", 4..5, "omega");
    world.repo.commit("go on").by("alice");
    world.repo.force_push();
    world.converge("web");
    world.assert_no_latch("web", "HISTORY");
}

#[test]
fn s08_healing_survives_a_force_push_that_drops_the_accepted_commit_and_a_fresh_clone() {
    let (world, first, second) = two_states();
    world.repo.git(&["reset", "-q", "--hard", &first]);
    world.repo.force_push();
    world.counted_cycle();
    // Nothing but the controller's own ref keeps the accepted objects from now on.
    world.repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    world.repo.git(&["gc", "-q", "--prune=now"]);
    world.repo.git(&["--git-dir", &world.repo.origin.to_string_lossy(), "gc", "-q", "--prune=now"]);
    assert_history(&world, &second);
}

#[test]
fn s08_a_foxtrot_merge_is_held() {
    let (world, _, second) = two_states();
    world.repo.foxtrot("alice");
    world.repo.push();
    assert_history(&world, &second);
}

#[test]
fn s08_an_unrelated_history_is_held() {
    let (world, _, second) = two_states();
    world.repo.git(&["checkout", "-q", "--orphan", "fresh"]);
    world.repo.commit("a fresh start").by("alice");
    world.repo.git(&["branch", "-q", "-M", "fresh", "main"]);
    world.repo.force_push();
    assert_history(&world, &second);
}

#[test]
fn s08_another_branch_is_held() {
    let (mut world, first, second) = two_states();
    world.repo.git(&["checkout", "-q", "-b", "release", &first]);
    world.repo.change("", 5..6, "omega");
    world.repo.publish("a release");
    world.app("web").branch = "release".to_owned();
    assert_history_for(&world, &second, "configuration");
}

#[test]
fn s08_reanchoring_lets_a_rewritten_history_go_on_and_begins_by_observing() {
    let (world, first, _) = two_states();
    world.repo.git(&["reset", "-q", "--hard", &first]);
    world.repo.force_push();
    world.counted_cycle();
    world.assert_latch("web", "HISTORY", &["history"]);
    let before = world.tree("web");

    world.holdfast(&["reanchor", "web", &first]).refused();
    world
        .holdfast(&["reanchor", "web", "0123456789012345678901234567890123456789", "--reason", "no such commit"])
        .refused();
    world.holdfast(&["reanchor", "web", &first, "--reason", "main was rolled back on purpose"]).ok();
    world.cycle();
    world.assert_unchanged("web", &before);
    world.converge("web");
    world.assert_no_latch("web", "HISTORY");
    assert!(world.everything_said("web").contains("rolled back on purpose"), "the reason is not kept");
}

#[test]
fn s08_a_branch_that_is_deleted_writes_nothing() {
    let (world, _, second) = two_states();
    let before = world.tree("web");
    world.repo.git(&["push", "-q", "origin", ":refs/heads/main"]);
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    assert_eq!(world.status("web").converged(), Some(second.as_str()));
    world.assert_heals("web", "f001.conf");
}

#[test]
fn s08_a_repository_that_cannot_be_reached_does_not_stop_healing() {
    let (world, _, _) = two_states();
    std::fs::rename(&world.repo.origin, world.dir().join("away.git")).expect("the origin is moved");
    world.counted_cycle();
    world.assert_heals("web", "f001.conf");
    let status = world.status("web");
    assert!(status.latch("FAILURE").is_none(), "a failed fetch is no failure of writing");
    let said = world.status_text();
    assert!(said.contains("origin.git") || said.contains("fetch"), "the failed fetch is not told:\n{said}");
    std::fs::rename(world.dir().join("away.git"), &world.repo.origin).expect("the origin is moved back");
    world.converge("web");
}
