//! The largest inventory of any window that ends now, in few numbers (N of `GUARDS.md` 8).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How exactly a time is kept, in seconds: what was measured counts from the beginning of its minute.
const GRAIN: i64 = 60;

/// Sizes of an inventory by the minute (seconds since the epoch), of which each is larger than all that came later.
///
/// A size that a later one reaches can be the largest of no window that ends now, so it is not kept: a steady inventory is
/// one entry.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Highs(BTreeMap<i64, u32>);

impl Highs {
    /// Takes a size that was measured at a time not before the last.
    pub fn measure(&mut self, at: Timestamp, n: u32) {
        let minute = at.as_second().div_euclid(GRAIN) * GRAIN;
        let n = self.0.get(&minute).copied().unwrap_or(0).max(n);
        self.0.retain(|_, known| *known > n);
        self.0.insert(minute, n);
    }

    /// Returns the largest size within the window that ends now, or 0 if nothing was measured within it.
    pub fn largest(&self, window: std::time::Duration, now: Timestamp) -> u32 {
        let length = i64::try_from(window.as_secs()).unwrap_or(i64::MAX / 2);
        self.0.range(now.as_second() - length - GRAIN + 1..).map(|(_, n)| *n).max().unwrap_or(0)
    }

    /// Forgets what is older than this many seconds.
    pub fn forget(&mut self, seconds: i64, now: Timestamp) {
        let oldest = now.as_second() - seconds - GRAIN;
        self.0.retain(|at, _| *at >= oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn the_window_ends_where_it_says_whatever_the_minute_of_the_hour() {
        for start in (0..7200).step_by(300) {
            let mut highs = Highs::default();
            highs.measure(at(start), 100);
            highs.measure(at(start + 600), 90);
            assert_eq!(highs.largest(HOUR, at(start + 3600)), 100);
            assert_eq!(highs.largest(HOUR, at(start + 3600 + GRAIN)), 90);
            assert_eq!(highs.largest(HOUR, at(start + 4200 + GRAIN)), 0);
        }
    }

    #[test]
    fn a_steady_inventory_is_one_entry() {
        let mut highs = Highs::default();
        for minute in 0..10_000 {
            highs.measure(at(minute * 60), 50);
        }
        assert_eq!((highs.0.len(), highs.largest(HOUR, at(600_000))), (1, 50));
        highs.measure(at(600_000), 49);
        assert_eq!(highs.0.len(), 2);
        highs.forget(3600, at(700_000));
        assert_eq!(highs.0.len(), 0);
    }

    #[test]
    fn the_larger_of_one_minute_counts() {
        let mut highs = Highs::default();
        highs.measure(at(1), 10);
        highs.measure(at(30), 4);
        assert_eq!(highs.largest(HOUR, at(40)), 10);
    }
}
