mod lasting;

use super::super::approval::{Contributor, Giving, give};
use super::super::fixture::{Files, World, digest, files};
use super::super::guards::{Guards, OnPoison};
use super::super::ledger::Fact;
use super::super::reason::Reason;
use super::super::state::{Approval, Governing, LatchName, Purpose};
use super::*;

fn codes(judgement: &Judgement, name: LatchName) -> Vec<String> {
    let held = judgement.latch(name).unwrap_or_else(|| panic!("{name:?} does not hold: {judgement:#?}"));
    held.latch.reasons.iter().map(|reason| reason.code.to_string()).collect()
}

fn with(mut files: Files, others: Files) -> Files {
    files.extend(others);
    files
}

/// A hundred files, two good commits, a poisoned third, a good fourth.
fn poisoned() -> World {
    let mut world = World::at(files(0..100, 1));
    world.guards.on_poison = OnPoison::LastGood;
    world.push("first", with(files(0..100, 1), files(0..1, 2)));
    world.push("second", with(files(0..100, 1), files(0..2, 2)));
    world.push("poison", with(files(0..40, 1), files(0..2, 2)));
    world.push("fourth", with(files(0..40, 1), files(0..3, 2)));
    world
}

#[test]
fn a_fleet_hides_nothing_of_what_an_application_crosses_itself() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", files(0..10, 1));
    world.fleet = Some((vec![Reason::new("fleet_delete", "too many together")], digest(7)));
    let judgement = world.judge();
    assert_eq!(codes(&judgement, LatchName::Plan)[..2], ["fleet_delete", "delete_halt"]);
    assert_eq!(judgement.latch(LatchName::Plan).unwrap().latch.digest, Some(digest(7)));

    // The fleet's approval lets the fleet's reason go; what is left names its own digest.
    world.approve(digest(7), "bob@a");
    let judgement = world.judge();
    assert_eq!(codes(&judgement, LatchName::Plan)[0], "delete_halt");
    let own = world.promotion().digest;
    assert_eq!(judgement.latch(LatchName::Plan).unwrap().latch.digest, Some(own));
    world.approve(own, "bob@a");
    assert!(world.judge().latch(LatchName::Plan).is_none());
    assert!(world.state.app.rollouts.contains_key(&Purpose::Promote));
}

#[test]
fn one_approval_of_the_fleet_lets_a_small_change_go_and_so_does_another_tip_elsewhere() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", with(files(0..20, 1), files(0..1, 2)));
    world.fleet = Some((vec![Reason::new("fleet_change", "too many together")], digest(7)));
    assert_eq!(codes(&world.judge(), LatchName::Plan), ["fleet_change"]);
    world.fleet = None;
    assert!(world.judge().may(Purpose::Promote), "the others took theirs back");

    let mut world = World::at(files(0..20, 1));
    world.push("tip", with(files(0..20, 1), files(0..1, 2)));
    world.fleet = Some((vec![Reason::new("fleet_change", "too many together")], digest(7)));
    let _ = world.judge();
    world.approve(digest(7), "bob@a");
    let _ = world.cycle();
    assert_eq!(world.live["f000"], 2);
}

#[test]
fn last_good_leads_to_the_commit_before_the_culprit_and_holds_the_rest() {
    let mut world = poisoned();
    let judgement = world.cycle();
    assert!(judgement.to_prefix);
    assert_eq!(judgement.latch(LatchName::Plan).unwrap().scope, Scope::Beyond);
    assert!(codes(&judgement, LatchName::Plan).contains(&"on_poison".to_owned()));
    for _ in 0..3 {
        let _ = world.cycle();
    }
    assert_eq!(world.wrote, ["f000", "f001"]);
    assert_eq!(world.live.len(), 100);
    assert_eq!(world.state.app.converged, Some(CommitId::new("second")));
    let judgement = world.cycle();
    assert_eq!(judgement.latch(LatchName::Plan).unwrap().scope, Scope::Promotion);
    assert!(codes(&judgement, LatchName::Plan).contains(&"delete_halt".to_owned()));
    assert!(!judgement.may(Purpose::Promote));
}

#[test]
fn last_good_goes_on_to_the_tip_once_the_poison_is_taken_back() {
    let mut world = poisoned();
    // Only the first batch of the two.
    world.guards.write_cap = super::super::guards::Limit::Fixed(1);
    let _ = world.cycle();
    assert_eq!(world.wrote, ["f000"]);
    world.push("revert", with(files(0..100, 1), files(0..3, 2)));
    for _ in 0..4 {
        let _ = world.cycle();
    }
    assert_eq!(world.wrote, ["f000", "f001", "f002"]);
    assert_eq!(world.state.app.converged, Some(CommitId::new("revert")));
    assert_eq!(world.state.app.skipped, [CommitId::new("poison")]);
}

#[test]
fn last_good_heals_what_the_rest_of_the_range_would_take_away() {
    let mut world = poisoned();
    let _ = world.cycle();
    world.live.remove("f070");
    for _ in 0..3 {
        let _ = world.cycle();
    }
    assert_eq!(world.live["f070"], 1);
}

#[test]
fn a_prefix_that_reaches_half_of_a_limit_waits_too() {
    let mut world = World::at(files(0..100, 1));
    world.guards.on_poison = OnPoison::LastGood;
    world.push("much", with(files(0..100, 1), files(0..16, 2)));
    world.push("poison", files(40..100, 1));
    let judgement = world.cycle();
    assert!(!judgement.to_prefix && !judgement.may(Purpose::Promote));
    assert!(codes(&judgement, LatchName::Plan).contains(&"on_poison".to_owned()));
    assert!(world.wrote.is_empty());
}

#[test]
fn held_is_the_default_and_nothing_of_the_range_is_written() {
    let mut world = poisoned();
    world.guards.on_poison = OnPoison::Hold;
    for _ in 0..3 {
        let _ = world.cycle();
    }
    assert!(world.wrote.is_empty());
}

#[test]
fn what_a_later_commit_took_back_is_journalled_as_skipped() {
    let mut world = World::at(files(0..100, 1));
    world.push("poison", files(0..40, 1));
    world.push("revert", files(0..100, 1));
    let _ = world.cycle();
    let skipped = world.journal.iter().find_map(|fact| match fact {
        Fact::Converged { skipped, .. } => Some(skipped.clone()),
        _ => None,
    });
    assert_eq!(skipped, Some(vec![CommitId::new("poison")]));
    // The journal's next words do not take it back.
    let _ = world.cycle();
    assert_eq!(world.state.app.skipped, [CommitId::new("poison")]);
}

/// Four files that cannot be written, of which FAILURE is made.
fn failing() -> World {
    let mut world = World::at(files(0..8, 1));
    world.guards.backoff_max = std::time::Duration::from_secs(1);
    world.refusing = files(0..4, 1).into_keys().collect();
    world.push("tip", with(files(0..8, 1), files(0..4, 2)));
    for _ in 0..12 {
        let _ = world.cycle();
    }
    assert_eq!(codes(&world.cycle(), LatchName::Failure), ["failures"]);
    world
}

fn attempts(world: &World) -> usize {
    world.journal.iter().filter(|fact| matches!(fact, Fact::Reserved { .. })).count()
}

#[test]
fn failure_lets_one_resource_through_when_its_time_has_come() {
    let mut world = failing();
    let before = attempts(&world);
    let _ = world.cycle();
    assert_eq!(attempts(&world), before, "no breaker is due");
    world.wait(jiff::SignedDuration::from_mins(31));
    let judgement = world.cycle();
    assert!(!judgement.may(Purpose::Promote) && judgement.may_probe(Purpose::Promote));
    assert_eq!(attempts(&world), before + 1, "one is attempted");
    assert!(world.cycle().latch(LatchName::Failure).is_some());
}

#[test]
fn a_probe_that_succeeds_clears_failure_and_gives_the_others_another_chance() {
    let mut world = failing();
    world.refusing.clear();
    world.wait(jiff::SignedDuration::from_mins(31));
    let _ = world.cycle();
    assert_eq!(world.wrote.len(), 1);
    let cleared = |fact: &Fact| matches!(fact, Fact::Cleared { latch: LatchName::Failure, .. });
    assert!(world.journal.iter().any(cleared));
    for _ in 0..3 {
        assert!(world.cycle().latch(LatchName::Failure).is_none());
    }
    assert_eq!(world.wrote.len(), 4);
}

#[test]
fn a_repository_that_cannot_be_read_clears_no_failure() {
    let world = failing();
    let comparison = Comparison::default();
    let plan = world.plan(Purpose::Promote, &[]);
    let inputs = Inputs {
        name: "web",
        guards: &world.guards,
        policy: &world.policy,
        guards_digest: digest(9),
        tip: None,
        wanting: Wanting::Unknown("no route".into()),
        history: None,
        signature: Vec::new(),
        accepted_revoked: None,
        keys: Vec::new(),
        freezes: Vec::new(),
        misplaced: None,
        unobserved: None,
        comparison: &comparison,
        promote: &plan,
        heal: &plan,
        heal_beside: &plan,
        prefix: None,
        commits: &[],
        unhealthy: &[],
        contributors: &[],
        fleet: None,
        reconfigured: None,
        counted: true,
    };
    assert!(judge(&world.state, &inputs).latch(LatchName::Failure).is_some());
}

#[test]
fn a_plan_is_judged_whole_although_a_part_of_the_target_is_unread() {
    let mut world = World::at(files(0..100, 1));
    world.push("poison", files(0..40, 1));
    world.unread = files(45..100, 1).into_keys().collect();
    let judgement = world.cycle();
    let held = judgement.latch(LatchName::Plan).expect("sixty deletions are planned, five of them readable");
    assert_eq!((&*held.latch.reasons[0].code, held.latch.reasons[0].observed), ("delete_halt", Some(60)));
    for _ in 0..5 {
        let _ = world.cycle();
    }
    assert!(world.wrote.is_empty(), "{:?}", world.wrote);

    // A small change of what can be read goes on beside what cannot.
    let mut world = World::at(files(0..100, 1));
    world.push("tip", with(files(0..100, 1), files(0..2, 2)));
    world.unread = files(1..2, 1).into_keys().collect();
    let _ = world.cycle();
    assert_eq!(world.wrote, ["f000"]);
}

#[test]
fn whoever_has_a_part_in_a_plan_is_refused_when_they_approve() {
    let mut world = World::at(files(0..20, 1));
    world.contributors = vec![Contributor { names: vec!["bob@a".into()] }];
    world.push("tip", files(0..10, 1));
    let judgement = world.judge();
    let held = judgement.latch(LatchName::Plan).unwrap().latch.digest.unwrap();
    let configured = Governing { guards: Guards::default(), trust: world.policy.clone(), digest: digest(9) };
    let by = |who: &str, digest| {
        let giving = Giving { digest, by: who.into(), via: "api".into(), at: world.state.now(), waits: true };
        give(&world.state, &giving, &configured)
    };
    let refused = by("bob@a", held).unwrap_err();
    assert!(refused.why.contains("bob@a") && refused.why.contains("wrote"), "{refused}");
    assert!(by("mallory@a", held).is_err());
    assert!(by("carol@a", held).is_ok());
    assert!(by("bob@a", digest(77)).is_ok(), "nobody knows whose that is");
}

#[test]
fn what_was_approved_and_used_is_approved_anew_only_while_it_waits_again() {
    let mut world = World::at(files(0..20, 1));
    world.push("tip", files(0..10, 1));
    let held = world.judge().latch(LatchName::Plan).unwrap().latch.digest.unwrap();
    let configured = Governing { guards: Guards::default(), trust: world.policy.clone(), digest: digest(9) };
    let at = world.state.now();
    let used = Approval { digest: held, by: "carol@a".into(), via: "api".into(), at, used: true, key: None };
    world.state.app.approvals.push(used);
    let by = |waits| {
        let giving = Giving { digest: held, by: "carol@a".into(), via: "api".into(), at, waits };
        give(&world.state, &giving, &configured)
    };
    assert!(by(false).unwrap_err().why.contains("used"), "nothing waits for it");
    assert!(!by(true).unwrap().used, "its rollout was cancelled, and it waits again");
}
