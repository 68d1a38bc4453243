//! What the stricter of two guards writes, measured on an application that pushes, drift and time have led somewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::tests::{limit, spans, words};
use super::*;
use crate::core::fixture::{Files, World};
use crate::core::judge::Judgement;
use crate::core::ledger::Fact;
use crate::core::pace::{self, Settled};
use crate::core::properties::unguarded;
use crate::core::resource::{Health, Id};
use crate::core::state::Purpose;

/// What happens before a cycle.
#[derive(Clone, Debug)]
enum Step {
    Push(Files),
    /// Somebody writes or removes what is there.
    Meddle(prop::sample::Index, Option<u8>),
    Wait(i64),
}

/// Files of which none stands in another's way: what fails for that is another matter.
fn states() -> impl Strategy<Value = Files> {
    let names = ["a", "b", "c", "d", "x/1", "x/2", "y/1", "y/2"];
    let chosen = prop::collection::btree_map(prop::sample::select(names.to_vec()), 1_u8..5, 1..8);
    chosen.prop_map(|files| files.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        states().prop_map(Step::Push),
        (any::<prop::sample::Index>(), prop::option::of(5_u8..8)).prop_map(|(which, value)| Step::Meddle(which, value)),
        (1_i64..90).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..10)
}

/// Most limits hold nothing: otherwise there is mostly one of them that holds everything.
fn limits() -> impl Strategy<Value = Limit> {
    prop_oneof![3 => Just(Limit::Disabled), 1 => limit()]
}

prop_compose! {
    fn guards()(
        halts in prop::array::uniform6(limits()),
        growth in prop::option::weighted(0.2, (1_u32..3, 1_u32..4, 1_u32..4)),
        groups in prop::option::weighted(0.2, (1_u32..3, 1_u32..3)),
        windows in (spans(), spans(), spans()),
        protected in words(),
        policies in (any::<[bool; 3]>(), 0_u64..40),
    ) -> Guards {
        let [delete_halt, change_halt, bump_halt, drift_halt, write_cap, delete_cap] = halts;
        let (window_deletes, window_changes, fight) = windows;
        let ([empty_desired_halts, missing, routine], grace) = policies;
        let policy = |reverts: bool| if reverts { DriftPolicy::Revert } else { DriftPolicy::Escalate { revert_after: None } };
        Guards {
            mode: Mode::Converge,
            empty_desired_halts,
            delete_halt,
            change_halt,
            bump_halt,
            drift_halt,
            write_cap,
            delete_cap,
            growth_halt: growth.map(|(factor, from, creates)| Growth { factor, from, creates }),
            group_halt: groups.map(|(groups, from)| Groups { groups, from }),
            window_deletes,
            window_changes,
            fight,
            protected,
            drift: DriftPolicies {
                missing: policy(missing),
                routine: policy(routine),
                grace: Duration::from_secs(60 * grace),
                ..DriftPolicies::default()
            },
            ..Guards::default()
        }
    }
}

/// Leads an application through steps, a cycle after each; guards that hold next to nothing let most of it happen.
fn led(old: &Files, steps: &[Step]) -> World {
    let mut world = World::at(old.clone());
    world.guards = unguarded();
    world.guards.drift.grace = Duration::from_secs(600);
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Push(files) => world.push(&format!("push {at}"), files.clone()),
            Step::Meddle(which, value) => {
                let names: Vec<String> = world.live.keys().cloned().collect();
                if let Some(name) = (!names.is_empty()).then(|| which.get(&names)) {
                    match value {
                        Some(value) => world.live.insert(name.clone(), *value),
                        None => world.live.remove(name),
                    };
                }
            }
            Step::Wait(minutes) => world.wait(SignedDuration::from_mins(*minutes)),
        }
        // The last one is left for those that are compared.
        if at + 1 < steps.len() {
            let _ = world.cycle();
        }
    }
    world
}

/// Runs one cycle under some guards.
fn cycled(world: &World, guards: &Guards) -> (World, Judgement) {
    let mut world = world.clone();
    world.guards = guards.clone();
    world.journal.clear();
    world.wrote.clear();
    let judgement = world.cycle();
    (world, judgement)
}

/// Counts what a cycle wrote for a purpose.
fn wrote(world: &World, wanted: Purpose) -> usize {
    let of = |fact: &&Fact| matches!(fact, Fact::Wrote { purpose, .. } if *purpose == wanted);
    world.journal.iter().filter(of).count()
}

/// Returns what a promotion leaves alone under some guards: what is parked, on hold, fought over, or a person's.
fn left_alone(world: &World, guards: &Guards) -> BTreeSet<Id> {
    let (mut world, fought) = (world.clone(), fought(world, guards));
    world.guards = guards.clone();
    world.wait(SignedDuration::from_mins(3));
    let comparison = world.compare(world.tip());
    let parked = world.promotion().parked.into_iter().map(|parked| parked.op.id);
    let conflicts = comparison.conflicts.into_iter().map(|conflict| conflict.id);
    parked.chain(conflicts).chain(fought.iter().map(|name| Id::new(name.as_str()))).collect()
}

/// Returns what guards take for fought over.
fn fought(world: &World, guards: &Guards) -> Vec<String> {
    let now = world.state.now() + SignedDuration::from_mins(3);
    let fights = world.state.resources.iter().filter(|(_, resource)| {
        resource.trouble.as_deref().is_some_and(|trouble| pace::is_fight(&trouble.reverts, guards, now))
    });
    fights.map(|(id, _)| id.to_string()).collect()
}

/// When a batch is left, by minutes, and what of it does not work then: some of it works from some minute on, or never.
fn left(works: &[Option<u64>], settle: u64) -> (u64, Vec<Id>) {
    for minute in 0.. {
        let health = works.iter().enumerate().map(|(at, from)| {
            let well = from.is_some_and(|from| minute >= from);
            (Id::new(format!("r{at:02}")), if well { Health::Healthy } else { Health::Progressing }, None)
        });
        if let Settled::With(bad) = pace::settled(works.len(), health.collect(), minute >= settle) {
            return (minute, bad.into_iter().map(|(id, _)| id).collect());
        }
    }
    unreachable!("`settle` is over some time")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn from_wherever_things_stand_the_stricter_writes_no_more_than_either(
        (old, steps) in (states(), steps()),
        (a, b) in (guards(), guards()),
    ) {
        let world = led(&old, &steps);
        let both = a.stricter(&b);
        let (strict, judged) = cycled(&world, &both);
        for one in [a, b] {
            let (other, lets) = cycled(&world, &one);
            // What is left alone is no part of the plan that the limits judge.
            if left_alone(&world, &both) == left_alone(&world, &one) {
                let counts = [&strict, &other].map(|world| wrote(world, Purpose::Promote));
                prop_assert!(counts[0] <= counts[1], "{:?}, of {:?}", strict.wrote, other.wrote);
            }
            // Where a promotion is withheld, what it would have taken along is healed.
            if judged.may(Purpose::Promote) == lets.may(Purpose::Promote) {
                let counts = [&strict, &other].map(|world| wrote(world, Purpose::Heal));
                prop_assert!(counts[0] <= counts[1], "{:?}, of {:?}", strict.wrote, other.wrote);
            }
        }
    }

    #[test]
    fn the_stricter_leaves_alone_what_either_does(
        (old, steps) in (states(), steps()),
        (a, b) in (guards(), guards()),
    ) {
        let world = led(&old, &steps);
        let (after, _) = cycled(&world, &a.stricter(&b));
        for one in [&a, &b] {
            let protects = |name: &&String| one.protects(&Id::new(name.as_str()), false);
            let lost = world.live.keys().filter(protects).find(|name| !after.live.contains_key(*name));
            prop_assert_eq!(lost, None);
            let fought = fought(&world, one);
            prop_assert!(!after.wrote.iter().any(|name| fought.contains(name)), "{fought:?} of {:?}", after.wrote);
        }
    }

    #[test]
    fn a_longer_settle_leaves_no_batch_earlier_and_finds_no_more_that_does_not_work(
        works in prop::collection::vec(prop::option::of(0_u64..8), 1..14),
        (a, b) in (0_u64..8, 0_u64..8),
    ) {
        let (short, long) = (left(&works, a.min(b)), left(&works, a.max(b)));
        prop_assert!(long.0 >= short.0);
        prop_assert!(long.1.iter().all(|id| short.1.contains(id)), "{long:?}, {short:?}");
    }
}
