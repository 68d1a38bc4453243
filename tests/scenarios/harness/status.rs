//! Reads what is reported, and asserts on it with a message that shows all of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::tree::{Changes, Tree};
use super::{World, changes};

/// What `status` or `plan` says of one application.
#[derive(Debug, Clone)]
pub struct Status(pub Value);

/// What each latch withholds (`GUARDS.md` 2); SIGNATURE is `all` when a key that vouched was revoked.
const SCOPES: [(&str, &[&str]); 11] = [
    ("FREEZE", &["all"]),
    ("STATE", &["all"]),
    ("OBSERVATION", &["all"]),
    ("OBSERVE", &["all"]),
    ("HISTORY", &["promotion"]),
    ("SIGNATURE", &["promotion", "all"]),
    ("RENDER", &["promotion"]),
    ("PLAN", &["promotion"]),
    ("HEALTH", &["promotion"]),
    ("DRIFT", &["healing"]),
    ("FAILURE", &["all"]),
];

impl Status {
    /// Takes one application out of a document.
    #[track_caller]
    pub fn of(document: &Value, app: &str) -> Self {
        let applications = document["applications"].as_array();
        let found = applications.and_then(|all| all.iter().find(|one| one["name"] == app));
        Self(found.unwrap_or_else(|| panic!("{app} is not in {document:#}")).clone())
    }

    /// Returns the value at a JSON pointer, null if there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Returns the number at a JSON pointer; absent counts as zero.
    #[track_caller]
    pub fn number(&self, pointer: &str) -> i64 {
        let value = self.at(pointer);
        if value.is_null() { 0 } else { value.as_i64().unwrap_or_else(|| panic!("{pointer} is {value}")) }
    }

    /// Returns the text at a JSON pointer.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_else(|| panic!("no text at {pointer} of {:#}", self.0))
    }

    /// Returns the list at a JSON pointer; absent counts as empty.
    pub fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().map_or(&[], Vec::as_slice)
    }

    /// Returns the latches and the codes of their reasons.
    pub fn latches(&self) -> BTreeMap<String, BTreeSet<String>> {
        let word = |value: &Value| value.as_str().unwrap_or("(no text)").to_owned();
        self.list("/latches")
            .iter()
            .map(|latch| {
                let reasons = latch["reasons"].as_array().map_or(&[][..], Vec::as_slice);
                (word(&latch["name"]), reasons.iter().map(|reason| word(&reason["code"])).collect())
            })
            .collect()
    }

    /// Returns one latch.
    pub fn latch(&self, name: &str) -> Option<&Value> {
        self.list("/latches").iter().find(|latch| latch["name"] == name)
    }

    /// Returns the reason of a latch that has this code.
    #[track_caller]
    pub fn reason(&self, latch: &str, code: &str) -> &Value {
        let reasons = self.latch(latch).and_then(|latch| latch["reasons"].as_array());
        let found = reasons.and_then(|reasons| reasons.iter().find(|reason| reason["code"] == code));
        found.unwrap_or_else(|| panic!("{latch} has no reason {code}: {:#}", self.0))
    }

    /// Tells whether a purpose (`promotion` or `healing`) may write.
    #[track_caller]
    pub fn writes(&self, purpose: &str) -> bool {
        let value = &self.0["writes"][purpose];
        value.as_bool().unwrap_or_else(|| panic!("writes.{purpose} is {value} in {:#}", self.0))
    }

    /// Returns the commit that was last converged to.
    pub fn converged(&self) -> Option<&str> {
        self.at("/source/converged").as_str()
    }

    /// Returns the pending plan's digest, which is what is approved.
    #[track_caller]
    pub fn digest(&self) -> String {
        let digest = self.text("/plan/digest");
        let digits = digest.strip_prefix("sha256:").unwrap_or_else(|| panic!("{digest} is no digest"));
        assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{digest} is no digest");
        digest.to_owned()
    }

    /// Returns the operations of a plan.
    pub fn operations(&self) -> &[Value] {
        let direct = self.list("/operations");
        if direct.is_empty() { self.list("/plan/operations") } else { direct }
    }

    /// Returns the commits of a plan.
    pub fn commits(&self) -> &[Value] {
        let direct = self.list("/commits");
        if direct.is_empty() { self.list("/plan/commits") } else { direct }
    }

    /// Returns every digest that a latch's text tells people to approve.
    pub fn digests_to_approve(&self, latch: &str) -> BTreeSet<String> {
        let text = self.latch(latch).map(ToString::to_string).unwrap_or_default();
        text.split("sha256:")
            .skip(1)
            .map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect::<String>())
            .filter(|digits| digits.len() == 64)
            .map(|digits| format!("sha256:{digits}"))
            .collect()
    }
}

/// Tells whether a value is a time in UTC as RFC 3339 has it.
pub fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z'))
}

impl World {
    /// Fails with everything that the controller says.
    #[track_caller]
    pub fn fail(&self, what: &str) -> ! {
        let said = self.holdfast(&["status"]);
        let json = self.holdfast(&["status", "--output", "json"]);
        panic!("{what}\n--- status\n{}{}\n--- json\n{}{}", said.stdout, said.stderr, json.stdout, json.stderr);
    }

    /// Returns how the directory differs from what the work clone asks for.
    pub fn missing_from(&self, app: &str) -> Changes {
        changes(&self.tree(app), &self.wanted(app))
    }

    /// Asserts that the directory holds what it held.
    #[track_caller]
    pub fn assert_unchanged(&self, app: &str, before: &Tree) {
        let changed = changes(before, &self.tree(app));
        if changed.total() > 0 {
            self.fail(&format!("{app} was written to: {changed:#?}"));
        }
    }

    /// Asserts that the directory holds what the work clone asks for, that `status` says so, and that nothing is left to do.
    #[track_caller]
    pub fn assert_converged(&self, app: &str) {
        let differs = self.missing_from(app);
        if differs.total() > 0 {
            self.fail(&format!("{app} is not what was committed: {differs:#?}"));
        }
        let status = self.status(app);
        if status.converged() != Some(&self.repo.head()) {
            self.fail(&format!("{app} is not said to be converged to {}", self.repo.head()));
        }
        let planned = self.holdfast(&["plan", app, "--exit-code"]);
        assert_eq!(planned.code, Some(0), "something is left to do:\n{}", planned.stdout);
        let litter: Vec<_> = self.litter(&self.root(app));
        assert!(litter.is_empty(), "left behind: {litter:?}");
    }

    /// Returns what holdfast left in a root besides its anchor.
    fn litter(&self, root: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let path = entry.path();
            let ours = entry.file_name().to_string_lossy().starts_with(".holdfast");
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !ours {
                found.extend(self.litter(&path));
            } else if ours && (entry.file_name() != ".holdfast" || root.parent() != Some(&self.dir().join("roots"))) {
                found.push(path);
            }
        }
        found
    }

    /// Asserts a latch with these reasons among others, and that it is told completely: since when, what it withholds, what
    /// clears it; and all of that in what `status` prints and in what was sent to whoever is to be told.
    #[track_caller]
    pub fn assert_latch(&self, app: &str, name: &str, codes: &[&str]) -> Status {
        let status = self.status(app);
        let Some(latch) = status.latch(name).cloned() else {
            self.fail(&format!("{app} has no latch {name}, only {:?}", status.latches()));
        };
        let had = &status.latches()[name];
        for code in codes {
            if !had.contains(*code) {
                self.fail(&format!("{name} of {app} is not for {code} but for {had:?}"));
            }
        }
        assert!(is_time(&latch["since"]), "since when? {latch:#}");
        assert!(latch["clear"].as_str().is_some_and(|clear| !clear.is_empty()), "what clears it? {latch:#}");
        let (_, scopes) = SCOPES.iter().find(|(known, _)| *known == name).expect("the latch is in the table");
        let scope = latch["scope"].as_str().unwrap_or_default();
        assert!(scopes.contains(&scope), "{name} withholds {scopes:?}, not {scope:?}: {latch:#}");
        // OBSERVATION withholds what is unread, FAILURE lets a probe through: neither says that nothing may be written.
        if !["OBSERVATION", "FAILURE"].contains(&name) {
            assert!(!status.writes("promotion") || scope == "healing", "{name} is set, and promotion may write");
            assert!(!status.writes("healing") || scope == "promotion", "{name} is set, and healing may write");
        }
        for reason in latch["reasons"].as_array().into_iter().flatten() {
            let told = reason["code"].is_string() && reason["message"].as_str().is_some_and(|told| !told.is_empty());
            assert!(told, "a reason says nothing: {latch:#}");
        }
        assert!(!had.is_empty(), "no reasons: {latch:#}");
        self.assert_prints(app, &status);
        self.assert_told(app, name, codes, &latch);
        status
    }

    /// Asserts that a latch is not set.
    #[track_caller]
    pub fn assert_no_latch(&self, app: &str, name: &str) {
        let status = self.status(app);
        if status.latch(name).is_some() {
            self.fail(&format!("{app} has the latch {name}"));
        }
        self.assert_told_over(app, name);
    }

    /// Asserts that nothing withholds anything.
    #[track_caller]
    pub fn assert_free(&self, app: &str) {
        let status = self.status(app);
        if !status.latches().is_empty() {
            self.fail(&format!("{app} is held by {:?}", status.latches()));
        }
        assert!(status.writes("promotion") && status.writes("healing"), "withheld: {:#}", status.0);
        self.assert_prints(app, &status);
        SCOPES.iter().for_each(|(name, _)| self.assert_told_over(app, name));
    }

    /// Asserts that what `status` prints has each of these phrases.
    #[track_caller]
    pub fn assert_printed(&self, phrases: &[&str]) {
        let text = self.status_text();
        for phrase in phrases {
            assert!(text.contains(phrase), "{phrase:?} is not printed:\n{text}");
        }
    }

    /// Asserts that healing goes on: a file that is removed by hand is back after at most three counted cycles.
    #[track_caller]
    pub fn assert_heals(&self, app: &str, path: &str) {
        let before = self.tree(app);
        self.remove_live(app, path);
        for _ in 0..3 {
            self.counted_cycle();
            if self.exists(app, path) {
                break;
            }
        }
        self.assert_unchanged(app, &before);
    }

    /// Asserts that drift is seen and told, and not healed: removes a file by hand and leaves it removed.
    #[track_caller]
    pub fn assert_reports_but_does_not_heal(&self, app: &str, path: &str) {
        self.remove_live(app, path);
        let before = self.tree(app);
        self.counted_cycles(3);
        self.assert_unchanged(app, &before);
        let status = self.status(app);
        if status.number("/drift/missing") < 1 {
            self.fail(&format!("the drift of {path} is not reported"));
        }
        let drift = self.holdfast(&["drift", app]).ok();
        assert!(drift.stdout.contains(path), "`drift` does not name {path}:\n{}", drift.stdout);
        let complete = status.at("/lastCycle/complete").as_bool();
        assert!(complete.is_some(), "the last cycle is not reported: {:#}", status.0);
    }
}
