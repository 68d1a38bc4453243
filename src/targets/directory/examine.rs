//! What can be told of a directory without writing to it, for those who check a machine before the controller runs.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, FlockOperation};
use rustix::io::Errno;

use super::Directory;
use super::beneath::{Root, explain};
use crate::core::resource::AnchorSeen;

/// What was found.
#[derive(Debug)]
pub struct Examination {
    /// Why this process may not make files in the root, if so.
    pub unwritable: Option<String>,
    /// The kind of file system that the root is on, such as `ext4`, where the system says.
    pub file_system: Option<String>,
    /// What stands where the anchor belongs.
    pub anchor: AnchorSeen,
}

/// Whether the lock around writing can be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LockSeen {
    /// It was taken and given back.
    Free,
    /// Somebody holds it.
    Held,
    /// The file system cannot lock.
    Unsupported(String),
}

impl Directory {
    /// Examines the root; nothing is written, and nobody is kept waiting.
    ///
    /// # Errors
    /// Why the root cannot be read, as a fragment that names it.
    pub fn examine(&self) -> Result<Examination, Arc<str>> {
        let root = Root::open(&self.config.root)?;
        let allowed = rustix::fs::accessat(&root, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
        let anchor = super::anchor::read(&root);
        Ok(Examination { unwritable: allowed.err().map(explain), file_system: file_system(&self.config.root), anchor })
    }

    /// Takes the lock around writing for a moment. Not while a controller runs: it might find the lock taken.
    ///
    /// # Errors
    /// Why the root cannot be read, as a fragment that names it.
    pub fn try_lock(&self) -> Result<LockSeen, Arc<str>> {
        let root = Root::open(&self.config.root)?;
        Ok(match rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let _ = rustix::fs::flock(&root, FlockOperation::Unlock);
                LockSeen::Free
            }
            Err(Errno::WOULDBLOCK) => LockSeen::Held,
            Err(error) => LockSeen::Unsupported(explain(error)),
        })
    }
}

/// Finds the kind of file system by the longest mount point that leads to a path.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    kind_of(&mounts, &path)
}

fn kind_of(mounts: &str, path: &Path) -> Option<String> {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // Spaces and the like are written as octal escapes.
        let point = fields.next()?.replace("\\040", " ").replace("\\011", "\t");
        path.starts_with(&point).then_some((point.len(), fields.next()?))
    });
    // Of two on one point the later one is what is seen.
    fields.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_counts_and_of_equals_the_last() {
        let mounts = "/dev/a / ext4 rw 0 0\nx /srv nfs4 rw 0 0\ny /srv/my\\040data tmpfs rw 0 0\nz /srv xfs rw 0 0\n";
        let kind = |path| kind_of(mounts, Path::new(path));
        assert_eq!(kind("/etc/web").as_deref(), Some("ext4"));
        assert_eq!(kind("/srv/web").as_deref(), Some("xfs"));
        assert_eq!(kind("/srv/my data/web").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/srvice").as_deref(), Some("ext4"));
    }
}
