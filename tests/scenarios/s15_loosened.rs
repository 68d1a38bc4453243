//! 15. Guards loosened before the poison; applications edited or deleted.
//!
//! Here the configuration is a file beside the controller; an Application that is an object in a cluster needs a cluster.

use crate::harness::World;
use crate::harness::keys::address;

/// Makes a world whose application reads `hosts/web`.
fn world() -> World {
    let mut world = World::new();
    world.app("web").path("hosts/web");
    world.repo.fill("hosts/web", 0..40).fill("hosts/other", 40..50);
    world.baseline();
    world
}

#[test]
fn s15_a_threshold_loosened_together_with_the_poison_does_not_govern_it() {
    let mut world = world();
    let before = world.tree("web");
    world.app("web").guard("deleteHalt: disabled").guard("changeHalt: disabled").guard("window: disabled");
    world.repo.drop("hosts/web", 0..30);
    world.repo.publish("the poison");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn s15_a_threshold_loosened_first_is_itself_held_for_an_approval() {
    let mut world = world();
    world.app("web").guard("deleteHalt: disabled").guard("changeHalt: disabled").guard("window: disabled");
    world.counted_cycle();
    let said = world.status_text() + &world.status("web").0.to_string();
    assert!(said.contains("deleteHalt"), "the loosening is not told:\n{said}");
    let digest = world.status("web").text("/configuration/digest").to_owned();
    world.assert_printed(&[
        "the configuration loosens deleteHalt, changeHalt, window",
        "the stricter one governs",
        &format!("holdfast approve web {digest}"),
    ]);
    let before = world.tree("web");
    world.repo.drop("hosts/web", 0..30);
    world.repo.publish("the poison");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn s15_a_threshold_tightened_governs_at_once() {
    let mut world = world();
    world.app("web").guard("deleteHalt: 0");
    world.repo.drop("hosts/web", 0..1);
    world.repo.publish("drop one");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn s15_an_edited_path_deletes_nothing() {
    let mut world = world();
    let before = world.tree("web");
    world.app("web").path("hosts/other");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["configuration"]);
    let latch = status.latch("PLAN").map(ToString::to_string).unwrap_or_default();
    assert!(latch.contains("configuration"), "the cause is not told: {latch}");
    assert!(status.writes("healing"));
    world.app("web").path("hosts/web");
    world.counted_cycle();
    world.assert_no_latch("web", "PLAN");
    world.assert_converged("web");
}

#[test]
fn s15_a_deleted_application_leaves_its_resources() {
    let mut world = world();
    world.add_app("second").path("hosts/other");
    world.counted_cycle();
    world.converge("second");
    let before = world.tree("web");
    world.config.apps.remove(0);
    world.counted_cycles(3);
    world.config.apps.clear();
    let _ = world.holdfast(&["run", "--once"]);
    // Read by hand: the application is no longer configured.
    let after = crate::harness::tree::read(&world.dir().join("roots/web"));
    assert_eq!(crate::harness::changes(&before, &after).total(), 0, "a deleted application took its resources along");
}

#[test]
fn s15_a_renamed_application_leaves_its_resources() {
    let mut world = world();
    let before = world.tree("web");
    world.app("web").name = "www".to_owned();
    world.counted_cycles(3);
    world.assert_unchanged("www", &before);
    // The anchor is that of another application.
    world.assert_latch("www", "STATE", &["anchor"]);
}

#[test]
fn s15_a_mode_of_observe_takes_effect_at_once() {
    let mut world = world();
    world.app("web").mode("observe");
    world.assert_reports_but_does_not_heal("web", "f003.conf");
    world.assert_latch("web", "OBSERVE", &["mode"]);
}

#[test]
fn s15_a_signer_whom_the_configuration_adds_does_not_count_before_that_is_approved() {
    let mut world = World::new();
    world.app("web").trust(&format!("signers: [{}]", address("alice")));
    world.repo.fill("", 0..20);
    world.baseline();
    world.app("web").trust(&format!("signers: [{}, {}]", address("alice"), address("dave")));
    world.repo.change("", 0..1, "omega");
    world.repo.commit("by somebody new").by("dave");
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "SIGNATURE", &["signer_not_allowed"]);
    assert!(status.at("/configuration/loosened").to_string().contains("trust.signers"), "{:#}", status.0);
    world.assert_printed(&["SIGNATURE", "dave@example.org"]);
    world.assert_heals("web", "f007.conf");
    world.approve("web", status.text("/configuration/digest")).ok();
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s15_a_directory_that_becomes_exclusive_loses_nothing_before_that_is_approved() {
    let mut world = world();
    for file in ["keys.pem", "notes.txt", "logs/today"] {
        world.edit_live("web", file, "not in the repository\n");
    }
    let before = world.tree("web");
    world.app("web").directory("exclusive: true");
    world.counted_cycles(2);
    world.advance(45);
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.status("web");
    let loosened = status.at("/configuration/loosened").to_string();
    assert!(loosened.contains("target.directory.exclusive"), "{:#}", status.0);
    world.assert_printed(&["exclusive", "holdfast approve"]);

    // Approved, they are drift as in any exclusive directory: announced, and taken away after the grace.
    world.approve("web", status.text("/configuration/digest")).ok();
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    assert_eq!(world.status("web").number("/drift/extra"), 3);
    world.advance(45);
    world.counted_cycles(3);
    assert!(!world.exists("web", "keys.pem") && !world.exists("web", "logs/today"));
    world.assert_converged("web");
}

#[test]
fn s15_a_signer_who_was_taken_off_the_list_is_off_at_once() {
    let mut world = World::new();
    world.app("web").trust(&format!("signers: [{}, {}]", address("alice"), address("dave")));
    world.repo.fill("", 0..20);
    world.baseline();
    // One is taken off while another is added: the addition waits, the removal does not.
    world.app("web").trust(&format!("signers: [{}, {}]", address("alice"), address("carol")));
    world.repo.change("", 0..1, "omega");
    world.repo.commit("by somebody who left").by("dave");
    world.repo.push();
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "SIGNATURE", &["signer_not_allowed"]);
}
