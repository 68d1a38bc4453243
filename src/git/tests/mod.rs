//! Against real repositories, made and served by the installed git.

mod fetching;
mod heads;
mod keeping;
mod merging;
mod reading;
mod repo;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::{FetchError, Fetched, Mirror, Remote, Wanted};
use crate::core::commit::{CommitId, Signature};

/// A mirror in a directory of its own.
struct Here {
    dir: tempfile::TempDir,
    mirror: Mirror,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(&dir.path().join("mirror")).unwrap();
        Self { dir, mirror }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A program that stands for git or ssh. Another process writes it: while a thread of ours forks, a file that we have
    /// open for writing cannot be run.
    fn program(&self, name: &str, script: &str) -> PathBuf {
        let (source, path) = (self.path().join("script"), self.path().join(name));
        std::fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
        let status = std::process::Command::new("install").args(["-m", "755"]).arg(source).arg(&path).status();
        assert!(status.unwrap().success());
        path
    }

    fn fetch(&self, remote: &Remote) -> Result<Fetched, FetchError> {
        self.mirror.fetch(remote, &Wanted::default(), &AtomicBool::new(false))
    }
}

/// Nobody's signature is looked at.
fn unchecked(_: &[u8], _: &[u8]) -> Signature {
    Signature::UnknownKey { key: "unchecked".into() }
}

fn ids(commits: &[crate::core::commit::Commit]) -> Vec<CommitId> {
    commits.iter().map(|commit| commit.id.clone()).collect()
}
