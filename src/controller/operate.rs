//! What operators do, whichever way they come: freeze, thaw, approve. One set of rules for the commands and for the API.
//!
//! Each writes facts to the ledger, where the loop finds them before its next write.

use std::path::PathBuf;
use std::sync::Arc;

use super::alerting::Receivers;
use super::live::local_freezes;
use super::report::Status;
use crate::clock::MachineClock;
use crate::config::{Application, Config};
use crate::core::approval::{self, Giving};
use crate::core::freeze::{self, Parsed};
use crate::core::ledger::Fact;
use crate::core::resource::Digest;
use crate::core::state::State;
use crate::store::{CommitError, EVERY, Ledger, StoreError};

/// How many times a fact is tried again because another process wrote meanwhile.
const TRIES: usize = 50;

/// Why something was not done. Nothing was written then, of the application that it is about.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger took nothing.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Other processes kept writing.
    #[error("write to the ledger: other processes kept writing to it; try again")]
    Busy,
    /// A kept report is not what this version writes.
    #[error("read the kept report: {0}")]
    Json(#[from] serde_json::Error),
    /// The file of last resort cannot be written either.
    #[error("write {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing has the digest.
    #[error("refused: nothing of {app} that is held, parked or was shown has the digest {digest}")]
    NothingHeld {
        /// Of which application.
        app: Arc<str>,
        /// Which digest.
        digest: Digest,
    },
    /// The approval was used before.
    #[error("{digest} was approved before (by {by}) and used: an approval serves once")]
    Used {
        /// Which digest.
        digest: Digest,
        /// By whom.
        by: Arc<str>,
    },
    /// Who approves does not count.
    #[error("not approved: {0}")]
    NotAnApprover(String),
}

/// Who does something, and which way.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who, as the journal names them.
    pub by: Arc<str>,
    /// How: `local`, `api`, `webhook`.
    pub via: &'static str,
}

/// Writes what operators decide to one ledger.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The ledger.
    pub ledger: &'a Ledger,
    /// Who is told.
    pub receivers: &'a Receivers,
}

impl Desk<'_> {
    /// Commits what `decide` makes of the newest state, until nobody else wrote in between.
    ///
    /// # Errors
    /// Those of the ledger, and of `decide`.
    pub fn commit<E: From<OperateError>>(
        &self,
        app: &str,
        mut decide: impl FnMut(&State) -> Result<Vec<Fact>, E>,
    ) -> Result<(), E> {
        for _ in 0..TRIES {
            let mut state = self.ledger.load(app).map_err(OperateError::from)?;
            let facts = decide(&state)?;
            if facts.is_empty() {
                return Ok(());
            }
            let notices = self.receivers.notices(self.ledger.id(), app, &state, &facts);
            match self.ledger.commit_with_notices(app, state.seq, &facts, &mut state, None, &notices) {
                Ok(_) => return Ok(()),
                Err(CommitError::Moved { .. }) => {}
                Err(error) => return Err(OperateError::from(error).into()),
            }
        }
        Err(OperateError::Busy.into())
    }

    /// Freezes applications, all of them when none is named.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn freeze(&self, names: &[Arc<str>], what: &Parsed, actor: &Actor) -> Result<(), OperateError> {
        let every = [Arc::from(EVERY)];
        for name in if names.is_empty() { &every } else { names } {
            self.commit(name, |state| -> Result<_, OperateError> {
                let frozen = state.app.freeze.with_operator(&actor.by, actor.via, what.clone(), MachineClock::wall());
                Ok(frozen.map(|(state, change)| Fact::Freezes { state, change }).into_iter().collect())
            })?;
        }
        Ok(())
    }

    /// Lifts what operators froze, of the named applications or, when none is named, of all.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn thaw(&self, names: &[Arc<str>], why: Option<&str>, actor: &Actor) -> Result<Thawed, OperateError> {
        let all = names.is_empty();
        let apps = self.config.applications.iter();
        let apps: Vec<&Application> = apps.filter(|app| all || names.contains(&app.name)).collect();
        let mut lifted = 0;
        let every = all.then(|| Arc::from(EVERY));
        for name in every.into_iter().chain(apps.iter().map(|app| app.name.clone())) {
            let mut thawed = false;
            self.commit(&name, |state| -> Result<_, OperateError> {
                let left = state.app.freeze.without_operator(&name);
                thawed = left.is_some();
                let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                let fact = |(state, change)| Fact::Freezes { state, change: format!("{change} by {}{why}", actor.by) };
                Ok(left.map(fact).into_iter().collect())
            })?;
            lifted += usize::from(thawed);
        }
        let mut still = Vec::new();
        for app in apps {
            self.left(app, &mut still)?;
        }
        Ok(Thawed { lifted, still })
    }

    /// Adds what still freezes an application.
    fn left(&self, app: &Application, still: &mut Vec<Still>) -> Result<(), OperateError> {
        let (state, every) = (self.ledger.load(&app.name)?, self.ledger.load(EVERY)?);
        let wall = MachineClock::wall();
        let logical =
            |state: &State| state.app.clock.as_ref().map_or(wall, |clock| clock.advance(&MachineClock::read()).now);
        let mut add = |message: String, lift| still.push(Still { app: app.name.clone(), message, lift });
        let active = state.app.freeze.active(&app.name, logical(&state)).into_iter();
        for freeze in active.filter(|frozen| !frozen.is_local()) {
            add(
                freeze::reason(freeze).message,
                "a FREEZE on the branch is lifted by a verified commit that removes it",
            );
        }
        for freeze in every.app.freeze.active(&app.name, logical(&state)) {
            add(freeze::reason(freeze).message, "lift it with: holdfast thaw --all");
        }
        for reason in local_freezes(app, &self.config.controller.state_dir, &state.app.freeze, logical(&state)) {
            add(reason.message, "take it out where it was written");
        }
        Ok(())
    }

    /// Approves what has a digest, in every application that is held under it; returns what it is, `None` for a change
    /// that was shown and may come.
    ///
    /// # Errors
    /// Why it does not count, and those of the ledger.
    pub fn approve(&self, app: &Application, digest: Digest, actor: &Actor) -> Result<Option<String>, OperateError> {
        let (what, waits) = self.known(app, digest)?.unzip();
        let waits = waits.unwrap_or(false);
        if what.is_none() && self.ledger.get_report(&shown(app, digest))?.is_none() {
            return Err(OperateError::NothingHeld { app: app.name.clone(), digest });
        }
        // Only who can write the ledger is of this machine, whatever a token's owner is called.
        if actor.via != "local" && actor.by.starts_with("local:") {
            return Err(OperateError::NotAnApprover(format!("{} is no principal", actor.by)));
        }
        for name in self.sharing(app, digest)? {
            let Some(app) = self.config.application(&name) else { continue };
            self.commit(&name, |state| {
                if let Some(used) = approval::spent(state, &digest, waits) {
                    return Err(OperateError::Used { digest, by: used.by.clone() });
                }
                let giving = Giving { digest, by: actor.by.clone(), via: actor.via.into(), at: state.now(), waits };
                let approval = approval::give(state, &giving, &app.governing())
                    .map_err(|refused| OperateError::NotAnApprover(refused.why))?;
                Ok(vec![Fact::Approved { approval }])
            })?;
        }
        Ok(what)
    }

    /// Says what a digest is of, if it is of something that was last reported, and whether that waits for an approval.
    fn known(&self, app: &Application, digest: Digest) -> Result<Option<(String, bool)>, OperateError> {
        let Some(report) = self.ledger.get_report(&app.name)? else { return Ok(None) };
        let status: Status = serde_json::from_str(&report.json)?;
        if status.latches.iter().any(|latch| latch.digest == Some(digest)) {
            return Ok(Some(("what is held".to_owned(), true)));
        }
        if let Some(parked) = status.parked.iter().find(|parked| parked.digest == digest) {
            return Ok(Some((format!("{} of {}", parked.effect, parked.resource), true)));
        }
        if status.configuration.is_some_and(|configuration| configuration.digest == digest) {
            return Ok(Some(("the loosened configuration".to_owned(), true)));
        }
        let plan = status.plan.is_some_and(|plan| plan.digest == digest || plan.change == digest);
        Ok(plan.then(|| ("the plan".to_owned(), false)))
    }

    /// Returns the applications that are held under one digest: a fleet's approval lets all of them go.
    fn sharing(&self, app: &Application, digest: Digest) -> Result<Vec<Arc<str>>, OperateError> {
        let mut names = vec![app.name.clone()];
        let others = self.config.applications.iter();
        for other in others.filter(|other| other.name != app.name && other.source.url == app.source.url) {
            let Some(report) = self.ledger.get_report(&other.name)? else { continue };
            let status: Status = serde_json::from_str(&report.json)?;
            if status.latches.iter().any(|latch| latch.digest == Some(digest)) {
                names.push(other.name.clone());
            }
        }
        Ok(names)
    }
}

/// What thawing came to.
#[derive(Debug)]
pub struct Thawed {
    /// How many freezes of operators were lifted.
    pub lifted: usize,
    /// What freezes still.
    pub still: Vec<Still>,
}

/// A freeze that an operator's thaw does not lift.
#[derive(Debug)]
pub struct Still {
    /// Which application.
    pub app: Arc<str>,
    /// Who froze it, and why.
    pub message: String,
    /// What lifts it.
    pub lift: &'static str,
}

/// Returns the key under which a change that was shown is remembered.
pub fn shown(app: &Application, change: Digest) -> String {
    format!("{}{change}", shown_prefix(app))
}

/// Returns what begins the keys of all changes of an application that were shown.
pub fn shown_prefix(app: &Application) -> String {
    format!("{}/shown/", app.name)
}

/// Freezes all by a file, when the ledger cannot be used; returns the file.
///
/// # Errors
/// Those of writing it.
pub fn freeze_by_file(config: &Config, what: &Parsed) -> Result<PathBuf, OperateError> {
    let state_dir = &config.controller.state_dir;
    let path = state_dir.join("FREEZE");
    let quoted =
        |key: &str, value: &str| Ok::<_, serde_json::Error>(format!("{key}: {}\n", serde_json::to_string(value)?));
    let mut text = String::new();
    for (key, value) in [("reason", &what.reason), ("owner", &what.owner)] {
        if let Some(value) = value {
            text.push_str(&quoted(key, value)?);
        }
    }
    if let Some(until) = &what.until {
        text.push_str(&format!("until: {until}\n"));
    }
    let written = std::fs::create_dir_all(state_dir).and_then(|()| std::fs::write(&path, text));
    written.map(|()| path.clone()).map_err(|source| OperateError::File { path, source })
}
