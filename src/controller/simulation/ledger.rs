//! The ledger: a journal that is durable, and a state that must be its fold.

use std::sync::Arc;

use jiff::Timestamp;

use super::rival;
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
    /// How far it was read back, and what that folds into.
    read: (usize, State),
}

impl Part {
    /// Folds the journal anew, each fact as it would be read from the disk. What was read back before folds into the same.
    pub fn refold(&mut self) -> State {
        let (done, mut state) = std::mem::take(&mut self.read);
        let mut touched = Touched::default();
        for fact in &self.journal[done..] {
            let text = serde_json::to_string(fact).expect("a fact is JSON");
            let read: Fact = serde_json::from_str(&text).expect("a fact reads what it wrote");
            state.fold(&read, &mut touched);
        }
        self.read = (self.journal.len(), state.clone());
        state
    }

    /// Tells whether a process has the same state in memory, as far as facts said that they touched it. All of it is
    /// compared whenever a process opens the ledger.
    fn agrees(&self, state: &State, touched: &Touched) -> bool {
        let rest = if touched.all_resources {
            self.state.resources == state.resources
        } else {
            touched.resources.iter().all(|id| self.state.resources.get(id) == state.resources.get(id))
        };
        let ops = touched.ops.iter().all(|key| self.state.rollout_ops.get(key) == state.rollout_ops.get(key));
        (self.state.seq, &self.state.app) == (state.seq, &state.app) && rest && ops
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
        let part = &mut inner.stores[store].parts[app];
        let state = part.refold();
        let same = state == part.state;
        if !same {
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
        rival::interrupt(&world, self.pid);
        let mut inner = world.borrow_mut();
        inner.enter(self.pid, self.app, "commit");
        let faults = inner.faults;
        if inner.random.chance(faults.before) {
            inner.count("the ledger fails before it wrote");
            inner.note(|| "the ledger fails before it wrote".to_owned());
            *state = inner.stores[self.store].parts[self.app].state.clone();
            return Err(LedgerError::Failed("the disk is full".to_owned()));
        }
        let store = &inner.stores[self.store];
        if store.every.state.seq != self.every.seq || store.parts[self.app].state.seq != state.seq {
            inner.count("the ledger moved on");
            drop(inner);
            self.refresh(state);
            return Err(LedgerError::Moved);
        }
        let mut touched = Touched::default();
        for fact in facts {
            state.fold(fact, &mut touched);
        }
        let part = &mut inner.stores[self.store].parts[self.app];
        part.append(facts);
        if !part.agrees(state, &touched) {
            inner.broken("fold", "the state in memory is not what the journal folds into".to_owned());
        }
        for fact in facts {
            inner.note(|| format!("{}: {fact:?}", self.app));
        }
        inner.observe_facts(Some(self.pid), self.store, self.app, facts);
        inner.leave(self.pid, "committed");
        if inner.random.chance(faults.after) {
            inner.count("the ledger fails after it wrote");
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
