//! Reads the machine's clocks: the only place that does, so that everything else takes time as an argument.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::core::clock::Reading;

/// The clocks of the machine that this runs on.
///
/// In debug builds the file named by `HOLDFAST_TEST_CLOCK` shifts them: `OFFSET [WALL_JUMP]`, in seconds, read anew each
/// time. OFFSET passes on every clock, as time does; WALL_JUMP on the wall clock alone, as a wrong clock does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MachineClock;

impl MachineClock {
    /// Reads wall clock, boot and uptime together.
    ///
    /// Where the boot has no name, all boots look like one; then an uptime that went back lets no time pass, which is the
    /// safe side (`GUARDS.md` 8).
    pub fn read() -> Reading {
        let shift = Shift::read();
        let uptime = clock_gettime(ClockId::Boottime);
        let uptime_ms = uptime.tv_sec.saturating_mul(1000).saturating_add(uptime.tv_nsec / 1_000_000);
        Reading { wall: shifted(Timestamp::now(), shift), boot: boot(), uptime_ms: uptime_ms + shift.both_ms }
    }

    /// Tells whether the clocks are shifted for a test; never in a release.
    pub fn is_shifted() -> bool {
        cfg!(debug_assertions) && std::env::var_os("HOLDFAST_TEST_CLOCK").is_some()
    }

    /// Reads the wall clock alone, for what is shown to people and for due times of deliveries.
    pub fn wall() -> Timestamp {
        shifted(Timestamp::now(), Shift::read())
    }
}

fn boot() -> Arc<str> {
    static BOOT: OnceLock<Arc<str>> = OnceLock::new();
    BOOT.get_or_init(|| {
        let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        read.map_or_else(|_| Arc::from("unknown"), |id| Arc::from(id.trim()))
    })
    .clone()
}

fn shifted(wall: Timestamp, shift: Shift) -> Timestamp {
    let by = jiff::SignedDuration::from_millis(shift.both_ms.saturating_add(shift.wall_ms));
    wall.checked_add(by).unwrap_or(wall)
}

/// How a test moves the clocks, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Shift {
    both_ms: i64,
    wall_ms: i64,
}

impl Shift {
    #[cfg(not(debug_assertions))]
    const fn read() -> Self {
        Self { both_ms: 0, wall_ms: 0 }
    }

    /// Reads the test's file; one that is missing or half written moves nothing.
    #[cfg(debug_assertions)]
    fn read() -> Self {
        static FILE: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
        let file = FILE.get_or_init(|| std::env::var_os("HOLDFAST_TEST_CLOCK").map(Into::into));
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        text.and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    #[cfg(debug_assertions)]
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().map(|word| word.parse::<i64>().ok()?.checked_mul(1000));
        Some(Self { both_ms: words.next()??, wall_ms: words.next().unwrap_or(Some(0))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_of_one_boot_compare() {
        let (a, b) = (MachineClock::read(), MachineClock::read());
        assert_eq!(a.boot, b.boot);
        assert!(a.uptime_ms > 0 && b.uptime_ms >= a.uptime_ms);
        let age = b.wall.duration_since(Timestamp::UNIX_EPOCH);
        assert!(age.as_hours() > 24 * 365 * 50, "{}", b.wall);
    }

    #[cfg(debug_assertions)]
    #[test]
    fn a_test_shifts_both_or_the_wall_alone() {
        assert_eq!(Shift::parse("60\n"), Some(Shift { both_ms: 60_000, wall_ms: 0 }));
        assert_eq!(Shift::parse("60 -3600"), Some(Shift { both_ms: 60_000, wall_ms: -3_600_000 }));
        assert_eq!(Shift::parse(""), None);
        assert_eq!(Shift::parse("60 x"), None);
        let moved = shifted(Timestamp::UNIX_EPOCH, Shift { both_ms: 60_000, wall_ms: -3_600_000 });
        assert_eq!(moved.as_second(), 60 - 3600);
    }
}
