//! 9. Commits that look like merges of the hosting service, and are not our own merges of signed commits.

use serde_json::Value;

use crate::harness::{World, content, name, short};

/// Asserts SIGNATURE with a reason that names the commit, while nothing is written and healing goes on.
#[track_caller]
fn assert_refused(world: &World, commit: &str, code: &str, words: &[&str]) {
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "SIGNATURE", &[code]);
    assert!(!status.writes("promotion") && status.writes("healing"), "{:#}", status.0);
    let reasons = status.latch("SIGNATURE").and_then(|latch| latch["reasons"].as_array().cloned()).unwrap_or_default();
    let of_it = |reason: &&Value| {
        reason["message"].as_str().is_some_and(|text| text.starts_with(&format!("commit {} ", short(commit))))
    };
    let message =
        reasons.iter().find(of_it).unwrap_or_else(|| panic!("{commit} is not named: {reasons:#?}"))["message"]
            .to_string();
    for said in words {
        assert!(message.contains(said), "{said} is not in: {message}");
    }
    world.assert_printed(&["SIGNATURE", short(commit)]);
    world.assert_heals("web", "f009.conf");
}

fn change(world: &World, numbers: std::ops::Range<usize>, who: &str) {
    world.repo.change("", numbers.clone(), "omega");
    world.repo.commit(&format!("change {numbers:?}")).by(who);
}

/// A world with a proposal by alice, and `main` a commit further.
fn proposed() -> World {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..2, "alice"));
    change(&world, 5..6, "alice");
    world
}

#[test]
fn s09_an_evil_merge_is_refused() {
    let world = proposed();
    world.service(&["merge", "-q", "--no-ff", "--no-commit", "feature-7"]);
    world.repo.change("", 3..4, "evil");
    let merge = world.service_commit("Merge pull request 'Change' (#7) from feature-7 into main");
    assert_refused(&world, &merge, "merge_differs", &["the merge of its parents", "its tree is not the one"]);
}

#[test]
fn s09_a_squash_with_anything_else_in_it_is_refused() {
    let world = proposed();
    world.service(&["merge", "-q", "--squash", "feature-7"]);
    world.repo.change("", 3..4, "evil");
    let squash = world.service_commit("Change (#7)");
    assert_refused(&world, &squash, "merge_differs", &["pull request #7", "its tree is not the one"]);
}

#[test]
fn s09_a_conflict_that_was_resolved_by_hand_is_refused() {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..1, "alice"));
    world.repo.change("", 0..1, "delta");
    world.repo.commit("the same place").by("alice");
    world.service(&["merge", "-q", "--no-ff", "-X", "theirs", "-m", "Merge (#7)", "feature-7"]);
    let merge = world.repo.head();
    assert_refused(&world, &merge, "merge_differs", &["a conflict here (f000.conf)"]);
}

#[test]
fn s09_an_octopus_is_refused() {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..1, "alice"));
    world.propose(8, |world| change(world, 1..2, "alice"));
    world.service(&["merge", "-q", "--no-ff", "-m", "Merge two (#7)", "feature-7", "feature-8"]);
    let merge = world.repo.head();
    assert_refused(&world, &merge, "merge_unproven", &["it has 3 parents"]);
}

#[test]
fn s09_a_squash_of_a_branch_with_an_unsigned_commit_is_refused() {
    let world = World::with_service_merges();
    let mut unsigned = String::new();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        world.repo.change("", 1..2, "omega");
        unsigned = world.repo.commit("in between").unsigned_by("mallory");
        change(world, 2..3, "alice");
    });
    let squash = world.service_squash(7);
    assert_refused(&world, &squash, "head_unverified", &[short(&unsigned), "unsigned"]);
}

#[test]
fn s09_a_squash_of_a_branch_by_somebody_unknown_is_refused_until_it_is_vouched_for() {
    let world = World::with_service_merges();
    world.propose(7, |world| change(world, 0..1, "mallory"));
    let squash = world.service_squash(7);
    assert_refused(&world, &squash, "head_unverified", &["unknown_key"]);
    world.repo.tag(&format!("holdfast-vouch/{squash}"), "bob");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s09_a_squash_whose_head_is_another_now_is_refused() {
    let world = proposed();
    let squash = world.service_squash(7);
    world.repo.git(&["checkout", "-q", "feature-7"]);
    change(&world, 2..3, "alice");
    world.keep_head(7);
    world.repo.git(&["checkout", "-q", "main"]);
    assert_refused(&world, &squash, "merge_differs", &["pull request #7"]);
}

#[test]
fn s09_a_head_that_is_nowhere_proves_nothing() {
    let world = proposed();
    let squash = world.service_squash(7);
    world.repo.git(&["push", "-q", "origin", ":refs/pull/7/head"]);
    assert_refused(&world, &squash, "merge_unproven", &["pull request #7", "no such head"]);
    // It was only late.
    world.repo.git(&["push", "-q", "origin", "feature-7:refs/pull/7/head"]);
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s09_a_squash_that_names_somebody_else_s_pull_request_is_refused() {
    let world = proposed();
    world.propose(8, |world| change(world, 8..9, "dave"));
    world.repo.change("", 3..4, "evil");
    let squash = world.service_commit("Change (#8)");
    assert_refused(&world, &squash, "merge_differs", &["pull request #8"]);
}

#[test]
fn s09_an_unsigned_commit_that_names_nothing_is_unsigned() {
    let world = proposed();
    world.repo.change("", 3..4, "evil");
    let commit = world.service_commit("Change");
    assert_refused(&world, &commit, "unsigned", &["names no pull request"]);
}

/// A head of three commits, the last of which names its pull request, made anew on `main`.
fn rebased() -> World {
    let world = World::with_service_merges();
    world.propose(7, |world| {
        change(world, 0..1, "alice");
        change(world, 1..2, "alice");
        world.repo.change("", 2..3, "omega");
        world.repo.commit("the last (#7)").by("alice");
    });
    change(&world, 5..6, "alice");
    world.service_rebase(7);
    world
}

#[test]
fn s09_a_rebased_commit_that_was_altered_is_refused() {
    let world = rebased();
    world.repo.change("", 3..4, "evil");
    world.repo.git(&["add", "-A"]);
    world.service(&["commit", "-q", "--amend", "--no-edit"]);
    world.fast_forward();
    let altered = world.repo.head();
    assert_refused(&world, &altered, "merge_differs", &["#7"]);
}

#[test]
fn s09_a_row_with_a_commit_left_out_is_refused() {
    let world = rebased();
    let left = world.repo.git(&["rev-parse", "HEAD~2"]);
    let last = world.repo.head();
    world.repo.git(&["checkout", "-q", &left]);
    world.service(&["cherry-pick", &last]);
    world.fast_forward();
    let picked = world.repo.head();
    assert_refused(&world, &picked, "merge_differs", &["#7"]);
}

#[test]
fn s09_a_row_that_ends_early_is_refused() {
    let world = rebased();
    world.repo.git(&["checkout", "-q", "HEAD~1"]);
    // The number comes from elsewhere: a commit that changes nothing.
    let named = world.service_commit("Nothing (#7)");
    world.fast_forward();
    let second = world.repo.git(&["rev-parse", "HEAD~1"]);
    assert_refused(&world, &second, "merge_differs", &["#7"]);
    assert_ne!(named, second);
}

#[test]
fn s09_a_foxtrot_by_the_service_is_history() {
    let world = proposed();
    world.repo.push();
    world.converge("web");
    world.repo.git(&["checkout", "-q", "feature-7"]);
    world.service(&["merge", "-q", "--no-ff", "-m", "Merge branch 'main' into feature-7 (#7)", "main"]);
    world.fast_forward();
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "HISTORY", &["history"]);
}

#[test]
fn s09_at_first_use_a_merge_by_the_service_vouches_for_nothing() {
    let mut world = World::new();
    world.app("web").trust("serviceMerges: true");
    world.repo.fill("", 0..4);
    world.repo.commit("as it always was").unsigned_by("mallory");
    world.propose(7, |world| change(world, 0..1, "alice"));
    world.service_squash(7);
    world.repo.push();
    world.counted_cycles(3);
    assert!(world.tree("web").is_empty(), "written from a history that nobody vouches for");
    world.assert_latch("web", "SIGNATURE", &["unsigned"]);
}

#[test]
fn s09_history_that_was_never_signed_cannot_be_merged_in() {
    let world = World::with_service_merges();
    // Two parents, of which the second brings a commit that nobody signed below one that is.
    world.repo.git(&["checkout", "-q", "-b", "feature-7"]);
    world.repo.change("", 0..1, "evil");
    let unsigned = world.repo.commit("below").unsigned_by("mallory");
    change(&world, 1..2, "alice");
    world.keep_head(7);
    world.repo.git(&["checkout", "-q", "main"]);
    let merge = world.service_merge(7);
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "SIGNATURE", &["unsigned", "head_unverified"]);
    world.assert_printed(&["SIGNATURE", short(&unsigned), short(&merge)]);
    assert_eq!(world.live("web", &name(0)), content(0, "alpha"));
}
