//! A mirror: the directory of one bare clone, its lock, its suspicion of itself, and its replacement.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gix::ObjectId;

use super::fetch::{FetchError, Job, Phase};
use super::remote::Url;
use super::session::Advertised;
use super::snapshot::Snapshot;
use super::{pins, upkeep};
use crate::core::commit::CommitId;
use crate::core::resource::Digest;

/// Says why a clone cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The file system refused.
    #[error("use the clone at {path}: {why}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is damaged; the next fetch clones anew.
    #[error("use the clone at {dir}: it is damaged, the next fetch clones anew ({why})", dir = dir.display())]
    Damaged {
        /// Which clone.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no repository that could be read.
    #[error("open a Git repository at {path}: {why}", path = path.display())]
    NoRepository {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl MirrorError {
    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.into(), why: error.to_string() }
    }
}

/// The bare clone of one repository. Share it between tasks; reading and fetching may go on at once.
#[derive(Clone, Debug)]
pub struct Mirror {
    dir: Arc<Path>,
}

/// Returns the directory of a repository's clone: `repos/` and a hash of the URL, so that no path comes from outside.
pub fn directory_for(state: &Path, url: &Url) -> PathBuf {
    state.join("repos").join(hex::encode(&Digest::of_parts([url.secret()]).as_bytes()[..16]))
}

/// Over this many packs each lookup becomes slow; repacking this often costs little.
const PACKS_MAX: usize = 40;

/// Names why the clone is not to be trusted any more; survives restarts.
const SUSPECT: &str = "holdfast-suspect";

/// Lists why clones were made anew before: what that did not mend, the remote lacks too.
const REBUILT: &str = "holdfast-rebuilt";

/// A remote that lacks more than this is not mended by any number of clones.
const REBUILDS_MAX: usize = 100;

impl Mirror {
    /// Opens the clone in a directory, making an empty one where there is none.
    pub fn open(dir: &Path) -> Result<Self, MirrorError> {
        let parent = dir.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(|e| MirrorError::io(parent, &e))?;
        let mirror = Self { dir: dir.into() };
        let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
        if empty {
            // Two processes may find it empty at once.
            let lock = mirror.lock_file("lock")?;
            lock.lock().map_err(|e| MirrorError::io(dir, &e))?;
            if std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none()) {
                upkeep::create(dir)?;
            }
        }
        Ok(mirror)
    }

    /// Returns the clone's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the clone for reading. Cheap; take a new one for each cycle, so that it sees what was fetched.
    pub fn snapshot(&self) -> Result<Snapshot, MirrorError> {
        if let Some(why) = upkeep::unsound(&self.dir) {
            self.suspect(&why);
            return Err(MirrorError::Damaged { dir: self.dir.to_path_buf(), why });
        }
        Ok(Snapshot::new(self.clone(), upkeep::open(&self.dir, None)?))
    }

    /// Remembers that the clone is damaged, so that the next fetch makes a new one; unless a new one did not help before.
    pub(super) fn suspect(&self, why: &str) {
        let tried = std::fs::read_to_string(self.dir.join(REBUILT)).unwrap_or_default();
        if tried.lines().any(|line| line == why) || tried.lines().count() >= REBUILDS_MAX {
            return;
        }
        // Where even this cannot be written, the damage will be met again.
        let _written = std::fs::write(self.dir.join(SUSPECT), why);
    }

    /// Returns why the clone is not to be trusted, if so.
    pub(super) fn suspicion(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.join(SUSPECT)).ok().or_else(|| upkeep::unsound(&self.dir))
    }

    fn lock_file(&self, extension: &str) -> Result<File, MirrorError> {
        let path = self.dir.with_extension(extension);
        File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| MirrorError::io(&path, &e))
    }

    /// Takes the lock that one fetch at a time holds, in this process or another, waiting as long as the fetch may take.
    pub(super) fn lock(&self, job: &Job<'_>) -> Result<File, FetchError> {
        let file = self.lock_file("lock")?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::Error(e)) => return Err(MirrorError::io(&self.dir, &e).into()),
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            match job.guard.verdict(job.remote) {
                Some(FetchError::TimedOut { url, after, .. }) => {
                    return Err(FetchError::TimedOut { url, phase: Phase::Lock, after });
                }
                Some(other) => return Err(other),
                // The other process will not tell when it is done.
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Holds pins still; taken by whoever makes one, and by a new clone while it takes the old one's place.
    pub(super) fn hold_pins(&self) -> Result<File, MirrorError> {
        let file = self.lock_file("pins")?;
        file.lock().map_err(|e| MirrorError::io(&self.dir, &e))?;
        Ok(file)
    }

    /// Clones anew beside, carries pins over, and swaps. Gives what was advertised, and the pins that were lost.
    pub(super) fn rebuild(
        &self,
        job: &Job<'_>,
        reason: &str,
    ) -> Result<((Advertised, bool), Vec<CommitId>), FetchError> {
        let new = upkeep::beside(&self.dir);
        if new.exists() {
            std::fs::remove_dir_all(&new).map_err(|e| MirrorError::io(&new, &e))?;
        }
        upkeep::create(&new)?;
        let (advertised, _) = job.run(&new)?;
        let pins = self.hold_pins()?;
        let lost = pins::carry(&self.dir, &new, job)?;
        let tried = std::fs::read_to_string(self.dir.join(REBUILT)).unwrap_or_default();
        let rebuilt = new.join(REBUILT);
        std::fs::write(&rebuilt, format!("{tried}{}\n", reason.replace('\n', " ")))
            .map_err(|e| MirrorError::io(&rebuilt, &e))?;
        sync_all(&new)?;
        exchange(&new, &self.dir)?;
        drop(pins);
        std::fs::remove_dir_all(&new).map_err(|e| MirrorError::io(&new, &e))?;
        Ok(((advertised, true), lost))
    }

    /// Keeps the number of packs small; gives the pins that were lost if that took a new clone.
    pub(super) fn consolidate(&self, job: &Job<'_>) -> Option<Vec<CommitId>> {
        if upkeep::packs(&self.dir).len() <= PACKS_MAX {
            return None;
        }
        let revs = job.revs();
        if let Err(error) = upkeep::open(&self.dir, None).and_then(|repo| upkeep::forget_revs(&repo, &revs)) {
            tracing::warn!(%error, "revisions fetched before are kept");
        }
        let Err(why) = upkeep::repack(&self.dir, &job.remote.network, job.guard.left()) else { return None };
        tracing::debug!(%why, "no repacking, cloning anew instead");
        match self.rebuild(job, "many packs") {
            Ok((_, lost)) => Some(lost),
            // The clone works as it is; the next fetch tries again.
            Err(error) => {
                tracing::warn!(%error, "the clone has many packs and could not be made anew");
                None
            }
        }
    }
}

/// Puts everything of a new clone on disk before the old one goes.
fn sync_all(dir: &Path) -> Result<(), MirrorError> {
    let file = File::open(dir).map_err(|e| MirrorError::io(dir, &e))?;
    rustix::fs::syncfs(file).map_err(|e| MirrorError::Io { path: dir.into(), why: e.to_string() })
}

/// Swaps two directories in one step, so that a reader finds one or the other.
fn exchange(new: &Path, old: &Path) -> Result<(), MirrorError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        // Some file systems cannot; then there is a moment without a clone, which a reader reports and retries.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let aside = old.with_extension("old");
            let _left_over = std::fs::remove_dir_all(&aside);
            std::fs::rename(old, &aside).map_err(|e| MirrorError::io(old, &e))?;
            std::fs::rename(new, old).map_err(|e| MirrorError::io(new, &e))?;
            std::fs::rename(&aside, new).map_err(|e| MirrorError::io(&aside, &e))?;
        }
        Err(e) => return Err(MirrorError::Io { path: old.into(), why: e.to_string() }),
    }
    if let Some(parent) = old.parent() {
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| MirrorError::io(parent, &e))?;
    }
    Ok(())
}

pub(super) fn commit_id(id: ObjectId) -> CommitId {
    CommitId::new(id.to_string())
}
