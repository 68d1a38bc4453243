//! Progress of what takes longer than a second: on standard error, and only where that is a terminal.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less needs no bar.
const SOON: Duration = Duration::from_secs(1);

/// A bar that appears after a second.
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

    /// Takes it away.
    pub(super) fn finish(&self) {
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

/// Shows that something goes on, from a second on, until it is dropped or finished.
pub(super) fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target()).with_message(what.to_owned());
    let style = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}");
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    // The first tick draws it: whatever is done by then was never seen.
    bar.enable_steady_tick(SOON);
    bar
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
