//! Properties over arbitrary configurations, and the cases that have a name.

use proptest::prelude::*;

use super::*;
use crate::core::guards::{Match, Verify};

pub(super) fn limit() -> impl Strategy<Value = Limit> {
    let small = || prop_oneof![Just(0), 1..60_u32];
    prop_oneof![
        Just(Limit::Disabled),
        small().prop_map(Limit::Fixed),
        (small(), prop_oneof![Just(0), 1..=100_u32], prop::option::of(small()))
            .prop_map(|(over, percent, at_most)| Limit::Relative { over, percent, at_most }),
    ]
}

fn time() -> impl Strategy<Value = Duration> {
    (1..10_u64).prop_map(|minutes| Duration::from_secs(60 * minutes))
}

pub(super) fn spans() -> impl Strategy<Value = BTreeMap<Duration, u32>> {
    prop::collection::btree_map(time(), 0..5_u32, 0..3)
}

pub(super) fn words() -> impl Strategy<Value = Vec<Arc<str>>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]).prop_map(Arc::from), 0..3)
}

fn policy() -> impl Strategy<Value = DriftPolicy> {
    prop_oneof![
        Just(DriftPolicy::Revert),
        Just(DriftPolicy::Adopt),
        prop::option::of(time()).prop_map(|revert_after| DriftPolicy::Escalate { revert_after }),
    ]
}

fn drift() -> impl Strategy<Value = DriftPolicies> {
    let ignore = words().prop_map(|words| {
        words.into_iter().map(|word| Ignore { kind: None, resource: Some(word), paths: Vec::new() }).collect::<Vec<_>>()
    });
    (policy(), policy(), policy(), policy(), time(), ignore).prop_map(
        |(missing, tamper, emergency, routine, grace, ignore)| DriftPolicies {
            missing,
            tamper,
            emergency,
            routine,
            grace,
            ignore,
        },
    )
}

fn rate() -> impl Strategy<Value = Option<Option<Rate>>> {
    let rate = (0..20_u32, 0..20_u32).prop_map(|(per_second, burst)| Rate { per_second, burst });
    prop::option::of(prop::option::of(rate))
}

fn observe() -> impl Strategy<Value = ObserveFor> {
    prop_oneof![(1..4_u32).prop_map(ObserveFor::Cycles), time().prop_map(ObserveFor::Time)]
}

/// Arbitrary guards; each tuple is as long as proptest allows.
fn guards() -> impl Strategy<Value = Guards> {
    let limits = (limit(), limit(), limit(), limit(), limit(), limit());
    let flags = any::<[bool; 7]>();
    let times = (time(), time(), time(), time(), time());
    let growth = prop::option::of((0..4_u32, 0..4_u32, 0..4_u32));
    let rest = (words(), spans(), spans(), spans(), rate(), observe(), drift(), 0..5_u32);
    (limits, flags, times, growth, prop::option::of((0..4_u32, 0..4_u32)), rest).prop_map(
        |(limits, flags, times, growth, groups, rest)| {
            let (delete_halt, change_halt, bump_halt, drift_halt, write_cap, delete_cap) = limits;
            let [observe, empty_desired_halts, protected_defaults, hold, local_approval, solo, spare_undeclared] =
                flags;
            let (interval, backoff_initial, backoff_max, settle, approval_ttl) = times;
            let (protected, window_deletes, window_changes, fight, rate, observe_for, drift, failures) = rest;
            Guards {
                mode: if observe { Mode::Observe } else { Mode::Converge },
                interval,
                empty_desired_halts,
                delete_halt,
                change_halt,
                bump_halt,
                growth_halt: growth.map(|(factor, from, creates)| Growth { factor, from, creates }),
                group_halt: groups.map(|(groups, from)| Groups { groups, from }),
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
                on_poison: if hold { OnPoison::Hold } else { OnPoison::LastGood },
                observe_for,
                local_approval,
                solo,
                spare_undeclared,
                drift,
            }
        },
    )
}

fn looser(old: &Guards, new: &Guards) -> Vec<String> {
    loosened(old, new, &TrustPolicy::default(), &TrustPolicy::default())
}

proptest! {
    #[test]
    fn a_stricter_limit_allows_no_more_than_either(a in limit(), b in limit(), n in 0..2000_u32) {
        let allowed = |limit: Limit| limit.at(n).unwrap_or(u32::MAX);
        prop_assert!(allowed(a.stricter(b)) <= allowed(a).min(allowed(b)));
        if !matches!((a, b), (Limit::Relative { .. }, Limit::Relative { .. })) {
            prop_assert_eq!(allowed(a.stricter(b)), allowed(a).min(allowed(b)));
        }
    }

    #[test]
    fn a_limit_that_allows_more_somewhere_is_looser(a in limit(), b in limit(), n in 0..2000_u32) {
        let allowed = |limit: Limit| limit.at(n).unwrap_or(u32::MAX);
        prop_assert!(allowed(a) <= allowed(b) || a.looser_than(b));
        prop_assert!(!a.looser_than(a));
    }

    #[test]
    fn stricter_is_commutative_and_idempotent(a in guards(), b in guards()) {
        let both = a.stricter(&b);
        prop_assert_eq!(&both, &b.stricter(&a));
        prop_assert_eq!(&both, &both.stricter(&both));
    }

    #[test]
    fn the_stricter_loosens_neither(a in guards(), b in guards()) {
        let both = a.stricter(&b);
        prop_assert_eq!(looser(&a, &both), Vec::<String>::new());
        prop_assert_eq!(looser(&b, &both), Vec::<String>::new());
    }

    #[test]
    fn what_loosens_nothing_is_the_stricter_already(a in guards(), b in guards()) {
        prop_assert_eq!(looser(&a, &a), Vec::<String>::new());
        let both = a.stricter(&b);
        // Going back from the stricter to what it was made of loosens whatever differs, unless it differs in spelling only.
        if looser(&both, &a).is_empty() {
            prop_assert_eq!(looser(&b, &a), Vec::<String>::new());
        }
    }
}

#[test]
fn each_parameter_is_named_when_it_gets_looser() {
    let old = Guards { mode: Mode::Observe, protected: vec!["sudoers*".into()], ..Guards::default() };
    let wide = Limit::Relative { over: 99, percent: 99, at_most: None };
    let hour = Duration::from_secs(3600);
    let ignored = Ignore { kind: None, resource: Some("x".into()), paths: Vec::new() };
    let new = Guards {
        mode: Mode::Converge,
        interval: Duration::from_secs(1),
        empty_desired_halts: false,
        delete_halt: Limit::Disabled,
        change_halt: wide,
        bump_halt: wide,
        growth_halt: None,
        group_halt: Some(Groups { groups: 3, from: 3 }),
        drift_halt: wide,
        protected: Vec::new(),
        protected_defaults: false,
        window_deletes: BTreeMap::new(),
        window_changes: [(hour, 2)].into(),
        write_cap: wide,
        delete_cap: Limit::Fixed(4),
        rate: Some(None),
        backoff_initial: Duration::from_secs(1),
        backoff_max: Duration::from_secs(2),
        failures: 4,
        fight: [(hour, 3)].into(),
        settle: Duration::ZERO,
        approval_ttl: 5 * hour,
        on_poison: OnPoison::LastGood,
        observe_for: ObserveFor::Time(Duration::from_secs(1)),
        local_approval: true,
        solo: true,
        spare_undeclared: false,
        drift: DriftPolicies {
            missing: DriftPolicy::Adopt,
            tamper: DriftPolicy::Adopt,
            emergency: DriftPolicy::Revert,
            routine: DriftPolicy::Adopt,
            grace: Duration::ZERO,
            ignore: vec![ignored],
        },
    };
    let old = Guards { local_approval: false, spare_undeclared: true, ..old };
    let trust = TrustPolicy {
        match_: Match::Committer,
        signers: vec!["a".into()],
        people: [("a".into(), vec!["b".into()])].into(),
        ..TrustPolicy::default()
    };
    let wider = TrustPolicy {
        verify: Verify::Path,
        approvers: vec!["m".into()],
        service_merges: true,
        ..TrustPolicy::default()
    };
    let names = loosened(&old, &new, &trust, &wider);
    insta::assert_snapshot!(names.join("\n"));
    // What is neither stricter nor looser, only other, is named both ways.
    let back = loosened(&new, &old, &wider, &wider);
    assert_eq!(back, ["deleteCap", "observeFor", "drift.missing", "drift.tamper", "drift.routine"]);
}

#[test]
fn the_hosting_service_merges_only_where_old_and_new_let_it() {
    let (on, off) = (TrustPolicy { service_merges: true, ..TrustPolicy::default() }, TrustPolicy::default());
    for (old, new) in [(&on, &off), (&off, &on), (&off, &off)] {
        assert!(!old.narrowed(new).service_merges);
    }
    assert!(on.narrowed(&on).service_merges);
    let guards = Guards::default();
    assert_eq!(loosened(&guards, &guards, &off, &on), ["trust.serviceMerges"]);
    assert!(loosened(&guards, &guards, &on, &off).is_empty());
}

#[test]
fn who_was_taken_off_is_off_at_once_and_who_was_added_is_not_on() {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
    let old =
        TrustPolicy { signers: names(&["alice", "mallory"]), approvers: names(&["bob"]), ..TrustPolicy::default() };
    let new = TrustPolicy {
        verify: Verify::Path,
        match_: Match::Committer,
        signers: names(&["alice", "dave"]),
        approvers: names(&["erin"]),
        ..TrustPolicy::default()
    };
    let narrowed = old.narrowed(&new);
    assert_eq!((narrowed.verify, narrowed.match_), (Verify::Repository, Match::Committer));
    assert_eq!((narrowed.signers, narrowed.approvers), (names(&["alice"]), Vec::new()));
    let other = TrustPolicy { signers: names(&["erin"]), ..TrustPolicy::default() };
    assert_ne!(old.narrowed(&other).signers, Vec::<Arc<str>>::new(), "nobody is not everybody");
    let everybody = TrustPolicy::default();
    assert_eq!(everybody.narrowed(&old).signers, old.signers);
    assert_eq!(old.narrowed(&everybody).signers, old.signers);
}
