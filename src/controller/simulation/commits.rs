//! What is pushed: trees that change in every way that a limit looks at, freezes, thaws, and rewritten history.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use jiff::SignedDuration;

use super::repository::{Signed, Source, Thing, Tree};
use super::world::World;
use crate::core::commit::CommitId;
use crate::core::resource::{Id, Nature, Vitals};

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
    Thing { content, nature: Arc::new(nature), sick: false }
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

impl Change {
    /// Says what it is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "a small commit",
            Self::Sweep => "a sweep",
            Self::Purge => "a purge",
            Self::Empty => "all is gone",
            Self::Missing => "the path is gone",
            Self::Broken => "it does not render",
            Self::Growth => "growth",
            Self::Sick => "what does not work",
            Self::Hollow => "what is emptied",
            Self::Move => "a move",
            Self::Back => "back to a state of before",
            Self::Drip => "a drip",
        }
    }
}

/// What commits do, as often as they do it.
pub const CHANGES: [Change; 20] = [
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
    /// Chooses a number below an end.
    pub fn number(&mut self, end: usize) -> usize {
        self.random.below(end)
    }

    /// Makes content up.
    pub fn fresh(&mut self) -> u32 {
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
                                Arc::make_mut(&mut thing.nature).vitals = Vitals::CONTENT;
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
                        (thing.content, Arc::make_mut(&mut thing.nature).vitals) = (0, Vitals::default());
                    }
                }
            }
            Change::Move => {
                for _ in 0..=self.number(3) {
                    let (from, to) = (self.number(60), self.number(60));
                    if !tree.contains_key(&id(to))
                        && let Some(mut old) = tree.remove(&id(from))
                    {
                        Arc::make_mut(&mut old.nature).group = thing(to, 0).nature.group.clone();
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
        Source::Tree(Rc::new(tree))
    }

    /// Says how a commit is signed.
    pub fn signed(&mut self) -> Signed {
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
        parents: Vec<CommitId>,
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
        self.count(match signed {
            Signed::By(_) => "signed",
            Signed::Unsigned => "unsigned",
            Signed::Foreign => "signed by nobody known",
            Signed::Expired => "signed with an expired key",
        });
        self.note(|| format!("pushed {commit:?}, {signed:?}"));
    }

    fn set_tip(&mut self, commit: CommitId) {
        let before = self.repository.at_tip().freezes.clone();
        self.repository.tip = commit;
        let now = &self.repository.at_tip().freezes;
        if now.is_empty() {
            self.frozen_tip = None;
        } else if *now != before || self.frozen_tip.is_none() {
            self.frozen_tip = Some(self.landed());
        }
    }

    /// Pushes a commit that changes some applications, or all.
    pub fn push_change(&mut self, change: Change, signed: Signed) {
        let tip = self.repository.at_tip().clone();
        let mut sources = tip.sources.clone();
        let all = self.random.chance(400);
        for (app, source) in sources.iter_mut().enumerate() {
            if all || self.random.chance(600) {
                let known = source.tree().filter(|tree| !tree.is_empty());
                let tree = known.unwrap_or_else(|| Rc::new(tree(4)));
                *source = self.change(&tree, change, app);
            }
        }
        self.count(change.as_str());
        self.note(|| format!("a commit: {change:?}"));
        self.push(sources, tip.freezes, signed);
    }

    /// Pushes a `FREEZE`.
    pub fn push_freeze(&mut self) {
        let tip = self.repository.at_tip().clone();
        let mut freezes = tip.freezes.clone();
        let until = self.wall().checked_add(SignedDuration::from_mins(20)).expect("in range");
        self.count("a FREEZE is pushed");
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

    /// Pushes a commit without one.
    pub fn push_thaw(&mut self) {
        let tip = self.repository.at_tip().clone();
        let signed = if self.random.chance(400) { Signed::Unsigned } else { Signed::By(1) };
        self.push(tip.sources, BTreeMap::new(), signed);
    }

    /// Rewrites the branch.
    pub fn rewrite(&mut self) {
        self.count("history is rewritten");
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
}
