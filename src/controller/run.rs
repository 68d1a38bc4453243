//! What wakes whom: the applications of one repository share a thread, a fetch and a fleet judgement.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::alerting::{Courier, Receivers};
use super::assess::Settings;
use super::book::Stores;
use super::edges::LedgerError;
use super::group::{Common, Group, Running};
use super::metrics::Metrics;
use super::serve::{Hub, Readiness};
use super::tell::Teller;
pub use super::wake::Wake;
use super::watches::Watched;
use crate::config::{Application, Config};
use crate::core::claims::Claims;
use crate::core::ledger::Fact;
use crate::core::state::Identity;
use crate::server::Server;
use crate::store::{self, EVERY};

/// How often the ledger is looked at for what commands wrote: they take effect within a second (`INTERFACE.md`).
const LEDGER_POLL: Duration = Duration::from_millis(250);

/// How often the controller looks whether it shall end, and after its watches.
const TEND: Duration = Duration::from_millis(100);

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Another controller runs on this state directory.
    #[error(transparent)]
    Lock(#[from] store::LockError),
    /// An application cannot be opened.
    #[error(transparent)]
    Open(#[from] super::live::OpenError),
    /// The ledger failed while running.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// HTTP cannot be served.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Alerts cannot be sent.
    #[error(transparent)]
    Alerts(#[from] crate::alerts::SetupError),
}

/// Returns what the loop needs of an application's configuration.
pub fn settings(app: &Application) -> Settings {
    let identity = Identity {
        url: crate::git::Remote::new(app.source.url.clone(), app.source.branch.clone()).url.to_string().into(),
        branch: app.source.branch.as_str().into(),
        path: app.source.path.as_str().into(),
        renderer: format!("{} 1", app.source.render.as_str()).into(),
        target: app
            .target
            .root()
            .map_or_else(|| app.target.identity().to_string(), |root| root.display().to_string())
            .into(),
    };
    Settings {
        name: app.name.clone(),
        guards: app.guards.clone(),
        policy: app.trust.policy.clone(),
        guards_digest: app.guards_digest(),
        identity,
        fleet: None,
        claims: Claims::default(),
        unreliable: None,
    }
}

/// A controller that is ready to run.
pub struct Controller {
    config: Config,
    groups: Vec<Group>,
    common: Common,
    receivers: Arc<Receivers>,
    courier: Option<Courier>,
    wake: Arc<Wake>,
    _lock: store::ControllerLock,
}

impl Controller {
    /// Opens the ledger and every application.
    ///
    /// A ledger that is damaged withholds all writes (latch STATE), and detection goes on from a scratch one.
    ///
    /// # Errors
    /// If another controller runs on the state directory, or an application cannot be opened.
    pub fn open(config: &Config, wake: &Arc<Wake>) -> Result<Self, RunError> {
        let state_dir = &config.controller.state_dir;
        let lock = store::ControllerLock::take(state_dir)?;
        let stores = Arc::new(Stores::open(state_dir)?);
        let epoch = start(stores.current())?;
        let kinds = config.applications.iter().map(|app| (&app.name, app.target.kind()));
        let metrics = Arc::new(Metrics::new(kinds));
        let receivers = Arc::new(Receivers::of(&config.controller.notify));
        let courier = Courier::new(&config.controller.notify, &stores)?;
        let common =
            Common { stores, metrics: metrics.clone(), readiness: Readiness::default(), claims: Arc::default(), epoch };
        let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
        for app in &config.applications {
            let key = (app.source.url.clone(), app.source.branch.clone());
            let teller = Teller::new(app.name.clone(), app.target.kind(), receivers.clone(), metrics.clone());
            let running = Running::open(app, state_dir, &common, teller, wake)?;
            groups.entry(key).or_insert_with(|| Group::new(config.controller.fleet)).push(running);
        }
        let (config, groups) = (config.clone(), groups.into_values().collect());
        Ok(Self { config, groups, common, receivers, courier, wake: wake.clone(), _lock: lock })
    }

    /// Runs one cycle of each application.
    ///
    /// # Errors
    /// If the ledger fails; the other applications have had their cycles then too.
    pub fn once(&mut self) -> Result<(), RunError> {
        let mut failed = None;
        for group in &mut self.groups {
            // What stops an apply in the middle is observed and reported before this ends.
            for _ in 0..3 {
                let round = group.cycle();
                let again = round.again && round.failed.is_none();
                failed = failed.or(round.failed);
                if !again {
                    break;
                }
            }
        }
        if let Some(courier) = &self.courier {
            courier.once();
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs until it is told to shut down: what is being written is finished and recorded first.
    ///
    /// # Errors
    /// If HTTP cannot be served where the configuration says.
    pub fn run(mut self) -> Result<(), RunError> {
        let server = self.serve()?;
        let wake = &self.wake;
        let mut watches: Vec<Watched> = watch(&self.groups, wake);
        std::thread::scope(|scope| {
            for (at, group) in self.groups.iter_mut().enumerate() {
                scope.spawn(move || group.run(at, wake));
            }
            if let Some(courier) = &self.courier {
                courier.run(scope, wake);
            }
            let stores = &self.common.stores;
            scope.spawn(move || poll(stores, wake));
            while !wake.stopped() {
                watches.iter_mut().for_each(|watch| {
                    watch.tend(wake);
                });
                std::thread::sleep(TEND);
            }
        });
        if let Some(server) = server {
            server.stop();
        }
        tracing::info!("ended");
        Ok(())
    }

    fn serve(&self) -> Result<Option<Server>, RunError> {
        let Some(address) = self.config.controller.listen else { return Ok(None) };
        let hub = Hub {
            config: self.config.clone(),
            stores: self.common.stores.clone(),
            receivers: self.receivers.clone(),
            metrics: self.common.metrics.clone(),
            readiness: self.common.readiness.clone(),
            wake: self.wake.clone(),
            judging: Mutex::new(()),
        };
        let controller = &self.config.controller;
        let server = Server::start(address, &controller.webhooks, &controller.api, Arc::new(hub));
        server.map(Some).map_err(|source| RunError::Listen { address, source })
    }
}

/// Watches every target that is a directory.
fn watch(groups: &[Group], wake: &Arc<Wake>) -> Vec<Watched> {
    let mut watches = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        for running in group.members() {
            let app = running.application();
            if let Some(root) = app.target.root() {
                watches.push(Watched::start(app.name.clone(), root.to_owned(), at, running.note(), wake));
            }
        }
    }
    watches
}

/// Wakes when another process wrote to the ledger.
fn poll(stores: &Stores, wake: &Wake) {
    let mut known = stores.current().data_version().ok();
    while !wake.stopped() {
        std::thread::sleep(LEDGER_POLL);
        let now = stores.current().data_version().ok();
        if now != known {
            known = now;
            wake.all();
        }
    }
}

/// Journals the start of a writer; returns how many there were.
fn start(store: &store::Ledger) -> Result<u64, RunError> {
    for _ in 0..20 {
        let mut every = store.load(EVERY)?;
        let fact = Fact::Noticed {
            kind: "started".into(),
            message: format!("controller started, version {}", env!("CARGO_PKG_VERSION")),
        };
        match store.commit(EVERY, every.seq, &[fact], &mut every, None) {
            Ok(seq) => return Ok(seq),
            Err(store::CommitError::Moved { .. }) => {}
            Err(error) => return Err(LedgerError::Failed(error.to_string()).into()),
        }
    }
    Err(LedgerError::Failed("journal the start: other processes kept writing".to_owned()).into())
}
