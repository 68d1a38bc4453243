//! What the file system says of a name.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Mode, StatxFlags};
use rustix::path::Arg;

pub(super) use crate::core::resource::FileMark as Mark;

/// The kind of a directory entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
    /// Anything else, by name; never opened.
    Other(&'static str),
}

impl Kind {
    /// Names the kind for people and for digests.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Link => "link",
            Self::Directory => "directory",
            Self::Other(name) => name,
        }
    }

    const fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Link,
            FileType::Directory => Self::Directory,
            FileType::Fifo => Self::Other("fifo"),
            FileType::Socket => Self::Other("socket"),
            FileType::CharacterDevice => Self::Other("character device"),
            FileType::BlockDevice => Self::Other("block device"),
            FileType::Unknown => Self::Other("unknown kind of file"),
        }
    }
}

/// What `statx` says of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub(super) mark: Mark,
    pub(super) kind: Kind,
    /// The permission bits.
    pub(super) mode: Mode,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Stat {
    /// Looks at a name below an open directory without following a link.
    pub(super) fn of(dir: impl AsFd, name: impl Arg) -> rustix::io::Result<Self> {
        Self::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Looks at an open file.
    pub(super) fn of_fd(fd: impl AsFd) -> rustix::io::Result<Self> {
        Self::statx(fd, c"", AtFlags::EMPTY_PATH)
    }

    fn statx(dir: impl AsFd, name: impl Arg, flags: AtFlags) -> rustix::io::Result<Self> {
        let wanted = StatxFlags::TYPE
            | StatxFlags::MODE
            | StatxFlags::UID
            | StatxFlags::GID
            | StatxFlags::INO
            | StatxFlags::SIZE
            | StatxFlags::MTIME
            | StatxFlags::CTIME;
        // Most names are made a C string on the stack.
        let seen =
            name.into_with_c_str(|name| rustix::io::retry_on_intr(|| rustix::fs::statx(&dir, name, flags, wanted)))?;
        let mode = u32::from(seen.stx_mode);
        Ok(Self {
            mark: Mark {
                dev: rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor),
                ino: seen.stx_ino,
                size: seen.stx_size,
                mtime: nanoseconds(seen.stx_mtime.tv_sec, seen.stx_mtime.tv_nsec),
                ctime: nanoseconds(seen.stx_ctime.tv_sec, seen.stx_ctime.tv_nsec),
            },
            kind: Kind::of(FileType::from_raw_mode(mode)),
            mode: Mode::from_raw_mode(mode),
            uid: seen.stx_uid,
            gid: seen.stx_gid,
        })
    }

    /// Tells whether the owner may execute it, which is what Git records.
    pub(super) const fn executable(&self) -> bool {
        self.mode.contains(Mode::XUSR)
    }
}

/// Joins seconds and nanoseconds; years that do not fit (after 2262) saturate, which the cache takes for racy.
const fn nanoseconds(seconds: i64, nanoseconds: u32) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds as i64)
}
