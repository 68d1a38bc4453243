//! Logical time: follows the wall clock, but never faster than the machine's own uptime (`GUARDS.md` 8).
//!
//! "Time may only tighten: a clock that jumps forward expires nothing, drains no window." Everything in core that expires
//! or drains is measured in logical time, which is durable. A lag behind the wall clock (after a jump, or after the machine
//! was off for long) is made up at five percent of speed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::weaken::{self, Weakened};

/// After a reboot nothing tells how long the machine was off; at most this much is believed at once.
const REBOOT_CREDIT: SignedDuration = SignedDuration::from_hours(1);

/// A wall clock that is this far behind the ledger's is taken as wrong: smaller steps are ordinary clock discipline.
const BEHIND_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// What an edge reads from the machine, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Names this boot of the machine; uptimes of different boots do not compare.
    pub boot: Arc<str>,
    /// Time since boot, suspended time included, in milliseconds.
    pub uptime_ms: i64,
}

/// The durable logical clock of an application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Logical time.
    pub now: Timestamp,
    /// The latest wall clock seen.
    pub wall: Timestamp,
    /// The boot of the last reading.
    pub boot: Arc<str>,
    /// The uptime of the last reading, in milliseconds.
    pub uptime_ms: i64,
}

impl Clock {
    /// Starts with the first reading ever.
    pub fn start(reading: &Reading) -> Self {
        Self { now: reading.wall, wall: reading.wall, boot: reading.boot.clone(), uptime_ms: reading.uptime_ms }
    }

    /// Advances by a reading.
    #[must_use]
    pub fn advance(&self, reading: &Reading) -> Self {
        let gap = reading.wall.duration_since(self.now).max(SignedDuration::ZERO);
        let credit = if self.boot == reading.boot {
            let elapsed = (reading.uptime_ms - self.uptime_ms).max(0);
            SignedDuration::from_millis(elapsed + elapsed / 20)
        } else {
            REBOOT_CREDIT
        };
        Self {
            now: self.now.checked_add(gap.min(credit)).unwrap_or(self.now),
            wall: self.wall.max(reading.wall),
            boot: reading.boot.clone(),
            uptime_ms: reading.uptime_ms,
        }
    }

    /// Tells by how much the wall clock is behind what this ledger has seen, if it is (latch STATE).
    pub fn behind(&self, reading: &Reading) -> Option<SignedDuration> {
        let behind = self.wall.duration_since(reading.wall);
        (behind > BEHIND_TOLERANCE && !weaken::is(Weakened::Clock)).then_some(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, boot: &str, uptime_s: i64) -> Reading {
        Reading { wall: Timestamp::from_second(wall).expect("in range"), boot: boot.into(), uptime_ms: uptime_s * 1000 }
    }

    #[test]
    fn follows_the_wall_clock() {
        let clock = Clock::start(&at(1000, "a", 10)).advance(&at(1060, "a", 70));
        assert_eq!(clock.now.as_second(), 1060);
    }

    #[test]
    fn a_jump_forward_passes_no_time() {
        let clock = Clock::start(&at(1000, "a", 10)).advance(&at(1_000_000, "a", 70));
        assert_eq!(clock.now.as_second(), 1063);
    }

    #[test]
    fn a_reboot_is_credited_an_hour_at_most() {
        let clock = Clock::start(&at(1000, "a", 10));
        assert_eq!(clock.advance(&at(2000, "b", 5)).now.as_second(), 2000);
        assert_eq!(clock.advance(&at(1_000_000, "b", 5)).now.as_second(), 4600);
    }

    #[test]
    fn backwards_is_reported_and_passes_no_time() {
        let clock = Clock::start(&at(1000, "a", 10));
        assert_eq!(clock.behind(&at(900, "a", 11)), Some(SignedDuration::from_secs(100)));
        assert_eq!(clock.behind(&at(998, "a", 11)), None);
        assert_eq!(clock.advance(&at(900, "a", 11)).now.as_second(), 1000);
    }
}
