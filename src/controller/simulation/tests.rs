//! The tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::run::{Options, Ran, run};

/// Runs seeds on two threads until one breaks something; returns it.
fn first_broken(seeds: std::ops::Range<u64>, options: Options) -> (Option<(u64, Ran)>, u64) {
    let next = AtomicU64::new(seeds.start);
    let written = AtomicU64::new(0);
    let found: Mutex<Option<(u64, Ran)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().expect("not poisoned").is_some() {
                        return;
                    }
                    let ran = run(seed, options);
                    written.fetch_add(ran.written, Ordering::Relaxed);
                    if ran.violation.is_some() {
                        let mut found = found.lock().expect("not poisoned");
                        if found.as_ref().is_none_or(|(known, _)| seed < *known) {
                            *found = Some((seed, ran));
                        }
                    }
                }
            });
        }
    });
    (found.into_inner().expect("not poisoned"), written.into_inner())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

#[test]
fn promises_hold_whatever_happens() {
    if let Some(seed) = number("HOLDFAST_SIMULATION_SEED") {
        let crash_at = number("HOLDFAST_SIMULATION_CRASH");
        let ran = run(seed, Options { verbose: true, crash_at, ..Options::default() });
        assert_eq!(ran.violation, None, "seed {seed}");
        return;
    }
    let seeds = number("HOLDFAST_SIMULATION_SEEDS").unwrap_or(2_000);
    let (broken, written) = first_broken(0..seeds, Options::default());
    if let Some((seed, ran)) = broken {
        let violation = ran.violation.expect("it was found broken");
        panic!("HOLDFAST_SIMULATION_SEED={seed} breaks `{}`: {}", violation.invariant, violation.message);
    }
    assert!(written > seeds, "a simulation that writes next to nothing shows nothing: {written} writes");
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in 0..20 {
        assert_eq!(run(seed, Options::default()), run(seed, Options::default()), "seed {seed}");
    }
}
