//! Each guard, weakened on purpose: somebody must notice.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::run::{Options, run};
use crate::core::weaken::{self, ALL, Weakened};

/// How many seeds a weakened guard may hide in. Each is noticed in the first few; the rest is for what the script may become.
const SEEDS: u64 = 1000;

/// Each guard, and what the onlooker must say once it is weakened.
const EXPECTED: &[(Weakened, &[&str])] = &[
    (Weakened::ChangeHalt, &["change_halt"]),
    (Weakened::DeleteHalt, &["delete_halt"]),
    (Weakened::Growth, &["growth_halt"]),
    (Weakened::Groups, &["group_halt"]),
    (Weakened::EmptyDesired, &["empty_desired"]),
    (Weakened::Window, &["window"]),
    (Weakened::Fleet, &["fleet"]),
    (Weakened::WriteCap, &["write_cap"]),
    (Weakened::DeleteCap, &["delete_cap"]),
    (Weakened::Protected, &["protected"]),
    (Weakened::Signature, &["signature"]),
    (Weakened::History, &["history", "signature"]),
    (Weakened::FreezeBeforeWrite, &["freeze"]),
    (Weakened::FreezeAtTip, &["freeze_at_tip"]),
    (Weakened::TipWhileActing, &["freeze_at_tip"]),
    (Weakened::Observe, &["observe"]),
    (Weakened::Observation, &["observation"]),
    (Weakened::Reservation, &["reservation"]),
    (Weakened::Precondition, &["precondition"]),
    (Weakened::DeletionsLast, &["deletions_last"]),
    (Weakened::Batch, &["batch"]),
    (Weakened::Health, &["health", "deletions_last"]),
    (Weakened::DriftHalt, &["drift_halt"]),
    (Weakened::Emergency, &["emergency"]),
    (Weakened::Fight, &["fight"]),
    (Weakened::ApprovalBinding, &["approval_binding"]),
    (Weakened::ApprovalOnce, &["approval_once"]),
    (Weakened::ApprovalOwn, &["approval_own"]),
    (Weakened::Anchor, &["anchor"]),
    (Weakened::Clock, &["clock"]),
    (Weakened::Return, &["return"]),
    (Weakened::RolloutMoves, &["rollout_moved"]),
    (Weakened::Conflict, &["emergency"]),
    (Weakened::Quarantine, &["fight"]),
    (Weakened::Breaker, &["breaker"]),
    (Weakened::Failure, &["failure"]),
    (Weakened::LastGood, &["last_good"]),
    (Weakened::Loosened, &["loosened"]),
    (Weakened::ApprovalTtl, &["approval_once"]),
    (Weakened::Render, &["render"]),
    (Weakened::Ownership, &["ownership"]),
    (Weakened::Leaving, &["leaving"]),
    (Weakened::Suspects, &["suspect"]),
    (Weakened::Dependants, &["delete_halt", "window"]),
];

#[test]
fn every_guard_is_on_the_list() {
    let listed: BTreeSet<Weakened> = EXPECTED.iter().map(|(guard, _)| *guard).collect();
    assert_eq!(listed, ALL.iter().copied().collect());
}

/// Returns the first seed in which somebody notices, or what was said instead.
fn noticed(guard: Weakened, names: &[&str]) -> Result<u64, BTreeSet<&'static str>> {
    let options = Options { focus: Some(guard), ..Options::default() };
    let mut said = BTreeSet::new();
    for seed in 0..SEEDS {
        weaken::set(Some(guard));
        let ran = run(seed, options);
        weaken::set(None);
        let Some(violation) = ran.violation else { continue };
        said.insert(violation.invariant);
        if names.contains(&violation.invariant) {
            // The same seed breaks nothing once the guard is back: it is the guard that is noticed.
            let sound = run(seed, options);
            assert_eq!(sound.violation, None, "{guard:?}, seed {seed}, as it is");
            return Ok(seed);
        }
    }
    Err(said)
}

#[test]
fn every_weakened_guard_is_noticed() {
    let next = AtomicUsize::new(0);
    let missed: Mutex<Vec<String>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((guard, names)) = EXPECTED.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match noticed(*guard, names) {
                        Ok(seed) => println!("{guard:?}: noticed in seed {seed}"),
                        Err(said) => {
                            println!("{guard:?}: missed, {said:?}");
                            missed.lock().expect("not poisoned").push(format!("{guard:?} ({said:?} instead)"));
                        }
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("not poisoned");
    assert!(missed.is_empty(), "weakened without anybody noticing: {}", missed.join(", "));
}
