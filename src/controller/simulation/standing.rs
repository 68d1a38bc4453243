//! What must stand after every judgement, whether or not anything is written: a latch that is missing is as broken a promise as a
//! write under one.

use std::rc::Rc;

use jiff::SignedDuration;

use super::oracle::Credit;
use super::repository::{PEOPLE, Source};
use super::world::World;
use crate::core::commit::CommitId;
use crate::core::guards::Guards;
use crate::core::resource::AnchorSeen;
use crate::core::state::{Governing, LatchName};

/// How many failed attempts in a row open a breaker, and how seldom it lets one through then (`GUARDS.md` 7).
const BREAKER: (u32, SignedDuration) = (10, SignedDuration::from_mins(30));

impl World {
    /// Returns the guards that rightly govern an application.
    pub fn guards(&mut self, store: usize, app: usize) -> Rc<Guards> {
        let configured = &self.settings[app].guards;
        match self.eyes.get(&(store, app)).and_then(|eye| eye.governs.clone()) {
            Some(governs) => governs,
            None => Rc::new(configured.clone()),
        }
    }

    /// Tells whether a process read all of what it acts on: the target whole, and what the tip wants.
    pub fn is_whole(&mut self, pid: usize, app: usize) -> bool {
        let seen = self.seen(pid, app).clone();
        let rendered = seen.tip.is_some_and(|tip| {
            self.repository.get(&tip).is_some_and(|commit| !matches!(commit.sources[app], Source::Broken))
        });
        rendered && !seen.failed && seen.unread.is_empty()
    }

    /// Called after each judgement.
    pub fn check_standing(&mut self, pid: usize, app: usize) {
        let store = self.processes[pid].store;
        let held = self.eye(store, app).held.clone();
        let seen = self.seen(pid, app).clone();
        let anchor = match &seen.anchor {
            _ if seen.failed => None,
            Some(AnchorSeen::Present(anchor)) => Some(Some(anchor)),
            Some(AnchorSeen::Absent) => Some(None),
            Some(AnchorSeen::Foreign(_) | AnchorSeen::Unread(_)) | None => None,
        };
        if let Some(anchor) = anchor
            && !self.is_ours(store, app, anchor)
            && !held.contains(&LatchName::State)
        {
            self.broken("anchor", format!("the target of {app} is not as its ledger left it, and nothing says so"));
        }
        let broken = |tip: &CommitId| matches!(self.repository.get(tip).map(|c| &c.sources[app]), Some(Source::Broken));
        if seen.tip.as_ref().is_some_and(broken) && !held.contains(&LatchName::Render) {
            self.broken("render", "the tip does not render, and nothing says so".to_owned());
        }
        let n = self.eye(store, app).inventory;
        let open = self.eye(store, app).failed.values().filter(|(times, _)| *times >= BREAKER.0).count();
        if open >= 3 && 4 * open >= n as usize && !held.contains(&LatchName::Failure) {
            self.broken("failure", format!("{open} of {n} resources failed again and again, and writing goes on"));
        }
    }

    /// Called when a configuration begins to govern: a looser one only once somebody approved it.
    pub fn check_governed(&mut self, store: usize, app: usize, governing: &Governing, loosened: &[String]) {
        let wrote = self.durable(store, app).app.ever_converged;
        let looser = self.looser.contains(&(app, governing.digest));
        let eye = self.eye(store, app);
        let approved = eye.grants.iter().any(|grant| grant.digest == governing.digest && *grant.by != *PEOPLE[0]);
        let anew = eye.governs.as_ref().is_some_and(|known| **known != governing.guards);
        eye.governs = Some(Rc::new(governing.guards.clone()));
        if looser && anew && wrote {
            if !approved {
                return self.broken("loosened", format!("a looser configuration governs unapproved: {loosened:?}"));
            }
            self.count("a looser configuration is approved");
        }
    }

    /// Called when something is attempted: what was judged must still have been there when the cycle began, and a resource that
    /// always fails is left alone for a while.
    pub fn check_attempt(&mut self, pid: usize, store: usize, app: usize, credit: &Credit) {
        let op = &credit.op;
        let now = self.durable(store, app).now();
        let seen = self.seen(pid, app).objects.get(&op.id).map(|object| object.digest);
        let judged = op.from.as_ref().map(|(digest, _)| *digest);
        if seen != judged {
            self.broken("rollout_moved", format!("{} had changed since its rollout was judged", op.id));
        }
        let failed = self.eye(store, app).failed.get(&op.id).copied();
        if failed.is_some_and(|(times, last)| times >= BREAKER.0 && now.duration_since(last) < BREAKER.1) {
            self.broken("breaker", format!("{} is attempted although its breaker is open", op.id));
        }
    }

    /// Called when a state is recorded as one to return to.
    pub fn check_good(&mut self, store: usize, app: usize, commit: &CommitId) {
        let tree = self.repository.get(commit).and_then(|commit| commit.sources[app].tree()).unwrap_or_default();
        let state = self.durable(store, app);
        let is_wanted = |(id, resource): (&crate::core::resource::Id, &crate::core::state::Resource)| {
            let wanted = tree.get(id).map(super::repository::Thing::digest);
            resource.accepted.as_deref().is_none_or(|accepted| Some(accepted.desired) == wanted)
        };
        if !state.resources.iter().all(is_wanted) {
            return self.broken("good", format!("{commit:?} is recorded as good, and something is left to do"));
        }
        let now = self.now;
        let sick = tree.keys().find(|id| {
            let object = self.targets[app].objects.get(*id);
            object.is_some_and(|object| object.sick && object.ready_at + 200_000 <= now)
        });
        if let Some(id) = sick.cloned() {
            self.broken("good", format!("{commit:?} is recorded as good, and {id} does not work"));
        }
    }
}
