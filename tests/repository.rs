//! A clone and a renderer together, on real repositories: what a range of commits costs, and odd trees as git makes them.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast::core::commit::{CommitId, Signature};
use holdfast::core::resource::Id;
use holdfast::core::tree::{Oid, TreeError, Trees};
use holdfast::git::{Mirror, Remote, Snapshot, Wanted};
use holdfast::render::{Content, Limits, Problem, Render, Renderer};

fn git(dir: &Path, args: &[&str], input: &str) -> String {
    let mut child = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@x"),
            ("GIT_COMMITTER_NAME", "C"),
            ("GIT_COMMITTER_EMAIL", "c@x"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "git {args:?}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(place.repo()).unwrap();
        git(&place.repo(), &["init", "-q", "-b", "main"], "");
        place
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn fetch(&self) -> (CommitId, Snapshot) {
        let mirror = Mirror::open(&self.dir.path().join("mirror")).unwrap();
        let remote = Remote::new(self.repo().to_str().unwrap(), "main");
        let tip = mirror.fetch(&remote, &Wanted::default(), &AtomicBool::new(false)).unwrap().tip;
        (tip, mirror.snapshot().unwrap())
    }

    fn commit(&self) {
        git(&self.repo(), &["add", "-A"], "");
        git(&self.repo(), &["commit", "-q", "-m", "c"], "");
    }
}

/// Counts what is read of a clone.
struct Counted<'a> {
    inner: &'a Snapshot,
    trees: Cell<usize>,
    blobs: Cell<usize>,
}

impl Trees for Counted<'_> {
    fn tree_of(&self, commit: &CommitId) -> Result<Oid, TreeError> {
        self.inner.tree_of(commit)
    }

    fn tree(&self, tree: Oid) -> Result<Arc<[u8]>, TreeError> {
        self.trees.set(self.trees.get() + 1);
        self.inner.tree(tree)
    }

    fn blob_size(&self, blob: Oid) -> Result<u64, TreeError> {
        self.blobs.set(self.blobs.get() + 1);
        self.inner.blob_size(blob)
    }

    fn blob(&self, blob: Oid, cap: u64) -> Result<Vec<u8>, TreeError> {
        self.inner.blob(blob, cap)
    }
}

#[test]
fn a_thousand_commits_over_ten_thousand_files_cost_what_they_change() {
    const COMMITS: usize = 1000;
    let place = Place::new();
    let mut stream = String::new();
    for n in 0..=COMMITS {
        let header = "commit refs/heads/main\ncommitter C <c@x>";
        writeln!(stream, "{header} {} +0000\ndata 1\nc", 1_700_000_000 + n).unwrap();
        let files: Vec<usize> = if n == 0 { (0..10_000).collect() } else { vec![n * 7 % 10_000] };
        for file in files {
            let content = format!("key = {file} {n}\n");
            let path = format!("app/d{:02}/f{file}.conf", file % 100);
            writeln!(stream, "M 100644 inline {path}\ndata {}\n{content}", content.len()).unwrap();
        }
    }
    git(&place.repo(), &["fast-import", "--quiet"], &stream);
    let (tip, snapshot) = place.fetch();
    let base = snapshot.resolve("main", &format!("HEAD~{COMMITS}")).unwrap();
    let unsigned = |_: &[u8], _: &[u8]| Signature::Unsigned;
    let range = snapshot.range(&base, &tip, &unsigned).unwrap();
    assert_eq!((range.all.len(), range.first_parent.len(), range.base_on_first_parent), (COMMITS, COMMITS, true));
    let renderer = Renderer::new(Render::Plain, "app", Limits::default()).unwrap();
    let before = renderer.render(&snapshot, &base).unwrap();
    assert_eq!(before.wants().len(), 10_000);
    let counted = Counted { inner: &snapshot, trees: Cell::new(0), blobs: Cell::new(0) };
    let mut wants: std::collections::BTreeMap<Id, _> =
        before.wants().iter().map(|w| (w.id.clone(), w.clone())).collect();
    let mut old = &base;
    for commit in &range.first_parent {
        let changes = renderer.changes(&counted, old, &commit.id).unwrap();
        assert_eq!(changes.len(), 1);
        for change in changes {
            assert_eq!(wants.get(&change.id), change.old.as_ref());
            wants.insert(change.id, change.new.unwrap());
        }
        old = &commit.id;
    }
    // Each side: the root, the source path, and the one directory that differs.
    assert!(counted.trees.get() <= 6 * COMMITS, "{} trees", counted.trees.get());
    assert!(counted.blobs.get() <= COMMITS, "{} blobs", counted.blobs.get());
    assert!(wants.values().eq(renderer.render(&snapshot, &tip).unwrap().wants().iter()), "the sum of all changes");
}

#[test]
fn modes_links_and_odd_names_come_through_as_git_has_them() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    let place = Place::new();
    let app = place.repo().join("app");
    std::fs::create_dir_all(app.join("bin")).unwrap();
    std::fs::write(app.join("bin/run.sh"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(app.join("bin/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../../outside", app.join("link")).unwrap();
    std::fs::write(app.join(std::ffi::OsStr::from_bytes(b"odd\xff\n\\name")), "x").unwrap();
    place.commit();
    let (tip, snapshot) = place.fetch();
    let renderer = Renderer::new(Render::Plain, "app", Limits::default()).unwrap();
    let desired = renderer.render(&snapshot, &tip).unwrap();
    let ids: Vec<&str> = desired.wants().iter().map(|want| want.id.as_str()).collect();
    assert_eq!(ids, ["bin/run.sh", "link", "odd\\xff\\x0a\\x5cname"]);
    let content = |id: &str| renderer.content(&snapshot, &tip, &Id::new(id)).unwrap();
    assert_eq!(content(ids[0]), Content::File { bytes: b"#!/bin/sh\n".to_vec(), executable: true });
    assert_eq!(content(ids[1]), Content::Link(b"../../outside".to_vec()));
    assert_eq!(content(ids[2]), Content::File { bytes: b"x".to_vec(), executable: false });
}

#[test]
fn submodules_pointers_and_large_files_are_refused_only_where_they_are_used() {
    let place = Place::new();
    let repo = place.repo();
    std::fs::create_dir_all(repo.join("ok")).unwrap();
    std::fs::create_dir_all(repo.join("lfs")).unwrap();
    std::fs::create_dir_all(repo.join("large")).unwrap();
    std::fs::write(repo.join("ok/a"), "a").unwrap();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64));
    std::fs::write(repo.join("lfs/blob.bin"), pointer).unwrap();
    std::fs::write(repo.join("large/blob.bin"), vec![0; 100_000]).unwrap();
    place.commit();
    let head = git(&repo, &["rev-parse", "HEAD"], "");
    git(&repo, &["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub/module")], "");
    git(&repo, &["commit", "-q", "-m", "submodule"], "");
    let (tip, snapshot) = place.fetch();
    let problem = |path: &str| {
        let limits = Limits { blob: 99_999, ..Limits::default() };
        let renderer = Renderer::new(Render::Plain, path, limits).unwrap();
        renderer.render(&snapshot, &tip).map(|desired| desired.wants().len()).map_err(|error| error.problem)
    };
    assert_eq!(problem("ok"), Ok(1));
    assert_eq!(problem("lfs"), Err(Problem::LfsPointer));
    assert_eq!(problem("sub"), Err(Problem::Submodule));
    assert_eq!(problem("sub/module/x"), Err(Problem::Submodule));
    assert_eq!(problem("large"), Err(Problem::TooLarge { size: 100_000, cap: 99_999 }));
    assert_eq!(problem("none"), Err(Problem::PathMissing));
}
