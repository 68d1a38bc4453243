//! Random facts of every kind over few identities, so that they meet.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::core::approval::{Contributor, Parts};
use crate::core::clock::Clock;
use crate::core::commit::CommitId;
use crate::core::freeze::{self, Freeze, FreezeState};
use crate::core::guards::{Guards, Rate, TrustPolicy};
use crate::core::ledger::Fact;
use crate::core::op::{Class, Effect, Op, Source, Verb};
use crate::core::reason::Reason;
use crate::core::resource::{Anchor, Digest, Fields, Id, Nature, Version, Vitals};
use crate::core::state::{
    About, Accepted, Approval, Batch, Breaker, Differing, DriftMark, Governing, Hold, Identity, Latch, LatchName,
    Purpose, Rollout, Standing,
};

fn id() -> impl Strategy<Value = Id> {
    prop::sample::select(vec!["a", "a/b", "a.b", "é \"q\"", "x\u{0}y", "Z/\\x00"]).prop_map(Id::new)
}

fn commit() -> impl Strategy<Value = CommitId> {
    prop::sample::select(vec!["1111", "2222", "3333"]).prop_map(CommitId::new)
}

fn digest() -> impl Strategy<Value = Digest> {
    (0u8..4).prop_map(|byte| Digest::from_bytes([byte; 32]))
}

fn time() -> impl Strategy<Value = Timestamp> {
    (1_600_000_000i64..1_900_000_000, 0i32..1_000_000_000)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).expect("in range"))
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "one", "zwei\n", "\"3\"", "\u{0}"]).prop_map(str::to_owned)
}

fn purpose() -> impl Strategy<Value = Purpose> {
    prop::sample::select(Purpose::ALL.to_vec())
}

fn latch_name() -> impl Strategy<Value = LatchName> {
    prop::sample::select(vec![LatchName::Plan, LatchName::State, LatchName::Health, LatchName::History])
}

fn nature() -> impl Strategy<Value = Arc<Nature>> {
    let text = || option::of(word().prop_map(Into::into));
    let digests = option::of(digest());
    (text(), any::<u32>(), text(), any::<bool>(), any::<bool>(), digests, text()).prop_map(
        |(identity, vitals, group, protected, access_control, essence, stem)| {
            let vitals = Vitals(vitals);
            Arc::new(Nature { identity, vitals, group, protected, access_control, essence, stem })
        },
    )
}

fn accepted() -> impl Strategy<Value = Accepted> {
    let fields = option::of((word(), vec(word(), 0..2)).prop_map(|(owned, left)| {
        let left = left.into_iter().map(Into::into).collect();
        Arc::new(Fields { owned: owned.into(), left })
    }));
    (digest(), digest(), commit(), word(), nature(), option::of(time()), any::<u8>(), fields).prop_map(
        |(desired, live, commit, origin, nature, created, rank, fields)| {
            let about = About { commit, origin: Some(origin.into()), nature, created, rank, fields };
            Accepted { desired, live, about: about.into() }
        },
    )
}

fn clock() -> impl Strategy<Value = Clock> {
    (time(), time(), word(), 0i64..1_000_000_000).prop_map(|(now, wall, boot, uptime_ms)| Clock {
        now,
        wall,
        boot: boot.into(),
        uptime_ms,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let verb = prop::sample::select(vec![Verb::Create, Verb::Update, Verb::Delete]);
    let class = prop::sample::select(vec![Class::Plain, Class::Bump, Class::Adopt]);
    let from = option::of((digest(), word().prop_map(Version::new)));
    let source =
        option::of((commit(), word()).prop_map(|(commit, origin)| Source { commit, origin: Some(origin.into()) }));
    let flags = (any::<bool>(), any::<bool>(), 1u32..9, any::<u8>(), option::of(word()));
    (id(), (verb, effect(), class), from, option::of(digest()), option::of(digest()), source, nature(), flags).prop_map(
        |(id, (verb, effect, class), from, to, was, source, nature, (force, reverts, weight, rank, shape))| Op {
            id,
            verb,
            effect,
            class,
            from,
            to,
            was,
            source,
            nature,
            force,
            weight,
            rank,
            reverts,
            unrehearsed: reverts && !force,
            reclaims: shape.iter().map(|shape: &String| shape.as_str().into()).collect(),
            ignore: shape.iter().map(|shape: &String| shape.as_str().into()).collect(),
            shape: shape.map(Into::into),
        },
    )
}

fn effect() -> impl Strategy<Value = Effect> {
    prop::sample::select(vec![Effect::Create, Effect::Update, Effect::Delete])
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let standing = prop_oneof![
        Just(Standing::Passed),
        Just(Standing::Return),
        (word(), digest()).prop_map(|(by, digest)| Standing::Approved { by: by.into(), digest }),
    ];
    let batch = option::of((1u32..9, vec(id(), 0..3), option::of(time())).prop_map(|(size, wrote, settling)| Batch {
        size,
        wrote,
        settling,
    }));
    (digest(), commit(), digest(), any::<u32>(), standing, time(), 0u32..9, batch, vec(id(), 0..3)).prop_map(
        |(digest, commit, desired, n, standing, started, total, batch, unhealthy)| Rollout {
            digest,
            commit,
            desired,
            n,
            standing,
            started,
            total,
            done: 0,
            writes_left: total,
            batch,
            next_batch: 1,
            skipped: unhealthy.iter().map(|id| CommitId::new(id.as_str())).collect(),
            unhealthy,
        },
    )
}

fn anchor() -> impl Strategy<Value = Box<Anchor>> {
    (word(), any::<u32>(), option::of(commit())).prop_map(|(token, epoch, last_verified)| {
        Box::new(Anchor {
            target: "t".into(),
            application: "web".into(),
            ledger: "l".into(),
            epoch: epoch.into(),
            token: token.into(),
            last_verified,
            seq: 7,
        })
    })
}

fn governing() -> impl Strategy<Value = Box<Governing>> {
    let rate = option::of(option::of((0u32..9).prop_map(|burst| Rate { per_second: 1, burst })));
    let windows = btree_map((0u64..900_000).prop_map(std::time::Duration::from_millis), 0u32..9, 0..4);
    (rate, windows, digest()).prop_map(|(rate, window_deletes, digest)| {
        let guards = Guards { rate, window_deletes, ..Guards::default() };
        Box::new(Governing { guards, trust: TrustPolicy::default(), digest })
    })
}

fn latch() -> impl Strategy<Value = Box<Latch>> {
    let parts = (time(), vec(word(), 0..3), option::of(word()), option::of(digest()), any::<u32>(), vec(id(), 0..3));
    parts.prop_map(|(since, reasons, judged, digest, clean, only)| {
        let reasons = reasons.iter().map(|word| Reason::crossed(word, 12, 10, 100, word.as_str())).collect();
        Box::new(Latch {
            since,
            reasons,
            judged: judged.map(Into::into),
            digest,
            wrote: digest,
            clean,
            clean_at: 3,
            only,
        })
    })
}

fn approval() -> impl Strategy<Value = Approval> {
    (digest(), word(), time(), any::<bool>()).prop_map(|(digest, by, at, used)| Approval {
        digest,
        by: by.into(),
        via: "tag".into(),
        at,
        used,
        key: used.then(|| "SHA256:key".into()),
    })
}

fn breaker() -> impl Strategy<Value = Breaker> {
    (any::<u32>(), time(), any::<bool>(), word()).prop_map(|(attempts, next, open, reason)| Breaker {
        attempts,
        next,
        open,
        reason: reason.into(),
    })
}

fn hold() -> impl Strategy<Value = Hold> {
    (word(), time(), option::of(time())).prop_map(|(by, since, until)| Hold {
        by: by.into(),
        reason: "why".into(),
        since,
        until,
    })
}

fn freeze() -> impl Strategy<Value = Freeze> {
    let source = prop_oneof![
        Just(freeze::Source::StateDir),
        Just(freeze::Source::Config),
        (commit(), word()).prop_map(|(commit, path)| freeze::Source::Branch { commit, path: path.into() }),
        word().prop_map(|by| freeze::Source::Operator { by: by.into(), via: "api".into() }),
    ];
    let texts = (option::of(word()), option::of(word()), vec(word(), 0..3), option::of(word()));
    (source, texts, option::of(time()), time()).prop_map(|(source, (reason, owner, scope, note), until, since)| {
        Freeze { source, reason, owner, until, scope, since, note }
    })
}

fn differing() -> impl Strategy<Value = Differing> {
    (time(), any::<u32>(), any::<bool>(), word()).prop_map(|(since, cycles, alerted, why)| Differing {
        since,
        cycles,
        at: 5,
        alerted,
        why: why.into(),
    })
}

fn about_resources() -> Vec<BoxedStrategy<Fact>> {
    let mark = (option::of(digest()), time(), time()).prop_map(|(live, since, first)| DriftMark {
        released: None,
        live,
        since,
        first,
        told: None,
    });
    let wrote = (purpose(), 0u32..5, id(), effect(), option::of(accepted()), any::<bool>(), option::of(0u64..99));
    vec![
        (id(), mark).prop_map(|(id, mark)| Fact::Drifted { id, mark }).boxed(),
        id().prop_map(|id| Fact::Undrifted { id }).boxed(),
        (id(), word())
            .prop_map(|(id, answer)| Fact::Announced { id, class: crate::core::drift::Class::Fresh, answer })
            .boxed(),
        (id(), accepted()).prop_map(|(id, accepted)| Fact::Accepted { id, accepted: Arc::new(accepted) }).boxed(),
        id().prop_map(|id| Fact::Forgotten { id }).boxed(),
        wrote
            .prop_map(|(purpose, index, id, effect, accepted, windowed, healed_after)| {
                let accepted = accepted.map(Arc::new);
                Fact::Wrote { purpose, index, id, verb: Verb::Update, effect, accepted, windowed, healed_after }
            })
            .boxed(),
        (purpose(), 0u32..5, option::of(accepted()), id())
            .prop_map(|(purpose, index, accepted, id)| Fact::FoundDone {
                purpose,
                index,
                accepted: accepted.map(Arc::new),
                id,
            })
            .boxed(),
        (purpose(), 0u32..5, id(), breaker(), any::<bool>())
            .prop_map(|(purpose, index, id, breaker, unknown)| Fact::Failed { purpose, index, id, breaker, unknown })
            .boxed(),
        (purpose(), 0u32..5, id(), word())
            .prop_map(|(purpose, index, id, why)| Fact::Moved { purpose, index, id, why: why.into() })
            .boxed(),
        (id(), hold()).prop_map(|(id, hold)| Fact::Held { id, hold }).boxed(),
        (id(), word()).prop_map(|(id, by)| Fact::Released { id, by: by.into() }).boxed(),
        id().prop_map(|id| Fact::Quarantined { id }).boxed(),
        id().prop_map(|id| Fact::Unquarantined { id }).boxed(),
        (id(), differing()).prop_map(|(id, differing)| Fact::Differs { id, differing }).boxed(),
        id().prop_map(|id| Fact::Agrees { id }).boxed(),
    ]
}

fn about_rollouts() -> Vec<BoxedStrategy<Fact>> {
    vec![
        (purpose(), rollout(), vec(op(), 0..5))
            .prop_map(|(purpose, rollout, ops)| Fact::RolloutStarted { purpose, rollout: Box::new(rollout), ops })
            .boxed(),
        (purpose(), word()).prop_map(|(purpose, how)| Fact::RolloutEnded { purpose, how: how.into() }).boxed(),
        (purpose(), 1u32..9).prop_map(|(purpose, size)| Fact::BatchStarted { purpose, size }).boxed(),
        purpose().prop_map(|purpose| Fact::BatchSettling { purpose }).boxed(),
        (purpose(), vec(id(), 0..3)).prop_map(|(purpose, unhealthy)| Fact::BatchSettled { purpose, unhealthy }).boxed(),
        (purpose(), 0u32..5, any::<bool>())
            .prop_map(|(purpose, index, deletes)| Fact::Reserved { purpose, index, deletes })
            .boxed(),
        digest().prop_map(|digest| Fact::PlanSeen { digest }).boxed(),
        approval().prop_map(|approval| Fact::Approved { approval }).boxed(),
        (digest(), word(), word())
            .prop_map(|(digest, by, why)| Fact::ApprovalRefused { digest, by: by.into(), why })
            .boxed(),
        (digest(), word()).prop_map(|(digest, how)| Fact::ApprovalSpent { digest, how: how.into() }).boxed(),
    ]
}

fn about_the_application() -> Vec<BoxedStrategy<Fact>> {
    let identity = (word(), word()).prop_map(|(url, target)| Identity {
        url: url.into(),
        branch: "main".into(),
        path: ".".into(),
        renderer: "plain 1".into(),
        target: target.into(),
    });
    vec![
        (clock(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(clock, counted, complete, wanted)| Fact::Cycle { clock, counted, complete, wanted })
            .boxed(),
        Just(Fact::ObservedEnough).boxed(),
        Just(Fact::ObserveAgain).boxed(),
        Just(Fact::Converging).boxed(),
        vec(commit(), 0..3).prop_map(|commits| Fact::Sighted { commits }).boxed(),
        vec(commit(), 0..3).prop_map(|commits| Fact::Unsighted { commits }).boxed(),
        (governing(), vec(word(), 0..2))
            .prop_map(|(governing, loosened)| Fact::Governed { governing, loosened })
            .boxed(),
        identity.prop_map(|identity| Fact::Identified { identity }).boxed(),
        (latch_name(), latch()).prop_map(|(latch, state)| Fact::Latched { latch, state }).boxed(),
        latch_name().prop_map(|bar| Fact::Barred { bar, reasons: Vec::new() }).boxed(),
        latch_name().prop_map(|bar| Fact::Unbarred { bar }).boxed(),
        (latch_name(), word()).prop_map(|(latch, by)| Fact::Cleared { latch, by: by.into() }).boxed(),
        (vec(freeze(), 0..3), word())
            .prop_map(|(freezes, change)| Fact::Freezes { state: FreezeState { freezes }, change })
            .boxed(),
        (commit(), vec(word().prop_map(Into::into), 0..2))
            .prop_map(|(commit, keys)| Fact::Verified { commit, keys })
            .boxed(),
        (commit(), digest(), any::<bool>(), option::of(0u64..99), vec(commit(), 0..2), vec(id(), 0..3))
            .prop_map(|(commit, desired, good, seconds, skipped, left)| Fact::Converged {
                commit,
                desired,
                good,
                seconds,
                skipped,
                left,
            })
            .boxed(),
        commit().prop_map(|commit| Fact::Poisoned { commit }).boxed(),
        option::of((vec(digest(), 0..3), vec(word(), 0..3)))
            .prop_map(|parts| Fact::Contributed {
                parts: parts.map(|(digests, names)| Parts {
                    digests,
                    contributors: vec![Contributor { names: names.into_iter().map(Into::into).collect() }],
                }),
            })
            .boxed(),
        anchor().prop_map(|anchor| Fact::AnchorIntended { anchor }).boxed(),
        Just(Fact::AnchorKnown).boxed(),
        (commit(), word(), option::of(clock()), option::of(anchor()))
            .prop_map(|(commit, by, clock, anchor)| Fact::Reanchored {
                commit,
                by: by.into(),
                reason: "why".into(),
                clock,
                anchor,
            })
            .boxed(),
        word().prop_map(|message| Fact::Noticed { kind: "halt".into(), message }).boxed(),
    ]
}

/// One fact of any kind, those about resources (and what they share a commit with) twice as often.
pub(super) fn fact() -> impl Strategy<Value = Fact> {
    let mut kinds = about_resources();
    kinds.extend(about_rollouts());
    kinds.extend(about_the_application());
    let weighted = kinds.into_iter().map(|kind| (1, kind));
    let accepted =
        (id(), accepted()).prop_map(|(id, accepted)| Fact::Accepted { id, accepted: Arc::new(accepted) }).boxed();
    let converged = (commit(), digest(), vec(id(), 0..3))
        .prop_map(|(commit, desired, left)| Fact::Converged {
            commit,
            desired,
            good: true,
            seconds: None,
            skipped: Vec::new(),
            left,
        })
        .boxed();
    Union::new_weighted(weighted.chain([(12, accepted), (5, converged)]).collect())
}

/// Numbers the kinds. A kind that is added does not compile until it is numbered here and made above.
fn kind(fact: &Fact) -> usize {
    match fact {
        Fact::Cycle { .. } => 0,
        Fact::ObservedEnough => 1,
        Fact::ObserveAgain => 2,
        Fact::Converging => 3,
        Fact::Sighted { .. } => 4,
        Fact::Unsighted { .. } => 5,
        Fact::Governed { .. } => 6,
        Fact::Identified { .. } => 7,
        Fact::Latched { .. } => 8,
        Fact::Cleared { .. } => 9,
        Fact::Freezes { .. } => 10,
        Fact::Drifted { .. } => 11,
        Fact::Undrifted { .. } => 12,
        Fact::Accepted { .. } => 13,
        Fact::Forgotten { .. } => 14,
        Fact::Verified { .. } => 15,
        Fact::Converged { .. } => 16,
        Fact::Poisoned { .. } => 17,
        Fact::PlanSeen { .. } => 18,
        Fact::RolloutStarted { .. } => 19,
        Fact::RolloutEnded { .. } => 20,
        Fact::AnchorIntended { .. } => 21,
        Fact::AnchorKnown => 22,
        Fact::BatchStarted { .. } => 23,
        Fact::BatchSettling { .. } => 24,
        Fact::BatchSettled { .. } => 25,
        Fact::Reserved { .. } => 26,
        Fact::Wrote { .. } => 27,
        Fact::FoundDone { .. } => 28,
        Fact::Failed { .. } => 29,
        Fact::Moved { .. } => 30,
        Fact::Approved { .. } => 31,
        Fact::ApprovalRefused { .. } => 32,
        Fact::ApprovalSpent { .. } => 33,
        Fact::Held { .. } => 34,
        Fact::Released { .. } => 35,
        Fact::Quarantined { .. } => 36,
        Fact::Unquarantined { .. } => 37,
        Fact::Differs { .. } => 38,
        Fact::Agrees { .. } => 39,
        Fact::Reanchored { .. } => 40,
        Fact::Noticed { .. } => 41,
        Fact::Barred { .. } => 42,
        Fact::Unbarred { .. } => 43,
        Fact::Contributed { .. } => 44,
        Fact::Announced { .. } => 45,
    }
}

#[test]
fn every_kind_is_made() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let facts = vec(fact(), 3000).new_tree(&mut runner).expect("facts").current();
    let made: std::collections::BTreeSet<_> = facts.iter().map(kind).collect();
    let missing: Vec<_> = (0..=44).filter(|kind| !made.contains(kind)).collect();
    assert_eq!(missing, Vec::<usize>::new());
}
