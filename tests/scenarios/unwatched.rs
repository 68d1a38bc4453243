//! A machine on which nothing can be watched any more: drift is found by the interval, and people are told what to raise.

use crate::harness::World;

#[track_caller]
fn assert_polls(limit: &'static str, sysctl: &str) {
    let mut world = World::new();
    if !world.without_inotify(limit) {
        return;
    }
    world.app("web").interval("1s");
    world.repo.fill("", 0..12);
    world.baseline();
    let before = world.tree("web");
    let mut controller = world.controller();
    let told = |text: &str| text.contains("not watched") && text.contains(sysctl) && text.contains("interval");
    let status = controller.until_status("`status` says so", "web", |status| !status.at("/unwatched").is_null());
    assert!(status.text("/unwatched").contains(sysctl), "what is to be raised? {:#}", status.0);
    let root = world.root("web").to_string_lossy().into_owned();
    let log = controller.log();
    assert!(log.lines().any(|line| told(line) && line.contains(&root)), "the log does not say it:\n{log}");
    // It withholds nothing, and is no failure.
    assert!(status.latches().is_empty() && status.list("/failing").is_empty(), "{:#}", status.0);
    assert!(status.writes("promotion") && status.writes("healing"));
    assert!(told(&world.status_text()), "{}", world.status_text());
    world.edit_live("web", "f005.conf", "by hand\n");
    controller.until_status("the edit is found", "web", |status| status.number("/drift/changed") == 1);
    world.remove_live("web", "f007.conf");
    controller.until("what is missing is put back", || world.exists("web", "f007.conf").then_some(()));
    assert_eq!(world.live("web", "f005.conf"), "by hand\n", "an edit of a moment ago was reverted");
    world.advance(31);
    controller.until("the edit is reverted after its grace", || (world.tree("web") == before).then_some(()));
    world.repo.change("", 0..1, "omega");
    let tip = world.repo.publish("a commit that nobody announces");
    controller.until_status("the commit is found", "web", |status| status.converged() == Some(&tip));
    assert!(!controller.log().contains("watched again"), "{}", controller.log());
    assert!(controller.stop().success());
    world.assert_converged("web");
}

#[test]
fn without_a_watch_left_the_interval_finds_drift_and_status_says_what_to_raise() {
    assert_polls("watches", "fs.inotify.max_user_watches");
}

#[test]
fn without_an_inotify_instance_left_the_interval_finds_drift_and_status_says_what_to_raise() {
    assert_polls("instances", "fs.inotify.max_user_instances");
}
