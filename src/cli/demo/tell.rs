//! What is told of the story, as text while it happens and as one JSON document at its end.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::text::Style;

/// One act as it is reported.
#[derive(Debug, Serialize)]
pub struct Act {
    act: usize,
    title: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    commands: Vec<String>,
    status: Vec<String>,
    told: Vec<String>,
}

/// Tells the story.
pub struct Teller {
    text: bool,
    style: Style,
    acts: Vec<Act>,
}

impl Teller {
    /// Starts; `text` is whether it is printed while it happens.
    pub fn new(text: bool, style: Style) -> Self {
        Self { text, style, acts: Vec::new() }
    }

    fn line(&self, line: &str) {
        if self.text {
            println!("{line}");
        }
    }

    /// Says what is about to be shown.
    pub fn opening(&self) {
        self.line(
            "A repository, a directory of 60 files that is to look like it, and a controller between them: real Git,",
        );
        self.line(
            "real SSH signatures, real writes. alice, bob and carol may sign, bob may approve; mallory is nobody.",
        );
        self.line("An interval is 1 s here instead of 3 min, and the grace for edits by hand 3 s instead of 30 min.");
    }

    /// Begins an act.
    pub fn act(&mut self, title: &'static str) {
        let act = self.acts.len() + 1;
        let heading = format!("{act}  {title}");
        self.line("");
        self.line(&self.style.paint("1", &heading));
        self.acts.push(Act { act, title, ok: false, why: None, commands: vec![], status: vec![], told: vec![] });
    }

    /// Ends an act.
    pub fn end(&mut self, result: Result<(), String>) {
        if let Some(act) = self.acts.last_mut() {
            (act.ok, act.why) = (result.is_ok(), result.err());
        }
    }

    /// Shows what somebody types.
    pub fn command(&mut self, who: &str, command: &str) {
        self.line(&format!("   {} {command}", self.style.paint("36", &format!("{who}$"))));
        self.note(|act| act.commands.push(format!("{who}$ {command}")));
    }

    /// Shows a line that `holdfast` printed.
    pub fn status(&mut self, line: &str) {
        self.line(&format!("     {line}"));
        self.note(|act| act.status.push(line.to_owned()));
    }

    /// Says what happened, and why.
    pub fn say(&mut self, line: &str) {
        self.line(&format!("   {line}"));
        self.note(|act| act.told.push(line.to_owned()));
    }

    fn note(&mut self, note: impl FnOnce(&mut Act)) {
        if let Some(act) = self.acts.last_mut() {
            note(act);
        }
    }

    /// Says how it went.
    pub fn closing(&self, took: Duration, failed: Option<&str>, kept: Option<&Path>) {
        self.line("");
        match failed {
            None => self.line(&format!("All eight acts happened as told, in {} s.", took.as_secs())),
            Some(_) => self.line(&format!("Act {} went otherwise.", self.acts.len())),
        }
        if let Some(dir) = kept.filter(|_| failed.is_none()) {
            self.line(&format!("Kept: {} (the repository, srv/, holdfast.yaml and its state)", dir.display()));
        }
    }

    /// Returns the whole story as JSON.
    pub fn report(&self, kept: Option<&Path>) -> serde_json::Value {
        let ok = self.acts.iter().all(|act| act.ok);
        let mut report = serde_json::json!({ "ok": ok, "acts": self.acts });
        if let Some(dir) = kept {
            report["directory"] = dir.display().to_string().into();
        }
        report
    }
}
