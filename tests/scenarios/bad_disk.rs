//! Disks that are full or read-only, and commands that hang: told, held by the right latch, and nothing is lost.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{World, changes, content};

/// A file system that is mounted until dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts with these arguments, or says that this machine does not let it.
    fn new(at: &Path, arguments: &[&str]) -> Option<Self> {
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("skipped: this machine does not let a test mount: {other:?}");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Fills a file system but for so many bytes; the file that does it is nobody's.
fn fill(at: &Path, but: u64) -> PathBuf {
    let ballast = at.join("ballast");
    let mut file = fs::File::create(&ballast).expect("the ballast is made");
    while file.write_all(&[0; 4096]).is_ok() {}
    let size = file.metadata().expect("the ballast has a size").len();
    file.set_len(size.saturating_sub(but)).expect("the ballast is cut");
    ballast
}

/// Asserts that this is told, by a latch or as what does not converge.
#[track_caller]
fn assert_told(world: &World, why: &str) {
    let said = world.everything_said("web").to_lowercase();
    assert!(said.contains(why), "{why:?} is not told:\n{said}");
    let status = world.status("web");
    assert!(!status.list("/failing").is_empty() || !status.latches().is_empty(), "not told: {:#}", status.0);
}

#[test]
fn a_root_whose_disk_is_full_keeps_every_file_and_says_so() {
    let world = World::new();
    let root = world.root("web");
    let Some(_mount) = Mount::new(&root, &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]) else { return };
    world.repo.fill("", 0..12);
    world.baseline();
    let ballast = fill(&root, 64 * 1024);
    world.repo.write(&crate::harness::name(0), &"0123456789abcdef".repeat(1 << 14)).change("", 1..2, "omega");
    world.repo.publish("one that does not fit, and one that does");
    world.counted_cycles(4);
    assert_eq!(world.live("web", "f000.conf"), content(0, "alpha"), "an old file was lost to a full disk");
    assert_told(&world, "no space is left");
    let left: Vec<_> = world.tree("web").into_keys().filter(|path| path.starts_with(".holdfast-")).collect();
    assert!(left.is_empty(), "left behind on a full disk: {left:?}");
    fs::remove_file(ballast).expect("the ballast is removed");
    world.advance(31);
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn a_root_without_a_byte_left_is_not_even_claimed() {
    let world = World::new();
    let root = world.root("web");
    let Some(_mount) = Mount::new(&root, &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]) else { return };
    world.repo.fill("", 0..12);
    world.baseline();
    let ballast = fill(&root, 0);
    world.repo.change("", 0..3, "omega");
    world.repo.publish("three changes");
    let before = world.tree("web");
    world.counted_cycles(4);
    assert_eq!(changes(&before, &world.tree("web")).total(), 0);
    fs::remove_file(ballast).expect("the ballast is removed");
    world.advance(31);
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn a_full_state_directory_writes_nothing_to_the_target() {
    let world = World::new();
    let state = world.dir().join("state");
    fs::create_dir(&state).expect("the state directory is made");
    let Some(_mount) = Mount::new(&state, &["-t", "tmpfs", "-o", "size=8m", "tmpfs"]) else { return };
    world.repo.fill("", 0..12);
    world.baseline();
    let ballast = fill(&state, 0);
    world.remove_live("web", "f003.conf");
    world.repo.change("", 0..3, "omega");
    world.repo.publish("three changes");
    let before = world.tree("web");
    let ran = world.counted_cycle();
    let changed = changes(&before, &world.tree("web"));
    assert_eq!(changed.total(), 0, "written without a reservation: {changed:?}");
    let said = (ran.stdout + &ran.stderr).to_lowercase();
    assert!(ran.code != Some(0) && said.contains("ledger") && said.contains("full"), "{said}");
    fs::remove_file(ballast).expect("the ballast is removed");
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn a_pack_that_does_not_fit_beside_the_ledger_is_told_and_healing_goes_on() {
    let world = World::new();
    let state = world.dir().join("state");
    fs::create_dir(&state).expect("the state directory is made");
    let Some(_mount) = Mount::new(&state, &["-t", "tmpfs", "-o", "size=16m", "tmpfs"]) else { return };
    world.repo.fill("", 0..12);
    let accepted = world.baseline();
    // What nothing makes smaller.
    let mut random = fs::File::open("/dev/urandom").expect("it opens").take(32 << 20);
    let mut large = fs::File::create(world.repo.work.join("large.bin")).expect("the file is made");
    std::io::copy(&mut random, &mut large).expect("the file is written");
    world.repo.change("", 0..2, "omega");
    world.repo.publish("a disk image");
    world.remove_live("web", "f005.conf");
    let before = world.tree("web");
    world.counted_cycles(2);
    let status = world.assert_latch("web", "RENDER", &["fetch"]);
    let message = status.reason("RENDER", "fetch")["message"].as_str().unwrap_or_default().to_lowercase();
    assert!(message.contains("no space left"), "{message}");
    assert_eq!(status.converged(), Some(&*accepted));
    assert_eq!(changes(&before, &world.tree("web")).created, ["f005.conf"], "healing stopped");
    assert_eq!(changes(&before, &world.tree("web")).total(), 1);
    // What came of it was thrown away again: the next that fits is fetched.
    world.converge_without(&accepted);
    world.assert_free("web");
}

#[test]
fn a_root_that_was_remounted_read_only_is_told_and_detection_goes_on() {
    let world = World::new();
    let root = world.root("web");
    let Some(_mount) = Mount::new(&root, &["-t", "tmpfs", "-o", "size=2m", "tmpfs"]) else { return };
    world.repo.fill("", 0..12);
    world.baseline();
    world.edit_live("web", "f005.conf", "by hand\n");
    world.repo.change("", 0..3, "omega");
    world.repo.publish("three changes");
    let remount = |how: &str| {
        let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&root).status();
        assert!(done.expect("mount runs").success());
    };
    remount("ro");
    let before = world.tree("web");
    world.counted_cycles(4);
    assert_eq!(changes(&before, &world.tree("web")).total(), 0);
    assert_eq!(world.status("web").number("/drift/changed"), 1, "drift is no longer seen");
    assert_told(&world, "read-only");
    remount("rw");
    world.advance(31);
    world.converge("web");
}

/// Lets a batch's command hang as soon as a file says so.
fn hanging(which: &str) -> World {
    let mut world = World::new();
    let hangs = world.script("hangs.sh", "test ! -e \"$dir/hang\" || sleep 600");
    let quick = world.script("quick.sh", "true");
    let (run, check) = if which == "run" { (&hangs, &quick) } else { (&quick, &hangs) };
    let reload = format!("reload: [ {{ match: \"*\", run: {run}, check: {check}, timeout: 3s }} ]");
    world.app("web").directory(&reload);
    world.repo.fill("", 0..40);
    world.baseline();
    world
}

#[track_caller]
fn assert_a_hanging_command_stops_the_rollout(which: &str) {
    let world = hanging(which);
    let before = world.tree("web");
    fs::write(world.dir().join("hang"), "").expect("it hangs from now on");
    world.repo.change("", 0..8, "omega");
    world.repo.publish("eight changes");
    world.counted_cycle();
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 1, "it went on past the first batch");
    let status = world.assert_latch("web", "HEALTH", &["health"]);
    let latch = status.latch("HEALTH").expect("it was just asserted").to_string();
    assert!(latch.contains("was killed after 3s"), "the time-out is not told: {latch}");
    assert!(!status.writes("promotion") && status.writes("healing"));
    fs::remove_file(world.dir().join("hang")).expect("it hangs no more");
    world.repo.change("", 0..1, "delta");
    world.repo.publish("another tip");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn a_reload_that_hangs_is_killed_and_stops_the_rollout() {
    assert_a_hanging_command_stops_the_rollout("run");
}

#[test]
fn a_check_that_hangs_is_killed_and_stops_the_rollout() {
    assert_a_hanging_command_stops_the_rollout("check");
}
