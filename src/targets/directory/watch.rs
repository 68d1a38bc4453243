//! Wakes when something below a root changed. Carries no data: whoever is woken reads everything it acts on.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RemoveKind};
use notify::{ErrorKind, RecursiveMode, Watcher as _};

use super::path::is_ours;
use crate::targets::wake::{WatchState, debounce};

/// A watch, until dropped.
#[derive(Debug)]
pub struct Watch {
    state: Arc<Mutex<WatchState>>,
    /// Dropping it ends the thread that wakes.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Returns what the watch is worth now.
    pub fn state(&self) -> WatchState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What an event means here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Nothing,
    Changed,
    Lost,
}

/// Calls `on_change` when something below `root` changed: at once, then at most once every `quiet`.
///
/// Our own temporary files and anchor wake nobody. Never fails: what cannot be watched is [`WatchState::Polling`].
pub fn watch(root: &Path, quiet: Duration, on_change: impl Fn() + Send + 'static) -> Watch {
    let state = Arc::new(Mutex::new(WatchState::Watching));
    let (wake, woken) = mpsc::channel::<()>();
    let watcher = start(root, Arc::clone(&state), wake);
    match watcher {
        Ok(watcher) => {
            let started = std::thread::Builder::new()
                .name("directory-watch".to_owned())
                .spawn(move || debounce(&woken, quiet, &on_change));
            if let Err(error) = started {
                set(&state, WatchState::Polling(format!("start a thread: {error}").into()));
            }
            Watch { state, _watcher: Some(watcher) }
        }
        Err(error) => {
            set(&state, WatchState::Polling(explain(&error)));
            Watch { state, _watcher: None }
        }
    }
}

fn start(
    root: &Path,
    state: Arc<Mutex<WatchState>>,
    wake: mpsc::Sender<()>,
) -> notify::Result<notify::RecommendedWatcher> {
    let root: PathBuf = root.canonicalize().map_err(notify::Error::io)?;
    let below = root.clone();
    let config = notify::Config::default().with_follow_symlinks(false);
    let handle = move |event: notify::Result<notify::Event>| {
        if react(&event, &below, &state) {
            // Nobody listens any more only while it is being dropped.
            let _ = wake.send(());
        }
    };
    let mut watcher = notify::RecommendedWatcher::new(handle, config)?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Notes what an event says of the watch itself, and tells whether it wakes.
fn react(event: &notify::Result<notify::Event>, root: &Path, state: &Mutex<WatchState>) -> bool {
    match event.as_ref().map(|event| meaning(event, root)) {
        Ok(Meaning::Nothing) => false,
        Ok(Meaning::Changed) => true,
        Ok(Meaning::Lost) => {
            set(state, WatchState::Lost);
            true
        }
        // A new directory could not be watched; what the others say still wakes.
        Err(error) => {
            if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                set(state, WatchState::Polling(explain(error)));
            }
            true
        }
    }
}

fn meaning(event: &notify::Event, root: &Path) -> Meaning {
    // The kernel lost events: something changed.
    if event.need_rescan() {
        return Meaning::Changed;
    }
    let of_root = event.paths.iter().any(|path| path == root);
    match event.kind {
        // Reading, ours above all, changes nothing.
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return Meaning::Nothing,
        EventKind::Remove(RemoveKind::Folder | RemoveKind::Any | RemoveKind::Other) if of_root => return Meaning::Lost,
        EventKind::Modify(ModifyKind::Name(_)) if of_root => return Meaning::Lost,
        _ => {}
    }
    let ours = |path: &PathBuf| {
        let Ok(below) = path.strip_prefix(root) else { return false };
        let last = below.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
        last.is_some_and(|name| is_ours(name, below.components().count() == 1))
    };
    if !event.paths.is_empty() && event.paths.iter().all(ours) { Meaning::Nothing } else { Meaning::Changed }
}

fn set(state: &Mutex<WatchState>, to: WatchState) {
    *state.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

fn explain(error: &notify::Error) -> Arc<str> {
    match error.kind {
        ErrorKind::MaxFilesWatch => {
            "the system's limit of watches is reached: raise fs.inotify.max_user_watches, or rely on the interval"
                .into()
        }
        // The kernel has one code for both limits, and says no more than "too many open files".
        ErrorKind::Io(ref error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            "no inotify instance is left: raise fs.inotify.max_user_instances (or this process's limit of open files), or \
             rely on the interval"
                .into()
        }
        _ => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Config, Directory, StatCache};
    use super::*;
    use crate::core::resource::Id;
    use crate::targets::Expect;

    #[test]
    fn the_limit_of_watches_is_said_and_wakes() {
        let state = Mutex::new(WatchState::Watching);
        let limit = Err(notify::Error::new(ErrorKind::MaxFilesWatch));
        assert!(react(&limit, Path::new("/x"), &state));
        let state = state.into_inner().unwrap();
        assert!(matches!(state, WatchState::Polling(why) if why.contains("max_user_watches")));
    }

    #[test]
    fn reading_and_our_own_files_mean_nothing_and_all_else_does() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let file = root.join("file");
        fs::write(&file, "one").unwrap();
        // There from the start: a new directory is watched only some time after it was made, which itself wakes.
        fs::create_dir(root.join("dir")).unwrap();
        let (send, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(send).unwrap();
        watcher.watch(&root, RecursiveMode::Recursive).unwrap();
        // Events come in the order of what happened, so that a file made at the end ends what is looked at.
        let mut marks = 0;
        let mut meant = |act: &dyn Fn()| {
            act();
            marks += 1;
            let mark = root.join(format!("mark-{marks}"));
            fs::write(&mark, "").unwrap();
            let until_mark = std::iter::from_fn(|| {
                let event = events.recv_timeout(Duration::from_secs(60)).expect("the mark comes").unwrap();
                // What is left of the last mark means nothing here.
                let of_mark = event.paths.iter().any(|path| path.to_string_lossy().contains("/mark-"));
                (!event.paths.contains(&mark)).then(|| (!of_mark).then(|| meaning(&event, &root)))
            });
            until_mark.flatten().collect::<Vec<_>>()
        };
        let changed = |meant: &[Meaning]| meant.contains(&Meaning::Changed);
        let directory =
            Directory::open(Config { root: root.clone(), exclusive: true, reload: vec![] }).expect("it makes sense");
        let quiet = meant(&|| {
            let id = Id::new("file");
            let expect = [Expect::new(&id)];
            directory.observe(&expect, &mut StatCache::new(), jiff::Timestamp::now());
            let mut session = directory.lock().unwrap();
            let anchor = r#"{"target":"","application":"","ledger":"","epoch":0,"token":"","seq":0}"#;
            session.swap(&session.read_anchor(), &serde_json::from_str(anchor).unwrap()).unwrap();
            fs::write(root.join(".holdfast-tmp-1"), "").unwrap();
        });
        assert!(!quiet.is_empty() && !changed(&quiet), "{quiet:?}");
        for act in [
            &(|| fs::write(&file, "two").unwrap()) as &dyn Fn(),
            &|| fs::rename(&file, root.join("renamed")).unwrap(),
            &|| fs::remove_file(root.join("renamed")).unwrap(),
            &|| fs::create_dir(root.join("new")).unwrap(),
            &|| std::os::unix::fs::symlink("x", root.join("link")).unwrap(),
            &|| fs::write(root.join("dir/.holdfast"), "theirs").unwrap(),
        ] {
            assert!(changed(&meant(act)));
        }
    }
}
