//! `on_poison: last_good`: how far a range may be followed whose culprit holds the rest (`GUARDS.md` 3.5).

use super::culprit::{CommitEffect, Verdict, verdict};
use super::guards::{Groups, Guards, Limit};
use super::limits::{self, Scale};
use super::plan::{Magnitude, Plan};
use super::reason::Reason;
use super::state::State;

/// Returns the newest commit before the culprit that renders, if there is one.
pub fn candidate(commits: &[CommitEffect]) -> Option<&CommitEffect> {
    let Verdict::Culprit(at) = verdict(commits) else { return None };
    commits[..at].iter().rev().find(|effect| effect.broken.is_none())
}

/// Returns why a plan reaches half of a limit; empty when it stays under half of every one.
pub fn reaches_half(plan: &Plan, state: &State, scale: Scale, guards: &Guards) -> Vec<Reason> {
    let halved = halved(guards, scale.n.max(scale.now));
    let mut reasons = limits::of_magnitude(&plan.magnitude, scale, &halved);
    reasons.extend(limits::of_groups(&plan.ops, state, &halved));
    reasons.extend(limits::of_windows(&plan.ops, state, &halved));
    // What is no number in the configuration (half of everything, all of it, growth) is measured by twice the plan.
    let grown = scale.desired.saturating_sub(scale.had()).saturating_mul(2);
    let desired = if grown == 0 { scale.desired } else { scale.had().saturating_add(grown) };
    reasons.extend(limits::of_magnitude(&twice(&plan.magnitude), Scale { desired, ..scale }, guards));
    reasons
}

fn twice(magnitude: &Magnitude) -> Magnitude {
    let mut sum = *magnitude;
    sum += *magnitude;
    sum
}

/// Returns guards whose limits are the largest numbers under half of what is allowed at `n`.
fn halved(guards: &Guards, n: u32) -> Guards {
    let half = |limit: Limit| limit.at(n).map_or(Limit::Disabled, |at| Limit::Fixed(under_half(at)));
    Guards {
        delete_halt: half(guards.delete_halt),
        change_halt: half(guards.change_halt),
        bump_halt: half(guards.bump_halt),
        // One group less than the number that halts is the largest allowed one.
        group_halt: guards
            .group_halt
            .map(|halt| Groups { groups: under_half(halt.groups.saturating_sub(1)) + 1, ..halt }),
        ..guards.clone()
    }
}

/// The largest number whose double is less; zero stays zero, so that nothing is allowed where nothing is.
const fn under_half(limit: u32) -> u32 {
    limit.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::super::commit::CommitId;
    use super::super::culprit::plan;
    use super::super::plan::Details;
    use super::super::resource::{Digest, Id, Nature, Want};
    use super::*;
    use crate::core::culprit::WantChange;

    fn effect(name: &str, deletes: u32, crosses: bool) -> CommitEffect {
        CommitEffect {
            commit: CommitId::new(name),
            author: String::new(),
            subject: String::new(),
            magnitude: Magnitude { deletes, ..Magnitude::default() },
            desired: 100,
            crosses: if crosses { vec!["delete_halt".into()] } else { Vec::new() },
            does: None,
            undone_by: None,
            broken: None,
        }
    }

    fn updates(count: usize) -> Plan {
        let want = |at: usize, digest: u8| Want {
            id: Id::new(format!("f{at}")),
            digest: Digest::from_bytes([digest; 32]),
            nature: Nature::default().into(),
            rank: 0,
            origin: None,
        };
        let changes: Vec<WantChange> = (0..count)
            .map(|at| WantChange { id: want(at, 1).id, old: Some(want(at, 1)), new: Some(want(at, 2)) })
            .collect();
        plan(&changes, &Details::new(), &Guards::default())
    }

    #[test]
    fn the_newest_commit_before_the_culprit_that_renders_is_the_candidate() {
        let mut commits = vec![effect("a", 1, false), effect("b", 0, false), effect("c", 60, true)];
        assert_eq!(candidate(&commits).map(|effect| effect.commit.as_str()), Some("b"));
        commits[1].broken = Some("no".to_owned());
        assert_eq!(candidate(&commits).map(|effect| effect.commit.as_str()), Some("a"));
        assert_eq!(candidate(&commits[2..]), None, "nothing lies before the culprit");
        assert_eq!(candidate(&commits[..1]), None, "there is no culprit");
    }

    #[test]
    fn half_of_a_limit_is_not_under_half() {
        // 30 of 100 may change.
        let scale = Scale { now: 100, begun: 0, n: 100, desired: 100 };
        let crossed = |count| !reaches_half(&updates(count), &State::default(), scale, &Guards::default()).is_empty();
        assert!(!crossed(14));
        assert!(crossed(15));
        assert!(crossed(16));
    }

    #[test]
    fn where_nothing_is_allowed_nothing_is() {
        let guards = Guards { change_halt: Limit::Fixed(0), ..Guards::default() };
        let scale = Scale { now: 100, begun: 0, n: 100, desired: 100 };
        assert!(!reaches_half(&updates(1), &State::default(), scale, &guards).is_empty());
        assert!(reaches_half(&updates(0), &State::default(), scale, &guards).is_empty());
    }
}
