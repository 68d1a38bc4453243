//! The ledger as the loop sees it: one application's facts, guarded by those that concern all.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::edges::{Ledger, LedgerError};
use super::tell::Teller;
use crate::core::freeze;
use crate::core::ledger::{Fact, Touched};
use crate::core::reason::Reason;
use crate::core::state::State;
use crate::store::{self, CommitError, EVERY, StoreError};

/// Tells whether the ledger cannot be relied on any more (latch STATE), rather than just not be written now.
pub const fn is_lost(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt { .. } | StoreError::Replaced { .. })
}

/// The ledger, and a scratch one in its place once it cannot be relied on: detection and reports go on, writes do not.
pub struct Stores {
    main: Option<store::Ledger>,
    fallback: OnceLock<Fallback>,
}

struct Fallback {
    store: store::Ledger,
    reason: Reason,
    /// Removed with the process.
    _dir: tempfile::TempDir,
}

impl Fallback {
    fn new(error: &StoreError) -> Result<Self, LedgerError> {
        tracing::error!(%error, "the ledger cannot be used: nothing is written; detection goes on");
        let fail = |error: &dyn std::fmt::Display| LedgerError::Failed(format!("make a scratch ledger: {error}"));
        let dir = tempfile::tempdir().map_err(|error| fail(&error))?;
        let store = store::Ledger::open(dir.path(), store::Mode::Writer).map_err(|error| fail(&error))?;
        let reason = Reason::new("ledger", format!("the ledger cannot be used: {error}"));
        Ok(Self { store, reason, _dir: dir })
    }
}

impl Stores {
    /// Opens the ledger of a state directory; one that is damaged is left as it is, and a scratch one takes its place.
    ///
    /// # Errors
    /// Those of opening it that are no damage, and of making the scratch one.
    pub fn open(state_dir: &std::path::Path) -> Result<Self, super::run::RunError> {
        let fallback = OnceLock::new();
        let main = match store::Ledger::open(state_dir, store::Mode::Writer) {
            Ok(store) => Some(store),
            Err(error) if is_lost(&error) => {
                let _ = fallback.set(Fallback::new(&error)?);
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { main, fallback })
    }

    /// Gives the ledger up, because of this.
    ///
    /// # Errors
    /// Those of making the scratch one.
    pub fn lose(&self, error: &StoreError) -> Result<(), LedgerError> {
        if self.fallback.get().is_none() {
            // Of two that find out at once one is first, and its finding serves both.
            let _ = self.fallback.set(Fallback::new(error)?);
        }
        Ok(())
    }

    /// Returns the ledger to read from and report to.
    pub fn current(&self) -> &store::Ledger {
        let fallback = self.fallback.get().map(|fallback| &fallback.store);
        fallback.or(self.main.as_ref()).expect("opening made one of both")
    }

    /// Returns why the ledger cannot be relied on, if so.
    pub fn lost(&self) -> Option<&Reason> {
        self.fallback.get().map(|fallback| &fallback.reason)
    }
}

/// One application's part of the SQLite ledger.
pub struct Book {
    stores: Arc<Stores>,
    app: Arc<str>,
    every: State,
    epoch: u64,
    teller: Teller,
}

impl Book {
    /// Opens an application's part, and loads its state.
    ///
    /// # Errors
    /// Those of reading the ledger.
    pub fn open(stores: &Arc<Stores>, app: &Arc<str>, epoch: u64, teller: Teller) -> Result<(Self, State), StoreError> {
        let state = stores.current().load(app)?;
        let every = stores.current().load(EVERY)?;
        Ok((Self { stores: stores.clone(), app: app.clone(), every, epoch, teller }, state))
    }

    /// Brings the state up to date with what other processes wrote; tells whether they did.
    ///
    /// # Errors
    /// Those of reading the ledger.
    pub fn refresh(&mut self, state: &mut State) -> Result<bool, StoreError> {
        // What is known of a ledger that is lost stays known: drift is measured against it.
        if self.stores.lost().is_some() {
            return Ok(false);
        }
        let every = self.stores.current().refresh(EVERY, &mut self.every)?;
        Ok(self.stores.current().refresh(&self.app, state)? || every)
    }

    /// Folds facts in memory, once the ledger is lost; nothing that allows a write is taken.
    fn commit_in_memory(&self, state: &mut State, facts: &[Fact]) -> Result<(), LedgerError> {
        if facts.iter().any(|fact| matches!(fact, Fact::Reserved { .. } | Fact::AnchorIntended { .. })) {
            return Err(LedgerError::Failed("the ledger cannot be used: nothing is written".to_owned()));
        }
        let store = self.stores.current();
        let told = self.teller.prepare(store.id(), state, facts);
        let mut touched = Touched::default();
        for fact in facts {
            state.fold(fact, &mut touched);
        }
        for notice in &told.notices {
            if let Err(error) = store.outbox_push(notice, crate::clock::MachineClock::wall()) {
                tracing::error!(app = %self.app, %error, "an alert could not be queued");
            }
        }
        self.teller.tell(facts, &told);
        Ok(())
    }

    /// Says what a failure of the ledger means to the loop.
    fn failed(&self, error: &StoreError) -> LedgerError {
        if is_lost(error) {
            // The next cycle begins without it; this one has lost what it knew was durable.
            if let Err(error) = self.stores.lose(error) {
                return error;
            }
        }
        LedgerError::Failed(error.to_string())
    }
}

impl Ledger for Book {
    fn commit(&mut self, state: &mut State, facts: &[Fact]) -> Result<(), LedgerError> {
        if self.stores.lost().is_some() {
            return self.commit_in_memory(state, facts);
        }
        let guard = Some((EVERY, self.every.seq));
        let store = self.stores.current();
        let told = self.teller.prepare(store.id(), state, facts);
        match store.commit_with_notices(&self.app, state.seq, facts, state, guard, &told.notices) {
            Ok(_) => {
                self.teller.tell(facts, &told);
                Ok(())
            }
            Err(CommitError::Moved { .. }) => {
                self.refresh(state).map_err(|error| self.failed(&error))?;
                Err(LedgerError::Moved)
            }
            Err(CommitError::Store(error)) if is_lost(&error) => Err(self.failed(&error)),
            Err(error) => {
                *state = store.load(&self.app).map_err(|error| self.failed(&error))?;
                Err(LedgerError::Failed(error.to_string()))
            }
        }
    }

    fn freezes(&self, now: Timestamp) -> Vec<Reason> {
        self.every.app.freeze.active(&self.app, now).into_iter().map(freeze::reason).collect()
    }

    fn id(&self) -> Arc<str> {
        self.stores.current().id().clone()
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Folds facts in memory and keeps nothing: for `plan` and `drift`.
pub struct Scratch {
    id: Arc<str>,
    every: State,
    app: Arc<str>,
}

impl Scratch {
    /// Makes a scratch ledger that answers for a real one.
    pub fn new(id: Arc<str>, app: Arc<str>, every: State) -> Self {
        Self { id, every, app }
    }
}

impl Ledger for Scratch {
    fn commit(&mut self, state: &mut State, facts: &[Fact]) -> Result<(), LedgerError> {
        let mut touched = Touched::default();
        for fact in facts {
            state.fold(fact, &mut touched);
        }
        Ok(())
    }

    fn freezes(&self, now: Timestamp) -> Vec<Reason> {
        self.every.app.freeze.active(&self.app, now).into_iter().map(freeze::reason).collect()
    }

    fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    fn epoch(&self) -> u64 {
        0
    }
}
