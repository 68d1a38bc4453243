//! Puts new content beside its place: its directory, its bytes, its attributes, synced.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::attributes;
use super::beneath::{Closed, READ, Root, explain, open_file};
use super::hook::step;
use super::job::Stop;
use super::path::split;
use super::stat::{Kind, Stat};
use super::write::Dirs;
use crate::core::resource::Digest;
use crate::core::spelling::{id_from_bytes, link_digest};
use crate::core::write::Content;
use crate::targets::content_digest;

/// Permissions of a directory that had to be made.
const DIRECTORY: Mode = Mode::from_raw_mode(0o755);

/// New content under its temporary name.
#[derive(Debug)]
pub(super) struct Staged {
    /// Device and inode, by which it is recognized after a rename.
    pub(super) inode: (u64, u64),
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) mode: Mode,
    pub(super) digest: Digest,
    /// A file whose content is not yet durable.
    unsynced: Option<File>,
}

impl Staged {
    /// Makes the content durable. A link's target is, with its directory.
    pub(super) fn sync(&mut self) -> rustix::io::Result<()> {
        step("sync content")?;
        self.unsynced.take().map_or(Ok(()), |file| rustix::fs::fsync(&file))
    }
}

/// Where new content goes.
pub(super) struct Place<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) leaf: &'a [u8],
    pub(super) temp: &'a str,
}

impl Place<'_> {
    /// Writes content under the temporary name, with the attributes of what it will replace.
    pub(super) fn stage(&self, content: &Content, old: Option<&Stat>) -> rustix::io::Result<Staged> {
        let (unsynced, digest) = match content {
            Content::File { bytes, executable } => {
                let digest = content_digest(bytes, *executable).ok_or(Errno::BADMSG)?;
                (Some(self.file(bytes, *executable, old)?), digest)
            }
            Content::Link(target) => {
                step("stage link")?;
                rustix::fs::symlinkat(&**target, self.dir, self.temp)?;
                if let Some(old) = old {
                    // As far as permitted, as for files.
                    let (uid, gid) = (Uid::from_raw(old.uid), Gid::from_raw(old.gid));
                    let _ = rustix::fs::chownat(self.dir, self.temp, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
                }
                (None, link_digest(target))
            }
        };
        let Stat { mark, mode, .. } = Stat::of(self.dir, self.temp)?;
        Ok(Staged { inode: (mark.dev, mark.ino), size: mark.size, mtime: mark.mtime, mode, digest, unsynced })
    }

    fn file(&self, bytes: &[u8], executable: bool, old: Option<&Stat>) -> rustix::io::Result<File> {
        step("stage file")?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // For nobody else to read before the owner is right.
        let fd = rustix::fs::openat(self.dir, self.temp, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(fd);
        step("write content")?;
        file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let fd = OwnedFd::from(file);
        // What cannot be opened cannot be copied: better refused than with permissions that nobody chose.
        let held = match old {
            Some(stat) if stat.kind == Kind::File => Some((open_file(self.dir, self.leaf)?, stat)),
            _ => None,
        };
        step("attributes")?;
        attributes::give(&fd, held.as_ref().map(|(fd, stat)| (fd, *stat)), executable)?;
        Ok(fd.into())
    }
}

/// Opens the directory of what is to be updated or deleted.
pub(super) fn existing_dir(root: &Root, path: &[u8]) -> Result<OwnedFd, Stop> {
    root.dir(path, READ).map_err(|closed| match closed {
        Closed::Absent => Stop::Moved(format!("its directory `{}` is gone", id_from_bytes(path)).into()),
        Closed::Unread(why) => Stop::Refused(why),
    })
}

/// Opens a directory, making what is missing of it; every name made is durable.
pub(super) fn make_dir(root: &Root, path: &[u8], dirs: &mut Dirs) -> Result<OwnedFd, Arc<str>> {
    match root.dir(path, READ) {
        Ok(fd) => return Ok(fd),
        Err(Closed::Unread(why)) => return Err(why),
        Err(Closed::Absent) if path.is_empty() => return Err("the root is gone".into()),
        Err(Closed::Absent) => {}
    }
    let (above, name) = split(path);
    let parent = make_dir(root, above, dirs)?;
    let failed = |error| Arc::<str>::from(format!("the directory `{}`: {}", id_from_bytes(path), explain(error)));
    match step("mkdir").and_then(|()| rustix::fs::mkdirat(&parent, name, DIRECTORY)) {
        Ok(()) => {
            dirs.made.push(path.to_vec());
            let fd = root.dir(path, READ).map_err(|_| failed(Errno::NOENT))?;
            let made = Stat::of_fd(&fd).map_err(failed)?;
            // Whatever the umask; a set-group-id bit that was inherited stays.
            let kept = made.mode.difference(Mode::RWXU | Mode::RWXG | Mode::RWXO);
            rustix::fs::fchmod(&fd, kept | DIRECTORY).map_err(failed)?;
            step("sync parent").and_then(|()| rustix::fs::fsync(parent.as_fd())).map_err(failed)?;
            Ok(fd)
        }
        Err(Errno::EXIST) => match Stat::of(&parent, name).map_err(failed)?.kind {
            // Somebody else made it meanwhile.
            Kind::Directory => root.dir(path, READ).map_err(|_| failed(Errno::NOENT)),
            kind => Err(format!("`{}` is a {}: a directory is needed", id_from_bytes(path), kind.name()).into()),
        },
        Err(error) => Err(failed(error)),
    }
}
