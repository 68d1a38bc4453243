//! 14. The ledger is restored, lost or doubled; the root is unmounted; the clock goes back.

use std::fs;

use crate::harness::{HOUR, World, content, copy};

/// Makes a world at its baseline.
fn world() -> World {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world
}

/// Asserts STATE: neither healed nor promoted, while drift and plan are still told.
#[track_caller]
fn assert_state(world: &World) {
    world.remove_live("web", "f003.conf");
    world.repo.change("", 5..6, "delta");
    world.repo.publish("something to promote");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "STATE", &["anchor"]);
    assert!(!status.writes("promotion") && !status.writes("healing"));
    world.assert_printed(&["STATE", "reanchor"]);
}

/// Lets an operator vouch for the target again, and asserts that it observes first and converges then.
#[track_caller]
fn assert_reanchors(world: &World) {
    let head = world.repo.head();
    let before = world.tree("web");
    world.holdfast(&["reanchor", "web", &head, "--reason", "looked at it"]).ok();
    world.cycle();
    world.assert_no_latch("web", "STATE");
    world.assert_unchanged("web", &before);
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn s14_a_ledger_restored_from_a_backup_is_not_trusted() {
    let world = world();
    let state = world.dir().join("state");
    let backup = world.dir().join("backup");
    copy(&state, &backup);
    world.repo.change("", 0..3, "omega");
    world.repo.publish("a later state");
    world.converge("web");
    fs::remove_dir_all(&state).expect("the state is removed");
    copy(&backup, &state);
    assert_state(&world);
    // Nothing that the older ledger remembers was revived.
    assert_eq!(world.live("web", "f000.conf"), content(0, "omega"));
    assert_reanchors(&world);
}

#[test]
fn s14_a_lost_ledger_is_not_a_first_use() {
    let world = world();
    fs::remove_dir_all(world.dir().join("state")).expect("the state is removed");
    assert_state(&world);
    assert_reanchors(&world);
}

#[test]
fn s14_a_damaged_ledger_is_told_and_kept() {
    let world = world();
    let state = world.dir().join("state");
    let mut damaged = Vec::new();
    for entry in fs::read_dir(&state).expect("the state is readable").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let bytes = fs::read(entry.path()).expect("the file is readable");
            if bytes.starts_with(b"SQLite format 3") {
                fs::write(entry.path(), b"this is no ledger any more".repeat(64)).expect("the file is written");
                damaged.push(entry.path());
            } else if !bytes.is_empty() {
                fs::remove_file(entry.path()).expect("the file is removed");
            }
        }
    }
    assert!(!damaged.is_empty(), "no ledger in {}", state.display());
    world.remove_live("web", "f003.conf");
    let before = world.tree("web");
    let ran = world.counted_cycle();
    world.assert_unchanged("web", &before);
    let status = world.holdfast(&["status"]);
    let said = ran.stderr + &ran.stdout + &status.stdout + &status.stderr;
    assert!(said.contains("STATE") || said.contains("ledger"), "the damage is not told:\n{said}");
    world.assert_latch("web", "STATE", &["ledger"]);
    // The evidence is still somewhere.
    let kept =
        walk(&state).iter().any(|file| fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"this is no ledger")));
    assert!(kept, "a refused ledger was thrown away");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(walk(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn s14_a_second_controller_on_the_same_target_writes_nothing() {
    let mut world = world();
    let first = world.config.state.clone();
    world.config.state = world.dir().join("another-state");
    assert_state(&world);
    // The first goes on as if nothing had been. What the other one told is no news of it.
    world.config.state = first;
    world.receiver.forget();
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s14_a_second_application_on_the_same_root_writes_nothing() {
    let mut world = world();
    let root = world.root("web");
    world.add_app("other").path("other");
    world.app("other").root = root.clone();
    world.repo.fill("other", 30..33);
    world.app("web").guard("growthHalt: disabled");
    world.repo.publish("another application");
    let before = crate::harness::tree::read(&root);
    // Refused as a whole, naming both.
    world.counted_cycle().exits(65).says(&["web", "other", &root.to_string_lossy()]);
    assert_eq!(crate::harness::tree::read(&root), before, "two applications wrote to one directory");
}

#[test]
fn s14_an_unmounted_root_is_not_filled() {
    let world = world();
    let root = world.root("web");
    let aside = world.dir().join("aside");
    fs::rename(&root, &aside).expect("the root is moved");
    fs::create_dir(&root).expect("an empty mount point is left");
    world.repo.change("", 5..6, "omega");
    world.repo.publish("something to promote");
    world.counted_cycles(3);
    assert_eq!(fs::read_dir(&root).expect("the root is readable").count(), 0, "something was written to it");
    let status = world.assert_latch("web", "STATE", &["anchor"]);
    assert!(!status.writes("healing"));
    world.assert_printed(&["STATE"]);

    // Mounted again, and vouched for.
    fs::remove_dir(&root).expect("the mount point is empty");
    fs::rename(&aside, &root).expect("the root is moved back");
    world.counted_cycle();
    if world.status("web").latch("STATE").is_some() {
        world.holdfast(&["reanchor", "web", &world.repo.head(), "--reason", "mounted again"]).ok();
    }
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn s14_an_anchor_that_is_no_anchor_is_not_overwritten() {
    let world = world();
    let anchor = world.root("web").join(".holdfast");
    assert!(anchor.exists(), "the target has no anchor");
    fs::write(&anchor, "not an anchor\n").expect("the anchor is damaged");
    assert_state(&world);
    assert_eq!(fs::read_to_string(&anchor).expect("it is readable"), "not an anchor\n");
}

#[test]
fn s14_a_wall_clock_behind_the_ledger_s_is_not_trusted() {
    let world = world();
    world.clock.jump(-6 * HOUR);
    world.remove_live("web", "f003.conf");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "STATE", &["clock"]);
    world.assert_printed(&["clock"]);
    world.clock.jump(6 * HOUR);
    world.holdfast(&["reanchor", "web", &world.repo.head(), "--reason", "the clock is right again"]).ok();
    world.converge("web");
}

#[test]
fn s14_another_target_is_not_the_old_one() {
    let mut world = world();
    let root = world.dir().join("roots/other-place");
    fs::create_dir(&root).expect("the root is made");
    world.app("web").root = root.clone();
    world.counted_cycles(3);
    assert_eq!(fs::read_dir(&root).expect("the root is readable").count(), 0, "an edited target was written to");
    world.assert_latch("web", "STATE", &["configuration"]);
}

#[test]
fn s14_a_plan_may_not_write_holdfast_s_own_files() {
    let world = world();
    let anchor = fs::read(world.root("web").join(".holdfast")).expect("the target has an anchor");
    world.repo.write(".holdfast", "mine now\n");
    world.repo.publish("take over the anchor");
    world.counted_cycles(2);
    let now = fs::read(world.root("web").join(".holdfast")).expect("the anchor is there");
    assert_eq!(now, anchor, "the anchor was overwritten by a commit");
    let status = world.assert_latch("web", "RENDER", &["render"]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    world.assert_printed(&[".holdfast"]);
}
