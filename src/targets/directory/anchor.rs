//! The claim on a directory: the anchor file, and the lock under which it is swapped and the directory written.
//!
//! The lock is `flock` on the root directory itself: its inode stays when the anchor is replaced by a rename, and no
//! extra file is needed. The anchor's own inode is locked as well, for the sake of programs that look there.

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::Directory;
use super::beneath::{Root, explain, open_file};
use super::hook::step;
use super::journal::Journal;
use super::path::{ANCHOR, TEMPORARY};
use super::recover::Recovery;
use super::stat::{Kind, Stat};
use crate::core::resource::{Anchor, AnchorSeen};

/// An anchor takes less than one kilobyte; whatever is longer is something else.
const MAX_ANCHOR: u64 = 64 * 1024;

/// Says why a directory could not be locked for writing; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The root could not be opened.
    #[error("open the directory: {0}")]
    Root(Arc<str>),
    /// Another controller, or another session of this one, is writing.
    #[error("lock the directory: another controller is writing to it")]
    Held,
    /// The file system cannot lock; two writers could not be told apart, so nothing is written.
    #[error("lock the directory: {0}; its file system must support flock on directories")]
    Unsupported(String),
    /// What a crash left could not be made good.
    #[error("recover what an interrupted write left: {0}")]
    Recovery(Arc<str>),
}

/// Says why the anchor was not swapped.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// What stands there is not what was expected; nothing was changed.
    #[error("swap the anchor: it is not the one that was expected")]
    Moved(Box<AnchorSeen>),
    /// It could not be written; nothing was changed.
    #[error("swap the anchor: {0}")]
    Refused(Arc<str>),
    /// It was written, but may not survive a power failure: read it again.
    #[error("make the swapped anchor durable: {0}")]
    Unknown(Arc<str>),
}

/// The exclusive right to write to a directory, until dropped.
#[derive(Debug)]
pub struct Session {
    pub(super) directory: Directory,
    /// Dropped before the locks: it may remove its file.
    pub(super) journal: Journal,
    pub(super) root: Root,
    recovery: Recovery,
    /// Whatever stands in the anchor's place, if anything does; a swap makes it another.
    anchor: Option<Lock>,
    _lock: Lock,
}

/// A lock on an open file, until dropped.
#[derive(Debug)]
struct Lock(OwnedFd);

impl Lock {
    fn take(fd: impl AsFd) -> Result<Self, LockError> {
        match rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held),
            Err(error) => return Err(LockError::Unsupported(explain(error))),
        }
        rustix::io::fcntl_dupfd_cloexec(&fd, 0).map(Self).map_err(|error| LockError::Unsupported(explain(error)))
    }
}

impl Drop for Lock {
    /// Unlocks by name: a program that another thread is just starting holds a copy of every open file for a moment,
    /// and with it the lock.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl Directory {
    /// Reads the anchor fresh.
    pub fn read_anchor(&self) -> AnchorSeen {
        match Root::open(&self.config.root) {
            Ok(root) => read(&root),
            Err(why) => AnchorSeen::Unread(why),
        }
    }

    /// Takes the exclusive right to write, without waiting, and makes good what an interrupted session left.
    ///
    /// # Errors
    /// See [`LockError`]; nothing was changed, except by an incomplete recovery.
    pub fn lock(&self) -> Result<Session, LockError> {
        let root = Root::open(&self.config.root).map_err(LockError::Root)?;
        let lock = Lock::take(&root)?;
        let anchor = open_file(root.as_fd(), ANCHOR.as_bytes()).ok().map(Lock::take).transpose()?;
        root.check(&self.config.root).map_err(LockError::Root)?;
        let recovery = super::recover::run(&root).map_err(LockError::Recovery)?;
        let journal = Journal::new(&root).map_err(|error| LockError::Root(explain(error).into()))?;
        Ok(Session { directory: self.clone(), journal, root, recovery, anchor, _lock: lock })
    }
}

impl Session {
    /// Returns what was made good at the session's start.
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads the anchor below the locked root.
    pub fn read_anchor(&self) -> AnchorSeen {
        read(&self.root)
    }

    /// Replaces the anchor, durably, if it still is the expected one.
    ///
    /// # Errors
    /// See [`SwapError`]. An anchor that cannot be read is never replaced.
    pub fn swap(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), SwapError> {
        let refused = |why: String| SwapError::Refused(why.into());
        self.root.check(&self.directory.config.root).map_err(SwapError::Refused)?;
        let seen = read(&self.root);
        if seen != *expected || matches!(seen, AnchorSeen::Foreign(_) | AnchorSeen::Unread(_)) {
            return Err(SwapError::Moved(Box::new(seen)));
        }
        let temp = format!("{TEMPORARY}anchor");
        let lock = put_beside(&self.root, &temp, new).map_err(|why| refused(why.to_string()))?;
        let swapped = step("anchor swap").and_then(|()| match seen {
            AnchorSeen::Absent => super::rename::into_nothing(self.root.as_fd(), temp.as_bytes(), ANCHOR.as_bytes()),
            _ => rustix::fs::renameat(&self.root, &temp, &self.root, ANCHOR),
        });
        if let Err(error) = swapped {
            // Best effort: a leftover is removed when the next session starts.
            let _ = rustix::fs::unlinkat(&self.root, &temp, rustix::fs::AtFlags::empty());
            return Err(match error {
                Errno::EXIST => SwapError::Moved(Box::new(read(&self.root))),
                error => refused(explain(error)),
            });
        }
        self.anchor = Some(lock);
        step("anchor sync")
            .and_then(|()| rustix::fs::fsync(&self.root))
            .map_err(|error| SwapError::Unknown(explain(error).into()))
    }
}

/// Writes an anchor under a temporary name and syncs it.
fn put_beside(root: &Root, temp: &str, anchor: &Anchor) -> std::io::Result<Lock> {
    let mut json = serde_json::to_vec_pretty(anchor)?;
    json.push(b'\n');
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(root, temp, flags, Mode::from_raw_mode(0o644))?;
    let lock = Lock::take(&fd).map_err(std::io::Error::other)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(&json)?;
    file.sync_all()?;
    Ok(lock)
}

/// Reads the anchor of an open root.
pub(super) fn read(root: &Root) -> AnchorSeen {
    let unread = |why: String| AnchorSeen::Unread(format!("the anchor {ANCHOR}: {why}").into());
    let foreign = |why: String| AnchorSeen::Foreign(format!("{ANCHOR}: {why}").into());
    match Stat::of(root, ANCHOR) {
        Ok(Stat { kind: Kind::File, mark, .. }) if mark.size <= MAX_ANCHOR => {}
        Ok(Stat { kind: Kind::File, .. }) => return foreign("is too large to be one".to_owned()),
        Ok(stat) => return foreign(format!("is a {}", stat.kind.name())),
        Err(Errno::NOENT) => return AnchorSeen::Absent,
        Err(error) => return unread(explain(error)),
    }
    let fd = match open_file(root.as_fd(), ANCHOR.as_bytes()) {
        Ok(fd) => fd,
        Err(error) => return unread(explain(error)),
    };
    let mut bytes = Vec::new();
    let mut file = std::io::Read::take(std::fs::File::from(fd), MAX_ANCHOR);
    match std::io::Read::read_to_end(&mut file, &mut bytes) {
        Ok(_) => {}
        Err(error) => return unread(error.to_string()),
    }
    match serde_json::from_slice(&bytes) {
        Ok(anchor) => AnchorSeen::Present(anchor),
        Err(error) => foreign(format!("is no anchor: {error}")),
    }
}

/// Tells whether the session's root is still in its place.
pub(super) fn check(session: &Session, root: &Path) -> Result<(), Arc<str>> {
    session.root.check(root)
}
