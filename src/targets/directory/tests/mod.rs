//! The directory target's contract, on real directories.

mod anchor;
mod crash;
mod observe;
mod read;
mod reload;
mod scale;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::core::resource::{Digest, Here, Id, Live, Observed, Version};
use crate::core::spelling::id_from_bytes;
use crate::core::write::{Content, Outcome, Verb, WriteOp};
use crate::targets::Expect;

/// A root inside a directory whose other content must never change.
struct Fixture {
    temp: tempfile::TempDir,
    root: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/secret"), "secret").unwrap();
        Self { temp, root }
    }

    fn directory(&self) -> Directory {
        self.with(false, Vec::new())
    }

    fn with(&self, exclusive: bool, reload: Vec<Reload>) -> Directory {
        Directory::open(Config { root: self.root.clone(), exclusive, reload }).unwrap()
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn observe(&self, ids: &[&str]) -> Observed {
        observe(&self.directory(), ids)
    }

    fn live(&self, id: &str) -> Live {
        let observed = self.observe(&[id]);
        assert_eq!(observed.failure, None);
        observed.get(&Id::new(id)).unwrap().clone()
    }

    fn here(&self, id: &str) -> Here {
        match self.live(id) {
            Live::Here(here) => here,
            other => panic!("{id}: {other:?}"),
        }
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    fn expected(&self, id: &str) -> Option<(Digest, Version)> {
        let here = self.here(id);
        Some((here.digest, here.version))
    }

    fn update(&self, id: &str, content: &str) -> WriteOp {
        WriteOp {
            id: Id::new(id),
            verb: Verb::Update,
            expected: self.expected(id),
            content: Some(file(content)),
            force: false,
            replace: false,
            reclaims: Vec::new(),
            ignore: Vec::new(),
        }
    }

    fn delete(&self, id: &str) -> WriteOp {
        WriteOp {
            id: Id::new(id),
            verb: Verb::Delete,
            expected: self.expected(id),
            content: None,
            force: false,
            replace: false,
            reclaims: Vec::new(),
            ignore: Vec::new(),
        }
    }

    fn write(&self, op: &WriteOp) -> Outcome {
        self.directory().lock().unwrap().write(op)
    }

    /// Everything below the root: directories, links and files with their content, in order.
    fn tree(&self) -> BTreeMap<String, String> {
        tree(&self.root)
    }

    /// Fails if anything outside the root changed.
    fn assert_outside_untouched(&self) {
        let outside = tree(&self.temp.path().join("outside"));
        assert_eq!(outside, BTreeMap::from([("secret".to_owned(), "secret".to_owned())]));
        let names: Vec<_> = fs::read_dir(&self.temp).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.len() <= 2, "{names:?}");
    }
}

fn observe(directory: &Directory, ids: &[&str]) -> Observed {
    let ids: Vec<Id> = ids.iter().map(|id| Id::new(*id)).collect();
    let expect: Vec<Expect<'_>> = ids.iter().map(Expect::new).collect();
    directory.observe(&expect, &mut StatCache::new(), Timestamp::now())
}

fn file(content: &str) -> Content {
    Content::File { bytes: content.as_bytes().into(), executable: false }
}

fn link(target: &str) -> Content {
    Content::Link(target.as_bytes().into())
}

fn create(id: &str, content: Content) -> WriteOp {
    WriteOp {
        id: Id::new(id),
        verb: Verb::Create,
        expected: None,
        content: Some(content),
        force: false,
        replace: false,
        reclaims: Vec::new(),
        ignore: Vec::new(),
    }
}

fn file_digest(content: &str) -> Digest {
    crate::targets::content_digest(content.as_bytes(), false).unwrap()
}

fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = id_from_bytes(path.strip_prefix(root).unwrap().as_os_str().as_bytes()).as_str().to_owned();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                all.insert(name + "/", String::new());
                todo.push(path);
            } else if kind.is_symlink() {
                all.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
            } else if kind.is_file() {
                all.insert(name, String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned());
            } else {
                all.insert(name, "?".to_owned());
            }
        }
    }
    all
}

fn entries(tree: &[(&str, &str)]) -> BTreeMap<String, String> {
    tree.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

#[track_caller]
fn assert_done(outcome: &Outcome) -> &Live {
    match outcome {
        Outcome::Done(live) => live,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_moved(outcome: &Outcome, part: &str) {
    assert!(matches!(outcome, Outcome::Moved(why) if why.contains(part)), "{outcome:?}");
}

#[track_caller]
fn assert_refused(outcome: &Outcome, part: &str) {
    assert!(matches!(outcome, Outcome::Refused(why) if why.contains(part)), "{outcome:?}");
}

#[track_caller]
fn assert_unread(live: &Live, part: &str) {
    assert!(matches!(live, Live::Unread(why) if why.contains(part)), "{live:?}");
}

fn inode(path: impl AsRef<Path>) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let reload = |run: &[&str], seconds| Reload {
        matches: "*".to_owned(),
        run: run.iter().map(|word| (*word).to_owned()).collect(),
        check: Vec::new(),
        timeout: std::time::Duration::from_secs(seconds),
    };
    let open = |root: &str, reload| Directory::open(Config { root: root.into(), exclusive: false, reload });
    assert!(matches!(open("", vec![]), Err(OpenError::Root { .. })));
    assert!(matches!(open("/x", vec![reload(&["true"], 1), reload(&[], 1)]), Err(OpenError::Reload { index: 1, .. })));
    assert!(open("/x", vec![reload(&[""], 1)]).is_err());
    assert!(open("/x", vec![reload(&["true"], 0)]).is_err());
    assert!(open("relative", vec![reload(&["true"], 1)]).unwrap().root().is_absolute());
}

#[allow(dead_code, reason = "a compile-time promise: sessions and targets move between threads")]
fn promises() {
    fn sendable<T: Send + 'static>() {}
    sendable::<Session>();
    sendable::<Arc<Directory>>();
    sendable::<StatCache>();
    sendable::<Watch>();
}
