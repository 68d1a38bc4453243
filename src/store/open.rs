//! Opens the ledger: makes, checks and migrates the file, and never takes a damaged one for a new one.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, access};

use super::lock::ControllerLock;
use super::{Inner, Ledger, Shared, StoreError};
use crate::clock::MachineClock;

/// `HFLD`: tells our files from other programs' databases.
const APPLICATION_ID: i64 = 0x4846_4C44;

/// Schema n is reached from n - 1 by the n-th of these; they are never edited once released.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("pulls.sql"), include_str!("fields.sql")];

/// The schema that this version writes.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// How long a locked file is waited for: transactions take milliseconds, a checkpoint of a large one maybe a second.
const BUSY: Duration = Duration::from_secs(5);

/// How many journal rows an application keeps: months of ordinary days, some tens of megabytes.
pub(super) const JOURNAL_KEPT: u64 = 100_000;

/// What a handle is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Reads what is there; never makes, checks or changes the file.
    Reader,
    /// Reads and writes; makes the file where there is none, checks the whole of it, and brings its schema up to date.
    Writer,
}

/// Which file this is, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Tells whether a path leads to it.
    pub(super) fn is_at(self, path: &Path) -> bool {
        Self::of(path).is_ok_and(|there| there == self)
    }
}

impl Ledger {
    /// Opens the ledger of a state directory; a writer makes directory and file where there are none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a file that is damaged, cut short, empty, another program's, or gone while its
    /// write-ahead log is still there; [`StoreError::Newer`] for a later schema; for a reader [`StoreError::Missing`].
    pub fn open(state_dir: &Path, mode: Mode) -> Result<Self, StoreError> {
        let path = state_dir.join("ledger.db");
        let created = match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == 0 => return Err(corrupt(&path, "it is empty")),
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::metadata(beside(&path, "-wal")).is_ok_and(|metadata| metadata.len() > 0) {
                    // A new file would be fed the old one's log.
                    return Err(corrupt(&path, "it is gone, while its write-ahead log is still there"));
                }
                if mode == Mode::Reader {
                    return Err(StoreError::Missing { path });
                }
                create(state_dir, &path)?
            }
            Err(error) => return Err(StoreError::of_io(&path, error)),
        };
        let file = FileId::of(&path).map_err(|error| StoreError::of_io(&path, error))?;
        let (conn, id) = match mode {
            Mode::Reader => open_reader(&path)?,
            Mode::Writer => open_writer(&path)?,
        };
        if !file.is_at(&path) {
            return Err(StoreError::Replaced { path });
        }
        let inner = Inner { conn, file, stale: HashSet::new(), keep: JOURNAL_KEPT };
        Ok(Self { shared: Arc::new(Shared { path, id, created, inner: Mutex::new(inner) }) })
    }

    /// Moves an unusable ledger out of the way, so that an operator can begin again; returns where it is now, if there was
    /// one.
    ///
    /// # Errors
    /// Those of renaming.
    pub fn set_aside(state_dir: &Path, _lock: &ControllerLock) -> Result<Option<PathBuf>, StoreError> {
        let path = state_dir.join("ledger.db");
        let aside = state_dir.join(format!("ledger.db.aside-{}", MachineClock::wall().as_millisecond()));
        let mut moved = None;
        // The log last: while it is there and the file is not, nobody makes a new file.
        for suffix in ["", "-shm", "-wal"] {
            match fs::rename(beside(&path, suffix), beside(&aside, suffix)) {
                Ok(()) => moved = Some(aside.clone()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::of_io(&path, error)),
            }
        }
        sync_dir(state_dir).map_err(|error| StoreError::of_io(&path, error))?;
        Ok(moved)
    }
}

fn corrupt(path: &Path, detail: &str) -> StoreError {
    StoreError::Corrupt { path: path.to_path_buf(), detail: detail.to_owned() }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the file whole or not at all: an empty `ledger.db` never exists, so that one found is damage. Tells whether it was
/// us.
fn create(state_dir: &Path, path: &Path) -> Result<bool, StoreError> {
    static UNIQUE: AtomicU32 = AtomicU32::new(0);
    let io = |error| StoreError::of_io(path, error);
    // Whoever can write here can approve and thaw.
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(io)?;
    let unique = UNIQUE.fetch_add(1, Ordering::Relaxed);
    let new = state_dir.join(format!("ledger.db.new-{}-{unique}", std::process::id()));
    let _ = fs::remove_file(&new);
    let outcome = fill(&new).map_err(|error| StoreError::of(path, error)).and_then(|()| {
        crate::crash::step("ledger.create");
        let renamed = rename_noreplace(&new, path).map_err(io)?;
        sync_dir(state_dir).map_err(io)?;
        crate::crash::step("ledger.created");
        Ok(renamed)
    });
    let _ = fs::remove_file(&new);
    outcome
}

fn fill(new: &Path) -> rusqlite::Result<()> {
    let mut conn = Connection::open(new)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate(&mut conn)?;
    conn.execute("INSERT INTO meta (key, value) VALUES ('ledger_id', lower(hex(randomblob(16))))", [])?;
    conn.execute("INSERT INTO meta (key, value) VALUES ('created', ?1)", [MachineClock::wall().to_string()])?;
    conn.close().map_err(|(_, error)| error)
}

fn rename_noreplace(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Not every file system knows the flag; a link does the same.
        Err(Errno::INVAL | Errno::NOSYS) => match fs::hard_link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        },
        Err(error) => Err(error.into()),
    }
}

fn open_writer(path: &Path) -> Result<(Connection, Arc<str>), StoreError> {
    let sorted = |error| StoreError::of(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(sorted)?;
    // The log is a file beside it, so both must be writable; SQLite's own word for that is "unable to open".
    let may_add = path.parent().is_none_or(|dir| access(dir, Access::WRITE_OK).is_ok());
    if !may_add || conn.is_readonly(rusqlite::MAIN_DB).map_err(sorted)? {
        return Err(StoreError::ReadOnly { path: path.to_path_buf() });
    }
    prepare(&conn).map_err(sorted)?;
    let found = check_header(&conn, path)?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(sorted)?;
    if mode != "wal" {
        let why = format!("its file system allows no write-ahead log (journal mode {mode})");
        return Err(StoreError::Io { path: path.to_path_buf(), source: why.into() });
    }
    conn.pragma_update(None, "synchronous", "FULL").map_err(sorted)?;
    // One large rollout must not leave a large log for ever.
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024).map_err(sorted)?;
    let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sorted)?;
    if verdict != "ok" {
        return Err(corrupt(path, &verdict));
    }
    if found < SCHEMA {
        migrate(&mut conn).map_err(sorted)?;
    }
    let id = ledger_id(&conn).map_err(sorted)?;
    Ok((conn, id))
}

fn open_reader(path: &Path) -> Result<(Connection, Arc<str>), StoreError> {
    let sorted = |error| StoreError::of(path, error);
    // Read-write where that is allowed, since a reader of a write-ahead log takes part in its locking; SQLite falls back to
    // read-only by itself.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(sorted)?;
    prepare(&conn).map_err(sorted)?;
    let cannot_share = matches!(
        conn.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0)),
        Err(rusqlite::Error::SqliteFailure(failure, _)) if matches!(failure.code, rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
    );
    if cannot_share && !beside(path, "-wal").exists() {
        // A read-only directory without a log: nobody writes, and nobody else's locks need be seen.
        let uri = format!("file:{}?immutable=1", escaped(path));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        conn = Connection::open_with_flags(uri, flags).map_err(sorted)?;
        prepare(&conn).map_err(sorted)?;
    }
    conn.pragma_update(None, "query_only", true).map_err(sorted)?;
    let found = check_header(&conn, path)?;
    if found < SCHEMA {
        return Err(StoreError::Older { path: path.to_path_buf(), found, known: SCHEMA });
    }
    let id = ledger_id(&conn).map_err(sorted)?;
    Ok((conn, id))
}

/// Escapes a path for a URI.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut uri, byte| {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02X}").expect("a string takes everything");
        }
        uri
    })
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)
}

/// Tells the file's schema, if it is a ledger's and not newer than ours.
fn check_header(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let pragma = |name: &str| -> Result<i64, StoreError> {
        conn.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| StoreError::of(path, error))
    };
    if pragma("application_id")? != APPLICATION_ID {
        return Err(corrupt(path, "it is a database of another program"));
    }
    match pragma("user_version")? {
        found if found > SCHEMA => Err(StoreError::Newer { path: path.to_path_buf(), found, known: SCHEMA }),
        found if found < 1 => Err(corrupt(path, "it has no schema")),
        found => Ok(found),
    }
}

fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again under the lock: another process may have been faster.
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", found.max(SCHEMA))?;
    super::commit::durably(tx)
}

fn ledger_id(conn: &Connection) -> rusqlite::Result<Arc<str>> {
    conn.query_row("SELECT value FROM meta WHERE key = 'ledger_id'", [], |row| Ok(row.get_ref(0)?.as_str()?.into()))
}
