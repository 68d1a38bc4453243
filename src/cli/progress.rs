//! Progress of what takes longer than a second: on standard error, and only where that is a terminal.

use std::io::IsTerminal as _;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less needs no bar.
const SOON: Duration = Duration::from_secs(1);

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A bar that appears after a second, and goes when it is dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    began: Instant,
}

impl Bar {
    /// Says how many of how many are done.
    pub(super) fn at(&self, done: usize, all: usize) {
        if self.began.elapsed() > SOON {
            self.bar.set_length(all as u64);
            self.bar.set_position(done as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Makes a bar that counts something.
pub(super) fn bar(unit: &str) -> Bar {
    let style = ProgressStyle::with_template(&format!("  {{pos}} of {{len}} {unit}  {{wide_bar}}  {{eta}} left"));
    let bar = ProgressBar::with_draw_target(None, target())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    Bar { bar, began: Instant::now() }
}

/// Shows that something goes on, until it is dropped.
pub(super) struct Spinner {
    bar: ProgressBar,
    /// Dropped, it ends the wait before the bar appears.
    wait: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Spinner {
    /// Says what goes on now.
    pub(super) fn now(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.wait.take() {
            drop(done);
            // It only waits; one that panicked drew nothing.
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

/// Shows that something goes on, from a second on.
pub(super) fn spinner(what: &str) -> Spinner {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_message(what.to_owned());
    let style = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}");
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let wait = std::io::stderr().is_terminal().then(|| {
        let (done, waits) = mpsc::channel();
        let shown = bar.clone();
        let thread = std::thread::spawn(move || {
            if waits.recv_timeout(SOON) == Err(mpsc::RecvTimeoutError::Timeout) {
                shown.set_draw_target(target());
                shown.enable_steady_tick(TICK);
            }
        });
        (done, thread)
    });
    Spinner { bar, wait }
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
