//! Input that is wrong, odd or hostile: refused with what, where, why and what next, and nothing is lost.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use crate::harness::{Entry, World, changes, content, keys};

/// Makes a world at its baseline.
fn world() -> World {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world
}

#[test]
fn all_errors_of_a_configuration_are_told_at_once_with_file_line_and_field() {
    let mut world = World::new();
    let text = format!(
        "apiVersion: holdfast.dev/v1alpha1
kind: Application
metadata: {{ name: web }}
spec:
  mode: converg
  interval: 0s
  source:
    url: {url:?}
    brnach: main
  trust:
    ssh: {{ allowedSigners: {signers:?} }}
  target:
    directory: {{ root: {root:?} }}
  guards:
    deleteHalt: -1
    backoff: {{ initial: 0s }}
    window: {{ deletes: {{ 0h: 1 }} }}
",
        url = world.repo.origin,
        signers = world.dir().join("allowed_signers"),
        root = world.root("web"),
    );
    world.raw_config(&text);
    let ran = world.holdfast(&["status"]).exits(65);
    let said = ran.stdout + &ran.stderr;
    for part in ["holdfast.yaml", "mode", "converg", "interval", "brnach", "deleteHalt", "initial", "0h"] {
        assert!(said.contains(part), "{part:?} is not told:\n{said}");
    }
    for line in ["5", "6", "9", "15"] {
        let told =
            said.lines().any(|text| text.contains(&format!(":{line}")) || text.contains(&format!("line {line}")));
        assert!(told, "line {line} is not told:\n{said}");
    }
}

#[test]
fn two_applications_of_one_name_are_refused() {
    let mut world = World::new();
    let twin = world.config.apps[0].clone();
    world.config.apps.push(twin);
    world.repo.publish("baseline");
    world.holdfast(&["run", "--once"]).exits(65).says(&["web"]);
}

#[test]
fn a_configuration_that_breaks_keeps_the_target_as_it_is() {
    let mut world = world();
    let before = world.tree("web");
    world.raw_config("apiVersion: holdfast.dev/v1alpha1\nkind: Applicatoin\n");
    world.holdfast(&["run", "--once"]).exits(65).says(&["Applicatoin"]);
    world.assert_unchanged_by_hand(&before);
}

impl World {
    /// As `assert_unchanged`, where the configuration is too broken to ask the controller.
    #[track_caller]
    fn assert_unchanged_by_hand(&self, before: &crate::harness::Tree) {
        let changed = changes(before, &crate::harness::tree::read(&self.dir().join("roots/web")));
        assert_eq!(changed.total(), 0, "{changed:?}");
    }
}

#[test]
fn a_secret_in_the_configuration_s_files_is_never_printed() {
    let mut world = world();
    let secret = "hunter2-hunter2-hunter2";
    fs::write(world.dir().join("token"), secret).expect("the token is written");
    world.config.controller.push(format!("api: {{ tokenFile: {:?} }}", world.dir().join("token")));
    world.config.controller.push("listen: 127.0.0.1:0".to_owned());
    let credentials = format!("credentials: {{ tokenFile: {:?} }}", world.dir().join("token"));
    world.app("web").source.push(credentials);
    let said: String = [&["status"][..], &["doctor"], &["run", "--once"], &["plan"]]
        .iter()
        .map(|command| world.holdfast(command))
        .map(|ran| ran.stdout + &ran.stderr)
        .collect();
    assert!(!said.contains(secret), "a secret was printed:\n{said}");
}

#[test]
fn a_bad_line_of_the_signers_is_named_and_trusts_nobody() {
    let world = world();
    let file = world.dir().join("allowed_signers");
    let lines = format!("{}alice@example.org ssh-ed25519 not-base64!\n", keys::allowed_signers());
    let number = lines.lines().count();
    fs::write(&file, &lines).expect("the signers are written");
    world.repo.change("", 0..1, "omega");
    world.repo.publish("an ordinary change");
    let before = world.tree("web");
    let ran = world.counted_cycle();
    world.assert_unchanged_by_hand(&before);
    let doctor = world.holdfast(&["doctor"]).refused();
    let said = [ran.stdout, ran.stderr, doctor.stdout, doctor.stderr].concat();
    assert!(said.contains("allowed_signers") && said.contains(&number.to_string()), "the line is not named:\n{said}");
    // Mended, it goes on.
    fs::write(&file, keys::allowed_signers()).expect("the signers are written");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn a_certificate_authority_among_the_signers_is_refused_clearly() {
    let world = world();
    let line = format!("*@example.org cert-authority {}\n", keys::public("mallory"));
    fs::write(world.dir().join("allowed_signers"), keys::allowed_signers() + &line).expect("the signers are written");
    world.holdfast(&["doctor"]).refused().says(&["cert-authority"]);
}

#[test]
fn names_of_any_bytes_are_resources_like_any_other() {
    let world = World::new();
    let names: [&[u8]; 7] =
        [b"a space", b"new\nline", b"back\\slash", b"\xff\xfe", "\u{fc}mlaut".as_bytes(), b"-rf", b"quote\"'$(x)"];
    for name in names {
        fs::write(world.repo.work.join(OsStr::from_bytes(name)), name).expect("the file is written");
    }
    world.repo.publish("odd names");
    world.counted_cycle();
    world.converge("web");
    assert_eq!(world.tree("web").len(), names.len());
    for name in names {
        let live = fs::read(world.root("web").join(OsStr::from_bytes(name))).expect("the file is there");
        assert_eq!(live, name);
    }
    fs::write(world.repo.work.join(OsStr::from_bytes(b"\xff\xfe")), "changed").expect("the file is written");
    fs::remove_file(world.repo.work.join(OsStr::from_bytes(b"new\nline"))).expect("the file is removed");
    world.repo.publish("change them");
    let text = world.holdfast(&["plan", "web"]).ok().stdout;
    assert!(!text.contains("new\nline"), "a name breaks a line:\n{text}");
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn a_subject_with_control_characters_does_not_reach_the_terminal() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.drop("", 0..20);
    world.repo.publish("innocent\u{1b}[2Jtext \u{7}bell");
    world.counted_cycle();
    let text = world.status_text();
    assert!(!text.contains('\u{7}') && !text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("innocent"));
}

#[test]
fn links_are_resources_and_never_followed() {
    let world = World::new();
    let outside = world.dir().join("outside");
    fs::create_dir(&outside).expect("the folder is made");
    fs::write(outside.join("victim"), "untouched\n").expect("the file is written");
    world.repo.fill("", 0..4).link("absolute", &outside.join("victim").to_string_lossy());
    world
        .repo
        .link("upwards", "../../../outside")
        .link("loop", "loop")
        .link("dangling", "nowhere")
        .link("inside", "f000.conf");
    world.repo.publish("links");
    world.counted_cycle();
    world.converge("web");
    assert_eq!(world.tree("web")["loop"], Entry::Link(b"loop".to_vec()));

    // A link becomes a file: the link is replaced, not what it points at.
    world.repo.remove("absolute").write("absolute", "now a file\n");
    world.repo.remove("upwards").write("upwards/victim", "overwritten\n");
    world.repo.publish("files");
    world.counted_cycles(4);
    assert_eq!(fs::read_to_string(outside.join("victim")).expect("it is there"), "untouched\n");
    world.assert_converged("web");
}

#[test]
fn a_farm_of_links_in_the_target_leads_nowhere() {
    let world = World::new();
    world.repo.fill("a/b/c", 0..4).fill("", 4..12);
    world.baseline();
    let outside = world.dir().join("outside");
    fs::create_dir_all(outside.join("c")).expect("the folder is made");
    // Somebody swaps an inner folder for a link to a folder that looks the same.
    let inner = world.root("web").join("a/b");
    fs::rename(&inner, world.dir().join("moved")).expect("the folder is moved");
    symlink(&outside, &inner).expect("the link is made");
    world.repo.change("a/b/c", 0..2, "omega");
    world.repo.publish("change what is behind the link");
    world.counted_cycles(4);
    assert_eq!(fs::read_dir(outside.join("c")).expect("it is there").count(), 0, "written outside the root");
    assert!(outside.join("c").is_dir() && inner.is_symlink(), "somebody else's folder was taken away");
}

#[test]
fn a_folder_or_pipe_where_a_file_should_be_is_told_and_kept() {
    let world = world();
    world.remove_live("web", "f003.conf");
    world.remove_live("web", "f004.conf");
    fs::create_dir(world.root("web").join("f003.conf")).expect("the folder is made");
    fs::write(world.root("web").join("f003.conf/precious"), "somebody's\n").expect("the file is written");
    let made =
        std::process::Command::new("mkfifo").arg(world.root("web").join("f004.conf")).status().expect("mkfifo runs");
    assert!(made.success());
    world.repo.change("", 0..1, "omega");
    world.repo.publish("an ordinary change");
    world.counted_cycles(4);
    assert_eq!(world.live("web", "f003.conf/precious"), "somebody's\n", "a folder was emptied to make room for a file");
    let said = world.everything_said("web") + &world.holdfast(&["drift", "web"]).ok().stdout;
    assert!(said.contains("f003.conf"), "{said}");
}

#[test]
fn a_root_that_cannot_be_written_loses_nothing_and_says_why() {
    let mut world = World::new();
    world.without_privilege();
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.change("", 0..3, "omega");
    world.repo.publish("three changes");
    let before = world.tree("web");
    let root = world.root("web");
    world.with_mode(&root, 0o555, || {
        world.counted_cycles(4);
        world.assert_unchanged("web", &before);
        let said = world.everything_said("web").to_lowercase();
        assert!(said.contains("permission denied"), "why is not told:\n{said}");
        let status = world.status("web");
        assert!(!status.list("/failing").is_empty() || !status.latches().is_empty(), "not told: {:#}", status.0);
    });
    // Back-off may make it wait for a while.
    world.advance(31);
    world.converge("web");
}

#[test]
fn a_hook_that_fails_or_hangs_is_told() {
    let mut world = World::new();
    world.on_batch("web", "echo 'no such unit' >&2; exit 3");
    world.repo.fill("", 0..12);
    world.repo.publish("baseline");
    world.preplace("web");
    world.counted_cycles(4);
    assert!(world.calls("hook.sh") > 0);
    let said = world.everything_said("web");
    assert!(said.contains("no such unit") || said.contains("hook.sh"), "the failing command is not told:\n{said}");
}

#[test]
fn large_and_deep_trees_are_no_trouble() {
    let world = World::new();
    let deep = (0..40).map(|level| format!("level{level}")).collect::<Vec<_>>().join("/");
    world.repo.write(&format!("{deep}/leaf.conf"), "deep = yes\n");
    world.repo.write("large.bin", &"0123456789abcdef".repeat(1 << 16));
    world.repo.fill("", 0..4);
    world.repo.publish("large and deep");
    world.counted_cycle();
    world.converge("web");
    world.repo.remove("level0");
    world.repo.publish("prune it");
    world.converge("web");
    world.assert_converged("web");
}

#[test]
fn files_and_folders_may_change_places() {
    let world = World::new();
    world.repo.fill("", 0..20).write("thing", "a file\n").write("other/leaf", "a folder\n");
    world.baseline();
    world.repo.remove("thing").write("thing/leaf", "now a folder\n");
    world.repo.remove("other").write("other", "now a file\n");
    world.repo.publish("change places");
    world.counted_cycles(4);
    world.assert_converged("web");
}

#[test]
fn only_executable_bits_and_contents_are_the_desired_state() {
    let world = World::new();
    world.repo.fill("", 0..12).write("run.sh", "#!/bin/sh\n");
    world.repo.executable("run.sh", true);
    world.baseline();
    world.repo.executable("run.sh", false).executable("f000.conf", true);
    world.repo.publish("swap the bits");
    world.counted_cycles(3);
    world.assert_converged("web");
    // An own group or a narrower mode of somebody's is not what we own.
    let file = world.root("web").join("f005.conf");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the mode is set");
    world.counted_cycles(2);
    assert_eq!(world.status("web").number("/drift/changed"), 0);
    assert_eq!(world.live("web", "f005.conf"), content(5, "alpha"));
}

#[test]
fn a_repository_that_shrinks_to_nothing_or_grows_odd_refs_is_no_trouble() {
    let world = world();
    world.repo.tag("holdfast-approve/not-a-digest", "bob");
    world.repo.tag("holdfast-vouch/not-a-commit", "bob");
    world.repo.git(&["update-ref", "refs/tags/holdfast-approve/x", "HEAD^{tree}"]);
    world.repo.git(&["push", "-q", "origin", "refs/tags/holdfast-approve/x"]);
    world.counted_cycle();
    world.repo.change("", 0..1, "omega");
    world.repo.publish("an ordinary change");
    world.converge("web");
    world.assert_free("web");
}
