//! 13. Small inventories, zeros, and a large first sync.

use crate::harness::git::at;
use crate::harness::{World, changes, content, name};

/// Makes `n` resources, then deletes `deleted` of them while another is added, so that desired never becomes empty.
/// Returns the world after enough counted cycles for any of these, with how many were really deleted.
fn deleting(n: usize, deleted: usize) -> (World, usize) {
    let world = World::new();
    world.repo.fill("", 0..n);
    world.baseline();
    let before = world.tree("web");
    world.repo.drop("", 0..deleted).write("zz-new.conf", "fresh = yes\n");
    world.repo.publish("drop some");
    world.counted_cycles(4);
    let gone = changes(&before, &world.tree("web")).deleted.len();
    (world, gone)
}

#[test]
fn s13_few_resources_may_be_deleted_as_written() {
    // D = N counts from two on, 2 D >= N from three deletions on.
    for (n, deleted, held) in
        [(1, 1, false), (2, 1, false), (2, 2, true), (3, 2, false), (3, 3, true), (4, 2, false), (4, 3, true)]
    {
        let (world, gone) = deleting(n, deleted);
        let latched = world.status("web").latches().get("PLAN").is_some_and(|codes| codes.contains("delete_halt"));
        assert_eq!(latched, held, "{deleted} of {n}");
        assert_eq!(gone, if held { 0 } else { deleted }, "{deleted} of {n}");
        assert_eq!(world.exists("web", "zz-new.conf"), !held, "{deleted} of {n}: creations are part of the plan");
        if held {
            let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
            assert_eq!(status.number("/plan/deletes"), i64::try_from(deleted).expect("it fits"), "{deleted} of {n}");
        } else {
            world.assert_free("web");
        }
    }
}

#[test]
fn s13_half_of_a_small_inventory_is_held() {
    let (world, gone) = deleting(9, 5);
    assert_eq!(gone, 0, "five of nine is more than half");
    world.assert_latch("web", "PLAN", &["delete_halt"]);
    let (world, gone) = deleting(12, 5);
    assert_eq!(gone, 5, "five of twelve is within five");
    world.assert_no_latch("web", "PLAN");
}

#[test]
fn s13_nothing_to_do_with_nothing() {
    // N = 0 and nothing desired: held as empty, and calm.
    let world = World::new();
    world.repo.publish("an empty repository");
    world.counted_cycles(3);
    let status = world.status("web");
    assert_eq!(status.number("/inventory"), 0);
    assert!(world.tree("web").is_empty());
    world.assert_latch("web", "PLAN", &["empty_desired"]);
}

#[test]
fn s13_a_first_sync_of_three_hundred_completes_unattended() {
    let world = World::new();
    world.repo.fill("", 0..300);
    world.repo.publish("the first commit");
    world.counted_cycle();
    assert!(world.tree("web").is_empty(), "the first counted cycle only observes");
    world.assert_latch("web", "OBSERVE", &["observe_for"]);
    let mut previous = 0;
    for cycle in 0..12 {
        world.counted_cycle();
        let now = world.tree("web").len();
        assert!(now - previous <= 30, "{} written in one interval, the cap is thirty", now - previous);
        assert!(now > previous || now == 300, "it stands still at {now} in cycle {cycle}");
        previous = now;
        assert!(world.status("web").latch("PLAN").is_none(), "a first sync was halted at {now}");
    }
    world.assert_converged("web");
    assert_eq!(world.status("web").number("/inventory"), 300);
}

#[test]
fn s13_a_push_in_the_middle_of_a_first_sync_is_no_growth_but_a_multiple_of_it_is() {
    let world = World::new();
    world.repo.fill("", 0..100);
    world.repo.publish("the first commit");
    world.counted_cycles(3);
    let there = world.tree("web").len();
    assert!((10..50).contains(&there), "{there} of 100 are written");
    // What is left to create is several times what is there.
    world.repo.fill("", 0..101);
    world.repo.publish("one file more");
    for _ in 0..10 {
        world.counted_cycle();
        assert_eq!(world.status("web").latch("PLAN"), None);
    }
    world.assert_converged("web");
    assert_eq!(world.tree("web").len(), 101);

    world.repo.fill("", 0..150);
    world.repo.publish("half as much again");
    world.counted_cycles(2);
    let there = world.tree("web").len();
    assert!((102..150).contains(&there), "{there} of 150 are written");
    world.repo.fill("", 0..300);
    world.repo.publish("twice as much as was begun");
    world.counted_cycles(2);
    world.assert_latch("web", "PLAN", &["growth_halt"]);
    assert_eq!(world.tree("web").len(), there);
}

#[test]
fn s13_adopting_what_exists_counts_as_an_update() {
    let world = World::new();
    world.repo.fill("", 0..20);
    world.repo.publish("the first commit");
    for number in 0..18 {
        world.edit_live("web", &name(number), "somebody's own\n");
    }
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    assert_eq!(status.number("/plan/updates"), 18);
    assert_eq!(status.number("/plan/creates"), 2);
}

#[test]
fn s13_doubling_what_is_managed_is_held() {
    let world = World::new();
    world.repo.fill("", 0..20);
    world.baseline();
    let before = world.tree("web");
    world.repo.fill("more", 20..40);
    world.repo.publish("twice as much");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["growth_halt"]);
    // One less is not double.
    world.repo.drop("more", 39..40);
    world.repo.publish("a little less");
    world.converge("web");
}

#[test]
fn s13_two_groups_emptied_whole_are_held() {
    let world = World::new();
    world.repo.fill("one", 0..3).fill("two", 3..6).fill("three", 6..9).fill("", 10..100);
    world.baseline();
    let before = world.tree("web");
    world.repo.remove("one").remove("two");
    world.repo.publish("retire two");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["group_halt"]);
    assert!(!status.latches()["PLAN"].contains("delete_halt"), "six of ninety-nine are within nine");
    // One group is daily work.
    world.repo.git(&["checkout", "-q", "HEAD~1", "--", "two"]);
    world.repo.publish("keep the second");
    world.converge("web");
    assert!(!world.exists("web", "one/f000.conf"));
}

#[test]
fn s13_two_groups_whose_files_are_all_emptied_are_held() {
    let world = World::new();
    world.repo.fill("one", 0..3).fill("two", 3..6).fill("", 10..100);
    world.baseline();
    let before = world.tree("web");
    for (folder, number) in [("one", 0), ("one", 1), ("one", 2), ("two", 3), ("two", 4), ("two", 5)] {
        world.repo.write(&at(folder, number), "");
    }
    world.repo.publish("empty two applications");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["group_halt"]);
    assert!(!status.latches()["PLAN"].contains("delete_halt"), "six of ninety-six are within nine");
}

/// Makes a world with one guard set, and ten resources.
fn guarded(line: &str) -> World {
    let mut world = World::new();
    world.app("web").guard(line);
    world.repo.fill("", 0..10);
    world.baseline();
    world
}

#[test]
fn s13_a_delete_halt_of_zero_holds_every_deletion() {
    for line in ["deleteHalt: 0", "deleteHalt: { over: 0, percent: 50 }", "deleteHalt: { over: 5, percent: 0 }"] {
        let world = guarded(line);
        world.repo.drop("", 0..1);
        world.repo.publish("drop one");
        world.counted_cycles(2);
        assert!(world.exists("web", "f000.conf"), "{line}");
        world.assert_latch("web", "PLAN", &["delete_halt"]);
    }
}

#[test]
fn s13_a_change_halt_of_zero_holds_every_update() {
    let world = guarded("changeHalt: 0");
    world.repo.change("", 0..1, "omega");
    world.repo.publish("change one");
    world.counted_cycles(2);
    assert_eq!(world.live("web", "f000.conf"), content(0, "alpha"));
    world.assert_latch("web", "PLAN", &["change_halt"]);
}

#[test]
fn s13_a_drift_halt_of_zero_holds_all_healing() {
    let world = guarded("driftHalt: 0");
    world.assert_reports_but_does_not_heal("web", "f000.conf");
    world.assert_latch("web", "DRIFT", &["drift_halt"]);
}

#[test]
fn s13_a_window_of_zero_holds_every_deletion() {
    let world = guarded("window: { deletes: { 1h: 0 } }");
    world.repo.drop("", 0..1);
    world.repo.publish("drop one");
    world.counted_cycles(2);
    assert!(world.exists("web", "f000.conf"));
    world.assert_latch("web", "PLAN", &["window"]);
}

#[test]
fn s13_a_write_cap_of_zero_writes_nothing() {
    let mut world = World::new();
    world.repo.fill("", 0..10);
    world.baseline();
    world.app("web").guard("writeCap: 0");
    world.repo.change("", 0..1, "omega");
    world.repo.publish("change one");
    world.remove_live("web", "f005.conf");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.status("web");
    assert_eq!(status.number("/plan/updates"), 1, "what is not written is still planned");
    world.assert_free("web");
    world.assert_printed(&["rolling out 0 of 1", "drift 1"]);
    world.assert_alerted("web", "failing", &["\"set\"", "f000.conf (pending)", "f005.conf (drifted)"]);
    assert_eq!(status.number("/drift/missing"), 1);
}

#[test]
fn s13_a_delete_cap_of_zero_deletes_nothing_and_writes_the_rest() {
    let mut world = World::new();
    world.repo.fill("", 0..10);
    world.baseline();
    world.app("web").guard("deleteCap: 0");
    world.repo.drop("", 0..1).change("", 1..2, "omega");
    world.repo.publish("drop one, change one");
    world.counted_cycles(3);
    assert!(world.exists("web", "f000.conf"));
    assert_eq!(world.live("web", "f001.conf"), content(1, "omega"));
    world.assert_free("web");
    world.assert_printed(&["rolling out 1 of 2"]);
}

#[test]
fn s13_disabled_is_written_and_never_zero() {
    let mut world = World::new();
    let app = world.app("web");
    app.guard("deleteHalt: disabled").guard("changeHalt: disabled").guard("window: disabled").guard("deleteCap: 100");
    world.repo.fill("", 0..40);
    world.baseline();
    world.repo.drop("", 0..20);
    world.repo.publish("drop half");
    world.converge("web");
}

#[test]
fn s13_percentages_round_down() {
    // 10 % of 69 is six, which is more than five.
    let (_, gone) = deleting(69, 6);
    assert!(gone > 0, "six of sixty-nine are within six");
    let (world, gone) = deleting(69, 7);
    assert_eq!(gone, 0);
    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert_eq!(status.reason("PLAN", "delete_halt")["limit"], 6);
}

#[test]
fn s13_emptying_files_is_deleting_them() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    let before = world.tree("web");
    for number in 0..7 {
        world.repo.write(&name(number), "");
    }
    world.repo.publish("empty seven");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert_eq!(status.number("/plan/deletes"), 7);
}

#[test]
fn s13_leaving_nothing_but_line_ends_is_deleting_too() {
    let world = World::new();
    world.repo.fill("", 0..60).write("sudoers", "root ALL=(ALL) ALL\n");
    world.baseline();
    let before = world.tree("web");
    for number in 0..7 {
        world.repo.write(&name(number), "\n");
    }
    world.repo.write("sudoers", " \n\n");
    world.repo.publish("a template that renders nothing");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert_eq!(status.number("/plan/deletes"), 7);
    assert_eq!(status.list("/parked")[0]["resource"], "sudoers");
}

#[test]
fn s13_clearing_executable_bits_is_deleting() {
    let world = World::new();
    world.repo.fill("", 0..60);
    for number in 0..7 {
        world.repo.write(&format!("run{number}.sh"), &format!("#!/bin/sh\necho {number}\n"));
        world.repo.executable(&format!("run{number}.sh"), true);
    }
    world.baseline();
    let before = world.tree("web");
    for number in 0..7 {
        world.repo.executable(&format!("run{number}.sh"), false);
    }
    world.repo.publish("no longer scripts");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn s13_new_versions_have_a_limit_of_their_own() {
    let world = World::new();
    let image = |number: usize, version: &str| {
        format!("name: app-{number}\nimage: registry.example.org/app-{number}:{version}\n")
    };
    let all = |version: &str| {
        for number in 0..40 {
            world.repo.write(&format!("app-{number}.yaml"), &image(number, version));
        }
    };
    all("1.4.0");
    world.baseline();
    all("1.5.0");
    world.repo.publish("bump all images");
    // Forty of forty are more than 30 %, and within fifty bumps.
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s13_observing_alone_writes_nothing_ever() {
    let mut world = World::new();
    world.app("web").mode("observe");
    world.repo.fill("", 0..10);
    world.repo.publish("the first commit");
    world.edit_live("web", "f003.conf", "somebody's own\n");
    let before = world.tree("web");
    world.counted_cycles(4);
    world.assert_unchanged("web", &before);
    assert!(!world.root("web").join(".holdfast").exists(), "even the anchor is a write");
    let status = world.assert_latch("web", "OBSERVE", &["mode"]);
    assert_eq!(status.at("/mode"), "observe");
    assert_eq!((status.number("/plan/creates"), status.number("/plan/updates")), (9, 1));
    assert_eq!(status.at("/lastCycle/complete"), true);
}

#[test]
fn s13_observing_first_may_be_asked_to_last_longer() {
    let mut world = World::new();
    world.app("web").guard("observeFor: 2h");
    world.repo.fill("", 0..3);
    world.repo.publish("the first commit");
    world.counted_cycles(3);
    world.advance(60);
    world.counted_cycle();
    assert!(world.tree("web").is_empty(), "written before two hours of observing were over");
    world.assert_latch("web", "OBSERVE", &["observe_for"]);
    world.advance(60);
    world.counted_cycles(3);
    world.assert_converged("web");
}

#[test]
fn s13_wakes_do_not_shorten_observing() {
    let world = World::new();
    world.repo.fill("", 0..3);
    world.repo.publish("the first commit");
    world.counted_cycle();
    for _ in 0..5 {
        world.clock.advance(1);
        world.cycle();
    }
    // The one cycle has been observed: a wake in the same interval neither counts nor may write more than was allowed.
    assert!(world.tree("web").len() <= 3);
    world.counted_cycles(2);
    world.assert_converged("web");
}

#[test]
fn s13_a_target_that_refuses_is_only_probed_until_it_takes_something_again() {
    let mut world = World::new();
    world.without_privilege();
    world.app("web").guard("backoff: { initial: 1s, max: 1s }");
    world.repo.fill("open", 0..6).fill("shut", 6..10);
    world.baseline();
    world.repo.change("shut", 6..10, "omega");
    world.repo.publish("change what cannot be written");
    let shut = world.root("web").join("shut");
    let before = world.tree("web");
    world.with_mode(&shut, 0o555, || {
        world.counted_cycles(12);
        world.assert_unchanged("web", &before);
        world.assert_latch("web", "FAILURE", &["failures"]);
        world.assert_printed(&["FAILURE", "4 of 10"]);
        // A probe that fails clears nothing.
        world.advance(31);
        world.counted_cycle();
        world.assert_latch("web", "FAILURE", &["failures"]);
    });
    world.advance(31);
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 1, "not one probe");
    world.converge("web");
    world.assert_free("web");
}
