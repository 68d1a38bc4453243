//! Carries out: reads what a target holds and writes what was let through. One kind of target per folder.
//!
//! Nothing here decides whether a write may happen; each kind makes its precondition real and says what came of it.
//! [`Target`] is what all kinds have in common, and the only thing that the controller knows of them:
//!
//! | | directory | exec |
//! |---|---|---|
//! | [`Target::observe`] | `statx`, digests kept in a cache | the program's `observe` |
//! | [`Target::lock`] | `flock` on the root; makes good what a crash left | nothing: the swap itself excludes others |
//! | [`Session::swap`] | a rename under the lock | the program's `swap` |
//! | [`Session::write`] | renames with a look at what came out | the program's `write` and `delete` |
//! | [`Target::settle`] | `reload`, then `check` | the health of an `observe` |
//! | [`Target::read`] | the file | nothing: what differs is not shown |
//! | [`Target::watch`] | inotify | nothing: the interval alone |
//!
//! Everything blocks, and a kind that works asynchronously inside owns its runtime. What a kind remembers between calls
//! (a cache, a list of definitions) is its own, hence `&mut`; nothing that a decision depends on is.

pub mod directory;
pub mod exec;
mod process;

use std::path::Path;
use std::time::Duration;

use gix::hash::{Kind, hasher};
use jiff::Timestamp;

use crate::config;
use crate::core::effect::Rules;
use crate::core::resource::{Anchor, AnchorSeen, Digest, Health, Id, Observed};
use crate::core::spelling::file_digest;
use crate::core::write::{Outcome, WriteOp};

pub use directory::{Recovery, WatchState};

/// One resource that an observation must answer for: everything desired or accepted.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Which resource.
    pub id: &'a Id,
    /// The accepted live digest, if any. A cache's word that differs from it is not taken: the resource is read again.
    pub digest: Option<Digest>,
}

/// What is known of one resource's health, and why it does not work, if so.
pub type Healthy = (Id, Health, Option<String>);

/// A target of any kind.
#[derive(Debug)]
pub enum Target {
    /// Files below a directory.
    Directory(directory::Kept),
    /// A program of the user's.
    Exec(exec::Exec),
}

/// The right to write to a target, until dropped.
#[derive(Debug)]
pub enum Session {
    /// A locked directory.
    Directory(Box<directory::Session>),
    /// A program of the user's.
    Exec(exec::Exec),
}

/// A watch over a target, until dropped.
#[derive(Debug)]
pub enum Watch {
    /// Over a directory.
    Directory(directory::Watch),
}

/// Says why a target cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Of a directory.
    #[error(transparent)]
    Directory(#[from] directory::OpenError),
    /// Of a program.
    #[error(transparent)]
    Exec(#[from] exec::OpenError),
    /// There is no such kind here.
    #[error("this build has no {0} target")]
    Unsupported(&'static str),
}

/// Says why a target could not be locked for writing; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Of a directory.
    #[error(transparent)]
    Directory(#[from] directory::LockError),
}

/// Says why the anchor was not swapped, or whether that is not known.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// Of a directory.
    #[error(transparent)]
    Directory(#[from] directory::SwapError),
    /// Of a program.
    #[error(transparent)]
    Exec(#[from] exec::SwapError),
}

/// Returns what a kind of target itself says about identities.
pub const fn rules(target: &config::Target) -> Rules {
    match target {
        config::Target::Directory(_) => Rules::Directory,
        config::Target::Kubernetes(_) => Rules::Kubernetes,
        config::Target::Exec(_) => Rules::Exec,
    }
}

impl Target {
    /// Prepares a target. Nothing of it is touched, or run, yet.
    ///
    /// `cache` is a file for what a kind may keep between runs: losing it costs time, never correctness.
    ///
    /// # Errors
    /// If the configuration makes no sense by itself.
    pub fn open(target: &config::Target, cache: &Path) -> Result<Self, OpenError> {
        match target {
            config::Target::Directory(target) => Ok(Self::Directory(directory::Kept::open(target, cache)?)),
            config::Target::Exec(target) => {
                let config = exec::Config { run: target.run.clone(), dir: None, timeout: target.timeout };
                Ok(Self::Exec(exec::Exec::open(config)?))
            }
            config::Target::Kubernetes(_) => Err(OpenError::Unsupported(target.kind())),
        }
    }

    /// Reads everything that is expected, and the anchor, fresh; `now` is the wall clock before the call.
    ///
    /// Never fails: what could not be read says so, per resource or whole.
    pub fn observe(&mut self, expect: &[Expect<'_>], now: Timestamp) -> Observed {
        match self {
            Self::Directory(kept) => kept.observe(expect, now),
            Self::Exec(exec) => exec.observe(expect),
        }
    }

    /// Reads the anchor alone, fresh.
    pub fn read_anchor(&mut self) -> AnchorSeen {
        match self {
            Self::Directory(kept) => kept.directory().read_anchor(),
            Self::Exec(exec) => exec.read_anchor(),
        }
    }

    /// Takes the right to write, without waiting, and makes good what an interrupted session left.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn lock(&mut self) -> Result<Session, LockError> {
        match self {
            Self::Directory(kept) => Ok(Session::Directory(Box::new(kept.directory().lock()?))),
            Self::Exec(exec) => Ok(Session::Exec(exec.clone())),
        }
    }

    /// Has programs notice what was just written, and tells whether it works; called again while some of it is on its way.
    pub fn settle(&mut self, wrote: &[Id]) -> Vec<Healthy> {
        match self {
            Self::Directory(kept) => kept.directory().settle(wrote),
            Self::Exec(exec) => exec.health(wrote),
        }
    }

    /// Tells whether resources work, by looking again. What a kind cannot tell is left out.
    pub fn health(&mut self, ids: &[Id]) -> Vec<Healthy> {
        match self {
            Self::Directory(kept) => kept.directory().settle_health(ids),
            Self::Exec(exec) => exec.health(ids),
        }
    }

    /// Reads what a resource holds, up to `cap` bytes, for showing what differs; never for deciding.
    pub fn read(&mut self, id: &Id, cap: u64) -> Option<Vec<u8>> {
        match self {
            Self::Directory(kept) => kept.directory().read(id, cap),
            Self::Exec(_) => None,
        }
    }

    /// Calls `on_change` when something changed: at once, then at most once every `quiet`. `None` where a kind cannot.
    pub fn watch(&self, quiet: Duration, on_change: impl Fn() + Send + 'static) -> Option<Watch> {
        match self {
            Self::Directory(kept) => {
                Some(Watch::Directory(directory::watch(kept.directory().root(), quiet, on_change)))
            }
            Self::Exec(_) => None,
        }
    }
}

impl Session {
    /// Returns what was made good at the session's start.
    pub fn recovery(&self) -> Option<&Recovery> {
        match self {
            Self::Directory(session) => Some(session.recovery()),
            Self::Exec(_) => None,
        }
    }

    /// Replaces the anchor, durably, if it still is the expected one (`GUARDS.md` 9).
    ///
    /// # Errors
    /// See [`SwapError`].
    pub fn swap(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), SwapError> {
        match self {
            Self::Directory(session) => Ok(session.swap(expected, new)?),
            Self::Exec(exec) => Ok(exec.swap(expected, new)?),
        }
    }

    /// Writes one resource, the precondition inside.
    pub fn write(&mut self, op: &WriteOp) -> Outcome {
        match self {
            Self::Directory(session) => session.write(op),
            Self::Exec(exec) => exec.write(op),
        }
    }
}

impl Watch {
    /// Returns what the watch is worth now.
    pub fn state(&self) -> WatchState {
        match self {
            Self::Directory(watch) => watch.state(),
        }
    }
}

/// Returns the digest that a file of this content has; nothing if the content is a SHA-1 collision attack.
pub fn content_digest(bytes: &[u8], executable: bool) -> Option<Digest> {
    let mut hash = blob_hasher(bytes.len() as u64);
    hash.update(bytes);
    let oid = hash.try_finalize().ok()?;
    Some(file_digest(executable, oid.as_slice()))
}

/// Starts the hash of a blob as Git names it; what follows is the content.
fn blob_hasher(size: u64) -> gix::hash::Hasher {
    let mut hash = hasher(Kind::Sha1);
    hash.update(format!("blob {size}\0").as_bytes());
    hash
}
