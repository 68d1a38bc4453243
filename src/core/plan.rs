//! A plan: the ordered operations, what is parked, how much it amounts to, and its digests (`GUARDS.md` 5).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::op::{Class, Effect, Op, Verb, is_bump};
use super::resource::{Digest, FieldChange, Hasher, Id, Vitals};
use super::state::Purpose;
use super::weaken::{self, Weakened};

/// How much a plan amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Magnitude {
    /// What is new.
    pub creates: u32,
    /// What is changed or adopted, bumps apart; a move or a supersession is one.
    pub updates: u32,
    /// What is removed, replaced, emptied or stopped, with what would go with it.
    pub deletes: u32,
    /// Version-only updates.
    pub bumps: u32,
    /// Updates of listed metadata only; paced, not counted.
    pub inert: u32,
}

impl Magnitude {
    /// Adds up the operations. The order does not matter.
    pub fn of<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Self {
        let mut sum = Self::default();
        for op in ops {
            sum += Self::of_op(op);
        }
        sum
    }

    fn of_op(op: &Op) -> Self {
        let one = op.weight.max(1);
        match (op.class, op.effect) {
            (Class::Inert, Effect::Update) => Self { inert: 1, ..Self::default() },
            (Class::Bump, Effect::Update) => Self { bumps: 1, ..Self::default() },
            // Of a pair, the half that removes carries the count.
            (Class::Move | Class::Supersede, _) if op.verb == Verb::Delete => Self { updates: 1, ..Self::default() },
            (Class::Move | Class::Supersede, Effect::Create) => Self::default(),
            (_, Effect::Create) => Self { creates: 1, ..Self::default() },
            (_, Effect::Update) => Self { updates: 1, ..Self::default() },
            (_, Effect::Delete) => Self { deletes: one, ..Self::default() },
        }
    }

    /// Returns updates and deletions together, bumps apart: what `change_halt` limits.
    pub const fn changes(&self) -> u32 {
        self.updates.saturating_add(self.deletes)
    }

    /// Returns the largest of what the limits look at: by this the commits of a range are ranked.
    pub const fn rank(&self) -> u32 {
        self.changes().saturating_add(self.bumps)
    }

    /// Tells whether nothing is counted.
    pub const fn is_zero(&self) -> bool {
        self.creates == 0 && self.updates == 0 && self.deletes == 0 && self.bumps == 0 && self.inert == 0
    }
}

impl AddAssign for Magnitude {
    fn add_assign(&mut self, other: Self) {
        self.creates = self.creates.saturating_add(other.creates);
        self.updates = self.updates.saturating_add(other.updates);
        self.deletes = self.deletes.saturating_add(other.deletes);
        self.bumps = self.bumps.saturating_add(other.bumps);
        self.inert = self.inert.saturating_add(other.inert);
    }
}

/// One operation that waits for an approval of its own, whatever the rest of the plan does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parked {
    /// What is parked.
    pub op: Op,
    /// Why: `protected` or `conflict`.
    pub code: &'static str,
    /// The same for people.
    pub why: Arc<str>,
    /// What an approval of it names.
    pub digest: Digest,
}

/// The ordered operations of one purpose.
#[derive(Clone, PartialEq, Debug)]
#[must_use]
pub struct Plan {
    /// What for.
    pub purpose: Purpose,
    /// What would be written, in order: deletions last.
    pub ops: Vec<Op>,
    /// What waits for an approval of its own.
    pub parked: Vec<Parked>,
    /// How much `ops` amount to.
    pub magnitude: Magnitude,
    /// What an approval binds to.
    pub digest: Digest,
    /// What a pre-approval binds to.
    pub change: Digest,
}

/// What changes inside the resources that a plan updates.
pub type Details = BTreeMap<Id, Vec<FieldChange>>;

impl Plan {
    /// Makes a plan of operations: classes them, parks what is protected, orders and hashes.
    ///
    /// `approved` says which parked operations (by digest) an approval lets go.
    pub fn new(
        purpose: Purpose,
        mut ops: Vec<Op>,
        details: &Details,
        guards: &Digest,
        approved: impl Fn(&Digest) -> bool,
    ) -> Self {
        // What is paired with what, and so the digests, must not depend on the order in which it was found.
        ops.sort_by(|a, b| a.id.cmp(&b.id));
        mark_replacements(&mut ops);
        pair_moves(&mut ops);
        pair_supersessions(&mut ops);
        for op in &mut ops {
            if let Some(changes) = details.get(&op.id) {
                if op.effect == Effect::Update && op.class == Class::Plain && is_bump(changes) {
                    op.class = Class::Bump;
                }
                op.shape = shape(op, changes);
            }
        }
        let mut parked = Vec::new();
        ops.retain(|op| {
            let digest = op.digest();
            if op.nature.protected && removes(op) && !approved(&digest) && !weaken::is(Weakened::Protected) {
                let with = op.weight.saturating_sub(1);
                let with = if with > 0 { format!(" ({with} others would go with it)") } else { String::new() };
                let why =
                    format!("protected: it is never deleted or replaced without an approval of its own{with}").into();
                parked.push(Parked { op: op.clone(), code: "protected", why, digest });
                return false;
            }
            true
        });
        park_blocked(&mut ops, &mut parked);
        order(&mut ops);
        let magnitude = Magnitude::of(&ops);
        let (digest, change) = digests(&ops, guards);
        Self { purpose, ops, parked, magnitude, digest, change }
    }

    /// Returns the plan with operations that are counted beside it although they cannot be written now.
    pub fn counting(&self, others: &[Op]) -> Self {
        let mut whole = self.clone();
        whole.ops.extend(others.iter().cloned());
        whole.magnitude += Magnitude::of(others);
        whole
    }

    /// Tells whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Tells whether an operation takes something away, as a removal or by its effect.
pub(super) fn removes(op: &Op) -> bool {
    op.effect == Effect::Delete || op.verb == Verb::Delete
}

/// Orders operations: those that do not delete by rank, then deletions in reverse, then replacements, each with what goes
/// before what comes (`GUARDS.md` 5.2).
fn order(ops: &mut [Op]) {
    let tops = tops(ops);
    let phase = |op: &Op| match (op.class, op.verb) {
        (Class::Replace, _) => 2,
        (_, Verb::Delete) => 1,
        _ => 0,
    };
    let top = |op: &Op| tops.get(&op.id);
    ops.sort_by(|a, b| {
        let deletes = |op: &Op| op.verb == Verb::Delete;
        (phase(a), top(a), !deletes(a)).cmp(&(phase(b), top(b), !deletes(b))).then_with(|| {
            if deletes(a) { (b.rank, &b.id).cmp(&(a.rank, &a.id)) } else { (a.rank, &a.id).cmp(&(b.rank, &b.id)) }
        })
    });
}

/// Tells whether two identities cannot be there at the same time: one lies below the other.
///
/// True of whatever spells its identities as paths; elsewhere no identity continues another one with a slash.
pub fn excludes(a: &Id, b: &Id) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    below(a, b) || below(b, a)
}

/// Returns the name that each part of a replacement is about: the shortest one.
fn tops(ops: &[Op]) -> BTreeMap<Id, Id> {
    let parts: BTreeSet<&str> = ops.iter().filter(|op| op.class == Class::Replace).map(|op| op.id.as_str()).collect();
    let top = |id: &str| {
        let above = id.match_indices('/').map(|(at, _)| &id[..at]).find(|above| parts.contains(above));
        Id::new(above.unwrap_or(id))
    };
    parts.iter().map(|id| (Id::new(*id), top(id))).collect()
}

/// Marks what is deleted together with what comes in its place and cannot be there beside it: a file that becomes a folder,
/// or the other way. Counted as what it is, a deletion; not as a move, for the old name's content is replaced.
fn mark_replacements(ops: &mut [Op]) {
    let named = |is: &dyn Fn(&Op) -> bool| -> BTreeSet<Arc<str>> {
        ops.iter().filter(|op| is(op)).map(|op| op.id.as_str().into()).collect()
    };
    let deleted = named(&|op| op.verb == Verb::Delete);
    if deleted.is_empty() {
        return;
    }
    // Something is observed where a file is wanted, and things below it go: a folder, which goes with the last of them.
    let comes = named(&|op| op.verb == Verb::Create || (op.verb == Verb::Update && is_above(&op.id, &deleted)));
    for op in ops.iter_mut() {
        let others = if op.verb == Verb::Delete { &comes } else { &deleted };
        let part = op.verb == Verb::Delete || comes.contains(op.id.as_str());
        if !part || !(is_above(&op.id, others) || is_below(&op.id, others)) {
            continue;
        }
        op.class = Class::Replace;
        if op.verb == Verb::Update {
            op.verb = Verb::Create;
            op.from = None;
        }
    }
}

/// Tells whether one of the names lies below an identity.
fn is_above(id: &Id, names: &BTreeSet<Arc<str>>) -> bool {
    let folder: Arc<str> = format!("{id}/").into();
    names.range(folder.clone()..).next().is_some_and(|name| name.starts_with(&*folder))
}

/// Tells whether an identity lies below one of the names.
fn is_below(id: &Id, names: &BTreeSet<Arc<str>>) -> bool {
    let id = id.as_str();
    id.match_indices('/').any(|(at, _)| names.contains(&id[..at]))
}

/// Parks what goes in the place of something that is parked: it could only fail.
fn park_blocked(ops: &mut Vec<Op>, parked: &mut Vec<Parked>) {
    let blocking = parked.iter().filter(|parked| parked.op.class == Class::Replace);
    let blocking: Vec<(Id, Digest)> = blocking.map(|parked| (parked.op.id.clone(), parked.digest)).collect();
    if blocking.is_empty() {
        return;
    }
    ops.retain(|op| {
        let waits = op.class == Class::Replace && op.verb == Verb::Create;
        let blocks = |(gone, _): &&(Id, Digest)| waits && excludes(gone, &op.id);
        let Some((gone, digest)) = blocking.iter().find(blocks) else { return true };
        let why = format!("it takes the place of {gone}, which is protected and waits for an approval").into();
        parked.push(Parked { op: op.clone(), code: "protected", why, digest: *digest });
        false
    });
}

/// Hashes what an approval and what a pre-approval bind to; both independent of the order of operations.
fn digests(ops: &[Op], guards: &Digest) -> (Digest, Digest) {
    let mut sorted: Vec<&Op> = ops.iter().collect();
    sorted.sort_by(|a, b| a.id.cmp(&b.id));
    let (mut plan, mut change) = (Hasher::new(), Hasher::new());
    plan.part(b"plan").part(guards.as_bytes());
    change.part(b"change").part(guards.as_bytes());
    for op in sorted {
        op.hash_into(&mut plan);
        op.hash_change_into(&mut change);
    }
    (plan.finish(), change.finish())
}

/// Finds removals whose content appears under another name, and counts each pair as one update (`GUARDS.md` 5.3, *move*).
///
/// Empty content is no content: two empty files are no move.
fn pair_moves(ops: &mut [Op]) {
    let mut removed: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate().rev() {
        if op.verb == Verb::Delete
            && !op.reverts
            && op.class == Class::Plain
            && op.nature.vitals.has(Vitals::CONTENT)
            && let (Some(was), Some((live, _))) = (op.was, &op.from)
            && was == *live
        {
            removed.entry(was).or_default().push(at);
        }
    }
    for at in 0..ops.len() {
        let created = &ops[at];
        if created.verb != Verb::Create || created.class != Class::Plain || created.was.is_some() {
            continue;
        }
        if let Some(old) = created.to.and_then(|to| removed.get_mut(&to)).and_then(Vec::pop) {
            ops[at].class = Class::Move;
            ops[old].class = Class::Move;
            ops[old].effect = Effect::Update;
        }
    }
}

/// Finds generated objects whose successor is created, and counts each pair as one update.
fn pair_supersessions(ops: &mut [Op]) {
    let mut created: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        if op.verb == Verb::Create
            && op.class == Class::Plain
            && let Some(stem) = &op.nature.stem
        {
            created.insert(stem.clone(), at);
        }
    }
    for at in 0..ops.len() {
        if ops[at].verb != Verb::Delete || ops[at].class != Class::Plain {
            continue;
        }
        if let Some(new) = ops[at].nature.stem.as_ref().and_then(|stem| created.remove(stem)) {
            ops[new].class = Class::Supersede;
            ops[at].class = Class::Supersede;
            ops[at].effect = Effect::Update;
        }
    }
}

/// Describes what operations that change the same paths the same way share; only for people, never for magnitudes.
fn shape(op: &Op, changes: &[FieldChange]) -> Option<Arc<str>> {
    let first = changes.first()?;
    let name = op.id.as_str();
    let file = name.rsplit('/').next().unwrap_or(name);
    let kind = file.rsplit_once('.').map_or_else(|| file.to_owned(), |(_, extension)| format!("*.{extension}"));
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    let more = if changes.len() > 1 { format!(" and {} more", changes.len() - 1) } else { String::new() };
    Some(format!("{kind}  {}  {} -> {}{more}", first.path, value(&first.old), value(&first.new)).into())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Files, World, digest};
    use super::super::ledger::Fact;
    use super::super::state::Hold;
    use super::*;

    fn files(files: &[(&str, u8)]) -> Files {
        files.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    /// A file that becomes a folder with its own content inside, and a folder that becomes a file.
    fn places() -> World {
        let mut world = World::at(files(&[("a", 1), ("b/x", 2), ("c", 3), ("d", 4)]));
        world.push("tip", files(&[("a/b", 1), ("b", 5), ("c", 3)]));
        world
    }

    fn names<'a>(ops: impl IntoIterator<Item = &'a Op>) -> Vec<&'a str> {
        ops.into_iter().map(|op| op.id.as_str()).collect()
    }

    #[test]
    fn a_replacement_is_a_deletion_by_effect_and_goes_last_as_a_pair() {
        let plan = places().promotion();
        assert_eq!(names(&plan.ops), ["d", "a", "a/b", "b/x", "b"]);
        assert_eq!(plan.ops.iter().map(|op| op.verb).filter(|verb| *verb == Verb::Delete).count(), 3);
        // The folder that goes counts beside what was in it; the same content inside a new folder is no move.
        assert_eq!(plan.magnitude, Magnitude { creates: 1, deletes: 4, ..Magnitude::default() });
        assert!(plan.ops.iter().all(|op| op.class != Class::Move));
    }

    #[test]
    fn what_takes_the_place_of_something_protected_waits_with_it() {
        let mut world = places();
        world.guards.protected = vec!["a".into()];
        let plan = world.promotion();
        assert_eq!(names(&plan.ops), ["d", "b/x", "b"]);
        assert_eq!(names(plan.parked.iter().map(|parked| &parked.op)), ["a", "a/b"]);
        assert_eq!(plan.parked[0].digest, plan.parked[1].digest, "one approval lets both go");
        world.approve(plan.parked[0].digest, "bob@a");
        assert_eq!(names(&world.promotion().ops), ["d", "a", "a/b", "b/x", "b"]);
    }

    #[test]
    fn what_takes_the_place_of_something_held_waits_with_it() {
        let mut world = places();
        let id = Id::new("a");
        world.live.insert("a".to_owned(), 7);
        let hold = Hold { by: "bob".into(), reason: "incident".into(), since: world.state.now(), until: None };
        world.fold(vec![Fact::Held { id: id.clone(), hold }]);
        let comparison = world.compare(world.tip());
        assert_eq!(names(comparison.conflicts.iter().map(|conflict| &conflict.op)), ["a", "a/b"]);
        assert!(comparison.promote.iter().all(|op| op.to != Some(digest(1))));
    }
}
