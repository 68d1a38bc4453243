//! Opens directories and files below the root, and nowhere else, whatever links say.
//!
//! Every path is resolved by one `openat2` that refuses links and `..`; where the kernel or a sandbox has no `openat2`,
//! part by part with `O_NOFOLLOW`, which is as safe and slower.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::stat::{Kind, Stat};
use crate::core::spelling::id_from_bytes;

/// Searching a directory suffices to look at names whose spelling is known, and needs no permission to list it.
pub(super) const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Reading a directory lists it, and makes its names durable with `fsync`.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Reading a file neither follows a link nor waits for a fifo's writer.
pub(super) const READ_FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Why a directory below the root could not be opened.
#[derive(Clone, Debug)]
pub(super) enum Closed {
    /// It, or one above it, does not exist, or is something that cannot contain anything.
    Absent,
    /// A link stands in the way, or it could not be read, and why; nothing may be concluded.
    Unread(Arc<str>),
}

/// The root, held open.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    stat: Stat,
}

impl Root {
    /// Opens the root, which may itself be reached through links: the operator named it.
    ///
    /// # Errors
    /// Why it cannot be read, as a fragment that names it.
    pub(super) fn open(path: &Path) -> Result<Self, Arc<str>> {
        let failed = |error: Errno| {
            let why = match error {
                Errno::NOENT => "does not exist".to_owned(),
                Errno::NOTDIR => "is no directory".to_owned(),
                error => format!("cannot be read: {}", explain(error)),
            };
            Arc::<str>::from(format!("the root {} {why}", path.display()))
        };
        let fd = rustix::io::retry_on_intr(|| rustix::fs::openat(CWD, path, READ, Mode::empty())).map_err(failed)?;
        let stat = Stat::of_fd(&fd).map_err(failed)?;
        Ok(Self { fd, stat })
    }

    /// Tells whether the path still names the directory that is open: not removed, unmounted, mounted over, replaced.
    ///
    /// # Errors
    /// What happened, as a fragment that names the root.
    pub(super) fn check(&self, path: &Path) -> Result<(), Arc<str>> {
        let now = Self::open(path)?;
        if (now.stat.mark.dev, now.stat.mark.ino) == (self.stat.mark.dev, self.stat.mark.ino) {
            Ok(())
        } else {
            Err(format!("the root {} was replaced while it was being used", path.display()).into())
        }
    }

    /// Opens a directory below the root; the empty path is the root itself.
    pub(super) fn dir(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Closed> {
        open_dir(self.fd.as_fd(), path, flags).map_err(|error| closed(self.fd.as_fd(), path, b"", error))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a directory below another; the empty path is that one again.
pub(super) fn open_dir(at: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    resolve(at, if path.is_empty() { b"." } else { path }, flags)
}

/// Opens a file right below an open directory, without following or waiting.
pub(super) fn open_file(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    resolve(at, name, READ_FILE)
}

fn resolve(at: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // The kernel answers EAGAIN when something was renamed meanwhile and it could not be sure; it bounds no retries.
    for _ in 0..64 {
        match rustix::fs::openat2(at, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return resolve_by_parts(at, path, flags),
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Resolves part by part for kernels before 5.6 and sandboxes that refuse `openat2`.
fn resolve_by_parts(at: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    let mut held: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        if part == b".." {
            return Err(Errno::XDEV);
        }
        let dir = held.as_ref().map_or(at, AsFd::as_fd);
        let flags = if parts.peek().is_some() { SEARCH } else { flags };
        held =
            Some(rustix::io::retry_on_intr(|| rustix::fs::openat(dir, part, flags | OFlags::NOFOLLOW, Mode::empty()))?);
    }
    held.ok_or(Errno::NOENT)
}

/// Turns the error of opening a directory into what it means; `prefix` is where `at` is, for the message.
pub(super) fn closed(at: BorrowedFd<'_>, path: &[u8], prefix: &[u8], error: Errno) -> Closed {
    match error {
        Errno::NOENT => Closed::Absent,
        Errno::LOOP | Errno::NOTDIR => in_the_way(at, path, prefix),
        error => Closed::Unread(format!("`{}`: {}", join(prefix, path), explain(error)).into()),
    }
}

/// Finds the first part of a path that is no directory.
fn in_the_way(at: BorrowedFd<'_>, path: &[u8], prefix: &[u8]) -> Closed {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        // Every part before this one was found to be a directory, so that nothing is followed here.
        match Stat::of(at, &path[..end]).map(|stat| stat.kind) {
            Ok(Kind::Directory) => {}
            Ok(Kind::Link) => {
                let link = join(prefix, &path[..end]);
                return Closed::Unread(format!("`{link}` is a symbolic link: not followed").into());
            }
            Ok(Kind::File | Kind::Other(_)) => return Closed::Absent,
            Err(error) => {
                return Closed::Unread(format!("`{}`: {}", join(prefix, &path[..end]), explain(error)).into());
            }
        }
    }
    Closed::Unread(format!("`{}` changed while it was being read", join(prefix, path)).into())
}

fn join(prefix: &[u8], path: &[u8]) -> String {
    let mut whole = prefix.to_vec();
    if !prefix.is_empty() && !path.is_empty() {
        whole.push(b'/');
    }
    whole.extend_from_slice(path);
    id_from_bytes(&whole).as_str().to_owned()
}

/// Says what an error means to whoever has to do something about it.
pub(super) fn explain(error: Errno) -> String {
    let meaning = match error {
        Errno::ACCESS => "permission denied",
        Errno::PERM => "not permitted (an immutable file, a missing capability, or a sandbox)",
        Errno::NOSPC => "no space is left on the file system",
        Errno::DQUOT => "the disk quota is used up",
        Errno::ROFS => "the file system is read-only",
        Errno::IO => "input/output error",
        Errno::STALE => "stale file handle: the file system's server forgot it",
        Errno::MFILE => "too many open files in this process",
        Errno::NFILE => "too many open files in the system",
        Errno::LOOP => "a symbolic link: not followed",
        Errno::BUSY => "busy: a mount point, or in use by the system",
        Errno::XDEV => "on another file system than its directory",
        Errno::NAMETOOLONG => "the name is too long for the file system",
        Errno::NOENT => "it does not exist",
        Errno::NOTDIR => "something above it is no directory",
        Errno::FBIG => "the file is too large for the file system or the process's limit",
        Errno::ILSEQ | Errno::INVAL => "the file system does not take such a name or operation",
        other => return std::io::Error::from(other).to_string(),
    };
    meaning.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_ways_of_resolving_stay_beneath() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(temp.path().join("outside")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("a", root.join("in")).unwrap();
        symlink("/", root.join("a/abs")).unwrap();
        let root = Root::open(&root).unwrap();
        for resolve in [resolve, resolve_by_parts] {
            assert!(resolve(root.as_fd(), b"a/b", READ).is_ok());
            assert!(resolve(root.as_fd(), b".", READ).is_ok());
            for wrong in [b"..".as_slice(), b"a/../..", b"out", b"in", b"in/b", b"a/abs", b"a/abs/etc", b"/"] {
                assert!(resolve(root.as_fd(), wrong, READ).is_err(), "{}", String::from_utf8_lossy(wrong));
            }
        }
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("a")).unwrap();
        std::fs::write(temp.path().join("a/file"), "").unwrap();
        symlink("/", temp.path().join("a/link")).unwrap();
        let root = Root::open(temp.path()).unwrap();
        assert!(matches!(root.dir(b"a/none/x", SEARCH), Err(Closed::Absent)));
        assert!(matches!(root.dir(b"a/file", SEARCH), Err(Closed::Absent)));
        assert!(matches!(root.dir(b"a/file/x", SEARCH), Err(Closed::Absent)));
        for path in [b"a/link".as_slice(), b"a/link/etc"] {
            match root.dir(path, SEARCH) {
                Err(Closed::Unread(why)) => assert_eq!(&*why, "`a/link` is a symbolic link: not followed"),
                other => panic!("{other:?}"),
            }
        }
    }
}
