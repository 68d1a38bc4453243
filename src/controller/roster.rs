//! The groups that run: which there are follows the configuration, also while they run.
//!
//! Another application of a repository makes that repository's group anew, once what it was writing is recorded; no other
//! group notices. An application that cannot be opened stops no other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::alerting::Receivers;
use super::group::{Common, Group, Round, Running};
use super::run::RunError;
use super::tell::Teller;
use super::wake::Wake;
use super::watches::Watched;
use crate::config::Application;
use crate::core::guards::FleetGuards;

/// How soon an application that could not be opened is tried again: files appear and people mend them.
const OPEN_AGAIN: Duration = Duration::from_secs(60);

/// A repository's address and a branch.
type Key = (String, String);

/// All groups of a controller.
pub struct Roster {
    common: Common,
    receivers: Arc<Receivers>,
    fleet: FleetGuards,
    state_dir: PathBuf,
    wake: Arc<Wake>,
    groups: BTreeMap<Key, Kept>,
    next: usize,
    started: bool,
}

/// One group, running or not.
struct Kept {
    at: usize,
    wanted: Vec<Application>,
    failed: bool,
    opened: Instant,
    stop: Arc<AtomicBool>,
    work: Work,
    watches: Vec<Watched>,
}

enum Work {
    Idle(Box<Group>),
    Busy(JoinHandle<()>),
}

/// What could not be opened, and why.
pub type Unopened = Vec<(Arc<str>, RunError)>;

impl Roster {
    /// Makes a roster without groups.
    pub fn new(
        common: Common,
        receivers: Arc<Receivers>,
        fleet: FleetGuards,
        state_dir: PathBuf,
        wake: Arc<Wake>,
    ) -> Self {
        Self { common, receivers, fleet, state_dir, wake, groups: BTreeMap::new(), next: 0, started: false }
    }

    /// Makes the groups that these applications want, and ends the others.
    pub fn take_up(&mut self, wanted: &[Application]) -> Unopened {
        let mut by_key: BTreeMap<Key, Vec<Application>> = BTreeMap::new();
        for app in wanted {
            by_key.entry((app.source.url.clone(), app.source.branch.clone())).or_default().push(app.clone());
        }
        let stays = |key: &Key, kept: &Kept| {
            let again = kept.failed && kept.opened.elapsed() >= OPEN_AGAIN;
            by_key.get(key) == Some(&kept.wanted) && !again
        };
        let over: Vec<Key> =
            self.groups.iter().filter(|(key, kept)| !stays(key, kept)).map(|(key, _)| key.clone()).collect();
        let ended: Vec<Kept> = over.iter().filter_map(|key| self.groups.remove(key)).collect();
        // All are told first, so that they end at the same time.
        ended.iter().for_each(|kept| self.tell_to_end(kept));
        for kept in ended {
            for app in kept.wanted.iter().filter(|app| !wanted.iter().any(|other| other.name == app.name)) {
                tracing::info!(app = %app.name, "worked on no longer; what it manages is left as it is");
                self.forget(&app.name);
            }
            let at = kept.at;
            join(kept);
            self.wake.dismiss(at);
        }
        let mut unopened = Vec::new();
        for (key, apps) in by_key {
            if !self.groups.contains_key(&key) {
                let kept = self.open(apps, &mut unopened);
                self.groups.insert(key, kept);
            }
        }
        unopened
    }

    fn open(&mut self, wanted: Vec<Application>, unopened: &mut Unopened) -> Kept {
        let at = self.next;
        self.next += 1;
        let stop = Arc::new(AtomicBool::new(false));
        let mut group = Group::new(self.fleet);
        let before = unopened.len();
        let nudges = self.wake.enlist(at, wanted.first().map_or("", |app| &app.source.url));
        for app in &wanted {
            self.common.metrics.begin(&app.name, app.target.kind());
            let (receivers, metrics) = (self.receivers.clone(), self.common.metrics.clone());
            let teller = Teller::new(app.name.clone(), app.target.kind(), receivers, metrics);
            let teller = teller.with_herald(self.common.herald.clone());
            match Running::open(app, &self.state_dir, &self.common, teller, nudges.clone(), &stop) {
                Ok(running) => group.push(running),
                Err(error) => unopened.push((app.name.clone(), error)),
            }
        }
        let failed = unopened.len() > before;
        let work = Work::Idle(Box::new(group));
        let mut kept = Kept { at, wanted, failed, opened: Instant::now(), stop, work, watches: Vec::new() };
        if self.started {
            start(&mut kept, &self.wake);
        }
        kept
    }

    /// Lets every group run in a thread of its own, those that come later too.
    pub fn start(&mut self) {
        self.started = true;
        let wake = self.wake.clone();
        self.groups.values_mut().for_each(|kept| start(kept, &wake));
    }

    /// Looks after the watches.
    pub fn tend(&mut self) {
        for watch in self.groups.values_mut().flat_map(|kept| &mut kept.watches) {
            watch.tend(&self.wake);
        }
    }

    /// Runs one cycle of each application, before they are started.
    pub fn once(&mut self) -> Option<RunError> {
        let mut failed = None;
        for kept in self.groups.values_mut() {
            let Work::Idle(group) = &mut kept.work else { continue };
            // What stops an apply in the middle is observed and reported before this ends.
            for _ in 0..3 {
                let Round { again, failed: error } = group.cycle();
                let again = again && error.is_none();
                failed = failed.or(error);
                if !again {
                    break;
                }
            }
        }
        failed
    }

    /// Ends all groups: what is being written is finished and recorded first.
    pub fn end(&mut self) {
        let all = std::mem::take(&mut self.groups);
        all.values().for_each(|kept| self.tell_to_end(kept));
        all.into_values().for_each(join);
    }

    fn tell_to_end(&self, kept: &Kept) {
        kept.stop.store(true, Ordering::Relaxed);
        self.wake.group(kept.at);
    }

    fn forget(&self, app: &Arc<str>) {
        self.common.metrics.end(app);
        self.common.claims.forget(app);
        self.common.readiness.forget(app);
    }
}

fn start(kept: &mut Kept, wake: &Arc<Wake>) {
    let (at, stop, wake) = (kept.at, kept.stop.clone(), wake.clone());
    let Work::Idle(group) = &mut kept.work else { return };
    kept.watches = watch(at, group, &wake);
    let mut group = std::mem::replace(group, Box::new(Group::new(FleetGuards::default())));
    kept.work = Work::Busy(std::thread::spawn(move || group.run(at, &wake, &stop)));
}

fn join(kept: Kept) {
    if let Work::Busy(thread) = kept.work
        && thread.join().is_err()
    {
        tracing::error!(applications = ?kept.wanted.iter().map(|app| &app.name).collect::<Vec<_>>(), "a thread ended in a panic");
    }
}

/// Watches every target that can be watched.
fn watch(at: usize, group: &Group, wake: &Arc<Wake>) -> Vec<Watched> {
    let watched = |running: &Running| {
        let app = running.application();
        Some(Watched::start(app.name.clone(), running.watcher()?, at, running.note(), wake))
    };
    group.members().iter().filter_map(watched).collect()
}
