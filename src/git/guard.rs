//! What ends a fetch that does not end by itself: deadlines, silence, size, and whoever asked to stop.
//!
//! gix sees an interrupt only between reads, so a hanging child is killed from a second thread; its pipe then ends, and
//! the read with it. HTTP has time-outs of its own below.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::fetch::{FetchError, Phase};
use super::remote::Remote;

/// Why a fetch was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    Interrupted,
    Total,
    Idle,
    Pack,
}

/// The state of one fetch in flight, shared with its transport and its watchdog.
#[derive(Debug)]
pub(super) struct Guard {
    /// Seen by gix between reads.
    pub(super) stop: AtomicBool,
    cut: Mutex<Option<Cut>>,
    child: Mutex<Option<Pid>>,
    started: Instant,
    total: Duration,
    idle: Duration,
    pack_limit: u64,
    received: AtomicU64,
    /// When a read or write on a pipe began, in milliseconds after `started` plus one; zero while there is none.
    waiting: AtomicU64,
    done: Mutex<bool>,
    ended: Condvar,
}

impl Guard {
    pub(super) fn new(remote: &Remote) -> Arc<Self> {
        Arc::new(Self {
            stop: AtomicBool::new(false),
            cut: Mutex::new(None),
            child: Mutex::new(None),
            started: Instant::now(),
            total: remote.limits.total,
            idle: remote.limits.idle,
            pack_limit: remote.limits.pack,
            received: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            done: Mutex::new(false),
            ended: Condvar::new(),
        })
    }

    /// Runs `work` beside a watchdog that looks after it.
    pub(super) fn watch<T>(self: &Arc<Self>, interrupt: &AtomicBool, work: impl FnOnce() -> T) -> T {
        *lock(&self.done) = false;
        if interrupt.load(Ordering::Relaxed) {
            self.cut(Cut::Interrupted);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.look(interrupt));
            let _ended = Ended(self);
            work()
        })
    }

    /// Often enough that a stop is prompt, seldom enough to cost nothing.
    const LOOK: Duration = Duration::from_millis(20);

    fn look(&self, interrupt: &AtomicBool) {
        let mut done = lock(&self.done);
        while !*done {
            if interrupt.load(Ordering::Relaxed) {
                self.cut(Cut::Interrupted);
            } else if self.started.elapsed() > self.total {
                self.cut(Cut::Total);
            } else if self.silent() {
                self.cut(Cut::Idle);
            }
            done = self.ended.wait_timeout(done, Self::LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn silent(&self) -> bool {
        let since = self.waiting.load(Ordering::Relaxed);
        let now = self.millis();
        since > 0 && now.saturating_sub(since) > u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// What is left of the whole time.
    pub(super) fn left(&self) -> Duration {
        self.total.saturating_sub(self.started.elapsed())
    }

    /// Ends the fetch; the first reason stays.
    pub(super) fn cut(&self, why: Cut) {
        lock(&self.cut).get_or_insert(why);
        self.stop.store(true, Ordering::Relaxed);
        if let Some(group) = lock(&self.child).take() {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }

    /// Counts bytes of a pack, and ends the fetch when there are too many.
    pub(super) fn count(&self, bytes: u64) {
        let sum = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if sum > self.pack_limit {
            self.cut(Cut::Pack);
        }
    }

    /// Bytes of packs received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Tells the watchdog whom to kill; the child leads a process group of its own.
    pub(super) fn adopt(&self, child: Pid) {
        *lock(&self.child) = Some(child);
        if self.stop.load(Ordering::Relaxed) {
            self.cut(Cut::Interrupted);
        }
    }

    /// Kills the child's group if it is still ours. Called before waiting for it: afterwards its id may be another's.
    pub(super) fn release(&self) {
        if let Some(group) = lock(&self.child).take() {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }

    /// Returns why the fetch was cut off, if it was. A client's own time-out may end it before the watchdog looks.
    pub(super) fn verdict(&self, remote: &Remote) -> Option<FetchError> {
        let url = remote.url.clone();
        let over = self.left().is_zero().then_some(Cut::Total);
        Some(match lock(&self.cut).or(over)? {
            Cut::Interrupted => FetchError::Interrupted,
            Cut::Total => FetchError::TimedOut { url, phase: Phase::Total, after: self.total },
            Cut::Idle => FetchError::TimedOut { url, phase: Phase::Idle, after: self.idle },
            Cut::Pack => FetchError::TooLarge { url, what: "pack", limit: self.pack_limit },
        })
    }
}

struct Ended<'a>(&'a Guard);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        *lock(&self.0.done) = true;
        self.0.ended.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pipe whose reads and writes the watchdog sees.
pub(super) struct Watched<T> {
    pub(super) inner: T,
    pub(super) guard: Arc<Guard>,
}

impl<T> Watched<T> {
    fn wait<R>(&mut self, work: impl FnOnce(&mut T) -> R) -> R {
        self.guard.waiting.store(self.guard.millis(), Ordering::Relaxed);
        let result = work(&mut self.inner);
        self.guard.waiting.store(0, Ordering::Relaxed);
        result
    }
}

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.wait(|inner| inner.read(buffer))
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.wait(|inner| inner.write(buffer))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.wait(Write::flush)
    }
}
