//! Everything outside the controller, and what is remembered of it to judge the controller by.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ledger::Store;
use super::oracle::Eye;
use super::process::Controller;
use super::random::Random;
use super::repository::Repository;
use super::rival::Backup;
use super::rollouts::FleetEye;
use super::target::{Object, Target};
use crate::controller::assess::Settings;
use crate::core::clock::Reading;
use crate::core::commit::CommitId;
use crate::core::guards::{FleetGuards, Guards};
use crate::core::resource::{AnchorSeen, Digest, Id};
use crate::core::weaken::Weakened;

/// When every script begins, in seconds since the epoch.
const BEGIN: i64 = 1_780_000_000;

/// The payload of an unwinding that stands for a crash: everything volatile is lost.
pub struct Crash;

/// The payload of an unwinding after an invariant was broken.
pub struct Stop;

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What happened.
    pub message: String,
}

/// How often what goes wrong, in a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// The target cannot be observed.
    pub observe: u32,
    /// One resource cannot be read.
    pub unread: u32,
    /// The repository cannot be fetched.
    pub fetch: u32,
    /// A write is refused.
    pub refuse: u32,
    /// A write lands, and nobody says so.
    pub unknown: u32,
    /// The target cannot be claimed.
    pub claim: u32,
    /// The ledger fails before it wrote.
    pub before: u32,
    /// The ledger fails after it wrote.
    pub after: u32,
    /// Something happens between two calls.
    pub meanwhile: u32,
    /// What is written takes its time to work.
    pub slow: u32,
    /// Another controller runs a whole cycle between two calls of this one.
    pub rival: u32,
}

/// What one process last saw of one application.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The tip that was fetched in this cycle.
    pub tip: Option<CommitId>,
    /// The objects as they were observed.
    pub objects: Rc<BTreeMap<Id, Object>>,
    /// What was being deleted.
    pub leaving: BTreeSet<Id>,
    /// What could not be read.
    pub unread: BTreeSet<Id>,
    /// Nothing could be read.
    pub failed: bool,
    /// The keys that were revoked when signatures were judged.
    pub revoked: BTreeSet<usize>,
    /// The anchor as it was observed.
    pub anchor: Option<AnchorSeen>,
    /// The wall clock was behind what the ledger had seen.
    pub behind: bool,
    /// When acting first looked at the tip, in true time.
    pub acting_since: Option<i64>,
    /// When the cycle began, in true time.
    pub began: i64,
}

/// One process of the controller.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its ledger.
    pub store: usize,
    /// How many edge calls it made.
    pub calls: u64,
    /// What it last saw, by application.
    pub seen: Vec<Seen>,
}

/// Something that withholds writes as soon as a process could know of it.
#[derive(Clone, Debug)]
pub struct Landed {
    /// How many calls each process had made.
    calls: Vec<u64>,
    /// When, in true time.
    pub at: i64,
}

/// The world.
pub struct World {
    /// What chooses.
    pub random: Random,
    /// The applications.
    pub settings: Vec<Settings>,
    /// Their guards, as they were configured at first.
    pub base: Vec<Guards>,
    /// What they may change together.
    pub fleet: FleetGuards,
    /// True time in milliseconds.
    pub now: i64,
    /// How far the wall clock is off, in milliseconds.
    pub skew: i64,
    boot: u32,
    booted: i64,
    /// The repository.
    pub repository: Repository,
    /// The targets, by application.
    pub targets: Vec<Target>,
    /// The ledgers.
    pub stores: Vec<Store>,
    /// The processes, dead ones included.
    pub processes: Vec<Process>,
    /// What is known of each ledger's applications.
    pub eyes: BTreeMap<(usize, usize), Eye>,
    /// What goes wrong.
    pub faults: Faults,
    /// Freezes without the repository, by application.
    pub local: Vec<Option<Landed>>,
    /// When the tip got its present `FREEZE`, if it has one.
    pub frozen_tip: Option<Landed>,
    /// Edge calls and their ends so far.
    pub steps: u64,
    /// The step to crash at.
    pub crash_at: Option<u64>,
    /// What was broken.
    pub violation: Option<Violation>,
    /// Writes that landed.
    pub written: u64,
    /// What happened how often.
    pub events: BTreeMap<&'static str, u64>,
    /// Where processes were stopped, and how often.
    pub crashes: BTreeMap<&'static str, u64>,
    /// Another controller on the same targets.
    pub rival: Option<Controller>,
    /// Copies of ledgers, with what was known of them.
    pub backups: Vec<Backup>,
    /// Targets that are not mounted, by application.
    pub unmounted: Vec<Option<Target>>,
    /// Resources that the targets take no writes of.
    pub jammed: BTreeSet<(usize, Id)>,
    /// Configurations that are looser than the one before, by application: the digest of each.
    pub looser: BTreeSet<(usize, Digest)>,
    /// What the applications of each ledger would change together.
    pub fleets: BTreeMap<usize, FleetEye>,
    /// What the script turns to more often than to anything else.
    pub focus: Option<Weakened>,
    /// Whether what happens goes into the trace in words.
    pub traced: bool,
    /// Whether what happens is printed.
    pub verbose: bool,
    trace: DefaultHasher,
}

/// The world, shared by the edges and the ledger of a process.
pub type Shared = Rc<RefCell<World>>;

impl World {
    /// Makes a world without processes.
    pub fn new(
        random: Random,
        settings: Vec<Settings>,
        fleet: FleetGuards,
        repository: Repository,
        targets: Vec<Target>,
        verbose: bool,
    ) -> Self {
        let apps = settings.len();
        let base = settings.iter().map(|one| one.guards.clone()).collect();
        Self {
            random,
            base,
            settings,
            fleet,
            now: 0,
            skew: 0,
            boot: 1,
            booted: -3_600_000,
            repository,
            targets,
            stores: Vec::new(),
            processes: Vec::new(),
            eyes: BTreeMap::new(),
            faults: Faults::default(),
            events: BTreeMap::new(),
            crashes: BTreeMap::new(),
            rival: None,
            backups: Vec::new(),
            unmounted: vec![None; apps],
            jammed: BTreeSet::new(),
            looser: BTreeSet::new(),
            fleets: BTreeMap::new(),
            focus: None,
            traced: false,
            local: vec![None; apps],
            frozen_tip: None,
            steps: 0,
            crash_at: None,
            violation: None,
            written: 0,
            verbose,
            trace: DefaultHasher::new(),
        }
    }

    /// Returns the time at which every script begins.
    pub fn beginning() -> Timestamp {
        Timestamp::from_second(BEGIN).expect("in range")
    }

    /// Returns what the wall clock shows.
    pub fn wall(&self) -> Timestamp {
        Self::beginning().checked_add(SignedDuration::from_millis(self.now + self.skew)).expect("in range")
    }

    /// Reads the machine's clocks.
    pub fn reading(&self) -> Reading {
        Reading { wall: self.wall(), boot: format!("boot-{}", self.boot).into(), uptime_ms: self.now - self.booted }
    }

    /// Starts the machine anew: processes are the caller's to kill.
    pub fn reboot(&mut self) {
        self.count("reboot");
        self.boot += 1;
        self.booted = self.now;
        // Nobody knows how long the machine was off: an hour is believed.
        for eye in self.eyes.values_mut() {
            eye.counted_at = None;
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: i64) {
        self.now += seconds * 1000;
    }

    /// Adds a process on a ledger.
    pub fn start(&mut self, store: usize) -> usize {
        self.processes.push(Process { store, calls: 0, seen: vec![Seen::default(); self.settings.len()] });
        self.stores[store].starts += 1;
        self.processes.len() - 1
    }

    /// Ends a process: its locks go with it, and what it had reserved.
    pub fn kill(&mut self, pid: usize) {
        for target in &mut self.targets {
            target.lock.take_if(|lock| *lock == pid);
        }
        for eye in self.eyes.values_mut() {
            eye.forget(pid);
        }
        self.note(|| format!("process {pid} is gone"));
    }

    /// Notes what happens: part of the trace that a seed must repeat.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if !self.traced && !self.verbose {
            return;
        }
        let what = what();
        what.hash(&mut self.trace);
        if self.verbose {
            println!("{:>9.1} {:>6} {what}", self.now as f64 / 1000.0, self.steps);
        }
    }

    /// Counts something that happened: what never does shows nothing.
    pub fn count(&mut self, what: &'static str) {
        *self.events.entry(what).or_default() += 1;
    }

    /// Returns the digest of everything that happened.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Begins an edge call: the place where a crash, time and other people come in.
    pub fn enter(&mut self, pid: usize, app: usize, name: &'static str) {
        self.processes[pid].calls += 1;
        self.now += i64::try_from(self.random.below(40)).unwrap_or(0);
        if self.random.chance(8) {
            self.now += 2_000;
        }
        let now = self.now;
        for target in &mut self.targets {
            target.pass(now);
        }
        self.step(pid, name);
        if self.random.chance(self.faults.meanwhile) {
            super::script::meanwhile(self, app);
        }
    }

    /// Ends an edge call that changed something.
    pub fn leave(&mut self, pid: usize, name: &'static str) {
        self.step(pid, name);
    }

    fn step(&mut self, pid: usize, name: &'static str) {
        self.steps += 1;
        (pid, name, self.now).hash(&mut self.trace);
        if self.crash_at == Some(self.steps) {
            self.note(|| format!("crash of process {pid} at {name}"));
            *self.crashes.entry(name).or_default() += 1;
            resume_unwind(Box::new(Crash));
        }
    }

    /// Ends the script: a promise was broken.
    pub fn broken(&mut self, invariant: &'static str, message: String) {
        self.note(|| format!("BROKEN {invariant}: {message}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, message });
        }
        resume_unwind(Box::new(Stop));
    }

    /// Fetches the branch.
    pub fn fetch(&mut self) -> Result<CommitId, Arc<str>> {
        let faults = self.faults;
        if self.random.chance(faults.fetch) {
            self.count("fetch fails");
            Err("the host does not answer".into())
        } else {
            Ok(self.repository.tip.clone())
        }
    }

    /// Notes that something now withholds writes.
    pub fn landed(&self) -> Landed {
        Landed { calls: self.processes.iter().map(|process| process.calls).collect(), at: self.now }
    }

    /// Tells whether a process had time to know of it before the write that it is making.
    pub fn knowable(&self, landed: &Landed, pid: usize) -> bool {
        let then = landed.calls.get(pid).copied().unwrap_or(0);
        self.processes[pid].calls >= then + 4
    }

    /// Returns what a process last saw.
    pub fn seen(&mut self, pid: usize, app: usize) -> &mut Seen {
        &mut self.processes[pid].seen[app]
    }

    /// Names an application.
    pub fn name(&self, app: usize) -> Arc<str> {
        self.settings[app].name.clone()
    }
}
