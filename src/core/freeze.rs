//! What freezes, and for how long: freezing is cheap, thawing is dear (`GUARDS.md` 4).
//!
//! A freeze on the branch holds from the moment it is seen, signed or not; it goes only when a verified commit takes it
//! away. What an operator, the configuration or the state directory froze is for those to lift.

mod parse;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::commit::CommitId;
use super::glob;
use super::reason::Reason;
pub use parse::{Parsed, narrows, parse};

/// Where a freeze comes from, which says who can lift it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Source {
    /// An entry on the tracked branch: lifted by a verified commit.
    Branch {
        /// The tip at which it was first seen as it is.
        commit: CommitId,
        /// The entry's path in the repository.
        path: Arc<str>,
    },
    /// A webhook, the API or the command line: lifted by an operator.
    Operator {
        /// Who asked.
        by: Arc<str>,
        /// How: `api`, `webhook`, `cli`.
        via: Arc<str>,
    },
    /// A file `FREEZE` in the state directory: lifted by removing it.
    StateDir,
    /// The application's configuration: lifted by editing it.
    Config,
}

/// One freeze that was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// Where it comes from.
    pub source: Source,
    /// Why, in the words of whoever froze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whom to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it ends by itself; `None` is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Globs over application names; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// When it was first seen as it is.
    pub since: Timestamp,
    /// Why it is taken as freezing everything without expiry, if what was written could not be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Freeze {
    fn new(source: Source, what: Parsed, since: Timestamp) -> Self {
        let Parsed { reason, owner, until, scope, note } = what;
        Self { source, reason, owner, until, scope, since, note }
    }

    /// Returns what was written, apart from where and when.
    pub fn parsed(&self) -> Parsed {
        let Self { source: _, since: _, reason, owner, until, scope, note } = self.clone();
        Parsed { reason, owner, until, scope, note }
    }

    fn over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Tells whether it is of this machine: of the configuration or the state directory, read anew before every write.
    pub fn is_local(&self) -> bool {
        matches!(self.source, Source::StateDir | Source::Config)
    }

    fn at(&self, wanted: &str) -> bool {
        matches!(&self.source, Source::Branch { path, .. } if &**path == wanted)
    }
}

/// Tells whether a freeze holds for an application now.
pub fn covers(freeze: &Freeze, app: &str, now: Timestamp) -> bool {
    let named = freeze.scope.is_empty() || freeze.scope.iter().any(|pattern| glob::matches(pattern, app));
    named && !freeze.over(now)
}

/// Every freeze that was seen and not lifted, expired ones included until their source is gone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FreezeState {
    /// The freezes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<Freeze>,
}

impl FreezeState {
    /// Takes up what freezes at the tip; returns the new state and one sentence of what changed, `None` if nothing did.
    ///
    /// `entries` are the paths and contents of what freezes at the tip, `verified_to_tip` whether every covered commit up
    /// to the tip verifies, `is_ancestor` whether a commit is the tip or one of its ancestors. A recorded freeze that is
    /// gone or freezes less goes only if all that was verified and the recorded commit leads to the tip: otherwise all
    /// versions hold at once (`GUARDS.md` 4).
    pub fn at_tip(
        &self,
        tip: &CommitId,
        entries: &[(Arc<str>, Vec<u8>)],
        verified_to_tip: bool,
        is_ancestor: &dyn Fn(&CommitId) -> bool,
        now: Timestamp,
    ) -> Option<(Self, String)> {
        let mut state = Self::default();
        let mut said = Vec::new();
        for old in &self.freezes {
            let Source::Branch { commit, path } = &old.source else {
                state.freezes.push(old.clone());
                continue;
            };
            // Judged as of when it was first seen: an `until` that ran out since then is not one that was past already.
            let written = entries.iter().find(|(at, _)| at == path).map(|(_, bytes)| parse(bytes, old.since));
            let leads_here = is_ancestor(commit);
            if written.as_ref() == Some(&old.parsed()) {
                let mut kept = old.clone();
                if !leads_here {
                    // The branch was rewritten and still holds it: from here on a verified commit can take it away.
                    kept.source = Source::Branch { commit: tip.clone(), path: path.clone() };
                    said.push(format!("{path} is still there in commit {}, after history was rewritten", tip.short()));
                }
                state.freezes.push(kept);
                continue;
            }
            // What stands there now is read as of its own first sight too: one whose `until` ran out thaws nothing.
            let present = entries.iter().find(|(at, _)| at == path).map(|(_, bytes)| {
                let known = |freeze: &&Freeze| freeze.at(path) && parse(bytes, freeze.since) == freeze.parsed();
                self.freezes.iter().find(known).map_or_else(|| parse(bytes, now), Freeze::parsed)
            });
            let thaw = !old.over(now) && narrows(&old.parsed(), present.as_ref());
            if thaw && !(verified_to_tip && leads_here) {
                state.freezes.push(old.clone());
                continue;
            }
            let verb = match (&present, thaw) {
                (None, true) => "was removed in a verified commit",
                (None, false) => "was removed after its expiry",
                (Some(_), true) => "was narrowed in a verified commit",
                (Some(_), false) => "was replaced by one that freezes no less",
            };
            said.push(format!("{} {verb}", named(old)));
        }
        for (path, bytes) in entries {
            let known = |freeze: &&Freeze| freeze.at(path) && parse(bytes, freeze.since) == freeze.parsed();
            if state.freezes.iter().any(|freeze| known(&freeze)) {
                continue;
            }
            let source = Source::Branch { commit: tip.clone(), path: path.clone() };
            let new = Freeze::new(source, parse(bytes, now), now);
            said.push(reason(&new).message);
            state.freezes.push(new);
        }
        (state != *self).then(|| (state, said.join("; ")))
    }

    /// Adds what an operator froze; returns the new state and one sentence, `None` if the same already holds.
    pub fn with_operator(&self, by: &str, via: &str, what: Parsed, now: Timestamp) -> Option<(Self, String)> {
        let source = Source::Operator { by: by.into(), via: via.into() };
        let same = |known: &Freeze| known.source == source && known.parsed() == what && !known.over(now);
        if self.freezes.iter().any(same) {
            return None;
        }
        let new = Freeze::new(source, what, now);
        let said = reason(&new).message;
        let mut state = self.clone();
        // What an operator froze and is over has no source that could bring it back.
        state.freezes.retain(|known| !(matches!(known.source, Source::Operator { .. }) && known.over(now)));
        state.freezes.push(new);
        Some((state, said))
    }

    /// Lifts every operator's freeze that names this application, or all; returns the new state and one sentence, `None`
    /// if there was none. A ledger is one application's, so that others stay frozen in theirs.
    pub fn without_operator(&self, app: &str) -> Option<(Self, String)> {
        let lifted = |known: &Freeze| {
            let named = known.scope.is_empty() || known.scope.iter().any(|pattern| glob::matches(pattern, app));
            matches!(known.source, Source::Operator { .. }) && named
        };
        self.without(lifted, "lifted")
    }

    /// Takes up what the files of the state directory that freeze say. A directory that cannot be read is not for here: the
    /// last known freezes stay.
    pub fn with_state_dir(&self, files: &[Vec<u8>], now: Timestamp) -> Option<(Self, String)> {
        let written = |at: Timestamp| files.iter().map(|file| parse(file, at)).collect();
        self.with_source(&Source::StateDir, &written, now)
    }

    /// Takes up the freeze of the application's configuration, if any.
    pub fn with_config(&self, what: Option<&Parsed>, now: Timestamp) -> Option<(Self, String)> {
        let written = |at: Timestamp| what.cloned().map(|what| what.unless_past(at)).into_iter().collect();
        self.with_source(&Source::Config, &written, now)
    }

    /// Takes up all that a source says now, read as of when it was first seen.
    fn with_source(
        &self,
        source: &Source,
        written: &dyn Fn(Timestamp) -> Vec<Parsed>,
        now: Timestamp,
    ) -> Option<(Self, String)> {
        let same = |known: &Freeze, at: usize| written(known.since).get(at) == Some(&known.parsed());
        let count = written(now).len();
        let stands = |known: &Freeze| known.source != *source || (0..count).any(|at| same(known, at));
        let (mut freezes, gone): (Vec<Freeze>, Vec<Freeze>) = self.freezes.iter().cloned().partition(stands);
        let mut said = Vec::new();
        for (at, what) in written(now).into_iter().enumerate() {
            if !freezes.iter().any(|known| known.source == *source && same(known, at)) {
                let new = Freeze::new(source.clone(), what, now);
                said.push(reason(&new).message);
                freezes.push(new);
            }
        }
        if said.is_empty() {
            said.extend(gone.iter().map(|known| format!("{} was taken away", named(known))));
        }
        let state = Self { freezes };
        (state != *self).then(|| (state, said.join("; ")))
    }

    fn without(&self, gone: impl Fn(&Freeze) -> bool, verb: &str) -> Option<(Self, String)> {
        let (gone, freezes): (Vec<_>, Vec<_>) = self.freezes.iter().cloned().partition(|known| gone(known));
        let said: Vec<_> = gone.iter().map(|known| format!("{} {verb}", named(known))).collect();
        (!gone.is_empty()).then(|| (Self { freezes }, said.join("; ")))
    }

    /// Returns the freezes that hold for an application now.
    pub fn active(&self, app: &str, now: Timestamp) -> Vec<&Freeze> {
        self.freezes.iter().filter(|freeze| covers(freeze, app, now)).collect()
    }
}

/// Names a freeze by its source.
fn named(freeze: &Freeze) -> String {
    match &freeze.source {
        Source::Branch { commit, path } => format!("{path} in commit {}", commit.short()),
        Source::Operator { by, via } => format!("the freeze by {by} ({via})"),
        Source::StateDir => "FREEZE in the state directory".to_owned(),
        Source::Config => "the freeze in the configuration".to_owned(),
    }
}

/// Says who froze, why and until when.
pub fn reason(freeze: &Freeze) -> Reason {
    let mut message = match &freeze.source {
        Source::Operator { by, via } => format!("frozen by {by} ({via})"),
        Source::Config => "frozen by the configuration".to_owned(),
        Source::Branch { .. } | Source::StateDir => format!("frozen by {}", named(freeze)),
    };
    if let Some(reason) = &freeze.reason {
        message.push_str(&format!(": {reason}"));
    }
    let mut aside: Vec<String> = freeze.owner.iter().cloned().collect();
    aside.extend(freeze.until.map(|until| format!("until {until}")));
    if !freeze.scope.is_empty() {
        aside.push(format!("for {}", freeze.scope.join(", ")));
    }
    if let Some(note) = &freeze.note {
        aside.push(format!("everything, without expiry, because {note}"));
    }
    if !aside.is_empty() {
        message.push_str(&format!(" ({})", aside.join(", ")));
    }
    Reason::new("freeze", message)
}
