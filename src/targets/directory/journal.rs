//! What a session is about to do below the root, so that the next one can make good what a crash left.
//!
//! One file in the root, `.holdfast-tmp-journal`, of JSON lines. Before anything is staged it names every temporary
//! name; before anything is renamed it names, synced, the inode staged under each. It exists only while a session
//! writes, or after a crash.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::{Root, open_file};
use super::hook::step;
use super::path::is_ours;
use super::stat::{Kind, Stat};
use crate::core::resource::{Digest, Id, Version};

const NAME: &str = ".holdfast-tmp-journal";

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Record {
    /// A write that is about to be staged.
    Plan(Plan),
    /// What was staged under a temporary name. Nothing is renamed before this is durable.
    Staged { temp: String, dev: u64, ino: u64 },
}

/// Where a write happens and under which names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// The directory, spelt as an identity is; empty for the root.
    pub(super) dir: Id,
    /// The name in it, spelt likewise.
    pub(super) leaf: Id,
    /// The new content's name; after an exchange the old content's.
    pub(super) temp: String,
    /// The old content's name when it was moved out of the way.
    pub(super) aside: String,
    /// What was observed, of an update and a deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<(Digest, Version)>,
}

/// The open journal of a session; made when first needed.
#[derive(Debug)]
pub(super) struct Journal {
    root: OwnedFd,
    file: Option<File>,
    /// Whether everything that it names was brought to an end.
    settled: bool,
}

impl Journal {
    /// Prepares a journal below a locked root from which [`remove`] took the last one.
    pub(super) fn new(root: &Root) -> rustix::io::Result<Self> {
        Ok(Self { root: rustix::io::fcntl_dupfd_cloexec(root, 0)?, file: None, settled: true })
    }

    /// Names what is about to be staged. Survives a crash of the process, not yet one of the system.
    pub(super) fn plan<'a>(&mut self, plans: impl Iterator<Item = &'a Plan>) -> std::io::Result<()> {
        step("journal plan")?;
        if self.file.is_none() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&self.root, NAME, flags, Mode::from_raw_mode(0o600))?;
            rustix::fs::fsync(&self.root)?;
            self.file = Some(fd.into());
        } else if self.settled
            && let Some(file) = &mut self.file
        {
            file.set_len(0)?;
            std::io::Seek::rewind(file)?;
        }
        self.settled = false;
        self.append(plans.cloned().map(Record::Plan))
    }

    /// Names what was staged and makes the journal durable: from here on renames may happen.
    pub(super) fn staged(&mut self, records: impl Iterator<Item = Record>) -> std::io::Result<()> {
        step("journal staged")?;
        self.append(records)?;
        step("journal sync")?;
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    fn append(&mut self, records: impl Iterator<Item = Record>) -> std::io::Result<()> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, &record)?;
            lines.push(b'\n');
        }
        match &mut self.file {
            Some(file) => file.write_all(&lines),
            None => Ok(()),
        }
    }

    /// Says that no temporary name is left of what was planned so far.
    pub(super) const fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Journal {
    /// Removes the journal if it has nothing left to tell. A panic counts as a crash.
    fn drop(&mut self) {
        if self.file.is_some() && self.settled && !std::thread::panicking() {
            let _ = rustix::fs::unlinkat(&self.root, NAME, AtFlags::empty());
        }
    }
}

/// A plan, and device and number of the inode that was staged for it, if that was recorded.
pub(super) type Left = (Plan, Option<(u64, u64)>);

/// Reads what an interrupted session left.
///
/// A torn end is no error: what comes after it was not durable, so that nothing was renamed.
pub(super) fn left(root: &Root) -> Result<Vec<Left>, String> {
    let stat = match Stat::of(root, NAME) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(super::beneath::explain(error)),
    };
    // Somebody else's plans are not ours to carry out.
    if stat.kind != Kind::File || stat.uid != rustix::process::geteuid().as_raw() {
        return Err(format!("{NAME} is not a file of ours: look at it, and remove it"));
    }
    let fd = open_file(root.as_fd(), NAME.as_bytes()).map_err(super::beneath::explain)?;
    let mut plans: Vec<Left> = Vec::new();
    for line in BufReader::new(File::from(fd)).split(b'\n') {
        let line = line.map_err(|error| error.to_string())?;
        match serde_json::from_slice(&line) {
            Ok(Record::Plan(plan)) => {
                if ![&plan.temp, &plan.aside].iter().all(|name| is_temporary(name)) {
                    return Err(format!("{NAME} names what is no temporary file: look at it, and remove it"));
                }
                plans.push((plan, None));
            }
            Ok(Record::Staged { temp, dev, ino }) => {
                for (_, staged) in plans.iter_mut().filter(|(plan, _)| plan.temp == temp) {
                    *staged = Some((dev, ino));
                }
            }
            Err(_) => break,
        }
    }
    Ok(plans)
}

fn is_temporary(name: &str) -> bool {
    is_ours(name.as_bytes(), false) && !name.contains('/') && name != NAME
}

/// Removes a journal whose plans were all made good.
pub(super) fn remove(root: &Root) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(root, NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}
