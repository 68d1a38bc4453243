//! The ledger: a journal that is durable, and a state that must be its fold.

use std::sync::Arc;

use jiff::Timestamp;

use super::world::{Shared, World};
use crate::controller::edges::{Ledger, LedgerError};
use crate::core::freeze;
use crate::core::ledger::{Fact, Touched};
use crate::core::reason::Reason;
use crate::core::state::State;

/// The facts of one application, or of all.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Every fact in order.
    pub journal: Vec<Fact>,
    /// What they fold into.
    pub state: State,
}

impl Part {
    /// Folds the whole journal anew, each fact as it would be read from the disk.
    pub fn refold(&self) -> State {
        let mut state = State::default();
        let mut touched = Touched::default();
        for fact in &self.journal {
            let text = serde_json::to_string(fact).expect("a fact is JSON");
            let read: Fact = serde_json::from_str(&text).expect("a fact reads what it wrote");
            state.fold(&read, &mut touched);
        }
        state
    }

    fn append(&mut self, facts: &[Fact]) {
        let mut touched = Touched::default();
        for fact in facts {
            self.state.fold(fact, &mut touched);
            self.journal.push(fact.clone());
        }
    }
}

/// One ledger on a disk.
#[derive(Clone, Debug)]
pub struct Store {
    /// Names it.
    pub id: Arc<str>,
    /// By application.
    pub parts: Vec<Part>,
    /// What concerns all.
    pub every: Part,
    /// How many writers started.
    pub starts: u64,
}

impl Store {
    /// Makes an empty ledger.
    pub fn new(id: String, apps: usize) -> Self {
        Self { id: id.into(), parts: vec![Part::default(); apps], every: Part::default(), starts: 0 }
    }
}

impl World {
    /// Journals facts that a command decided on the newest state.
    pub fn command(&mut self, store: usize, app: usize, facts: &[Fact]) {
        for fact in facts {
            self.note(|| format!("command: {fact:?}"));
        }
        self.stores[store].parts[app].append(facts);
        self.observe_facts(None, store, app, facts);
    }

    /// Journals facts that concern all applications.
    pub fn command_all(&mut self, store: usize, facts: &[Fact]) {
        for fact in facts {
            self.note(|| format!("command for all: {fact:?}"));
        }
        self.stores[store].every.append(facts);
    }
}

/// One application's part of a ledger, as one process has it open.
pub struct SimBook {
    world: Shared,
    pid: usize,
    store: usize,
    app: usize,
    every: State,
}

impl SimBook {
    /// Opens a part: the state is what the journal folds into.
    pub fn open(world: &Shared, pid: usize, app: usize) -> (Self, State) {
        let mut inner = world.borrow_mut();
        let store = inner.processes[pid].store;
        let part = &inner.stores[store].parts[app];
        let state = part.refold();
        if state != part.state {
            inner.broken("fold", "the journal folds into another state than was kept".to_owned());
        }
        let every = inner.stores[store].every.state.clone();
        drop(inner);
        (Self { world: world.clone(), pid, store, app, every }, state)
    }

    /// Brings the state up to date with what others wrote.
    pub fn refresh(&mut self, state: &mut State) {
        let inner = self.world.borrow();
        let store = &inner.stores[self.store];
        if self.every.seq != store.every.state.seq {
            self.every = store.every.state.clone();
        }
        if state.seq != store.parts[self.app].state.seq {
            *state = store.parts[self.app].state.clone();
        }
    }
}

impl Ledger for SimBook {
    fn commit(&mut self, state: &mut State, facts: &[Fact]) -> Result<(), LedgerError> {
        let world = self.world.clone();
        let mut inner = world.borrow_mut();
        inner.enter(self.pid, self.app, "commit");
        let faults = inner.faults;
        if inner.random.chance(faults.before) {
            inner.note(|| "the ledger fails before it wrote".to_owned());
            *state = inner.stores[self.store].parts[self.app].state.clone();
            return Err(LedgerError::Failed("the disk is full".to_owned()));
        }
        let store = &mut inner.stores[self.store];
        if store.every.state.seq != self.every.seq || store.parts[self.app].state.seq != state.seq {
            drop(inner);
            self.refresh(state);
            return Err(LedgerError::Moved);
        }
        let mut touched = Touched::default();
        for fact in facts {
            state.fold(fact, &mut touched);
        }
        store.parts[self.app].append(facts);
        if *state != store.parts[self.app].state {
            inner.broken("fold", "the state in memory is not what the journal folds into".to_owned());
        }
        for fact in facts {
            inner.note(|| format!("{}: {fact:?}", self.app));
        }
        inner.observe_facts(Some(self.pid), self.store, self.app, facts);
        inner.leave(self.pid, "committed");
        if inner.random.chance(faults.after) {
            inner.note(|| "the ledger fails after it wrote".to_owned());
            return Err(LedgerError::Failed("the disk went away".to_owned()));
        }
        Ok(())
    }

    fn freezes(&self, now: Timestamp) -> Vec<Reason> {
        let name = self.world.borrow().name(self.app);
        self.every.app.freeze.active(&name, now).into_iter().map(freeze::reason).collect()
    }

    fn id(&self) -> Arc<str> {
        self.world.borrow().stores[self.store].id.clone()
    }

    fn epoch(&self) -> u64 {
        self.world.borrow().stores[self.store].starts
    }
}
