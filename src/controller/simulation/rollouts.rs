//! What must hold when a rollout begins: the limits of a whole plan, the window, approvals, returns.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;

use super::invariants::{Measured, allowed};
use super::oracle::{print, print_change};
use super::repository::{PEOPLE, Source};
use super::world::World;
use crate::core::commit::CommitId;
use crate::core::guards::{Guards, Limit, OnPoison};
use crate::core::op::{Effect, Op, Verb};
use crate::core::resource::{Digest, Id};
use crate::core::state::{Purpose, Rollout, Standing};

/// What the applications of one ledger would change together.
#[derive(Clone, Debug, Default)]
pub struct FleetEye {
    /// What the tip wants of all of them.
    sources: Vec<Source>,
    /// Whether that was too much together, when it was first seen.
    over: bool,
    /// What it changed of each.
    own: Vec<u32>,
    /// The digests under which it was shown.
    digests: BTreeSet<Digest>,
}

impl World {
    /// Called when all applications were judged together: measures what the tip changes of what each accepted.
    pub fn check_fleet(&mut self, store: usize, tip: Option<&CommitId>, digest: Option<Digest>) {
        let Some(commit) = tip.and_then(|tip| self.repository.get(tip)) else { return };
        let sources = commit.sources.clone();
        if self.fleets.get(&store).is_none_or(|known| known.sources != sources) {
            let (mut own, mut deletes, mut all) = (Vec::new(), 0, 0);
            for (app, source) in sources.iter().enumerate() {
                let state = self.durable(store, app);
                let (changed, deleted) = self.changed(store, app, source);
                all += state.inventory();
                deletes += deleted;
                own.push(changed);
            }
            let changes: u32 = own.iter().sum();
            let over = allowed(self.fleet.change, all).is_some_and(|limit| changes > limit)
                || allowed(self.fleet.delete, all).is_some_and(|limit| deletes > limit);
            self.fleets.insert(store, FleetEye { sources, over, own, digests: BTreeSet::new() });
            if over {
                self.count("too much together");
            }
        }
        if let Some(eye) = self.fleets.get_mut(&store) {
            eye.digests.extend(digest);
        }
    }

    /// Counts what a source changes, and what of that goes, against what was accepted; what is protected is parked anyway.
    fn changed(&self, store: usize, app: usize, source: &Source) -> (u32, u32) {
        let state = self.durable(store, app);
        let Some(tree) = source.tree() else { return (state.inventory(), 0) };
        let guards = &self.settings[app].guards;
        let mut new: Vec<Digest> = tree
            .iter()
            .filter(|(id, _)| state.resources.get(*id).is_none_or(|known| known.accepted.is_none()))
            .map(|(_, thing)| thing.digest())
            .collect();
        let (mut changed, mut deleted) = (0, 0);
        for (id, resource) in &state.resources {
            let Some(accepted) =
                resource.accepted.as_deref().filter(|known| !guards.protects(id, known.about.nature.protected))
            else {
                continue;
            };
            match tree.get(id) {
                Some(thing) if thing.digest() == accepted.desired => {}
                Some(thing) => {
                    changed += 1;
                    deleted += u32::from(accepted.about.nature.vitals.0 & !thing.nature.vitals.0 != 0);
                }
                None => {
                    changed += 1;
                    // A move is no deletion.
                    match new.iter().position(|digest| *digest == accepted.desired) {
                        Some(at) => drop(new.swap_remove(at)),
                        None => deleted += 1,
                    }
                }
            }
        }
        (changed, deleted)
    }

    /// What was too much together goes with an approval of all of it only.
    fn check_together(&mut self, store: usize, app: usize, rollout: &Rollout) {
        let Some(eye) = self.fleets.get(&store).cloned() else { return };
        let same = self.repository.get(&rollout.commit).is_some_and(|commit| commit.sources == eye.sources);
        let approved = self.eye(store, app).grants.iter().any(|grant| eye.digests.contains(&grant.digest));
        if same && eye.over && eye.own[app] > 0 && !approved {
            self.broken("fleet", format!("application {app} promotes its part of {:?} unapproved", rollout.commit));
        }
    }

    /// A part of a poisoned range is followed only under half of every limit (`GUARDS.md` 3.5).
    fn check_prefix(&mut self, pid: usize, store: usize, app: usize, rollout: &Rollout, sum: &Measured) {
        let Some(tip) = self.seen(pid, app).tip.clone() else { return };
        if rollout.commit == tip {
            return;
        }
        self.count("the commits before a culprit are followed");
        let guards = self.guards(store, app);
        let n = self.inventory_lately(store, app, &guards);
        let (changes, deletes) = (sum.updates + sum.deletes, sum.deletes);
        let half = |limit: Limit, count: u32| allowed(limit, n).is_some_and(|limit| count > 0 && 2 * count >= limit);
        if guards.on_poison == OnPoison::Hold || half(guards.change_halt, changes) || half(guards.delete_halt, deletes)
        {
            self.broken("last_good", format!("{changes} changes lead to {:?}, before the culprit", rollout.commit));
        }
    }

    fn inventory_lately(&mut self, store: usize, app: usize, guards: &Guards) -> u32 {
        let now = self.durable(store, app).now();
        let shortest = guards.window_deletes.keys().chain(guards.window_changes.keys()).min().copied();
        let eye = self.eye(store, app);
        shortest.map_or(eye.inventory, |window| eye.largest(window, now))
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
        let guards = self.guards(store, app);
        let now = self.durable(store, app).now();
        let sum = self.measure(pid, app, ops, &rollout.commit, purpose);
        if purpose == Purpose::Promote {
            self.check_together(store, app, rollout);
            self.check_prefix(pid, store, app, rollout, &sum);
        }
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
        let n = self.inventory_lately(store, app, guards);
        let eye = self.eye(store, app);
        let (inventory, begun) = (eye.inventory, eye.begun);
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
        let had = begun.max(inventory as usize);
        if let Some(growth) = guards.growth_halt
            && had >= growth.from as usize
            && desired >= growth.factor as usize * had
            && sum.creates >= growth.creates
        {
            self.broken("growth_halt", format!("{} are created beside {had}", sum.creates));
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
        let first = self.eye(store, app).first.clone();
        let base = self.durable(store, app).app.converged.clone().or(first);
        let resources = ops.iter().map(|op| &op.id).collect();
        let people = match (&base, purpose) {
            (_, Purpose::Heal) => BTreeSet::new(),
            (Some(base), _) => self.repository.contributors(base, &rollout.commit, app, &resources),
            (None, _) => self.repository.get(&rollout.commit).map(|commit| PEOPLE[commit.author]).into_iter().collect(),
        };
        let guards = self.guards(store, app);
        let now = self.durable(store, app).now();
        let ttl = SignedDuration::try_from(guards.approval_ttl).unwrap_or(SignedDuration::MAX);
        let eye = self.eye(store, app);
        let fleet = eye.shown_fleet.contains(digest);
        let plan = match eye.shown.get(digest) {
            Some(shown) => *shown == print(ops),
            None => *digest == rollout.digest && eye.latched.contains(digest),
        };
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
}
