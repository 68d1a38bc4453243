//! Watches the targets that can be watched, so that drift is reported within a second; a watch only wakes.
//!
//! What cannot be watched (a limit of the system, a root that is not mounted) is tried again, and until then seen by the
//! interval's cycles alone; the log says so, and so does `status`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::wake::Wake;
use crate::targets::{Watch, WatchState, Watcher};

/// How long no further change wakes after one did (`DESIGN.md`).
const QUIET: Duration = Duration::from_secs(10);

/// How soon a root that was removed or unmounted is looked for again.
const LOST_AGAIN: Duration = Duration::from_secs(1);

/// How soon what could not be watched is tried again: a limit of the system is raised by people.
const POLLING_AGAIN: Duration = Duration::from_secs(30);

/// Why a target is not watched, shared with its application's reports; `None` while it is.
#[derive(Clone, Debug, Default)]
pub struct Note(Arc<Mutex<Option<Arc<str>>>>);

impl Note {
    /// Returns why the target is not watched, if it is not.
    pub fn get(&self) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes it, and tells whether that is news.
    fn set(&self, why: Option<Arc<str>>) -> bool {
        let mut note = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *note != why;
        *note = why;
        news
    }
}

/// One target that is watched, or should be.
pub struct Watched {
    app: Arc<str>,
    target: Watcher,
    group: usize,
    note: Note,
    watch: Watch,
    tried: Instant,
}

impl Watched {
    /// Watches an application's target from now on.
    pub fn start(app: Arc<str>, target: Watcher, group: usize, note: Note, wake: &Arc<Wake>) -> Self {
        let watch = begin(&target, group, wake);
        let mut watched = Self { app, target, group, note, watch, tried: Instant::now() };
        watched.say();
        watched
    }

    /// Looks whether the watch still works, and begins it anew when it is time; returns whether it was.
    pub fn tend(&mut self, wake: &Arc<Wake>) -> bool {
        let again = match self.watch.state() {
            WatchState::Watching => None,
            WatchState::Lost => Some(LOST_AGAIN),
            WatchState::Polling(_) => Some(POLLING_AGAIN),
        };
        let again = again.filter(|_| !self.target.mends_itself());
        let due = again.is_some_and(|again| self.tried.elapsed() >= again && self.target.is_there());
        if due {
            self.tried = Instant::now();
            self.watch = begin(&self.target, self.group, wake);
            // What happened while nobody watched is looked at now.
            if self.watch.state() == WatchState::Watching {
                wake.group(self.group);
            }
        }
        self.say();
        due
    }

    /// Tells people what changed about the watch.
    fn say(&mut self) {
        let why: Option<Arc<str>> = match self.watch.state() {
            WatchState::Watching => None,
            WatchState::Lost => Some("the directory was removed, renamed or unmounted".into()),
            WatchState::Polling(why) => Some(why),
        };
        if !self.note.set(why.clone()) {
            return;
        }
        let (app, target) = (&self.app, &self.target);
        match why {
            Some(why) => {
                tracing::warn!(%app, %target, %why, "not watched: changes are seen by the interval's cycles alone")
            }
            None => tracing::info!(%app, %target, "watched again"),
        }
    }
}

fn begin(target: &Watcher, group: usize, wake: &Arc<Wake>) -> Watch {
    let wake = wake.clone();
    target.watch(QUIET, move || wake.group(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_comes_back_is_watched_again_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let (wake, note) = (Arc::new(Wake::default()), Note::default());
        let mut watched = Watched::start("web".into(), Watcher::Directory(root.clone()), 3, note.clone(), &wake);
        assert!(note.get().is_some(), "there is nothing to watch yet");
        assert!(!watched.tend(&wake), "it was tried a moment ago");
        std::fs::create_dir(&root).unwrap();
        watched.tried = Instant::now() - POLLING_AGAIN;
        assert!(watched.tend(&wake));
        assert_eq!(note.get(), None);
        let mut seen = 0;
        wake.wait(3, &mut seen, Duration::ZERO);
        assert_eq!(seen, 1, "what happened meanwhile is looked at");
        std::fs::write(root.join("file"), "x").unwrap();
        wake.wait(3, &mut seen, Duration::from_secs(60));
        assert!(seen > 1, "a change wakes");
    }
}
