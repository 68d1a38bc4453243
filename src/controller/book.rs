//! The ledger as the loop sees it: one application's facts, guarded by those that concern all.

use std::sync::Arc;

use jiff::Timestamp;

use super::edges::{Ledger, LedgerError};
use crate::core::freeze;
use crate::core::ledger::{Fact, Touched};
use crate::core::reason::Reason;
use crate::core::state::State;
use crate::store::{self, CommitError, EVERY};

/// One application's part of the SQLite ledger.
pub struct Book {
    store: store::Ledger,
    app: Arc<str>,
    every: State,
    epoch: u64,
}

impl Book {
    /// Opens an application's part, and loads its state.
    ///
    /// # Errors
    /// Those of reading the ledger.
    pub fn open(store: &store::Ledger, app: &Arc<str>, epoch: u64) -> Result<(Self, State), store::StoreError> {
        let state = store.load(app)?;
        let every = store.load(EVERY)?;
        Ok((Self { store: store.clone(), app: app.clone(), every, epoch }, state))
    }

    /// Brings the state up to date with what other processes wrote; tells whether they did.
    ///
    /// # Errors
    /// Those of reading the ledger.
    pub fn refresh(&mut self, state: &mut State) -> Result<bool, store::StoreError> {
        let every = self.store.refresh(EVERY, &mut self.every)?;
        Ok(self.store.refresh(&self.app, state)? || every)
    }
}

impl Ledger for Book {
    fn commit(&mut self, state: &mut State, facts: &[Fact]) -> Result<(), LedgerError> {
        let guard = Some((EVERY, self.every.seq));
        match self.store.commit(&self.app, state.seq, facts, state, guard) {
            Ok(_) => {
                for fact in facts {
                    super::tell::log(&self.app, fact);
                }
                Ok(())
            }
            Err(CommitError::Moved { .. }) => {
                self.refresh(state).map_err(|error| LedgerError::Failed(error.to_string()))?;
                Err(LedgerError::Moved)
            }
            Err(error) => {
                *state = self.store.load(&self.app).map_err(|error| LedgerError::Failed(error.to_string()))?;
                Err(LedgerError::Failed(error.to_string()))
            }
        }
    }

    fn freezes(&self, now: Timestamp) -> Vec<Reason> {
        self.every.app.freeze.active(&self.app, now).into_iter().map(freeze::reason).collect()
    }

    fn id(&self) -> Arc<str> {
        self.store.id().clone()
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
