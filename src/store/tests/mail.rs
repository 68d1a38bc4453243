//! Notices, deliveries, reports and the controller's lock.

use super::{at, dir, noticed, writer};
use crate::core::state::State;
use crate::store::{ControllerLock, LockError, Notice, Report};

fn notice(key: &str, json: &str) -> Notice {
    Notice { kind: "issue".into(), key: key.into(), json: json.into() }
}

#[test]
fn a_notice_waits_until_it_arrived() {
    let dir = dir();
    let ledger = writer(dir.path());
    assert!(ledger.outbox_push(&notice("web/PLAN", "one"), at(10)).expect("queues"));
    assert!(ledger.outbox_due(at(9), 10).expect("reads").is_empty());
    let due = ledger.outbox_due(at(10), 10).expect("reads");
    ledger.outbox_fail(&due[0], at(40), "refused").expect("writes");
    assert!(ledger.outbox_due(at(39), 10).expect("reads").is_empty());
    assert_eq!(ledger.outbox_next().expect("reads"), Some(at(40)));
    drop(ledger);

    let ledger = writer(dir.path());
    let due = ledger.outbox_due(at(40), 10).expect("reads");
    assert_eq!((due[0].attempts, due[0].last_error.as_deref()), (1, Some("refused")));
    ledger.outbox_done(&due[0], Some("comment 7"), at(41)).expect("writes");
    assert_eq!(ledger.outbox_next().expect("reads"), None);
    let delivered = ledger.delivered("web/PLAN").expect("reads").expect("delivered");
    assert_eq!((delivered.json.as_str(), delivered.reference.as_deref()), ("one", Some("comment 7")));
    assert!(!ledger.outbox_push(&notice("web/PLAN", "one"), at(50)).expect("queues"), "it was told already");
    assert!(ledger.outbox_push(&notice("web/PLAN", "two"), at(50)).expect("queues"));
}

#[test]
fn a_newer_text_takes_the_place_of_one_that_waits() {
    let dir = dir();
    let ledger = writer(dir.path());
    ledger.outbox_push(&notice("k", "one"), at(10)).expect("queues");
    assert!(!ledger.outbox_push(&notice("k", "one"), at(11)).expect("queues"));
    let sending = ledger.outbox_due(at(10), 10).expect("reads").remove(0);
    assert!(ledger.outbox_push(&notice("k", "two"), at(12)).expect("queues"));
    ledger.outbox_done(&sending, None, at(13)).expect("writes");
    let due = ledger.outbox_due(at(13), 10).expect("reads");
    assert_eq!(due.iter().map(|queued| queued.notice.json.as_str()).collect::<Vec<_>>(), ["two"]);
    ledger.outbox_done(&due[0], None, at(14)).expect("writes");
    assert!(ledger.outbox_due(at(99), 10).expect("reads").is_empty());
}

#[test]
fn notices_are_durable_with_their_facts_or_not_at_all() {
    let dir = dir();
    let ledger = writer(dir.path());
    let mut state = State::default();
    let told = [notice("a", "1"), notice("b", "2")];
    let now = jiff::Timestamp::MAX;
    ledger.commit_with_notices("web", 5, &[noticed("x")], &mut state, None, &told).expect_err("moved");
    assert!(ledger.outbox_due(now, 10).expect("reads").is_empty());
    ledger.commit_with_notices("web", 0, &[noticed("x")], &mut state, None, &told).expect("commits");
    let due = ledger.outbox_due(now, 10).expect("reads");
    assert_eq!(due.into_iter().map(|queued| queued.notice).collect::<Vec<_>>(), told);
}

#[test]
fn a_delivery_is_new_once() {
    let dir = dir();
    assert!(!writer(dir.path()).delivery_seen("d1", at(1)).expect("writes"));
    let ledger = writer(dir.path());
    assert!(ledger.delivery_seen("d1", at(2)).expect("writes"));
    assert!(!ledger.delivery_seen("d2", at(2)).expect("writes"));
}

#[test]
fn the_latest_report_is_kept() {
    let dir = dir();
    let ledger = writer(dir.path());
    assert_eq!(ledger.get_report("web").expect("reads"), None);
    ledger.put_report("web", at(1), "{}").expect("writes");
    ledger.put_report("web", at(2), "{\"a\":1}").expect("writes");
    assert_eq!(ledger.get_report("web").expect("reads"), Some(Report { at: at(2), json: "{\"a\":1}".into() }));
}

#[test]
fn one_process_is_the_controller() {
    let dir = dir();
    let state_dir = dir.path().join("state");
    let held = ControllerLock::take(&state_dir).expect("free");
    match ControllerLock::take(&state_dir) {
        Err(LockError::Held { pid, .. }) => assert_eq!(pid, Some(std::process::id().to_string())),
        other => panic!("{other:?}"),
    }
    drop(held);
    ControllerLock::take(&state_dir).expect("free again");
}
