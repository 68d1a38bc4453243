//! What is exchanged with others: the queue of notices, deliveries seen, and each application's latest report.
//!
//! None of it is part of a state, and no decision depends on it.

use jiff::Timestamp;
use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Connection, OptionalExtension};

use super::commit::durably;
use super::history::timestamp;
use super::rows::int;
use super::{Ledger, StoreError};

/// How many deliveries are remembered: hosting services re-deliver within days.
const DELIVERIES_KEPT: i64 = 50_000;

/// How many delivered notices are remembered, to update them in place.
const DELIVERED_KEPT: i64 = 20_000;

/// Something that people must be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// Which way it goes, and what it is; the caller's word.
    pub kind: String,
    /// What it is about: at most one notice of a key waits, and a newer one takes its place (`GUARDS.md` 5.9).
    pub key: String,
    /// What it says.
    pub json: String,
}

/// A notice that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// Names it in the queue.
    pub id: i64,
    /// Counts its texts, so that one that was replaced while being delivered is not taken for delivered.
    pub revision: i64,
    /// The notice.
    pub notice: Notice,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A notice that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// When.
    pub at: Timestamp,
    /// What it said.
    pub json: String,
    /// Where it is there (a comment's or issue's id), if it can be updated.
    pub reference: Option<String>,
}

/// The latest report about an application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// When it was made.
    pub at: Timestamp,
    /// The report.
    pub json: String,
}

impl Ledger {
    /// Keeps an application's latest report; the one before is gone.
    ///
    /// # Errors
    /// Those of writing.
    pub fn put_report(&self, app: &str, at: Timestamp, json: &str) -> Result<(), StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            tx.prepare_cached("INSERT OR REPLACE INTO report (app, at, json) VALUES (?1, ?2, ?3)")?.execute((
                app,
                at.as_millisecond(),
                json,
            ))?;
            durably(tx)
        })
    }

    /// Returns an application's latest report.
    ///
    /// # Errors
    /// Those of reading.
    pub fn get_report(&self, app: &str) -> Result<Option<Report>, StoreError> {
        self.with(|inner| {
            inner
                .conn
                .prepare_cached("SELECT at, json FROM report WHERE app = ?1")?
                .query_row([app], |row| Ok(Report { at: timestamp(row.get(0)?)?, json: row.get(1)? }))
                .optional()
        })
    }

    /// Returns when an application's latest report was made, without reading it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn reported_at(&self, app: &str) -> Result<Option<Timestamp>, StoreError> {
        self.with(|inner| {
            let mut select = inner.conn.prepare_cached("SELECT at FROM report WHERE app = ?1")?;
            select.query_row([app], |row| timestamp(row.get(0)?)).optional()
        })
    }

    /// Forgets the reports under keys that begin like this, if they are older.
    ///
    /// # Errors
    /// Those of writing.
    pub fn forget_reports(&self, prefix: &str, older: Timestamp) -> Result<(), StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            let gone = tx
                .prepare_cached("DELETE FROM report WHERE app >= ?1 AND app < ?1 || char(1114111) AND at < ?2")?
                .execute((prefix, older.as_millisecond()))?;
            if gone > 0 { durably(tx) } else { Ok(()) }
        })
    }

    /// Remembers a delivery, and tells whether it was seen before; of two that race one is told no.
    ///
    /// # Errors
    /// Those of writing.
    pub fn delivery_seen(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            let new = tx
                .prepare_cached("INSERT OR IGNORE INTO delivery (id, at) VALUES (?1, ?2)")?
                .execute((id, at.as_millisecond()))?;
            if new == 0 {
                return Ok(true);
            }
            let last = tx.last_insert_rowid() - DELIVERIES_KEPT;
            tx.prepare_cached("DELETE FROM delivery WHERE no <= ?1")?.execute([last])?;
            durably(tx)?;
            Ok(false)
        })
    }

    /// Queues a notice; tells whether that changed anything (it does not when the same waits already, or was the last to
    /// arrive under its key).
    ///
    /// # Errors
    /// Those of writing.
    pub fn outbox_push(&self, notice: &Notice, now: Timestamp) -> Result<bool, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            let queued = push_notice(&tx, notice, now.as_millisecond())?;
            if queued {
                durably(tx)?;
            }
            Ok(queued)
        })
    }

    /// Returns up to `limit` notices that are due, those that waited longest first.
    ///
    /// # Errors
    /// Those of reading.
    pub fn outbox_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Queued>, StoreError> {
        self.with(|inner| {
            let mut select = inner.conn.prepare_cached(
                "SELECT id, revision, kind, key, json, attempts, last_error FROM outbox WHERE next <= ?1 \
                 ORDER BY next, id LIMIT ?2",
            )?;
            let rows = select.query_map((now.as_millisecond(), int(limit as u64)), |row| {
                Ok(Queued {
                    id: row.get(0)?,
                    revision: row.get(1)?,
                    notice: Notice { kind: row.get(2)?, key: row.get(3)?, json: row.get(4)? },
                    attempts: row.get(5)?,
                    last_error: row.get(6)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Returns when the next notice is due, if one waits.
    ///
    /// # Errors
    /// Those of reading.
    pub fn outbox_next(&self) -> Result<Option<Timestamp>, StoreError> {
        self.with(|inner| {
            let next: Option<i64> =
                inner.conn.prepare_cached("SELECT min(next) FROM outbox")?.query_row([], |row| row.get(0))?;
            next.map(timestamp).transpose()
        })
    }

    /// Records that a notice arrived, and where; if it was replaced meanwhile, the newer text goes on waiting.
    ///
    /// # Errors
    /// Those of writing.
    pub fn outbox_done(&self, sent: &Queued, reference: Option<&str>, now: Timestamp) -> Result<(), StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            tx.prepare_cached("DELETE FROM outbox WHERE id = ?1 AND revision = ?2")?
                .execute((sent.id, sent.revision))?;
            tx.prepare_cached("UPDATE outbox SET attempts = 0, last_error = NULL, next = ?2 WHERE id = ?1")?
                .execute((sent.id, now.as_millisecond()))?;
            let Notice { kind: _, key, json } = &sent.notice;
            tx.prepare_cached("INSERT OR REPLACE INTO delivered (key, at, json, ref) VALUES (?1, ?2, ?3, ?4)")?
                .execute((key, now.as_millisecond(), json, reference))?;
            tx.prepare_cached(
                "DELETE FROM delivered WHERE key IN (SELECT key FROM delivered ORDER BY at DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([DELIVERED_KEPT])?;
            durably(tx)
        })
    }

    /// Records that a notice did not arrive, and when it is tried again.
    ///
    /// # Errors
    /// Those of writing.
    pub fn outbox_fail(&self, tried: &Queued, next: Timestamp, error: &str) -> Result<(), StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            tx.prepare_cached("UPDATE outbox SET attempts = attempts + 1, next = ?2, last_error = ?3 WHERE id = ?1")?
                .execute((tried.id, next.as_millisecond(), error))?;
            durably(tx)
        })
    }

    /// Returns what arrived last under every key that begins like this.
    ///
    /// # Errors
    /// Those of reading.
    pub fn delivered_under(&self, prefix: &str) -> Result<Vec<Delivered>, StoreError> {
        self.with(|inner| {
            // The keys that begin with a text are those from it up to the text with a character after all others.
            let mut select = inner
                .conn
                .prepare_cached("SELECT at, json, ref FROM delivered WHERE key >= ?1 AND key < ?1 || char(1114111)")?;
            let rows = select.query_map([prefix], |row| {
                Ok(Delivered { at: timestamp(row.get(0)?)?, json: row.get(1)?, reference: row.get(2)? })
            })?;
            rows.collect()
        })
    }

    /// Returns the newest text under a key, whether it waits or has arrived.
    ///
    /// # Errors
    /// Those of reading.
    pub fn last_notice(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.with(|inner| newest(&inner.conn, key))
    }

    /// Returns what arrived last under a key.
    ///
    /// # Errors
    /// Those of reading.
    pub fn delivered(&self, key: &str) -> Result<Option<Delivered>, StoreError> {
        self.with(|inner| {
            inner
                .conn
                .prepare_cached("SELECT at, json, ref FROM delivered WHERE key = ?1")?
                .query_row([key], |row| {
                    Ok(Delivered { at: timestamp(row.get(0)?)?, json: row.get(1)?, reference: row.get(2)? })
                })
                .optional()
        })
    }
}

/// Queues a notice within a transaction; tells whether that changed anything.
pub(super) fn push_notice(conn: &Connection, notice: &Notice, now: i64) -> rusqlite::Result<bool> {
    let Notice { kind, key, json } = notice;
    let last = newest(conn, key)?;
    if last.as_deref() == Some(json) {
        return Ok(false);
    }
    // A replaced text keeps its place and its back-off: it is the receiver that is down.
    conn.prepare_cached(
        "INSERT INTO outbox (revision, kind, key, json, attempts, next) VALUES (1, ?1, ?2, ?3, 0, ?4) \
         ON CONFLICT (key) DO UPDATE SET revision = revision + 1, kind = excluded.kind, json = excluded.json",
    )?
    .execute((kind, key, json, now))?;
    Ok(true)
}

fn newest(conn: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let read = |table: &str| conn.prepare_cached(table)?.query_row([key], |row| row.get::<_, String>(0)).optional();
    match read("SELECT json FROM outbox WHERE key = ?1")? {
        Some(waits) => Ok(Some(waits)),
        None => read("SELECT json FROM delivered WHERE key = ?1"),
    }
}
