//! 9. Merges that the hosting service made of signed commits, covered by our own.

use std::fs;

use crate::harness::keys::{private, public};
use crate::harness::{World, content, name, short};

/// Changes some files with one commit, as somebody who signs.
fn change(world: &World, numbers: std::ops::Range<usize>, who: &str) {
    world.repo.change("", numbers.clone(), "omega");
    world.repo.commit(&format!("change {numbers:?}")).by(who);
}

/// Lets `main` go on meanwhile.
fn meanwhile(world: &World, number: usize) {
    change(world, number..number + 1, "alice");
}

#[track_caller]
fn assert_covered(world: &World, commits: &[&str]) {
    world.repo.push();
    world.counted_cycle();
    world.converge("web");
    world.assert_free("web");
    let base = world.repo.git(&["rev-list", "--max-parents=0", "HEAD"]);
    let said = world.holdfast(&["verify", "web", &format!("{base}.."), "--output", "json"]).json();
    let rows = said["applications"][0]["commits"].as_array().cloned().unwrap_or_default();
    for commit in commits {
        let row = rows.iter().find(|row| row["commit"] == **commit).unwrap_or_else(|| panic!("{commit}: {said:#}"));
        assert_eq!(row["verdict"], "merged", "{row:#}");
    }
}

#[test]
fn s09_a_merge_commit_of_signed_commits_is_covered() {
    let world = World::with_service_merges();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        change(world, 1..2, "dave");
    });
    meanwhile(&world, 5);
    let merge = world.service_merge(7);
    assert_covered(&world, &[&merge]);
}

#[test]
fn s09_a_merge_commit_needs_no_number_and_no_head_of_its_own() {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..1, "alice"));
    meanwhile(&world, 5);
    world.service(&["merge", "-q", "--no-ff", "-m", "Merge it", "feature-7"]);
    world.repo.git(&["push", "-q", "origin", ":refs/pull/7/head"]);
    assert_covered(&world, &[&world.repo.head()]);
}

#[test]
fn s09_a_squash_of_signed_commits_is_covered() {
    let world = World::with_service_merges();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        change(world, 1..2, "dave");
    });
    meanwhile(&world, 5);
    let squash = world.service_squash(7);
    assert_covered(&world, &[&squash]);
    // What comes after it is judged by itself.
    meanwhile(&world, 6);
    world.repo.push();
    world.converge("web");
}

#[test]
fn s09_rebased_commits_are_covered_by_those_they_were_made_of() {
    let world = World::with_service_merges();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        world.repo.change("", 1..2, "omega");
        world.repo.commit("the last (#7)").by("dave");
    });
    meanwhile(&world, 5);
    world.service_rebase(7);
    world.fast_forward();
    assert_covered(&world, &[&world.repo.git(&["rev-parse", "HEAD~1"]), &world.repo.head()]);
}

#[test]
fn s09_commits_rebased_and_then_merged_are_covered_together() {
    let world = World::with_service_merges();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        change(world, 1..2, "dave");
    });
    meanwhile(&world, 5);
    world.service_rebase(7);
    let rebased = world.repo.head();
    world.repo.git(&["checkout", "-q", "main"]);
    let message =
        "Merge pull request 'Change' (#7) from feature-7 into main\n\nReviewed-on: https://git.example.org/a/b/pulls/7";
    world.service(&["merge", "-q", "--no-ff", "-m", message, "rebased"]);
    assert_covered(&world, &[&rebased, &world.repo.head()]);
}

#[test]
fn s09_a_commit_that_became_empty_is_left_out_of_the_row() {
    let world = World::with_service_merges();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        change(world, 1..2, "dave");
        world.repo.change("", 2..3, "omega");
        world.repo.commit("the last (#7)").by("alice");
    });
    change(&world, 1..2, "alice");
    world.service_rebase(7);
    world.fast_forward();
    assert_eq!(world.repo.git(&["rev-list", "--count", "HEAD~3..HEAD"]), "3", "its own change and two made anew");
    assert_covered(&world, &[&world.repo.git(&["rev-parse", "HEAD~1"]), &world.repo.head()]);
}

#[test]
fn s09_a_branch_that_the_service_brought_up_to_date_is_covered() {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..1, "alice"));
    meanwhile(&world, 5);
    world.repo.push();
    world.repo.git(&["checkout", "-q", "feature-7"]);
    world.service(&["merge", "-q", "--no-ff", "-m", "Merge branch 'main' into feature-7", "main"]);
    change(&world, 1..2, "dave");
    world.keep_head(7);
    world.repo.git(&["checkout", "-q", "main"]);
    meanwhile(&world, 6);
    let squash = world.service_squash(7);
    assert_covered(&world, &[&squash]);
}

#[test]
fn s09_the_service_s_own_signature_is_neither_needed_nor_believed() {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..1, "alice"));
    meanwhile(&world, 5);
    let key = format!("user.signingKey={}", private("mallory").display());
    world.service(&["-c", "gpg.format=ssh", "-c", &key, "merge", "-q", "--no-ff", "-S", "-m", "Merge it", "feature-7"]);
    assert_covered(&world, &[&world.repo.head()]);
}

#[test]
fn s09_whoever_wrote_what_was_squashed_may_not_approve_it() {
    let mut world = World::new();
    world.app("web").trust("serviceMerges: true");
    world.repo.fill("", 0..60);
    world.baseline();
    world.propose(7, |world| {
        world.repo.drop("", 0..12);
        world.repo.commit("drop twelve").by("bob");
    });
    world.service_squash(7);
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["delete_halt"]).digest();
    world.repo.approve(&digest, "bob");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    assert!(world.everything_said("web").contains("refus"), "that bob's approval is refused is not told");
    let tag = format!("holdfast-approve/{}", digest.trim_start_matches("sha256:"));
    world.repo.git(&["push", "-q", "origin", &format!(":refs/tags/{tag}")]);
    world.repo.git(&["tag", "-d", &tag]);
    world.repo.approve(&digest, "carol");
    world.counted_cycles(12);
    assert!(world.tree("web").len() < 60, "nothing was deleted");
}

#[test]
fn s09_whoever_signed_what_was_rebased_may_not_approve_what_is_parked_of_it() {
    let mut world = World::new();
    world.app("web").trust("serviceMerges: true");
    world.repo.fill("", 0..20).write("fstab", "none\n");
    world.baseline();
    world.propose(7, |world| {
        world.repo.remove("fstab");
        world.repo.commit("drop it").written_by("alice").by("bob");
        world.repo.change("", 0..1, "omega");
        world.repo.commit("and more (#7)").by("alice");
    });
    meanwhile(&world, 5);
    world.service_rebase(7);
    world.fast_forward();
    world.repo.push();
    world.counted_cycles(2);
    let parked = world.status("web").list("/parked").to_vec();
    assert_eq!(parked.len(), 1, "{parked:?}");
    let digest = parked[0]["digest"].as_str().expect("what is parked has a digest").to_owned();
    world.repo.approve(&digest, "bob");
    world.counted_cycles(2);
    assert!(world.exists("web", "fstab"), "who signed the deletion approved it");
    assert!(world.everything_said("web").contains("refused"), "that bob's approval is refused is not told");
    world.approve("web", &digest).ok();
    world.counted_cycles(2);
    assert!(!world.exists("web", "fstab"), "the approval of somebody else has no effect");
}

#[test]
fn s09_a_key_that_vouched_for_a_squashed_head_stops_healing_when_it_is_revoked() {
    let mut world = World::new();
    let list = world.dir().join("revoked");
    fs::write(&list, "").expect("the list is written");
    world.app("web").ssh = vec![format!("revocations: {list:?}")];
    world.app("web").trust("serviceMerges: true");
    world.repo.fill("", 0..12);
    world.baseline();
    world.propose(7, |world| change(world, 0..1, "dave"));
    let squash = world.service_squash(7);
    assert_covered(&world, &[&squash]);
    fs::write(&list, format!("{}\n", public("dave"))).expect("the list is written");
    world.assert_reports_but_does_not_heal("web", "f002.conf");
    world.assert_latch("web", "SIGNATURE", &["revoked_key"]);
}

#[test]
fn s09_turning_it_on_is_itself_held_for_an_approval() {
    let mut world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world.app("web").trust("serviceMerges: true");
    world.propose(7, |world| change(world, 0..1, "alice"));
    let squash = world.service_squash(7);
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "SIGNATURE", &["unsigned"]);
    assert!(status.at("/configuration/loosened").to_string().contains("trust.serviceMerges"), "{:#}", status.0);
    world.approve("web", status.text("/configuration/digest")).ok();
    assert_covered(&world, &[&squash]);
}

#[test]
fn s09_it_is_off_unless_the_policy_says_so() {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world.propose(7, |world| change(world, 0..1, "alice"));
    let squash = world.service_squash(7);
    world.repo.push();
    world.counted_cycles(2);
    world.assert_latch("web", "SIGNATURE", &["unsigned"]);
    world.assert_printed(&["SIGNATURE", short(&squash)]);
    assert_eq!(world.live("web", &name(0)), content(0, "alpha"));
    let clones = fs::read_dir(world.config.state.join("repos")).expect("there is a clone");
    let names: String = clones
        .filter_map(|clone| fs::read_to_string(clone.expect("it is listed").path().join("packed-refs")).ok())
        .collect();
    assert!(names.contains("refs/remotes/origin/main") && !names.contains("pulls"), "{names}");
}
