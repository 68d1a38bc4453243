//! A world in which the real binary works on a real repository and a real directory, at a time that the test sets.
//!
//! A scenario makes a [`World`], writes and signs commits in its [`Repo`], steps the clock from counted cycle to counted
//! cycle, and looks at four things: what the directory holds, what `status` says in JSON, what it prints, and whom it told what.

pub mod admission;
pub mod api;
pub mod apiserver;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod forge;
pub mod git;
pub mod gitea;
pub mod http;
pub mod keys;
pub mod place;
pub mod receiver;
pub mod relay;
pub mod run;
mod selftest;
pub mod servers;
pub mod status;
mod told;
pub mod tree;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use rustix::fs::StatVfsMountFlags;

pub use self::clock::Clock;
pub use self::config::{App, Config};
pub use self::controller::Controller;
pub use self::git::{Repo, content, name};
pub use self::place::Place;
pub use self::receiver::Receiver;
pub use self::status::Status;
pub use self::tree::{Changes, Entry, Tree, changes};

/// A little more than the default `interval`, in seconds.
pub const INTERVAL: i64 = 181;
/// An hour, in seconds.
pub const HOUR: i64 = 3600;

/// Everything that a scenario works with. It disappears with the test.
pub struct World {
    dir: tempfile::TempDir,
    /// The repository.
    pub repo: Repo,
    /// The clock that the controller sees.
    pub clock: Clock,
    /// What the configuration file will say at the next command.
    pub config: Config,
    /// Who is told of everything, unless a scenario says in [`Config::controller`] who is to be told what.
    pub receiver: Receiver,
    running: AtomicUsize,
    raw: Option<String>,
    powerless: bool,
    inotify: Option<&'static str>,
}

/// The durable things of a world as they were, outside it.
pub struct Saved {
    dir: tempfile::TempDir,
}

impl World {
    /// Makes a world with one application, `web`, that converges the whole repository.
    pub fn new() -> Self {
        let mut world = Self::empty();
        world.add_app("web");
        world
    }

    /// Makes a world without applications.
    pub fn empty() -> Self {
        let dir = temporary("hf-");
        let clock = Clock::new(dir.path());
        let repo = Repo::new(dir.path(), clock.clone());
        fs::create_dir(dir.path().join("roots")).expect("the folder of roots is made");
        fs::write(dir.path().join("allowed_signers"), keys::allowed_signers()).expect("the signers are written");
        let receiver = Receiver::new();
        let config = Config::new(dir.path(), receiver.port);
        let running = AtomicUsize::new(0);
        Self { dir, repo, clock, config, receiver, running, raw: None, powerless: false, inotify: None }
    }

    /// Adds an application of this repository with a directory of its own; `bob` and `carol` may approve.
    pub fn add_app(&mut self, name: &str) -> &mut App {
        let root = self.dir.path().join("roots").join(name);
        fs::create_dir(&root).expect("the root is made");
        self.config.apps.push(App {
            name: name.to_owned(),
            mode: "converge".to_owned(),
            interval: None,
            url: self.repo.origin.to_string_lossy().into_owned(),
            branch: "main".to_owned(),
            path: ".".to_owned(),
            source: Vec::new(),
            ssh: Vec::new(),
            allowed_signers: Some(self.dir.path().join("allowed_signers")),
            trust: vec![format!("approvers: [{}, {}]", keys::address("bob"), keys::address("carol"))],
            root,
            exec: None,
            kubernetes: None,
            directory: Vec::new(),
            guards: Vec::new(),
            drift: Vec::new(),
        });
        self.config.apps.last_mut().expect("one was pushed")
    }

    /// Returns the application's configuration.
    #[track_caller]
    pub fn app(&mut self, name: &str) -> &mut App {
        self.config.app(name)
    }

    /// Returns the folder of the whole world.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the root of an application's directory.
    #[track_caller]
    pub fn root(&self, app: &str) -> PathBuf {
        self.find(app).root.clone()
    }

    #[track_caller]
    fn find(&self, app: &str) -> &App {
        let found = self.config.apps.iter().find(|known| known.name == app);
        found.unwrap_or_else(|| panic!("there is no application {app}"))
    }

    /// Uses this text as the configuration from now on.
    pub fn raw_config(&mut self, text: &str) {
        self.raw = Some(text.to_owned());
    }

    /// Lets the controller run without the right to pass over permissions, as it would for anybody but root.
    pub fn without_privilege(&mut self) {
        self.powerless = true;
    }

    /// Lets the controller run where one limit of inotify, `watches` or `instances`, is zero; tells whether this machine lets
    /// it. The limit is that of a user namespace, so that nobody else feels it.
    pub fn without_inotify(&mut self, limit: &'static str) -> bool {
        self.inotify = Some(limit);
        let able = self.bare(&["--version"]);
        if able.code != Some(0) {
            eprintln!("skipped: this machine lets nobody make a user namespace: {able:?}");
        }
        able.code == Some(0)
    }

    /// Reads an application's directory.
    #[track_caller]
    pub fn tree(&self, app: &str) -> Tree {
        tree::read(&self.root(app))
    }

    /// Reads what the work clone, as it stands, asks for.
    #[track_caller]
    pub fn wanted(&self, app: &str) -> Tree {
        tree::wanted(&self.repo.work, &self.find(app).path)
    }

    /// Puts the work clone's files into the application's directory, all but the first: what is found in place needs no
    /// write, and the one that is missing lets the controller claim the directory.
    #[track_caller]
    pub fn preplace(&self, app: &str) {
        let root = self.root(app);
        let from = self.repo.work.join(&self.find(app).path);
        for path in self.wanted(app).keys().skip(1) {
            let to = root.join(path);
            fs::create_dir_all(to.parent().expect("a file has a folder")).expect("the folder is made");
            let source = from.join(path);
            if source.is_symlink() {
                let target = fs::read_link(&source).expect("the link is readable");
                std::os::unix::fs::symlink(target, to).expect("the link is made");
            } else {
                fs::copy(&source, to).expect("the file is copied");
            }
        }
    }

    /// Publishes what the work clone holds and brings every application there; the directories mostly hold it already.
    #[track_caller]
    pub fn baseline(&self) -> String {
        let commit = self.repo.publish("baseline");
        for app in &self.config.apps {
            self.preplace(&app.name);
        }
        self.counted_cycle();
        for app in &self.config.apps {
            self.converge(&app.name);
        }
        commit
    }

    /// Writes a file of the directory by hand, dated as the world's clock shows.
    #[track_caller]
    pub fn edit_live(&self, app: &str, path: &str, text: &str) {
        let file = self.root(app).join(path);
        fs::create_dir_all(file.parent().expect("a file has a folder")).expect("the folder is made");
        fs::write(&file, text).expect("the file is written");
        let now = u64::try_from(self.clock.now()).expect("it is later than 1970");
        let handle = File::options().write(true).open(&file).expect("the file opens");
        handle.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(now)).expect("the file is dated");
    }

    /// Removes a file of the directory by hand.
    #[track_caller]
    pub fn remove_live(&self, app: &str, path: &str) {
        fs::remove_file(self.root(app).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Reads a file of the directory.
    #[track_caller]
    pub fn live(&self, app: &str, path: &str) -> String {
        let file = self.root(app).join(path);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Tells whether a file of the directory exists.
    pub fn exists(&self, app: &str, path: &str) -> bool {
        self.root(app).join(path).symlink_metadata().is_ok()
    }

    /// Moves both clocks on by minutes.
    pub fn advance(&self, minutes: i64) {
        self.clock.advance(minutes * 60);
    }

    /// Writes a script below the world's folder that may use `advance SECONDS`, `$call` (which call this is) and
    /// `$dir`; returns how a configuration runs it.
    pub fn script(&self, name: &str, body: &str) -> String {
        let file = self.dir().join(name);
        let mut text = String::from("#!/bin/sh\n");
        for (variable, value) in Repo::environment(self.dir()) {
            text += &format!("export {variable}='{value}'\n");
        }
        text += &format!("dir='{}'\n", self.dir().display());
        text += &format!("calls=\"$dir/{name}.calls\"\n");
        text += "call=$(( $(cat \"$calls\" 2>/dev/null || echo 0) + 1 ))\necho $call > \"$calls\"\n";
        text +=
            "advance() { read -r both wall < \"$dir/clock\"; echo \"$(( both + $1 )) $wall\" > \"$dir/clock.next\"; ";
        text += "mv \"$dir/clock.next\" \"$dir/clock\"; }\n";
        text += body;
        text += "\n";
        fs::write(&file, text).expect("the script is written");
        format!("[sh, {:?}]", file)
    }

    /// Returns how often a script was called.
    pub fn calls(&self, name: &str) -> usize {
        let text = fs::read_to_string(self.dir().join(format!("{name}.calls"))).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Lets a script run after each batch; see [`Self::script`].
    pub fn on_batch(&mut self, app: &str, body: &str) {
        let run = self.script("hook.sh", body);
        // A script may wait for its test, however busy the machine is.
        self.app(app).directory(&format!("reload: [ {{ match: \"*\", run: {run}, timeout: 10m }} ]"));
    }

    /// Copies the state directory, the roots, the clock and the scripts' counters aside.
    pub fn save(&self) -> Saved {
        let dir = temporary("hf-saved-");
        self.copy_durable(self.dir(), dir.path());
        Saved { dir }
    }

    /// Puts back what was saved, whatever happened since.
    pub fn restore(&self, saved: &Saved) {
        self.copy_durable(saved.dir.path(), self.dir());
    }

    fn copy_durable(&self, from: &Path, to: &Path) {
        for part in ["state", "roots", "clock"] {
            let (from, to) = (from.join(part), to.join(part));
            if to.is_dir() {
                fs::remove_dir_all(&to).expect("the old copy is removed");
            }
            if from.exists() {
                copy(&from, &to);
            }
        }
    }

    /// Runs something with a directory's permissions taken away, and gives them back.
    pub fn with_mode<T>(&self, path: &Path, mode: u32, run: impl FnOnce() -> T) -> T {
        let before = fs::metadata(path).expect("the path exists").permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
        let result = run();
        fs::set_permissions(path, before).expect("the mode is restored");
        result
    }
}

/// Makes a folder that disappears with its guard; in memory where that can be done, unless `TMPDIR` says otherwise.
///
/// A process that is killed loses nothing that the kernel has: what a disk's `fsync` costs shows nothing here, and is most
/// of the time.
fn temporary(prefix: &str) -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(prefix);
    let memory = Path::new("/dev/shm");
    let made = match std::env::var_os("TMPDIR") {
        None if is_roomy(memory) => builder.tempdir_in(memory),
        _ => builder.tempdir(),
    };
    made.expect("a temporary folder is made")
}

/// Tells whether a file system has room for many worlds, and runs their scripts.
fn is_roomy(path: &Path) -> bool {
    const ROOM: u64 = 1 << 30;
    let refuses = StatVfsMountFlags::NOEXEC | StatVfsMountFlags::RDONLY;
    let room = |about: &rustix::fs::StatVfs| about.f_bavail.saturating_mul(about.f_frsize) >= ROOM;
    rustix::fs::statvfs(path).is_ok_and(|about| !about.f_flag.intersects(refuses) && room(&about))
}

/// Copies a file or folder with everything that belongs to it.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-aT").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success(), "cp {} {}", from.display(), to.display());
}

/// Returns the first seven digits of a commit.
pub fn short(commit: &str) -> &str {
    &commit[..7]
}
