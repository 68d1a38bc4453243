//! Waking.

use crate::targets::WatchState;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::*;

/// Longer than any wake takes; only a failure waits for it.
const LONG: Duration = Duration::from_secs(30);

fn watched(fixture: &Fixture) -> (Watch, Receiver<()>) {
    let (wake, woken) = channel();
    let watch = watch(&fixture.root, Duration::from_millis(1), move || {
        let _ = wake.send(());
    });
    assert_eq!(watch.state(), WatchState::Watching);
    (watch, woken)
}

#[test]
fn a_change_anywhere_below_wakes() {
    let fixture = Fixture::new();
    fixture.put("d/e/f", "one");
    let (_watch, woken) = watched(&fixture);
    fixture.put("d/e/f", "two");
    woken.recv_timeout(LONG).unwrap();
    fixture.put("new/dir/file", "one");
    woken.recv_timeout(LONG).unwrap();
    fs::remove_file(fixture.root.join("d/e/f")).unwrap();
    woken.recv_timeout(LONG).unwrap();
}

#[test]
fn a_removed_root_wakes_and_is_lost() {
    let fixture = Fixture::new();
    let (watch, woken) = watched(&fixture);
    fs::remove_dir(&fixture.root).unwrap();
    while watch.state() != WatchState::Lost {
        woken.recv_timeout(LONG).unwrap();
    }
}

#[test]
fn a_root_that_cannot_be_watched_says_so() {
    let fixture = Fixture::new();
    let watch = watch(&fixture.root.join("none"), Duration::ZERO, || {});
    assert!(matches!(watch.state(), WatchState::Polling(_)));
}

#[test]
fn a_dropped_watch_lets_go_of_what_it_wakes() {
    let fixture = Fixture::new();
    let (watch, woken) = watched(&fixture);
    drop(watch);
    // The callback's sender is dropped with the thread that called it.
    while woken.recv_timeout(LONG).is_ok() {}
    assert_eq!(woken.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
}

/// The child: its machine has no watch left.
#[test]
#[ignore = "is started by the next test"]
fn without_watches() {
    let fixture = Fixture::new();
    let watch = watch(&fixture.root, Duration::ZERO, || {});
    match watch.state() {
        WatchState::Polling(why) => assert!(why.contains("max_user_watches"), "{why}"),
        other => panic!("{other:?}"),
    }
    // All else works as ever.
    let id = Id::new("a");
    let observed = fixture.directory().observe(&[Expect::new(&id)], &mut StatCache::new(), Timestamp::now());
    assert_eq!(observed.failure, None);
}

#[test]
fn a_machine_without_watches_left_polls_and_says_so() {
    let script = "echo 0 > /proc/sys/user/max_inotify_watches || exit 99; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("unshare")
        .args(["-Ur", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "targets::directory::tests::watch::without_watches", "--test-threads=1"])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child was not run");
        }
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("running 1 test") => {
            panic!("{}", String::from_utf8_lossy(&output.stdout));
        }
        other => eprintln!("skipped: this machine lets nobody make a user namespace: {other:?}"),
    }
}
