//! What wakes whom: the applications of one repository share a thread, a fetch and a fleet judgement.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::act::{Stopped, act};
use super::assess::{Settings, assess};
use super::book::Book;
use super::edges::{LedgerError, Read as _, Rendered};
use super::live::Live;
use super::report;
use crate::config::{Application, Config};
use crate::core::culprit::WantChange;
use crate::core::fleet::{self, Member};
use crate::core::guards::FleetGuards;
use crate::core::ledger::Fact;
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::resource::Digest;
use crate::core::state::{Identity, State};
use crate::store::{self, EVERY};

/// How often the ledger is looked at for what commands wrote: they take effect within a second (`INTERFACE.md`).
const LEDGER_POLL: Duration = Duration::from_millis(250);

/// The shortest time between two cycles that nobody asked for.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

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
}

/// Wakes the applications.
#[derive(Debug, Default)]
pub struct Wake {
    round: Mutex<u64>,
    changed: Condvar,
    /// Set once the controller shall end.
    pub stop: Arc<AtomicBool>,
}

impl Wake {
    /// Wakes all: carries no data, every cycle reads everything it acts on.
    pub fn all(&self) {
        *self.round.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Ends the controller.
    pub fn shut_down(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.all();
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits until something wakes, or the time is over; tells whether something woke.
    fn wait(&self, seen: &mut u64, time: Duration) -> bool {
        let guard = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = self
            .changed
            .wait_timeout_while(guard, time, |round| *round == *seen && !self.stopped())
            .unwrap_or_else(PoisonError::into_inner);
        let woke = *guard != *seen;
        *seen = *guard;
        woke
    }
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
        unreliable: None,
    }
}

/// One application under way.
pub struct Running {
    settings: Settings,
    live: Live,
    book: Book,
    state: State,
    store: store::Ledger,
}

/// How a cycle ended.
struct Ended {
    again: bool,
}

impl Running {
    /// Opens an application.
    ///
    /// # Errors
    /// If its clone, target or ledger cannot be opened.
    pub fn open(
        app: &Application,
        state_dir: &Path,
        store: &store::Ledger,
        epoch: u64,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, RunError> {
        let live = Live::open(app, state_dir, stop)?;
        let (book, state) = Book::open(store, &app.name, epoch)?;
        Ok(Self { settings: settings(app), live, book, state, store: store.clone() })
    }

    /// Runs one whole cycle: assess, act, report.
    fn cycle(&mut self) -> Result<Ended, RunError> {
        self.book.refresh(&mut self.state)?;
        let started = Instant::now();
        let assessment = assess(&self.settings, &mut self.live, &mut self.book, &mut self.state)?;
        self.live.pin(&self.state);
        let stops = act(&self.settings.name, &assessment, &mut self.live, &mut self.book, &mut self.state)?;
        let again = stops.iter().any(|(_, stopped)| matches!(stopped, Stopped::Again(_)));
        let acted = stops.iter().map(|(purpose, stopped)| format!("{purpose:?}: {stopped:?}").to_lowercase()).collect();
        self.live.pin(&self.state);
        let status =
            report::status(&self.settings.name, &assessment, &self.state, started.elapsed().as_secs_f64(), acted);
        let json = serde_json::to_string(&status).map_err(|error| LedgerError::Failed(error.to_string()))?;
        self.store.put_report(&self.settings.name, crate::clock::MachineClock::wall(), &json)?;
        Ok(Ended { again })
    }

    fn member(&mut self) -> Member {
        let tip = self.live.fetch();
        let rendered = tip.as_ref().ok().map(|tip| self.live.render(tip));
        let reached = tip.clone();
        self.live.use_fetched(tip);
        let missing = crate::core::resource::Desired { inputs: Digest::of_parts([b"missing"]), wants: Vec::new() };
        let desired = match &rendered {
            Some(Rendered::Desired(desired)) => Some(desired.as_ref()),
            Some(Rendered::Missing(_)) => Some(&missing),
            Some(Rendered::Broken(_)) | None => None,
        };
        let (converged, live) = (self.state.app.converged.as_ref(), &mut self.live);
        let inside = |changes: &[WantChange]| match (converged, &reached) {
            (Some(old), Ok(new)) => live.change_details(old, new, changes),
            _ => Details::new(),
        };
        Member::new(&self.settings.name, &self.state, desired, &self.settings.guards, inside)
    }
}

/// The applications that track one branch of one repository.
pub struct Group {
    members: Vec<Running>,
    fleet: FleetGuards,
}

impl Group {
    /// Runs one cycle of each application; returns whether something asks for another one at once.
    fn cycle(&mut self) -> Result<bool, RunError> {
        // One fetch for all: the first application's.
        if let Some((first, others)) = self.members.split_first_mut() {
            let tip = first.live.fetch();
            for other in others {
                other.live.use_fetched(tip.clone());
            }
            first.live.use_fetched(tip);
        }
        if self.members.len() > 1 {
            let mut members = Vec::new();
            for running in &mut self.members {
                running.book.refresh(&mut running.state)?;
                members.push(running.member());
            }
            let judged = fleet::judge(&members, &self.fleet);
            for (running, member) in self.members.iter_mut().zip(&members) {
                // Whoever changes nothing is held by nothing.
                let idle = member.magnitude.is_zero();
                let own = |(reasons, digest)| (if idle { Vec::new() } else { reasons }, digest);
                running.settings.fleet = judged.clone().map(own);
            }
        }
        let mut again = false;
        for running in &mut self.members {
            let name = running.settings.name.clone();
            match running.cycle() {
                Ok(ended) => again |= ended.again,
                Err(error) => {
                    tracing::error!(app = %name, %error, "the cycle failed; nothing more is written in it");
                    return Err(error);
                }
            }
        }
        Ok(again)
    }

    /// Returns how long it is until a cycle counts.
    ///
    /// Measured on the clock that counts, not from one cycle's begin to the next one's: fetching takes longer once and
    /// shorter another time, and a cycle that comes a little early would leave its interval's budget unused.
    fn due(&self) -> Duration {
        let reading = crate::clock::MachineClock::read();
        let due = |running: &Running| {
            let interval = running.settings.guards.interval;
            let (Some(clock), Some(at)) = (&running.state.app.clock, running.state.app.counted_at) else {
                return interval;
            };
            let since = Duration::try_from(clock.advance(&reading).now.duration_since(at)).unwrap_or_default();
            interval.saturating_sub(since)
        };
        self.members.iter().map(due).min().unwrap_or(Duration::from_secs(180))
    }

    fn interval(&self) -> Duration {
        self.members.iter().map(|running| running.settings.guards.interval).min().unwrap_or(Duration::from_secs(180))
    }

    /// Runs until the controller ends. A ledger that fails stops nothing but writing: the next cycle tries again.
    fn run(&mut self, wake: &Wake) {
        let mut seen = 0;
        while !wake.stopped() {
            let wait = match self.cycle() {
                Ok(true) => AGAIN_AFTER,
                Ok(false) => self.due().max(AGAIN_AFTER),
                Err(_) => self.interval().max(AGAIN_AFTER),
            };
            wake.wait(&mut seen, wait);
        }
    }
}

/// A controller that is ready to run.
pub struct Controller {
    groups: Vec<Group>,
    store: store::Ledger,
    _lock: store::ControllerLock,
    _scratch: Option<tempfile::TempDir>,
}

impl Controller {
    /// Opens the ledger and every application.
    ///
    /// A ledger that is damaged withholds all writes (latch STATE), and detection goes on from a scratch one.
    ///
    /// # Errors
    /// If another controller runs on the state directory, or an application cannot be opened.
    pub fn open(config: &Config, stop: &Arc<AtomicBool>) -> Result<Self, RunError> {
        let state_dir = &config.controller.state_dir;
        let lock = store::ControllerLock::take(state_dir)?;
        let mut scratch = None;
        let mut unreliable = None;
        let store = match store::Ledger::open(state_dir, store::Mode::Writer) {
            Ok(store) => store,
            Err(error @ store::StoreError::Corrupt { .. }) => {
                let reason = Reason::new("ledger", format!("the ledger cannot be used: {error}"));
                tracing::error!(%error, "the ledger cannot be used: nothing is written until `holdfast reanchor`");
                unreliable = Some(reason);
                let dir = tempfile::tempdir()
                    .map_err(|source| LedgerError::Failed(format!("make a scratch directory: {source}")))?;
                let store = store::Ledger::open(dir.path(), store::Mode::Writer)?;
                scratch = Some(dir);
                store
            }
            Err(error) => return Err(error.into()),
        };
        let epoch = start(&store)?;
        let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
        for app in &config.applications {
            let key = (app.source.url.clone(), app.source.branch.clone());
            let mut running = Running::open(app, state_dir, &store, epoch, stop.clone())?;
            running.settings.unreliable = unreliable.clone();
            groups
                .entry(key)
                .or_insert_with(|| Group { members: Vec::new(), fleet: config.controller.fleet })
                .members
                .push(running);
        }
        Ok(Self { groups: groups.into_values().collect(), store, _lock: lock, _scratch: scratch })
    }

    /// Runs one cycle of each application.
    ///
    /// # Errors
    /// If the ledger fails.
    pub fn once(&mut self) -> Result<(), RunError> {
        let mut failed = None;
        for group in &mut self.groups {
            // What stops an apply in the middle is observed and reported before this ends.
            for _ in 0..3 {
                match group.cycle() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs until `wake` is shut down.
    pub fn run(mut self, wake: &Wake) {
        std::thread::scope(|scope| {
            let watches: Vec<_> = self.watch(wake);
            for group in &mut self.groups {
                scope.spawn(move || group.run(wake));
            }
            let store = self.store.clone();
            scope.spawn(move || poll(&store, wake));
            while !wake.stopped() {
                std::thread::sleep(LEDGER_POLL);
            }
            drop(watches);
        });
    }

    fn watch(&self, wake: &Wake) -> Vec<crate::targets::directory::Watch> {
        let flag = Arc::new(AtomicBool::new(false));
        let _ = (&flag, wake);
        Vec::new()
    }
}

/// Wakes when another process wrote to the ledger.
fn poll(store: &store::Ledger, wake: &Wake) {
    let mut known = store.data_version().ok();
    while !wake.stopped() {
        std::thread::sleep(LEDGER_POLL);
        let now = store.data_version().ok();
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
