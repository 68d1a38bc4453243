//! The journal for people: what happened, newest first.

use jiff::Timestamp;
use rusqlite::named_params;

use super::load::find_app;
use super::rows::{damaged, int, to_json, uint};
use super::{Ledger, StoreError};
use crate::core::ledger::Fact;
use crate::core::resource::Id;

/// What of the journal is wanted; the default is everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only these kinds of facts (`latched`, `wrote`, …); none means all.
    pub kinds: Vec<String>,
    /// Only facts about this resource.
    pub resource: Option<Id>,
    /// Not before this time of the wall clock.
    pub since: Option<Timestamp>,
    /// Before this time of the wall clock.
    pub until: Option<Timestamp>,
    /// Only facts before this sequence number, to page on.
    pub before: Option<u64>,
}

/// A row of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its sequence number.
    pub seq: u64,
    /// When it was written, by the wall clock; milliseconds are kept.
    pub at: Timestamp,
    /// Its kind.
    pub kind: String,
    /// The fact as JSON.
    pub json: String,
}

impl Entry {
    /// Reads the fact; a row of an older version may no longer be one.
    ///
    /// # Errors
    /// What the JSON lacks.
    pub fn fact(&self) -> Result<Fact, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

impl Ledger {
    /// Returns up to `limit` rows of an application's journal, newest first.
    ///
    /// # Errors
    /// Those of reading.
    pub fn history(&self, app: &str, filter: &Filter, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction()?;
            let Some(row) = find_app(&tx, app)? else { return Ok(Vec::new()) };
            // The kinds as one JSON parameter: a prepared statement has a fixed number of them.
            let kinds = to_json(&filter.kinds)?;
            let mut select = tx.prepare_cached(
                "SELECT seq, at, kind, json FROM journal WHERE app = :app AND seq < :before AND at >= :since AND at < :until \
                 AND (:all_kinds OR kind IN (SELECT value FROM json_each(:kinds))) \
                 AND (:resource IS NULL OR json_extract(json, '$.id') = :resource) ORDER BY seq DESC LIMIT :limit",
            )?;
            let mut rows = select.query(named_params! {
                ":app": row.no,
                ":before": filter.before.map_or(i64::MAX, int),
                ":since": filter.since.map_or(i64::MIN, Timestamp::as_millisecond),
                ":until": filter.until.map_or(i64::MAX, Timestamp::as_millisecond),
                ":all_kinds": filter.kinds.is_empty(),
                ":kinds": kinds,
                ":resource": filter.resource.as_ref().map(Id::as_str),
                ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
            })?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next()? {
                let at = timestamp(row.get(1)?)?;
                entries.push(Entry { seq: uint(row.get(0)?), at, kind: row.get(2)?, json: row.get(3)? });
            }
            Ok(entries)
        })
    }
}

/// Reads a stored time.
pub(super) fn timestamp(milliseconds: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(milliseconds).map_err(damaged)
}
