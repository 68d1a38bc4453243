//! Of two configurations the more restrictive one, and what a new one loosens (`GUARDS.md` 3.6).
//!
//! *Stricter* is what writes less; where neither writes, what tells more. Both functions take every parameter apart, so that a
//! new one does not compile until it is decided what its stricter value is.

mod limit;
mod trust;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::guards::{
    DriftPolicies, DriftPolicy, Groups, Growth, Guards, Ignore, Limit, Mode, ObserveFor, OnPoison, Rate, TrustPolicy,
};
use super::pace::TARGET_RATE;

impl Guards {
    /// Returns guards that never let more be written than either of both would, from where things stand.
    ///
    /// That is said of one cycle, where both leave the same alone: what only one of them parks, takes for fought over or for
    /// a person's change is left alone by the stricter too, and the rest of the plan is judged without it (`GUARDS.md` 5.2,
    /// 6). Over many cycles it may come to more, because what is written later, or less at a time, meets another plan,
    /// another window and another author; where a promotion is withheld, what it would have taken along is healed; and a
    /// longer `settle` waits for what is slow, where the shorter one would have set HEALTH.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        let Self {
            mode,
            interval,
            empty_desired_halts,
            delete_halt,
            change_halt,
            bump_halt,
            growth_halt,
            group_halt,
            drift_halt,
            protected,
            protected_defaults,
            window_deletes,
            window_changes,
            write_cap,
            delete_cap,
            rate,
            backoff_initial,
            backoff_max,
            failures,
            fight,
            settle,
            approval_ttl,
            on_poison,
            observe_for,
            local_approval,
            solo,
            spare_undeclared,
            drift,
        } = self;
        // A longer interval spends the same budget more slowly.
        let interval = (*interval).max(other.interval);
        Self {
            mode: if [*mode, other.mode].contains(&Mode::Observe) { Mode::Observe } else { Mode::Converge },
            interval,
            empty_desired_halts: *empty_desired_halts || other.empty_desired_halts,
            delete_halt: delete_halt.stricter(other.delete_halt),
            change_halt: change_halt.stricter(other.change_halt),
            bump_halt: bump_halt.stricter(other.bump_halt),
            growth_halt: either(*growth_halt, other.growth_halt, |a, b| Growth {
                factor: a.factor.min(b.factor),
                from: a.from.min(b.from),
                creates: a.creates.min(b.creates),
            }),
            group_halt: either(*group_halt, other.group_halt, |a, b| Groups {
                groups: a.groups.min(b.groups),
                from: a.from.min(b.from),
            }),
            drift_halt: drift_halt.stricter(other.drift_halt),
            protected: union(protected, &other.protected),
            protected_defaults: *protected_defaults || other.protected_defaults,
            window_deletes: windows(window_deletes, &other.window_deletes),
            window_changes: windows(window_changes, &other.window_changes),
            write_cap: write_cap.stricter(other.write_cap),
            delete_cap: delete_cap.stricter(other.delete_cap),
            rate: slower(*rate, other.rate),
            backoff_initial: (*backoff_initial).max(other.backoff_initial),
            backoff_max: (*backoff_max).max(other.backoff_max),
            failures: (*failures).min(other.failures),
            fight: windows(fight, &other.fight),
            // A batch that waits longer for the last one writes less in the same time.
            settle: (*settle).max(other.settle),
            approval_ttl: (*approval_ttl).min(other.approval_ttl),
            on_poison: if [*on_poison, other.on_poison].contains(&OnPoison::Hold) {
                OnPoison::Hold
            } else {
                OnPoison::LastGood
            },
            observe_for: longer(*observe_for, other.observe_for, interval),
            local_approval: *local_approval && other.local_approval,
            solo: *solo && other.solo,
            spare_undeclared: *spare_undeclared || other.spare_undeclared,
            drift: drift.stricter(&other.drift),
        }
    }
}

impl DriftPolicies {
    fn stricter(&self, other: &Self) -> Self {
        let Self { missing, tamper, emergency, routine, grace, ignore } = self;
        let mut both: Vec<Ignore> = ignore.iter().filter(|known| other.ignore.contains(known)).cloned().collect();
        both.sort_by(|a, b| (&a.kind, &a.resource, &a.paths).cmp(&(&b.kind, &b.resource, &b.paths)));
        both.dedup();
        Self {
            missing: missing.stricter(other.missing),
            tamper: tamper.stricter(other.tamper),
            emergency: emergency.stricter(other.emergency),
            routine: routine.stricter(other.routine),
            grace: (*grace).max(other.grace),
            // What is ignored is not detected: only what both ignore.
            ignore: both,
        }
    }
}

impl DriftPolicy {
    /// Writes as little as either and tells as much: between reverting and looking away lies telling.
    fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revert, Self::Revert) => Self::Revert,
            (Self::Adopt, Self::Adopt) => Self::Adopt,
            (Self::Adopt, _) | (_, Self::Adopt) => Self::Escalate { revert_after: None },
            (Self::Revert, escalate) | (escalate, Self::Revert) => escalate,
            (Self::Escalate { revert_after: a }, Self::Escalate { revert_after: b }) => {
                Self::Escalate { revert_after: a.zip(b).map(|(a, b)| a.max(b)) }
            }
        }
    }
}

/// Returns what both say, or what one says: absent is disabled.
fn either<T>(a: Option<T>, b: Option<T>, both: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(both(a, b)),
        (a, b) => a.or(b),
    }
}

fn union(a: &[Arc<str>], b: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = a.iter().chain(b).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A window that only one knows holds: absent is disabled.
fn windows(a: &BTreeMap<Duration, u32>, b: &BTreeMap<Duration, u32>) -> BTreeMap<Duration, u32> {
    let mut all = a.clone();
    for (window, times) in b {
        all.entry(*window).and_modify(|known| *known = (*known).min(*times)).or_insert(*times);
    }
    all
}

/// `None` is the target's default, `Some(None)` is disabled.
fn slower(a: Option<Option<Rate>>, b: Option<Option<Rate>>) -> Option<Option<Rate>> {
    let least = |a: Rate, b: Rate| Rate { per_second: a.per_second.min(b.per_second), burst: a.burst.min(b.burst) };
    match (a, b) {
        (Some(Some(a)), Some(Some(b))) => Some(Some(least(a, b))),
        (Some(None), other) | (other, Some(None)) => other,
        (None, None) => None,
        // Where a target has a rate of its own, its default is at most this.
        (None, Some(Some(rate))) | (Some(Some(rate)), None) => Some(Some(least(rate, TARGET_RATE))),
    }
}

/// Both include one whole cycle; several cycles take at least all intervals between them.
fn longer(a: ObserveFor, b: ObserveFor, interval: Duration) -> ObserveFor {
    match (a, b) {
        (ObserveFor::Cycles(a), ObserveFor::Cycles(b)) => ObserveFor::Cycles(a.max(b)),
        (ObserveFor::Time(a), ObserveFor::Time(b)) => ObserveFor::Time(a.max(b)),
        (ObserveFor::Cycles(cycles), ObserveFor::Time(time)) | (ObserveFor::Time(time), ObserveFor::Cycles(cycles)) => {
            if cycles <= 1 {
                ObserveFor::Time(time)
            } else if interval.saturating_mul(cycles - 1) >= time {
                ObserveFor::Cycles(cycles)
            } else {
                ObserveFor::Time(time.max(interval.saturating_mul(cycles)))
            }
        }
    }
}

/// Names what a new configuration loosens, in the words of the configuration.
///
/// A parameter is looser where the stricter of old and new is not the new one.
pub fn loosened(old: &Guards, new: &Guards, old_trust: &TrustPolicy, new_trust: &TrustPolicy) -> Vec<String> {
    let Guards {
        mode,
        interval,
        empty_desired_halts,
        delete_halt: _,
        change_halt: _,
        bump_halt: _,
        growth_halt,
        group_halt,
        drift_halt: _,
        protected,
        protected_defaults,
        window_deletes,
        window_changes,
        write_cap: _,
        delete_cap: _,
        rate,
        backoff_initial,
        backoff_max,
        failures,
        fight,
        settle,
        approval_ttl,
        on_poison,
        observe_for,
        local_approval,
        solo,
        spare_undeclared,
        drift,
    } = old.stricter(new);
    // Two spellings of one limit are no loosening, so limits are compared by what they allow.
    let limit = Limit::looser_than;
    let found = [
        ("mode", mode != new.mode),
        ("interval", interval != new.interval),
        ("emptyDesired", empty_desired_halts != new.empty_desired_halts),
        ("deleteHalt", limit(new.delete_halt, old.delete_halt)),
        ("changeHalt", limit(new.change_halt, old.change_halt)),
        ("bumpHalt", limit(new.bump_halt, old.bump_halt)),
        ("growthHalt", growth_halt != new.growth_halt),
        ("groupHalt", group_halt != new.group_halt),
        ("driftHalt", limit(new.drift_halt, old.drift_halt)),
        ("protected", protected.iter().any(|glob| !new.protected.contains(glob))),
        ("protectedDefaults", protected_defaults != new.protected_defaults),
        ("window", window_deletes != new.window_deletes || window_changes != new.window_changes),
        ("writeCap", limit(new.write_cap, old.write_cap)),
        ("deleteCap", limit(new.delete_cap, old.delete_cap)),
        ("rate", rate != new.rate),
        ("backoff", backoff_initial != new.backoff_initial || backoff_max != new.backoff_max),
        ("failures", failures != new.failures),
        ("fight", fight != new.fight),
        ("settle", settle != new.settle),
        ("approvalTtl", approval_ttl != new.approval_ttl),
        ("onPoison", on_poison != new.on_poison),
        // Cycles and time are told apart by what they take at the interval that would hold.
        ("observeFor", observe_for != longer(new.observe_for, new.observe_for, interval)),
        ("localApproval", local_approval != new.local_approval),
        ("solo", solo != new.solo),
        ("target.directory.exclusive", spare_undeclared != new.spare_undeclared),
    ];
    let mut names: Vec<String> =
        found.into_iter().filter(|(_, looser)| *looser).map(|(name, _)| name.to_owned()).collect();
    names.extend(loosened_drift(&drift, &new.drift));
    names.extend(trust::loosened(old_trust, new_trust));
    names
}

fn loosened_drift(stricter: &DriftPolicies, new: &DriftPolicies) -> impl Iterator<Item = String> {
    let DriftPolicies { missing, tamper, emergency, routine, grace, ignore } = stricter;
    let found = [
        ("drift.missing", *missing != new.missing),
        ("drift.tamper", *tamper != new.tamper),
        ("drift.emergency", *emergency != new.emergency),
        ("drift.routine", *routine != new.routine),
        ("drift.grace", *grace != new.grace),
        ("drift.ignore", new.ignore.iter().any(|known| !ignore.contains(known))),
    ];
    found.into_iter().filter(|(_, looser)| *looser).map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod writes;
