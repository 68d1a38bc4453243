//! The server's backend: the same views and the same rules as the commands, over the running controller's ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::alerting::Receivers;
use super::book::Stores;
use super::metrics::Metrics;
use super::operate::{Actor, Desk, OperateError, freeze_by_file};
use super::report::Status;
use super::view::{self, ViewError};
use super::wake::Wake;
use crate::clock::MachineClock;
use crate::config::{Application, Config};
use crate::core::freeze::Parsed;
use crate::core::hosting::Named;
use crate::server::{ApproveRequest, Backend, Caller, FreezeRequest, Query, Refusal, ThawRequest, View};

/// How many rows of the journal are returned unless a number is asked for, as the command does.
const ROWS: usize = 50;

/// The most rows of the journal that are returned at once.
const MOST_ROWS: usize = 10_000;

/// How each application's newest cycle ended.
type Looked = BTreeMap<Arc<str>, Result<(), String>>;

/// Whether each application was looked at since the start, and why not, if not.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Looked>>);

impl Readiness {
    /// Notes how an application's newest cycle ended.
    pub fn note(&self, app: &Arc<str>, ended: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(app.clone(), ended);
    }

    /// Drops an application that is worked on no longer.
    pub fn forget(&self, app: &Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    fn of(&self, app: &Arc<str>) -> Result<(), String> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).get(app) {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(format!("the last cycle of {app} failed: {why}")),
            None => Err(format!("{app} has not been looked at yet")),
        }
    }
}

/// The configuration as it is now: applications come and go in a cluster.
#[derive(Clone, Debug)]
pub struct Current(Arc<RwLock<Arc<Config>>>);

impl Current {
    /// Begins with a configuration.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// Returns it as it is now.
    pub fn get(&self) -> Arc<Config> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts these applications in the place of those before.
    pub fn set_applications(&self, applications: Vec<Application>) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Config { controller: current.controller.clone(), applications });
    }
}

/// What the server asks.
pub struct Hub {
    pub(super) config: Current,
    pub(super) stores: Arc<Stores>,
    pub(super) receivers: Arc<Receivers>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Readiness,
    pub(super) wake: Arc<Wake>,
    /// Fresh judgements are made one at a time: each of them fetches.
    pub(super) judging: Mutex<()>,
}

impl Hub {
    fn desk<'a>(&'a self, config: &'a Config) -> Desk<'a> {
        Desk { config, ledger: self.stores.current(), receivers: &self.receivers }
    }

    /// Judges now, as the commands do.
    fn judged(&self, name: Option<&str>) -> Result<Vec<Status>, Refusal> {
        let config = self.config.get();
        let apps = chosen(&config, name)?;
        let _one = self.judging.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = Some(self.stores.current());
        apps.into_iter().map(|app| view::judge(app, &config, ledger, None).map_err(Refusal::from)).collect()
    }

    fn statuses(&self, name: Option<&str>) -> Result<Value, Refusal> {
        let config = self.config.get();
        let mut statuses = Vec::new();
        for app in chosen(&config, name)? {
            statuses.push((app, view::last_status(app, &config, self.stores.current())?));
        }
        Ok(view::status_document(&statuses)?)
    }
}

/// Returns the application that is named, or all.
fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Application>, Refusal> {
    match name {
        None => Ok(config.applications.iter().collect()),
        Some(name) => find(config, name).map(|app| vec![app]),
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Application, Refusal> {
    let none = || Refusal::NotFound(format!("there is no application {name:?} in the configuration"));
    config.application(name).ok_or_else(none)
}

fn names(config: &Config, names: &[String]) -> Result<Vec<Arc<str>>, Refusal> {
    names.iter().map(|name| find(config, name).map(|app| app.name.clone())).collect()
}

impl From<ViewError> for Refusal {
    fn from(error: ViewError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<OperateError> for Refusal {
    fn from(error: OperateError) -> Self {
        let text = error.to_string();
        match error {
            OperateError::NothingHeld { .. } | OperateError::Used { .. } => Self::Conflict(text),
            OperateError::NotAnApprover(_) => Self::Forbidden(text),
            OperateError::Store(_)
            | OperateError::Commit(_)
            | OperateError::Busy
            | OperateError::Json(_)
            | OperateError::File { .. } => Self::Unavailable(text),
        }
    }
}

/// Returns how the ledger names a caller.
fn actor(caller: &Caller) -> Actor {
    let via = match caller {
        Caller::Operator | Caller::Principal(_) => "api",
        Caller::FreezeSecret => "webhook",
    };
    Actor { by: caller.name().into(), via }
}

/// Refuses whoever can freeze and nothing else.
fn operator(caller: &Caller) -> Result<Actor, Refusal> {
    match caller {
        Caller::FreezeSecret => Err(Refusal::Forbidden("this secret can freeze and nothing else".to_owned())),
        Caller::Operator | Caller::Principal(_) => Ok(actor(caller)),
    }
}

impl Backend for Hub {
    fn now(&self) -> Timestamp {
        MachineClock::wall()
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(reason) = self.stores.lost() {
            return Err(reason.message.clone());
        }
        self.config.get().applications.iter().try_for_each(|app| self.readiness.of(&app.name))
    }

    fn read(&self, view: View, query: &Query) -> Result<Value, Refusal> {
        let name = query.application.as_deref();
        match view {
            View::Status => self.statuses(name),
            View::Drift => Ok(view::drift_document(&self.judged(name)?)),
            View::Plan => Ok(view::plan_document(&self.judged(name)?)?),
            View::History => {
                let last = query.last.unwrap_or(ROWS).min(MOST_ROWS);
                let config = self.config.get();
                let rows = view::history(&chosen(&config, name)?, self.stores.current(), last)?;
                Ok(view::history_document(&rows))
            }
        }
    }

    fn metrics(&self) -> Result<String, Refusal> {
        self.metrics.text().map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    fn freeze(&self, request: &FreezeRequest, by: &Caller) -> Result<Value, Refusal> {
        let FreezeRequest { applications, reason, owner, until } = request;
        let config = self.config.get();
        let names = names(&config, applications)?;
        let what = Parsed { reason: reason.clone(), owner: owner.clone(), until: *until, ..Parsed::default() };
        match self.desk(&config).freeze(&names, &what, &actor(by)) {
            Ok(()) => {}
            // As the command does: freezing works with everything else down.
            Err(error) if names.is_empty() => {
                let file = freeze_by_file(&config, &what)?;
                tracing::error!(%error, file = %file.display(), "the ledger cannot be used; frozen by a file");
            }
            Err(error) => return Err(error.into()),
        }
        tracing::warn!(by = by.name(), applications = ?names, reason = reason.as_deref().unwrap_or_default(), "frozen");
        Ok(json!({ "frozen": if names.is_empty() { json!("all") } else { json!(names) } }))
    }

    fn thaw(&self, request: &ThawRequest, by: &Caller) -> Result<Value, Refusal> {
        let ThawRequest { applications, all, reason } = request;
        let actor = operator(by)?;
        if applications.is_empty() != *all {
            return Err(Refusal::Invalid("name the applications, or say all".to_owned()));
        }
        let config = self.config.get();
        let thawed = self.desk(&config).thaw(&names(&config, applications)?, reason.as_deref(), &actor)?;
        tracing::warn!(by = by.name(), ?applications, lifted = thawed.lifted, "thawed");
        let still: Vec<Value> = thawed
            .still
            .iter()
            .map(|still| json!({ "application": still.app, "message": still.message, "clear": still.lift }))
            .collect();
        Ok(json!({ "lifted": thawed.lifted, "still": still }))
    }

    fn approve(&self, request: &ApproveRequest, by: &Caller) -> Result<Value, Refusal> {
        let ApproveRequest { application, digest, reason } = request;
        let actor = operator(by)?;
        let config = self.config.get();
        let app = find(&config, application)?;
        let what = self.desk(&config).approve(app, *digest, &actor)?;
        tracing::info!(app = %app.name, %digest, by = by.name(), reason = reason.as_deref().unwrap_or_default(), "approved by API");
        let mut answer = json!({ "approved": digest, "by": actor.by });
        answer["what"] = match what {
            Some(what) => json!(what),
            None => json!("nothing has this digest now: kept as a pre-approval"),
        };
        Ok(answer)
    }

    fn wake(&self) {
        self.wake.nudge();
    }

    fn wake_for(&self, repository: &Named) -> usize {
        self.wake.nudge_for(repository)
    }

    fn delivery_seen(&self, id: &str) -> Result<bool, Refusal> {
        let seen = self.stores.current().delivery_seen(id, MachineClock::wall());
        seen.map_err(|error| Refusal::Unavailable(error.to_string()))
    }
}
