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
use std::hash::{BuildHasher as _, Hasher as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::anchor::Session;
use super::beneath::explain;
use super::hook::step;
use super::journal::{Plan, Record};
use super::look::{Look, look};
use super::observe::Words;
use super::path::{TEMPORARY, path_of, split};
use super::recover::{inode, matches, save};
use super::rename::{self, Exchange};
use super::stage::{self, Staged};
use super::stat::{Kind, Mark, Stat};
use crate::core::resource::{Digest, Id, Live};
use crate::core::spelling::id_from_bytes;
use crate::core::write::{Outcome, Verb, WriteOp};

/// How many writes share their syncs; bounds the open files to two each.
const SLICE: usize = 128;

/// One write on its way.
struct Job<'a> {
    op: &'a WriteOp,
    dir: Vec<u8>,
    leaf: Vec<u8>,
    plan: Plan,
    from: Option<(Digest, Mark)>,
    /// What stands there is a directory: removed only if it is empty.
    over_directory: bool,
    staged: Option<Staged>,
    /// Set as soon as there is nothing more to do.
    outcome: Option<Outcome>,
}

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
            if let Err(outcome) = job.stage(&self.root, dirs) {
                job.discard(dirs);
                job.outcome = Some(outcome);
            }
        }
        for job in open(jobs) {
            if let Some(Err(error)) = job.staged.as_mut().map(Staged::sync) {
                job.discard(dirs);
                job.outcome = Some(job.refused(error));
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
        let Ok(fd) = self.root.dir(above, super::beneath::READ) else { return false };
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

impl<'a> Job<'a> {
    /// Checks what can be checked without looking.
    fn new(op: &'a WriteOp) -> Self {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let nothing = || Id::new("");
        let mut job = Self {
            op,
            dir: Vec::new(),
            leaf: Vec::new(),
            plan: Plan {
                dir: nothing(),
                leaf: nothing(),
                temp: format!("{TEMPORARY}{random:016x}"),
                aside: format!("{TEMPORARY}{random:016x}-old"),
                from: op.expected.clone(),
            },
            from: None,
            over_directory: false,
            staged: None,
            outcome: None,
        };
        if let Err(why) = job.place() {
            job.outcome = Some(Outcome::Refused(format!("`{}`: {why}", op.id).into()));
        }
        job
    }

    fn place(&mut self) -> Result<(), String> {
        let path = path_of(&self.op.id).map_err(|why| why.to_string())?;
        let (dir, leaf) = split(&path);
        (self.plan.dir, self.plan.leaf) = (id_from_bytes(dir), id_from_bytes(leaf));
        (self.dir, self.leaf) = (dir.to_vec(), leaf.to_vec());
        match (self.op.verb, &self.op.expected, &self.op.content) {
            (Verb::Create, None, Some(_)) => Ok(()),
            (Verb::Update, Some((digest, version)), Some(_)) | (Verb::Delete, Some((digest, version)), None) => {
                let mark = Mark::parse(version).ok_or("the expected version is none of a directory")?;
                self.from = Some((*digest, mark));
                Ok(())
            }
            (Verb::Create, ..) => Err("a creation takes content and expects nothing".to_owned()),
            (Verb::Update, ..) => Err("an update takes content and what was observed".to_owned()),
            (Verb::Delete, ..) => Err("a deletion takes what was observed, and no content".to_owned()),
        }
    }

    /// Looks whether the write still makes sense, and puts the new content beside its place.
    fn stage(&mut self, root: &super::beneath::Root, dirs: &mut Dirs) -> Result<(), Outcome> {
        if dirs.get(&self.dir).is_none() {
            let fd = if self.op.verb == Verb::Create {
                stage::make_dir(root, &self.dir, dirs).map_err(Outcome::Refused)?
            } else {
                stage::existing_dir(root, &self.dir)?
            };
            dirs.put(&self.dir, fd);
        }
        let dir = dirs.get(&self.dir).expect("it was just put there");
        let there = match step("check").and_then(|()| Stat::of(dir, self.leaf.as_slice())) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(self.refused(error)),
        };
        match (&self.from, &there) {
            (None, None) => {}
            (None, Some(stat)) => return Err(self.moved(format_args!("a {} is there already", stat.kind.name()))),
            (Some(_), None) => return Err(self.moved(format_args!("it is gone"))),
            (Some((_, mark)), Some(stat)) if stat.mark == *mark => {
                self.over_directory = stat.kind == Kind::Directory;
            }
            (Some(_), Some(_)) => return Err(self.moved(format_args!("it changed since it was observed"))),
        }
        if let Some(content) = &self.op.content {
            let place = stage::Place { dir, leaf: &self.leaf, temp: &self.plan.temp };
            let staged = place.stage(content, there.as_ref()).map_err(|error| self.refused(error))?;
            self.staged = Some(staged);
        }
        Ok(())
    }

    /// Changes the directory.
    fn carry_out(&self, dirs: &Dirs) -> Outcome {
        let Some(dir) = dirs.get(&self.dir) else { return Outcome::Refused("its directory is not open".into()) };
        let outcome = match (&self.from, self.op.verb) {
            (None, _) => self.create(dir),
            (Some(_), _) if self.over_directory => self.replace_directory(dir),
            (Some(from), Verb::Delete) => self.delete(dir, from),
            (Some(from), _) => self.update(dir, from),
        };
        if !matches!(outcome, Outcome::Done(_) | Outcome::Unknown(_)) {
            self.discard(dirs);
        }
        outcome
    }

    fn create(&self, dir: BorrowedFd<'_>) -> Outcome {
        match rename::into_nothing(dir, self.temp(), &self.leaf) {
            Ok(()) => self.done(dir),
            Err(Errno::EXIST) => self.moved(format_args!("something is there already")),
            Err(Errno::NOENT) => self.moved(format_args!("its directory is gone")),
            Err(error) => self.refused(error),
        }
    }

    /// Removes a directory that is empty; `rmdir` itself is the precondition.
    fn replace_directory(&self, dir: BorrowedFd<'_>) -> Outcome {
        match step("rmdir").and_then(|()| rustix::fs::unlinkat(dir, self.leaf.as_slice(), AtFlags::REMOVEDIR)) {
            Ok(()) if self.op.verb == Verb::Delete => Outcome::Done(Live::Gone),
            Ok(()) => self.create(dir),
            Err(Errno::NOENT | Errno::NOTDIR) => self.moved(format_args!("it changed since it was observed")),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let why = format!("`{}` is a directory with something in it: never removed", self.op.id);
                Outcome::Refused(why.into())
            }
            Err(error) => self.refused(error),
        }
    }

    fn update(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Outcome {
        match rename::exchange(dir, self.temp(), &self.leaf) {
            Ok(Exchange::Done) => {}
            Ok(Exchange::Lacking) => return self.update_without_exchange(dir, from),
            Err(Errno::NOENT) => return self.moved(format_args!("it is gone")),
            Err(error) => return self.refused(error),
        }
        match step("look")
            .map_err(|error| explain(error).into())
            .and_then(|()| self.as_observed(dir, self.temp(), from))
        {
            Ok(true) => {
                // If this fails the old content stays under its temporary name, and the journal with it.
                let _ = step("unlink old").and_then(|()| rustix::fs::unlinkat(dir, self.temp(), AtFlags::empty()));
                self.done(dir)
            }
            Ok(false) => self.change_back(dir, "it changed since it was observed"),
            Err(why) => match self.change_back(dir, &why) {
                Outcome::Moved(why) => Outcome::Refused(why),
                other => other,
            },
        }
    }

    /// Puts back what an exchange brought out.
    fn change_back(&self, dir: BorrowedFd<'_>, why: &str) -> Outcome {
        let ours = self.staged.as_ref().map(|staged| staged.inode);
        let back = match rename::exchange(dir, self.temp(), &self.leaf) {
            Ok(Exchange::Done) => match inode(dir, self.temp()) {
                Ok(out) if out == ours => Ok(()),
                // Somebody replaced the new content meanwhile: theirs is the newest, and belongs in the place.
                Ok(_) => rename::exchange(dir, self.temp(), &self.leaf).and_then(|_| self.save(dir, &self.plan.temp)),
                Err(error) => Err(error),
            },
            Ok(Exchange::Lacking) => Err(Errno::OPNOTSUPP),
            // Somebody removed the new content meanwhile; what was there before them is put back.
            Err(Errno::NOENT) => self.put_back(dir, &self.plan.temp),
            Err(error) => Err(error),
        };
        match back {
            Ok(()) => self.moved(format_args!("{why}")),
            Err(error) => Outcome::Unknown(format!("{}, and could not be put back: {why}", self.say(error)).into()),
        }
    }

    fn update_without_exchange(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Outcome {
        if let Err(outcome) = self.move_aside(dir, from) {
            return outcome;
        }
        match step("put in place").and_then(|()| rename::into_nothing(dir, self.temp(), &self.leaf)) {
            Ok(()) => {
                let _ = step("unlink old").and_then(|()| rustix::fs::unlinkat(dir, self.aside(), AtFlags::empty()));
                self.done(dir)
            }
            Err(error) => match self.put_back(dir, &self.plan.aside) {
                Ok(()) if error == Errno::EXIST => self.moved(format_args!("somebody else wrote it meanwhile")),
                Ok(()) => self.refused(error),
                Err(error) => Outcome::Unknown(self.say(error)),
            },
        }
    }

    fn delete(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Outcome {
        if let Err(outcome) = self.move_aside(dir, from) {
            return outcome;
        }
        match step("unlink old").and_then(|()| rustix::fs::unlinkat(dir, self.aside(), AtFlags::empty())) {
            Ok(()) => Outcome::Done(self.live(dir)),
            Err(error) => match self.put_back(dir, &self.plan.aside) {
                Ok(()) => self.refused(error),
                Err(error) => Outcome::Unknown(self.say(error)),
            },
        }
    }

    /// Moves what was observed out of its place; anything else is put back.
    fn move_aside(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Result<(), Outcome> {
        match rename::into_nothing(dir, &self.leaf, self.aside()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Err(self.moved(format_args!("it is gone"))),
            Err(error) => return Err(self.refused(error)),
        }
        let same = step("look").map_err(|error| explain(error).into());
        let (why, refused) = match same.and_then(|()| self.as_observed(dir, self.aside(), from)) {
            Ok(true) => return Ok(()),
            Ok(false) => ("it changed since it was observed".into(), false),
            Err(why) => (why, true),
        };
        Err(match self.put_back(dir, &self.plan.aside) {
            Ok(()) if refused => Outcome::Refused(format!("`{}`: {why}", self.op.id).into()),
            Ok(()) => self.moved(format_args!("{why}")),
            Err(error) => Outcome::Unknown(format!("{}, and could not be put back: {why}", self.say(error)).into()),
        })
    }

    /// Renames old content back to its place; if somebody filled that meanwhile, keeps it beside.
    fn put_back(&self, dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
        match step("put back").and_then(|()| rename::into_nothing(dir, name.as_bytes(), &self.leaf)) {
            Err(Errno::EXIST) => self.save(dir, name),
            result => result,
        }
    }

    fn save(&self, dir: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
        let saved = save(dir, name)?;
        tracing::warn!(resource = %self.op.id, %saved, "kept what somebody else wrote, and overwrote, meanwhile");
        Ok(())
    }

    fn as_observed(&self, dir: BorrowedFd<'_>, name: &[u8], from: &(Digest, Mark)) -> Result<bool, Arc<str>> {
        matches(dir, name, from.0, &from.1)
    }

    fn done(&self, dir: BorrowedFd<'_>) -> Outcome {
        Outcome::Done(self.live(dir))
    }

    /// Looks at what stands in the place now; ours needs no reading.
    fn live(&self, dir: BorrowedFd<'_>) -> Live {
        let mut words = Words::default();
        if let Some(staged) = &self.staged
            && let Ok(stat) = Stat::of(dir, self.leaf.as_slice())
            && (stat.mark.dev, stat.mark.ino) == staged.inode
            && (stat.mark.size, stat.mark.mtime, stat.mode) == (staged.size, staged.mtime, staged.mode)
        {
            return Live::Here(words.here(&self.op.id, &stat, staged.digest));
        }
        match look(dir, &self.leaf) {
            Look::There(stat, digest) => Live::Here(words.here(&self.op.id, &stat, digest)),
            Look::Absent => Live::Gone,
            Look::Unread(why) => Live::Unread(format!("`{}`: {why}", self.op.id).into()),
        }
    }

    /// Removes what was staged, if it is still ours; the journal stays if that fails.
    fn discard(&self, dirs: &Dirs) {
        let (Some(dir), Some(_)) = (dirs.get(&self.dir), &self.op.content) else { return };
        let ours = self.staged.as_ref().map(|staged| staged.inode);
        if ours.is_none() || inode(dir, self.temp()) == Ok(ours) {
            let _ = rustix::fs::unlinkat(dir, self.temp(), AtFlags::empty());
        }
    }

    /// Tells whether neither temporary name is left.
    fn left_nothing(&self, dirs: &Dirs) -> bool {
        dirs.get(&self.dir)
            .is_none_or(|dir| inode(dir, self.temp()) == Ok(None) && inode(dir, self.aside()) == Ok(None))
    }

    fn temp(&self) -> &[u8] {
        self.plan.temp.as_bytes()
    }

    fn aside(&self) -> &[u8] {
        self.plan.aside.as_bytes()
    }

    fn say(&self, error: Errno) -> Arc<str> {
        format!("`{}`: {}", self.op.id, explain(error)).into()
    }

    fn refused(&self, error: Errno) -> Outcome {
        Outcome::Refused(self.say(error))
    }

    fn moved(&self, why: std::fmt::Arguments<'_>) -> Outcome {
        Outcome::Moved(format!("`{}`: {why}", self.op.id).into())
    }
}
