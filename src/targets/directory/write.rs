//! Writes in batches, each write with a real precondition.
//!
//! A creation is renamed to a name that nothing may have. An update lets the new content and the old change places, then
//! looks at what came out: if it is not what was observed, they change back. A deletion renames aside, looks, and removes
//! or renames back. Content, then the journal, then the directories are synced; each once for up to [`SLICE`] writes.
//! What holds the old file open goes on writing to the old content: no rename can help that.
//!
//! Where a file system cannot exchange, an update moves the old content aside, looks, and puts the new content in the
//! empty place: the precondition is as real, and the name is missing for a moment. Where it cannot rename without
//! replacing either, hard links stand in ([`rename`](super::rename)); where there are none (FAT), writes are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::anchor::Session;
use super::beneath::{READ, explain};
use super::hook::step;
use super::job::Job;
use super::journal::Record;
use super::path::split;
use super::stage::Staged;
use crate::core::write::{Outcome, Verb, WriteOp};

/// How many writes share their syncs; bounds the open files to two each.
const SLICE: usize = 128;

impl Session {
    /// Writes one resource.
    pub fn write(&mut self, op: &WriteOp) -> Outcome {
        let outcomes = self.write_batch(std::slice::from_ref(op));
        outcomes.into_iter().next().expect("one write has one outcome")
    }

    /// Writes in the order given; one outcome each.
    pub fn write_batch(&mut self, ops: &[WriteOp]) -> Vec<Outcome> {
        let outcomes = self.write_batch_while(ops, &mut |_| true);
        outcomes.into_iter().map(|outcome| outcome.expect("every write was permitted")).collect()
    }

    /// Writes in the order given, asking `permit` right before each change of the directory; `None` is what was not
    /// permitted, and not attempted (`GUARDS.md` 4: a freeze stops at the next resource).
    pub fn write_batch_while(
        &mut self,
        ops: &[WriteOp],
        permit: &mut dyn FnMut(&WriteOp) -> bool,
    ) -> Vec<Option<Outcome>> {
        ops.chunks(SLICE).flat_map(|slice| self.slice(slice, permit)).collect()
    }

    fn slice(&mut self, ops: &[WriteOp], permit: &mut dyn FnMut(&WriteOp) -> bool) -> Vec<Option<Outcome>> {
        let mut jobs: Vec<Job<'_>> = ops.iter().map(Job::new).collect();
        let mut dirs = Dirs::default();
        if let Err(why) = self.stage(&mut jobs, &mut dirs) {
            for job in open(&mut jobs) {
                job.discard(&dirs);
                job.outcome = Some(Outcome::Refused(Arc::clone(&why)));
            }
        }
        for job in open(&mut jobs) {
            if permit(job.op) {
                let outcome = job.carry_out(&dirs);
                job.outcome = Some(outcome);
            } else {
                job.discard(&dirs);
            }
        }
        dirs.sync(&mut jobs);
        self.prune(&jobs, &dirs);
        if jobs.iter().all(|job| job.left_nothing(&dirs)) {
            self.journal.settle();
        }
        jobs.into_iter().map(|job| job.outcome).collect()
    }

    /// Puts everything new beside its place, synced, and makes the journal say so.
    ///
    /// # Errors
    /// Why nothing at all can be written now.
    fn stage(&mut self, jobs: &mut [Job<'_>], dirs: &mut Dirs) -> Result<(), Arc<str>> {
        super::anchor::check(self, self.directory.root())?;
        let journal = |error: std::io::Error| {
            let why = Errno::from_io_error(&error).map_or_else(|| error.to_string(), explain);
            Arc::<str>::from(format!("the journal in the root: {why}"))
        };
        if open(jobs).next().is_none() {
            return Ok(());
        }
        self.journal.plan(open(jobs).map(|job| &job.plan)).map_err(journal)?;
        for job in open(jobs) {
            if let Err(stop) = job.stage(&self.root, dirs) {
                job.discard(dirs);
                job.outcome = Some(stop.into());
            }
        }
        for job in open(jobs) {
            if let Some(Err(error)) = job.staged.as_mut().map(Staged::sync) {
                job.discard(dirs);
                job.outcome = Some(job.refused(error).into());
            }
        }
        let staged = jobs.iter().filter_map(|job| {
            let (dev, ino) = job.staged.as_ref()?.inode;
            Some(Record::Staged { temp: job.plan.temp.clone(), dev, ino })
        });
        self.journal.staged(staged).map_err(journal)
    }

    /// Removes the directories that this slice made for nothing, or emptied, up to the first that is not empty.
    fn prune(&self, jobs: &[Job<'_>], dirs: &Dirs) {
        let deleted = jobs.iter().filter(|job| job.op.verb == Verb::Delete);
        let emptied = deleted.filter(|job| matches!(job.outcome, Some(Outcome::Done(_)))).map(|job| &job.dir);
        let emptied: BTreeSet<&[u8]> = emptied.map(Vec::as_slice).collect();
        // Those inside before those around them.
        for dir in dirs.made.iter().rev() {
            self.remove_if_empty(dir);
        }
        for mut dir in emptied.into_iter().rev() {
            while !dir.is_empty() && self.remove_if_empty(dir) {
                dir = split(dir).0;
            }
        }
    }

    fn remove_if_empty(&self, dir: &[u8]) -> bool {
        let (above, name) = split(dir);
        let Ok(fd) = self.root.dir(above, READ) else { return false };
        rustix::fs::unlinkat(&fd, name, AtFlags::REMOVEDIR).is_ok()
    }
}

/// The jobs that still have something to do.
fn open<'j, 'a>(jobs: &'j mut [Job<'a>]) -> impl Iterator<Item = &'j mut Job<'a>> {
    jobs.iter_mut().filter(|job| job.outcome.is_none())
}

/// The directories that a slice writes to, each opened once.
#[derive(Default)]
pub(super) struct Dirs {
    opened: BTreeMap<Vec<u8>, OwnedFd>,
    /// Those that did not exist.
    pub(super) made: Vec<Vec<u8>>,
}

impl Dirs {
    pub(super) fn get(&self, path: &[u8]) -> Option<BorrowedFd<'_>> {
        self.opened.get(path).map(AsFd::as_fd)
    }

    pub(super) fn put(&mut self, path: &[u8], fd: OwnedFd) {
        self.opened.insert(path.to_vec(), fd);
    }

    /// Makes the renames durable; where that fails, what was done may not survive a power failure.
    fn sync(&self, jobs: &mut [Job<'_>]) {
        for (path, fd) in &self.opened {
            let touched = |job: &&mut Job<'_>| job.dir == *path && matches!(job.outcome, Some(Outcome::Done(_)));
            let mut touched = jobs.iter_mut().filter(touched).peekable();
            if touched.peek().is_none() {
                continue;
            }
            if let Err(error) = step("sync directory").and_then(|()| rustix::fs::fsync(fd)) {
                for job in touched {
                    job.outcome = Some(Outcome::Unknown(job.say(error)));
                }
            }
        }
    }
}
