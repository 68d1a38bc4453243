//! Wakes the loop: a wake-up carries no data, since every cycle reads everything it acts on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Wakes the applications, all or those of one repository.
#[derive(Debug, Default)]
pub struct Wake {
    rounds: Mutex<Rounds>,
    changed: Condvar,
    nudges: Arc<AtomicU64>,
    /// Set once the controller shall end.
    pub stop: Arc<AtomicBool>,
}

/// Counts wake-ups.
#[derive(Debug, Default)]
struct Rounds {
    all: u64,
    groups: BTreeMap<usize, u64>,
}

impl Rounds {
    fn of(&self, group: usize) -> u64 {
        self.all + self.groups.get(&group).copied().unwrap_or(0)
    }
}

impl Wake {
    /// Wakes all.
    pub fn all(&self) {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).all += 1;
        self.changed.notify_all();
    }

    /// Wakes the applications of one repository.
    pub fn group(&self, group: usize) {
        *self.rounds.lock().unwrap_or_else(PoisonError::into_inner).groups.entry(group).or_default() += 1;
        self.changed.notify_all();
    }

    /// Wakes all, and lets what is being applied look at its tip again before the next write (`GUARDS.md` 4).
    pub fn nudge(&self) {
        self.nudges.fetch_add(1, Ordering::Relaxed);
        self.all();
    }

    /// Counts the nudges, to notice one while acting.
    pub fn nudges(&self) -> Arc<AtomicU64> {
        self.nudges.clone()
    }

    /// Ends the controller.
    pub fn shut_down(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.all();
    }

    /// Tells whether the controller shall end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until something wakes a group, or the time is over.
    pub fn wait(&self, group: usize, seen: &mut u64, time: Duration) {
        let guard = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = self
            .changed
            .wait_timeout_while(guard, time, |rounds| rounds.of(group) == *seen && !self.stopped())
            .unwrap_or_else(PoisonError::into_inner);
        *seen = guard.of(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_before_the_wait_is_not_lost_and_one_group_wakes_alone() {
        let wake = Wake::default();
        let (mut first, mut second) = (0, 0);
        wake.group(0);
        wake.wait(0, &mut first, Duration::from_secs(3600));
        assert_eq!(first, 1);
        wake.wait(1, &mut second, Duration::ZERO);
        assert_eq!(second, 0);
        wake.nudge();
        wake.wait(1, &mut second, Duration::from_secs(3600));
        assert_eq!((second, wake.nudges().load(Ordering::Relaxed)), (1, 1));
        wake.shut_down();
        wake.wait(0, &mut first, Duration::from_secs(3600));
        wake.wait(0, &mut first, Duration::from_secs(3600));
        assert!(wake.stopped());
    }
}
