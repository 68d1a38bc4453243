//! Plans of what comparing found: to the tip, to the last good commit before a culprit, and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::edges::{Read, Rendered};
use super::{Reads, Settings};
use crate::core::approval::{Contributor, Wanted, find};
use crate::core::commit::{CommitId, Signature};
use crate::core::compare::{Comparison, View, compare};
use crate::core::culprit::CommitEffect;
use crate::core::govern::InForce;
use crate::core::guards::OnPoison;
use crate::core::judge::Prefix;
use crate::core::last_good;
use crate::core::op::Op;
use crate::core::plan::{Details, Plan};
use crate::core::resource::Digest;
use crate::core::state::{Purpose, State};

/// What would be written, for each purpose.
pub(super) struct Plans {
    pub(super) promote: Plan,
    /// What would heal while promotion is withheld.
    pub(super) heal: Plan,
    /// What would heal beside a promotion.
    pub(super) heal_beside: Plan,
    pub(super) details: Details,
}

/// Plans what comparing found.
pub(super) fn plans(
    settings: &Settings,
    in_force: &InForce,
    read: &mut impl Read,
    state: &State,
    comparison: &Comparison,
    contributors: &[Contributor],
) -> Plans {
    let approved = |digest: &Digest, contributors: &[Contributor]| {
        let wanted = Wanted { digest, change: None, seen: state.now(), contributors };
        find(state, &wanted, &in_force.policy, &in_force.guards).is_some()
    };
    let promoted: BTreeSet<_> = comparison.promote.iter().map(|op| &op.id).collect();
    let mut ops = comparison.promote.clone();
    let conflicts = comparison.conflicts.iter().map(|conflict| &conflict.op);
    ops.extend(conflicts.filter(|op| approved(&op.digest(), contributors)).cloned());
    let mut details = read.details(state, &ops);
    details.extend(read.details(state, &comparison.reversals));
    let left = |op: &&Op| !promoted.contains(&op.id) && !comparison.settled.contains(&op.id);
    let beside = comparison.heal.iter().filter(left).cloned().collect();
    let plan = |purpose, ops, contributors: &[Contributor]| {
        Plan::new(purpose, ops, &details, &settings.guards_digest, |digest| approved(digest, contributors))
    };
    let promote = plan(Purpose::Promote, ops, contributors);
    // Nobody wrote the drift that is reverted.
    let (heal, heal_beside) = (plan(Purpose::Heal, comparison.heal.clone(), &[]), plan(Purpose::Heal, beside, &[]));
    Plans { promote, heal, heal_beside, details }
}

/// Plans what leads to the newest commit before the culprit, where the guards ask for it (`GUARDS.md` 3.5).
pub(super) fn prefix(
    settings: &Settings,
    in_force: &InForce,
    read: &mut impl Read,
    state: &State,
    reads: &Reads,
    commits: &[CommitEffect],
    contributors: &[Contributor],
) -> Option<Prefix> {
    if in_force.guards.on_poison != OnPoison::LastGood || reads.observed.failure.is_some() {
        return None;
    }
    let commit = &last_good::candidate(commits)?.commit;
    let Rendered::Desired(desired) = read.render(commit) else { return None };
    let comparison = compare(View {
        desired: Some((&desired, commit)),
        observed: &reads.observed,
        state,
        guards: &in_force.guards,
        now: state.now(),
    });
    let Plans { promote, heal_beside, .. } = plans(settings, in_force, read, state, &comparison, contributors);
    Some(Prefix {
        commit: commit.clone(),
        desired: desired.digest(),
        count: u32::try_from(desired.wants.len()).unwrap_or(u32::MAX),
        keys: keys(reads, commit),
        comparison,
        promote,
        heal_beside,
    })
}

/// Returns the keys that vouch for the range up to a commit: not those that only sign what comes after it.
fn keys(reads: &Reads, to: &CommitId) -> Vec<Arc<str>> {
    let Ok(trusted) = &reads.trusted else { return Vec::new() };
    let end = trusted.commits.iter().position(|judged| judged.commit.id == *to).map_or(0, |at| at + 1);
    let (before, after) = trusted.commits.split_at(end);
    let signs = |commits: &[super::super::edges::Judged], key: &Arc<str>| {
        commits.iter().any(|judged| matches!(&judged.commit.signature, Signature::Good { key: by, .. } if by == key))
    };
    trusted.keys.iter().filter(|key| signs(before, key) || !signs(after, key)).cloned().collect()
}
