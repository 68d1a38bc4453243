//! 12. Drift: by a person in an incident, by nobody known, by a fight.

use crate::harness::{HOUR, World, content};

/// Makes a world at its baseline.
fn world() -> World {
    let world = World::new();
    world.repo.fill("", 0..20);
    world.baseline();
    world
}

const BY_HAND: &str = "owner = d\nupstream = by hand\n";

#[test]
fn s12_a_change_on_hold_is_escalated_and_never_reverted() {
    let world = world();
    world.holdfast(&["hold", "f003.conf", "--for", "12h", "--reason", "incident 4711"]).ok();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycles(2);
    let status = world.status("web");
    assert_eq!(status.number("/drift/byClass/emergency"), 1, "{:#}", status.at("/drift"));
    for _ in 0..10 {
        world.clock.advance(HOUR);
        world.cycle();
    }
    assert_eq!(world.live("web", "f003.conf"), BY_HAND, "a change on hold was reverted");
    let drift = world.holdfast(&["drift", "web"]).ok().says(&["f003.conf", "emergency"]);
    assert!(drift.stdout.contains("by hand"), "the drift is shown without its content:\n{}", drift.stdout);
    let said = world.everything_said("web") + &drift.stdout;
    assert!(said.contains("incident 4711"), "the reason of the hold is told nowhere:\n{said}");
    world.assert_alerted("web", "emergency", &["f003.conf", "left alone", "holdfast status web"]);
    world.assert_printed(&["f003.conf (emergency)"]);
    // The rest heals as ever.
    world.remove_live("web", "f005.conf");
    world.counted_cycles(3);
    assert!(world.exists("web", "f005.conf"));
}

#[test]
fn s12_a_commit_does_not_overwrite_a_change_on_hold() {
    let world = world();
    world.holdfast(&["hold", "f003.conf", "--for", "12h", "--reason", "incident 4711"]).ok();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycles(2);
    world.repo.change("", 3..6, "omega");
    world.repo.publish("touch it and two others");
    world.counted_cycles(3);
    assert_eq!(world.live("web", "f003.conf"), BY_HAND, "overwritten silently");
    assert_eq!(world.live("web", "f004.conf"), content(4, "omega"), "one conflict held the others");
    let said = world.status_text() + &world.status("web").0.to_string();
    assert!(said.to_lowercase().contains("conflict") && said.contains("f003.conf"), "not told:\n{said}");
    let status = world.status("web");
    let conflict = &status.list("/parked")[0];
    assert_eq!((&conflict["resource"], &conflict["reason"]), (&"f003.conf".into(), &"conflict".into()));
    world.assert_prints("web", &status);
    world.assert_alerted("web", "failing", &["\"set\"", "f003.conf"]);

    // Once the hold ends the commit is in force again.
    world.holdfast(&["release", "f003.conf"]).ok();
    world.advance(31);
    world.counted_cycles(3);
    assert_eq!(world.live("web", "f003.conf"), content(3, "omega"));
    world.assert_converged("web");
}

#[test]
fn s12_a_commit_that_adopts_the_change_ends_the_conflict() {
    let world = world();
    world.holdfast(&["hold", "f003.conf", "--for", "12h", "--reason", "incident 4711"]).ok();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycles(2);
    world.repo.write("f003.conf", BY_HAND);
    world.repo.publish("keep what was done in the incident");
    world.converge("web");
    let status = world.status("web");
    assert_eq!(status.number("/drift/changed"), 0, "{:#}", status.at("/drift"));
}

#[test]
fn s12_a_hold_ends_by_itself() {
    let world = world();
    world.holdfast(&["hold", "f003.conf", "--for", "2h", "--reason", "an experiment"]).ok();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycles(2);
    world.clock.advance(HOUR);
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f003.conf"), BY_HAND);
    world.clock.advance(HOUR);
    world.counted_cycles(12);
    assert_eq!(world.live("web", "f003.conf"), content(3, "alpha"), "the hold is over, and it is not reverted");
}

#[test]
fn s12_an_emergency_is_reverted_only_where_the_policy_says_when() {
    let mut world = World::new();
    world.app("web").drift("emergency: { escalate: { revertAfter: 2h } }");
    world.repo.fill("", 0..20);
    world.baseline();
    world.holdfast(&["hold", "f003.conf", "--for", "12h", "--reason", "incident"]).ok();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycles(2);
    world.clock.advance(HOUR);
    world.counted_cycle();
    assert_eq!(world.live("web", "f003.conf"), BY_HAND);
    world.clock.advance(HOUR);
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f003.conf"), content(3, "alpha"));
}

#[test]
fn s12_an_edit_by_nobody_known_is_announced_and_reverted_after_the_grace() {
    let world = world();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycle();
    let status = world.status("web");
    assert_eq!(status.number("/drift/changed"), 1);
    assert_eq!(status.number("/drift/byClass/fresh"), 1, "{:#}", status.at("/drift"));
    assert_eq!(world.live("web", "f003.conf"), BY_HAND, "reverted within the grace");
    // Announced with the time at which it becomes routine, and the command that keeps it.
    let drift = world.holdfast(&["drift", "web"]).ok();
    let said = world.status_text() + &drift.stdout;
    assert!(said.contains("holdfast hold"), "the command that keeps it is not told:\n{said}");
    world.assert_alerted("web", "fresh", &["f003.conf", "routine", "holdfast hold f003.conf"]);
    world.assert_printed(&["f003.conf (fresh)", "holdfast hold f003.conf"]);
    world.advance(20);
    world.counted_cycle();
    assert_eq!(world.live("web", "f003.conf"), BY_HAND, "reverted within the grace");
    world.advance(8);
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f003.conf"), content(3, "alpha"), "not reverted after the grace");
    world.assert_converged("web");
}

#[test]
fn s12_what_is_missing_is_healed_at_once() {
    let world = world();
    world.assert_heals("web", "f003.conf");
    let history = world.holdfast(&["history", "web"]).ok();
    assert!(history.stdout.contains("f003.conf"), "the healing is not in the journal:\n{}", history.stdout);
}

#[test]
fn s12_changed_access_control_is_tampering_and_reverted_at_once() {
    let world = World::new();
    world.repo.fill("", 0..20).write("sudoers.d/ops", "%ops ALL=(ALL) ALL\n");
    world.baseline();
    world.edit_live("web", "sudoers.d/ops", "%ops ALL=(ALL) NOPASSWD: ALL\n");
    let mut classed = false;
    for _ in 0..3 {
        let drift = world.holdfast(&["drift", "web", "--output", "json"]).ok().stdout;
        classed |= drift.contains("tamper");
        world.counted_cycle();
    }
    assert_eq!(world.live("web", "sudoers.d/ops"), "%ops ALL=(ALL) ALL\n");
    classed |= world.everything_said("web").contains("tamper");
    assert!(classed, "it is nowhere called tampering");
    world.assert_alerted("web", "tamper", &["sudoers.d/ops", "access control"]);
}

#[test]
fn s12_a_policy_of_adopt_leaves_drift_alone() {
    let mut world = World::new();
    world.app("web").drift("routine: adopt").drift("missing: escalate");
    world.repo.fill("", 0..20);
    world.baseline();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.remove_live("web", "f004.conf");
    world.counted_cycles(2);
    world.advance(60);
    world.counted_cycles(3);
    assert_eq!(world.live("web", "f003.conf"), BY_HAND);
    assert!(!world.exists("web", "f004.conf"), "escalate reverted");
    assert_eq!(world.status("web").number("/drift/missing"), 1, "what is escalated is still reported");
}

#[test]
fn s12_a_zero_grace_reverts_at_once() {
    let mut world = World::new();
    world.app("web").drift("grace: 0s");
    world.repo.fill("", 0..20);
    world.baseline();
    world.edit_live("web", "f003.conf", BY_HAND);
    world.counted_cycles(3);
    assert_eq!(world.live("web", "f003.conf"), content(3, "alpha"));
}

#[test]
fn s12_three_reverts_in_an_hour_are_a_fight_and_quarantine() {
    let world = world();
    for round in 0..3 {
        world.remove_live("web", "f003.conf");
        world.counted_cycles(2);
        assert!(world.exists("web", "f003.conf"), "not healed in round {round}");
    }
    world.remove_live("web", "f003.conf");
    world.remove_live("web", "f007.conf");
    world.counted_cycles(4);
    assert!(!world.exists("web", "f003.conf"), "the fight goes on");
    assert!(world.exists("web", "f007.conf"), "one quarantined resource stops the healing of others");
    let status = world.status("web");
    assert_eq!(status.number("/drift/missing"), 1, "what is quarantined is still reported");
    let failing = status.list("/failing");
    let told = failing.iter().any(|one| {
        let reason = one["reason"].as_str().unwrap_or_default();
        one["resource"] == "f003.conf"
            && (reason.contains("fight") || reason.contains("fought") || reason.contains("quarantin"))
    });
    assert!(told, "the quarantine is not told: {failing:?}");
    world.assert_printed(&["f003.conf"]);
    world.assert_alerted("web", "fight", &["f003.conf", "quarantined", "holdfast release"]);
    world.assert_journal("web", &["quarantined"]);

    // A person lets it go.
    world.holdfast(&["release", "f003.conf"]).ok();
    world.counted_cycles(3);
    assert!(world.exists("web", "f003.conf"), "a released resource is not healed");
}

#[test]
fn s12_much_drift_without_a_commit_is_not_healed_but_held() {
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    // Nine of forty: the limit is eight.
    for number in 0..9 {
        world.remove_live("web", &crate::harness::name(number));
    }
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "DRIFT", &["drift_halt"]);
    let reason = status.reason("DRIFT", "drift_halt");
    assert_eq!((&reason["observed"], &reason["limit"]), (&9.into(), &8.into()), "{reason:#}");
    assert!(status.writes("promotion"), "DRIFT stops healing, not promotion");
    world.assert_printed(&["DRIFT", "9", "40"]);

    // A commit still gets through.
    world.repo.change("", 20..21, "omega");
    world.repo.publish("an ordinary change");
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f020.conf"), content(20, "omega"));
}

#[test]
fn s12_drift_below_the_limit_heals_paced() {
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    for number in 0..8 {
        world.remove_live("web", &crate::harness::name(number));
    }
    world.counted_cycles(3);
    world.assert_converged("web");
}

#[test]
fn s12_drift_that_is_held_clears_when_it_is_gone_for_three_cycles() {
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    for number in 0..9 {
        world.remove_live("web", &crate::harness::name(number));
    }
    world.counted_cycle();
    world.assert_latch("web", "DRIFT", &["drift_halt"]);
    for number in 0..9 {
        world.edit_live("web", &crate::harness::name(number), &content(number, "alpha"));
    }
    world.counted_cycle();
    world.assert_latch("web", "DRIFT", &["drift_halt"]);
    world.counted_cycle();
    world.assert_latch("web", "DRIFT", &["drift_halt"]);
    world.counted_cycle();
    world.assert_no_latch("web", "DRIFT");
}

#[test]
fn s12_held_drift_may_be_approved() {
    let world = World::new();
    world.repo.fill("", 0..40);
    world.baseline();
    for number in 0..9 {
        world.remove_live("web", &crate::harness::name(number));
    }
    world.counted_cycle();
    let status = world.assert_latch("web", "DRIFT", &["drift_halt"]);
    let digests = status.digests_to_approve("DRIFT");
    assert_eq!(digests.len(), 1, "what to approve is not told: {:#}", status.latch("DRIFT").expect("it is set"));
    world.approve("web", digests.first().expect("there is one")).ok();
    world.counted_cycles(3);
    world.assert_converged("web");
}

#[test]
fn s12_files_that_nobody_declared_are_invisible_unless_exclusive() {
    let world = world();
    world.edit_live("web", "somebody.else", "not ours\n");
    world.counted_cycles(3);
    assert_eq!(world.live("web", "somebody.else"), "not ours\n");
    assert_eq!(world.status("web").number("/drift/extra"), 0);

    let mut world = World::new();
    world.app("web").directory("exclusive: true");
    world.repo.fill("", 0..20);
    world.baseline();
    world.edit_live("web", "somebody.else", "not ours\n");
    world.counted_cycle();
    assert_eq!(world.status("web").number("/drift/extra"), 1, "an exclusive directory holds something else");
}
