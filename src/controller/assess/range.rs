//! The commits of the range: what each does by itself, who has a part in it, and which one is to blame (`GUARDS.md` 3.5).

use std::collections::BTreeMap;

use super::super::edges::{Judged, Read, Rendered};
use super::Reads;
use crate::core::approval::Contributor;
use crate::core::commit::{Commit, CommitId};
use crate::core::culprit::{self, CommitEffect, Measure};
use crate::core::guards::Guards;
use crate::core::judge::Judgement;
use crate::core::ledger::Fact;
use crate::core::limits;
use crate::core::reason::Reason;
use crate::core::state::{LatchName, State};

/// Measures each first-parent commit that is not yet converged to, desired against desired.
pub(super) fn effects(read: &mut impl Read, state: &State, reads: &Reads, guards: &Guards) -> Vec<CommitEffect> {
    let Ok(trusted) = &reads.trusted else { return Vec::new() };
    // From where the range begins, whatever a promotion was begun for since.
    let base = state.app.base();
    let Some(base) = base else { return Vec::new() };
    let first_parents = trusted.commits.iter().filter(|judged| judged.first_parent).map(|judged| &judged.commit);
    along(read, base, first_parents, guards)
}

/// Measures commits one after the other, the first against `base`.
pub fn along<'a>(
    read: &mut impl Read,
    base: &CommitId,
    commits: impl IntoIterator<Item = &'a Commit>,
    guards: &Guards,
) -> Vec<CommitEffect> {
    let (mut had, mut groups) = (0, BTreeMap::new());
    let mut commits = commits.into_iter().peekable();
    // Of nothing to measure, nothing is counted: what is desired may be a hundred thousand resources.
    if let Rendered::Desired(desired) = read.render(base)
        && commits.peek().is_some()
    {
        groups = limits::group_counts(desired.wants().iter().map(|want| want.nature.group.as_ref()));
        had = u32::try_from(desired.wants().len()).unwrap_or(u32::MAX);
    }
    let mut measure = Measure::new(guards.clone(), had, groups);
    let mut before = base.clone();
    let mut effects = Vec::new();
    for commit in commits {
        effects.push(match read.changes(&before, &commit.id) {
            Ok(changes) => {
                let details = read.change_details(&before, &commit.id, &changes);
                before = commit.id.clone();
                measure.commit(commit, &changes, &details)
            }
            // The next commit is measured against the last one that could be rendered.
            Err(why) => measure.broken(commit, &why),
        });
    }
    effects
}

/// Returns whoever has a part in the commits that change anything; all of the range where that is not known.
pub(super) fn contributors(reads: &Reads, commits: &[CommitEffect]) -> Vec<Contributor> {
    let Ok(trusted) = &reads.trusted else { return Vec::new() };
    let idle = |id: &CommitId| {
        commits.iter().any(|effect| effect.commit == *id && effect.magnitude.is_zero() && effect.broken.is_none())
    };
    trusted.commits.iter().filter(|judged| !idle(&judged.commit.id)).map(Judged::contributor).collect()
}

/// Returns why the range does not verify.
pub(super) fn signature(reads: &Reads) -> Vec<Reason> {
    match &reads.trusted {
        Ok(trusted) => trusted.signature.clone(),
        Err(why) if reads.tip.is_ok() => {
            vec![Reason::new("ancestry_unproven", format!("ancestry could not be proved: {why}"))]
        }
        Err(_) => Vec::new(),
    }
}

/// Names the poisoned commit of a plan that is held, once.
pub(super) fn name_poison(judgement: &mut Judgement, state: &State, commits: &[CommitEffect]) {
    if judgement.latch(LatchName::Plan).is_none() {
        return;
    }
    if let culprit::Verdict::Culprit(at) = culprit::verdict(commits)
        && let Some(effect) = commits.get(at)
        && state.app.poisoned.as_ref() != Some(&effect.commit)
    {
        judgement.facts.push(Fact::Poisoned { commit: effect.commit.clone() });
    }
}
