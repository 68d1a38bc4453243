//! What holds of any desired, accepted and observed state, and of any guards.

use std::time::Duration;

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::culprit::{self, WantChange};
use super::fixture::{Files, World, changes, desired, digest};
use super::guards::{Guards, Limit, Mode};
use super::op::{Op, Verb};
use super::plan::{Details, Magnitude, Plan, excludes};
use super::resource::Id;
use super::state::Purpose;

/// Names that change places with folders of their own name, beside some that do not.
const NAMES: [&str; 9] = ["a", "a/b", "a/b/c", "a/d", "b", "b/x", "c", "d/e/f", "e"];

/// Files that can be there at the same time.
fn states() -> impl Strategy<Value = Files> {
    btree_map(prop::sample::select(NAMES.to_vec()), 1_u8..5, 1..8).prop_map(|names| {
        let mut files = Files::new();
        for (name, value) in names {
            if !files.keys().any(|known| excludes(&Id::new(known.as_str()), &Id::new(name))) {
                files.insert(name.to_owned(), value);
            }
        }
        files
    })
}

/// Guards that hold nothing, so that only comparing, planning and pacing are looked at.
pub(super) fn unguarded() -> Guards {
    Guards {
        mode: Mode::Converge,
        empty_desired_halts: false,
        delete_halt: Limit::Disabled,
        change_halt: Limit::Disabled,
        bump_halt: Limit::Disabled,
        growth_halt: None,
        group_halt: None,
        drift_halt: Limit::Disabled,
        write_cap: Limit::Fixed(3),
        delete_cap: Limit::Fixed(1),
        ..Guards::default()
    }
}

/// A world that converged to one state, of which another is wanted, and that holds a file of nobody's.
fn world(old: &Files, new: &Files) -> World {
    let mut world = World::at(old.clone());
    world.guards = unguarded();
    world.live.insert("foreign".to_owned(), 9);
    world.push("tip", new.clone());
    world
}

fn plan(ops: Vec<Op>) -> Plan {
    Plan::new(Purpose::Promote, ops, &Details::new(), &digest(0), |_| false)
}

/// Carries out operations in order on what is there, as a directory would.
fn apply(live: &mut Files, ops: &[Op]) -> Result<(), String> {
    for op in ops {
        let id = op.id.as_str().to_owned();
        match op.to {
            None => {
                live.remove(&id);
            }
            Some(to) => {
                let blocks = |other: &&String| excludes(&op.id, &Id::new(other.as_str()));
                if let Some(other) = live.keys().find(blocks) {
                    return Err(format!("{id} is written while {other} is there"));
                }
                live.insert(id, to.as_bytes()[0]);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planning_again_after_a_finished_rollout_is_empty(old in states(), new in states()) {
        let mut world = world(&old, &new);
        for _ in 0..40 {
            let _ = world.cycle();
        }
        prop_assert!(world.promotion().is_empty(), "{:?}", world.promotion().ops);
        prop_assert!(world.state.app.rollouts.is_empty());
        let writes = world.wrote.len();
        let _ = world.cycle();
        prop_assert_eq!(world.wrote.len(), writes);
        let mut wanted = new;
        wanted.insert("foreign".to_owned(), 9);
        prop_assert_eq!(world.live, wanted);
    }

    #[test]
    fn nothing_differs_between_equal_states(files in states()) {
        prop_assert!(changes(&files, &files).is_empty());
        let world = World::at(files);
        let comparison = world.compare(world.tip());
        prop_assert!(comparison.promote.is_empty() && comparison.heal.is_empty() && comparison.drift.is_empty());
    }

    #[test]
    fn what_no_commit_changed_is_no_operation(old in states(), new in states()) {
        let changed = changes(&old, &new);
        let (old, new) = (desired(&old), desired(&new));
        let same = new.wants().iter().filter(|want| old.get(&want.id) == Some(*want));
        let same = same.map(|want| WantChange { id: want.id.clone(), old: Some(want.clone()), new: Some(want.clone()) });
        let all: Vec<WantChange> = changed.iter().cloned().chain(same).collect();
        let plan = |changes: &[WantChange]| culprit::plan(changes, &Details::new(), &unguarded());
        prop_assert_eq!(plan(&all), plan(&changed));
    }

    #[test]
    fn a_plan_leads_to_what_is_desired_and_touches_nothing_else(old in states(), new in states()) {
        let world = world(&old, &new);
        let mut live = world.live.clone();
        let plan = world.promotion();
        prop_assert_eq!(apply(&mut live, &plan.ops), Ok(()));
        prop_assert_eq!(live.remove("foreign"), Some(9));
        prop_assert_eq!(&live, &new);
        let unchanged = |op: &&Op| old.get(op.id.as_str()) == new.get(op.id.as_str());
        prop_assert!(!plan.ops.iter().any(|op| unchanged(&op)));
    }

    #[test]
    fn what_nobody_declared_is_not_promoted_and_stays_where_it_is_spared(old in states(), new in states()) {
        let mut world = world(&old, &new);
        world.lists_all = true;
        prop_assert!(!world.promotion().ops.iter().any(|op| op.id.as_str() == "foreign"));
        world.guards.spare_undeclared = true;
        world.guards.drift.grace = Duration::ZERO;
        for _ in 0..40 {
            let _ = world.cycle();
        }
        prop_assert_eq!(world.live.remove("foreign"), Some(9));
        prop_assert_eq!(world.live, new);
    }

    #[test]
    fn deletions_wait_for_everything_but_what_takes_their_place(old in states(), new in states()) {
        let ops = world(&old, &new).promotion().ops;
        let first = ops.iter().position(|op| op.verb == Verb::Delete).unwrap_or(ops.len());
        prop_assert!(ops[first..].iter().all(Op::is_late));
        prop_assert!(ops[..first].iter().all(|op| !op.is_late()));
    }

    #[test]
    fn magnitudes_and_digests_do_not_depend_on_the_order(
        (old, new) in (states(), states()),
        seed in any::<prop::sample::Index>(),
    ) {
        // As they were found: what a plan holds is paired already.
        let world = world(&old, &new);
        let ops = world.compare(world.tip()).promote;
        let mut turned = ops.clone();
        if !turned.is_empty() {
            turned.rotate_left(seed.index(ops.len()));
        }
        turned.reverse();
        let (a, b) = (plan(ops), plan(turned));
        prop_assert_eq!(a.magnitude, b.magnitude);
        prop_assert_eq!((a.digest, a.change), (b.digest, b.change));
        prop_assert_eq!(a.ops, b.ops);
    }

    #[test]
    fn a_sum_does_not_depend_on_the_order(old in states(), new in states(), seed in any::<prop::sample::Index>()) {
        let mut ops = world(&old, &new).promotion().ops;
        let sum = Magnitude::of(&ops);
        ops.reverse();
        prop_assert_eq!(Magnitude::of(&ops), sum);
        let by = if ops.is_empty() { 0 } else { seed.index(ops.len()) };
        ops.rotate_left(by);
        prop_assert_eq!(Magnitude::of(&ops), sum);
    }
}
