//! The controller inside a cluster: Applications come from the API, what happens to them is told there, and a Lease says who
//! may write.
//!
//! - [`right`]: whether this process may write now.
//! - [`herald`], `projection` and `tidings`: statuses and events.
//! - [`snapshot`]: the Applications as they were last read, for commands beside the controller.

pub mod herald;
mod projection;
pub mod right;
pub mod snapshot;
mod tidings;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::herald::Herald;
use self::right::Right;
use super::roster::Roster;
use super::serve::Current;
use super::wake::Wake;
use crate::clock::MachineClock;
use crate::cluster::applications::{Applications, Found};
use crate::cluster::client::{Access, ApiError, Client};
use crate::cluster::lease::{Lease, Tenure};
use crate::cluster::status::SpecError;
use crate::config::{Application, ConfigError, Controller, InCluster, Resource, load_resources};
use crate::core::tenure::{RENEW_MS, ordinal, owner};

/// How soon a list that failed is tried again.
const LIST_AGAIN: Duration = Duration::from_secs(2);

/// How often everything is listed although no watch said so: files that were missing appear, and a watch may miss.
const LIST_ANYWAY: Duration = Duration::from_secs(60);

/// How long changes are gathered before they are taken up: one `kubectl apply` of many is one change.
const GATHER: Duration = Duration::from_millis(100);

/// How soon a watch that failed is begun again.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// Why the controller cannot work inside a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The API server cannot be reached as configured.
    #[error("reach the cluster: {0}")]
    Access(#[source] ApiError),
    /// The Applications cannot be listed.
    #[error("list the Applications: {0}")]
    List(#[source] ApiError),
    /// The pod's name does not say which replica it is.
    #[error(
        "tell which of {replicas} replicas this is from the pod's name {pod:?}: it must end in a hyphen and a number below that"
    )]
    Ordinal {
        /// The pod's name.
        pod: String,
        /// How many there are.
        replicas: u32,
    },
    /// The Lease could not be had.
    #[error("hold the Lease: {0}")]
    Lease(String),
}

/// The cluster that a controller works in.
pub struct Cluster {
    controller: Controller,
    settings: InCluster,
    applications: Applications,
    replica: u32,
    lease: Mutex<Lease>,
    right: Right,
    herald: Arc<Herald>,
    snapshot: PathBuf,
    changed: AtomicBool,
}

impl Cluster {
    /// Prepares to work in a cluster as one replica; `pod` is the pod's name, and `instance` no other process has.
    ///
    /// # Errors
    /// If the API server cannot be reached as configured, or the pod's name says no replica.
    pub fn open(
        controller: &Controller,
        settings: &InCluster,
        pod: Option<&str>,
        epoch: u64,
    ) -> Result<Self, ClusterError> {
        let pod = pod.unwrap_or("holdfast-0");
        let replicas = settings.replicas;
        let replica = ordinal(pod).filter(|replica| *replica < replicas);
        let replica = replica.ok_or_else(|| ClusterError::Ordinal { pod: pod.to_owned(), replicas })?;
        let access = Access { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
        let client = Client::open(&access).map_err(ClusterError::Access)?;
        let namespace = settings.namespace.as_deref().unwrap_or_else(|| client.namespace()).to_owned();
        // No two processes have it, also where the pod's name is the same again after a restart.
        let instance: Arc<str> =
            format!("{pod}_{}_{:x}", std::process::id(), MachineClock::wall().as_microsecond()).into();
        let right = Right::by_lease();
        let applications = Applications::new(client.clone(), &settings.namespaces);
        let herald = Arc::new(Herald::new(
            client.clone(),
            applications.clone(),
            instance.clone(),
            format!("{namespace}/{pod}").into(),
            right.clone(),
        ));
        let lease = Mutex::new(Lease::new(client, &namespace, pod, &instance, epoch));
        let snapshot = snapshot::file(&controller.state_dir);
        let (controller, settings) = (controller.clone(), settings.clone());
        Ok(Self {
            controller,
            settings,
            applications,
            replica,
            lease,
            right,
            herald,
            snapshot,
            changed: AtomicBool::new(true),
        })
    }

    /// Returns the right to write that the Lease gives.
    pub fn right(&self) -> Right {
        self.right.clone()
    }

    /// Returns what tells the cluster.
    pub fn herald(&self) -> Arc<Herald> {
        self.herald.clone()
    }

    /// Reads all Applications, and takes up those of this replica's repositories.
    fn take_up(&self, roster: &mut Roster, current: &Current) -> Result<(), ApiError> {
        let mut listed = self.applications.list()?;
        // An Application that is deleted or renamed leaves its resources untouched (`GUARDS.md` 3.6).
        listed.retain(|found| !found.leaving);
        let resources: Vec<Resource<'_>> = listed.iter().map(resource).collect();
        let loaded = load_resources(&self.controller, &self.settings, &resources);
        let mut wanted: Vec<(&Found, Application)> = Vec::new();
        let mut wrong: Vec<(&Found, Vec<ConfigError>)> = Vec::new();
        for (found, loaded) in listed.iter().zip(loaded) {
            let url = found.spec.pointer("/source/url").and_then(serde_json::Value::as_str).unwrap_or_default();
            if owner(url, self.settings.replicas) != self.replica {
                continue;
            }
            match loaded {
                Ok(app) => wanted.push((found, app)),
                Err(errors) => wrong.push((found, errors)),
            }
        }
        let applications: Vec<Application> = wanted.iter().map(|(_, app)| app.clone()).collect();
        snapshot::write(&self.snapshot, wanted.iter().map(|(found, _)| resource(found)));
        self.herald.follow(&wanted.iter().map(|(found, _)| *found).collect::<Vec<_>>());
        let unopened = roster.take_up(&applications);
        // One that cannot be opened is told in its status; it must not keep the pod from being ready.
        let opens = |app: &Application| !unopened.iter().any(|(name, _)| *name == app.name);
        current.set_applications(applications.into_iter().filter(opens).collect());
        for (found, errors) in wrong {
            self.herald.invalid(found, &projection::spec_errors(&errors));
        }
        for (name, error) in unopened {
            tracing::error!(app = %name, %error, "cannot be worked on; it is tried again");
            let Some((found, _)) = wanted.iter().find(|(_, app)| app.name == name) else { continue };
            let what = SpecError { field: "spec".to_owned(), what: error.to_string(), hint: String::new() };
            self.herald.invalid(found, &[what]);
        }
        Ok(())
    }

    /// Runs one cycle of each application of this replica.
    ///
    /// # Errors
    /// If the Applications cannot be read, or the Lease is held by another process.
    pub fn once(&self, roster: &mut Roster, current: &Current) -> Result<Option<super::run::RunError>, ClusterError> {
        let begun = Instant::now();
        // Another one's Lease is over after it was seen unchanged for its whole duration.
        while !self.attempt() {
            if begun.elapsed() > Duration::from_secs(20) {
                let why = self.right.withheld().map(|reason| reason.message).unwrap_or_default();
                return Err(ClusterError::Lease(why));
            }
            std::thread::sleep(LIST_AGAIN.min(Duration::from_millis(500)));
        }
        self.take_up(roster, current).map_err(ClusterError::List)?;
        let failed = roster.once();
        // Cycles may take longer than the Lease holds.
        self.attempt();
        self.herald.pass();
        self.give_back();
        Ok(failed)
    }

    /// Works until the controller ends; groups follow the Applications.
    pub fn run(&self, roster: &mut Roster, current: &Current, wake: &Arc<Wake>, tend: Duration) {
        roster.start();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.renew(wake, &over));
            scope.spawn(|| self.herald.run(|| over.load(Ordering::Relaxed)));
            for namespace in self.applications.namespaces() {
                scope.spawn(|| self.watch(namespace.as_deref(), wake));
            }
            let mut due = Instant::now();
            while !wake.stopped() {
                if self.changed.swap(false, Ordering::Relaxed) {
                    due = due.min(Instant::now() + GATHER);
                }
                if Instant::now() >= due {
                    due = Instant::now() + LIST_ANYWAY;
                    if let Err(error) = self.take_up(roster, current) {
                        tracing::warn!(%error, "the Applications cannot be listed; those that are known go on");
                        due = Instant::now() + LIST_AGAIN;
                    }
                }
                roster.tend();
                std::thread::sleep(tend);
            }
            // The Lease is kept until the last write is recorded.
            roster.end();
            over.store(true, Ordering::Relaxed);
        });
        self.give_back();
    }

    /// Takes or renews the Lease, and tells whether it is ours.
    fn attempt(&self) -> bool {
        // Read before asking: what the answer took is not added to what is trusted.
        let uptime = MachineClock::read().uptime_ms;
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        match lease.attempt(uptime, MachineClock::wall()) {
            Ok(Tenure::Ours) => {
                if !self.right.held() {
                    tracing::info!(replica = self.replica, "the Lease is held: what is let through may be written");
                }
                self.right.renewed(uptime);
                return true;
            }
            Ok(Tenure::Others(holder)) => {
                if self.right.held() {
                    tracing::error!(%holder, "the Lease was lost: nothing more is written");
                }
                self.right.lost(holder);
            }
            // Trusted until its time is over.
            Err(error) => tracing::warn!(%error, "the Lease could not be renewed"),
        }
        false
    }

    fn renew(&self, wake: &Wake, over: &AtomicBool) {
        let every = Duration::from_millis(RENEW_MS.unsigned_abs());
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let before = self.right.held();
            let held = self.attempt();
            if held && !before {
                // What may be written now was found by cycles that could not.
                wake.all();
            }
            // Who waits for it looks more often, so that little time passes without anybody.
            let wait = if held { every } else { every / 4 };
            while begun.elapsed() < wait && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn give_back(&self) {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = lease.give_back() {
            tracing::warn!(%error, "the Lease was not given back; the next holder waits until it is over");
        }
    }

    fn watch(&self, namespace: Option<&str>, wake: &Wake) {
        while !wake.stopped() {
            let woken = || self.changed.store(true, Ordering::Relaxed);
            match self.applications.watch(namespace, || wake.stopped(), woken) {
                // What happened between two watches is listed.
                Ok(()) => self.changed.store(true, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!(%error, "the Applications cannot be watched; they are listed instead");
                    let begun = Instant::now();
                    while begun.elapsed() < WATCH_AGAIN && !wake.stopped() {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            }
        }
    }
}

fn resource(found: &Found) -> Resource<'_> {
    Resource { namespace: &found.place.namespace, name: &found.place.name, spec: &found.spec }
}
