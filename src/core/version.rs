//! What the target uses as the precondition of a write.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the target uses as the precondition of a write: opaque, compared for equality only.
///
/// A directory spells device, inode, size, mtime and ctime; Kubernetes uid and resourceVersion. What spells a [`FileMark`]
/// always is one: a hundred thousand of them are made in every cycle, and as text each would take a format and an allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// As the target spells it.
    Text(Arc<str>),
    /// Of a file.
    File(FileMark),
}

impl Version {
    /// Makes a version of a target's spelling.
    pub fn new(spelling: impl AsRef<str> + Into<Arc<str>>) -> Self {
        match FileMark::parse(spelling.as_ref()) {
            Some(mark) => Self::File(mark),
            None => Self::Text(spelling.into()),
        }
    }

    /// Returns the spelling of what is not of a file.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::File(_) => None,
        }
    }

    /// Returns the mark of a file.
    pub const fn file(&self) -> Option<FileMark> {
        match self {
            Self::Text(_) => None,
            Self::File(mark) => Some(*mark),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::File(mark) => mark.fmt(f),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer).map(Self::new)
    }
}

/// Tells one state of one inode from another, as far as the file system records it. Times are nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileMark {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// The size in bytes.
    pub size: u64,
    /// When the content last changed.
    pub mtime: i64,
    /// When the inode last changed.
    pub ctime: i64,
}

impl FileMark {
    /// Reads a mark's own spelling, and no other of the same numbers: what was spelt otherwise stays what it was.
    fn parse(spelling: &str) -> Option<Self> {
        let mut parts = spelling.split(':');
        let mark = Self {
            dev: parts.next()?.parse().ok()?,
            ino: parts.next()?.parse().ok()?,
            size: parts.next()?.parse().ok()?,
            mtime: parts.next()?.parse().ok()?,
            ctime: parts.next()?.parse().ok()?,
        };
        (mark.to_string() == spelling).then_some(mark)
    }

    /// Tells whether the mark is the same but for ctime, which a rename changes.
    pub const fn same_but_renamed(&self, other: &Self) -> bool {
        self.dev == other.dev && self.ino == other.ino && self.size == other.size && self.mtime == other.mtime
    }

    /// Returns when the inode last changed, where that is a time at all.
    pub fn changed_at(&self) -> Option<Timestamp> {
        const SECOND: i64 = 1_000_000_000;
        let nanosecond = i32::try_from(self.ctime.rem_euclid(SECOND)).ok()?;
        Timestamp::new(self.ctime.div_euclid(SECOND), nanosecond).ok()
    }
}

impl fmt::Display for FileMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dev, ino, size, mtime, ctime } = self;
        write!(f, "{dev}:{ino}:{size}:{mtime}:{ctime}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_mark_comes_back_and_nothing_else_is_taken_for_one() {
        let mark = FileMark { dev: u64::MAX, ino: 2, size: 0, mtime: -1, ctime: i64::MAX };
        let version = Version::File(mark);
        assert_eq!(Version::new(version.to_string()), version);
        let json = serde_json::to_string(&version).unwrap();
        assert_eq!(json, format!("\"{mark}\""));
        assert_eq!(serde_json::from_str::<Version>(&json).unwrap(), version);
        for other in ["", "1:2:3:4", "1:2:3:4:5:6", "a:2:3:4:5", "1:2:3:4:5 ", "01:2:3:4:5", "+1:2:3:4:5", "1:2:3:-0:5"]
        {
            assert_eq!(Version::new(other), Version::Text(other.into()), "{other:?}");
            assert_eq!(Version::new(other).to_string(), other);
        }
    }
}
