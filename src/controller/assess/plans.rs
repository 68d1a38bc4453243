//! Plans of what comparing found: to the tip, to the last good commit before a culprit, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::edges::{Judged, Read, Rendered};
use super::{Reads, Settings, rehearsed};
use crate::core::approval::{Contributor, Wanted, find, why_not};
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
use crate::core::state::{OpState, Purpose, State};

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
    reads: &Reads,
    comparison: &Comparison,
) -> Plans {
    let mut ops = comparison.promote.clone();
    let conflicts = comparison.conflicts.iter().map(|conflict| &conflict.op);
    let protected = comparison.promote.iter().chain(&comparison.heal).filter(|op| op.nature.protected);
    let alone: Vec<&Op> = protected.chain(conflicts.clone()).collect();
    let (approved, refused) = approved_alone(in_force, read, state, reads, &alone);
    let is_approved = |digest: &Digest| approved.contains(digest);
    ops.extend(conflicts.filter(|op| is_approved(&op.digest())).cloned());
    let mut details = read.details(state, &ops);
    let (reclaims, reverts): (Vec<Op>, Vec<Op>) =
        comparison.reversals.iter().cloned().partition(|op| !op.reclaims.is_empty());
    details.extend(read.details(state, &reverts));
    // What is left over is told beside what a promotion changes of the same resource, not in its place.
    for (id, changes) in read.details(state, &reclaims) {
        details.entry(id).or_insert(changes);
    }
    let plan = |purpose, ops| {
        let mut plan = Plan::new(purpose, ops, &details, &settings.guards_digest, is_approved);
        for parked in &mut plan.parked {
            let unseen = comparison
                .unseen
                .get(&parked.op.id)
                .map(|why| format!("not all that would go with it can be seen: {why}"));
            for why in unseen.iter().chain(refused.get(&parked.digest)) {
                parked.why = format!("{}; {why}", parked.why).into();
            }
        }
        plan
    };
    let promote = plan(Purpose::Promote, ops);
    // What is parked is kept, hence kept right; only what is promoted needs no healing.
    // What a rollout under way is to write is promoted too, although the approval that let it go is spent.
    let slots = state.rollout_ops.range((Purpose::Promote, 0)..).map(|(_, slot)| slot);
    let under_way = slots.filter(|slot| slot.state != OpState::Done).map(|slot| &slot.op.id);
    let promoted: BTreeSet<_> = promote.ops.iter().map(|op| &op.id).chain(under_way).collect();
    let left = |op: &&Op| !promoted.contains(&op.id) && !comparison.settled.contains(&op.id);
    let beside = comparison.heal.iter().filter(left).cloned().collect();
    let (heal, heal_beside) = (plan(Purpose::Heal, comparison.heal.clone()), plan(Purpose::Heal, beside));
    Plans { promote, heal, heal_beside, details }
}

/// Finds the operations that an approval of their own lets go, and says of the others why theirs is refused.
///
/// Whoever wrote a part of an operation is found from the resource's own accepted state on: the rest of the plan may have
/// converged long ago, and the range with it (`GUARDS.md` 5.4).
fn approved_alone(
    in_force: &InForce,
    read: &mut impl Read,
    state: &State,
    reads: &Reads,
    ops: &[&Op],
) -> (BTreeSet<Digest>, BTreeMap<Digest, String>) {
    let (policy, guards) = (&in_force.policy, &in_force.guards);
    let (mut approved, mut refused) = (BTreeSet::new(), BTreeMap::new());
    for op in ops {
        let digest = op.digest();
        let given: Vec<_> = state.app.approvals.iter().filter(|known| known.digest == digest && !known.used).collect();
        if given.is_empty() {
            continue;
        }
        let contributors = match contributors_alone(read, state, reads, op) {
            Ok(contributors) => contributors,
            Err(why) => {
                refused.insert(digest, format!("its approval does not count, as nobody can say who wrote it: {why}"));
                continue;
            }
        };
        let wanted = Wanted { digest: &digest, change: None, seen: state.now(), contributors: &contributors };
        if find(state, &wanted, policy, guards).is_some() {
            approved.insert(digest);
            continue;
        }
        let mut why = given.iter().filter_map(|approval| why_not(approval, &wanted, policy, guards, state.now()));
        if let Some(why) = why.next() {
            refused.insert(digest, format!("an approval is refused: {why}"));
        }
    }
    (approved, refused)
}

fn contributors_alone(
    read: &mut impl Read,
    state: &State,
    reads: &Reads,
    op: &Op,
) -> Result<Vec<Contributor>, Arc<str>> {
    if op.reverts {
        // No commit asks for it.
        return Ok(Vec::new());
    }
    let accepted = state.resources.get(&op.id).and_then(|resource| resource.accepted.as_deref());
    match accepted.map(|accepted| accepted.about.commit.clone()).or_else(|| state.app.converged.clone()) {
        Some(base) => read.contributors(&base, reads.tip.as_ref().map_err(Clone::clone)?, &op.id),
        None => {
            let trusted = reads.trusted.as_ref().map_err(Clone::clone)?;
            Ok(trusted.commits.iter().map(Judged::contributor).collect())
        }
    }
}

/// Plans what leads to the newest commit before the culprit, where the guards ask for it (`GUARDS.md` 3.5).
pub(super) fn prefix(
    settings: &Settings,
    in_force: &InForce,
    read: &mut impl Read,
    state: &State,
    reads: &Reads,
    commits: &[CommitEffect],
) -> Option<Prefix> {
    if in_force.guards.on_poison != OnPoison::LastGood || reads.observed.failed().is_some() {
        return None;
    }
    let commit = &last_good::candidate(commits)?.commit;
    let Rendered::Desired(desired) = read.render(commit) else { return None };
    let view = View {
        desired: Some((&desired, commit)),
        observed: &reads.observed,
        state,
        guards: &in_force.guards,
        now: state.now(),
    };
    let comparison = rehearsed(settings, read, state, &reads.observed, compare(view));
    let Plans { promote, heal_beside, .. } = plans(settings, in_force, read, state, reads, &comparison);
    Some(Prefix { commit: commit.clone(), wants: desired, keys: keys(reads, commit), comparison, promote, heal_beside })
}

/// Returns the keys that vouch for the range up to a commit: not those that only sign what comes after it.
fn keys(reads: &Reads, to: &CommitId) -> Vec<Arc<str>> {
    let Ok(trusted) = &reads.trusted else { return Vec::new() };
    let end = trusted.commits.iter().position(|judged| judged.commit.id == *to).map_or(0, |at| at + 1);
    let (before, after) = trusted.commits.split_at(end);
    let signs = |commits: &[Judged], key: &Arc<str>| {
        commits.iter().any(|judged| matches!(&judged.commit.signature, Signature::Good { key: by, .. } if by == key))
    };
    trusted.keys.iter().filter(|key| signs(before, key) || !signs(after, key)).cloned().collect()
}
