//! What wakes whom: the applications of one repository share a thread, a fetch and a fleet judgement.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::alerting::{Courier, Receivers};
use super::assess::Settings;
use super::book::Stores;
use super::edges::LedgerError;
use super::group::Common;
use super::hosting::{Liaison, place};
use super::incluster::{Cluster, ClusterError};
use super::metrics::Metrics;
use super::roster::Roster;
use super::serve::{Current, Hub, Readiness};
pub use super::wake::Wake;
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
    /// The hosting services cannot be asked.
    #[error(transparent)]
    Hosting(#[from] crate::forges::SetupError),
    /// What asks the hosting services cannot be started.
    #[error("start what asks the hosting services")]
    Runtime(#[source] std::io::Error),
    /// The cluster cannot be worked in.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Returns what the loop needs of an application's configuration.
pub fn settings(app: &Application) -> Settings {
    let identity = Identity {
        url: crate::git::Remote::new(app.source.url.clone(), app.source.branch.clone()).url.to_string().into(),
        branch: app.source.branch.as_str().into(),
        path: app.source.path.as_str().into(),
        renderer: super::rendering::identity(app).into(),
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
    config: Current,
    roster: Roster,
    common: Common,
    receivers: Arc<Receivers>,
    courier: Option<Courier>,
    liaison: Option<Liaison>,
    cluster: Option<Cluster>,
    wake: Arc<Wake>,
    _lock: store::ControllerLock,
}

impl Controller {
    /// Opens the ledger and every application; `pod` names the pod, where it is one of several replicas.
    ///
    /// A ledger that is damaged withholds all writes (latch STATE), and detection goes on from a scratch one.
    ///
    /// # Errors
    /// If another controller runs on the state directory, or an application cannot be opened.
    pub fn open(config: &Config, pod: Option<&str>, wake: &Arc<Wake>) -> Result<Self, RunError> {
        let controller = &config.controller;
        let lock = store::ControllerLock::take(&controller.state_dir)?;
        let stores = Arc::new(Stores::open(&controller.state_dir)?);
        let epoch = start(stores.current())?;
        let metrics = Arc::new(Metrics::new([]));
        let receivers = Arc::new(Receivers::of(&controller.notify));
        let courier = Courier::new(&controller.notify, &stores)?;
        let open = |settings| Cluster::open(controller, settings, pod, epoch);
        let cluster = controller.cluster.as_ref().map(open).transpose()?;
        let common = Common {
            stores,
            metrics,
            readiness: Readiness::default(),
            claims: Arc::default(),
            services: place::services(&controller.forges)?,
            epoch,
            right: cluster.as_ref().map(Cluster::right).unwrap_or_default(),
            herald: cluster.as_ref().map(Cluster::herald),
        };
        let (fleet, state_dir) = (controller.fleet, controller.state_dir.clone());
        let mut roster = Roster::new(common.clone(), receivers.clone(), fleet, state_dir, wake.clone());
        if let Some((_, error)) = roster.take_up(&config.applications).into_iter().next() {
            return Err(error);
        }
        let config = Current::new(config.clone());
        let liaison = Liaison::new(&config, &common, &receivers).map_err(RunError::Runtime)?;
        Ok(Self { config, roster, common, receivers, courier, liaison, cluster, wake: wake.clone(), _lock: lock })
    }

    /// Runs one cycle of each application.
    ///
    /// # Errors
    /// If the ledger fails; the other applications have had their cycles then too.
    pub fn once(&mut self) -> Result<(), RunError> {
        let failed = match &self.cluster {
            Some(cluster) => cluster.once(&mut self.roster, &self.config)?,
            None => self.roster.once(),
        };
        if let Some(courier) = &self.courier {
            courier.once();
        }
        if let Some(liaison) = &self.liaison {
            liaison.once(&self.wake);
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
        std::thread::scope(|scope| {
            if let Some(courier) = &self.courier {
                courier.run(scope, wake);
            }
            if let Some(liaison) = &self.liaison {
                liaison.run(scope, wake);
            }
            let stores = &self.common.stores;
            scope.spawn(move || poll(stores, wake));
            match &self.cluster {
                Some(cluster) => cluster.run(&mut self.roster, &self.config, wake, TEND),
                None => {
                    self.roster.start();
                    while !wake.stopped() {
                        self.roster.tend();
                        std::thread::sleep(TEND);
                    }
                    self.roster.end();
                }
            }
        });
        if let Some(server) = server {
            server.stop();
        }
        tracing::info!("ended");
        Ok(())
    }

    fn serve(&self) -> Result<Option<Server>, RunError> {
        let config = self.config.get();
        let Some(address) = config.controller.listen else { return Ok(None) };
        let hub = Hub {
            config: self.config.clone(),
            stores: self.common.stores.clone(),
            receivers: self.receivers.clone(),
            metrics: self.common.metrics.clone(),
            readiness: self.common.readiness.clone(),
            wake: self.wake.clone(),
            judging: Mutex::new(()),
        };
        let controller = &config.controller;
        let server = Server::start(address, &controller.webhooks, &controller.api, Arc::new(hub));
        server.map(Some).map_err(|source| RunError::Listen { address, source })
    }
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
