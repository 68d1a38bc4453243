//! Lets one process at a time be the controller of a state directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Held for as long as this process is the controller; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub struct ControllerLock {
    _file: File,
}

/// Why this process is not the controller.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process is.
    #[error("another controller runs with the state directory {} (process {})", .dir.display(), .pid.as_deref().unwrap_or("unknown"))]
    Held {
        /// The state directory.
        dir: PathBuf,
        /// Its process id, if it could be read.
        pid: Option<String>,
    },
    /// The lock's file could not be used.
    #[error("the lock {} cannot be taken", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ControllerLock {
    /// Tells who holds the lock of a state directory, by process id where that is known; nothing is made or written.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn holder(state_dir: &Path) -> io::Result<Option<String>> {
        let mut file = match File::open(state_dir.join("controller.lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).map(|_| text.trim().to_owned()).unwrap_or_default();
                Ok(Some(if pid.is_empty() { "unknown".to_owned() } else { pid }))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes the lock of a state directory, which it makes if need be, or says who has it; does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it.
    pub fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path = state_dir.join("controller.lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(io)?;
        let mut open = OpenOptions::new();
        let opened = open.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().map(|_| text.trim().to_owned());
                return Err(LockError::Held { dir: state_dir.into(), pid: pid.filter(|pid| !pid.is_empty()) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // Only for people, so a full disk does not matter: who holds it is what the kernel says.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
