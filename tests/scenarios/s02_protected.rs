//! 2. One protected resource is removed among 500, with ten other changes.
//!
//! A deletion that takes a hundred dependants with it is in `k8s_guards`.

use crate::harness::{World, changes, name};

#[test]
fn s02_a_protected_resource_is_parked_and_the_rest_goes_on() {
    let world = World::new();
    world.repo.fill("", 0..499).write("sudoers", "root ALL=(ALL) ALL\n");
    world.baseline();
    let before = world.tree("web");

    world.repo.remove("sudoers").change("", 0..8, "omega").drop("", 8..9).write("new.conf", "fresh = yes\n");
    world.repo.publish("ten changes and a protected one");
    world.counted_cycles(4);

    let changed = changes(&before, &world.tree("web"));
    assert_eq!(
        (changed.updated.len(), &*changed.created, &*changed.deleted),
        (8, &["new.conf".to_owned()][..], &[name(8)][..])
    );
    assert!(world.exists("web", "sudoers"), "a protected file was deleted");
    let status = world.status("web");
    assert!(status.latch("PLAN").is_none(), "one protected operation must not hold the others: {:?}", status.latches());
    let parked = status.list("/parked");
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(parked[0]["resource"], "sudoers");
    assert_eq!(parked[0]["reason"], "protected");
    let digest = parked[0]["digest"].as_str().expect("what is parked has a digest").to_owned();
    assert!(digest.starts_with("sha256:"), "{digest}");
    world.assert_printed(&["sudoers", "protected", "holdfast approve"]);
    world.assert_prints("web", &status);
    world.assert_alerted("web", "failing", &["\"set\"", "sudoers", "protected", "\"count\":1"]);

    // Neither time nor a restart lets it go.
    world.counted_cycles(3);
    world.advance(24 * 60);
    world.counted_cycles(2);
    assert!(world.exists("web", "sudoers"));

    world.approve("web", &digest).ok();
    world.counted_cycles(2);
    assert!(!world.exists("web", "sudoers"), "the approval of a parked deletion has no effect");
    let gone = changes(&before, &world.tree("web")).deleted;
    assert_eq!(gone, [name(8), "sudoers".to_owned()], "the approval of one deletion let others go");
    world.assert_journal("web", &[&digest, "local:"]);
    world.assert_free("web");
    assert!(world.status("web").list("/parked").is_empty());
    world.assert_converged("web");
}

#[test]
fn s02_a_parked_deletion_may_be_approved_by_tag() {
    let world = World::new();
    world.repo.fill("", 0..20).write("ssh/sshd_config", "PermitRootLogin no\n").write("fstab", "none\n");
    world.baseline();
    let before = world.tree("web");
    world.repo.remove("ssh/sshd_config").remove("fstab");
    world.repo.publish("drop both");
    world.counted_cycles(2);
    let status = world.status("web");
    let parked = status.list("/parked");
    assert_eq!(parked.len(), 2, "{parked:?}");
    let digest = parked.iter().find(|one| one["resource"] == "fstab").expect("it is parked")["digest"].clone();
    world.repo.approve(digest.as_str().expect("it has a digest"), "bob");
    world.counted_cycles(2);
    assert!(!world.exists("web", "fstab"), "approved, and still there");
    assert!(world.exists("web", "ssh/sshd_config"), "the approval of one deletion let another go");
    assert_eq!(changes(&before, &world.tree("web")).deleted, ["fstab"]);
    world.assert_journal("web", &["bob@example.org"]);
}

#[test]
fn s02_emptying_or_replacing_a_protected_resource_is_a_deletion_of_it() {
    let world = World::new();
    world.repo.fill("", 0..20).write("passwd", "root:x:0:0\n").write("group", "root:x:0\n").write("shadow", "root:*\n");
    world.baseline();
    let before = world.tree("web");
    world.repo.write("passwd", "").remove("group").link("group", "f000.conf").write("shadow", "root:!\n");
    world.repo.publish("empty one, replace one, change one");
    world.counted_cycles(3);
    let changed = changes(&before, &world.tree("web"));
    assert_eq!(changed.updated, ["shadow"], "an update of a protected file is ordinary: {changed:?}");
    assert!(changed.created.is_empty() && changed.deleted.is_empty(), "{changed:?}");
    let parked = world.status("web").list("/parked").to_vec();
    let mut names: Vec<_> = parked.iter().map(|one| one["resource"].as_str().unwrap_or_default()).collect();
    names.sort_unstable();
    assert_eq!(names, ["group", "passwd"]);
    world.assert_prints("web", &world.status("web"));
}

#[test]
fn s02_the_configuration_adds_to_what_is_protected_and_may_drop_the_defaults() {
    let mut world = World::new();
    world.app("web").guard("protected: [ \"keep*\" ]").guard("protectedDefaults: false");
    world.repo.fill("", 0..20).write("keep.me", "keep = yes\n").write("fstab", "none\n");
    world.baseline();
    world.repo.remove("keep.me").remove("fstab");
    world.repo.publish("drop both");
    world.counted_cycles(3);
    assert!(world.exists("web", "keep.me"), "what the configuration protects was deleted");
    assert!(!world.exists("web", "fstab"), "the defaults were dropped, and still hold");
}

#[test]
fn s02_a_moved_file_is_no_deletion_of_data() {
    // Thirty moves would be thirty deletions of ninety; the same content under another path counts as an update.
    let world = World::new();
    world.repo.fill("old", 0..20).fill("", 20..100);
    world.baseline();
    world.repo.git(&["mv", "old", "new"]);
    world.repo.publish("rename a folder");
    world.counted_cycle();
    let status = world.status("web");
    let codes = status.latches().remove("PLAN").unwrap_or_default();
    assert!(!codes.contains("delete_halt"), "moves were counted as deletions: {codes:?}");
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn s02_what_becomes_protected_while_its_deletion_is_under_way_stays() {
    let mut world = World::new();
    world.repo.fill("", 0..100);
    world.baseline();
    let before = world.tree("web");
    world.repo.drop("", 0..10);
    world.repo.publish("drop ten");
    world.counted_cycle();
    let gone = changes(&before, &world.tree("web")).deleted;
    assert!(!gone.is_empty() && gone.len() < 10, "the rollout is not under way: {gone:?}");
    let kept = (0..10).map(name).find(|name| world.exists("web", name)).expect("one is still there");

    world.app("web").guard(&format!("protected: [{kept}]"));
    world.counted_cycles(12);
    assert!(world.exists("web", &kept), "a deletion that was under way passed over the protection");
    assert_eq!(changes(&before, &world.tree("web")).deleted.len(), 9);
    let status = world.status("web");
    assert_eq!((status.list("/parked")[0]["resource"].as_str(), status.latch("PLAN")), (Some(&*kept), None));
    world.assert_printed(&[&kept, "protected", "holdfast approve"]);
}
