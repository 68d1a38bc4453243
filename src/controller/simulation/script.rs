//! What people, hosts, clocks and disks do: chosen by the seed.

use std::sync::Arc;

use jiff::SignedDuration;

use super::cluster::Owner;
use super::commits::{CHANGES, Change, id, thing};
use super::repository::{PEOPLE, Signed, Thing};
use super::target::by_hand;
use super::world::World;
use crate::core::freeze::Parsed;
use crate::core::guard_digest::guard_digest;
use crate::core::guards::Limit;
use crate::core::ledger::Fact;
use crate::core::resource::{Digest, Id, Nature};
use crate::core::state::{Approval, Hold};

impl World {
    /// Somebody changes the target.
    pub fn drift(&mut self, app: usize) {
        let ids: Vec<Id> = self.targets[app].objects.keys().cloned().collect();
        self.count("drift");
        let many = if self.random.chance(120) { ids.len() } else { 1 };
        let interactive = self.random.chance(250);
        let at = self.random.chance(300).then(|| self.wall());
        let remove = self.random.chance(300);
        for _ in 0..many {
            let Some(id) = self.random.pick(&ids).cloned() else { return };
            if remove {
                let gone = self.leaves(app);
                self.targets[app].delete(&id, gone);
                self.note(|| format!("somebody removes {id}"));
                continue;
            }
            let Some(nature) = self.targets[app].objects.get(&id).map(|object| object.nature.clone()) else { continue };
            let thing = self.edited(nature);
            let now = self.now;
            self.targets[app].put(&id, &thing, by_hand(interactive, at), now, Owner::Other);
            self.note(|| format!("somebody changes {id}, interactively: {interactive}"));
        }
    }

    /// Somebody changes one resource, once more.
    pub fn meddle(&mut self, app: usize, id: &Id) {
        let Some(nature) = self.targets[app].objects.get(id).map(|object| object.nature.clone()) else { return };
        let thing = self.edited(nature);
        let (at, now) = (self.wall(), self.now);
        self.targets[app].put(id, &thing, by_hand(false, Some(at)), now, Owner::Other);
        self.note(|| format!("somebody changes {id} once more"));
    }

    /// Makes up what somebody's hand leaves there.
    fn edited(&mut self, nature: Arc<Nature>) -> Thing {
        Thing { content: 1000 + self.fresh(), nature, sick: false }
    }

    /// Somebody makes something.
    pub fn appear(&mut self, app: usize) {
        let number = self.number(70);
        let id = id(number);
        let now = self.now;
        if !self.targets[app].objects.contains_key(&id) {
            let content = self.fresh();
            self.targets[app].put(&id, &thing(number, content), by_hand(false, None), now, Owner::Other);
            self.note(|| format!("somebody makes {id}"));
        }
    }

    /// A `FREEZE` appears in the state directory.
    pub fn local_freeze(&mut self, app: usize) {
        let landed = self.landed();
        self.note(|| format!("a local freeze of {app}"));
        self.count("a FREEZE in the state directory");
        self.local[app].get_or_insert(landed);
    }

    /// `holdfast freeze`
    pub fn operator_freeze(&mut self, store: usize, app: usize, all: bool) {
        let what = Parsed { reason: Some("drill".to_owned()), ..Parsed::default() };
        let wall = self.wall();
        let landed = self.landed();
        self.count(if all { "an operator freezes everything" } else { "an operator freezes" });
        if all {
            let frozen = self.stores[store].every.state.app.freeze.with_operator("local:ops", "local", what, wall);
            if let Some((state, change)) = frozen {
                self.command_all(store, &[Fact::Freezes { state, change }]);
            }
            for app in 0..self.settings.len() {
                let landed = self.landed();
                self.eye(store, app).operator.get_or_insert(landed);
            }
            return;
        }
        let frozen = self.durable(store, app).app.freeze.with_operator("local:ops", "local", what, wall);
        if let Some((state, change)) = frozen {
            self.command(store, app, &[Fact::Freezes { state, change }]);
            self.eye(store, app).operator.get_or_insert(landed);
        }
    }

    /// `holdfast thaw --all`
    pub fn operator_thaw(&mut self, store: usize) {
        if let Some((state, change)) = self.stores[store].every.state.app.freeze.without_operator("*") {
            self.command_all(store, &[Fact::Freezes { state, change }]);
        }
        for app in 0..self.settings.len() {
            let name = self.name(app);
            if let Some((state, change)) = self.durable(store, app).app.freeze.without_operator(&name) {
                self.command(store, app, &[Fact::Freezes { state, change }]);
            }
            self.eye(store, app).operator = None;
        }
    }

    /// `holdfast approve`, a tag or the API.
    pub fn approve(&mut self, store: usize, app: usize, digest: Digest, by: &str) {
        let state = self.durable(store, app);
        if state.app.approvals.iter().any(|known| known.digest == digest && known.used) {
            return;
        }
        self.approve_anew(store, app, digest, by);
    }

    /// Approves even what was approved and used before, which the command refuses: without it, an operation whose approved
    /// rollout was cancelled could never be let go again.
    pub fn approve_anew(&mut self, store: usize, app: usize, digest: Digest, by: &str) {
        self.count("an approval");
        let state = self.durable(store, app);
        let approval = Approval { digest, by: by.into(), via: "api".into(), at: state.now(), used: false, key: None };
        self.command(store, app, &[Fact::Approved { approval }]);
    }

    /// Somebody approves something that is shown.
    pub fn approve_something(&mut self, store: usize, app: usize) {
        let latches = self.durable(store, app).app.latches.clone();
        let configured = Some(self.settings[app].guards_digest).filter(|digest| self.looser.contains(&(app, *digest)));
        let eye = self.eye(store, app);
        let mut digests: Vec<Digest> = latches.values().filter_map(|latch| latch.digest).collect();
        digests.extend(digests.clone());
        digests.extend(digests.clone());
        digests.extend(configured);
        digests.extend(eye.shown.keys().copied().take(3));
        digests.extend(eye.shown_changes.keys().copied().take(2));
        digests.extend(eye.shown_ops.keys().copied().take(2));
        let by = ["local:ops", PEOPLE[1], PEOPLE[2], PEOPLE[0]][self.number(4)];
        if let Some(digest) = self.random.pick(&digests).copied() {
            self.approve(store, app, digest, by);
        }
    }

    /// `holdfast hold`
    pub fn hold(&mut self, store: usize, app: usize) {
        let ids: Vec<Id> = self.durable(store, app).resources.keys().cloned().collect();
        let Some(id) = self.random.pick(&ids).cloned() else { return };
        let now = self.durable(store, app).now();
        let until = self.random.chance(500).then(|| now.checked_add(SignedDuration::from_mins(30)).expect("in range"));
        self.count("a hold");
        let hold = Hold { by: "local:ops".into(), reason: "incident".into(), since: now, until };
        self.command(store, app, &[Fact::Held { id, hold }]);
    }

    /// `holdfast release` of everything that is held or quarantined, or differs.
    pub fn release_all(&mut self, store: usize, app: usize) {
        let mut facts = Vec::new();
        for (id, resource) in &self.durable(store, app).resources {
            let Some(trouble) = resource.trouble.as_deref() else { continue };
            let differs = trouble.drift.as_ref().is_some_and(|mark| mark.released.is_none());
            if trouble.hold.is_some() || trouble.quarantined.is_none() && differs {
                facts.push(Fact::Released { id: id.clone(), by: "local:ops".into() });
            }
            if trouble.quarantined.is_some() {
                facts.push(Fact::Unquarantined { id: id.clone() });
            }
        }
        if !facts.is_empty() {
            self.command(store, app, &facts);
        }
    }

    /// `holdfast reanchor` to the tip.
    pub fn reanchor(&mut self, store: usize, app: usize) {
        self.count("a reanchoring");
        let commit = self.repository.tip.clone();
        let anchor = self.targets[app].anchor.clone().map(Box::new);
        let clock = Some(crate::core::clock::Clock::start(&self.reading()));
        let fact = Fact::Reanchored { commit, by: "local:ops".into(), reason: "looked".to_owned(), clock, anchor };
        self.command(store, app, &[fact]);
    }

    /// Somebody's key is taken back.
    pub fn revoke(&mut self) {
        let key = self.number(2);
        self.count("a key is revoked");
        self.repository.revoked.insert(key);
        self.note(|| format!("the key of {} is revoked", PEOPLE[key]));
    }

    /// The wall clock jumps.
    pub fn jump(&mut self) {
        let by = [-600_000, -20_000, 60_000, 3_600_000, 864_000_000][self.number(5)];
        self.skew += by;
        self.count(if by < 0 { "the clock jumps back" } else { "the clock jumps ahead" });
        self.note(|| format!("the clock jumps by {by} ms"));
    }

    /// Somebody loosens an application's configuration, or takes that back.
    pub fn loosen(&mut self, app: usize) {
        let base = self.base[app].clone();
        let mut guards = base.clone();
        match self.number(8) {
            0 => guards.change_halt = Limit::Disabled,
            1 => guards.delete_halt = Limit::Disabled,
            2 => guards.drift_halt = Limit::Disabled,
            3 => guards.write_cap = Limit::Disabled,
            4 => guards.window_deletes.clear(),
            5 => guards.protected_defaults = false,
            6 => guards.growth_halt = None,
            _ => {}
        }
        let target = Digest::of_parts([format!("target-{app}")]);
        let digest = guard_digest(&guards, &self.settings[app].policy, target);
        self.count("the configuration changes");
        self.note(|| format!("the configuration of {app} becomes {digest}"));
        if guards != base {
            self.looser.insert((app, digest));
        }
        (self.settings[app].guards, self.settings[app].guards_digest) = (guards, digest);
    }

    /// The target takes no more writes of some resources, or of all, or takes them again.
    pub fn jam(&mut self, app: usize) {
        if !self.jammed.is_empty() {
            self.jammed.clear();
            return self.note(|| "everything is taken again".to_owned());
        }
        self.count("the target takes no more writes");
        let share = [200, 1000][self.number(2)];
        let share = if self.focus.is_some_and(super::focus::stays_jammed) { 1000 } else { share };
        for number in 0..60 {
            if self.random.chance(share) {
                self.jammed.insert((app, id(number)));
            }
        }
        self.note(|| format!("the target of {app} takes no more writes of {share} in 1000 resources"));
    }
}

/// Something happens between two cycles.
pub fn happen(world: &mut World, store: usize) {
    let app = world.number(world.settings.len());
    if let Some(focus) = world.focus
        && world.random.chance(if super::focus::stays_jammed(focus) { 900 } else { 500 })
    {
        return super::focus::happen(world, store, app, focus);
    }
    if world.targets[app].cluster.is_some() && world.random.chance(200) {
        return world.stir(app);
    }
    match world.number(50) {
        0..=11 => {
            let change = CHANGES[world.number(CHANGES.len())];
            let signed = world.signed();
            world.push_change(change, signed);
        }
        12..=15 => world.push_change(Change::Drip, Signed::By(0)),
        16..=18 => world.push_change(Change::Small, Signed::By(1)),
        19 => world.push_freeze(),
        20 | 21 if !world.repository.at_tip().freezes.is_empty() => world.push_thaw(),
        22 => world.rewrite(),
        23..=26 => world.drift(app),
        27 => world.appear(app),
        28 => world.local_freeze(app),
        29 | 30 => world.local = vec![None; world.settings.len()],
        31 => {
            let all = world.random.chance(300);
            world.operator_freeze(store, app, all);
        }
        32 | 33 => world.operator_thaw(store),
        34..=37 => world.approve_something(store, app),
        38 => world.hold(store, app),
        39 => world.release_all(store, app),
        40 if world.random.chance(300) => world.jump(),
        41 if world.random.chance(300) => world.reanchor(store, app),
        42 if world.random.chance(100) => world.revoke(),
        43 if world.random.chance(300) => world.mount(app, false),
        44 | 45 => world.mount(app, true),
        46 if world.random.chance(300) => world.jam(app),
        47 if !world.jammed.is_empty() && !world.focus.is_some_and(super::focus::stays_jammed) => world.jam(app),
        48 if world.random.chance(400) => world.loosen(app),
        _ => {}
    }
}

/// Something happens between two calls of a cycle.
pub fn meanwhile(world: &mut World, app: usize) {
    let store = 0;
    world.count("something happens between two calls");
    // Each commit of a range that is held costs calls in every cycle: it must not grow faster than it is looked through.
    let few = world.repository.commits.len() < 100;
    match world.number(10) {
        9 => world.stir(app),
        0 if few => world.push_freeze(),
        1 => world.local_freeze(app),
        2 => world.operator_freeze(store, app, false),
        3..=5 => world.drift(app),
        6 if few => world.push_change(Change::Small, Signed::By(0)),
        7 => world.hold(store, app),
        _ => world.appear(app),
    }
}
