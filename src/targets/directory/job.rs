//! One write: what is checked before, how its precondition is made real, and what is put back if it did not hold.

use std::hash::{BuildHasher as _, Hasher as _};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath::{Root, explain};
use super::hook::step;
use super::journal::Plan;
use super::look::{Look, look};
use super::observe::Words;
use super::path::{TEMPORARY, path_of, split};
use super::recover::{inode, matches, save};
use super::rename::{self, Exchange};
use super::stage::{self, Staged};
use super::stat::{Kind, Mark, Stat};
use super::write::Dirs;
use crate::core::resource::{Digest, Id, Live};
use crate::core::spelling::id_from_bytes;
use crate::core::write::{Outcome, Verb, WriteOp};

/// Why most preconditions fail.
const CHANGED: &str = "it changed since it was observed";
const GONE: &str = "it is gone";

/// Why a write ended without being done.
#[derive(Debug)]
pub(super) enum Stop {
    /// It was not as observed; nothing was changed.
    Moved(Arc<str>),
    /// It cannot be; nothing was changed.
    Refused(Arc<str>),
    /// It may or may not have happened.
    Unknown(Arc<str>),
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Moved(why) => Self::Moved(why),
            Stop::Refused(why) => Self::Refused(why),
            Stop::Unknown(why) => Self::Unknown(why),
        }
    }
}

/// One write on its way.
pub(super) struct Job<'a> {
    pub(super) op: &'a WriteOp,
    pub(super) dir: Vec<u8>,
    leaf: Vec<u8>,
    pub(super) plan: Plan,
    from: Option<(Digest, Mark)>,
    /// What stands there is a directory: removed only if it is empty.
    over_directory: bool,
    pub(super) staged: Option<Staged>,
    /// Set as soon as there is nothing more to do.
    pub(super) outcome: Option<Outcome>,
}

impl<'a> Job<'a> {
    /// Checks what can be checked without looking.
    pub(super) fn new(op: &'a WriteOp) -> Self {
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
                let mark = version.file().ok_or("the expected version is none of a directory")?;
                self.from = Some((*digest, mark));
                Ok(())
            }
            (Verb::Create, ..) => Err("a creation takes content and expects nothing".to_owned()),
            (Verb::Update, ..) => Err("an update takes content and what was observed".to_owned()),
            (Verb::Delete, ..) => Err("a deletion takes what was observed, and no content".to_owned()),
        }
    }

    /// Looks whether the write still makes sense, and puts the new content beside its place.
    pub(super) fn stage(&mut self, root: &Root, dirs: &mut Dirs) -> Result<(), Stop> {
        if dirs.get(&self.dir).is_none() {
            let fd = if self.op.verb == Verb::Create {
                stage::make_dir(root, &self.dir, dirs).map_err(Stop::Refused)?
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
            (None, Some(stat)) => return Err(self.moved(&format!("a {} is there already", stat.kind.name()))),
            (Some(_), None) => return Err(self.moved(GONE)),
            (Some((_, mark)), Some(stat)) if stat.mark == *mark => {
                self.over_directory = stat.kind == Kind::Directory;
            }
            (Some(_), Some(_)) => return Err(self.moved(CHANGED)),
        }
        if let Some(content) = &self.op.content {
            let place = stage::Place { dir, leaf: &self.leaf, temp: &self.plan.temp };
            let staged = place.stage(content, there.as_ref()).map_err(|error| match error {
                Errno::NOENT => self.moved(GONE),
                error => self.refused(error),
            })?;
            self.staged = Some(staged);
        }
        Ok(())
    }

    /// Changes the directory.
    pub(super) fn carry_out(&self, dirs: &Dirs) -> Outcome {
        let Some(dir) = dirs.get(&self.dir) else { return Outcome::Refused("its directory is not open".into()) };
        let done = match (&self.from, self.op.verb) {
            (None, _) => self.create(dir),
            (Some(_), _) if self.over_directory => self.replace_directory(dir),
            (Some(from), Verb::Delete) => self.delete(dir, from),
            (Some(from), _) => self.update(dir, from),
        };
        if matches!(done, Err(Stop::Moved(_) | Stop::Refused(_))) {
            self.discard(dirs);
        }
        match done {
            Ok(()) => Outcome::Done(self.live(dir)),
            Err(stop) => stop.into(),
        }
    }

    fn create(&self, dir: BorrowedFd<'_>) -> Result<(), Stop> {
        rename::into_nothing(dir, self.temp(), &self.leaf).map_err(|error| match error {
            Errno::EXIST => self.moved("something is there already"),
            Errno::NOENT => self.moved("its directory is gone"),
            error => self.refused(error),
        })
    }

    /// Removes a directory that is empty; `rmdir` itself is the precondition.
    fn replace_directory(&self, dir: BorrowedFd<'_>) -> Result<(), Stop> {
        match step("rmdir").and_then(|()| rustix::fs::unlinkat(dir, self.leaf.as_slice(), AtFlags::REMOVEDIR)) {
            Ok(()) if self.op.verb == Verb::Delete => Ok(()),
            Ok(()) => self.create(dir),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(self.moved(CHANGED)),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let why = format!("`{}` is a directory with something in it: never removed", self.op.id);
                Err(Stop::Refused(why.into()))
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    fn update(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Result<(), Stop> {
        match rename::exchange(dir, self.temp(), &self.leaf) {
            Ok(Exchange::Done) => {}
            Ok(Exchange::Lacking) => return self.update_without_exchange(dir, from),
            Err(Errno::NOENT) => return Err(self.moved(GONE)),
            Err(error) => return Err(self.refused(error)),
        }
        match self.as_observed(dir, self.temp(), from) {
            Ok(()) => {
                self.remove_old(dir, self.temp());
                Ok(())
            }
            Err(stop) => self.change_back(dir).map_err(|error| Self::stuck(error, &stop)).and(Err(stop)),
        }
    }

    /// Puts back what an exchange brought out.
    fn change_back(&self, dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let ours = self.staged.as_ref().map(|staged| staged.inode);
        match rename::exchange(dir, self.temp(), &self.leaf) {
            Ok(Exchange::Done) if inode(dir, self.temp())? == ours => Ok(()),
            // Somebody replaced the new content meanwhile: theirs is the newest, and belongs in the place.
            Ok(Exchange::Done) => {
                rename::exchange(dir, self.temp(), &self.leaf)?;
                self.save(dir, &self.plan.temp)
            }
            Ok(Exchange::Lacking) => Err(Errno::OPNOTSUPP),
            // Somebody removed the new content meanwhile; what was there before them is put back.
            Err(Errno::NOENT) => self.put_back(dir, &self.plan.temp),
            Err(error) => Err(error),
        }
    }

    fn update_without_exchange(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Result<(), Stop> {
        self.move_aside(dir, from)?;
        match step("put in place").and_then(|()| rename::into_nothing(dir, self.temp(), &self.leaf)) {
            Ok(()) => {
                self.remove_old(dir, self.aside());
                Ok(())
            }
            Err(error) => {
                let stop = match error {
                    Errno::EXIST => self.moved("somebody else wrote it meanwhile"),
                    error => self.refused(error),
                };
                self.put_back(dir, &self.plan.aside).map_err(|error| Self::stuck(error, &stop)).and(Err(stop))
            }
        }
    }

    fn delete(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Result<(), Stop> {
        self.move_aside(dir, from)?;
        step("unlink old").and_then(|()| rustix::fs::unlinkat(dir, self.aside(), AtFlags::empty())).or_else(|error| {
            let stop = self.refused(error);
            self.put_back(dir, &self.plan.aside).map_err(|error| Self::stuck(error, &stop)).and(Err(stop))
        })
    }

    /// Moves what was observed out of its place; anything else is put back.
    fn move_aside(&self, dir: BorrowedFd<'_>, from: &(Digest, Mark)) -> Result<(), Stop> {
        rename::into_nothing(dir, &self.leaf, self.aside()).map_err(|error| match error {
            Errno::NOENT => self.moved(GONE),
            error => self.refused(error),
        })?;
        self.as_observed(dir, self.aside(), from).or_else(|stop| {
            self.put_back(dir, &self.plan.aside).map_err(|error| Self::stuck(error, &stop)).and(Err(stop))
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

    /// Removes the old content. If that fails it stays under its temporary name, and the journal with it.
    fn remove_old(&self, dir: BorrowedFd<'_>, name: &[u8]) {
        if let Err(error) = step("unlink old").and_then(|()| rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
            tracing::warn!(resource = %self.op.id, why = explain(error), "left the old content to the next session");
        }
    }

    /// Looks whether what came out is what was observed.
    fn as_observed(&self, dir: BorrowedFd<'_>, name: &[u8], from: &(Digest, Mark)) -> Result<(), Stop> {
        step("look").map_err(|error| self.refused(error))?;
        match matches(dir, name, from.0, &from.1) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.moved(CHANGED)),
            Err(why) => Err(Stop::Refused(format!("`{}`: {why}", self.op.id).into())),
        }
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
    pub(super) fn discard(&self, dirs: &Dirs) {
        let (Some(dir), Some(_)) = (dirs.get(&self.dir), &self.op.content) else { return };
        let ours = self.staged.as_ref().map(|staged| staged.inode);
        if ours.is_none() || inode(dir, self.temp()) == Ok(ours) {
            let _ = rustix::fs::unlinkat(dir, self.temp(), AtFlags::empty());
        }
    }

    /// Tells whether neither temporary name is left.
    pub(super) fn left_nothing(&self, dirs: &Dirs) -> bool {
        dirs.get(&self.dir)
            .is_none_or(|dir| inode(dir, self.temp()) == Ok(None) && inode(dir, self.aside()) == Ok(None))
    }

    fn temp(&self) -> &[u8] {
        self.plan.temp.as_bytes()
    }

    fn aside(&self) -> &[u8] {
        self.plan.aside.as_bytes()
    }

    pub(super) fn say(&self, error: Errno) -> Arc<str> {
        format!("`{}`: {}", self.op.id, explain(error)).into()
    }

    pub(super) fn refused(&self, error: Errno) -> Stop {
        Stop::Refused(self.say(error))
    }

    fn moved(&self, why: &str) -> Stop {
        Stop::Moved(format!("`{}`: {why}", self.op.id).into())
    }

    /// Says that what was stopped could not be undone either.
    fn stuck(error: Errno, stop: &Stop) -> Stop {
        let (Stop::Moved(why) | Stop::Refused(why) | Stop::Unknown(why)) = stop;
        Stop::Unknown(format!("{why}, and could not be put back: {}", explain(error)).into())
    }
}
