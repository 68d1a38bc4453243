//! The clock of a world: a file that the debug build adds to its wall and monotonic clocks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps the time that the controller sees.
#[derive(Clone)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Starts at the machine's time.
    pub fn new(dir: &Path) -> Self {
        let clock = Self { file: dir.join("clock") };
        clock.set(0, 0);
        clock
    }

    /// Returns the file that is handed to the controller.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Moves both clocks on.
    pub fn advance(&self, seconds: i64) {
        let (both, wall) = self.get();
        self.set(both + seconds, wall);
    }

    /// Moves the wall clock alone, as an administrator or a bad time server does.
    pub fn jump(&self, seconds: i64) {
        let (both, wall) = self.get();
        self.set(both, wall + seconds);
    }

    /// Returns the seconds since the epoch as the controller's wall clock shows them.
    pub fn now(&self) -> i64 {
        let (both, wall) = self.get();
        let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
        i64::try_from(real).expect("the time fits") + both + wall
    }

    fn get(&self) -> (i64, i64) {
        let text = fs::read_to_string(&self.file).expect("the clock's file is readable");
        let mut numbers = text.split_whitespace().map(|number| number.parse().expect("the clock's file has numbers"));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    fn set(&self, both: i64, wall: i64) {
        // Renamed into place: a controller that runs meanwhile never reads half of it.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{both} {wall}\n")).expect("the clock is written");
        fs::rename(next, &self.file).expect("the clock is replaced");
    }
}
