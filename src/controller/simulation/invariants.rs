//! What must hold at every write, every rollout and every conclusion, judged by the world.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use jiff::SignedDuration;

use super::oracle::Credit;
use super::repository::Tree;
use super::target::Object;
use super::world::World;
use crate::core::commit::CommitId;
use crate::core::freeze;
use crate::core::glob;
use crate::core::guards::{Limit, Mode, OnPoison};
use crate::core::ledger::Fact;
use crate::core::op::{Class, Effect, Op, Verb};
use crate::core::resource::{Anchor, Id, Vitals};
use crate::core::state::{LatchName, Purpose, Rollout, Standing};

/// How long a `FREEZE` at the tip may go unseen while acting: ten seconds and the calls between looking and writing.
const TIP_UNSEEN: i64 = 10_000 + 8_000;

/// Returns the largest allowed value, by the words of `GUARDS.md` 8.
pub fn allowed(limit: Limit, n: u32) -> Option<u32> {
    match limit {
        Limit::Disabled => None,
        Limit::Fixed(limit) => Some(limit),
        Limit::Relative { over, percent, at_most } => {
            if over == 0 || percent == 0 {
                return Some(0);
            }
            Some(over.max(n * percent / 100).min(at_most.unwrap_or(u32::MAX)))
        }
    }
}

/// How much a plan amounts to, as the onlooker measures it.
#[derive(Debug, Default)]
pub struct Measured {
    /// What is new.
    pub creates: u32,
    /// What is changed or adopted.
    pub updates: u32,
    /// What goes, with what goes with it.
    pub deletes: u32,
    /// How many of each group go.
    pub removed: BTreeMap<Arc<str>, u32>,
    /// What each operation amounts to.
    pub effects: Vec<(Id, Effect)>,
}

impl World {
    /// Called when a process is about to write.
    pub fn check_write(&mut self, pid: usize, app: usize, op: &Op) {
        let store = self.processes[pid].store;
        let eye = self.eye(store, app);
        let mine = |credit: &Credit| credit.pid == pid && credit.op.id == op.id && credit.op.verb == op.verb;
        let Some(at) = eye.credits.iter().position(mine) else {
            return self.broken("reservation", format!("{} is written without a durable reservation", op.id));
        };
        let credit = eye.credits.remove(at);
        self.check_caps(store, app, &credit);
        self.check_latches(pid, store, app, &credit);
        self.check_freezes(pid, store, app);
        self.check_state(pid, store, app);
        self.check_trust(pid, &credit);
        self.check_content(store, app, &credit);
        self.check_resource(pid, store, app, &credit);
        self.check_attempt(pid, store, app, &credit);
        self.check_order(store, app, &credit);
    }

    fn check_caps(&mut self, store: usize, app: usize, credit: &Credit) {
        let guards = self.guards(store, app);
        let deletes = credit.op.verb == Verb::Delete;
        let eye = self.eye(store, app);
        let spent = eye.spent.entry(credit.purpose).or_default();
        spent.0 += 1;
        spent.1 += u32::from(deletes);
        let spent = *spent;
        let zero = allowed(guards.write_cap, u32::MAX / 200) == Some(0);
        if credit.rollout.standing == Standing::Return && !zero {
            return;
        }
        let total = credit.rollout.total;
        let n = credit.rollout.n.max(total);
        if allowed(guards.write_cap, n).is_some_and(|cap| spent.0 > cap) {
            self.broken("write_cap", format!("{} writes in one interval, {n} resources", spent.0));
        }
        if deletes && allowed(guards.delete_cap, total).is_some_and(|cap| spent.1 > cap) {
            self.broken("delete_cap", format!("{} deletions in one interval, of {total}", spent.1));
        }
    }

    fn check_latches(&mut self, pid: usize, store: usize, app: usize, credit: &Credit) {
        // Before the culprit, where the guards ask for it, PLAN holds what follows only: checked when the rollout began.
        let last_good = self.guards(store, app).on_poison == OnPoison::LastGood;
        let before = last_good && self.seen(pid, app).tip.as_ref() != Some(&credit.rollout.commit);
        for (name, latch) in &credit.latches {
            let all = latch.only.is_empty();
            let withholds = match name {
                LatchName::Plan => credit.purpose == Purpose::Promote && !before,
                LatchName::Health => credit.purpose == Purpose::Promote,
                LatchName::Drift => credit.purpose == Purpose::Heal,
                LatchName::Observation => all || latch.only.contains(&credit.op.id),
                // A probe is let through.
                LatchName::Failure => false,
                _ => true,
            };
            if withholds {
                self.broken("latch", format!("{} is written under {}", credit.op.id, name.as_str()));
            }
        }
    }

    fn check_freezes(&mut self, pid: usize, store: usize, app: usize) {
        let name = self.name(app);
        let now = self.durable(store, app).now();
        if let Some(landed) = self.local[app].clone().filter(|landed| self.knowable(landed, pid)) {
            self.broken("freeze", format!("written {} ms after a local freeze", self.now - landed.at));
        }
        let operator = self.eye(store, app).operator.clone();
        if operator.is_some_and(|landed| self.knowable(&landed, pid)) {
            self.broken("freeze", "written although an operator froze".to_owned());
        }
        let holds = |bytes: &[u8], since| {
            let said = freeze::parse(bytes, since);
            let named = said.scope.is_empty() || said.scope.iter().any(|scope| glob::matches(scope, &name));
            named && said.until.is_none_or(|until| until > now)
        };
        let frozen = self.eye(store, app).frozen.clone();
        if let Some(frozen) = frozen.iter().find(|frozen| holds(&frozen.bytes, frozen.since)) {
            self.broken("freeze_at_tip", format!("written although {} froze at {:?}", frozen.path, frozen.commit));
        }
        if let Some(landed) = self.frozen_tip.clone() {
            // An `until` is never past when it is written.
            let covers = self.repository.at_tip().freezes.values().any(|bytes| holds(bytes, World::beginning()));
            let seen = self.seen(pid, app);
            let from = landed.at.max(seen.acting_since.unwrap_or(0));
            if covers && self.now > from + TIP_UNSEEN {
                self.broken("freeze_at_tip", format!("written {} ms after a FREEZE was pushed", self.now - from));
            }
        }
    }

    fn check_state(&mut self, pid: usize, store: usize, app: usize) {
        let guards = self.guards(store, app);
        let target = &self.targets[app];
        let ledger = &self.stores[store].id;
        let ours = target.anchor.as_ref().is_some_and(|anchor| anchor.ledger == *ledger);
        if target.lock != Some(pid) || !ours {
            self.broken("anchor", "written without holding the target".to_owned());
        }
        if self.seen(pid, app).behind {
            self.broken("clock", "written while the wall clock is behind the ledger's".to_owned());
        }
        let complete = self.eye(store, app).complete;
        if guards.mode == Mode::Observe || complete == 0 {
            self.broken("observe", format!("written in mode {:?} after {complete} complete cycles", guards.mode));
        }
    }

    fn check_trust(&mut self, pid: usize, credit: &Credit) {
        let revoked = self.processes[pid].seen.iter().map(|seen| seen.revoked.clone()).next().unwrap_or_default();
        if credit.purpose != Purpose::Promote {
            return;
        }
        let commit = credit.rollout.commit.clone();
        if let Some(base) = &credit.base
            && !self.repository.range(base, &commit).on_chain
        {
            self.broken("history", format!("{:?} does not go on from {base:?}", commit));
        }
        if !self.verified(credit.base.as_ref(), &commit, &revoked) {
            self.broken("signature", format!("{} is written from {commit:?}, unverified", credit.op.id));
        }
    }

    fn check_content(&mut self, store: usize, app: usize, credit: &Credit) {
        let op = &credit.op;
        let state = self.durable(store, app);
        let accepted = state.resources.get(&op.id).and_then(|resource| resource.accepted.as_deref());
        let accepted = accepted.map(|accepted| accepted.desired);
        let wanted: Rc<Tree> = match credit.purpose {
            Purpose::Promote => {
                let commit = self.repository.get(&credit.rollout.commit);
                commit.and_then(|commit| commit.sources[app].tree()).unwrap_or_default()
            }
            Purpose::Heal => Rc::default(),
        };
        let expected = match credit.purpose {
            Purpose::Promote => wanted.get(&op.id).map(super::repository::Thing::digest),
            Purpose::Heal => accepted,
        };
        if expected != op.to {
            self.broken("content", format!("{} becomes {:?} instead of {expected:?}", op.id, op.to));
        }
        if accepted.is_none() && !wanted.contains_key(&op.id) {
            self.broken("owned", format!("{} is neither desired nor accepted", op.id));
        }
    }

    pub fn approved_op(&mut self, store: usize, app: usize, op: &Op) -> bool {
        let from = op.from.as_ref().map(|(digest, _)| *digest);
        let eye = self.eye(store, app);
        eye.grants
            .iter()
            .any(|grant| eye.shown_ops.get(&grant.digest).is_some_and(|shown| *shown == (op.id.clone(), from, op.to)))
    }

    fn check_resource(&mut self, pid: usize, store: usize, app: usize, credit: &Credit) {
        let op = &credit.op;
        let now = self.durable(store, app).now();
        let guards = self.guards(store, app);
        let effect = self.effect(pid, app, op, &credit.rollout.commit, credit.purpose, &[]);
        let object = self.seen(pid, app).objects.get(&op.id).cloned();
        let state = self.durable(store, app);
        let resource = state.resources.get(&op.id).cloned().unwrap_or_default();
        let by_target = resource.accepted.as_deref().is_some_and(|accepted| accepted.about.nature.protected);
        let protected = guards.protected.iter().any(|pattern| glob::matches(pattern, op.id.as_str()))
            || (guards.protected_defaults && by_target);
        let approved = self.approved_op(store, app, op);
        if protected && (effect == Effect::Delete || op.verb == Verb::Delete) && !approved {
            self.broken("protected", format!("{} is removed or replaced unapproved", op.id));
        }
        let held = credit.held;
        let differs = resource.accepted.as_deref().map(|accepted| accepted.live) != object.as_ref().map(|o| o.digest);
        let mark = resource.trouble.as_deref().and_then(|trouble| trouble.drift.as_ref());
        let touched = object.as_ref().and_then(|object| object.touch.at);
        let released = mark.filter(|mark| mark.live == object.as_ref().map(|o| o.digest));
        let released =
            released.and_then(|mark| mark.released).is_some_and(|at| touched.is_none_or(|touched| touched <= at));
        let emergency = differs
            && !released
            && resource.accepted.is_some()
            && object.as_ref().is_some_and(|object| object.touch.interactive)
            && !resource.accepted.as_deref().is_some_and(|accepted| accepted.about.nature.access_control);
        if (held && differs || emergency) && !approved {
            let why = if held { "held" } else { "changed by a person" };
            self.broken("emergency", format!("{} is written although {why}", op.id));
        }
        if self.seen(pid, app).leaving.contains(&op.id) {
            self.broken("leaving", format!("{} is written while it is being deleted", op.id));
        }
        if self.eye(store, app).unread_all || self.eye(store, app).unread.contains(&op.id) {
            self.broken("observation", format!("{} is written although it was not read", op.id));
        }
        if credit.purpose == Purpose::Heal {
            let reverts = self.eye(store, app).reverts.get(&op.id).cloned().unwrap_or_default();
            let fought = guards.fight.iter().any(|(window, times)| {
                let window = SignedDuration::try_from(*window).unwrap_or(SignedDuration::MAX);
                reverts.iter().filter(|at| now.duration_since(**at) < window).count() >= *times as usize
            });
            if fought {
                self.broken("fight", format!("{} is reverted once more", op.id));
            }
        }
        if self.eye(store, app).fought.contains(&op.id) && !approved {
            self.broken("fight", format!("{} is written although it is in quarantine", op.id));
        }
    }

    fn check_order(&mut self, store: usize, app: usize, credit: &Credit) {
        let op = &credit.op;
        if op.verb == Verb::Delete {
            if let Some(open) = credit.before_deletes.first() {
                self.broken("deletions_last", format!("{} is deleted before {open} is written", op.id));
            }
            let sick = self.eye(store, app).unhealthy.get(&credit.purpose).cloned().unwrap_or_default();
            if let Some(sick) = sick.first() {
                self.broken("deletions_last", format!("{} is deleted although {sick} does not work", op.id));
            }
        }
        if credit.rollout.standing == Standing::Return {
            return;
        }
        if let Some(batch) = self.eye(store, app).batches.get(&credit.purpose).copied()
            && batch.wrote >= batch.allowed
        {
            self.broken("batch", format!("a batch of {} goes on with {}", batch.allowed, op.id));
        }
        if credit.purpose == Purpose::Promote && self.eye(store, app).bad.as_ref() == Some(&credit.rollout.commit) {
            self.broken("health", format!("{} is written after a batch turned bad", op.id));
        }
    }

    /// Called when a write is about to change the target.
    pub fn check_landing(&mut self, pid: usize, app: usize, op: &Op) {
        let store = self.processes[pid].store;
        self.check_ownership(store, app, op);
        let cluster = self.targets[app].cluster.is_some();
        let state = |object: &Object| (object.digest, if cluster { 0 } else { object.version });
        let there = self.targets[app].objects.get(&op.id).map(state);
        let seen = self.seen(pid, app).objects.get(&op.id).map(state);
        if there != seen {
            self.broken("precondition", format!("{} was changed since it was observed, and is overwritten", op.id));
        }
        let state = self.durable(store, app);
        let now = state.now();
        let purposes = state.app.rollouts.iter();
        let under_way = purposes.filter(|(purpose, _)| {
            let slots = state.rollout_ops.range((**purpose, 0)..=(**purpose, u32::MAX));
            slots.into_iter().any(|(_, slot)| slot.op.id == op.id && slot.op.verb == op.verb)
        });
        let mut found: Vec<(Purpose, Rollout)> =
            under_way.map(|(purpose, rollout)| (*purpose, rollout.clone())).collect();
        let wanted = if op.reverts { Purpose::Heal } else { Purpose::Promote };
        found.retain(|(purpose, _)| *purpose == wanted);
        let Some((purpose, rollout)) = found.pop() else { return };
        let effect = self.effect(pid, app, op, &rollout.commit, purpose, &[]);
        let eye = self.eye(store, app);
        if let Some(batch) = eye.batches.get_mut(&purpose) {
            batch.wrote += 1;
        }
        if purpose == Purpose::Heal {
            // Whether or not anybody says so.
            eye.reverts.entry(op.id.clone()).or_default().push(now);
        }
        if purpose == Purpose::Promote && rollout.standing == Standing::Passed && effect != Effect::Create {
            let moved = matches!(op.class, Class::Move | Class::Supersede);
            eye.landed.push((now, op.id.clone(), if moved { Effect::Update } else { effect }));
        }
    }

    /// Called when a process is about to swap the anchor: what is there must be what this ledger left there.
    pub fn check_claim(&mut self, pid: usize, app: usize) {
        let store = self.processes[pid].store;
        let there = self.targets[app].anchor.clone();
        if !self.is_ours(store, app, there.as_ref()) {
            self.broken("anchor", format!("process {pid} claims a target that is not as its ledger left it"));
        }
    }

    /// Tells whether a target is as a ledger left it.
    pub fn is_ours(&self, store: usize, app: usize, there: Option<&Anchor>) -> bool {
        let journal = &self.stores[store].parts[app].journal;
        match there {
            None => journal
                .iter()
                .rev()
                .take_while(|fact| !matches!(fact, Fact::Reanchored { .. }))
                .all(|fact| !matches!(fact, Fact::AnchorKnown)),
            Some(there) => journal.iter().rev().any(|fact| match fact {
                Fact::AnchorIntended { anchor } => **anchor == *there,
                Fact::Reanchored { anchor: Some(anchor), .. } => **anchor == *there,
                _ => false,
            }),
        }
    }

    /// Says what an operation amounts to, by what is there and what shall be.
    pub fn effect(&self, pid: usize, app: usize, op: &Op, commit: &CommitId, purpose: Purpose, all: &[Op]) -> Effect {
        let object = self.processes[pid].seen[app].objects.get(&op.id);
        if op.verb == Verb::Delete {
            let moved = all.iter().any(|new| {
                new.verb == Verb::Create && new.to.is_some() && new.to == op.was && new.class == Class::Move
            }) && object.is_some_and(|object| Some(object.holds) == op.was)
                && op.nature.vitals.has(Vitals::CONTENT);
            return if moved && op.class == Class::Move { Effect::Update } else { Effect::Delete };
        }
        let source = if purpose == Purpose::Promote {
            commit
        } else {
            op.source.as_ref().map_or(commit, |source| &source.commit)
        };
        let tree = self.repository.get(source).and_then(|commit| commit.sources[app].tree()).unwrap_or_default();
        match (object, tree.get(&op.id)) {
            (None, _) => Effect::Create,
            (Some(object), Some(thing)) => {
                let replaced = object.nature.identity != thing.nature.identity;
                let lost = object.nature.vitals.0 & !thing.nature.vitals.0 != 0;
                let replaced = replaced || self.replaces(app, object, thing);
                if replaced || lost { Effect::Delete } else { Effect::Update }
            }
            (Some(_), None) => Effect::Delete,
        }
    }

    /// Measures operations.
    pub fn measure(&self, pid: usize, app: usize, ops: &[Op], commit: &CommitId, purpose: Purpose) -> Measured {
        let mut sum = Measured::default();
        for op in ops {
            let effect = self.effect(pid, app, op, commit, purpose, ops);
            let object = self.processes[pid].seen[app].objects.get(&op.id);
            let moved = |old: &Op| old.verb == Verb::Delete && old.class == Class::Move && old.was == op.to;
            match effect {
                Effect::Create if op.class == Class::Move && ops.iter().any(moved) => {}
                Effect::Create => sum.creates += 1,
                Effect::Update => sum.updates += 1,
                Effect::Delete => sum.deletes += 1 + object.map_or(0, |object| self.goes_along(app, op, object)),
            }
            if effect == Effect::Delete
                && op.verb == Verb::Delete
                && let Some(group) = &op.nature.group
            {
                *sum.removed.entry(group.clone()).or_default() += 1;
            }
            sum.effects.push((op.id.clone(), effect));
        }
        sum
    }

    /// Called when everything is said to be as a commit wants it.
    pub fn check_converged(&mut self, pid: Option<usize>, store: usize, app: usize, commit: &CommitId) {
        let Some(pid) = pid else { return };
        if self.eye(store, app).anchored.contains(commit) {
            return;
        }
        let revoked = self.processes[pid].seen[app].revoked.clone();
        if !self.repository.is_good(commit, &revoked, self.wall()) {
            self.broken("signature", format!("{commit:?} is converged to, unverified"));
        }
    }
}
