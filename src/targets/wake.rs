//! What watches of every kind have in common: what one is worth, and how often it wakes.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What a watch is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchState {
    /// Every change wakes.
    Watching,
    /// Nothing wakes, and why; changes are seen by the cycles of the interval only.
    Polling(Arc<str>),
    /// The root was removed, renamed or unmounted; watch anew once it is back.
    Lost,
}

/// Wakes at the first change, then after `quiet` once more if there were others meanwhile.
pub(super) fn debounce(woken: &mpsc::Receiver<()>, quiet: Duration, on_change: &dyn Fn()) {
    let mut more = false;
    while more || woken.recv().is_ok() {
        on_change();
        more = false;
        let until = Instant::now() + quiet;
        loop {
            match woken.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) => more = true,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
