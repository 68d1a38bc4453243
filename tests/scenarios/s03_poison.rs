//! 3. Poisoned commits in a range: named, held, taken back; or many small ones.

use std::collections::BTreeSet;

use crate::harness::{Changes, World, changes, short};

/// Makes a world with a hundred resources, and commits two good changes and a poisoned third; returns the commits.
fn poisoned(world: &World) -> Vec<String> {
    world.repo.fill("", 0..100);
    world.baseline();
    let mut commits = Vec::new();
    world.repo.change("", 0..1, "omega");
    commits.push(world.repo.commit("first of five").by("alice"));
    world.repo.change("", 1..2, "omega");
    commits.push(world.repo.commit("second of five").by("dave"));
    world.repo.drop("", 40..100);
    commits.push(world.repo.commit("tidy up the base").by("carol"));
    world.repo.change("", 2..3, "omega");
    commits.push(world.repo.commit("fourth of five").by("alice"));
    commits
}

#[test]
fn s03_the_poisoned_one_of_five_commits_is_named_and_nothing_is_written() {
    let world = World::new();
    let mut commits = poisoned(&world);
    world.repo.change("", 3..4, "omega");
    commits.push(world.repo.publish("fifth of five"));
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);

    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    let reason = status.reason("PLAN", "delete_halt");
    assert_eq!((&reason["observed"], &reason["limit"], &reason["n"]), (&60.into(), &10.into(), &100.into()));
    assert_eq!(status.number("/plan/deletes"), 60);
    assert_eq!(status.number("/plan/updates"), 4);
    assert_eq!(status.text("/plan/culprit/commit"), commits[2]);
    assert_eq!(status.number("/plan/culprit/magnitude"), 60);
    assert_eq!(status.text("/plan/culprit/subject"), "tidy up the base");
    assert!(status.text("/plan/culprit/author").contains("carol"));
    assert_eq!(status.number("/source/behind"), 5);
    world.assert_printed(&[
        "PLAN",
        "60",
        "100",
        short(&commits[2]),
        "tidy up the base",
        "carol",
        "holdfast approve web",
    ]);

    let plan = world.plan("web");
    let listed: Vec<_> = plan.commits().iter().map(|commit| commit["commit"].as_str().unwrap_or_default()).collect();
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len(), 5, "the five commits are not listed: {listed:?}");
    let third = plan.commits().iter().find(|commit| commit["commit"] == commits[2]).expect("the third is listed");
    assert_eq!(third["magnitude"], 60);
    assert_eq!(third["deletes"], 60);
    assert!(third["signer"].as_str().is_some_and(|signer| signer.contains("carol")), "{third:#}");
    assert_eq!(plan.operations().len(), 64);
    world.assert_unchanged("web", &before);

    world.assert_journal("web", &[&commits[2]]);
    // Healing goes on to what was accepted.
    world.assert_heals("web", "f050.conf");
}

#[test]
fn s03_a_fifth_commit_that_reverts_the_third_converges_and_says_what_was_skipped() {
    let world = World::new();
    let commits = poisoned(&world);
    let before = world.tree("web");
    world.repo.revert(&commits[2], "alice");
    world.repo.push();
    world.converge("web");
    let changed = changes(&before, &world.tree("web"));
    assert_eq!(changed.updated, ["f000.conf", "f001.conf", "f002.conf"]);
    assert!(changed.created.is_empty() && changed.deleted.is_empty(), "{changed:?}");
    world.assert_free("web");
    assert_eq!(world.status("web").at("/skipped"), &serde_json::json!([commits[2]]), "{:#}", world.status("web").0);
    world.assert_printed(&[&format!("skipped {}", short(&commits[2]))]);
    world.assert_journal("web", &[&commits[2]]);
    assert!(world.receiver.of("PLAN", "set").is_empty(), "it was halted on the way");
}

#[test]
fn s03_what_a_held_commit_wants_is_drift_when_somebody_does_it_by_hand() {
    // Drift is observed against the accepted state: that a halted commit wants the same is no reason to let it happen.
    let world = World::new();
    poisoned(&world);
    world.repo.push();
    world.counted_cycles(2);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
    world.edit_live("web", "f000.conf", &crate::harness::content(0, "omega"));
    world.remove_live("web", "f070.conf");
    world.cycle();
    let status = world.status("web");
    assert_eq!((status.number("/drift/changed"), status.number("/drift/missing")), (1, 1), "{:#}", status.at("/drift"));
    world.advance(31);
    world.counted_cycles(3);
    assert!(world.exists("web", "f070.conf"), "what the poison would delete was deleted by hand, and is not healed");
    assert_eq!(world.live("web", "f000.conf"), crate::harness::content(0, "alpha"));
}

#[test]
fn s03_a_held_range_goes_on_once_the_poison_is_reverted() {
    let world = World::new();
    let commits = poisoned(&world);
    world.repo.push();
    world.counted_cycles(2);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
    world.repo.revert(&commits[2], "carol");
    world.repo.push();
    world.converge("web");
    world.assert_free("web");
    world.assert_converged("web");
}

#[test]
fn s03_five_commits_of_which_none_crosses_alone_are_an_accumulation() {
    let world = World::new();
    world.repo.fill("", 0..50);
    world.baseline();
    let mut commits = BTreeSet::new();
    for (number, who) in ["alice", "bob", "carol", "dave", "alice"].into_iter().enumerate() {
        world.repo.change("", number * 4..number * 4 + 4, "omega");
        commits.insert(world.repo.commit(&format!("a little, {number}")).by(who));
    }
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    let reason = status.reason("PLAN", "change_halt");
    assert_eq!((&reason["observed"], &reason["limit"]), (&20.into(), &15.into()));
    assert!(status.at("/plan/culprit").is_null(), "no commit is to blame alone: {:#}", status.at("/plan"));
    let contributors: BTreeSet<_> = status
        .list("/plan/contributors")
        .iter()
        .map(|one| one["commit"].as_str().or_else(|| one.as_str()).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(contributors, commits);
    let said = world.status_text() + &status.0.to_string() + &world.plan("web").0.to_string();
    assert!(said.contains("accumulation"), "the verdict is not told:\n{said}");
    world.assert_printed(&["accumulation: no commit crosses a limit alone; 5 contribute", "a little, ", "git restore"]);
    world.assert_heals("web", "f040.conf");
}

#[test]
fn s03_last_good_converges_to_the_commit_before_the_culprit() {
    let mut world = World::new();
    world.app("web").guard("onPoison: last_good");
    let commits = poisoned(&world);
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(4);
    let changed = changes(&before, &world.tree("web"));
    let wanted = Changes { updated: vec!["f000.conf".into(), "f001.conf".into()], ..Changes::default() };
    assert_eq!(changed, wanted, "not the state of the second commit");
    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert_eq!(status.converged(), Some(commits[1].as_str()));
    assert_eq!(status.text("/plan/culprit/commit"), commits[2]);
}

#[test]
fn s03_last_good_holds_a_prefix_that_is_more_than_half_of_a_limit() {
    let mut world = World::new();
    world.app("web").guard("onPoison: last_good");
    world.repo.fill("", 0..100);
    world.baseline();
    world.repo.change("", 0..16, "omega");
    world.repo.commit("sixteen of an allowed thirty").by("alice");
    world.repo.drop("", 40..100);
    world.repo.publish("tidy up the base");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn s03_a_merge_of_a_branch_is_judged_as_what_it_brings() {
    // The branch's own commits are not on the first-parent chain: the merge is what lands, and what is named.
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.git(&["checkout", "-q", "-b", "feature"]);
    for number in 0..5 {
        world.repo.change("", number * 5..number * 5 + 5, "omega");
        world.repo.commit(&format!("part {number}")).by("dave");
    }
    world.repo.git(&["checkout", "-q", "main"]);
    let merge = world.repo.merge_no_ff("feature", "Merge the feature", "alice");
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycle();
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    assert_eq!(status.text("/plan/culprit/commit"), merge);
    assert_eq!(status.number("/plan/culprit/magnitude"), 25);
}
