//! The limits of a plan: which of them a magnitude crosses, in numbers (`GUARDS.md` 5.1 and 8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::guards::{Guards, Limit};
use super::op::{Effect, Op};
use super::plan::Magnitude;
use super::reason::Reason;
use super::resource::Id;
use super::state::State;
use super::weaken::{self, Weakened};

/// How much there is, against which a magnitude is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scale {
    /// The inventory now.
    pub now: u32,
    /// What it will be once a promotion that was begun is done; 0 if there is none. A commit that comes while much is
    /// still being created, as in a first sync, is no growth beside what was let go already.
    pub begun: u32,
    /// The largest inventory within the shortest window: N.
    pub n: u32,
    /// How much is desired.
    pub desired: u32,
}

impl Scale {
    /// Returns what growth is measured by.
    pub fn had(&self) -> u32 {
        self.now.max(self.begun)
    }
}

/// Returns why a magnitude is too large in one plan, groups and windows apart.
///
/// N is the largest inventory lately; the conditions on what is left (half, all) also hold against the present inventory,
/// so that an application that shrank is not measured by what it was.
pub fn of_magnitude(magnitude: &Magnitude, scale: Scale, guards: &Guards) -> Vec<Reason> {
    let n = scale.n.max(scale.now);
    let mut reasons = Vec::new();
    let deletes = magnitude.deletes;
    if let Some(limit) = delete_limit(guards.delete_halt, deletes, n, scale.now)
        && !weaken::is(Weakened::DeleteHalt)
    {
        let message = if deletes > limit && limit == guards.delete_halt.at(n).unwrap_or(u32::MAX) {
            format!("{deletes} of {n} resources would be deleted, the limit is {limit}")
        } else {
            format!("{deletes} of {} resources would be deleted: half or more of what there is", scale.now)
        };
        reasons.push(Reason::crossed("delete_halt", deletes, limit, n, message));
    }
    let changes = magnitude.changes();
    if let Some(limit) = guards.change_halt.at(n)
        && changes > limit
        && !weaken::is(Weakened::ChangeHalt)
    {
        let message =
            format!("{changes} of {n} resources would change, the limit is {limit}{}", percent(guards.change_halt));
        reasons.push(Reason::crossed("change_halt", changes, limit, n, message));
    }
    if let Some(limit) = guards.bump_halt.at(n)
        && magnitude.bumps > limit
    {
        let message = format!("{} of {n} resources would get another version, the limit is {limit}", magnitude.bumps);
        reasons.push(Reason::crossed("bump_halt", magnitude.bumps, limit, n, message));
    }
    let had = scale.had();
    if let Some(growth) = guards.growth_halt
        && had >= growth.from
        && scale.desired >= growth.factor.saturating_mul(had)
        && magnitude.creates >= growth.creates
        && !weaken::is(Weakened::Growth)
    {
        let message =
            format!("{} resources would be created beside {}: {} times as many", magnitude.creates, had, growth.factor);
        reasons.push(Reason::crossed("growth_halt", magnitude.creates, growth.creates.saturating_sub(1), had, message));
    }
    reasons
}

/// Returns the limit of deletions that is crossed: the configured one, or one less than half or all of what there is.
fn delete_limit(halt: Limit, deletes: u32, n: u32, now: u32) -> Option<u32> {
    let limit = halt.at(n)?;
    if deletes > limit {
        return Some(limit);
    }
    let half = deletes >= 3 && deletes.saturating_mul(2) >= now;
    let all = now >= 2 && deletes >= now;
    // The largest number that would have passed: less than half, or less than all.
    (half || all).then(|| if half { now.div_ceil(2).saturating_sub(1).max(2) } else { now - 1 })
}

fn percent(limit: Limit) -> String {
    match limit {
        Limit::Relative { percent, .. } => format!(" ({percent} %)"),
        Limit::Fixed(_) | Limit::Disabled => String::new(),
    }
}

/// Returns why too many whole groups of the inventory would disappear (`group_halt`).
pub fn of_groups(ops: &[Op], state: &State, guards: &Guards) -> Option<Reason> {
    guards.group_halt?;
    let accepted = state.resources.values().filter_map(|resource| resource.accepted.as_deref());
    of_group_counts(ops, &group_counts(accepted.map(|accepted| accepted.about.nature.group.as_ref())), guards)
}

/// Counts how many resources each group has.
pub fn group_counts<'a>(groups: impl Iterator<Item = Option<&'a Arc<str>>>) -> BTreeMap<Arc<str>, u32> {
    let mut counts = BTreeMap::new();
    for group in groups.flatten() {
        match counts.get_mut(group) {
            Some(count) => *count += 1,
            None => {
                counts.insert(group.clone(), 1);
            }
        }
    }
    counts
}

/// Returns why too many whole groups would disappear, given how many resources each had.
pub fn of_group_counts(ops: &[Op], had: &BTreeMap<Arc<str>, u32>, guards: &Guards) -> Option<Reason> {
    let halt = guards.group_halt?;
    // By effect: a group whose files are all emptied is as gone as one whose files are removed.
    let deleted = ops.iter().filter(|op| op.effect == Effect::Delete);
    let removed = group_counts(deleted.map(|op| op.nature.group.as_ref()));
    let emptied: Vec<&str> = removed
        .iter()
        .filter(|(group, removed)| had.get(*group).is_some_and(|had| *had >= halt.from && **removed >= *had))
        .map(|(group, _)| group.as_ref())
        .collect();
    let count = u32::try_from(emptied.len()).unwrap_or(u32::MAX);
    (count > 0 && count >= halt.groups && !weaken::is(Weakened::Groups)).then(|| {
        let names = emptied.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let message = format!("{count} groups would be emptied whole: {names}");
        let groups = u32::try_from(had.len()).unwrap_or(u32::MAX);
        Reason::crossed("group_halt", count, halt.groups.saturating_sub(1), groups, message)
    })
}

/// Returns why a plan, together with what was written lately without an approval, is too much (`window`).
pub fn of_windows(ops: &[Op], state: &State, guards: &Guards) -> Vec<Reason> {
    let now = state.now();
    let mut reasons = Vec::new();
    for (window, times) in &guards.window_deletes {
        let n = state.largest(*window);
        let Some(limit) = guards.delete_halt.at(n).map(|limit| limit.saturating_mul(*times)) else { continue };
        let deletes = |op: &&Op| op.effect == Effect::Delete;
        let (planned, untold) = (ops.iter().filter(deletes), state.untold().filter(deletes));
        let count = distinct(planned, untold, state, |trouble| trouble.deleted, *window, now);
        if count.total > limit && count.planned > 0 && !weaken::is(Weakened::Window) {
            let message = format!(
                "{} resources deleted within {}, this plan included; the limit is {limit}",
                count.total,
                spell(*window)
            );
            reasons.push(Reason::crossed("window", count.total, limit, n, message));
        }
    }
    for (window, times) in &guards.window_changes {
        let n = state.largest(*window);
        let Some(limit) = guards.change_halt.at(n).map(|limit| limit.saturating_mul(*times)) else { continue };
        let changes = |op: &&Op| Magnitude::of([*op]).changes() > 0;
        let (planned, untold) = (ops.iter().filter(changes), state.untold().filter(changes));
        let when = |trouble: &super::state::Trouble| trouble.changed.max(trouble.deleted);
        let count = distinct(planned, untold, state, when, *window, now);
        if count.total > limit && count.planned > 0 && !weaken::is(Weakened::Window) {
            let message = format!(
                "{} resources changed within {}, this plan included; the limit is {limit}",
                count.total,
                spell(*window)
            );
            reasons.push(Reason::crossed("window", count.total, limit, n, message));
        }
    }
    reasons
}

struct Count {
    planned: u32,
    total: u32,
}

fn distinct<'a>(
    planned: impl Iterator<Item = &'a Op>,
    untold: impl Iterator<Item = &'a Op>,
    state: &'a State,
    when: impl Fn(&super::state::Trouble) -> Option<Timestamp>,
    window: Duration,
    now: Timestamp,
) -> Count {
    let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
    let mut ids: BTreeSet<&Id> = planned.map(|op| &op.id).collect();
    let planned = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    ids.extend(untold.map(|op| &op.id));
    for (id, resource) in &state.resources {
        let at = resource.trouble.as_deref().and_then(&when);
        if at.is_some_and(|at| now.duration_since(at) < window) {
            ids.insert(id);
        }
    }
    Count { planned, total: u32::try_from(ids.len()).unwrap_or(u32::MAX) }
}

/// Spells a duration as the configuration does.
pub fn spell(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        s if s >= 86_400 && s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s >= 3600 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// Returns why live drift is too much to be reverted unasked (`drift_halt`).
pub fn of_drift(drifted: u32, missing: u32, n: u32, guards: &Guards) -> Option<Reason> {
    let limit = guards.drift_halt.at(n).filter(|_| !weaken::is(Weakened::DriftHalt))?;
    if missing >= n && n >= 3 {
        let message = format!("all {n} resources are missing");
        return Some(Reason::crossed("drift_halt", missing, limit, n, message));
    }
    (drifted > limit).then(|| {
        let message = format!(
            "{drifted} of {n} resources drifted without a commit, the limit is {limit}{}",
            percent(guards.drift_halt)
        );
        Reason::crossed("drift_halt", drifted, limit, n, message)
    })
}
