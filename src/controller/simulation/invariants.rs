//! What must hold at every write, every rollout and every conclusion, judged by the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::oracle::{Credit, print, print_change};
use super::repository::{PEOPLE, Tree};
use super::world::World;
use crate::core::commit::CommitId;
use crate::core::freeze;
use crate::core::glob;
use crate::core::guards::{Guards, Limit, Mode};
use crate::core::ledger::Fact;
use crate::core::op::{Class, Effect, Op, Verb};
use crate::core::resource::{Digest, Id, Vitals};
use crate::core::state::{LatchName, Purpose, Rollout, Standing};

/// How long a `FREEZE` at the tip may go unseen while acting: ten seconds and the calls between looking and writing.
const TIP_UNSEEN: i64 = 10_000 + 8_000;

/// Returns the largest allowed value, by the words of `GUARDS.md` 8.
fn allowed(limit: Limit, n: u32) -> Option<u32> {
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
struct Measured {
    creates: u32,
    updates: u32,
    deletes: u32,
    removed: BTreeMap<Arc<str>, u32>,
    effects: Vec<(Id, Effect)>,
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
        self.check_latches(&credit);
        self.check_freezes(pid, store, app);
        self.check_state(pid, store, app);
        self.check_trust(pid, &credit);
        self.check_content(store, app, &credit);
        self.check_resource(pid, store, app, &credit);
        self.check_order(store, app, &credit);
    }

    fn check_caps(&mut self, store: usize, app: usize, credit: &Credit) {
        let guards = self.settings[app].guards.clone();
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

    fn check_latches(&mut self, credit: &Credit) {
        for (name, latch) in &credit.latches {
            let all = latch.only.is_empty();
            let withholds = match name {
                LatchName::Plan | LatchName::Health => credit.purpose == Purpose::Promote,
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
        let guards = self.settings[app].guards.clone();
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
            && !self.repository.range(base, &commit).2
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
        let accepted = state.resources.get(&op.id).and_then(|resource| resource.accepted.as_ref());
        let accepted = accepted.map(|accepted| accepted.desired);
        let wanted: Tree = match credit.purpose {
            Purpose::Promote => {
                let commit = self.repository.get(&credit.rollout.commit);
                commit.and_then(|commit| commit.sources[app].tree()).unwrap_or_default()
            }
            Purpose::Heal => Tree::new(),
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

    fn approved_op(&mut self, store: usize, app: usize, op: &Op) -> bool {
        let from = op.from.as_ref().map(|(digest, _)| *digest);
        let eye = self.eye(store, app);
        eye.grants
            .iter()
            .any(|grant| eye.shown_ops.get(&grant.digest).is_some_and(|shown| *shown == (op.id.clone(), from, op.to)))
    }

    fn check_resource(&mut self, pid: usize, store: usize, app: usize, credit: &Credit) {
        let op = &credit.op;
        let now = self.durable(store, app).now();
        let guards = self.settings[app].guards.clone();
        let effect = self.effect(pid, app, op, &credit.rollout.commit, credit.purpose, &[]);
        let object = self.seen(pid, app).objects.get(&op.id).cloned();
        let state = self.durable(store, app);
        let resource = state.resources.get(&op.id).cloned().unwrap_or_default();
        let by_target = resource.accepted.as_ref().is_some_and(|accepted| accepted.nature.protected);
        let protected = guards.protected.iter().any(|pattern| glob::matches(pattern, op.id.as_str()))
            || (guards.protected_defaults && by_target);
        let approved = self.approved_op(store, app, op);
        if protected && (effect == Effect::Delete || op.verb == Verb::Delete) && !approved {
            self.broken("protected", format!("{} is removed or replaced unapproved", op.id));
        }
        let held = credit.held;
        let differs = resource.accepted.as_ref().map(|accepted| accepted.live) != object.as_ref().map(|o| o.digest);
        let emergency = differs
            && resource.accepted.is_some()
            && object.as_ref().is_some_and(|object| object.touch.interactive)
            && !resource.accepted.as_ref().is_some_and(|accepted| accepted.nature.access_control);
        if (held && differs || emergency) && !approved {
            let why = if held { "held" } else { "changed by a person" };
            self.broken("emergency", format!("{} is written although {why}", op.id));
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
        let there = self.targets[app].objects.get(&op.id).map(|object| (object.digest, object.version));
        let seen = self.seen(pid, app).objects.get(&op.id).map(|object| (object.digest, object.version));
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
        if purpose == Purpose::Promote && rollout.standing == Standing::Passed && effect != Effect::Create {
            let moved = matches!(op.class, Class::Move | Class::Supersede);
            eye.landed.push((now, op.id.clone(), if moved { Effect::Update } else { effect }));
        }
    }

    /// Called when a process is about to swap the anchor: what is there must be what this ledger left there.
    pub fn check_claim(&mut self, pid: usize, app: usize) {
        let store = self.processes[pid].store;
        let there = self.targets[app].anchor.clone();
        let journal = &self.stores[store].parts[app].journal;
        let ours = match &there {
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
        };
        if !ours {
            self.broken("anchor", format!("process {pid} claims a target that is not as its ledger left it"));
        }
    }

    /// Says what an operation amounts to, by what is there and what shall be.
    fn effect(&self, pid: usize, app: usize, op: &Op, commit: &CommitId, purpose: Purpose, all: &[Op]) -> Effect {
        let object = self.processes[pid].seen[app].objects.get(&op.id);
        if op.verb == Verb::Delete {
            let moved = all.iter().any(|new| {
                new.verb == Verb::Create && new.to.is_some() && new.to == op.was && new.class == Class::Move
            }) && object.is_some_and(|object| Some(object.digest) == op.was)
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
                if replaced || lost { Effect::Delete } else { Effect::Update }
            }
            (Some(_), None) => Effect::Delete,
        }
    }

    fn measure(&self, pid: usize, app: usize, ops: &[Op], commit: &CommitId, purpose: Purpose) -> Measured {
        let mut sum = Measured::default();
        for op in ops {
            let effect = self.effect(pid, app, op, commit, purpose, ops);
            let object = self.processes[pid].seen[app].objects.get(&op.id);
            let moved = |old: &Op| old.verb == Verb::Delete && old.class == Class::Move && old.was == op.to;
            match effect {
                Effect::Create if op.class == Class::Move && ops.iter().any(moved) => {}
                Effect::Create => sum.creates += 1,
                Effect::Update => sum.updates += 1,
                Effect::Delete => sum.deletes += 1 + object.map_or(0, |object| object.dependants),
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

    /// Called when a rollout became durable.
    pub fn check_rollout(
        &mut self,
        pid: usize,
        store: usize,
        app: usize,
        purpose: Purpose,
        rollout: &Rollout,
        ops: &[Op],
    ) {
        let guards = self.settings[app].guards.clone();
        let now = self.durable(store, app).now();
        let sum = self.measure(pid, app, ops, &rollout.commit, purpose);
        let mut own_limits = true;
        match &rollout.standing {
            Standing::Approved { by, digest } => {
                let fleet = self.eye(store, app).shown_fleet.contains(digest);
                self.check_approval(store, app, purpose, rollout, ops, by, digest);
                own_limits = fleet && !self.eye(store, app).grants.iter().any(|grant| grant.digest == rollout.digest);
            }
            Standing::Return => {
                own_limits = false;
                self.check_return(store, app, rollout, ops);
            }
            Standing::Passed => {}
        }
        if !own_limits {
            return;
        }
        match purpose {
            Purpose::Heal => {
                let n = self.eye(store, app).inventory;
                let count = u32::try_from(ops.len()).unwrap_or(u32::MAX);
                let missing = sum.creates;
                let over = allowed(guards.drift_halt, n).is_some_and(|limit| count > limit);
                let all = guards.drift_halt != Limit::Disabled && n >= 3 && missing >= n;
                if over || all {
                    self.broken("drift_halt", format!("{count} of {n} resources are reverted unasked"));
                }
            }
            Purpose::Promote => {
                self.check_limits(store, app, rollout, &sum, &guards);
                self.check_windows(store, app, &sum, &guards, now);
            }
        }
    }

    fn check_limits(&mut self, store: usize, app: usize, rollout: &Rollout, sum: &Measured, guards: &Guards) {
        let now = self.durable(store, app).now();
        let shortest = guards.window_deletes.keys().chain(guards.window_changes.keys()).min().copied();
        let eye = self.eye(store, app);
        let inventory = eye.inventory;
        let n = shortest.map_or(inventory, |window| eye.largest(window, now));
        let groups = eye.groups.clone();
        let tree = self.repository.get(&rollout.commit).and_then(|commit| commit.sources[app].tree());
        let desired = tree.map_or(0, |tree| tree.len());
        let changes = sum.updates + sum.deletes;
        if allowed(guards.change_halt, n).is_some_and(|limit| changes > limit) {
            self.broken("change_halt", format!("{changes} of {n} resources change unapproved"));
        }
        let d = sum.deletes;
        let over = allowed(guards.delete_halt, n).is_some_and(|limit| d > limit)
            || guards.delete_halt != Limit::Disabled
                && (d >= 3 && 2 * d >= inventory || inventory >= 2 && d >= inventory);
        if over {
            self.broken("delete_halt", format!("{d} of {n} resources are deleted unapproved"));
        }
        if let Some(growth) = guards.growth_halt
            && inventory >= growth.from
            && desired >= (growth.factor * inventory) as usize
            && sum.creates >= growth.creates
        {
            self.broken("growth_halt", format!("{} are created beside {inventory}", sum.creates));
        }
        if let Some(halt) = guards.group_halt {
            let emptied = sum
                .removed
                .iter()
                .filter(|(group, removed)| groups.get(*group).is_some_and(|had| *had >= halt.from && *removed >= had));
            if emptied.count() >= halt.groups as usize {
                self.broken("group_halt", "whole groups are emptied unapproved".to_owned());
            }
        }
        if guards.empty_desired_halts && desired == 0 {
            self.broken("empty_desired", "nothing would be left".to_owned());
        }
    }

    fn check_windows(&mut self, store: usize, app: usize, sum: &Measured, guards: &Guards, now: jiff::Timestamp) {
        let eye = self.eye(store, app).clone();
        let kinds =
            [(&guards.window_deletes, guards.delete_halt, true), (&guards.window_changes, guards.change_halt, false)];
        for (windows, halt, deletes) in kinds {
            for (window, times) in windows {
                let Some(limit) = allowed(halt, eye.largest(*window, now)) else { continue };
                let counts = |effect: Effect| effect == Effect::Delete || !deletes && effect == Effect::Update;
                let length = SignedDuration::try_from(*window).unwrap_or(SignedDuration::MAX);
                let planned: BTreeSet<&Id> =
                    sum.effects.iter().filter(|(_, effect)| counts(*effect)).map(|(id, _)| id).collect();
                let before =
                    eye.landed.iter().filter(|(at, _, effect)| now.duration_since(*at) < length && counts(*effect));
                let all: BTreeSet<&Id> = before.map(|(_, id, _)| id).chain(planned.iter().copied()).collect();
                if !planned.is_empty() && all.len() > (limit * times) as usize {
                    let what = if deletes { "deleted" } else { "changed" };
                    self.broken(
                        "window",
                        format!("{} resources {what} within {window:?}, {limit} x{times}", all.len()),
                    );
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is one rollout and its approval")]
    fn check_approval(
        &mut self,
        store: usize,
        app: usize,
        purpose: Purpose,
        rollout: &Rollout,
        ops: &[Op],
        by: &Arc<str>,
        digest: &Digest,
    ) {
        let base = self.durable(store, app).app.converged.clone();
        let people = match (&base, purpose) {
            (_, Purpose::Heal) => BTreeSet::new(),
            (Some(base), _) => self.repository.contributors(base, &rollout.commit, app),
            (None, _) => self.repository.get(&rollout.commit).map(|commit| PEOPLE[commit.author]).into_iter().collect(),
        };
        let guards = self.settings[app].guards.clone();
        let now = self.durable(store, app).now();
        let ttl = SignedDuration::try_from(guards.approval_ttl).unwrap_or(SignedDuration::MAX);
        let eye = self.eye(store, app);
        let fleet = eye.shown_fleet.contains(digest);
        let plan = eye.shown.get(digest) == Some(&print(ops));
        let change = eye.shown_changes.get(digest) == Some(&print_change(ops));
        if !fleet && !plan && !change {
            return self.broken("approval_binding", format!("{by} approved {digest}, which is another plan"));
        }
        let fits = |at: jiff::Timestamp| now.duration_since(at) <= ttl || change;
        let Some(grant) = eye.grants.iter_mut().find(|grant| grant.digest == *digest && !grant.used && fits(grant.at))
        else {
            return self
                .broken("approval_once", format!("the approval of {digest} was used before, lapsed or never given"));
        };
        // A fleet's approval serves every application, each from its own ledger.
        grant.used = !fleet;
        if people.contains(&**by) {
            self.broken("approval_own", format!("{by} approved what they made"));
        }
    }

    fn check_return(&mut self, store: usize, app: usize, rollout: &Rollout, ops: &[Op]) {
        let now = self.durable(store, app).now();
        let day = SignedDuration::from_hours(24);
        let eye = self.eye(store, app);
        let lately = |at: jiff::Timestamp| now.duration_since(at) < day;
        let good = eye.good.iter().rev().find(|(desired, at)| *desired == rollout.desired && lately(*at)).cloned();
        let again = eye.returned.iter().any(|at| lately(*at));
        eye.returned.push(now);
        let Some((_, since)) = good.filter(|_| !again) else {
            return self.broken("return", "this is no return to a good state, or the second in a day".to_owned());
        };
        let foreign = ops.iter().filter(|op| op.verb == Verb::Delete);
        let foreign: Vec<&Id> =
            foreign.filter(|op| eye.created.get(&op.id).is_none_or(|at| *at < since)).map(|op| &op.id).collect();
        if let Some(id) = foreign.first() {
            self.broken("return", format!("a return deletes {id}, which was there before"));
        }
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
