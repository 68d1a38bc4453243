//! The texts, read as people do; what cannot be shown by asking a real service is shown here.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::halt::{Halt, over};
use super::outlook::{Outlook, Verdict};
use super::words::{self, Basis, Fate};
use crate::controller::report::{CommitStatus, Status};
use crate::core::commit::CommitId;
use crate::core::guards::Guards;
use crate::core::state::LatchName;

const SHA: &str = "3f2c9d1000000000000000000000000000000000";
const GOOD: &str = "8a11c07000000000000000000000000000000000";
const DIGEST: &str = "sha256:5d1e000000000000000000000000000000000000000000000000000000000abc";

fn id(text: &str) -> CommitId {
    CommitId::new(text)
}

fn commit(subject: &str, magnitude: u32, crosses: &[&str]) -> Value {
    json!({ "commit": SHA, "author": "carol@acme.example", "subject": subject, "creates": 0, "updates": magnitude,
        "deletes": 0, "magnitude": magnitude, "verdict": "verified", "crosses": crosses })
}

fn operations(count: usize) -> Vec<Value> {
    let diff = json!([{ "path": "/upstream", "old": "10.0.0.0/8", "new": "hunter2" }]);
    let one = |n| json!({ "resource": format!("h{n:05}.conf"), "effect": "update", "class": "plain", "diff": diff });
    (0..count).map(one).collect()
}

/// A judgement of 41 changes, held by these latches.
fn status(latches: &[(&str, &str)], count: usize) -> Status {
    let latches: Vec<Value> = latches
        .iter()
        .map(|(name, why)| {
            json!({ "name": name, "scope": "promotion", "since": "2026-11-27T02:14:00Z", "clear": "type this", "digest": DIGEST,
                "reasons": [{ "code": "change_halt", "observed": 41, "limit": 18, "n": 60, "message": why }] })
        })
        .collect();
    serde_json::from_value(json!({
        "name": "web", "mode": "converge", "writes": { "promotion": latches.is_empty(), "healing": true }, "latches": latches,
        "source": { "tip": SHA, "verified": GOOD, "converged": GOOD, "convergedAt": "2026-11-27T02:09:00Z", "behind": 3 },
        "inventory": 60, "drift": { "missing": 0, "changed": 0, "extra": 0, "byClass": {} },
        "plan": { "digest": DIGEST, "change": DIGEST, "creates": 0, "updates": count, "deletes": 0, "bumps": 0, "inert": 0,
            "culprit": commit("tidy up @everyone `x`", 41, &["change_halt"]), "operations": operations(count), "commits": [] },
        "lastCycle": { "id": "1-1", "started": "2026-11-27T02:14:00Z", "seconds": 0.2, "complete": true },
    }))
    .expect("it is a status")
}

fn basis(fork: bool) -> Basis {
    let at: Timestamp = "2026-11-27T14:02:11Z".parse().expect("it is a time");
    Basis { head: id(SHA), tip: id(GOOD), at, fork, comments: true, blamed: Vec::new() }
}

const HALT: (&str, &str) = ("PLAN", "41 of 60 resources would change, the limit is 18 (30 %)");

#[test]
fn a_plan_that_halts_says_why_and_what_to_type() {
    let outlook = Outlook::judged(status(&[HALT], 3), &Guards::default());
    assert_eq!(outlook.verdict, Verdict::Halts);
    let blamed: CommitStatus = serde_json::from_value(commit("tidy up", 41, &["change_halt"])).expect("it is one");
    let text = words::plan(&[outlook], &Basis { blamed: vec![blamed], ..basis(false) }, 65_536);
    insta::assert_snapshot!(text);
}

#[test]
fn a_halt_says_what_was_held_what_goes_on_and_the_ways_out() {
    let halts = Halt::of(&status(&[HALT, ("FREEZE", "frozen by bob"), ("OBSERVE", "mode")], 3));
    assert_eq!(halts.len(), 1, "what somebody wished for is not told");
    insta::assert_snapshot!(halts[0].body(Some("carol"), true));
    assert_eq!(halts[0].title(), "holdfast halted web: PLAN: 41 of 60 resources would change, the limit is 18 (30 %)");
    let over = over(&halts[0], &halts[0].body(None, false));
    assert!(
        over.starts_with("**Over:** PLAN of `web` holds no longer.") && over.contains("Written: nothing"),
        "{over}"
    );
}

#[test]
fn a_long_plan_stays_below_the_limit_and_says_how_much_is_left_out() {
    let outlooks: Vec<Outlook> = (0..8).map(|_| Outlook::judged(status(&[HALT], 500), &Guards::default())).collect();
    let whole = words::plan(&outlooks, &basis(false), 1_000_000);
    let short = words::plan(&outlooks, &basis(false), 20_000);
    assert!(whole.len() > 20_000 && short.len() <= 20_000, "{} {}", whole.len(), short.len());
    assert!(short.contains("more lines"), "{short}");
    for text in [&whole, &short] {
        assert!(text.contains("would **halt**") && text.contains(DIGEST) && text.contains("(500)"), "{text}");
    }
}

#[test]
fn nothing_of_a_fork_s_values_is_shown() {
    let outlook = || [Outlook::judged(status(&[], 3), &Guards::default())];
    assert!(words::plan(&outlook(), &basis(false), 65_536).contains("hunter2"));
    let shown = words::plan(&outlook(), &basis(true), 65_536);
    assert!(!shown.contains("hunter2") && shown.contains("/upstream") && shown.contains("from a fork"), "{shown}");
}

#[test]
fn verdicts_are_read_from_what_holds() {
    let verdict = |latches: &[(&str, &str)], count| Outlook::judged(status(latches, count), &Guards::default()).verdict;
    assert_eq!(verdict(&[], 3), Verdict::Passes);
    assert_eq!(verdict(&[], 0), Verdict::Idle);
    assert_eq!(verdict(&[("FREEZE", "pager")], 3), Verdict::Passes);
    assert_eq!(verdict(&[HALT, ("SIGNATURE", "unsigned")], 3), Verdict::Unverified);
    assert_eq!(verdict(&[HALT, ("RENDER", "no YAML")], 3), Verdict::Unrendered);
    let frozen = Outlook::judged(status(&[("FREEZE", "pager")], 3), &Guards::default());
    let text = words::plan(&[frozen], &basis(false), 65_536);
    assert!(text.contains("`web` is held by FREEZE now: `pager`") && !text.contains("nothing is frozen"), "{text}");
}

#[test]
fn the_text_of_a_status_is_one_short_line() {
    let outlook = Outlook::judged(status(&[("RENDER", &"long\n".repeat(100))], 3), &Guards::default());
    let text = words::status(&outlook);
    assert!(text.chars().count() <= 140 && !text.contains('\n') && text.starts_with("does not render: "), "{text}");
}

#[test]
fn what_became_of_a_merge_is_said_above_what_was_said_before() {
    let fate = |latches: &[(&str, &str)]| Fate::of(&status(latches, 3));
    assert_eq!(fate(&[]), Fate::Waiting { why: "for the next cycle".to_owned() });
    assert!(matches!(fate(&[("OBSERVE", "x"), HALT]), Fate::Halted { latch: LatchName::Plan, .. }));
    let fates = [
        ("web".to_owned(), Fate::Rolling { done: 40, total: 120 }),
        ("db".to_owned(), Fate::Converged { after: 252 }),
        ("old".to_owned(), Fate::TakenBack),
    ];
    let text = words::after(&id(SHA), &fates, "before");
    assert!(
        text.starts_with(
            "**holdfast** · merged as 3f2c9d1 · `web` rolling out 40 of 120 · `db` converged in 4 m 12 s ✓ · \
             `old` taken back before anything was written\n"
        ) && text.contains("before\n</details>"),
        "{text}"
    );
}
