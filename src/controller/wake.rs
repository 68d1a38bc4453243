//! Wakes the loop: a wake-up carries no data, since every cycle reads everything it acts on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::core::hosting::{Named, concerned};

/// Wakes the applications, all or those of one repository.
#[derive(Debug, Default)]
pub struct Wake {
    rounds: Mutex<Rounds>,
    changed: Condvar,
    /// Set once the controller shall end.
    pub stop: Arc<AtomicBool>,
}

/// Counts wake-ups.
#[derive(Debug, Default)]
struct Rounds {
    all: u64,
    groups: BTreeMap<usize, u64>,
    members: BTreeMap<usize, Member>,
    /// Who else wants to know what a repository's hosting service tells.
    overhearing: Vec<Member>,
}

/// A group that runs.
#[derive(Debug)]
struct Member {
    /// Its repository's.
    address: String,
    nudges: Arc<AtomicU64>,
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

    /// Takes up a group; returns what counts its nudges, to notice one while acting.
    pub fn enlist(&self, group: usize, address: &str) -> Arc<AtomicU64> {
        let nudges = Arc::new(AtomicU64::new(0));
        let member = Member { address: address.to_owned(), nudges: nudges.clone() };
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).members.insert(group, member);
        nudges
    }

    /// Counts the nudges of a repository for somebody who is no group.
    pub fn overhear(&self, address: &str) -> Arc<AtomicU64> {
        let nudges = Arc::new(AtomicU64::new(0));
        let member = Member { address: address.to_owned(), nudges: nudges.clone() };
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).overhearing.push(member);
        nudges
    }

    /// Drops a group that ended.
    pub fn dismiss(&self, group: usize) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.members.remove(&group);
        rounds.groups.remove(&group);
    }

    /// Wakes all, and lets what is being applied look at its tip again before the next write (`GUARDS.md` 4).
    pub fn nudge(&self) {
        for member in self.rounds.lock().unwrap_or_else(PoisonError::into_inner).members.values() {
            member.nudges.fetch_add(1, Ordering::Relaxed);
        }
        self.all();
    }

    /// Does what [`Self::nudge`] does for the groups of one repository; returns how many those are.
    pub fn nudge_for(&self, repository: &Named) -> usize {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let those = concerned(repository, rounds.members.iter().map(|(at, member)| (*at, member.address.as_str())));
        for at in &those {
            if let Some(member) = rounds.members.get(at) {
                member.nudges.fetch_add(1, Ordering::Relaxed);
            }
            *rounds.groups.entry(*at).or_default() += 1;
        }
        let others = rounds.overhearing.iter().enumerate();
        for at in concerned(repository, others.map(|(at, member)| (at, member.address.as_str()))) {
            if let Some(member) = rounds.overhearing.get(at) {
                member.nudges.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(rounds);
        self.changed.notify_all();
        those.len()
    }

    /// Wakes the groups of one repository and nobody else.
    pub fn only(&self, repository: &Named) {
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        for at in concerned(repository, rounds.members.iter().map(|(at, member)| (*at, member.address.as_str()))) {
            *rounds.groups.entry(at).or_default() += 1;
        }
        drop(rounds);
        self.changed.notify_all();
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
        let nudges = wake.enlist(1, "/srv/git/fleet.git");
        wake.nudge();
        wake.wait(1, &mut second, Duration::from_secs(3600));
        assert_eq!((second, nudges.load(Ordering::Relaxed)), (1, 1));
        wake.shut_down();
        wake.wait(0, &mut first, Duration::from_secs(3600));
        wake.wait(0, &mut first, Duration::from_secs(3600));
        assert!(wake.stopped());
    }

    #[test]
    fn a_repository_wakes_its_groups_alone() {
        let wake = Wake::default();
        let main = wake.enlist(0, "https://git.example.com/acme/fleet.git");
        let other = wake.enlist(1, "https://git.example.com/acme/other.git");
        let next = wake.enlist(2, "git@git.example.com:acme/fleet.git");
        let fleet = Named { urls: vec!["https://git.example.com/acme/fleet".to_owned()], path: None };
        let counts = || [&main, &other, &next].map(|nudges| nudges.load(Ordering::Relaxed));
        assert_eq!((wake.nudge_for(&fleet), counts()), (2, [1, 0, 1]));
        let mut seen = [0; 3];
        (0..3).for_each(|group| wake.wait(group, &mut seen[group], Duration::ZERO));
        assert_eq!(seen, [1, 0, 1]);
        wake.dismiss(2);
        assert_eq!((wake.nudge_for(&fleet), counts()), (1, [2, 0, 1]));
        let none = Named { urls: Vec::new(), path: Some("acme/none".to_owned()) };
        assert_eq!((wake.nudge_for(&none), counts()), (0, [2, 0, 1]));
    }
}
