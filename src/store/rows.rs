//! Turns resources, operations and applications into rows and back.
//!
//! Resources are columns rather than JSON: a hundred thousand of them are read at every start.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::core::commit::CommitId;
use crate::core::resource::{Digest, Fields, Id, NatureRef, Natures, Vitals, told};
use crate::core::state::{About, Abouts, Accepted, OpState, Purpose, Resource, RolloutOp};

/// Reads an unsigned number that was stored as SQLite's signed one.
pub(super) fn uint(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// Stores an unsigned number as SQLite's signed one.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes a value as JSON.
pub(super) fn to_json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Reads a value from JSON; what cannot be read is damage.
pub(super) fn from_json<T: DeserializeOwned>(json: &str) -> rusqlite::Result<T> {
    serde_json::from_str(json).map_err(damaged)
}

/// Makes an error that says that the file holds what this program never writes.
pub(super) fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.into())
}

const PROTECTED: i64 = 1;
const ACCESS_CONTROL: i64 = 1 << 1;

/// Writes rows of `resource`.
pub(super) struct ResourceWriter<'c> {
    app: i64,
    base: Option<CommitId>,
    put: CachedStatement<'c>,
    bare: CachedStatement<'c>,
    remove: CachedStatement<'c>,
}

impl<'c> ResourceWriter<'c> {
    /// Prepares for one application; a row of the commit `base` names none.
    pub(super) fn new(conn: &'c Connection, app: i64, base: Option<CommitId>) -> rusqlite::Result<Self> {
        let put = conn.prepare_cached(
            "INSERT OR REPLACE INTO resource (app, id, desired, live, rev, origin, created, rank, identity, vitals, \
             grouped, flags, essence, stem, trouble, owned, remains) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?;
        let bare = conn.prepare_cached("INSERT OR REPLACE INTO resource (app, id, trouble) VALUES (?1, ?2, ?3)")?;
        let remove = conn.prepare_cached("DELETE FROM resource WHERE app = ?1 AND id = ?2")?;
        Ok(Self { app, base, put, bare, remove })
    }

    /// Makes the row what is remembered now; without anything there is no row.
    pub(super) fn write(&mut self, id: &Id, resource: Option<&Resource>) -> rusqlite::Result<()> {
        let Some(Resource { accepted, trouble }) = resource else {
            self.remove.execute((self.app, id.as_str()))?;
            return Ok(());
        };
        let trouble = trouble.as_deref().map(to_json).transpose()?;
        let Some(accepted) = accepted else {
            self.bare.execute((self.app, id.as_str(), trouble))?;
            return Ok(());
        };
        // No `..`: what is added to these types must be added here.
        let Accepted { desired, live, about } = &**accepted;
        let About { commit, origin, nature, created, rank, fields } = &**about;
        let owned = fields.as_deref().map(|Fields { owned, left: _ }| &**owned);
        let remains = fields.as_deref().filter(|fields| !fields.left.is_empty()).map(|fields| to_json(&fields.left));
        let NatureRef { identity, vitals, group, protected, access_control, essence, stem } = nature.borrowed();
        let flags = if protected { PROTECTED } else { 0 } | if access_control { ACCESS_CONTROL } else { 0 };
        self.put.execute(params![
            self.app,
            id.as_str(),
            desired.as_bytes(),
            live.as_bytes(),
            (self.base.as_ref() != Some(commit)).then_some(commit.as_str()),
            origin.as_deref(),
            created.map(|created| created.to_string()),
            rank,
            identity,
            vitals.0,
            group,
            flags,
            essence.as_ref().map(Digest::as_bytes),
            stem,
            trouble,
            owned,
            remains.transpose()?,
        ])?;
        Ok(())
    }
}

/// Shares what is equal: a hundred thousand resources have a few commits and natures, mostly the same as the one before.
#[derive(Default)]
struct Interner {
    all: HashSet<Arc<str>>,
    last: Option<Arc<str>>,
    natures: Natures,
    abouts: Abouts,
}

impl Interner {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == *text) {
            return last.clone();
        }
        let shared = self.all.get(text).cloned().unwrap_or_else(|| text.into());
        self.all.insert(shared.clone());
        self.last = Some(shared.clone());
        shared
    }
}

/// Reads all resources of an application.
pub(super) fn read_resources(
    conn: &Connection,
    app: i64,
    base: Option<&CommitId>,
) -> rusqlite::Result<BTreeMap<Id, Resource>> {
    let mut select = conn.prepare_cached(
        "SELECT id, desired, live, rev, origin, created, rank, identity, vitals, grouped, flags, essence, stem, trouble, \
         owned, remains FROM resource WHERE app = ?1 ORDER BY id",
    )?;
    let mut rows = select.query([app])?;
    let mut shared = Interner::default();
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let id = Id::new(row.get_ref(0)?.as_str()?);
        let trouble = row.get_ref(13)?.as_str_or_null()?.map(from_json).transpose()?;
        let accepted = read_accepted(row, &id, base, &mut shared)?.map(Arc::new);
        all.push((id, Resource { accepted, trouble }));
    }
    // Sorted already, so the map is built in one pass.
    Ok(all.into_iter().collect())
}

fn read_accepted(
    row: &Row<'_>,
    id: &Id,
    base: Option<&CommitId>,
    shared: &mut Interner,
) -> rusqlite::Result<Option<Accepted>> {
    let Some(desired) = digest(row, 1)? else { return Ok(None) };
    let live = digest(row, 2)?.ok_or_else(|| damaged("a live digest is missing"))?;
    let commit = match row.get_ref(3)?.as_str_or_null()? {
        Some(rev) => CommitId::new(shared.get(rev)),
        None => base.cloned().ok_or_else(|| damaged("a commit is missing"))?,
    };
    let created = row.get_ref(5)?.as_str_or_null()?.map(|text| text.parse().map_err(damaged)).transpose()?;
    let flags = row.get_ref(10)?.as_i64()?;
    let nature = shared.natures.get(NatureRef {
        identity: row.get_ref(7)?.as_str_or_null()?,
        vitals: Vitals(row.get(8)?),
        group: row.get_ref(9)?.as_str_or_null()?,
        protected: flags & PROTECTED != 0,
        access_control: flags & ACCESS_CONTROL != 0,
        essence: digest(row, 11)?,
        stem: row.get_ref(12)?.as_str_or_null()?,
    });
    let origin = told(row.get_ref(4)?.as_str_or_null()?.map(Arc::from), id);
    let fields = match row.get_ref(14)?.as_str_or_null()? {
        None => None,
        Some(owned) => {
            let left = row.get_ref(15)?.as_str_or_null()?.map(from_json).transpose()?.unwrap_or_default();
            Some(Arc::new(Fields { owned: shared.get(owned), left }))
        }
    };
    let about = shared.abouts.get(About { commit, origin, nature, created, rank: row.get(6)?, fields });
    Ok(Some(Accepted { desired, live, about }))
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
    let bytes = bytes.try_into().map_err(damaged)?;
    Ok(Some(Digest::from_bytes(bytes)))
}

const fn purpose_code(purpose: Purpose) -> i64 {
    match purpose {
        Purpose::Heal => 0,
        Purpose::Promote => 1,
    }
}

const fn op_state_code(state: &OpState) -> i64 {
    match state {
        OpState::Pending => 0,
        OpState::Reserved => 1,
        OpState::Done => 2,
    }
}

/// Makes the row of an operation what it is now; without one there is no row.
pub(super) fn write_op(
    conn: &Connection,
    app: i64,
    (purpose, index): (Purpose, u32),
    op: Option<&RolloutOp>,
) -> rusqlite::Result<()> {
    let key = (app, purpose_code(purpose), index);
    match op {
        None => conn
            .prepare_cached("DELETE FROM rollout_op WHERE app = ?1 AND purpose = ?2 AND idx = ?3")?
            .execute(key)
            .map(drop),
        Some(RolloutOp { op, state }) => conn
            .prepare_cached(
                "INSERT OR REPLACE INTO rollout_op (app, purpose, idx, state, json) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((key.0, key.1, key.2, op_state_code(state), to_json(op)?))
            .map(drop),
    }
}

/// Reads the operations of an application's rollouts.
pub(super) fn read_ops(conn: &Connection, app: i64) -> rusqlite::Result<BTreeMap<(Purpose, u32), RolloutOp>> {
    let mut select = conn.prepare_cached("SELECT purpose, idx, state, json FROM rollout_op WHERE app = ?1")?;
    let mut rows = select.query([app])?;
    let mut ops = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let purpose = match row.get_ref(0)?.as_i64()? {
            0 => Purpose::Heal,
            1 => Purpose::Promote,
            other => return Err(damaged(format!("purpose {other} of an operation is unknown"))),
        };
        let state = match row.get_ref(2)?.as_i64()? {
            0 => OpState::Pending,
            1 => OpState::Reserved,
            2 => OpState::Done,
            other => return Err(damaged(format!("state {other} of an operation is unknown"))),
        };
        ops.insert((purpose, row.get(1)?), RolloutOp { op: from_json(row.get_ref(3)?.as_str()?)?, state });
    }
    Ok(ops)
}
