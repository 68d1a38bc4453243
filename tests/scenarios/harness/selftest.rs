//! The fixtures are what they claim to be: a scenario that passes because its fixture is broken shows nothing.

use super::{Entry, World, changes, keys};

/// Asks git itself for its verdict on HEAD: `G`, `B`, `U`, `N`, …
fn verdict(world: &World) -> String {
    let signers = format!("gpg.ssh.allowedSignersFile={}", world.dir().join("allowed_signers").display());
    world.repo.git(&["-c", &signers, "log", "-1", "--format=%G?"])
}

#[test]
fn commits_are_signed_as_they_say() {
    let world = World::new();
    world.repo.fill("", 0..2);
    world.repo.commit("signed").by("alice");
    assert_eq!(verdict(&world), "G");
    world.repo.commit("unsigned").unsigned_by("alice");
    assert_eq!(verdict(&world), "N");
    world.repo.commit("unknown").by("mallory");
    assert_eq!(verdict(&world), "U");
    // git judges an expired key by the commit's own date, which is what a back-dated commit exploits.
    world.repo.commit("from long ago").dated(1_685_577_600).by("erin");
    assert_eq!(verdict(&world), "G");
    world.repo.commit("today").by("erin");
    assert_eq!(verdict(&world), "U");
    world.repo.commit("good").by("bob");
    world.repo.damage_signature();
    assert_eq!(verdict(&world), "B");
    world.repo.commit("in another's name").by_with_key_of("alice", "dave");
    assert_eq!(verdict(&world), "G");
    let (fingerprint, certificate) = world.repo.openpgp_key("grace");
    assert!(certificate.contains("BEGIN PGP PUBLIC KEY BLOCK"));
    world.repo.commit("openpgp").by_openpgp("grace", &fingerprint);
    assert_eq!(verdict(&world), "G");
}

#[test]
fn histories_have_the_shape_they_say() {
    let world = World::new();
    world.repo.fill("", 0..2);
    world.repo.commit("one").by("alice");
    world.repo.change("", 0..1, "omega");
    let main = world.repo.commit("two").by("alice");
    world.repo.push();
    let merge = world.repo.foxtrot("alice");
    // A fast-forward for git, and yet the old tip is no longer on the first-parent chain.
    world.repo.push();
    assert_eq!(world.repo.git(&["rev-parse", &format!("{merge}^2")]), main);
    assert!(!world.repo.git(&["rev-list", "--first-parent", "HEAD"]).contains(&main));
    world.repo.approve(&format!("sha256:{}", "ab".repeat(32)), "bob");
    let tag = world.repo.git(&["cat-file", "tag", &format!("holdfast-approve/{}", "ab".repeat(32))]);
    assert!(tag.contains("SSH SIGNATURE") && tag.contains(&keys::address("bob")), "{tag}");
}

#[test]
fn trees_differ_by_content_kind_and_mode() {
    let world = World::new();
    world.repo.fill("", 0..3).link("link", "f000.conf").write("FREEZE", "").write("run.sh", "#!/bin/sh\n");
    world.repo.executable("run.sh", true);
    world.repo.publish("baseline");
    world.preplace("web");
    let changed = changes(&world.tree("web"), &world.wanted("web"));
    assert_eq!(changed.created, ["f000.conf"], "all but the first are in place: {changed:?}");
    assert_eq!(changed.total(), 1);
    assert_eq!(world.wanted("web")["link"], Entry::Link(b"f000.conf".to_vec()));
    let before = world.tree("web");
    world.edit_live("web", "f001.conf", "another\n");
    world.remove_live("web", "f002.conf");
    std::fs::write(world.root("web").join(".holdfast"), "not ours to compare").expect("the file is written");
    let changed = changes(&before, &world.tree("web"));
    assert_eq!((changed.updated, changed.deleted), (vec!["f001.conf".into()], vec!["f002.conf".into()]));
}

#[test]
fn worlds_are_saved_and_restored() {
    let world = World::new();
    world.edit_live("web", "a.conf", "before\n");
    let saved = world.save();
    let (before, now) = (world.tree("web"), world.clock.now());
    world.edit_live("web", "a.conf", "after\n");
    world.edit_live("web", "b.conf", "new\n");
    world.advance(60);
    assert!(world.clock.now() >= now + 3600);
    std::fs::create_dir(world.dir().join("state")).expect("the state is made");
    world.restore(&saved);
    assert_eq!(world.tree("web"), before);
    assert!(world.clock.now() < now + 3600);
    assert!(!world.dir().join("state").exists(), "what was not there when saving is there after restoring");
}

#[test]
fn scripts_count_and_step_the_clock() {
    let world = World::new();
    let run = world.script("hook.sh", "if [ $call = 2 ]; then advance 11; fi");
    assert!(run.contains("hook.sh"));
    let now = world.clock.now();
    for _ in 0..3 {
        let ran = std::process::Command::new("sh").arg(world.dir().join("hook.sh")).env_clear().status();
        assert!(ran.expect("sh runs").success());
    }
    assert_eq!(world.calls("hook.sh"), 3);
    assert!((11..60).contains(&(world.clock.now() - now)));
}

#[test]
fn without_privilege_permissions_are_refused() {
    let mut world = World::new();
    world.without_privilege();
    let root = world.root("web");
    let command = world.command(&[]);
    // The same wrapper, around something that shows it.
    let mut list = if command.get_program() == "setpriv" {
        let mut list = std::process::Command::new("setpriv");
        list.args(command.get_args().take(1)).arg("ls");
        list
    } else {
        std::process::Command::new("ls")
    };
    world.with_mode(&root, 0o000, || assert!(!list.arg(&root).output().expect("ls runs").status.success()));
}
