//! The directory that is kept in sync, and the commands that are run for it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use super::state::Seen;
use super::{Notes, cluster, files};
use crate::config::{Application, DirectoryTarget, Target};
use crate::core::anchor;
use crate::core::guards::Mode;
use crate::core::resource::{AnchorSeen, Id};
use crate::core::state::State;
use crate::targets::directory::{self, Directory, LockSeen};

/// Counting stops here: whoever has more directories needs a larger limit anyway.
const COUNTED: usize = 200_000;

/// File systems whose locks or notifications other machines do not share.
const SHARED: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph"];

/// Checks the target.
pub(super) fn target(app: &Application, wanted: &[Id], state: &Seen, notes: &mut Notes<'_>) {
    let target = match &app.target {
        Target::Directory(target) => target,
        Target::Exec(target) => {
            let program = target.run.first().map_or("", String::as_str);
            return notes
                .ok(program, "an exec target: what it reaches is for the program to say (`holdfast plan` asks it)");
        }
        Target::Kubernetes(target) => return cluster::cluster(app, target, wanted, state, notes),
    };
    let place = target.root.display().to_string();
    let config = directory::Config { root: target.root.clone(), exclusive: target.exclusive, reload: Vec::new() };
    let directory = match Directory::open(config) {
        Ok(directory) => directory,
        Err(error) => return notes.problem(place, super::chain(&error), "correct `target.directory.root`"),
    };
    let seen = match directory.examine() {
        Ok(seen) => seen,
        Err(why) => {
            let advice = format!("make or mount it: holdfast never makes a root itself; {}", files::as_whom());
            return notes.problem(place, why.to_string(), advice);
        }
    };
    let kind = seen.file_system.as_deref().unwrap_or("an unknown file system");
    match (&seen.unwritable, app.guards.mode) {
        (None, _) => notes.ok(&place, format!("writable, on {kind}")),
        (Some(why), Mode::Observe) => notes.warning(
            &place,
            format!("cannot be written: {why}; nothing is, while the mode is observe"),
            writable(target),
        ),
        (Some(why), Mode::Converge) => notes.problem(&place, format!("cannot be written: {why}"), writable(target)),
    }
    if SHARED.contains(&kind) {
        notes.warning(
            &place,
            format!("is on {kind}: changes that other machines make wake nobody"),
            "nothing, if an edit by hand may take an interval to be seen",
        );
    }
    let unread = match &seen.anchor {
        AnchorSeen::Unread(why) => Some(why),
        _ => None,
    };
    if let Some(why) = unread {
        notes.problem(&place, why.to_string(), "make it readable; see docs/runbook/observation.md");
    }
    match state.of(&app.name) {
        _ if unread.is_some() => {}
        Some((ledger, known)) => {
            if let Some(reason) = anchor::misplaced(&known.app.anchor, &seen.anchor, &app.name, &ledger) {
                notes.problem(&place, reason.message, "see docs/runbook/state.md before anything else");
            } else {
                notes.ok(&place, "the anchor is this ledger's, or there is none yet");
            }
        }
        None => match anchor::misplaced(&State::default().app.anchor, &seen.anchor, &app.name, "") {
            Some(reason) => notes.problem(
                &place,
                reason.message,
                "is `stateDir` the right one? Otherwise see docs/runbook/state.md",
            ),
            None => notes.ok(&place, "nobody has claimed it yet"),
        },
    }
    match &state.running {
        Some(pid) => notes.ok(&place, format!("its lock is left to the running controller (process {pid})")),
        None => lock(&directory, &place, notes),
    }
    watches(&target.root, notes);
}

fn lock(directory: &Directory, place: &str, notes: &mut Notes<'_>) {
    match directory.try_lock() {
        Ok(LockSeen::Free) => notes.ok(place, "can be locked, and nobody writes there"),
        Ok(LockSeen::Held) => notes.problem(
            place,
            "another controller is writing to it",
            "find it (`fuser -v` on the root), and stop one of the two",
        ),
        Ok(LockSeen::Unsupported(why)) => {
            notes.problem(place, format!("cannot be locked: {why}"), "use a file system with flock on directories")
        }
        Err(why) => notes.problem(place, why.to_string(), "look again: it changed while it was looked at"),
    }
}

fn writable(target: &DirectoryTarget) -> String {
    let owner =
        std::fs::metadata(&target.root).map_or_else(|_| "nobody".to_owned(), |found| format!("user {}", found.uid()));
    format!("let the user of holdfast write it; it belongs to {owner}, and {}", files::as_whom())
}

/// Compares how many directories there are with how many the kernel watches.
fn watches(root: &Path, notes: &mut Notes<'_>) {
    let limit = |name: &str| -> Option<usize> {
        std::fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).ok()?.trim().parse().ok()
    };
    let (Some(watches), Some(instances)) = (limit("max_user_watches"), limit("max_user_instances")) else { return };
    let place = "/proc/sys/fs/inotify/max_user_watches";
    let needed = directories(root);
    if instances == 0 || needed >= watches {
        notes.warning(
            place,
            format!("{needed} directories cannot be watched, {watches} is the limit: an edit by hand is seen an interval late"),
            format!("sysctl fs.inotify.max_user_watches={}", (needed * 2).max(65_536)),
        );
    } else {
        notes.ok(place, format!("{needed} directories to watch of {watches} that may be"));
    }
}

fn directories(root: &Path) -> usize {
    let (mut left, mut count) = (vec![root.to_owned()], 0);
    while let Some(dir) = left.pop() {
        count += 1;
        if count >= COUNTED {
            break;
        }
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        left.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
        );
    }
    count
}

/// Checks that the programs that the target names are there and may be run.
pub(super) fn commands(app: &Application, notes: &mut Notes<'_>) {
    let root = app.target.root().unwrap_or(Path::new("/"));
    for (field, argv) in named(&app.target) {
        let Some(program) = argv.first() else { continue };
        match find(program, root) {
            Ok(path) => notes.ok(path.display(), format!("{field}: may be executed")),
            Err(why) => {
                let advice = "install it, write its full path, or correct `target`";
                notes.problem(program, format!("{field}: {why}"), advice);
            }
        }
    }
}

/// Lists the programs that a target names, with their fields.
fn named(target: &Target) -> Vec<(&'static str, &Vec<String>)> {
    match target {
        Target::Directory(target) => target
            .reload
            .iter()
            .flat_map(|reload| [("reload.run", &reload.run), ("reload.check", &reload.check)])
            .collect(),
        Target::Exec(target) => vec![("exec.run", &target.run)],
        Target::Kubernetes(_) => Vec::new(),
    }
}

/// Finds a program as it would be when it is run in the root.
fn find(program: &str, root: &Path) -> Result<PathBuf, String> {
    let may_run =
        |path: &Path| path.is_file() && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    if program.contains('/') {
        let path = root.join(program);
        return if may_run(&path) {
            Ok(path)
        } else if path.is_file() {
            Err("may not be executed".to_owned())
        } else {
            Err("there is no such program".to_owned())
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| may_run(path));
    found.ok_or_else(|| format!("there is no such program in PATH ({})", path.to_string_lossy()))
}
