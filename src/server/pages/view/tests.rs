use super::*;
use serde_json::json;

fn now() -> Timestamp {
    "2026-03-02T03:00:00Z".parse().unwrap()
}

fn halted() -> Status {
    let digest = format!("sha256:{}", "5d".repeat(32));
    serde_json::from_value(json!({
        "name": "web", "mode": "converge", "writes": {"promotion": false, "healing": true},
        "latches": [{"name": "PLAN", "scope": "promotion", "since": "2026-03-02T02:14:00Z", "digest": digest, "clear": "…",
            "reasons": [{"code": "change_halt", "observed": 41, "limit": 18, "n": 60,
                "message": "41 of 60 resources would change, the limit is 18 (30 %)"}]}],
        "source": {"tip": "3f2c9d1aaaa", "converged": "8a11c07bbbb", "convergedAt": "2026-03-02T02:09:00Z", "behind": 3},
        "inventory": 60,
        "drift": {"missing": 0, "changed": 1, "extra": 0, "byClass": {"routine": 1}, "resources": [
            {"resource": "a.conf", "class": "routine", "since": "2026-03-02T02:59:00Z", "by": "mallory <m>", "answer": "reverted",
                "leftover": [{"path": "/spec/<x>", "owners": [{"name": "mallory <m>", "hand": "person"}]}]}],
            "handedOver": [{"resource": "d.conf", "leftover": [{"path": "/spec/replicas", "owners": [{"name": "scaler"}]}]}]},
        "plan": {"digest": digest, "creates": 0, "updates": 40, "deletes": 1, "bumps": 0,
            "culprit": {"commit": "3f2c9d1aaaa", "author": "carol", "signer": "carol@acme.example", "subject": "tidy <b>up</b>", "magnitude": 41},
            "operations": [
                {"resource": "a.conf", "effect": "update", "shape": "*.conf /upstream 10.0.0.0/8 -> 10.0.0.0/0"},
                {"resource": "b.conf", "effect": "update", "shape": "*.conf /upstream 10.0.0.0/8 -> 10.0.0.0/0"},
                {"resource": "sudoers.d/ops", "effect": "delete"}]},
        "parked": [{"resource": "sudoers.d/ops", "effect": "delete", "reason": "protected", "message": "it is protected", "digest": digest}],
        "lastCycle": {"id": "1", "started": "2026-03-02T02:59:48Z", "seconds": 0.21, "complete": true},
        "failing": [{"resource": "c.conf", "since": "2026-03-02T01:00:00Z", "attempts": 4, "next": "2026-03-02T03:05:00Z", "reason": "denied"}],
    }))
    .unwrap()
}

#[test]
fn the_page_of_a_halt_says_what_why_who_and_what_to_type() {
    let journal = serde_json::from_value(
        json!({"history": [{"at": "2026-03-02T02:14:00Z", "kind": "latched", "fact": {"latch": "PLAN"}}]}),
    );
    let html = application(&halted(), &journal.unwrap(), now());
    // One element a line, so that a change can be read.
    insta::assert_snapshot!(html.replace("><", ">\n<"));
    assert!(!html.contains("<b>up</b>") && !html.contains("<m>"), "text of others is escaped");
    let order = ["promotion stopped", "41 of 60 resources", "tidy", "holdfast approve web", "git revert 3f2c9d1"];
    let places: Vec<usize> = order.iter().map(|part| html.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_overview_puts_what_is_stopped_first() {
    let fine: Status =
        serde_json::from_value(json!({"name": "alpha", "writes": {"promotion": true, "healing": true}})).unwrap();
    let frozen: Status = serde_json::from_value(json!({"name": "beta", "latches": [{"name": "FREEZE"}]})).unwrap();
    let observing: Status = serde_json::from_value(json!({"name": "gamma", "latches": [{"name": "OBSERVE"}]})).unwrap();
    let html = overview(&Statuses { applications: vec![fine, frozen, observing, halted()] }, now());
    let places: Vec<usize> = ["web", "beta", "gamma", "alpha"]
        .iter()
        .map(|name| html.find(&format!("/applications/{name}\"")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(html.contains("1 of 4 applications halted"));
    insta::assert_snapshot!(html.replace("><", ">\n<"));
}
