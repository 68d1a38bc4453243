//! What somebody with push access, or even with a signing key, could try: each attempt holds, or is as harmless as it looks.

use std::fs;

use crate::harness::{HOUR, World, keys, name};

/// Makes a world of so many numbered files at its baseline.
pub(super) fn world(n: usize) -> World {
    let world = World::new();
    world.repo.fill("", 0..n);
    world.baseline();
    world
}

/// Asserts that two counted cycles write nothing, and that a latch holds for a reason.
#[track_caller]
pub(super) fn assert_held(world: &World, latch: &str, code: &str) {
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", latch, &[code]);
}

// --- Who approves -----------------------------------------------------------------------------------------------------

#[test]
fn the_author_of_a_rollout_under_way_may_not_approve_what_it_became() {
    // Bob's change passes and is half written when alice's makes it too large: a part of the new plan is still bob's.
    let world = world(60);
    world.repo.change("", 0..12, "omega");
    world.repo.commit("twelve").by("bob");
    world.repo.push();
    world.counted_cycle();
    assert_eq!(world.missing_from("web").total(), 2, "the rollout is under way");
    world.repo.change("", 20..50, "omega");
    world.repo.publish("thirty more");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["change_halt"]).digest();
    world.repo.approve(&digest, "bob");
    assert_held(&world, "PLAN", "change_halt");
    world.assert_printed(&["refused"]);
    world.repo.git(&["tag", "-d", &format!("holdfast-approve/{}", &digest[7..])]);
    world.repo.git(&["push", "-q", "origin", &format!(":refs/tags/holdfast-approve/{}", &digest[7..])]);
    world.repo.approve(&digest, "carol");
    world.converge("web");
}

#[test]
fn the_author_of_a_protected_deletion_may_not_approve_it() {
    let world = World::new();
    world.repo.fill("", 0..20).write("sudoers", "root ALL=(ALL) ALL\n");
    world.baseline();
    world.repo.remove("sudoers").change("", 0..2, "omega");
    world.repo.commit("drop sudoers").by("bob");
    world.repo.push();
    world.counted_cycles(2);
    let status = world.status("web");
    let digest = status.text("/parked/0/digest").to_owned();
    world.repo.approve(&digest, "bob");
    world.counted_cycles(2);
    assert!(world.exists("web", "sudoers"), "its author approved the deletion of a protected file");
    assert_eq!(world.status("web").list("/parked").len(), 1);
    world.assert_printed(&["refused"]);
    // Commits of others that came later make him no less its author.
    world.repo.change("", 5..6, "omega");
    world.repo.publish("something else");
    world.counted_cycles(2);
    assert!(world.exists("web", "sudoers"), "its author approved the deletion of a protected file");
    let tag = format!("holdfast-approve/{}", &digest[7..]);
    world.repo.git(&["tag", "-d", &tag]);
    world.repo.git(&["push", "-q", "origin", &format!(":refs/tags/{tag}")]);
    world.repo.approve(&digest, "carol");
    world.counted_cycles(2);
    assert!(!world.exists("web", "sudoers"), "the approval of another has no effect");
    world.assert_converged("web");
}

#[test]
fn an_old_approval_does_not_wait_for_its_plan_to_come_back() {
    let world = world(60);
    world.repo.drop("", 0..12);
    let poison = world.repo.publish("drop twelve");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["delete_halt"]).digest();
    // Taken back before the approval comes: it serves nothing now, and nothing later.
    world.repo.revert(&poison, "alice");
    world.repo.push();
    world.counted_cycle();
    world.repo.approve(&digest, "bob");
    world.counted_cycle();
    world.clock.advance(5 * HOUR);
    world.cycle();
    world.repo.drop("", 0..12);
    world.repo.publish("drop twelve again");
    world.counted_cycle();
    assert_eq!(world.assert_latch("web", "PLAN", &["delete_halt"]).digest(), digest);
    assert_held(&world, "PLAN", "delete_halt");
}

#[test]
fn a_revoked_signer_in_the_middle_of_what_was_accepted_stops_healing_too() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    fs::write(&list, "").expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.change("", 0..1, "omega");
    world.repo.commit("by the one").by("dave");
    world.repo.change("", 1..2, "omega");
    world.repo.publish("by the other");
    world.converge("web");
    fs::write(&list, format!("{}\n", keys::public("dave"))).expect("the list is written");
    world.assert_reports_but_does_not_heal("web", "f002.conf");
    world.assert_latch("web", "SIGNATURE", &["revoked_key"]);
}

#[test]
fn what_is_parked_is_healed_from_the_commit_that_it_was_accepted_from() {
    // The tip has no such file any more: what is kept until somebody approves must still be kept right.
    let world = World::new();
    world.repo.fill("", 0..20).write("sudoers", "root ALL=(ALL) ALL\n");
    world.baseline();
    world.repo.remove("sudoers").change("", 0..2, "omega");
    world.repo.publish("drop sudoers");
    world.counted_cycles(2);
    assert_eq!(world.status("web").list("/parked").len(), 1);
    world.edit_live("web", "sudoers", "mallory ALL=(ALL) NOPASSWD: ALL\n");
    world.counted_cycles(3);
    assert_eq!(world.live("web", "sudoers"), "root ALL=(ALL) ALL\n", "{:#}", world.status("web").0);
    assert_eq!(world.live("web", "f000.conf"), crate::harness::content(0, "omega"));
}

#[test]
fn what_is_held_is_healed_to_what_was_accepted_and_not_to_what_the_tip_says() {
    let world = world(20);
    world.holdfast(&["hold", "f003.conf", "--app", "web", "--for", "1h", "--reason", "incident"]).ok();
    world.edit_live("web", "f003.conf", "by hand\n");
    world.counted_cycle();
    world.repo.change("", 3..5, "omega");
    world.repo.publish("change what is held, and another");
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f003.conf"), "by hand\n");
    assert_eq!(world.live("web", "f004.conf"), crate::harness::content(4, "omega"));
    // The hold ends while nothing may be promoted: what is healed is what was accepted.
    world.repo.change("", 6..7, "omega");
    world.repo.commit("not signed").unsigned_by("mallory");
    world.repo.push();
    world.advance(61);
    world.counted_cycle();
    world.advance(31);
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f003.conf"), crate::harness::content(3, "alpha"), "{:#}", world.status("web").0);
}

// --- Magnitudes -------------------------------------------------------------------------------------------------------

#[test]
fn moving_a_protected_file_away_is_its_deletion() {
    let world = World::new();
    world.repo.fill("", 0..20).write("sudoers", "root ALL=(ALL) ALL\n");
    world.baseline();
    world.repo.git(&["mv", "sudoers", "retired.conf"]);
    world.repo.publish("retire it");
    world.counted_cycles(3);
    assert!(world.exists("web", "sudoers"), "a protected file was moved away");
    assert_eq!(world.status("web").list("/parked").len(), 1);
}

#[test]
fn one_copy_excuses_one_deletion() {
    let world = World::new();
    world.repo.fill("", 0..48);
    for number in 0..12 {
        world.repo.write(&format!("same{number}.conf"), "the same everywhere\n");
    }
    world.baseline();
    for number in 0..12 {
        world.repo.remove(&format!("same{number}.conf"));
    }
    world.repo.write("elsewhere.conf", "the same everywhere\n");
    world.repo.publish("keep one copy");
    assert_held(&world, "PLAN", "delete_halt");
    assert_eq!(world.status("web").reason("PLAN", "delete_halt")["observed"], 11);
}

#[test]
fn an_empty_file_excuses_no_deletion() {
    let world = World::new();
    world.repo.fill("", 0..48);
    for number in 0..8 {
        world.repo.write(&format!("empty{number}"), "");
    }
    world.baseline();
    for number in 0..8 {
        world.repo.remove(&format!("empty{number}")).write(&format!("elsewhere{number}"), "");
    }
    world.repo.publish("empty files are all alike");
    assert_held(&world, "PLAN", "delete_halt");
}

#[test]
fn renames_and_swaps_are_changes() {
    let world = world(60);
    world.repo.git(&["checkout", "-q", "-b", "swapped"]);
    for pair in 0..10 {
        let (a, b) = (world.live("web", &name(pair * 2)), world.live("web", &name(pair * 2 + 1)));
        world.repo.write(&name(pair * 2), &b).write(&name(pair * 2 + 1), &a);
    }
    world.repo.commit("swap twenty").by("alice");
    world.repo.git(&["push", "-q", "origin", "HEAD:main"]);
    assert_held(&world, "PLAN", "change_halt");
    assert_eq!(world.status("web").number("/plan/updates"), 20);
    world.repo.git(&["checkout", "-q", "main"]);
    for number in 0..20 {
        world.repo.git(&["mv", &name(number), &format!("renamed{number}.conf")]);
    }
    world.repo.commit("rename twenty").by("alice");
    world.repo.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
    assert_held(&world, "PLAN", "change_halt");
    assert_eq!(world.status("web").reason("PLAN", "change_halt")["observed"], 20);
}

#[test]
fn modes_alone_are_changes() {
    let world = world(60);
    for number in 0..20 {
        world.repo.executable(&name(number), true);
    }
    world.repo.publish("executable, all of a sudden");
    assert_held(&world, "PLAN", "change_halt");
}

#[test]
fn files_replaced_by_links_are_deletions() {
    let world = world(60);
    for number in 0..8 {
        world.repo.link(&name(number), "f059.conf");
    }
    world.repo.publish("all the same from now on");
    assert_held(&world, "PLAN", "delete_halt");
}

#[test]
fn another_image_of_the_same_version_is_no_new_version() {
    let world = World::new();
    let all = |image: &str| {
        for number in 0..40 {
            world.repo.write(&format!("app-{number}.yaml"), &format!("name: app-{number}\nimage: {image}:1.4.0\n"));
        }
    };
    all("registry.example.org/app");
    world.baseline();
    all("registry.example.net/app");
    world.repo.publish("from elsewhere");
    assert_held(&world, "PLAN", "change_halt");
}

#[test]
fn a_version_that_comes_with_anything_else_is_no_new_version() {
    let world = World::new();
    let all = |version: &str, debug: &str| {
        for number in 0..40 {
            let text =
                format!("name: app-{number}\nimage: registry.example.org/app:{version}\n{debug}replicas: \"3\"\n");
            world.repo.write(&format!("app-{number}.yaml"), &text);
        }
    };
    all("1.4.0", "");
    world.baseline();
    all("1.5.0", "privileged: true\n");
    world.repo.publish("bump all images, and a little more");
    assert_held(&world, "PLAN", "change_halt");
}
