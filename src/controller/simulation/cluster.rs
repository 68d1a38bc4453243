//! What a cluster does and a directory does not, as a real API server was seen to do it.
//!
//! - The live digest is a projection: never equal to what was declared, another one for another uid, owner or admission. What
//!   differs in it is only suspected of drift, until a dry-run tells.
//! - Whoever edits an object owns it: an apply without force is refused until somebody lets it take over.
//! - A deletion may take its time (finalizers): until then the object is neither there nor missing.
//! - Statuses move versions, admission and others rewrite what is ours without changing what was asked for, objects are
//!   deleted and made anew under the same name.
//! - Some values cannot be changed in place: only a replacement leads there.
//!
//! The scenarios `k8s_*` show each of these on a real server; `tests/scenarios/k8s_contract.rs` compares the projection with it.

use std::collections::BTreeMap;

use super::repository::Thing;
use super::target::{Object, Target, by_hand};
use super::world::World;
use crate::core::op::{Class, Op, Verb};
use crate::core::rehearse::{Key, Rehearsal, Rehearsals, Takes};
use crate::core::resource::{Digest, Id, Live, Touch};
use crate::core::write::Outcome;

/// Who owns what is ours of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// We do.
    Ours,
    /// The tool that an adoption takes over from.
    Adoptable,
    /// Somebody else.
    Other,
}

/// What a target has that is a cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Changes what is made of the same object.
    admission: u8,
    /// What is being deleted, and when it is gone, in true time.
    leaving: BTreeMap<Id, i64>,
}

impl Cluster {
    /// Returns the live digest of an object.
    pub fn projection(&self, object: &Object) -> Digest {
        let owner = [object.owner as u8, self.admission];
        Digest::of_parts([&object.holds.as_bytes()[..], &object.uid.to_le_bytes(), &owner])
    }
}

impl Target {
    /// Tells whether an object is being deleted.
    pub fn is_leaving(&self, id: &Id) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.leaving.contains_key(id))
    }

    /// Takes away what is gone by now.
    pub fn pass(&mut self, now: i64) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.leaving.retain(|id, gone| {
            let stays = *gone > now;
            if !stays {
                self.objects.remove(id);
            }
            stays
        });
    }

    /// Deletes an object, which may take until some time.
    pub fn delete(&mut self, id: &Id, gone: Option<i64>) -> Live {
        match (&mut self.cluster, gone) {
            (Some(cluster), Some(gone)) => {
                cluster.leaving.entry(id.clone()).or_insert(gone);
                Live::Leaving
            }
            _ => {
                self.objects.remove(id);
                Live::Gone
            }
        }
    }
}

impl World {
    /// Chooses when what is deleted now is gone, if that takes its time.
    pub fn leaves(&mut self, app: usize) -> Option<i64> {
        let finalized = self.targets[app].cluster.is_some() && self.random.chance(250);
        finalized.then(|| {
            self.count("what is deleted takes its time");
            self.now + 1000 * i64::try_from(self.random.below(900)).unwrap_or(0)
        })
    }

    /// Something happens that only happens in a cluster.
    pub fn stir(&mut self, app: usize) {
        let ids: Vec<Id> = self.targets[app].objects.keys().cloned().collect();
        let Some(id) = self.random.pick(&ids).cloned() else { return };
        let what = self.random.below(5);
        let target = &mut self.targets[app];
        let Some(cluster) = target.cluster.as_mut() else { return };
        let mut change = |change: &mut dyn FnMut(&mut Object)| {
            if let Some(object) = target.objects.get_mut(&id) {
                change(object);
                object.version += 1_000_000;
            }
        };
        let said = match what {
            0 => {
                cluster.admission = cluster.admission.wrapping_add(1);
                "admission changes"
            }
            // With what is ours there untouched in value.
            1 => {
                cluster.admission = cluster.admission.wrapping_add(1);
                let admitted = cluster.clone();
                change(&mut |object| object.digest = admitted.projection(object));
                "an object is rewritten"
            }
            2 => {
                let admitted = cluster.clone();
                change(&mut |object| {
                    object.owner = Owner::Other;
                    object.digest = admitted.projection(object);
                });
                "somebody takes over an object"
            }
            3 => {
                let admitted = cluster.clone();
                change(&mut |object| {
                    (object.uid, object.owner, object.touch) = (object.uid + 1_000_000, Owner::Other, Touch::default());
                    object.digest = admitted.projection(object);
                });
                "an object is made anew"
            }
            _ => {
                change(&mut |_| {});
                "a status changes"
            }
        };
        self.count(said);
        self.note(|| format!("{said}: {id} of {app}"));
    }

    /// Tells what operations would do.
    pub fn rehearse(&mut self, app: usize, ops: &[&Op]) -> Rehearsals {
        if self.targets[app].cluster.is_none() {
            return Rehearsals::new();
        }
        ops.iter().map(|op| (Key::of(op), self.rehearse_one(app, op))).collect()
    }

    fn rehearse_one(&mut self, app: usize, op: &Op) -> Rehearsal {
        let unread = self.faults.unread;
        if self.random.chance(unread) {
            self.count("a dry-run is not answered");
            return Rehearsal::Unread("time-out".into());
        }
        if self.jammed.contains(&(app, op.id.clone())) {
            return Rehearsal::Refused("admission says no".into());
        }
        let object = self.targets[app].objects.get(&op.id).cloned();
        match (op.verb, object) {
            (Verb::Delete, object) => Rehearsal::Takes(taken(object.as_ref())),
            (Verb::Create, _) if self.random.chance(100) => {
                self.count("what cannot be rehearsed yet");
                Rehearsal::Unrehearsed("its namespace is not there yet".into())
            }
            (Verb::Create, _) => Rehearsal::Fits,
            (Verb::Update, None) => Rehearsal::Unread("it is gone".into()),
            (Verb::Update, Some(object)) => self.rehearse_update(app, op, &object),
        }
    }

    fn rehearse_update(&mut self, app: usize, op: &Op, object: &Object) -> Rehearsal {
        if self.targets[app].moved(&op.id, op.verb, op.from.as_ref()).is_some() {
            return Rehearsal::Unread("it was changed meanwhile".into());
        }
        if self.fixed(app, op).is_some_and(|fixed| fixed != object.fixed) {
            self.count("what can only be replaced");
            return Rehearsal::Replaces { why: "field is immutable".into(), takes: taken(Some(object)) };
        }
        match (object.owner, Some(object.holds) == op.to) {
            (Owner::Ours, true) => {
                self.count("a suspect agrees");
                Rehearsal::Agrees
            }
            (_, true) => Rehearsal::Joins,
            (Owner::Ours, false) => Rehearsal::Fits,
            (_, false) if op.force => Rehearsal::Fits,
            (owner, false) => {
                self.count("somebody else owns it");
                Rehearsal::Owned { why: "somebody else owns it".into(), adoptable: owner == Owner::Adoptable }
            }
        }
    }

    /// Finds the value that cannot be changed in place of what an operation writes.
    fn fixed(&self, app: usize, op: &Op) -> Option<bool> {
        let source = op.source.as_ref()?;
        let tree = self.repository.get(&source.commit)?.sources[app].tree()?;
        Some(tree.get(&op.id)?.fixed())
    }

    /// Says why a cluster does not take a write whose precondition holds, if so.
    pub fn not_taken(&mut self, app: usize, op: &Op) -> Option<Outcome> {
        let target = &self.targets[app];
        target.cluster.as_ref()?;
        let object = target.objects.get(&op.id).filter(|_| op.verb == Verb::Update)?;
        if op.class != Class::Replace && self.fixed(app, op).is_some_and(|fixed| fixed != object.fixed) {
            return Some(Outcome::Refused("field is immutable".into()));
        }
        let theirs = object.owner != Owner::Ours && Some(object.holds) != op.to;
        // What is replaced is deleted, whoever owns fields of it.
        (theirs && !op.force && op.class != Class::Replace).then(|| Outcome::Moved("somebody else owns it".into()))
    }

    /// Puts in place what an operation writes, in a cluster or not.
    pub fn land(&mut self, app: usize, op: &Op, thing: &Thing, ready_at: i64) -> Live {
        let replaced = op.class == Class::Replace && op.verb == Verb::Update;
        if self.targets[app].cluster.is_some() && replaced {
            self.targets[app].objects.remove(&op.id);
        }
        self.targets[app].put(&op.id, thing, Touch::default(), ready_at, Owner::Ours)
    }

    /// Called when a write is about to change a cluster: nobody's fields are taken over unasked, nothing is written for nothing.
    pub fn check_ownership(&mut self, store: usize, app: usize, op: &Op) {
        let target = &self.targets[app];
        if target.cluster.is_none() {
            return;
        }
        let Some(object) = target.objects.get(&op.id).cloned().filter(|_| op.verb == Verb::Update) else { return };
        let same = Some(object.holds) == op.to;
        if op.reverts && same && object.owner == Owner::Ours {
            return self.broken("suspect", format!("{} is reverted, and held what was accepted", op.id));
        }
        let asked = op.class == Class::Adopt && object.owner == Owner::Adoptable || op.class == Class::Replace;
        if !op.reverts && !same && object.owner != Owner::Ours && !asked && !self.approved_op(store, app, op) {
            self.broken("ownership", format!("{} is somebody else's, and is taken over unapproved", op.id));
        }
    }

    /// Tells whether a cluster can only make an update as a replacement.
    pub fn replaces(&self, app: usize, object: &Object, thing: &Thing) -> bool {
        self.targets[app].cluster.is_some() && object.fixed != thing.fixed()
    }

    /// Counts what goes with what is removed.
    pub fn goes_along(&self, app: usize, op: &Op, object: &Object) -> u32 {
        let removed = op.verb == Verb::Delete || op.class == Class::Replace;
        let stays = self.targets[app].cluster.is_some() && !removed;
        // Whoever asks after somebody removed it is told that nothing goes with it.
        let there = self.targets[app].objects.contains_key(&op.id);
        if stays || !there { 0 } else { object.dependants }
    }
}

/// Says what would go with an object.
fn taken(object: Option<&Object>) -> Takes {
    Takes { unnamed: object.map_or(0, |object| object.dependants), protects: true, ..Takes::default() }
}

/// Puts somebody's own things there before anything of ours is.
pub fn inhabit(target: &mut Target, id: &Id, thing: &Thing, adoptable: bool) {
    let owner = if adoptable { Owner::Adoptable } else { Owner::Other };
    target.put(id, thing, by_hand(false, None), 0, owner);
}
