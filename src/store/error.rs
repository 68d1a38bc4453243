//! What can go wrong with the ledger, told apart by what is to be done about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the ledger could not be opened, read or written. Nothing that was acknowledged is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no ledger, and this handle may not make one.
    #[error("no ledger at {}: the controller has not run with this state directory yet", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is damaged, cut short, or no ledger. Latch STATE; it is never made anew by itself.
    #[error(
        "the ledger {} is not usable ({detail}); restore it, or set it aside and begin again with `holdfast reanchor`",
        .path.display()
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file was written by a newer version.
    #[error("the ledger {} has schema {found}, newer than {known}: run the version that wrote it, or a later one", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The file was written by an older version, and this handle only reads.
    #[error("the ledger {} has schema {found}, older than {known}: start the controller once to bring it up to date", .path.display())]
    Older {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The schema known here.
        known: i64,
    },
    /// The file was deleted or exchanged while it was open. Latch STATE.
    #[error("the ledger {} was deleted or replaced while in use; restart the controller", .path.display())]
    Replaced {
        /// Which file.
        path: PathBuf,
    },
    /// The file, its directory or its file system does not allow writing, or the handle only reads.
    #[error("the ledger {} cannot be written: read-only", .path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the ledger {} cannot be written: the disk is full; free some space, nothing was lost", .path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// Another process kept it locked for longer than is waited.
    #[error("the ledger {} is locked by another process; try again", .path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// The system refused or failed.
    #[error("the ledger {} cannot be accessed", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value cannot be written as JSON, or a statement is wrong: a defect of this program.
    #[error("the ledger {} cannot take this", .path.display())]
    Defect {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Returns the variant's name in lower case, as a metric's label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Corrupt { .. } => "corrupt",
            Self::Newer { .. } => "newer",
            Self::Older { .. } => "older",
            Self::Replaced { .. } => "replaced",
            Self::ReadOnly { .. } => "read_only",
            Self::Full { .. } => "full",
            Self::Busy { .. } => "busy",
            Self::Io { .. } => "io",
            Self::Defect { .. } => "defect",
        }
    }

    /// Sorts what SQLite said about the file at `path`.
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match &error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    Self::Corrupt { path, detail: error.to_string() }
                }
                ErrorCode::DiskFull => Self::Full { path },
                // The only file that is grown before anything is written to it; nothing but space can be missing.
                ErrorCode::SystemIoFailure if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
                    Self::Full { path }
                }
                ErrorCode::ReadOnly => Self::ReadOnly { path },
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { path },
                ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::PermissionDenied => {
                    Self::Io { path, source: Box::new(error) }
                }
                _ => Self::Defect { path, source: error },
            },
            // The file holds what this program never writes.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::QueryReturnedNoRows
            | rusqlite::Error::Utf8Error(..) => Self::Corrupt { path, detail: error.to_string() },
            _ => Self::Defect { path, source: error },
        }
    }

    /// Sorts what the system said about the file at `path`.
    pub(super) fn of_io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            _ => Self::Io { path, source: Box::new(error) },
        }
    }
}

/// Why facts were not committed. Nothing was written, and the state given is that of the disk again unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another process wrote first: refresh, observe and judge again.
    #[error("the ledger of {app} moved on: expected {expected} facts, found {found}")]
    Moved {
        /// Whose facts: the application's, or those of the guard.
        app: String,
        /// The sequence number that was expected.
        expected: u64,
        /// The one that is stored.
        found: u64,
    },
    /// An earlier commit failed and its state could not be read back: load (or refresh) it before anything else.
    #[error("the state of {app} in memory may be ahead of the ledger: load it again")]
    Stale {
        /// Which application.
        app: String,
    },
    /// The ledger failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Returns the variant's name in lower case, as a metric's label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Moved { .. } => "moved",
            Self::Stale { .. } => "stale",
            Self::Store(error) => error.label(),
        }
    }
}
