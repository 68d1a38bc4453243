//! 10. Freezing is cheap, thawing is dear.

use std::fs;

use crate::harness::{World, changes};

/// Makes a world at its baseline.
fn world() -> World {
    let world = World::new();
    world.repo.fill("", 0..20);
    world.baseline();
    world
}

/// Commits a FREEZE without a signature, and lets the controller see it.
#[track_caller]
fn freeze(world: &World, text: &str) {
    world.repo.write("FREEZE", text);
    world.repo.commit("stop").unsigned_by("mallory");
    world.repo.push();
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_an_unsigned_freeze_in_the_middle_of_an_apply_stops_it_at_the_next_resource() {
    let mut world = world();
    // Batches of one, two, four: after the second, somebody pushes a freeze, and ten seconds pass.
    world.on_batch(
        "web",
        "if [ $call = 2 ]; then cd \"$dir/work\" && touch FREEZE && git add FREEZE && \
         git -c user.name=mallory -c user.email=mallory@example.org commit -q -m stop && git push -q origin HEAD && \
         advance 11; fi",
    );
    world.repo.change("", 0..10, "omega");
    world.repo.publish("ten updates");
    let before = world.tree("web");
    world.counted_cycle();
    assert_eq!(world.calls("hook.sh"), 2, "a batch was written after the freeze");
    let changed = changes(&before, &world.tree("web"));
    assert_eq!((changed.total(), changed.updated.len()), (3, 3), "it did not stop at the next resource: {changed:?}");
    let status = world.assert_latch("web", "FREEZE", &["freeze"]);
    assert!(!status.writes("promotion") && !status.writes("healing"));

    let frozen = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &frozen);
    world.assert_printed(&["FREEZE", "web"]);
    world.assert_reports_but_does_not_heal("web", "f015.conf");
}

#[test]
fn s10_a_file_in_the_state_directory_stops_an_apply_at_the_next_resource() {
    let mut world = world();
    world.on_batch("web", "if [ $call = 2 ]; then echo 'reason: by hand' > \"$dir/state/FREEZE\"; fi");
    world.repo.change("", 0..10, "omega");
    world.repo.publish("ten updates");
    let before = world.tree("web");
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).total(), 3, "it did not stop at the next resource");
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_the_command_stops_an_apply_at_the_next_resource() {
    let mut world = world();
    let config = world.dir().join("holdfast.yaml");
    let command = format!("{:?} freeze web --reason pager -c {config:?}", env!("CARGO_BIN_EXE_holdfast"));
    world.on_batch("web", &format!("export HOLDFAST_TEST_CLOCK=\"$dir/clock\"\nif [ $call = 2 ]; then {command}; fi"));
    world.repo.change("", 0..10, "omega");
    world.repo.publish("ten updates");
    let before = world.tree("web");
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).total(), 3, "it did not stop at the next resource");
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.assert_printed(&["pager"]);
}

#[test]
fn s10_every_spelling_of_the_file_freezes_and_none_is_rendered() {
    for (name, link) in [("freeze", false), ("FREEZE.md", false), ("Freeze.yaml", false), ("FREEZE", true)] {
        let world = world();
        let before = world.tree("web");
        if link {
            world.repo.link(name, "nowhere");
        } else {
            world.repo.write(name, "");
        }
        world.repo.change("", 0..1, "omega");
        world.repo.publish("stop");
        world.counted_cycles(2);
        world.assert_latch("web", "FREEZE", &["freeze"]);
        world.assert_unchanged("web", &before);
        world.repo.remove(name);
        world.repo.publish("go");
        world.converge("web");
        assert!(!world.exists("web", name), "{name} was written to the target");
    }
}

#[test]
fn s10_a_folder_of_that_name_freezes() {
    let world = world();
    world.repo.write("FREEZE/why.txt", "a folder\n");
    world.repo.publish("stop");
    world.counted_cycles(2);
    world.assert_latch("web", "FREEZE", &["freeze"]);
    assert!(!world.exists("web", "FREEZE/why.txt"), "a freeze was rendered");
}

#[test]
fn s10_an_unsigned_removal_does_not_thaw() {
    let world = world();
    freeze(&world, "");
    world.repo.remove("FREEZE");
    world.repo.commit("go on").unsigned_by("mallory");
    world.repo.push();
    world.counted_cycles(2);
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.assert_reports_but_does_not_heal("web", "f003.conf");
}

#[test]
fn s10_an_unsigned_narrowing_does_not_thaw() {
    for narrowed in ["scope: [db]\n", "until: 2020-01-01T00:00:00Z\nscope: [db]\n"] {
        let world = world();
        freeze(&world, "reason: incident\n");
        world.repo.write("FREEZE", narrowed);
        world.repo.commit("only db").unsigned_by("mallory");
        world.repo.push();
        world.counted_cycles(2);
        world.assert_latch("web", "FREEZE", &["freeze"]);
        world.assert_reports_but_does_not_heal("web", "f003.conf");
    }
}

#[test]
fn s10_a_signed_removal_thaws() {
    let world = world();
    freeze(&world, "reason: incident 4711\nowner: carol\n");
    world.assert_printed(&["incident 4711", "carol"]);
    world.repo.change("", 0..3, "omega");
    world.repo.publish("prepared while frozen");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.status("web");
    assert_eq!(status.number("/plan/updates"), 3, "a frozen controller still plans: {:#}", status.at("/plan"));
    world.repo.remove("FREEZE");
    world.repo.publish("go");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s10_what_holds_says_since_when_it_has_held() {
    let world = world();
    freeze(&world, "reason: incident\n");
    world.repo.change("", 0..1, "omega");
    world.repo.commit("not signed").unsigned_by("mallory");
    world.repo.push();
    world.counted_cycle();
    let since = |name: &str| {
        let status = world.status("web");
        status.latch(name).unwrap_or_else(|| panic!("{name} is not set"))["since"].clone()
    };
    let before = (since("FREEZE"), since("SIGNATURE"));
    world.advance(60);
    world.counted_cycles(2);
    assert_eq!((since("FREEZE"), since("SIGNATURE")), before, "an hour later it says that it has only begun");
}

#[test]
fn s10_after_a_verified_thaw_a_huge_plan_is_a_halt() {
    let world = world();
    freeze(&world, "reason: incident\n");
    world.repo.change("", 0..18, "omega");
    world.repo.publish("prepared while frozen");
    world.counted_cycle();
    world.repo.remove("FREEZE");
    world.repo.publish("go");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_no_latch("web", "FREEZE");
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["change_halt"]);
}

#[test]
fn s10_an_expiry_goes_through_a_new_plan_and_every_halt() {
    let world = world();
    let until = jiff::Timestamp::from_second(world.clock.now() + 3600).expect("the time fits");
    freeze(&world, &format!("until: {until}\n"));
    world.repo.change("", 0..18, "omega");
    world.repo.publish("prepared while frozen");
    let before = world.tree("web");
    world.advance(50);
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.advance(12);
    world.counted_cycles(3);
    world.assert_no_latch("web", "FREEZE");
    world.assert_latch("web", "PLAN", &["change_halt"]);
    world.assert_unchanged("web", &before);
}

#[test]
fn s10_a_clock_that_jumps_forward_expires_no_freeze() {
    let world = world();
    let until = jiff::Timestamp::from_second(world.clock.now() + 3600).expect("the time fits");
    freeze(&world, &format!("until: {until}\n"));
    world.clock.jump(7200);
    world.counted_cycles(2);
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_a_malformed_freeze_freezes_all_without_expiry_and_says_why() {
    for (text, why) in [
        ("until: tomorrow\n", "until"),
        ("until: 2040-01-01T00:00:00\nscope: [db]\n", "offset"),
        ("until: 2020-01-01T00:00:00Z\n", "past"),
        ("scope: [db\n", ""),
        ("scoop: [db]\n", "scoop"),
        ("just some words: [\n\u{0}", ""),
    ] {
        let world = world();
        freeze(&world, text);
        let status = world.status("web");
        let latch = status.latch("FREEZE").map(ToString::to_string).unwrap_or_default();
        assert!(latch.contains(why), "{text:?}: does not say {why:?}: {latch}");
        world.assert_reports_but_does_not_heal("web", "f003.conf");
    }
}

#[test]
fn s10_a_scope_freezes_those_that_it_names() {
    let mut world = World::new();
    world.app("web").path("hosts/web");
    world.add_app("db").path("hosts/db");
    world.repo.fill("hosts/web", 0..6).fill("hosts/db", 6..12);
    world.baseline();
    world.repo.write("FREEZE", "scope: [\"d*\"]\nreason: schema\n");
    world.repo.publish("freeze the databases");
    world.counted_cycle();
    world.assert_latch("db", "FREEZE", &["freeze"]);
    world.assert_no_latch("web", "FREEZE");
    world.assert_heals("web", "f001.conf");

    // A file at an application's path freezes that application.
    world.repo.write("hosts/web/FREEZE", "");
    world.repo.commit("and this one").unsigned_by("mallory");
    world.repo.push();
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_the_command_freezes_and_thaws_without_a_running_controller() {
    let world = world();
    world.holdfast(&["freeze", "web"]).refused();
    world.holdfast(&["freeze", "web", "--reason", "maintenance of the rack"]).ok();
    world.assert_printed(&["FREEZE", "maintenance of the rack"]);
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    // Told by the next cycle: the command itself does not wait for any receiver.
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.holdfast(&["thaw", "web", "--reason", "done"]).ok();
    world.counted_cycles(2);
    world.assert_converged("web");
    world.assert_free("web");
    let said = world.everything_said("web");
    assert!(said.contains("local:"), "who froze and thawed is not kept:\n{said}");
}

#[test]
fn s10_freezing_all_works_with_everything_else_down() {
    let world = world();
    fs::rename(&world.repo.origin, world.dir().join("away.git")).expect("the origin is moved");
    world.holdfast(&["freeze", "--all", "--reason", "everything is down"]).ok();
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.holdfast(&["thaw", "--all", "--reason", "up again"]).ok();
    world.counted_cycles(2);
    assert!(world.exists("web", "f003.conf"), "healing needs no reachable repository");
}

#[test]
fn s10_a_thaw_by_command_does_not_lift_a_committed_freeze() {
    let world = world();
    freeze(&world, "reason: incident\n");
    let _ = world.holdfast(&["thaw", "web", "--reason", "impatience"]);
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_a_file_in_the_state_directory_freezes_while_it_is_there() {
    let world = world();
    fs::write(world.dir().join("state/FREEZE"), "").expect("the file is written");
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_a_repository_that_cannot_be_read_keeps_the_last_known_freeze() {
    let world = world();
    freeze(&world, "reason: incident\n");
    fs::rename(&world.repo.origin, world.dir().join("away.git")).expect("the origin is moved");
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn s10_a_freeze_holds_even_on_a_tip_that_is_halted() {
    let world = world();
    world.repo.drop("", 0..18);
    world.repo.publish("poison");
    world.counted_cycle();
    world.assert_latch("web", "PLAN", &["delete_halt"]);
    freeze(&world, "");
    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert!(!status.writes("healing"), "a freeze stops healing too");
}

#[test]
fn s10_an_unsigned_commit_that_freezes_and_changes_more_still_freezes() {
    // It needs a signature for what it changes, none for what it freezes.
    let world = world();
    world.repo.write("FREEZE", "").change("", 0..2, "omega");
    world.repo.commit("stop, and something else").unsigned_by("mallory");
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.assert_latch("web", "SIGNATURE", &["unsigned"]);
}
