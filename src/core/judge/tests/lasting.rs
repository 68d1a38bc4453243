//! What must last: through lost answers, crashes, tips that change nothing, and approvals of something else.

use jiff::SignedDuration;

use super::super::super::fixture::{World, digest, files};
use super::super::super::guards::{DriftPolicy, Limit};
use super::super::super::ledger::Fact;
use super::super::super::op::Op;
use super::super::super::pace::{self, Next};
use super::super::super::reason::Reason;
use super::super::super::state::{Breaker, Hold, Latch, LatchName, OpState, Purpose};
use super::super::*;
use super::with;

fn open(world: &World) -> Vec<(Purpose, u32, Op)> {
    let open = world.state.rollout_ops.iter().filter(|(_, slot)| slot.state != OpState::Done);
    open.map(|((purpose, index), slot)| (*purpose, *index, slot.op.clone())).collect()
}

/// Reserves the only operation under way, as before a write.
fn reserve(world: &mut World) -> (Purpose, u32, Op) {
    let [one] = open(world).try_into().expect("one operation is under way");
    let (purpose, index, op) = one;
    world.fold(vec![Fact::Reserved { purpose, index, deletes: op.to.is_none() }]);
    (purpose, index, op)
}

fn time_out(world: &mut World, (purpose, index, op): (Purpose, u32, Op)) {
    let breaker = Breaker { attempts: 1, next: world.state.now(), open: false, reason: "time-out".into() };
    world.fold(vec![Fact::Failed { purpose, index, id: op.id, breaker, unknown: true }]);
}

fn deleted(world: &World, id: &str) -> bool {
    world.state.trouble(&Id::new(id)).is_some_and(|trouble| trouble.deleted.is_some())
}

#[test]
fn a_deletion_that_lands_and_times_out_counts_in_the_window() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", files(1..20, 1));
    let _ = world.judge();
    let one = reserve(&mut world);
    time_out(&mut world, one);
    assert!(!deleted(&world, "f000"), "nobody knows yet");
    world.live.remove("f000");
    let _ = world.judge();
    assert!(deleted(&world, "f000"));
}

#[test]
fn a_deletion_that_a_crash_hid_counts_although_its_rollout_is_over() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", files(1..20, 1));
    let _ = world.judge();
    let _ = reserve(&mut world);
    world.live.remove("f000");
    world.push("another", with(files(1..20, 1), files(5..6, 2)));
    let _ = world.judge();
    assert!(deleted(&world, "f000"));
}

#[test]
fn what_lands_untold_counts_in_the_judgement_that_ends_its_rollout() {
    let mut world = World::at(files(0..20, 1));
    world.guards.change_halt = Limit::Fixed(2);
    world.push("tip", with(files(0..20, 1), files(0..1, 2)));
    let _ = world.judge();
    let one = reserve(&mut world);
    time_out(&mut world, one);
    world.live.insert("f000".to_owned(), 2);
    // Two more would be as many as may be, if the first were none.
    world.push("another", with(files(0..20, 1), files(0..3, 2)));
    let judgement = world.judge();
    let latch = judgement.latch(LatchName::Plan).expect("three within the hour are one too many");
    assert_eq!(latch.latch.reasons.iter().map(|reason| &*reason.code).collect::<Vec<_>>(), ["window"]);
}

#[test]
fn what_somebody_else_did_makes_no_batch_larger() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", with(files(0..20, 1), files(0..4, 2)));
    let _ = world.judge();
    let purpose = Purpose::Promote;
    let found = |world: &mut World, index: u32| {
        let id = world.state.rollout_ops[&(purpose, index)].op.id.clone();
        world.fold(vec![Fact::FoundDone { purpose, index, accepted: None, id }]);
    };
    world.fold(vec![Fact::BatchStarted { purpose, size: 1 }]);
    found(&mut world, 3);
    assert_eq!(pace::next(&world.state, purpose, &world.guards), Next::Write(0), "the batch has room as before");
    world.fold(vec![Fact::Reserved { purpose, index: 0, deletes: false }]);
    // What was reserved may be ours: it is looked at like what was written.
    found(&mut world, 0);
    assert_eq!(pace::next(&world.state, purpose, &world.guards), Next::Settle);
    world.fold(vec![Fact::BatchSettled { purpose, unhealthy: Vec::new() }]);
    assert_eq!(world.state.app.rollouts[&purpose].next_batch, 2);
}

#[test]
fn the_tip_may_be_let_go_although_what_leads_up_to_it_does_not_work() {
    let mut world = super::poisoned();
    let plan = world.judge().latch(LatchName::Plan).and_then(|held| held.latch.digest).expect("the tip is held");
    let prefix = world.state.app.rollouts[&Purpose::Promote].clone();
    assert_eq!(prefix.commit, CommitId::new("second"));
    let tip = super::super::super::fixture::desired(&world.tip().1).digest();
    let latch = Latch {
        since: world.state.now(),
        reasons: vec![Reason::new("health", "does not work")],
        judged: Some(tip.to_string().into()),
        digest: Some(prefix.digest),
        wrote: Some(prefix.desired),
        clean: 0,
        clean_at: 0,
        only: vec![],
    };
    world.fold(vec![
        Fact::RolloutEnded { purpose: Purpose::Promote, how: "what it wrote turned unhealthy".into() },
        Fact::Latched { latch: LatchName::Health, state: Box::new(latch) },
    ]);
    assert!(world.judge().latch(LatchName::Health).is_some());
    assert!(world.state.app.rollouts.is_empty(), "what does not work is not tried again");

    world.approve(plan, "bob@a");
    let judgement = world.judge();
    assert!(judgement.latch(LatchName::Health).is_none() && judgement.latch(LatchName::Plan).is_none());
    assert_eq!(world.state.app.rollouts[&Purpose::Promote].commit, CommitId::new("fourth"));
}

#[test]
fn what_was_refused_counts_nowhere() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", files(1..20, 1));
    world.refusing = vec!["f000".to_owned()];
    let _ = world.cycle();
    world.push("another", files(0..20, 1));
    let _ = world.cycle();
    assert!(!deleted(&world, "f000"));
}

#[test]
fn a_revert_whose_answer_is_lost_is_one_of_a_fight() {
    let mut world = World::at(files(0..20, 1));
    world.guards.drift.grace = std::time::Duration::ZERO;
    for times in 1..=3 {
        world.live.insert("f001".to_owned(), 7);
        let _ = world.judge();
        let one = reserve(&mut world);
        time_out(&mut world, one);
        world.live.insert("f001".to_owned(), 1);
        let _ = world.judge();
        assert_eq!(world.state.trouble(&Id::new("f001")).map(|trouble| trouble.reverts.len()), Some(times));
    }
}

#[test]
fn an_observation_that_fails_just_before_a_crash_counts_against_those_that_clear_the_latch() {
    let mut world = World::at(files(0..20, 1));
    world.unread = vec!["f001".to_owned()];
    let _ = world.judge();
    world.unread.clear();
    let _ = world.judge();
    let _ = world.judge();
    let clean = |world: &World| world.state.app.latches[&LatchName::Observation].clean;
    assert_eq!(clean(&world), 2);
    // Observed in part, and gone before it was judged.
    let clock = world.state.app.clock.clone().expect("there was a cycle");
    world.fold(vec![Fact::Cycle { clock, counted: false, complete: false, wanted: true }]);
    assert_eq!(clean(&world), 0);
    assert!(world.judge().latch(LatchName::Observation).is_some());
}

#[test]
fn what_does_not_work_is_no_state_to_return_to() {
    let mut world = World::at(files(0..20, 1));
    let recorded = |world: &World| world.state.app.good.last().map(|good| good.at);
    let before = recorded(&world);
    world.ill = vec!["f001".to_owned()];
    world.wait(SignedDuration::from_mins(11));
    let _ = world.judge();
    assert_eq!(recorded(&world), before);
    world.ill.clear();
    let _ = world.judge();
    assert!(recorded(&world) > before);
}

#[test]
fn what_is_in_quarantine_is_left_alone_by_a_commit_too() {
    let mut world = World::at(files(0..20, 1));
    world.fold(vec![Fact::Quarantined { id: Id::new("f001") }]);
    world.push("tip", with(files(0..20, 1), files(0..3, 2)));
    let _ = world.cycle();
    assert_eq!((world.live["f000"], world.live["f001"], world.live["f002"]), (2, 1, 2));
    world.fold(vec![Fact::Unquarantined { id: Id::new("f001") }]);
    let _ = world.cycle();
    assert_eq!(world.live["f001"], 2);
}

#[test]
fn an_approval_of_one_operation_lets_it_go_although_its_resource_is_held_but_not_one_from_before() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", with(files(0..20, 1), files(0..1, 2)));
    let _ = world.judge();
    let [(_, _, op)] = open(&world).try_into().expect("one operation is under way");
    let approved = |world: &mut World| {
        world.approve(op.digest(), "bob@a");
        world.fold(vec![Fact::ApprovalSpent { digest: op.digest(), how: "used".into() }]);
    };
    approved(&mut world);
    world.wait(SignedDuration::from_mins(3));
    let since = world.state.now();
    let hold = Hold { by: "ops".into(), reason: "incident".into(), since, until: None };
    world.fold(vec![Fact::Held { id: op.id.clone(), hold }]);
    assert_eq!(pace::next(&world.state, Purpose::Promote, &world.guards), Next::Wait("backoff"));
    approved(&mut world);
    assert_eq!(pace::next(&world.state, Purpose::Promote, &world.guards), Next::Begin(1));
}

/// Three of twenty resources drift where two may, and nobody approved that.
fn drifting() -> World {
    let mut world = World::at(files(0..20, 1));
    world.guards.drift.grace = std::time::Duration::ZERO;
    world.guards.drift_halt = Limit::Fixed(2);
    world.live.extend(files(0..3, 7));
    assert!(world.judge().latch(LatchName::Drift).is_some());
    world
}

#[test]
fn an_approval_of_some_drift_lets_no_other_go() {
    let mut world = drifting();
    let digest = world.state.app.latches[&LatchName::Drift].digest.expect("it can be approved");
    world.approve(digest, "bob@a");
    assert!(world.judge().latch(LatchName::Drift).is_none());
    assert_eq!(open(&world).len(), 3);
    world.live.insert("f001".to_owned(), 8);
    let judgement = world.judge();
    assert!(judgement.latch(LatchName::Drift).is_some(), "{judgement:#?}");
    assert!(open(&world).is_empty());
}

#[test]
fn a_commit_that_adopts_a_part_of_the_drift_lets_the_rest_wait() {
    let mut world = drifting();
    world.live.insert("f002".to_owned(), 1);
    world.push("adopts", with(files(0..20, 1), files(0..1, 7)));
    assert!(world.judge().latch(LatchName::Drift).is_some());
    world.push("adopts all", with(files(0..20, 1), files(0..2, 7)));
    assert!(world.judge().latch(LatchName::Drift).is_none());
}

#[test]
fn health_holds_for_every_tip_that_desires_the_same() {
    let mut world = World::at(files(0..20, 1));
    world.push("sick", with(files(0..20, 1), files(0..4, 2)));
    let desired = super::super::super::fixture::desired(&world.tip().1).digest();
    let latch = Latch {
        since: world.state.now(),
        reasons: vec![Reason::new("health", "does not work")],
        judged: Some(desired.to_string().into()),
        digest: Some(digest(3)),
        clean: 0,
        clean_at: 0,
        wrote: None,
        only: vec![Id::new("f000")],
    };
    world.fold(vec![Fact::Latched { latch: LatchName::Health, state: Box::new(latch) }]);
    world.push("elsewhere", with(files(0..20, 1), files(0..4, 2)));
    assert!(world.cycle().latch(LatchName::Health).is_some(), "what changes other paths only makes nothing well");
    assert!(world.wrote.is_empty());
    world.push("fixed", with(files(0..20, 1), files(0..1, 3)));
    assert!(world.cycle().latch(LatchName::Health).is_none());
}

#[test]
fn a_return_that_the_fleet_s_approval_let_go_is_the_one_of_its_day() {
    let mut world = World::at(files(0..20, 1));
    world.push("change", with(files(0..20, 1), files(0..10, 2)));
    for _ in 0..4 {
        let _ = world.cycle();
    }
    assert_eq!(world.state.app.converged, Some(CommitId::new("change")));
    assert!(world.state.app.returned.is_none());
    world.fleet = Some((vec![Reason::new("fleet_change", "too many together")], digest(7)));
    world.push("back", files(0..20, 1));
    let judgement = world.cycle();
    assert!(!judgement.may(Purpose::Promote), "the fleet holds it");
    world.approve(digest(7), "bob@a");
    let _ = world.cycle();
    assert_eq!(world.state.app.converged, Some(CommitId::new("back")));
    assert!(world.state.app.returned.is_some(), "a second one within the day is no return any more");
}

#[test]
fn what_becomes_protected_under_way_stays_although_it_is_in_conflict_too() {
    let mut world = World::at(files(0..6, 1));
    world.guards.delete_cap = Limit::Fixed(1);
    world.guards.drift.grace = std::time::Duration::ZERO;
    world.live.insert("f000".to_owned(), 5);
    world.push("tip", files(2..6, 1));
    let _ = world.cycle();
    assert!(deleted(&world, "f001") && !deleted(&world, "f000"), "{:?}", world.wrote);
    world.guards.protected = vec!["f000".into()];
    world.guards.drift.routine = DriftPolicy::Escalate { revert_after: None };
    for _ in 0..3 {
        let _ = world.cycle();
    }
    assert_eq!(world.live.get("f000"), Some(&5), "{:?}", world.wrote);
}
