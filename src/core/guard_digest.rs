//! What an approval depends on besides its plan: the digest of the guards' configuration (`GUARDS.md` 5.4).
//!
//! Written out by hand rather than by serde: the bytes must not move with a representation, and a new parameter must not
//! compile until somebody decided how it is hashed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::guards::{
    DriftPolicies, DriftPolicy, Groups, Growth, Guards, Ignore, Limit, Match, Mode, ObserveFor, OnPoison, Rate,
    TrustPolicy, Verify,
};
use super::resource::{Digest, Hasher};

/// Hashes everything that an approval is bound to besides the operations: guards, who may sign and approve, and which
/// target it is.
pub fn guard_digest(guards: &Guards, trust: &TrustPolicy, target: Digest) -> Digest {
    let mut hash = Canonical(Hasher::new());
    hash.text("holdfast guards 1");
    hash.guards(guards);
    hash.trust(trust);
    hash.0.part(target.as_bytes());
    hash.0.finish()
}

/// Feeds values to a hash in one fixed order and spelling.
struct Canonical(Hasher);

impl Canonical {
    fn text(&mut self, text: &str) {
        self.0.part(text.as_bytes());
    }

    fn number(&mut self, number: u32) {
        self.0.part(&number.to_le_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.0.part(&[u8::from(flag)]);
    }

    fn time(&mut self, time: Duration) {
        self.0.part(&time.as_nanos().to_le_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, then: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            then(self, value);
        }
    }

    fn list<T>(&mut self, values: impl ExactSizeIterator<Item = T>, mut then: impl FnMut(&mut Self, T)) {
        self.0.part(&(values.len() as u64).to_le_bytes());
        for value in values {
            then(self, value);
        }
    }

    /// A set: the order and repetitions in which it was written say nothing.
    fn set<T: AsRef<str>>(&mut self, values: &[T]) {
        let mut sorted: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        sorted.dedup();
        self.list(sorted.into_iter(), Self::text);
    }

    fn windows(&mut self, windows: &BTreeMap<Duration, u32>) {
        self.list(windows.iter(), |hash, (&window, &times)| {
            hash.time(window);
            hash.number(times);
        });
    }

    fn limit(&mut self, limit: Limit) {
        match limit {
            Limit::Disabled => self.text("disabled"),
            Limit::Fixed(fixed) => {
                self.text("fixed");
                self.number(fixed);
            }
            Limit::Relative { over, percent, at_most } => {
                self.text("relative");
                self.number(over);
                self.number(percent);
                self.optional(at_most, Self::number);
            }
        }
    }

    fn guards(&mut self, guards: &Guards) {
        let Guards {
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
        } = guards;
        self.text(match mode {
            Mode::Observe => "observe",
            Mode::Converge => "converge",
        });
        self.time(*interval);
        self.flag(*empty_desired_halts);
        for limit in [delete_halt, change_halt, bump_halt, drift_halt, write_cap, delete_cap] {
            self.limit(*limit);
        }
        self.optional(*growth_halt, |hash, Growth { factor, from, creates }| {
            [factor, from, creates].into_iter().for_each(|number| hash.number(number));
        });
        self.optional(*group_halt, |hash, Groups { groups, from }| {
            [groups, from].into_iter().for_each(|number| hash.number(number));
        });
        self.set(protected);
        self.flag(*protected_defaults);
        self.windows(window_deletes);
        self.windows(window_changes);
        self.optional(*rate, |hash, rate| {
            hash.optional(rate, |hash, Rate { per_second, burst }| {
                hash.number(per_second);
                hash.number(burst);
            });
        });
        self.time(*backoff_initial);
        self.time(*backoff_max);
        self.number(*failures);
        self.windows(fight);
        self.time(*settle);
        self.time(*approval_ttl);
        self.text(match on_poison {
            OnPoison::Hold => "hold",
            OnPoison::LastGood => "last_good",
        });
        match *observe_for {
            ObserveFor::Cycles(cycles) => {
                self.text("cycles");
                self.number(cycles);
            }
            ObserveFor::Time(time) => {
                self.text("time");
                self.time(time);
            }
        }
        self.flag(*local_approval);
        self.flag(*solo);
        self.flag(*spare_undeclared);
        self.drift(drift);
    }

    fn drift(&mut self, drift: &DriftPolicies) {
        let DriftPolicies { missing, tamper, emergency, routine, grace, ignore } = drift;
        for policy in [missing, tamper, emergency, routine] {
            match *policy {
                DriftPolicy::Revert => self.text("revert"),
                DriftPolicy::Adopt => self.text("adopt"),
                DriftPolicy::Escalate { revert_after } => {
                    self.text("escalate");
                    self.optional(revert_after, Self::time);
                }
            }
        }
        self.time(*grace);
        self.list(ignore.iter(), |hash, Ignore { kind, resource, paths }| {
            hash.optional(kind.as_deref(), Self::text);
            hash.optional(resource.as_deref(), Self::text);
            hash.set(paths);
        });
    }

    fn trust(&mut self, trust: &TrustPolicy) {
        let TrustPolicy { verify, match_, signers, approvers, people, service_merges, anchor } = trust;
        self.text(match verify {
            Verify::Repository => "repository",
            Verify::Path => "path",
        });
        self.text(match match_ {
            Match::Signer => "signer",
            Match::Committer => "committer",
        });
        self.set(signers);
        self.set(approvers);
        self.list(people.iter(), |hash, (person, names)| {
            hash.text(person);
            hash.set(names);
        });
        self.optional(anchor.as_ref(), |hash, anchor| hash.text(anchor.as_str()));
        // Last, and only where it is on: what was approved before there was such a thing stays approved.
        if *service_merges {
            self.text("service merges");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(guards: &Guards, trust: &TrustPolicy) -> Digest {
        guard_digest(guards, trust, Digest::of_parts(["a target"]))
    }

    #[test]
    fn every_part_moves_the_digest() {
        let guards = Guards::default();
        let trust = TrustPolicy::default();
        let base = digest(&guards, &trust);
        assert_eq!(base, digest(&guards.clone(), &trust.clone()));
        assert_ne!(base, guard_digest(&guards, &trust, Digest::of_parts(["another"])));
        let changed =
            Guards { change_halt: Limit::Relative { over: 15, percent: 31, at_most: None }, ..guards.clone() };
        assert_ne!(base, digest(&changed, &trust));
        let drift = DriftPolicies { routine: DriftPolicy::Escalate { revert_after: None }, ..guards.drift.clone() };
        assert_ne!(base, digest(&Guards { drift, ..guards.clone() }, &trust));
        assert_ne!(base, digest(&guards, &TrustPolicy { service_merges: true, ..trust.clone() }));
        let approver = TrustPolicy { approvers: vec!["a".into()], ..trust.clone() };
        let signer = TrustPolicy { signers: vec!["a".into()], ..trust };
        assert_ne!(
            digest(&guards, &approver),
            digest(&guards, &signer),
            "the same word in another list is another policy"
        );
    }

    #[test]
    fn swapped_limits_are_told_apart() {
        let guards = Guards::default();
        let swapped = Guards { delete_halt: guards.change_halt, change_halt: guards.delete_halt, ..guards.clone() };
        let trust = TrustPolicy::default();
        assert_ne!(digest(&guards, &trust), digest(&swapped, &trust));
    }

    #[test]
    fn the_order_of_a_set_says_nothing() {
        let guards = Guards::default();
        let one = TrustPolicy { signers: vec!["a".into(), "b".into()], ..TrustPolicy::default() };
        let two = TrustPolicy { signers: vec!["b".into(), "a".into(), "b".into()], ..TrustPolicy::default() };
        assert_eq!(digest(&guards, &one), digest(&guards, &two));
    }
}
