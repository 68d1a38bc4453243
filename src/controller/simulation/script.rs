//! What people, hosts, clocks and disks do: chosen by the seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use super::repository::{PEOPLE, Signed, Source, Thing, Tree};
use super::target::by_hand;
use super::world::World;
use crate::core::freeze::Parsed;
use crate::core::ledger::Fact;
use crate::core::resource::{Digest, Id, Nature, Vitals};
use crate::core::state::{Approval, Hold};

/// The groups that resources are in.
const GROUPS: [&str; 4] = ["api", "db", "ops", "web"];

/// Names a resource.
pub fn id(number: usize) -> Id {
    Id::new(format!("{}/{number:02}.yaml", GROUPS[number % GROUPS.len()]))
}

/// Makes what a resource shall be.
pub fn thing(number: usize, content: u32) -> Thing {
    let nature = Nature {
        vitals: Vitals::CONTENT,
        group: Some(GROUPS[number % GROUPS.len()].into()),
        protected: number % 11 == 7,
        access_control: number % 13 == 5,
        ..Nature::default()
    };
    Thing { content, nature, sick: false }
}

/// Makes a first tree.
pub fn tree(size: usize) -> Tree {
    (0..size).map(|number| (id(number), thing(number, 1))).collect()
}

/// What one commit does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A few updates, creations and deletions.
    Small,
    /// Many updates.
    Sweep,
    /// Many deletions.
    Purge,
    /// All of it is gone.
    Empty,
    /// The path is gone.
    Missing,
    /// It does not render.
    Broken,
    /// Many creations.
    Growth,
    /// A few that do not work.
    Sick,
    /// A few are emptied.
    Hollow,
    /// Resources move to other names.
    Move,
    /// A state of before.
    Back,
    /// Deletions, as many as just pass.
    Drip,
}

const CHANGES: [Change; 20] = [
    Change::Small,
    Change::Small,
    Change::Small,
    Change::Small,
    Change::Small,
    Change::Small,
    Change::Drip,
    Change::Drip,
    Change::Sweep,
    Change::Sweep,
    Change::Purge,
    Change::Purge,
    Change::Empty,
    Change::Missing,
    Change::Broken,
    Change::Growth,
    Change::Sick,
    Change::Hollow,
    Change::Move,
    Change::Back,
];

impl World {
    fn number(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    fn fresh(&mut self) -> u32 {
        2 + u32::try_from(self.random.below(60)).unwrap_or(0)
    }

    /// Makes another tree of one.
    pub fn change(&mut self, tree: &Tree, change: Change, app: usize) -> Source {
        let mut tree = tree.clone();
        let ids: Vec<Id> = tree.keys().cloned().collect();
        let size = ids.len();
        match change {
            Change::Small => {
                for _ in 0..=self.number(2) {
                    let content = self.fresh();
                    match self.number(4) {
                        0 => {
                            let number = self.number(60);
                            tree.insert(id(number), thing(number, content));
                        }
                        1 if size > 1 => drop(tree.remove(&ids[self.number(size)])),
                        _ if size > 0 => {
                            let at = &ids[self.number(size)];
                            if let Some(thing) = tree.get_mut(at) {
                                thing.content = content;
                                thing.sick = false;
                                thing.nature.vitals = Vitals::CONTENT;
                            }
                        }
                        _ => {}
                    }
                }
            }
            Change::Sweep => {
                let content = self.fresh();
                let share = 300 + 700 * u32::from(self.random.chance(300));
                for thing in tree.values_mut() {
                    if self.random.chance(share) {
                        thing.content = content;
                    }
                }
            }
            Change::Purge => {
                let share = 200 + u32::try_from(self.number(700)).unwrap_or(0);
                tree.retain(|_, _| !self.random.chance(share));
            }
            Change::Drip => {
                let most = 1 + self.number(4);
                for at in ids.iter().take(size.saturating_sub(1)).filter(|_| self.random.chance(400)).take(most) {
                    tree.remove(at);
                }
            }
            Change::Empty => tree.clear(),
            Change::Missing => return Source::Missing,
            Change::Broken => return Source::Broken,
            Change::Growth => {
                for number in 0..60 {
                    let content = self.fresh();
                    tree.entry(id(number)).or_insert_with(|| thing(number, content));
                }
            }
            Change::Sick => {
                for _ in 0..=self.number(5) {
                    if let Some(thing) = ids.get(self.number(size)).and_then(|id| tree.get_mut(id)) {
                        (thing.content, thing.sick) = (99, true);
                    }
                }
            }
            Change::Hollow => {
                for _ in 0..=self.number(3) {
                    if let Some(thing) = ids.get(self.number(size)).and_then(|id| tree.get_mut(id)) {
                        (thing.content, thing.nature.vitals) = (0, Vitals::default());
                    }
                }
            }
            Change::Move => {
                for _ in 0..=self.number(3) {
                    let (from, to) = (self.number(60), self.number(60));
                    if !tree.contains_key(&id(to))
                        && let Some(mut old) = tree.remove(&id(from))
                    {
                        old.nature.group = thing(to, 0).nature.group;
                        tree.insert(id(to), old);
                    }
                }
            }
            Change::Back => {
                let commits: Vec<_> = self.repository.commits.keys().cloned().collect();
                let commit = commits[commits.len() - 1 - self.number(commits.len().min(6))].clone();
                return self.repository.commits[&commit].sources[app].clone();
            }
        }
        Source::Tree(tree)
    }

    fn signed(&mut self) -> Signed {
        match self.number(20) {
            0 => Signed::Unsigned,
            1 => Signed::Foreign,
            2 => Signed::Expired,
            number => Signed::By(number % 2),
        }
    }

    /// Pushes a commit.
    pub fn push(&mut self, sources: Vec<Source>, freezes: BTreeMap<Arc<str>, Vec<u8>>, signed: Signed) {
        self.push_on(vec![self.repository.tip.clone()], sources, freezes, signed);
    }

    fn push_on(
        &mut self,
        parents: Vec<crate::core::commit::CommitId>,
        sources: Vec<Source>,
        freezes: BTreeMap<Arc<str>, Vec<u8>>,
        signed: Signed,
    ) {
        let author = match signed {
            Signed::By(key) => key,
            _ => 0,
        };
        let committed = match signed {
            Signed::Expired => World::beginning().checked_sub(SignedDuration::from_hours(24)).expect("in range"),
            _ => self.wall(),
        };
        let commit = self.repository.add(parents, sources, freezes, signed, author, committed);
        self.set_tip(commit.clone());
        self.note(|| format!("pushed {commit:?}, {signed:?}"));
    }

    fn set_tip(&mut self, commit: crate::core::commit::CommitId) {
        let before = self.repository.at_tip().freezes.clone();
        self.repository.tip = commit;
        let now = &self.repository.at_tip().freezes;
        if now.is_empty() {
            self.frozen_tip = None;
        } else if *now != before || self.frozen_tip.is_none() {
            self.frozen_tip = Some(self.landed());
        }
    }

    fn push_change(&mut self, change: Change, signed: Signed) {
        let tip = self.repository.at_tip().clone();
        let mut sources = tip.sources.clone();
        let all = self.random.chance(400);
        for (app, source) in sources.iter_mut().enumerate() {
            if all || self.random.chance(600) {
                let tree = source.tree().unwrap_or_else(|| tree(3));
                let tree = if tree.is_empty() { super::script::tree(4) } else { tree };
                *source = self.change(&tree, change, app);
            }
        }
        self.note(|| format!("a commit: {change:?}"));
        self.push(sources, tip.freezes, signed);
    }

    fn push_freeze(&mut self) {
        let tip = self.repository.at_tip().clone();
        let mut freezes = tip.freezes.clone();
        let until = self.wall().checked_add(SignedDuration::from_mins(20)).expect("in range");
        let said = match self.number(6) {
            0 => format!("until: {until}\n"),
            1 => "scope: [app-0]\n".to_owned(),
            2 => "scope: [nobody]\n".to_owned(),
            3 => "until: yesterday".to_owned(),
            _ => "incident 4711\n".to_owned(),
        };
        freezes.insert("FREEZE".into(), said.into_bytes());
        let signed = if self.random.chance(500) { Signed::Unsigned } else { Signed::By(0) };
        self.push(tip.sources, freezes, signed);
    }

    fn push_thaw(&mut self) {
        let tip = self.repository.at_tip().clone();
        let signed = if self.random.chance(400) { Signed::Unsigned } else { Signed::By(1) };
        self.push(tip.sources, BTreeMap::new(), signed);
    }

    fn rewrite(&mut self) {
        let commits: Vec<_> = self.repository.commits.keys().cloned().collect();
        let old = commits[commits.len() - 1 - self.number(commits.len().min(5))].clone();
        match self.number(3) {
            0 => {
                self.note(|| format!("the branch is reset to {old:?}"));
                self.set_tip(old);
            }
            1 => {
                let commit = self.repository.commits[&old].clone();
                let tree = commit.sources[0].tree().unwrap_or_default();
                let mut sources = commit.sources.clone();
                sources[0] = self.change(&tree, Change::Small, 0);
                let signed = self.signed();
                self.push_on(commit.parents.clone(), sources, commit.freezes, signed);
            }
            _ => {
                // A foxtrot merge: what was the branch is now the second parent.
                let commit = self.repository.commits[&old].clone();
                let tip = self.repository.tip.clone();
                let sources = self.repository.at_tip().sources.clone();
                self.push_on(vec![old, tip], sources, commit.freezes, Signed::By(0));
            }
        }
    }

    /// Somebody changes the target.
    pub fn drift(&mut self, app: usize) {
        let ids: Vec<Id> = self.targets[app].objects.keys().cloned().collect();
        let many = if self.random.chance(120) { ids.len() } else { 1 };
        let interactive = self.random.chance(250);
        let at = self.random.chance(300).then(|| self.wall());
        let remove = self.random.chance(300);
        for _ in 0..many {
            let Some(id) = self.random.pick(&ids).cloned() else { return };
            if remove {
                self.targets[app].objects.remove(&id);
                self.note(|| format!("somebody removes {id}"));
                continue;
            }
            let Some(nature) = self.targets[app].objects.get(&id).map(|object| object.nature.clone()) else { continue };
            let content = 1000 + self.fresh();
            let thing = Thing { content, nature, sick: false };
            let now = self.now;
            self.targets[app].put(&id, &thing, by_hand(interactive, at), now);
            self.note(|| format!("somebody changes {id}, interactively: {interactive}"));
        }
    }

    fn appear(&mut self, app: usize) {
        let number = self.number(70);
        let id = id(number);
        let now = self.now;
        if !self.targets[app].objects.contains_key(&id) {
            let content = self.fresh();
            self.targets[app].put(&id, &thing(number, content), by_hand(false, None), now);
            self.note(|| format!("somebody makes {id}"));
        }
    }

    fn local_freeze(&mut self, app: usize) {
        let landed = self.landed();
        self.note(|| format!("a local freeze of {app}"));
        self.local[app].get_or_insert(landed);
    }

    /// `holdfast freeze`
    fn operator_freeze(&mut self, store: usize, app: usize, all: bool) {
        let what = Parsed { reason: Some("drill".to_owned()), ..Parsed::default() };
        let wall = self.wall();
        let landed = self.landed();
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
        let state = self.durable(store, app);
        let approval = Approval { digest, by: by.into(), via: "api".into(), at: state.now(), used: false, key: None };
        self.command(store, app, &[Fact::Approved { approval }]);
    }

    fn approve_something(&mut self, store: usize, app: usize) {
        let latches = self.durable(store, app).app.latches.clone();
        let eye = self.eye(store, app);
        let mut digests: Vec<Digest> = latches.values().filter_map(|latch| latch.digest).collect();
        digests.extend(digests.clone());
        digests.extend(digests.clone());
        digests.extend(eye.shown.keys().copied().take(3));
        digests.extend(eye.shown_changes.keys().copied().take(2));
        digests.extend(eye.shown_ops.keys().copied().take(2));
        let by = ["local:ops", PEOPLE[1], PEOPLE[2], PEOPLE[0]][self.number(4)];
        if let Some(digest) = self.random.pick(&digests).copied() {
            self.approve(store, app, digest, by);
        }
    }

    fn hold(&mut self, store: usize, app: usize) {
        let ids: Vec<Id> = self.durable(store, app).resources.keys().cloned().collect();
        let Some(id) = self.random.pick(&ids).cloned() else { return };
        let now = self.durable(store, app).now();
        let until = self.random.chance(500).then(|| now.checked_add(SignedDuration::from_mins(30)).expect("in range"));
        let hold = Hold { by: "local:ops".into(), reason: "incident".into(), since: now, until };
        self.command(store, app, &[Fact::Held { id, hold }]);
    }

    /// `holdfast release` of everything that is held or quarantined.
    pub fn release_all(&mut self, store: usize, app: usize) {
        let mut facts = Vec::new();
        for (id, resource) in &self.durable(store, app).resources {
            let Some(trouble) = resource.trouble.as_deref() else { continue };
            if trouble.hold.is_some() {
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
        let commit = self.repository.tip.clone();
        let anchor = self.targets[app].anchor.clone().map(Box::new);
        let clock = Some(crate::core::clock::Clock::start(&self.reading()));
        let fact = Fact::Reanchored { commit, by: "local:ops".into(), reason: "looked".to_owned(), clock, anchor };
        self.command(store, app, &[fact]);
    }

    fn jump(&mut self) {
        let by = [-600_000, -20_000, 60_000, 3_600_000, 864_000_000][self.number(5)];
        self.skew += by;
        self.note(|| format!("the clock jumps by {by} ms"));
    }
}

/// Something happens between two cycles.
pub fn happen(world: &mut World, store: usize) {
    let app = world.number(world.settings.len());
    match world.number(44) {
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
        42 if world.random.chance(100) => {
            let key = world.number(2);
            world.repository.revoked.insert(key);
            world.note(|| format!("the key of {} is revoked", PEOPLE[key]));
        }
        _ => {}
    }
}

/// Something happens between two calls of a cycle.
pub fn meanwhile(world: &mut World, app: usize) {
    let store = 0;
    match world.number(9) {
        0 => world.push_freeze(),
        1 => world.local_freeze(app),
        2 => world.operator_freeze(store, app, false),
        3..=5 => world.drift(app),
        6 => world.push_change(Change::Small, Signed::By(0)),
        7 => world.hold(store, app),
        _ => world.appear(app),
    }
}
