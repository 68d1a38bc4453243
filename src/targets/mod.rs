//! Carries out: reads what a target holds and writes what was let through. One kind of target per folder.
//!
//! Nothing here decides whether a write may happen; each kind makes its precondition real and says what came of it.
//! [`Target`] is what all kinds have in common, and the only thing that the controller knows of them:
//!
//! | | directory | kubernetes | exec |
//! |---|---|---|---|
//! | [`Target::observe`] | `statx`, digests kept in a cache | a labelled list per kind | the program's `observe` |
//! | [`Target::rehearse`] | nothing | a dry-run by the server | nothing |
//! | [`Target::lock`] | `flock` on the root; makes good what a crash left | nothing | nothing: the swap itself excludes others |
//! | [`Session::swap`] | a rename under the lock | an update of the parent at its version | the program's `swap` |
//! | [`Session::write`] | renames with a look at what came out | an apply at uid and version | the program's `write` and `delete` |
//! | [`Target::settle`] | `reload`, then `check` | what the objects say of themselves | the health of an `observe` |
//! | [`Target::read`] | the file | nothing: [`Target::rehearsed`] | nothing: what differs is not shown |
//! | [`Target::watcher`] | inotify | a watch of metadata per kind | nothing: the interval alone |
//!
//! Everything blocks, and a kind that works asynchronously inside owns its runtime. What a kind remembers between calls
//! (a cache, a list of definitions) is its own, hence `&mut`; nothing that a decision depends on is.

pub mod directory;
pub mod exec;
pub mod kubernetes;
mod wake;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gix::hash::{Kind, hasher};
use jiff::Timestamp;

use crate::config;
use crate::core::effect::Rules;
use crate::core::op::Op;
use crate::core::rehearse::Rehearsals;
use crate::core::resource::{Anchor, AnchorSeen, Digest, Health, Id, Observed};
use crate::core::spelling::file_digest;
use crate::core::write::{Outcome, WriteOp};

pub use crate::core::expect::Expect;
pub use directory::Recovery;
pub use wake::WatchState;

/// One operation that is only tried.
#[derive(Clone, Debug)]
pub struct Tried<'a> {
    /// The operation.
    pub op: &'a Op,
    /// What its commit wants; nothing of a removal.
    pub content: Option<Vec<u8>>,
}

/// What is known of one resource's health, and why it does not work, if so.
pub type Healthy = (Id, Health, Option<String>);

/// A target of any kind.
#[derive(Debug)]
pub enum Target {
    /// Files below a directory.
    Directory(directory::Kept),
    /// A cluster.
    Kubernetes(kubernetes::Kubernetes),
    /// A program of the user's.
    Exec(exec::Exec),
}

/// The right to write to a target, until dropped.
#[derive(Debug)]
pub enum Session {
    /// A locked directory.
    Directory(Box<directory::Session>),
    /// A cluster.
    Kubernetes(kubernetes::Kubernetes),
    /// A program of the user's.
    Exec(exec::Exec),
}

/// A watch over a target, until dropped.
#[derive(Debug)]
pub enum Watch {
    /// Over a directory.
    Directory(directory::Watch),
    /// Over a cluster.
    Kubernetes(kubernetes::Watch),
}

/// Makes watches over a target, apart from whoever reads and writes it.
#[derive(Clone, Debug)]
pub enum Watcher {
    /// Over the directory with this root.
    Directory(PathBuf),
    /// Over a cluster.
    Kubernetes(kubernetes::Watcher),
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
    /// Of a cluster.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::SwapError),
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
    /// `application` names who converges it; `cache` is a file for what a kind may keep between runs: losing it costs time,
    /// never correctness.
    ///
    /// # Errors
    /// If the configuration makes no sense by itself.
    pub fn open(target: &config::Target, application: &str, cache: &Path) -> Result<Self, OpenError> {
        match target {
            config::Target::Directory(target) => Ok(Self::Directory(directory::Kept::open(target, cache)?)),
            config::Target::Exec(target) => {
                let config = exec::Config { run: target.run.clone(), dir: None, timeout: target.timeout };
                Ok(Self::Exec(exec::Exec::open(config)?))
            }
            config::Target::Kubernetes(target) => {
                Ok(Self::Kubernetes(kubernetes::Kubernetes::open(target, application)))
            }
        }
    }

    /// Reads everything that is expected, and the anchor, fresh; `now` is the wall clock before the call.
    ///
    /// Never fails: what could not be read says so, per resource or whole.
    pub fn observe(&mut self, expect: &[Expect<'_>], now: Timestamp) -> Observed {
        match self {
            Self::Directory(kept) => kept.observe(expect, now),
            Self::Kubernetes(cluster) => cluster.observe(expect),
            Self::Exec(exec) => exec.observe(expect),
        }
    }

    /// Reads the anchor alone, fresh.
    pub fn read_anchor(&mut self) -> AnchorSeen {
        match self {
            Self::Directory(kept) => kept.directory().read_anchor(),
            Self::Kubernetes(cluster) => cluster.read_anchor(),
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
            Self::Kubernetes(cluster) => Ok(Session::Kubernetes(cluster.clone())),
            Self::Exec(exec) => Ok(Session::Exec(exec.clone())),
        }
    }

    /// Has programs notice what was just written, and tells whether it works; called again while some of it is on its way.
    pub fn settle(&mut self, wrote: &[Id]) -> Vec<Healthy> {
        match self {
            Self::Directory(kept) => kept.directory().settle(wrote),
            Self::Kubernetes(cluster) => cluster.health(wrote),
            Self::Exec(exec) => exec.health(wrote),
        }
    }

    /// Tells whether resources work, by looking again. What a kind cannot tell is left out.
    pub fn health(&mut self, ids: &[Id]) -> Vec<Healthy> {
        match self {
            Self::Directory(kept) => kept.directory().settle_health(ids),
            Self::Kubernetes(cluster) => cluster.health(ids),
            Self::Exec(exec) => exec.health(ids),
        }
    }

    /// Reads what a resource holds, up to `cap` bytes, for showing what differs; never for deciding.
    pub fn read(&mut self, id: &Id, cap: u64) -> Option<Vec<u8>> {
        match self {
            Self::Directory(kept) => kept.directory().read(id, cap),
            Self::Kubernetes(_) | Self::Exec(_) => None,
        }
    }

    /// Says which ledger converges it, before it is read: what other applications of that ledger let go may be taken over.
    pub fn belong_to(&self, ledger: &Arc<str>) {
        if let Self::Kubernetes(cluster) = self {
            cluster.belong_to(ledger);
        }
    }

    /// Tells whether the kind can rehearse at all.
    pub const fn rehearses(&self) -> bool {
        matches!(self, Self::Kubernetes(_))
    }

    /// Asks what operations would do, without doing them. A kind that cannot rehearse says nothing.
    pub fn rehearse(&mut self, tried: &[Tried<'_>]) -> Rehearsals {
        match self {
            Self::Kubernetes(cluster) => cluster.rehearse(tried),
            Self::Directory(_) | Self::Exec(_) => Rehearsals::new(),
        }
    }

    /// Returns what an operation that was just rehearsed would change, before and after as JSON, for showing it.
    pub fn rehearsed(&self, op: &Op) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Self::Kubernetes(cluster) => cluster.rehearsed(op),
            Self::Directory(_) | Self::Exec(_) => None,
        }
    }

    /// Returns how many requests of each kind were sent since this was last asked; `None` where a kind does not count them.
    pub fn take_requests(&self) -> Option<Vec<(&'static str, u64)>> {
        match self {
            Self::Kubernetes(cluster) => Some(cluster.take_requests()),
            Self::Directory(_) | Self::Exec(_) => None,
        }
    }

    /// Returns what makes watches; `None` where a kind cannot tell: then only the interval does.
    pub fn watcher(&self) -> Option<Watcher> {
        match self {
            Self::Directory(kept) => Some(Watcher::Directory(kept.directory().root().to_owned())),
            Self::Kubernetes(cluster) => Some(Watcher::Kubernetes(cluster.watcher())),
            Self::Exec(_) => None,
        }
    }
}

impl Watcher {
    /// Calls `on_change` when something changed: at once, then at most once every `quiet`. A watch whose state is no longer
    /// [`WatchState::Watching`] is to be made anew, unless it [mends itself](Self::mends_itself).
    pub fn watch(&self, quiet: Duration, on_change: impl Fn() + Send + 'static) -> Watch {
        match self {
            Self::Directory(root) => Watch::Directory(directory::watch(root, quiet, on_change)),
            Self::Kubernetes(cluster) => Watch::Kubernetes(cluster.watch(quiet, on_change)),
        }
    }

    /// Tells whether there is anything to watch now.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Directory(root) => root.is_dir(),
            Self::Kubernetes(_) => true,
        }
    }

    /// Tells whether a watch that does not work begins again by itself.
    pub const fn mends_itself(&self) -> bool {
        matches!(self, Self::Kubernetes(_))
    }
}

impl std::fmt::Display for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(root) => root.display().fmt(f),
            Self::Kubernetes(_) => f.write_str("the cluster"),
        }
    }
}

impl Session {
    /// Returns what was made good at the session's start.
    pub fn recovery(&self) -> Option<&Recovery> {
        match self {
            Self::Directory(session) => Some(session.recovery()),
            Self::Kubernetes(_) | Self::Exec(_) => None,
        }
    }

    /// Replaces the anchor, durably, if it still is the expected one (`GUARDS.md` 9).
    ///
    /// # Errors
    /// See [`SwapError`].
    pub fn swap(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), SwapError> {
        match self {
            Self::Directory(session) => Ok(session.swap(expected, new)?),
            Self::Kubernetes(cluster) => Ok(cluster.swap(expected, new)?),
            Self::Exec(exec) => Ok(exec.swap(expected, new)?),
        }
    }

    /// Writes one resource, the precondition inside.
    pub fn write(&mut self, op: &WriteOp) -> Outcome {
        match self {
            Self::Directory(session) => session.write(op),
            Self::Kubernetes(cluster) => cluster.write(op),
            Self::Exec(exec) => exec.write(op),
        }
    }
}

impl Watch {
    /// Returns what the watch is worth now.
    pub fn state(&self) -> WatchState {
        match self {
            Self::Directory(watch) => watch.state(),
            Self::Kubernetes(watch) => watch.state(),
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
