//! Pins: names of ours on what was accepted, so that it outlives force-pushes and new clones.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::hash::Kind::Sha1;
use gix::objs::{CommitRef, Kind, TreeRef, Write};
use gix::refs::Target;
use gix::refs::transaction::{Change, LogChange, PreviousValue, RefEdit};

use super::fetch::{FetchError, Job};
use super::mirror::{Mirror, MirrorError};
use super::upkeep;
use crate::core::commit::CommitId;

const PINS: &str = "refs/holdfast/pins/";

/// How many commits are looked through for pins, besides two for each pin.
const LOOKED_THROUGH: usize = 1_000;

impl Mirror {
    /// Keeps a commit, its tree and its history, whatever becomes of the branch.
    pub fn pin(&self, commit: &CommitId) -> Result<(), MirrorError> {
        let _held = self.hold_pins()?;
        let repo = upkeep::open(self.dir(), None)?;
        let id = ObjectId::from_hex(commit.as_str().as_bytes()).map_err(|_| self.no_commit(commit))?;
        if !repo.find_header(id).is_ok_and(|header| header.kind() == gix::object::Kind::Commit) {
            return Err(self.no_commit(commit));
        }
        set(&repo, id)?;
        let pins = self.dir().join(PINS);
        upkeep::sync_files(&[pins.join(commit.as_str()), pins])
    }

    /// Lets go of a commit; one that is not pinned is fine.
    pub fn unpin(&self, commit: &CommitId) -> Result<(), MirrorError> {
        let _held = self.hold_pins()?;
        let repo = upkeep::open(self.dir(), None)?;
        upkeep::forget(&repo, std::iter::once(format!("{PINS}{commit}").as_str()))
    }

    /// Lets go of every commit that one of `kept`, which are pinned, reaches: those keep it.
    ///
    /// Looked for among the newest commits, as many as are pinned and some more: so the pins of a process that runs for
    /// long, of which each is behind the next one, stay few. What another application on this clone needs is kept all the
    /// same, and pinned again by its next cycle.
    pub fn unpin_reached(&self, kept: &BTreeSet<&CommitId>) -> Result<(), MirrorError> {
        let _held = self.hold_pins()?;
        let repo = upkeep::open(self.dir(), None)?;
        let (keep, mut others): (Vec<ObjectId>, BTreeSet<ObjectId>) = {
            let is_kept = |pin: &ObjectId| kept.contains(&super::mirror::commit_id(*pin));
            let (keep, others): (Vec<_>, Vec<_>) = list(&repo)?.into_iter().partition(is_kept);
            (keep, others.into_iter().collect())
        };
        let most = LOOKED_THROUGH + 2 * others.len();
        let mut reached = Vec::new();
        // A history that ends early keeps what is behind its end pinned.
        let walk = repo.rev_walk(keep).all().into_iter().flatten().map_while(Result::ok).take(most);
        for commit in walk {
            if others.is_empty() {
                break;
            }
            if others.remove(&commit.id) {
                reached.push(format!("{PINS}{}", commit.id));
            }
        }
        upkeep::forget(&repo, reached.iter().map(String::as_str))
    }

    /// Returns what is pinned, sorted.
    pub fn pins(&self) -> Result<Vec<CommitId>, MirrorError> {
        let repo = upkeep::open(self.dir(), None)?;
        let mut pins: Vec<CommitId> = list(&repo)?.into_iter().map(super::mirror::commit_id).collect();
        pins.sort();
        Ok(pins)
    }

    fn no_commit(&self, commit: &CommitId) -> MirrorError {
        MirrorError::Io { path: self.dir().into(), why: format!("there is no commit {commit} to pin") }
    }
}

fn set(repo: &gix::Repository, id: ObjectId) -> Result<(), MirrorError> {
    let failed = |why: String| MirrorError::Io { path: repo.path().into(), why };
    let name = format!("{PINS}{id}");
    let change = Change::Update { log: LogChange::default(), expected: PreviousValue::Any, new: Target::Object(id) };
    let name = name.as_str().try_into().map_err(|_| failed(format!("{name} is no name")))?;
    repo.edit_reference(RefEdit { change, name, deref: false })
        .map(drop)
        .map_err(|e| failed(format!("pin {id}: {e:#}")))
}

fn list(repo: &gix::Repository) -> Result<Vec<ObjectId>, MirrorError> {
    let failed = |why: String| MirrorError::Damaged { dir: repo.path().into(), why };
    let all = repo.references().map_err(|e| failed(format!("{e:#}")))?;
    let mut pins = Vec::new();
    for reference in all.prefixed(PINS).map_err(|e| failed(format!("{e:#}")))? {
        let reference = reference.map_err(|e| failed(e.to_string()))?;
        // The name is what was promised; a target that differs would be damage.
        let name = reference.name().as_bstr().to_owned();
        let hex = name.strip_prefix(PINS.as_bytes()).unwrap_or_default();
        pins.push(ObjectId::from_hex(hex).map_err(|_| failed(format!("{} is no pin", name.to_str_lossy())))?);
    }
    Ok(pins)
}

/// Carries pins into a new clone, with the objects that only the old one has. Gives those that could not be saved.
pub(super) fn carry(old: &Path, new: &Path, job: &Job<'_>) -> Result<Vec<CommitId>, FetchError> {
    let to = upkeep::open(new, Some(&job.remote.limits))?;
    let Ok(from) = upkeep::open(old, Some(&job.remote.limits)) else { return Ok(Vec::new()) };
    let mut lost = Vec::new();
    for pin in salvage(old) {
        if let Some(cut) = job.guard.verdict(job.remote) {
            return Err(cut);
        }
        match copy(&from, &to, pin) {
            Ok(()) => set(&to, pin)?,
            Err(why) => {
                tracing::error!(commit = %pin, %why, "a pinned commit is lost: neither the remote nor the old clone has it");
                lost.push(super::mirror::commit_id(pin));
            }
        }
    }
    Ok(lost)
}

/// Finds the names of pins even where references are damaged: a pin's name says all there is to know.
fn salvage(dir: &Path) -> BTreeSet<ObjectId> {
    let loose = std::fs::read_dir(dir.join(PINS)).into_iter().flatten().flatten();
    let loose = loose.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let packed = std::fs::read(dir.join("packed-refs")).unwrap_or_default();
    let packed = packed.to_str_lossy();
    let packed = packed.lines().filter_map(|line| Some(line.split_once(PINS)?.1.to_owned()));
    loose.chain(packed).filter_map(|name| ObjectId::from_hex(name.as_bytes()).ok()).collect()
}

/// Copies a commit and everything it reaches that the new clone lacks. Only its history may be incomplete.
///
/// All is read before anything is written: a tree that is there promises its content to the next pin.
fn copy(from: &gix::Repository, to: &gix::Repository, pin: ObjectId) -> Result<(), String> {
    let mut todo = vec![(pin, true)];
    let mut lacking = HashSet::new();
    while let Some((id, needed)) = todo.pop() {
        if to.has_object(id) || lacking.contains(&id) {
            continue;
        }
        let object = match read(from, id) {
            Ok(object) => object,
            Err(_) if !needed => continue,
            Err(why) => return Err(why),
        };
        lacking.insert(id);
        match object.kind {
            Kind::Commit => {
                let commit = CommitRef::from_bytes(&object.data, Sha1).map_err(|e| format!("{e:#}"))?;
                todo.push((commit.tree(), needed));
                todo.extend(commit.parents().map(|parent| (parent, false)));
            }
            Kind::Tree => {
                let tree = TreeRef::from_bytes(&object.data, Sha1).map_err(|e| format!("{e:#}"))?;
                let entries = tree.entries.iter().filter(|entry| !entry.mode.is_commit());
                todo.extend(entries.map(|entry| (entry.oid.to_owned(), needed)));
            }
            Kind::Blob | Kind::Tag => {}
        }
    }
    for id in lacking {
        let object = read(from, id)?;
        to.objects.write_buf(object.kind, &object.data).map_err(|e| format!("{e:#}"))?;
    }
    Ok(())
}

fn read(from: &gix::Repository, id: ObjectId) -> Result<gix::Object<'_>, String> {
    let object = from.find_object(id).map_err(|e| format!("{e:#}"))?;
    let hash = gix::objs::compute_hash(Sha1, object.kind, &object.data).map_err(|e| format!("{e:#}"))?;
    if hash == id { Ok(object) } else { Err(format!("object {id} is damaged")) }
}
