//! Kill -9 at every moment of a batch and of its recovery, in a child process: nothing is lost, nothing stays behind.

use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::super::hook;
use super::*;

/// What goes on besides the batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scene {
    /// Nothing.
    Quiet,
    /// Somebody writes the file to update and the file to delete right before they are renamed.
    Stranger,
    /// The file system has none of the renames.
    Lacking,
    /// Both.
    LackingStranger,
}

const SCENES: [Scene; 4] = [Scene::Quiet, Scene::Stranger, Scene::Lacking, Scene::LackingStranger];

impl Scene {
    const fn lacking(self) -> bool {
        matches!(self, Self::Lacking | Self::LackingStranger)
    }

    const fn stranger(self) -> bool {
        matches!(self, Self::Stranger | Self::LackingStranger)
    }
}

fn ops(fixture: &Fixture) -> Vec<WriteOp> {
    vec![
        create("new/file", file("new")),
        fixture.update("update", "updated"),
        create("new/link", link("target")),
        fixture.delete("d/delete"),
    ]
}

fn prepare(fixture: &Fixture) {
    fixture.put("update", "old update");
    fixture.put("d/delete", "old delete");
    fixture.put("d/stays", "stays");
}

/// The child: runs the batch, or only the recovery, and dies at the given moment; exits with 0 if that never comes.
#[test]
#[ignore = "is started by the other tests of this module"]
fn child() {
    let variable = |name| std::env::var(name).unwrap();
    let mut left: u32 = variable("CRASH_AT").parse().unwrap();
    let scene = SCENES[variable("CRASH_SCENE").parse::<usize>().unwrap()];
    let fixture = Fixture { temp: tempfile::tempdir().unwrap(), root: variable("CRASH_ROOT").into() };
    let recovery_only = std::env::var_os("CRASH_RECOVERY").is_some();
    let ops = if recovery_only { Vec::new() } else { ops(&fixture) };
    let root = fixture.root.clone();
    let _hook = hook::set(move |name| {
        if left == 0 {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        left -= 1;
        let renames = matches!(name, "rename exchange" | "rename noreplace");
        if renames && scene.stranger() && !recovery_only {
            for path in ["update", "d/delete"] {
                let path = root.join(path);
                if fs::read_to_string(&path).is_ok_and(|content| content.starts_with("old")) {
                    fs::write(path, "stranger's").unwrap();
                }
            }
        }
        if renames && scene.lacking() { Err(Errno::INVAL) } else { Ok(()) }
    });
    let mut session = fixture.directory().lock().unwrap();
    session.write_batch(&ops);
}

/// Runs the child and tells whether it was killed.
fn crash(root: &Path, scene: usize, at: u32, recovery: bool) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "targets::directory::tests::crash::child", "--test-threads=1"]);
    command.env("CRASH_ROOT", root).env("CRASH_SCENE", scene.to_string()).env("CRASH_AT", at.to_string());
    if recovery {
        command.env("CRASH_RECOVERY", "yes");
    }
    let output = command.output().unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    killed
}

/// Fails if content that nobody approved to lose is nowhere below the root.
fn assert_nothing_lost(fixture: &Fixture, scene: Scene, when: &str) {
    let tree = fixture.tree();
    let held = |content: &str| tree.values().any(|held| held == content);
    let count = |content: &str| tree.values().filter(|held| *held == content).count();
    assert!(held("stays"), "{when}: {tree:?}");
    if scene.stranger() {
        // Either the strangers were there, at most under two names at once, or nothing had happened yet.
        let update = tree.get("update").is_some_and(|held| held == "old update");
        assert!(update || count("stranger's") >= 2, "{when}: {tree:?}");
    } else {
        assert!(held("old update") || held("updated"), "{when}: {tree:?}");
    }
}

/// Recovers, and fails unless every resource is as before or as wanted, with nothing of ours besides.
fn assert_recovers(fixture: &Fixture, scene: Scene, when: &str) {
    drop(fixture.directory().lock().unwrap());
    let tree = fixture.tree();
    let one_of = |path: &str, contents: &[Option<&str>]| {
        assert!(contents.contains(&tree.get(path).map(String::as_str)), "{when}: {path} in {tree:?}");
    };
    if scene.stranger() {
        one_of("update", &[Some("old update"), Some("stranger's")]);
        one_of("d/delete", &[Some("old delete"), Some("stranger's")]);
    } else {
        one_of("update", &[Some("old update"), Some("updated")]);
        one_of("d/delete", &[Some("old delete"), None]);
    }
    one_of("new/file", &[None, Some("new")]);
    one_of("new/link", &[None, Some("-> target")]);
    one_of("d/stays", &[Some("stays")]);
    assert!(tree.keys().all(|name| !name.contains(".holdfast")), "{when}: {tree:?}");
}

/// Does what is left to do, as the controller would after observing again.
fn assert_converges(fixture: &Fixture, when: &str) {
    let mut left = Vec::new();
    for (id, content) in [("new/file", file("new")), ("update", file("updated")), ("new/link", link("target"))] {
        match fixture.live(id) {
            Live::Gone => left.push(create(id, content)),
            Live::Here(here) => left.push(WriteOp {
                id: Id::new(id),
                verb: Verb::Update,
                expected: Some((here.digest, here.version)),
                content: Some(content),
                force: false,
                replace: false,
                reclaims: Vec::new(),
                ignore: Vec::new(),
            }),
            other => panic!("{when}: {other:?}"),
        }
    }
    if let Live::Here(_) = fixture.live("d/delete") {
        left.push(fixture.delete("d/delete"));
    }
    for outcome in fixture.directory().lock().unwrap().write_batch(&left) {
        assert_done(&outcome);
    }
    let wanted = [("d/", ""), ("d/stays", "stays"), ("new/", ""), ("new/file", "new"), ("new/link", "-> target")];
    let mut wanted = entries(&wanted);
    wanted.insert("update".to_owned(), "updated".to_owned());
    assert_eq!(fixture.tree(), wanted, "{when}");
}

fn killed_at_every_moment(index: usize) {
    let scene = SCENES[index];
    let mut moments = 0;
    loop {
        let fixture = Fixture::new();
        prepare(&fixture);
        let when = format!("{scene:?}, killed at moment {moments}");
        let killed = crash(&fixture.root, index, moments, false);
        assert_nothing_lost(&fixture, scene, &when);
        assert_recovers(&fixture, scene, &when);
        assert_converges(&fixture, &when);
        if !killed {
            break;
        }
        moments += 1;
    }
    assert!(moments > 25, "only {moments} moments were tried");
}

#[test]
fn killed_at_every_moment_of_a_batch() {
    killed_at_every_moment(0);
}

#[test]
fn killed_at_every_moment_while_a_stranger_writes() {
    killed_at_every_moment(1);
}

#[test]
fn killed_at_every_moment_where_the_renames_are_lacking() {
    killed_at_every_moment(2);
}

#[test]
fn killed_at_every_moment_where_the_renames_are_lacking_while_a_stranger_writes() {
    killed_at_every_moment(3);
}

#[test]
fn killed_again_at_every_moment_of_the_recovery() {
    // The moments of the first crash that leave the most behind: some exchanges and moves done, none looked at.
    let mut recoveries = 0;
    for index in [0, 1] {
        let scene = SCENES[index];
        for first in 24..40 {
            for second in 0.. {
                let fixture = Fixture::new();
                prepare(&fixture);
                if !crash(&fixture.root, index, first, false) {
                    break;
                }
                let when = format!("{scene:?}, killed at moment {first}, then at moment {second} of the recovery");
                let killed = crash(&fixture.root, index, second, true);
                recoveries += u32::from(killed);
                assert_nothing_lost(&fixture, scene, &when);
                assert_recovers(&fixture, scene, &when);
                if !killed {
                    break;
                }
            }
        }
    }
    assert!(recoveries > 20, "only {recoveries} recoveries were killed");
}

#[test]
fn what_somebody_wrote_after_the_crash_stays_and_the_old_is_kept_beside() {
    for (scene, moment) in [(Scene::Quiet, "look"), (Scene::Lacking, "put in place")] {
        let fixture = Fixture::new();
        prepare(&fixture);
        let op = fixture.update("update", "updated");
        {
            let _hook = hook::set(move |name| {
                assert_ne!(name, moment, "the crash");
                let lacking = scene.lacking() && matches!(name, "rename exchange" | "rename noreplace");
                if lacking { Err(Errno::INVAL) } else { Ok(()) }
            });
            let session = fixture.directory().lock().unwrap();
            // A panic leaves what a crash leaves.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut session = session;
                session.write(&op)
            }))
            .unwrap_err();
        }
        let path = fixture.root.join("update");
        fs::write(path.with_extension("new"), "later").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        let session = fixture.directory().lock().unwrap();
        let saved = &session.recovery().saved;
        assert_eq!(saved.len(), 1, "{scene:?}");
        assert_eq!(saved[0].0, Id::new("update"));
        let tree = fixture.tree();
        assert_eq!((tree["update"].as_str(), tree[saved[0].1.as_str()].as_str()), ("later", "old update"));
        assert_eq!(tree.len(), 5, "{tree:?}");
    }
}
