//! Of two configurations the more restrictive one, and what a new one loosens (`GUARDS.md` 3.6).

use super::guards::{Guards, Limit, Mode, TrustPolicy, Verify};

impl Limit {
    fn parts(self) -> (u32, u32, u32) {
        match self {
            Self::Disabled => (u32::MAX, u32::MAX, u32::MAX),
            Self::Fixed(limit) => (limit, 0, limit),
            Self::Relative { over, percent, at_most } => (over, percent, at_most.unwrap_or(u32::MAX)),
        }
    }

    /// Tells whether `self` allows more than `old` at some size. Compared at sizes where either could bend.
    fn looser_than(self, old: Self) -> bool {
        let sizes = [0, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1_000, 10_000, 1_000_000];
        sizes.iter().any(|n| self.at(*n).unwrap_or(u32::MAX) > old.at(*n).unwrap_or(u32::MAX)) || {
            let (a, b) = (self.parts(), old.parts());
            matches!((self, old), (Self::Relative { .. }, Self::Relative { .. }))
                && (a.0 > b.0 || a.1 > b.1 || a.2 > b.2)
        }
    }

    /// Returns the limit that allows less; where neither does at every size, the smaller parts of both.
    fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disabled, limit) | (limit, Self::Disabled) => limit,
            (Self::Fixed(a), Self::Fixed(b)) => Self::Fixed(a.min(b)),
            (Self::Fixed(a), Self::Relative { over, percent, at_most })
            | (Self::Relative { over, percent, at_most }, Self::Fixed(a)) => {
                Self::Relative { over: over.min(a), percent, at_most: Some(at_most.unwrap_or(u32::MAX).min(a)) }
            }
            (
                Self::Relative { over: a, percent: p, at_most: m },
                Self::Relative { over: b, percent: q, at_most: n },
            ) => {
                let at_most = match (m, n) {
                    (Some(m), Some(n)) => Some(m.min(n)),
                    (m, n) => m.or(n),
                };
                Self::Relative { over: a.min(b), percent: p.min(q), at_most }
            }
        }
    }
}

impl Guards {
    /// Returns guards that never let more be written than either of both would.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Self {
        let mut out = self.clone();
        if other.mode == Mode::Observe {
            out.mode = Mode::Observe;
        }
        out.empty_desired_halts |= other.empty_desired_halts;
        out.delete_halt = self.delete_halt.stricter(other.delete_halt);
        out.change_halt = self.change_halt.stricter(other.change_halt);
        out.bump_halt = self.bump_halt.stricter(other.bump_halt);
        out.drift_halt = self.drift_halt.stricter(other.drift_halt);
        out.write_cap = self.write_cap.stricter(other.write_cap);
        out.delete_cap = self.delete_cap.stricter(other.delete_cap);
        out.growth_halt = self.growth_halt.or(other.growth_halt);
        out.group_halt = self.group_halt.or(other.group_halt);
        if let (Some(a), Some(b)) = (self.growth_halt, other.growth_halt) {
            out.growth_halt = Some(super::guards::Growth {
                factor: a.factor.min(b.factor),
                from: a.from.min(b.from),
                creates: a.creates.min(b.creates),
            });
        }
        if let (Some(a), Some(b)) = (self.group_halt, other.group_halt) {
            out.group_halt = Some(super::guards::Groups { groups: a.groups.min(b.groups), from: a.from.min(b.from) });
        }
        for pattern in &other.protected {
            if !out.protected.contains(pattern) {
                out.protected.push(pattern.clone());
            }
        }
        out.protected_defaults |= other.protected_defaults;
        for (window, times) in &other.window_deletes {
            out.window_deletes.entry(*window).and_modify(|known| *known = (*known).min(*times)).or_insert(*times);
        }
        for (window, times) in &other.window_changes {
            out.window_changes.entry(*window).and_modify(|known| *known = (*known).min(*times)).or_insert(*times);
        }
        out.interval = self.interval.max(other.interval);
        out.settle = self.settle.max(other.settle);
        out.approval_ttl = self.approval_ttl.min(other.approval_ttl);
        out.local_approval &= other.local_approval;
        out.solo &= other.solo;
        out.drift.grace = self.drift.grace.max(other.drift.grace);
        out.drift.ignore =
            self.drift.ignore.iter().filter(|ignore| other.drift.ignore.contains(ignore)).cloned().collect();
        out
    }
}

/// Names what a new configuration loosens.
pub fn loosened(old: &Guards, new: &Guards, old_trust: &TrustPolicy, new_trust: &TrustPolicy) -> Vec<String> {
    let mut names = Vec::new();
    let mut say = |name: &str, looser: bool| {
        if looser {
            names.push(name.to_owned());
        }
    };
    say("mode", old.mode == Mode::Observe && new.mode == Mode::Converge);
    say("emptyDesired", old.empty_desired_halts && !new.empty_desired_halts);
    say("deleteHalt", new.delete_halt.looser_than(old.delete_halt));
    say("changeHalt", new.change_halt.looser_than(old.change_halt));
    say("bumpHalt", new.bump_halt.looser_than(old.bump_halt));
    say("driftHalt", new.drift_halt.looser_than(old.drift_halt));
    say("writeCap", new.write_cap.looser_than(old.write_cap));
    say("deleteCap", new.delete_cap.looser_than(old.delete_cap));
    say(
        "growthHalt",
        old.growth_halt.is_some_and(|old| {
            new.growth_halt
                .is_none_or(|new| new.factor > old.factor || new.from > old.from || new.creates > old.creates)
        }),
    );
    say(
        "groupHalt",
        old.group_halt
            .is_some_and(|old| new.group_halt.is_none_or(|new| new.groups > old.groups || new.from > old.from)),
    );
    say("protected", !old.protected.iter().all(|pattern| new.protected.contains(pattern)));
    say("protectedDefaults", old.protected_defaults && !new.protected_defaults);
    let window = |old: &std::collections::BTreeMap<_, u32>, new: &std::collections::BTreeMap<_, u32>| {
        old.iter().any(|(window, times)| new.get(window).is_none_or(|new| new > times))
    };
    say("window", window(&old.window_deletes, &new.window_deletes) || window(&old.window_changes, &new.window_changes));
    say("interval", new.interval < old.interval);
    say("settle", new.settle < old.settle);
    say("approvalTtl", new.approval_ttl > old.approval_ttl);
    say("localApproval", new.local_approval && !old.local_approval);
    say("solo", new.solo && !old.solo);
    say("drift.grace", new.drift.grace < old.drift.grace);
    say("drift.ignore", !new.drift.ignore.iter().all(|ignore| old.drift.ignore.contains(ignore)));
    say("trust.verify", old_trust.verify == Verify::Repository && new_trust.verify == Verify::Path);
    let wider = |old: &[std::sync::Arc<str>], new: &[std::sync::Arc<str>], empty_is_all: bool| {
        (empty_is_all && new.is_empty() && !old.is_empty())
            || (!(empty_is_all && old.is_empty()) && !new.iter().all(|name| old.contains(name)))
    };
    say("trust.signers", wider(&old_trust.signers, &new_trust.signers, true));
    say("trust.approvers", wider(&old_trust.approvers, &new_trust.approvers, false));
    say("trust.people", old_trust.people != new_trust.people);
    names
}
