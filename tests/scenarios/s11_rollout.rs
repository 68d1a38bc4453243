//! 11. Approvals and the rollouts that they let go.

use crate::harness::keys::address;
use crate::harness::{App, HOUR, Status, World, changes, name};

/// Makes a world of four hundred resources, with a commit by alice that changes three hundred of them.
fn large() -> World {
    let world = World::new();
    world.repo.fill("", 0..400);
    world.baseline();
    world.repo.change("", 0..300, "omega");
    world.repo.publish("change three hundred");
    world
}

/// Makes a world of sixty resources, with a commit by alice that deletes twelve: held, and small enough to be quick.
fn held() -> (World, String) {
    held_with(|_| {})
}

/// As [`held`], with a configuration of its own from the beginning.
fn held_with(configure: impl FnOnce(&mut App)) -> (World, String) {
    let mut world = World::new();
    configure(world.app("web"));
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.drop("", 0..12);
    world.repo.publish("drop twelve");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["delete_halt"]).digest();
    (world, digest)
}

/// Asserts that nothing of `held` was deleted after some cycles, and that it is still held.
#[track_caller]
fn assert_still_held(world: &World) {
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn s11_an_approved_rollout_of_three_hundred_finishes_on_one_approval() {
    let world = large();
    let before = world.tree("web");
    world.counted_cycle();
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    let digest = status.digest();
    assert_eq!(status.number("/plan/updates"), 300);
    world.repo.approve(&digest, "bob");

    let mut written = 0;
    let mut cycles = 0;
    while written < 300 {
        world.counted_cycle();
        cycles += 1;
        let now = changes(&before, &world.tree("web")).updated.len();
        assert!(now - written <= 40, "{} written in one interval, the cap is forty", now - written);
        assert!(now > written || cycles == 1, "the rollout stands still at {now}");
        assert!(cycles <= 12, "{now} of 300 after {cycles} cycles");
        written = now;
        if (1..300).contains(&written) {
            let status = world.status("web");
            assert_eq!(status.text("/rollout/digest"), digest);
            assert_eq!(status.number("/rollout/total"), 300);
            assert_eq!(status.number("/rollout/done"), i64::try_from(written).expect("it fits"));
            assert!(status.latch("PLAN").is_none(), "what was approved is held again");
        }
    }
    world.counted_cycle();
    world.assert_converged("web");
    world.assert_free("web");
    assert!(world.everything_said("web").contains("bob"), "who approved is not kept");
}

#[test]
fn s11_a_commit_that_changes_nothing_here_does_not_cancel_a_rollout() {
    let world = large();
    world.counted_cycle();
    world.repo.approve(&world.status("web").digest(), "bob");
    world.counted_cycles(2);
    world.repo.publish("an empty commit");
    let before = world.tree("web");
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 40, "the rollout did not go on");
}

#[test]
fn s11_a_new_tip_cancels_a_rollout() {
    let world = large();
    world.counted_cycle();
    let digest = world.status("web").digest();
    world.repo.approve(&digest, "bob");
    world.counted_cycles(2);
    world.repo.change("", 399..400, "omega");
    world.repo.publish("and one more");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    assert_ne!(status.digest(), digest, "another plan has the same digest");
    assert!(status.at("/rollout").is_null(), "a cancelled rollout is still shown: {:#}", status.at("/rollout"));
}

#[test]
fn s11_an_unwritten_resource_that_moves_cancels_a_rollout() {
    let world = large();
    world.counted_cycle();
    world.repo.approve(&world.status("web").digest(), "bob");
    world.counted_cycles(2);
    let unwritten = (0..300).rev().map(name).find(|path| world.live("web", path).contains("alpha"));
    world.edit_live("web", &unwritten.expect("something is unwritten"), "upstream = by hand\n");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    assert!(status.at("/rollout").is_null(), "a cancelled rollout is still shown: {:#}", status.at("/rollout"));
}

#[test]
fn s11_the_author_may_not_approve() {
    let everybody = ["alice", "bob", "carol"].map(address).join(", ");
    let (world, digest) = held_with(|app| {
        app.trust(&format!("approvers: [{everybody}]"));
    });
    world.repo.approve(&digest, "alice");
    assert_still_held(&world);
    let said = world.everything_said("web").to_lowercase();
    assert!(said.contains("refus"), "that alice's approval is refused is not told:\n{said}");
    let tag = format!("holdfast-approve/{}", &digest[7..]);
    world.repo.git(&["tag", "-d", &tag]);
    world.repo.git(&["push", "-q", "origin", &format!(":refs/tags/{tag}")]);
    world.repo.approve(&digest, "carol");
    world.converge("web");
}

#[test]
fn s11_an_author_under_another_address_may_not_approve_either() {
    let (world, digest) = held_with(|app| {
        app.trust(&format!("people: {{ alice: [{}, {}] }}", address("alice"), address("bob")));
    });
    world.repo.approve(&digest, "bob");
    assert_still_held(&world);
}

#[test]
fn s11_a_committer_who_is_not_the_author_may_not_approve_either() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.drop("", 0..12);
    world.repo.commit("drop twelve").written_by("dave").by("bob");
    world.repo.push();
    world.counted_cycle();
    world.repo.approve(&world.status("web").digest(), "bob");
    assert_still_held(&world);
}

#[test]
fn s11_only_a_listed_approver_s_signed_tag_approves() {
    let (world, digest) = held();
    // dave may sign commits, and is no approver.
    world.repo.approve(&digest, "dave");
    assert_still_held(&world);
    let tag = format!("holdfast-approve/{}", &digest[7..]);
    let remove = || {
        world.repo.git(&["tag", "-d", &tag]);
        world.repo.git(&["push", "-q", "origin", &format!(":refs/tags/{tag}")]);
    };
    remove();
    // A lightweight tag, and an annotated one that nobody signed.
    world.repo.git(&["tag", &tag]);
    world.repo.git(&["push", "-q", "origin", &format!("refs/tags/{tag}")]);
    assert_still_held(&world);
    remove();
    world.repo.git(&["-c", "user.name=bob", "-c", "user.email=bob@example.org", "tag", "-a", "-m", "yes", &tag]);
    world.repo.git(&["push", "-q", "origin", &format!("refs/tags/{tag}")]);
    assert_still_held(&world);
    remove();
    // Bob's true tag of another name, moved to this one: the tag itself says what it approves.
    let other = format!("holdfast-approve/{}", "0".repeat(64));
    world.repo.approve(&"0".repeat(64), "bob");
    world.repo.git(&["push", "-q", "origin", &format!("refs/tags/{other}:refs/tags/{tag}")]);
    assert_still_held(&world);
}

#[test]
fn s11_an_approval_of_another_digest_is_refused() {
    let (world, _) = held();
    world.approve("web", &format!("sha256:{}", "0".repeat(64))).refused();
    world.approve("web", "sha256:nonsense").refused();
    world.approve("nobody", &format!("sha256:{}", "0".repeat(64))).refused();
    assert_still_held(&world);
}

#[test]
fn s11_an_approval_is_used_once() {
    let (world, digest) = held();
    world.repo.approve(&digest, "bob");
    world.converge("web");
    // The same twelve come back and go again, in an otherwise new state: the very same operations.
    world.repo.fill("", 0..12).change("", 50..51, "omega");
    world.repo.publish("bring them back");
    world.converge("web");
    world.repo.drop("", 0..12);
    world.repo.publish("drop twelve again");
    assert_still_held(&world);
}

#[test]
fn s11_an_approval_lapses() {
    let (world, digest) = held_with(|app| {
        app.guard("approvalTtl: 1h");
    });
    // Seen while frozen, so that it cannot be used at once.
    world.holdfast(&["freeze", "web", "--reason", "not now"]).ok();
    world.repo.approve(&digest, "bob");
    world.counted_cycle();
    world.clock.advance(HOUR);
    world.holdfast(&["thaw", "web", "--reason", "now"]).ok();
    assert_still_held(&world);
}

#[test]
fn s11_local_approval_can_be_refused() {
    let (world, digest) = held_with(|app| {
        app.guard("localApproval: false");
    });
    world.approve("web", &digest).refused();
    assert_still_held(&world);
    world.repo.approve(&digest, "bob");
    world.converge("web");
}

#[test]
fn s11_a_local_approval_is_recorded_as_such() {
    let (world, digest) = held();
    world.approve("web", &digest).ok();
    world.converge("web");
    assert!(world.everything_said("web").contains("local:"), "who approved is not kept");
}

#[test]
fn s11_one_person_alone_may_approve_after_half_an_hour_where_solo() {
    let (world, digest) = held_with(|app| {
        app.guard("solo: true").trust(&format!("approvers: [{}]", address("alice")));
    });
    world.repo.approve(&digest, "alice");
    assert_still_held(&world);
    world.advance(30);
    world.converge("web");
}

/// Returns the digest of a change, which a pull request's pre-approval names.
#[track_caller]
fn change_digest(plan: &Status) -> String {
    let candidates = ["/plan/changeDigest", "/changeDigest", "/plan/change"];
    let found = candidates.iter().find_map(|pointer| plan.at(pointer).as_str());
    found.unwrap_or_else(|| panic!("the plan names no digest of its change: {:#}", plan.0)).to_owned()
}

#[test]
fn s11_a_pre_approved_change_that_is_squashed_converges() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.git(&["checkout", "-q", "-b", "feature"]);
    world.repo.drop("", 0..6);
    world.repo.commit("drop six").by("alice");
    world.repo.drop("", 6..12);
    let tip = world.repo.publish("drop six more");
    let before = world.tree("web");
    let plan = Status::of(&world.holdfast(&["plan", "web", "--rev", &tip, "--output", "json"]).ok().json(), "web");
    assert_eq!(plan.number("/plan/deletes"), 12);
    world.assert_unchanged("web", &before);
    world.repo.approve(&change_digest(&plan), "bob");

    world.repo.git(&["checkout", "-q", "main"]);
    world.repo.git(&["merge", "-q", "--squash", "feature"]);
    world.repo.publish("Drop twelve (#7)");
    world.converge("web");
    world.assert_free("web");

    // It serves the first range only: the same change again is held.
    world.repo.fill("", 0..12).change("", 50..51, "omega");
    world.repo.publish("bring them back");
    world.converge("web");
    world.repo.drop("", 0..12);
    world.repo.publish("Drop twelve again");
    assert_still_held(&world);
}

#[test]
fn s11_a_pre_approval_does_not_serve_a_change_that_grew() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.git(&["checkout", "-q", "-b", "feature"]);
    world.repo.drop("", 0..12);
    let tip = world.repo.publish("drop twelve");
    let plan = Status::of(&world.holdfast(&["plan", "web", "--rev", &tip, "--output", "json"]).ok().json(), "web");
    world.repo.approve(&change_digest(&plan), "bob");
    world.repo.git(&["checkout", "-q", "main"]);
    world.repo.git(&["merge", "-q", "--squash", "feature"]);
    world.repo.drop("", 12..13);
    world.repo.publish("Drop twelve, and one (#7)");
    world.counted_cycle();
    assert_still_held(&world);
}

#[test]
fn s11_neither_time_nor_a_restart_clears_a_halted_plan() {
    let (world, _) = held();
    let since = world.status("web").latch("PLAN").expect("it is held")["since"].clone();
    world.clock.advance(48 * HOUR);
    assert_still_held(&world);
    assert_eq!(world.status("web").latch("PLAN").expect("it is held")["since"], since, "since when it holds has moved");
}

#[test]
fn s11_a_command_refuses_whoever_has_a_part_in_the_plan_at_once() {
    let user = format!("local:uid-{}", rustix::process::getuid().as_raw());
    let (world, digest) = held_with(|app| {
        app.trust(&format!("people: {{ alice: [{}, {user:?}] }}", address("alice")));
    });
    let refused = world.approve("web", &digest).exits(1);
    let said = refused.stdout + &refused.stderr;
    for word in [user.as_str(), "wrote", "another listed person", "approve"] {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
    assert_still_held(&world);
    world.repo.approve(&digest, "bob");
    world.converge("web");
}
