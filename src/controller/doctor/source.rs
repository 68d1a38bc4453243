//! The repository: a real fetch of the branch's tip, thrown away.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::Notes;
use crate::config::{Application, Config, Credentials, Transport};
use crate::controller::live::remote_of;
use crate::controller::rendering;
use crate::core::guards::Mode;
use crate::core::resource::Id;
use crate::git::{self, FetchError, Glimpse};

/// A check must end while somebody watches; a first fetch may take longer, which is no fault.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a look at a repository brought: the tip, how long it took, or why not.
pub(super) type Looked = Result<Seen, Missed>;

/// A repository that was reached.
pub(super) struct Seen {
    pub(super) glimpse: Glimpse,
    took: Duration,
}

/// Why a repository was not reached, and what to do.
pub(super) struct Missed {
    message: String,
    advice: String,
}

/// The repositories that were looked at: applications of one repository share a look.
#[derive(Default)]
pub(super) struct Glimpses(BTreeMap<(String, String), Vec<LookedAs>>);

/// As whom it was looked, and what that brought.
type LookedAs = (Credentials, Rc<Looked>);

impl Glimpses {
    /// Looks at an application's repository, unless that was done already as the same user.
    pub(super) fn of(&mut self, app: &Application, config: &Config, stop: &AtomicBool) -> Rc<Looked> {
        let source = &app.source;
        let known = self.0.entry((source.url.clone(), source.branch.clone())).or_default();
        if let Some((_, looked)) = known.iter().find(|(credentials, _)| *credentials == source.credentials) {
            return looked.clone();
        }
        let looked = Rc::new(look(app, &config.controller.state_dir, stop));
        known.push((source.credentials.clone(), looked.clone()));
        looked
    }
}

fn look(app: &Application, state_dir: &Path, stop: &AtomicBool) -> Looked {
    let mut remote = remote_of(app).map_err(|message| Missed {
        message,
        advice: "make the file readable, or correct `source.caFile`".to_owned(),
    })?;
    remote.limits.total = remote.limits.total.min(PATIENCE);
    remote.limits.idle = remote.limits.idle.min(PATIENCE / 2);
    let began = Instant::now();
    let known = git::directory_for(state_dir, &remote.url);
    let glimpse = git::glimpse(&remote, &known, stop).map_err(|error| missed(app, &error))?;
    Ok(Seen { glimpse, took: began.elapsed() })
}

fn missed(app: &Application, error: &FetchError) -> Missed {
    let source = &app.source;
    let advice = match error {
        FetchError::Url { .. } => "correct `source.url`".to_owned(),
        FetchError::Credentials { .. } => "make the file readable for the user that holdfast runs as".to_owned(),
        FetchError::Unauthorized { .. } => "write `source.credentials`, or renew what they hold".to_owned(),
        FetchError::HostKey { .. } => {
            "add the host's key to `knownHostsFile`, once somebody compared it out of band".to_owned()
        }
        FetchError::NotFound { .. } if source.transport == Transport::Local => {
            format!("correct `source.url`, or look with: git ls-remote {}", source.url)
        }
        FetchError::NotFound { .. } => "correct `source.url`, and see whether these credentials may read it".to_owned(),
        FetchError::Unreachable { .. } if error.to_string().contains("invalid peer certificate") => {
            "name its authority in `source.caFile`, if that is yours; otherwise find out who answers there".to_owned()
        }
        FetchError::Unreachable { .. } | FetchError::TimedOut { .. } => {
            "look at name resolution, firewall and proxy (`source.proxy`) between here and the server".to_owned()
        }
        FetchError::BranchMissing { .. } => "correct `source.branch`".to_owned(),
        FetchError::Empty { .. } => format!("push a first commit to {}", source.branch),
        FetchError::Program { .. } => "install it: https alone needs no program".to_owned(),
        _ => "try again; if it stays, see docs/runbook/README.md".to_owned(),
    };
    Missed { message: error.to_string(), advice }
}

/// Says whether the repository is reached and its tip can be rendered; returns what that wants.
pub(super) fn source(app: &Application, looked: &Looked, notes: &mut Notes<'_>) -> Vec<Id> {
    let source = &app.source;
    let mut wanted = Vec::new();
    // What is shown holds no password: a URL that does is refused by the configuration.
    let place = &source.url;
    let seen = match looked {
        Ok(seen) => seen,
        Err(missed) => {
            notes.problem(place, missed.message.clone(), missed.advice.clone());
            return wanted;
        }
    };
    let tip = &seen.glimpse.tip;
    notes.ok(place, format!("{} is at {}, read in {:.1} s", source.branch, tip.short(), seen.took.as_secs_f64()));
    let snapshot = match &seen.glimpse.snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => {
            notes.warning(
                place,
                format!("the branch is there, and its tip could not be had in time: {error}"),
                "nothing, if the repository is large: the controller may take longer (`source.timeout`)",
            );
            return wanted;
        }
    };
    let path = if source.path.is_empty() { "the root" } else { &source.path };
    let renderer = match rendering::renderer(app) {
        Ok(renderer) => renderer,
        Err(error) => {
            notes.problem(place, error.to_string(), "correct `source.path`");
            return wanted;
        }
    };
    match renderer.render(snapshot, tip) {
        Ok(desired) if desired.wants().is_empty() => {
            notes.problem(
                place,
                format!("{path} holds nothing that could be desired"),
                "correct `source.path`, or push what it shall hold",
            );
        }
        Ok(desired) => {
            notes.ok(place, format!("{path} renders to {} resources", desired.wants().len()));
            wanted.extend(desired.wants().iter().map(|want| want.id.clone()));
        }
        Err(error) if error.is_path_missing() => {
            notes.problem(place, format!("there is no {path} at {}", tip.short()), "correct `source.path`");
        }
        Err(error) => notes.problem(
            place,
            format!("{path} does not render at {}: {error}", tip.short()),
            "see docs/runbook/render.md",
        ),
    }
    if app.guards.mode == Mode::Observe {
        notes.ok(place, "mode observe: whatever is found, nothing is written");
    }
    wanted
}
