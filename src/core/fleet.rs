//! The applications of one repository, judged together before any of them promotes (`GUARDS.md` 5.6).

use std::sync::Arc;

use super::culprit::{WantChange, magnitude};
use super::guards::{FleetGuards, Guards};
use super::plan::{Details, Magnitude};
use super::reason::Reason;
use super::resource::{Desired, Digest, Hasher, Want};
use super::state::State;
use super::weaken::{self, Weakened};

/// What one application would change, desired against accepted alone.
#[derive(Clone, Debug)]
pub struct Member {
    /// The application.
    pub name: Arc<str>,
    /// Its inventory.
    pub n: u32,
    /// What it would change; all of it where it cannot render.
    pub magnitude: Magnitude,
    /// The digest of what it desires; absent where it cannot render.
    pub desired: Option<Digest>,
}

/// More than half of so many applications changing is a fleet change of its own.
const MANY: usize = 10;

/// Tells whether a reason is about all applications of a repository together.
pub fn is_fleet(reason: &Reason) -> bool {
    reason.code.starts_with("fleet_")
}

impl Member {
    /// Compares what an application desires with what it accepted; `inside` tells what changes inside the resources.
    pub fn new(
        name: &Arc<str>,
        state: &State,
        desired: Option<&Desired>,
        guards: &Guards,
        inside: impl FnOnce(&[WantChange]) -> Details,
    ) -> Self {
        let n = state.inventory();
        let Some(desired) = desired else {
            let magnitude = Magnitude { updates: n, ..Magnitude::default() };
            return Self { name: name.clone(), n, magnitude, desired: None };
        };
        let changes = changes(state, desired);
        let (mut magnitude, _) = magnitude(&changes, &inside(&changes), guards);
        magnitude.creates = 0;
        Self { name: name.clone(), n, magnitude, desired: Some(desired.digest()) }
    }
}

fn changes(state: &State, desired: &Desired) -> Vec<WantChange> {
    let mut changes = Vec::new();
    for (id, resource) in &state.resources {
        let Some(accepted) = &resource.accepted else { continue };
        let new = desired.get(id);
        if new.is_some_and(|want| want.digest == accepted.desired) {
            continue;
        }
        let old = Want {
            id: id.clone(),
            digest: accepted.desired,
            nature: accepted.about.nature.clone(),
            rank: accepted.about.rank,
            origin: accepted.about.origin.clone(),
        };
        changes.push(WantChange { id: id.clone(), old: Some(old), new: new.cloned() });
    }
    // What is new is not counted, but may be where something moves to.
    let new = |want: &&Want| state.resources.get(&want.id).is_none_or(|known| known.accepted.is_none());
    let created = desired.wants().iter().filter(new).cloned();
    changes.extend(created.map(|want| WantChange { id: want.id.clone(), old: None, new: Some(want) }));
    changes
}

/// Judges the applications of one repository together: what is too much, empty if nothing is, and what an approval of it
/// names. The digest stays while they promote one after the other: it is of what all of them desire.
pub fn judge(members: &[Member], guards: &FleetGuards) -> Option<(Vec<Reason>, Digest)> {
    if members.len() < 2 {
        return None;
    }
    let mut sum = Magnitude::default();
    for member in members {
        sum += member.magnitude;
    }
    let all = members.iter().fold(0_u32, |all, member| all.saturating_add(member.n));
    let mut reasons = Vec::new();
    let apps = members.len();
    if let Some(limit) = guards.change.at(all)
        && sum.changes() > limit
    {
        let message = format!(
            "{} of {all} resources of {apps} applications would change together, the limit is {limit}",
            sum.changes()
        );
        reasons.push(Reason::crossed("fleet_change", sum.changes(), limit, all, message));
    }
    if let Some(limit) = guards.delete.at(all)
        && sum.deletes > limit
    {
        let message = format!(
            "{} of {all} resources of {apps} applications would be deleted together, the limit is {limit}",
            sum.deletes
        );
        reasons.push(Reason::crossed("fleet_delete", sum.deletes, limit, all, message));
    }
    let changed = members.iter().filter(|member| member.magnitude.changes() > 0).count();
    if apps >= MANY && changed * 2 > apps {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let message = format!("{changed} of {apps} applications would change together, the limit is half");
        reasons.push(Reason::crossed("fleet_change", count(changed), count(apps / 2), count(apps), message));
    }
    if weaken::is(Weakened::Fleet) {
        reasons.clear();
    }
    let mut hash = Hasher::new();
    hash.part(b"fleet");
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for member in sorted {
        hash.part(member.name.as_bytes());
        hash.part(member.desired.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
    }
    Some((reasons, hash.finish()))
}

/// Returns what of the fleet's judgement holds one application: whoever changes nothing is held by nothing.
pub fn holds(judged: Option<&(Vec<Reason>, Digest)>, member: &Member) -> Option<(Vec<Reason>, Digest)> {
    let (reasons, digest) = judged?;
    let reasons = if member.magnitude.is_zero() { Vec::new() } else { reasons.clone() };
    Some((reasons, *digest))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, desired, files};
    use super::*;

    fn member(world: &World, wants: &super::super::fixture::Files) -> Member {
        Member::new(&"web".into(), &world.state, Some(&desired(wants)), &world.guards, |_| Details::new())
    }

    #[test]
    fn what_moves_is_no_deletion_and_what_is_new_is_nothing() {
        let world = World::at(files(0..20, 1));
        let mut moved = files(1..20, 1);
        moved.insert("g000".to_owned(), 1);
        assert_eq!(member(&world, &moved).magnitude, Magnitude { updates: 1, ..Magnitude::default() });
        assert!(member(&world, &files(0..25, 1)).magnitude.is_zero());
        assert_eq!(member(&world, &files(1..20, 1)).magnitude.deletes, 1);
    }
}
