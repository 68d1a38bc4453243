//! Against real repositories, made and served by the installed git.

mod fetching;
mod keeping;
mod reading;
mod repo;

use std::path::Path;
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
