//! Writes facts and what they change, in one transaction or not at all.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::load::{AppRow, find_app, read_state};
use super::mail::{Notice, push_notice};
use super::rows::{ResourceWriter, int, to_json, write_op};
use super::{CommitError, Inner, Ledger, StoreError};
use crate::clock::MachineClock;
use crate::core::ledger::{Fact, Touched};
use crate::core::state::State;

impl Ledger {
    /// Makes facts durable and folds them into `state`, if nobody else wrote since; returns the new sequence number.
    ///
    /// `state` must be the application's at `expect`. With `guard`, another application (usually [`super::EVERY`]) must be at
    /// that number too, so that a freeze of all that landed since is not overlooked (`GUARDS.md` 4).
    ///
    /// # Errors
    /// [`CommitError::Moved`] when the ledger is elsewhere; `state` is then untouched. After any other error `state` is what
    /// the disk holds, or, where that could not even be read, everything but loading says [`CommitError::Stale`].
    pub fn commit(
        &self,
        app: &str,
        expect: u64,
        facts: &[Fact],
        state: &mut State,
        guard: Option<(&str, u64)>,
    ) -> Result<u64, CommitError> {
        self.commit_with_notices(app, expect, facts, state, guard, &[])
    }

    /// Does what [`Ledger::commit`] does and queues notices in the same transaction: what happened and what people are told
    /// of it are durable together.
    ///
    /// # Errors
    /// Those of [`Ledger::commit`].
    pub fn commit_with_notices(
        &self,
        app: &str,
        expect: u64,
        facts: &[Fact],
        state: &mut State,
        guard: Option<(&str, u64)>,
        notices: &[Notice],
    ) -> Result<u64, CommitError> {
        self.locked(|inner| {
            let sorted = |error| CommitError::Store(StoreError::of(&self.shared.path, error));
            if inner.stale.contains(app) {
                return Err(CommitError::Stale { app: app.to_owned() });
            }
            let Inner { conn, stale, keep, .. } = &mut *inner;
            // Immediate: the checks and the writes see the same ledger.
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sorted)?;
            let row = find_app(&tx, app).map_err(sorted)?;
            let found = row.as_ref().map_or(0, |row| row.seq);
            if found != expect || state.seq != expect {
                return Err(CommitError::Moved { app: app.to_owned(), expected: expect, found });
            }
            if let Some((other, expected)) = guard {
                let found = find_app(&tx, other).map_err(sorted)?.map_or(0, |row| row.seq);
                if found != expected {
                    return Err(CommitError::Moved { app: other.to_owned(), expected, found });
                }
            }
            if facts.is_empty() && notices.is_empty() {
                return Ok(found);
            }
            // From here on memory is ahead of the disk, until the COMMIT or the reading back, even through a panic.
            stale.insert(app.to_owned());
            let write = Write { app, row, at: MachineClock::wall().as_millisecond(), keep: *keep };
            match write.all(tx, facts, state, notices) {
                Ok(()) => {
                    stale.remove(app);
                    Ok(state.seq)
                }
                Err(error) => {
                    if let Ok(disk) = read_back(conn, app) {
                        *state = disk;
                        stale.remove(app);
                    }
                    Err(sorted(error))
                }
            }
        })
    }
}

fn read_back(conn: &mut Connection, app: &str) -> rusqlite::Result<State> {
    let tx = conn.transaction()?;
    let state = read_state(&tx, app)?;
    tx.finish()?;
    Ok(state)
}

/// Ends a transaction durably; every COMMIT of the ledger goes through here.
pub(super) fn durably(tx: Transaction<'_>) -> rusqlite::Result<()> {
    crate::crash::step("ledger.commit");
    tx.commit()?;
    crate::crash::step("ledger.committed");
    Ok(())
}

/// One transaction's work.
struct Write<'a> {
    app: &'a str,
    row: Option<AppRow>,
    at: i64,
    keep: u64,
}

impl Write<'_> {
    fn all(self, tx: Transaction<'_>, facts: &[Fact], state: &mut State, notices: &[Notice]) -> rusqlite::Result<()> {
        let first = state.seq;
        let changes = Changes::fold(facts, state);
        let mut row = match self.row {
            Some(row) => row,
            None => insert_app(&tx, self.app)?,
        };
        changes.write(&tx, &mut row, state)?;
        tx.prepare_cached("UPDATE app SET seq = ?2, base = ?3, json = ?4 WHERE no = ?1")?.execute((
            row.no,
            int(state.seq),
            row.base.as_ref().map(crate::core::commit::CommitId::as_str),
            to_json(&state.app)?,
        ))?;
        let mut journal =
            tx.prepare_cached("INSERT INTO journal (app, seq, at, kind, json) VALUES (?1, ?2, ?3, ?4, ?5)")?;
        // One text at a time: of a hundred thousand facts, all would be a hundred megabytes.
        for (seq, fact) in (first + 1..).zip(facts) {
            let json = to_json(fact)?;
            journal.execute((row.no, int(seq), self.at, kind_of(&json), &json))?;
        }
        drop(journal);
        if let Some(last) = state.seq.checked_sub(self.keep) {
            tx.prepare_cached("DELETE FROM journal WHERE app = ?1 AND seq <= ?2")?.execute((row.no, int(last)))?;
        }
        for notice in notices {
            push_notice(&tx, notice, self.at)?;
        }
        durably(tx)
    }
}

fn insert_app(conn: &Connection, app: &str) -> rusqlite::Result<AppRow> {
    conn.execute("INSERT INTO app (name, seq, json) VALUES (?1, 0, '{}')", [app])?;
    Ok(AppRow { no: conn.last_insert_rowid(), seq: 0, base: None })
}

/// Returns a fact's kind: what its JSON begins with.
fn kind_of(json: &str) -> &str {
    let rest = json.strip_prefix(r#"{"fact":""#).unwrap_or_default();
    rest.split_once('"').map_or("", |(kind, _)| kind)
}

/// What a transaction's facts changed.
#[derive(Default)]
struct Changes {
    touched: Touched,
    /// Everything was converged to the commit of this fact, and nothing else was done to what is not in `touched`.
    converged: Option<crate::core::commit::CommitId>,
}

impl Changes {
    fn fold(facts: &[Fact], state: &mut State) -> Self {
        let mut all = Self::default();
        for fact in facts {
            let mut touched = Touched::default();
            state.fold(fact, &mut touched);
            let Touched { resources, all_resources, ops } = touched;
            all.touched.resources.extend(resources);
            all.touched.ops.extend(ops);
            match fact {
                // Known to change nothing of a resource but its commit, which one row can say for all.
                Fact::Converged { commit, .. } if all_resources => all.converged = Some(commit.clone()),
                _ => all.touched.all_resources |= all_resources,
            }
        }
        all
    }

    fn write(&self, tx: &Transaction<'_>, row: &mut AppRow, state: &State) -> rusqlite::Result<()> {
        if let Some(commit) = &self.converged {
            row.base = Some(commit.clone());
            tx.prepare_cached("UPDATE resource SET rev = NULL WHERE app = ?1 AND rev IS NOT NULL")?
                .execute([row.no])?;
        }
        let mut writer = ResourceWriter::new(tx, row.no, row.base.clone())?;
        if self.touched.all_resources {
            tx.execute("DELETE FROM resource WHERE app = ?1", [row.no])?;
            for (id, resource) in &state.resources {
                writer.write(id, Some(resource))?;
            }
        } else {
            for id in &self.touched.resources {
                writer.write(id, state.resources.get(id))?;
            }
        }
        for key in &self.touched.ops {
            write_op(tx, row.no, *key, state.rollout_ops.get(key))?;
        }
        Ok(())
    }
}
