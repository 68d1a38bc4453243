//! The three renames that make preconditions real, and what stands in for them where a file system lacks the flags.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::hook::step;

/// Says that the file system knows no such rename.
const fn lacks(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Renames to a name that nothing has; `EXIST` if something has it.
///
/// Without `RENAME_NOREPLACE`: a hard link under the new name, which fails likewise if something has it, then the old
/// name is removed. A crash in between leaves both names; the temporary one is removed by the next session. A file
/// system with neither (FAT) refuses.
pub(super) fn into_nothing(dir: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> rustix::io::Result<()> {
    match step("rename noreplace").and_then(|()| rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE))
    {
        Err(error) if lacks(error) => {
            step("link").and_then(|()| rustix::fs::linkat(dir, from, dir, to, AtFlags::empty()))?;
            step("linked").and_then(|()| rustix::fs::unlinkat(dir, from, AtFlags::empty())).inspect_err(|_| {
                // Back to one name; if that fails too, both names hold the same and nothing is lost.
                let _ = rustix::fs::unlinkat(dir, to, AtFlags::empty());
            })
        }
        result => result,
    }
}

/// What an exchange came to.
#[derive(Debug)]
pub(super) enum Exchange {
    /// The two names have changed places.
    Done,
    /// The file system cannot; nothing was changed.
    Lacking,
}

/// Lets two names change places, atomically.
pub(super) fn exchange(dir: BorrowedFd<'_>, a: &[u8], b: &[u8]) -> rustix::io::Result<Exchange> {
    match step("rename exchange").and_then(|()| rustix::fs::renameat_with(dir, a, dir, b, RenameFlags::EXCHANGE)) {
        Ok(()) => Ok(Exchange::Done),
        Err(error) if lacks(error) => Ok(Exchange::Lacking),
        Err(error) => Err(error),
    }
}
