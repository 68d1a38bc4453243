//! The applications of one repository, judged together before any of them promotes (`GUARDS.md` 5.6).

use std::sync::Arc;

use super::culprit::{WantChange, magnitude};
use super::guards::{FleetGuards, Guards};
use super::plan::{Details, Magnitude};
use super::reason::Reason;
use super::resource::{Desired, Digest, Hasher, Want};
use super::state::State;

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
        let (magnitude, _) = magnitude(&changes, &inside(&changes), guards);
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
            nature: accepted.nature.clone(),
            rank: accepted.rank,
            origin: accepted.origin.clone(),
        };
        changes.push(WantChange { id: id.clone(), old: Some(old), new: new.cloned() });
    }
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
