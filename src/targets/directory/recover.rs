//! Makes good what a crash left of a batch.
//!
//! | killed | left behind | made good |
//! |---|---|---|
//! | while staging | new content under its temporary name | removed |
//! | staged, or exchanged back | the same | removed |
//! | exchanged, not yet looked at | new content in place, old under the temporary name | as observed: old removed; else exchanged back |
//! | moved aside (delete, or update without exchange) | old under its other temporary name | renamed back |
//! | moved aside by a hard link | old under both names | temporary name removed |
//! | looked at, old removed | nothing | |
//!
//! Whenever the old content can neither be put back nor be known for what was observed, because somebody wrote another
//! meanwhile, it is kept beside under a name that begins with `.holdfast-saved-`, and reported.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath::{Closed, READ, Root, explain};
use super::hook::step;
use super::journal::{self, Plan};
use super::look::{Look, look};
use super::path::{TEMPORARY, split};
use super::rename::{self, Exchange};
use super::stat::{Mark, Stat};
use crate::core::resource::{Digest, Id};
use crate::core::spelling::{bytes_from_id, id_from_bytes};

/// What was made good at a session's start, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    /// How many interrupted writes were brought to an end, or undone.
    pub resolved: usize,
    /// Old content that was neither put back nor removed: what it was, and the path that it is kept under.
    pub saved: Vec<(Id, Id)>,
}

/// Makes good everything that the journal of an interrupted session names.
pub(super) fn run(root: &Root) -> Result<Recovery, Arc<str>> {
    let mut recovery = Recovery::default();
    for (plan, staged) in journal::left(root)? {
        one(root, &plan, staged, &mut recovery)?;
        recovery.resolved += 1;
    }
    let anchor = format!("{TEMPORARY}anchor");
    match rustix::fs::unlinkat(root, &anchor, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ROFS | Errno::ACCESS | Errno::PERM) => {}
        Err(error) => return Err(explain(error).into()),
    }
    step("recover journal")
        .and_then(|()| journal::remove(root))
        .or_else(|error| if recovery.resolved == 0 { Ok(()) } else { Err(error) })
        .map_err(explain)?;
    Ok(recovery)
}

fn one(root: &Root, plan: &Plan, staged: Option<(u64, u64)>, recovery: &mut Recovery) -> Result<(), Arc<str>> {
    let damaged = |error: crate::core::spelling::NotAPath| Arc::<str>::from(error.to_string());
    let (dir, leaf) = (bytes_from_id(&plan.dir).map_err(damaged)?, bytes_from_id(&plan.leaf).map_err(damaged)?);
    if !split(&leaf).0.is_empty() {
        return Err(format!("`{}` is no name", plan.leaf).into());
    }
    let fd = match root.dir(&dir, READ) {
        Ok(fd) => fd,
        // Gone with everything that was in it.
        Err(Closed::Absent) => return Ok(()),
        Err(Closed::Unread(why)) => return Err(why),
    };
    let at = fd.as_fd();
    let failed = |error: Errno| Arc::<str>::from(format!("`{}`: {}", plan.leaf, explain(error)));
    step("recover").map_err(failed)?;
    let in_temp = inode(at, plan.temp.as_bytes()).map_err(failed)?;
    let in_aside = inode(at, plan.aside.as_bytes()).map_err(failed)?;
    if in_temp.is_some() && (staged.is_none() || in_temp == staged) {
        rustix::fs::unlinkat(at, &plan.temp, AtFlags::empty()).map_err(failed)?;
    } else if in_temp.is_some() {
        let old = Old { at, name: &plan.temp, leaf: &leaf, plan, staged };
        old.resolve(recovery).map_err(failed)?;
    }
    step("recover aside").map_err(failed)?;
    if in_aside.is_some() {
        let old = Old { at, name: &plan.aside, leaf: &leaf, plan, staged };
        old.resolve(recovery).map_err(failed)?;
    }
    step("recover sync").and_then(|()| rustix::fs::fsync(&fd)).map_err(failed)
}

/// Old content under a temporary name, not yet known to be what was observed.
struct Old<'a> {
    at: BorrowedFd<'a>,
    name: &'a str,
    leaf: &'a [u8],
    plan: &'a Plan,
    staged: Option<(u64, u64)>,
}

impl Old<'_> {
    fn resolve(&self, recovery: &mut Recovery) -> rustix::io::Result<()> {
        let in_place = inode(self.at, self.leaf)?;
        if in_place.is_none() {
            return match rename::into_nothing(self.at, self.name.as_bytes(), self.leaf) {
                Err(Errno::EXIST) => self.keep(recovery),
                result => result,
            };
        }
        if in_place == self.inode()? {
            return rustix::fs::unlinkat(self.at, self.name, AtFlags::empty());
        }
        if self.staged.is_none() || in_place != self.staged {
            return self.keep(recovery);
        }
        if self.as_observed()? {
            return rustix::fs::unlinkat(self.at, self.name, AtFlags::empty());
        }
        match rename::exchange(self.at, self.name.as_bytes(), self.leaf)? {
            // What came out is the new content, or what somebody put in its place just now.
            Exchange::Done if step("recover exchanged").and_then(|()| self.inode())? == self.staged => {
                rustix::fs::unlinkat(self.at, self.name, AtFlags::empty())
            }
            Exchange::Done | Exchange::Lacking => self.keep(recovery),
        }
    }

    fn inode(&self) -> rustix::io::Result<Option<(u64, u64)>> {
        inode(self.at, self.name.as_bytes())
    }

    fn as_observed(&self) -> rustix::io::Result<bool> {
        let Some((digest, version)) = &self.plan.from else { return Ok(false) };
        let Some(mark) = version.file() else { return Ok(false) };
        match matches(self.at, self.name.as_bytes(), *digest, &mark) {
            Ok(same) => Ok(same),
            Err(_) => Err(Errno::IO),
        }
    }

    fn keep(&self, recovery: &mut Recovery) -> rustix::io::Result<()> {
        let saved = save(self.at, self.name)?;
        let path = |leaf: &Id| match self.plan.dir.as_str() {
            "" => leaf.clone(),
            dir => Id::new(format!("{dir}/{leaf}")),
        };
        recovery.saved.push((path(&self.plan.leaf), path(&id_from_bytes(saved.as_bytes()))));
        Ok(())
    }
}

/// Tells whether a name holds what was observed: the same inode, size, mtime and content; ctime moves with a rename.
///
/// # Errors
/// Why it could not be read.
pub(super) fn matches(at: BorrowedFd<'_>, name: &[u8], digest: Digest, mark: &Mark) -> Result<bool, Arc<str>> {
    match Stat::of(at, name) {
        Ok(stat) if !stat.mark.same_but_renamed(mark) => return Ok(false),
        Ok(_) => {}
        Err(error) => return Err(explain(error).into()),
    }
    match look(at, name) {
        Look::There(stat, seen) => Ok(seen == digest && stat.mark.same_but_renamed(mark)),
        Look::Absent => Ok(false),
        Look::Unread(why) => Err(why),
    }
}

/// Renames old content to a name that stays, and returns that.
pub(super) fn save(at: BorrowedFd<'_>, name: &str) -> rustix::io::Result<String> {
    let saved = format!(".holdfast-saved-{}", name.strip_prefix(TEMPORARY).unwrap_or(name));
    rename::into_nothing(at, name.as_bytes(), saved.as_bytes())?;
    Ok(saved)
}

/// Returns device and inode of a name, if it exists.
pub(super) fn inode(at: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<(u64, u64)>> {
    match Stat::of(at, name) {
        Ok(stat) => Ok(Some((stat.mark.dev, stat.mark.ino))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
