//! The pull requests that are followed, from when they are first seen until nothing more is to be said of them.
//!
//! None of it is part of a state, and no decision depends on it.

use rusqlite::TransactionBehavior::Immediate;

use super::commit::durably;
use super::{Ledger, StoreError};

impl Ledger {
    /// Returns the pull requests of a repository that are followed, by number.
    ///
    /// # Errors
    /// Those of reading.
    pub fn pulls(&self, repo: &str) -> Result<Vec<(u64, String)>, StoreError> {
        self.with(|inner| {
            let mut select =
                inner.conn.prepare_cached("SELECT number, json FROM pull WHERE repo = ?1 ORDER BY number")?;
            let rows = select.query_map([repo], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Keeps what is known of a pull request; what was kept before is gone.
    ///
    /// # Errors
    /// Those of writing.
    pub fn put_pull(&self, repo: &str, number: u64, json: &str) -> Result<(), StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            tx.prepare_cached("INSERT OR REPLACE INTO pull (repo, number, json) VALUES (?1, ?2, ?3)")?.execute((
                repo,
                signed(number),
                json,
            ))?;
            durably(tx)
        })
    }

    /// Follows a pull request no longer.
    ///
    /// # Errors
    /// Those of writing.
    pub fn drop_pull(&self, repo: &str, number: u64) -> Result<(), StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction_with_behavior(Immediate)?;
            tx.prepare_cached("DELETE FROM pull WHERE repo = ?1 AND number = ?2")?.execute((repo, signed(number)))?;
            durably(tx)
        })
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
