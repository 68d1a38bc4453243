//! Keeps what must survive: the ledger of facts and states, queues of notices, deliveries seen (`GUARDS.md` 2 and 9).
//!
//! One SQLite file, `ledger.db` in the state directory, written in WAL mode with every COMMIT synced. The journal's rows are
//! [`Fact`]s; the state they fold into is stored beside them, so that a start never replays the journal and old rows may be
//! dropped. Both change in one transaction, which first checks that nobody else wrote since (a command of another process
//! may): that check is what makes a reservation durable *before* the write it allows.
//!
//! Everything here blocks. A [`Ledger`] is a cheap handle that may be cloned into `spawn_blocking`.
//!
//! Nothing else in this process may open `ledger.db`, not even to copy it: closing any descriptor of a file drops all of a
//! process's POSIX locks on it, SQLite's included.
//!
//! [`Fact`]: crate::core::ledger::Fact

mod commit;
mod error;
mod history;
mod load;
mod lock;
mod mail;
mod open;
mod pulls;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

pub use self::error::{CommitError, StoreError};
pub use self::history::{Entry, Filter};
pub use self::load::FoldCheck;
pub use self::lock::{ControllerLock, LockError};
pub use self::mail::{Delivered, Notice, Queued, Report};
use self::open::FileId;
pub use self::open::Mode;

/// The pseudo-application that carries what concerns all of them, such as `freeze --all`.
pub const EVERY: &str = "*";

/// A handle on the ledger of a state directory; clones share one connection.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    id: Arc<str>,
    created: bool,
    inner: Mutex<Inner>,
}

/// What the lock guards.
struct Inner {
    conn: Connection,
    /// Which file the connection has open, to notice that the path leads elsewhere by now.
    file: FileId,
    /// Applications whose state in memory may be ahead of the disk: a commit failed, and so did reading back.
    stale: HashSet<String>,
    /// How many journal rows are kept per application.
    keep: u64,
}

impl Ledger {
    /// Returns what names this ledger: 32 random hexadecimal digits, made with the file.
    pub fn id(&self) -> &Arc<str> {
        &self.shared.id
    }

    /// Tells whether opening made the file: then a target that has an anchor was converged by another ledger.
    pub fn created(&self) -> bool {
        self.shared.created
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns a number that changes when another connection commits, of this or another process; cheap enough to poll.
    ///
    /// Commits through this handle and its clones do not change it.
    ///
    /// # Errors
    /// Those of reading, and [`StoreError::Replaced`] when the file is no longer there.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.with(|inner| inner.conn.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    /// Lists the applications that the ledger knows, with their sequence numbers, by name; without [`EVERY`].
    ///
    /// # Errors
    /// Those of reading.
    pub fn apps(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.with(|inner| {
            let mut apps = inner.conn.prepare_cached("SELECT name, seq FROM app WHERE name <> ?1 ORDER BY name")?;
            let rows = apps.query_map([EVERY], |row| Ok((row.get(0)?, rows::uint(row.get(1)?))))?;
            rows.collect()
        })
    }

    /// Works on the connection, after a look whether the path still leads to the file that it has open.
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.locked(|inner| work(inner).map_err(|error| StoreError::of(&self.shared.path, error)))
    }

    fn locked<T, E: From<StoreError>>(&self, work: impl FnOnce(&mut Inner) -> Result<T, E>) -> Result<T, E> {
        // A panic while the lock was held left no half transaction (dropping it rolls back) and its application stale.
        let mut inner = self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.file.is_at(&self.shared.path) {
            return Err(StoreError::Replaced { path: self.shared.path.clone() }.into());
        }
        work(&mut inner)
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("path", &self.shared.path).field("id", &self.shared.id).finish_non_exhaustive()
    }
}
