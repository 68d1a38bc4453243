//! What people are told: what `status` prints beside its JSON, and what was sent to whoever is to be told.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{Status, World};

/// Spells whether a purpose writes, as `status` prints it.
fn goes_on(status: &Status, purpose: &str) -> String {
    format!("{purpose} {}", if status.writes(purpose) { "goes on" } else { "stopped" })
}

/// Returns what `status` prints for people to type or do about a latch. Where nothing converged yet, nothing can be taken back.
fn ways_out(app: &str, status: &Status, latch: &Value) -> Vec<String> {
    let (name, clear) = (latch["name"].as_str().unwrap_or_default(), latch["clear"].as_str().unwrap_or_default());
    if status.at("/lastCycle").is_null() {
        // Without a ledger nothing else can be looked at.
        return vec![clear.to_owned(), "docs/runbook/state.md".to_owned()];
    }
    let mut ways = match name {
        "PLAN" => {
            let back = status.converged().map(|_| "to take it back".to_owned());
            back.into_iter().chain([format!("holdfast freeze {app} --reason")]).collect()
        }
        "OBSERVE" => vec!["to let it write".to_owned(), clear.to_owned()],
        _ => vec![format!("to clear {name}"), clear.to_owned()],
    };
    ways.extend(latch["digest"].as_str().map(|digest| format!("holdfast approve {app} {digest}")));
    ways.push(format!("holdfast plan {app}"));
    ways.push(format!("docs/runbook/{}.md", name.to_lowercase()));
    ways
}

/// Returns the codes of the reasons that something gives.
fn codes(told: &Value) -> BTreeSet<&str> {
    told["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason["code"].as_str()).collect()
}

impl World {
    /// Asserts that `status` prints what it says in JSON: what is stopped and what goes on, each latch with its reasons and
    /// what to type next, the drift, and what is parked.
    #[track_caller]
    pub fn assert_prints(&self, app: &str, status: &Status) {
        let text = self.holdfast(&["status", app]).ok().stdout;
        let has = |what: &str| assert!(text.contains(what), "{what:?} is not printed:\n{text}\n{:#}", status.0);
        has(app);
        if status.list("/latches").is_empty() {
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with(&format!("{app:<8} ok ")), "it is not said to be well:\n{text}");
        } else {
            has(&format!("{} · {} · detection goes on", goes_on(status, "promotion"), goes_on(status, "healing")));
        }
        for latch in status.list("/latches") {
            has(&format!("  {}  ", latch["name"].as_str().unwrap_or_default()));
            for reason in latch["reasons"].as_array().into_iter().flatten().take(20) {
                has(reason["message"].as_str().unwrap_or_default());
            }
            ways_out(app, status, latch).iter().for_each(|way| has(way));
        }
        if status.at("/lastCycle").is_null() {
            return;
        }
        let drifted: i64 =
            ["missing", "changed", "extra"].map(|kind| status.number(&format!("/drift/{kind}"))).iter().sum();
        has(&if drifted == 0 { "no drift".to_owned() } else { format!("drift {drifted} (") });
        for parked in status.list("/parked").iter().take(20) {
            has(parked["resource"].as_str().unwrap_or_default());
            has(&format!("holdfast approve {app} {}", parked["digest"].as_str().unwrap_or_default()));
        }
    }

    /// Tells whether the world's receiver is to hear of a latch. That an application observes is told to nobody, and neither
    /// is a Lease that is not held; and where there is no ledger, there is no queue of what is to be told.
    fn hears_of(&self, latch: &str, codes: &BTreeSet<&str>) -> bool {
        let unkept = codes.contains("lease") || codes.contains("ledger");
        let quiet = unkept || (latch == "OBSERVE" && !codes.contains("permission"));
        self.raw.is_none() && self.config.tells_the_world() && !quiet
    }

    /// Asserts that what was told last of a latch is that it holds, for these reasons.
    #[track_caller]
    pub(super) fn assert_told(&self, app: &str, name: &str, wanted: &[&str], latch: &Value) {
        if !self.hears_of(name, &codes(latch)) {
            return;
        }
        let begins = format!("{app}: {name} holds");
        let whole = |told: &Value| {
            let text = told["text"].as_str().unwrap_or_default();
            let topic = if name == "FREEZE" { "freeze" } else { "halt" };
            let says = |message: &Value| text.contains(message.as_str().unwrap_or_default());
            let mut reasons = told["reasons"].as_array().into_iter().flatten().take(3);
            told["state"] == "set"
                && told["event"] == topic
                && told["next"] == format!("holdfast status {app}")
                && wanted.iter().all(|code| codes(told).contains(code))
                // Of further freezes it is told what changed.
                && (name == "FREEZE" || (text.starts_with(&begins) && reasons.all(|reason| says(&reason["message"]))))
        };
        let patient = self.running.load(Ordering::Relaxed) > 0;
        let heard = self.receiver.until_last(app, name, patient, |last| last.is_some_and(whole));
        if let Err(last) = heard {
            self.fail(&format!("that {name} of {app} holds for {wanted:?} was not told, but {last:#?}"));
        }
    }

    /// Asserts that of a latch nothing was told, or last that it holds no longer.
    #[track_caller]
    pub(super) fn assert_told_over(&self, app: &str, name: &str) {
        if !self.hears_of(name, &BTreeSet::new()) {
            return;
        }
        let patient = self.running.load(Ordering::Relaxed) > 0;
        let over = |last: Option<&Value>| last.is_none_or(|told| told["state"] == "cleared");
        if let Err(last) = self.receiver.until_last(app, name, patient, over) {
            self.fail(&format!("that {name} of {app} holds no longer was not told, but {last:#?}"));
        }
    }
}

impl World {
    /// Asserts that of resources (`failing`, `fight`, a class of drift) something was told that has these phrases, and nothing
    /// newer of that subject.
    #[track_caller]
    pub fn assert_alerted(&self, app: &str, subject: &str, phrases: &[&str]) {
        let last = self.receiver.last(app, subject).map(|told| told.to_string()).unwrap_or_default();
        for phrase in phrases {
            assert!(last.contains(phrase), "{phrase:?} of {subject} was not told: {last}");
        }
    }

    /// Asserts that the journal of an application has each of these phrases, as JSON.
    #[track_caller]
    pub fn assert_journal(&self, app: &str, phrases: &[&str]) {
        let journal = self.holdfast(&["history", app, "--last", "100000", "--output", "json"]).ok().stdout;
        for phrase in phrases {
            assert!(journal.contains(phrase), "{phrase:?} is not in the journal:\n{journal}");
        }
    }
}
