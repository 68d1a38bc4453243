//! Poisoned commits: how much each commit of a range would change, and which one to name (`GUARDS.md` 3.5).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::commit::{Commit, CommitId};
use super::guards::Guards;
use super::limits::{self, Scale};
use super::op::{Class, Effect, Op, Verb, update_effect};
use super::plan::{Details, Magnitude, Plan};
use super::resource::{Digest, Hasher, Id, Want};
use super::state::Purpose;

/// What one commit changes of one resource, desired against desired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantChange {
    /// Which resource.
    pub id: Id,
    /// What was desired.
    pub old: Option<Want>,
    /// What is desired.
    pub new: Option<Want>,
}

/// One first-parent commit of a range and what it does by itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitEffect {
    /// The commit.
    pub commit: CommitId,
    /// Who it claims wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// Its own magnitude.
    pub magnitude: Magnitude,
    /// How much is desired after it.
    pub desired: u32,
    /// The limits that it crosses by itself.
    pub crosses: Vec<Arc<str>>,
    /// The digest of what it changes.
    #[serde(skip)]
    pub does: Option<Digest>,
    /// The digest of what would take that back.
    #[serde(skip)]
    pub undone_by: Option<Digest>,
    /// Why it could not be rendered, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// Who is to blame for a plan that is too large.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// One commit crosses a limit by itself: its position in the range.
    Culprit(usize),
    /// No commit does: the positions of all that contribute, the largest first.
    Accumulation(Vec<usize>),
}

/// Counts what changes desired against desired amount to, by the same rules as a plan.
pub fn magnitude(changes: &[WantChange], details: &Details, guards: &Guards) -> (Magnitude, Vec<Op>) {
    let plan = plan(changes, details, guards);
    (plan.magnitude, plan.ops)
}

/// Makes a plan of changes desired against desired, as if what was desired had been observed; what is protected is parked.
pub fn plan(changes: &[WantChange], details: &Details, guards: &Guards) -> Plan {
    let ops = changes.iter().filter_map(|change| operation(change, guards)).collect();
    Plan::new(Purpose::Promote, ops, details, &Digest::of_parts([b""]), |_| false)
}

fn operation(change: &WantChange, guards: &Guards) -> Option<Op> {
    let (verb, effect, class) = match (&change.old, &change.new) {
        (None, None) => return None,
        (None, Some(_)) => (Verb::Create, Effect::Create, Class::Plain),
        (Some(_), None) => (Verb::Delete, Effect::Delete, Class::Plain),
        (Some(old), Some(new)) if old.digest == new.digest => return None,
        (Some(old), Some(new)) => {
            let inert = new.nature.essence.is_some() && new.nature.essence == old.nature.essence;
            (Verb::Update, update_effect(&old.nature, &new.nature), if inert { Class::Inert } else { Class::Plain })
        }
    };
    let mut nature = change.new.as_ref().or(change.old.as_ref()).map(|want| want.nature.clone()).unwrap_or_default();
    let protected = guards.protects(&change.id, nature.protected);
    if protected != nature.protected {
        Arc::make_mut(&mut nature).protected = protected;
    }
    let old = change.old.as_ref().map(|want| want.digest);
    Some(Op {
        id: change.id.clone(),
        verb,
        effect,
        class,
        from: old.map(|digest| (digest, super::resource::Version::new(""))),
        to: change.new.as_ref().map(|want| want.digest),
        was: old,
        source: None,
        nature,
        force: false,
        weight: 1,
        rank: 0,
        reverts: false,
        unrehearsed: false,
        reclaims: Vec::new(),
        ignore: Vec::new(),
        shape: None,
    })
}

/// Returns the limits that a commit crosses by itself.
pub fn crosses(
    magnitude: &Magnitude,
    ops: &[Op],
    before: u32,
    after: u32,
    groups: &BTreeMap<Arc<str>, u32>,
    guards: &Guards,
) -> Vec<Arc<str>> {
    let scale = Scale { now: before, begun: 0, n: before, desired: after };
    let mut codes: Vec<Arc<str>> =
        limits::of_magnitude(magnitude, scale, guards).into_iter().map(|reason| reason.code).collect();
    if let Some(reason) = limits::of_group_counts(ops, groups, guards) {
        codes.push(reason.code);
    }
    if after == 0 && before > 0 && guards.empty_desired_halts {
        codes.push("empty_desired".into());
    }
    codes
}

/// Names the culprit: the commit with the largest magnitude of its own, if that alone crosses a limit.
pub fn verdict(commits: &[CommitEffect]) -> Verdict {
    let largest = (0..commits.len())
        .filter(|at| !commits[*at].crosses.is_empty())
        .max_by_key(|at| (commits[*at].magnitude.rank(), std::cmp::Reverse(*at)));
    if let Some(at) = largest {
        return Verdict::Culprit(at);
    }
    let mut contributors: Vec<usize> = (0..commits.len()).filter(|at| !commits[*at].magnitude.is_zero()).collect();
    contributors.sort_by_key(|at| std::cmp::Reverse(commits[*at].magnitude.rank()));
    Verdict::Accumulation(contributors)
}

/// Returns the commits up to a goal that cross a limit by themselves although all of it together passes: later ones took back
/// what they did before it was written. Those that a promotion was begun for already (`begun`) are none.
pub fn skipped(commits: &[CommitEffect], begun: Option<&CommitId>, goal: &CommitId) -> Vec<CommitId> {
    let at = |id: &CommitId| commits.iter().position(|effect| effect.commit == *id);
    let from = begun.and_then(at).map_or(0, |begun| begun + 1);
    let to = at(goal).map_or(commits.len(), |goal| goal + 1);
    let range = commits.get(from..to).unwrap_or_default();
    let poisoned = range.iter().enumerate().filter(|(_, effect)| !effect.crosses.is_empty());
    // What takes an earlier one back, such as its revert, may be as large and is no poison.
    let reverts = |at: usize, effect: &CommitEffect| {
        effect.does.is_some() && range[..at].iter().any(|earlier| earlier.undone_by == effect.does)
    };
    poisoned.filter(|(at, effect)| !reverts(*at, effect)).map(|(_, effect)| effect.commit.clone()).collect()
}

/// Hashes changes from one side to the other.
fn hash_changes(changes: &[WantChange], sides: impl Fn(&WantChange) -> [Option<&Want>; 2]) -> Digest {
    let mut hash = Hasher::new();
    for change in changes {
        hash.part(change.id.as_str().as_bytes());
        for side in sides(change) {
            hash.part(side.map_or(&[][..], |want| want.digest.as_bytes()));
        }
    }
    hash.finish()
}

/// Returns how much is desired after changes.
pub fn after(before: u32, changes: &[WantChange]) -> u32 {
    let count = |is: fn(&WantChange) -> bool| {
        u32::try_from(changes.iter().filter(|change| is(change)).count()).unwrap_or(u32::MAX)
    };
    let added = count(|change| change.old.is_none() && change.new.is_some());
    let removed = count(|change| change.old.is_some() && change.new.is_none());
    before.saturating_add(added).saturating_sub(removed)
}

/// Brings the number of resources of each group up to date with changes.
pub fn regroup(groups: &mut BTreeMap<Arc<str>, u32>, changes: &[WantChange]) {
    for change in changes {
        if let Some(group) = change.old.as_ref().and_then(|want| want.nature.group.as_ref())
            && let Some(count) = groups.get_mut(group)
        {
            *count = count.saturating_sub(1);
        }
        if let Some(group) = change.new.as_ref().and_then(|want| want.nature.group.as_ref()) {
            *groups.entry(group.clone()).or_default() += 1;
        }
    }
}

/// Measures the commits of a range one after the other, each by itself.
#[derive(Clone, Debug)]
pub struct Measure {
    guards: Guards,
    had: u32,
    groups: BTreeMap<Arc<str>, u32>,
}

impl Measure {
    /// Begins with how much there is before the range, and how much each group has of it.
    pub const fn new(guards: Guards, had: u32, groups: BTreeMap<Arc<str>, u32>) -> Self {
        Self { guards, had, groups }
    }

    /// Measures a commit by what it changes.
    pub fn commit(&mut self, commit: &Commit, changes: &[WantChange], details: &Details) -> CommitEffect {
        let (magnitude, ops) = magnitude(changes, details, &self.guards);
        let desired = after(self.had, changes);
        let crosses = crosses(&magnitude, &ops, self.had, desired, &self.groups, &self.guards);
        regroup(&mut self.groups, changes);
        self.had = desired;
        let does = Some(hash_changes(changes, |change| [change.old.as_ref(), change.new.as_ref()]));
        let undone_by = Some(hash_changes(changes, |change| [change.new.as_ref(), change.old.as_ref()]));
        CommitEffect { magnitude, desired, crosses, does, undone_by, ..self.idle(commit) }
    }

    /// Notes a commit that could not be rendered: the next one is measured against the last one that could.
    pub fn broken(&self, commit: &Commit, why: &str) -> CommitEffect {
        CommitEffect { broken: Some(why.to_owned()), ..self.idle(commit) }
    }

    fn idle(&self, commit: &Commit) -> CommitEffect {
        CommitEffect {
            commit: commit.id.clone(),
            author: commit.author.name.clone(),
            subject: commit.subject.clone(),
            magnitude: Magnitude::default(),
            desired: self.had,
            crosses: Vec::new(),
            does: None,
            undone_by: None,
            broken: None,
        }
    }
}
