//! Files below a directory as a target (`DESIGN.md`, "Targets"; `GUARDS.md` 5.7, 5.8, 9).
//!
//! Each file or symbolic link below the root is a resource; its identity is its path. What is neither expected nor in an
//! exclusive directory is invisible. Nothing outside the root is ever reached through a link (`beneath`), and nothing
//! that stands in the way is removed with what is in it.
//!
//! - `observe`: reading; digests are remembered in a [`StatCache`], which [`Kept`] keeps between runs.
//! - `anchor`: the claim on the directory and the lock around writing; a [`Session`] is what holds the lock.
//! - `write`: writing with preconditions, in batches; `recover` makes good what a crash left of one.
//! - `reload`: the commands that make programs notice, and those that say whether they work.
//! - `examine`: what can be told without writing.
//! - `watch`: wakes when something changed; carries no data.

mod anchor;
mod attributes;
mod beneath;
mod cache;
mod examine;
mod hook;
mod job;
mod journal;
mod kept;
mod list;
mod look;
mod observe;
mod path;
mod read;
mod recover;
mod reload;
mod rename;
mod stage;
mod stat;
#[cfg(test)]
mod tests;
mod watch;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

pub use anchor::{LockError, Session, SwapError};
pub use cache::StatCache;
pub use examine::{Examination, LockSeen};
pub use kept::Kept;
pub use recover::Recovery;
pub use reload::{Reload, ReloadError};
pub use watch::{Watch, watch};

/// What is configured of a directory target.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory. May be reached through links and may be missing at times; nothing creates it.
    pub root: PathBuf,
    /// Whether every file below it is to be reported, not only those that are expected.
    pub exclusive: bool,
    /// Commands to run when something was written.
    pub reload: Vec<Reload>,
}

/// A directory as a target; cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    config: Arc<Config>,
}

/// Says why a directory target cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The root's path is empty or cannot be made absolute.
    #[error("take {path:?} for a root: {source}")]
    Root {
        /// The configured path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A reload entry makes no sense.
    #[error("take reload entry {index}: {source}")]
    Reload {
        /// Which entry, from zero.
        index: usize,
        /// Why not.
        source: ReloadError,
    },
}

impl Directory {
    /// Prepares a directory target. The root is not touched: each observation and session opens it anew, so that it may
    /// be mounted later, and its loss is seen.
    ///
    /// # Errors
    /// If the configuration makes no sense by itself.
    pub fn open(mut config: Config) -> Result<Self, OpenError> {
        config.root = std::path::absolute(&config.root)
            .map_err(|source| OpenError::Root { path: config.root.clone(), source })?;
        for (index, reload) in config.reload.iter().enumerate() {
            reload.check_config().map_err(|source| OpenError::Reload { index, source })?;
        }
        Ok(Self { config: Arc::new(config) })
    }

    /// Returns the root's absolute path.
    pub fn root(&self) -> &std::path::Path {
        &self.config.root
    }
}
