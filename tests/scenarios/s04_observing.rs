//! 4. Observing returns nothing, is refused, or fails half way.

use std::fs;

use crate::harness::{World, changes};

/// Makes a world with files in two folders, one of which will not be readable.
fn two_folders() -> World {
    let mut world = World::new();
    world.without_privilege();
    world.repo.fill("open", 0..6).fill("shut", 6..12);
    world.baseline();
    world
}

#[test]
fn s04_a_folder_that_refuses_to_be_read_is_neither_missing_nor_drifted() {
    let world = two_folders();
    let before = world.tree("web");
    let shut = world.root("web").join("shut");
    // A commit that would remove half of it, change the rest, and change something readable too.
    world.repo.drop("shut", 6..8).change("shut", 8..12, "omega").change("open", 0..1, "omega");
    world.repo.publish("change what cannot be seen");
    world.with_mode(&shut, 0o000, || {
        world.counted_cycles(3);
        let status = world.assert_latch("web", "OBSERVATION", &["observation"]);
        assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing: {:#}", status.at("/drift"));
        assert_eq!(status.at("/lastCycle/complete"), false);
        assert!(status.latch("OBSERVATION").is_some_and(|latch| latch.to_string().contains("shut")), "it is not named");
        world.assert_printed(&["OBSERVATION", "shut"]);
    });
    let changed = changes(&before, &world.tree("web"));
    assert!(changed.created.is_empty() && changed.deleted.is_empty(), "recreated or pruned: {changed:?}");
    assert_eq!(changed.updated, ["open/f000.conf"], "what can be read goes on, and nothing else");
}

#[test]
fn s04_three_complete_observations_clear_it_and_not_two() {
    let world = two_folders();
    let shut = world.root("web").join("shut");
    world.with_mode(&shut, 0o000, || world.counted_cycle());
    world.assert_latch("web", "OBSERVATION", &["observation"]);
    // Something to heal in the folder shows when writing begins again.
    world.remove_live("web", "shut/f007.conf");
    world.counted_cycle();
    world.assert_latch("web", "OBSERVATION", &["observation"]);
    // Wakes between counted cycles count for nothing.
    world.cycle();
    world.cycle();
    world.cycle();
    world.assert_latch("web", "OBSERVATION", &["observation"]);
    world.counted_cycle();
    world.assert_latch("web", "OBSERVATION", &["observation"]);
    assert!(!world.exists("web", "shut/f007.conf"), "written while OBSERVATION withheld it");
    world.counted_cycles(2);
    world.assert_no_latch("web", "OBSERVATION");
    world.counted_cycles(2);
    world.assert_converged("web");
}

#[test]
fn s04_a_folder_replaced_by_a_link_out_of_the_root_is_not_followed() {
    let world = World::new();
    world.repo.fill("open", 0..6).fill("shut", 6..12);
    world.baseline();
    let shut = world.root("web").join("shut");
    let aside = world.dir().join("elsewhere");
    fs::rename(&shut, &aside).expect("the folder is moved");
    std::os::unix::fs::symlink(&aside, &shut).expect("the link is made");
    fs::remove_file(aside.join("f006.conf")).expect("the file is removed");
    world.repo.change("shut", 6..9, "omega");
    world.repo.publish("change what is behind the link");
    world.counted_cycles(4);
    assert!(!aside.join("f006.conf").exists(), "written outside the root");
    let text = fs::read_to_string(aside.join("f007.conf")).expect("the file is readable");
    assert!(text.contains("alpha"), "written outside the root: {text}");
    world.assert_latch("web", "OBSERVATION", &["observation"]);
    world.assert_printed(&["shut"]);
}

#[test]
fn s04_a_root_that_is_gone_is_not_recreated() {
    let world = two_folders();
    let root = world.root("web");
    let aside = world.dir().join("aside");
    fs::rename(&root, &aside).expect("the root is moved");
    world.counted_cycles(3);
    assert!(!root.exists(), "the root was made anew");
    let status = world.assert_latch("web", "OBSERVATION", &["observation"]);
    assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing");
    assert_eq!((status.number("/inventory"), status.at("/lastCycle/complete")), (12, &serde_json::json!(false)));
    world.assert_printed(&[&root.to_string_lossy()]);
    fs::rename(&aside, &root).expect("the root is moved back");
    world.counted_cycles(4);
    world.assert_free("web");
    world.assert_converged("web");
}

#[test]
fn s04_a_root_that_became_a_file_is_left_alone() {
    let world = two_folders();
    let root = world.root("web");
    fs::rename(&root, world.dir().join("aside")).expect("the root is moved");
    fs::write(&root, "not a folder\n").expect("the file is written");
    world.counted_cycles(2);
    assert_eq!(fs::read_to_string(&root).expect("it is still a file"), "not a folder\n");
    let status = world.assert_latch("web", "OBSERVATION", &["observation"]);
    assert_eq!((status.number("/drift/missing"), status.number("/inventory")), (0, 12));
}

#[test]
fn s04_everything_missing_at_once_is_not_recreated() {
    // The directory answers, with its anchor and nothing else: DRIFT, since so much drift is somebody's doing.
    let world = World::new();
    world.repo.fill("", 0..4);
    world.baseline();
    for path in world.tree("web").keys() {
        world.remove_live("web", path);
    }
    world.counted_cycles(3);
    assert!(world.tree("web").is_empty(), "recreated: {:?}", world.tree("web").keys());
    let status = world.assert_latch("web", "DRIFT", &["drift_halt"]);
    assert_eq!(status.number("/drift/missing"), 4);
    assert!(!status.writes("healing"));
    assert_eq!(status.number("/inventory"), 4, "what is missing stays in the inventory");
}
