//! Wakes when something below a root changed. Carries no data: whoever is woken reads everything it acts on.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RemoveKind};
use notify::{ErrorKind, RecursiveMode, Watcher as _};

use super::path::is_ours;

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
        let meaning = match &event {
            Ok(event) => meaning(event, &below),
            Err(error) => {
                if matches!(error.kind, ErrorKind::MaxFilesWatch) {
                    set(&state, WatchState::Polling(explain(error)));
                }
                Meaning::Changed
            }
        };
        if meaning == Meaning::Lost {
            set(&state, WatchState::Lost);
        }
        if meaning != Meaning::Nothing {
            // Nobody listens any more only while it is being dropped.
            let _ = wake.send(());
        }
    };
    let mut watcher = notify::RecommendedWatcher::new(handle, config)?;
    watcher.watch(&root, RecursiveMode::Recursive)?;
    Ok(watcher)
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

/// Wakes at the first change, then after `quiet` once more if there were others meanwhile.
fn debounce(woken: &mpsc::Receiver<()>, quiet: Duration, on_change: &dyn Fn()) {
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

fn set(state: &Mutex<WatchState>, to: WatchState) {
    *state.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

fn explain(error: &notify::Error) -> Arc<str> {
    match error.kind {
        ErrorKind::MaxFilesWatch => {
            "the system's limit of watches is reached: raise fs.inotify.max_user_watches, or rely on the interval"
                .into()
        }
        _ => error.to_string().into(),
    }
}
