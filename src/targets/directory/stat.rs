//! What the file system says of a name, and its spelling as a [`Version`].

use std::os::fd::AsFd;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, StatxFlags};
use rustix::path::Arg;

use crate::core::resource::Version;

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

/// Tells one state of one inode from another, as far as the file system records it. Times are nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Mark {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
}

impl Mark {
    /// Spells the mark as a precondition.
    pub(super) fn version(&self) -> Version {
        let Self { dev, ino, size, mtime, ctime } = self;
        Version(format!("{dev}:{ino}:{size}:{mtime}:{ctime}").into())
    }

    /// Reads a precondition of our own spelling back.
    pub(super) fn parse(version: &Version) -> Option<Self> {
        let mut parts = version.0.split(':');
        let mark = Self {
            dev: parts.next()?.parse().ok()?,
            ino: parts.next()?.parse().ok()?,
            size: parts.next()?.parse().ok()?,
            mtime: parts.next()?.parse().ok()?,
            ctime: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(mark)
    }

    /// Tells whether the mark is the same but for ctime, which a rename changes.
    pub(super) const fn same_but_renamed(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino && self.size == other.size && self.mtime == other.mtime
    }

    /// Returns when the inode last changed, where that is a time at all.
    pub(super) fn changed_at(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(i128::from(self.ctime)).ok()
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
        let seen = rustix::io::retry_on_intr(|| rustix::fs::statx(&dir, name.as_cow_c_str()?, flags, wanted))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_comes_back_and_nothing_else_is_taken_for_one() {
        let mark = Mark { dev: u64::MAX, ino: 2, size: 0, mtime: -1, ctime: i64::MAX };
        assert_eq!(Mark::parse(&mark.version()), Some(mark));
        for wrong in ["", "1:2:3:4", "1:2:3:4:5:6", "a:2:3:4:5", "1:2:3:4:5 "] {
            assert_eq!(Mark::parse(&Version(wrong.into())), None, "{wrong:?}");
        }
    }
}
