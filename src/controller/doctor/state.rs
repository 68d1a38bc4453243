//! The state directory and what is in it: the ledger, the lock, the clock that it has seen, and what is frozen.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::SignedDuration;
use rustix::fs::{Access, AtFlags, CWD};

use super::source::Seen as Repository;
use super::{Notes, chain, files};
use crate::clock::MachineClock;
use crate::config::{Application, Config};
use crate::controller::live::local_freezes;
use crate::core::freeze::{self, FreezeState};
use crate::core::state::State;
use crate::store::{ControllerLock, EVERY, Ledger, Mode, StoreError};

/// Below this the ledger's log, a clone and the temporary files of a rollout may not have room.
const ROOM: u64 = 256 * 1024 * 1024;

/// A logical clock that is this far behind the wall clock holds up what people wait for.
const LAG: SignedDuration = SignedDuration::from_hours(1);

/// What was found of the state directory.
pub(super) struct Seen {
    /// The process that runs as its controller, if one does.
    pub(super) running: Option<String>,
    /// The ledger, if there is one that can be read.
    pub(super) ledger: Option<Ledger>,
}

impl Seen {
    /// Returns what the ledger knows of an application.
    pub(super) fn of(&self, app: &str) -> Option<(Arc<str>, State)> {
        let ledger = self.ledger.as_ref()?;
        Some((ledger.id().clone(), ledger.load(app).ok()?))
    }
}

/// Checks the state directory, its lock and its ledger.
pub(super) fn state(config: &Config, notes: &mut Notes<'_>) -> Seen {
    let dir = &config.controller.state_dir;
    if directory(dir, config.controller.cluster.is_some(), notes) {
        room(dir, notes);
    }
    let running = match ControllerLock::holder(dir) {
        Ok(Some(pid)) => {
            notes.ok(dir.display(), format!("a controller is running with it (process {pid})"));
            Some(pid)
        }
        Ok(None) => None,
        Err(error) => {
            notes.problem(dir.join("controller.lock").display(), format!("cannot be read: {error}"), files::as_whom());
            None
        }
    };
    let ledger = match Ledger::open(dir, Mode::Reader) {
        Ok(ledger) => {
            notes.ok(ledger.path().display(), "the ledger can be read");
            Some(ledger)
        }
        Err(StoreError::Missing { path }) => {
            notes.ok(path.display(), "there is no ledger yet: the controller makes it");
            None
        }
        Err(error) => {
            let advice = match error {
                StoreError::Corrupt { .. } => {
                    "restore it, or look at the targets and `holdfast reanchor`: docs/runbook/state.md"
                }
                _ => "see docs/runbook/state.md",
            };
            notes.problem("", chain(&error), advice);
            None
        }
    };
    Seen { running, ledger }
}

/// Says whether the directory can be used; tells whether there is one.
///
/// A pod's volume is its group's (`fsGroup`), and that group has no other members: whoever is in the pod can do all of it anyway.
fn directory(dir: &Path, pod: bool, notes: &mut Notes<'_>) -> bool {
    let metadata = match std::fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = nearest(dir);
            match may_write(&above) {
                Ok(()) => notes.ok(dir.display(), "does not exist yet: the controller makes it"),
                Err(why) => notes.problem(
                    dir.display(),
                    format!("does not exist, and {} cannot be written: {why}", above.display()),
                    format!("make it, or correct `stateDir`; {}", files::as_whom()),
                ),
            }
            return false;
        }
        Err(error) => {
            notes.problem(dir.display(), error.to_string(), format!("correct `stateDir`; {}", files::as_whom()));
            return false;
        }
    };
    if !metadata.is_dir() {
        notes.problem(dir.display(), "is no directory", "correct `stateDir`");
        return false;
    }
    if let Err(why) = may_write(dir) {
        notes.problem(
            dir.display(),
            format!("cannot be written: {why}"),
            format!("let the user of holdfast write it; {}", files::as_whom()),
        );
    } else if metadata.mode() & if pod { 0o002 } else { 0o022 } != 0 {
        notes.problem(
            dir.display(),
            format!("others may write it (mode {:04o}): whoever can, approves and thaws", metadata.mode() & 0o7777),
            format!("chmod go-w {}", dir.display()),
        );
    } else {
        notes.ok(dir.display(), "writable, by nobody else");
    }
    true
}

fn room(dir: &Path, notes: &mut Notes<'_>) {
    let Ok(found) = rustix::fs::statvfs(dir) else { return };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < ROOM {
        notes.warning(
            dir.display(),
            format!("only {} MiB are free", free / (1024 * 1024)),
            "make room: without it nothing is written, and nothing is lost",
        );
    }
    if found.f_files > 0 && found.f_favail < 1000 {
        notes.warning(
            dir.display(),
            format!("only {} more files fit its file system", found.f_favail),
            "make room for files (inodes)",
        );
    }
}

/// Returns the directory that exists above one that does not.
fn nearest(dir: &Path) -> PathBuf {
    dir.ancestors().skip(1).find(|above| above.exists()).map_or_else(|| "/".into(), Path::to_owned)
}

fn may_write(dir: &Path) -> Result<(), String> {
    let allowed = rustix::fs::accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    allowed.map_err(|error| std::io::Error::from(error).to_string())
}

/// Compares the machine's clock with what the ledger has seen.
pub(super) fn clock(app: &Application, seen: &Seen, notes: &mut Notes<'_>) {
    let reading = MachineClock::read();
    let Some(clock) = seen.of(&app.name).and_then(|(_, state)| state.app.clock) else {
        return notes.ok("", format!("it is {}", reading.wall.strftime("%Y-%m-%d %H:%M:%S UTC")));
    };
    if let Some(behind) = clock.behind(&reading) {
        return notes.problem(
            "",
            format!(
                "this machine says {}, and the ledger has already seen {}: {} s behind",
                reading.wall,
                clock.wall,
                behind.as_secs()
            ),
            "set the clock (NTP); until then STATE withholds every write",
        );
    }
    let lag = reading.wall.duration_since(clock.advance(&reading).now);
    if lag > LAG {
        notes.warning(
            "",
            format!("the ledger's time is {} min behind: the clock jumped, or the machine was off; what expires or drains waits for it", lag.as_mins()),
            "nothing, if the clock is right now: it catches up by itself",
        );
    } else {
        notes.ok("", format!("it is {}, in step with the ledger", reading.wall.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
}

/// Says what is frozen, here and at the tip.
pub(super) fn freezes(
    app: &Application,
    config: &Config,
    seen: &Seen,
    repository: Option<&Repository>,
    notes: &mut Notes<'_>,
) {
    let logical = |state: &State| {
        state.app.clock.as_ref().map_or_else(MachineClock::wall, |clock| clock.advance(&MachineClock::read()).now)
    };
    let (known, now) = seen.of(&app.name).map_or_else(
        || (FreezeState::default(), MachineClock::wall()),
        |(_, state)| (state.app.freeze.clone(), logical(&state)),
    );
    let local = local_freezes(app, &config.controller.state_dir, &known, now).into_iter();
    let mut reasons: Vec<String> = local.map(|reason| reason.message).collect();
    for name in [EVERY, &*app.name] {
        let Some((_, state)) = seen.of(name) else { continue };
        let active = state.app.freeze.active(&app.name, logical(&state)).into_iter();
        reasons.extend(active.filter(|frozen| !frozen.is_local()).map(|frozen| freeze::reason(frozen).message));
    }
    let glimpse = repository.map(|seen| &seen.glimpse);
    if let Some((tip, Ok(snapshot))) = glimpse.map(|glimpse| (&glimpse.tip, &glimpse.snapshot)) {
        for entry in snapshot.freeze_entries(tip, &app.source.path).unwrap_or_default() {
            // One that the ledger knows already was told above.
            if !reasons.iter().any(|reason| reason.contains(&*entry.path)) {
                reasons.push(format!("frozen by {} at the tip {}", entry.path, tip.short()));
            }
        }
    }
    if reasons.is_empty() {
        return notes.ok("", "nothing is frozen");
    }
    for reason in reasons {
        notes.warning(
            "",
            reason,
            format!("remove the FREEZE by a signed commit; one set by a person: holdfast thaw {}", app.name),
        );
    }
}
