//! Reads states back: whole, or by catching up with what another process wrote.

use rusqlite::{Connection, OptionalExtension};

use super::rows::{from_json, int, read_ops, read_resources, uint};
use super::{Ledger, StoreError};
use crate::core::commit::CommitId;
use crate::core::ledger::{Fact, Touched};
use crate::core::state::State;

/// Up to this many facts are folded to catch up; beyond, reading the state is faster.
const CATCH_UP: u64 = 5_000;

/// An application's row, less its state.
pub(super) struct AppRow {
    /// What names it in other tables.
    pub(super) no: i64,
    /// How many facts it has.
    pub(super) seq: u64,
    /// The commit of resources whose rows name none.
    pub(super) base: Option<CommitId>,
}

/// Says whether the journal folds into the state that is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FoldCheck {
    /// It does.
    Same,
    /// It does not: a defect, or damage.
    Differs,
    /// The journal's beginning is no longer kept, so nothing can be said.
    Pruned,
}

impl Ledger {
    /// Loads an application's state; one that was never heard of has the default.
    ///
    /// # Errors
    /// Those of reading.
    pub fn load(&self, app: &str) -> Result<State, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction()?;
            let state = read_state(&tx, app)?;
            tx.finish()?;
            inner.stale.remove(app);
            Ok(state)
        })
    }

    /// Returns the facts after `since`, oldest first, or nothing if some of them are no longer kept.
    ///
    /// # Errors
    /// Those of reading.
    pub fn tail(&self, app: &str, since: u64) -> Result<Option<Vec<Fact>>, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction()?;
            match find_app(&tx, app)? {
                Some(row) => read_tail(&tx, &row, since),
                None => Ok(Some(Vec::new())),
            }
        })
    }

    /// Brings a state up to what is stored, by folding what is new where that can be done; tells whether it changed.
    ///
    /// # Errors
    /// Those of reading; the state is then as it was.
    pub fn refresh(&self, app: &str, state: &mut State) -> Result<bool, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction()?;
            let row = find_app(&tx, app)?;
            let stored = row.as_ref().map_or(0, |row| row.seq);
            let stale = inner.stale.contains(app);
            if stored == state.seq && !stale {
                return Ok(false);
            }
            let news = match &row {
                Some(row) if !stale && stored > state.seq && stored - state.seq <= CATCH_UP => {
                    read_tail(&tx, row, state.seq)?
                }
                _ => None,
            };
            match news {
                Some(facts) => facts.iter().for_each(|fact| state.fold(fact, &mut Touched::default())),
                None => *state = read_state(&tx, app)?,
            }
            tx.finish()?;
            inner.stale.remove(app);
            Ok(true)
        })
    }

    /// Folds the whole journal of an application and compares with the stored state.
    ///
    /// # Errors
    /// Those of reading.
    pub fn verify_fold(&self, app: &str) -> Result<FoldCheck, StoreError> {
        self.with(|inner| {
            let tx = inner.conn.transaction()?;
            let stored = read_state(&tx, app)?;
            let facts = match find_app(&tx, app)? {
                Some(row) => read_tail(&tx, &row, 0)?,
                None => Some(Vec::new()),
            };
            let Some(facts) = facts else { return Ok(FoldCheck::Pruned) };
            let mut folded = State::default();
            facts.iter().for_each(|fact| folded.fold(fact, &mut Touched::default()));
            Ok(if folded == stored { FoldCheck::Same } else { FoldCheck::Differs })
        })
    }

    /// Returns how many facts an application has, without loading anything.
    ///
    /// # Errors
    /// Those of reading.
    pub fn seq(&self, app: &str) -> Result<u64, StoreError> {
        self.with(|inner| Ok(find_app(&inner.conn, app)?.map_or(0, |row| row.seq)))
    }
}

/// Finds an application's row.
pub(super) fn find_app(conn: &Connection, app: &str) -> rusqlite::Result<Option<AppRow>> {
    conn.prepare_cached("SELECT no, seq, base FROM app WHERE name = ?1")?
        .query_row([app], |row| {
            let base = row.get_ref(2)?.as_str_or_null()?.map(CommitId::new);
            Ok(AppRow { no: row.get(0)?, seq: uint(row.get(1)?), base })
        })
        .optional()
}

/// Reads a state; the caller holds a transaction, so that all of it is of one moment.
pub(super) fn read_state(conn: &Connection, app: &str) -> rusqlite::Result<State> {
    let Some(AppRow { no, seq, base }) = find_app(conn, app)? else { return Ok(State::default()) };
    let mut select = conn.prepare_cached("SELECT json FROM app WHERE no = ?1")?;
    let json: String = select.query_row([no], |row| row.get(0))?;
    Ok(State {
        seq,
        app: from_json(&json)?,
        resources: read_resources(conn, no, base.as_ref())?,
        rollout_ops: read_ops(conn, no)?,
    })
}

fn read_tail(conn: &Connection, row: &AppRow, since: u64) -> rusqlite::Result<Option<Vec<Fact>>> {
    let mut select = conn.prepare_cached("SELECT json FROM journal WHERE app = ?1 AND seq > ?2 ORDER BY seq")?;
    let mut rows = select.query((row.no, int(since)))?;
    let mut facts = Vec::new();
    while let Some(row) = rows.next()? {
        facts.push(from_json(row.get_ref(0)?.as_str()?)?);
    }
    let complete = facts.len() as u64 == row.seq.saturating_sub(since);
    Ok(complete.then_some(facts))
}
