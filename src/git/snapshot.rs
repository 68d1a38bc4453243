//! Reading a clone: commits, tags, trees and blobs as facts. What is missing or damaged is told, and remembered.

use std::path::Path;
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::fetch::{TAGS, is_id, tracked};
use super::mirror::{Mirror, MirrorError, commit_id};
use super::object::{self, RawCommit, SignatureCheck};
use super::upkeep;
use crate::core::commit::{Commit, CommitId, Tag};
use crate::core::tree::{Oid, TreeError, Trees};

/// Says why something could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// Whether one commit descends from another cannot be told (`GUARDS.md` 3.4).
    #[error("ancestry cannot be proved: commit {missing} is not in the clone ({why})")]
    AncestryUnproven {
        /// The commit that is not there.
        missing: CommitId,
        /// Why it is not, as far as known.
        why: Arc<str>,
    },
    /// There is no such commit.
    #[error("there is no commit {0:?} in the clone")]
    NoCommit(String),
    /// An object is not what it should be.
    #[error("object {id} is damaged: {why}")]
    Damaged {
        /// Its id.
        id: CommitId,
        /// Why, as a lower-case fragment.
        why: Arc<str>,
    },
    /// A range has more commits than anybody pushes.
    #[error("the range has more than {0} commits; reanchor to a newer commit")]
    TooMany(usize),
    /// The clone's references cannot be listed.
    #[error("the clone's references are damaged, the next fetch clones anew ({0})")]
    References(Arc<str>),
    /// A tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Nobody writes longer messages.
const MESSAGE_MAX: usize = 64 * 1024;

/// A clone as it was when it was opened. Not shared between threads: open one for each.
pub struct Snapshot {
    /// Who is told of damage; nobody, for a repository that is not ours.
    mirror: Option<Mirror>,
    pub(super) repo: gix::Repository,
    /// The same without a cache of objects: each blob is read once, and would only drive the trees out.
    blobs: gix::Repository,
    pub(super) shallow: bool,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("dir", &self.repo.path()).finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(mirror: Mirror, repo: gix::Repository) -> Self {
        Self::of(Some(mirror), repo)
    }

    /// Opens a repository of somebody else's to read it: bare, or the top of a work tree. Nothing is ever written to it.
    ///
    /// # Errors
    /// If there is none, or it cannot be opened.
    pub fn open_readonly(path: &Path) -> Result<Self, MirrorError> {
        Ok(Self::of(None, upkeep::open_any(path)?))
    }

    fn of(mirror: Option<Mirror>, mut repo: gix::Repository) -> Self {
        let mut blobs = repo.clone();
        blobs.object_cache_size(None);
        // What reading comes to write, such as merges, is gone with the snapshot.
        repo.objects.enable_object_memory();
        let shallow = repo.is_shallow().unwrap_or(true);
        Self { mirror, repo, blobs, shallow }
    }

    fn suspect(&self, why: &str) {
        if let Some(mirror) = &self.mirror {
            mirror.suspect(why);
        }
    }

    /// Returns the tracked branch's tip as of the last fetch.
    pub fn tip(&self, branch: &str) -> Option<CommitId> {
        let reference = self.repo.try_find_reference(&*tracked(branch)).ok()??;
        reference.target().try_id().map(|id| commit_id(id.to_owned()))
    }

    /// Tells whether the repository has only a part of its history.
    pub const fn is_shallow(&self) -> bool {
        self.shallow
    }

    /// Tells whether a commit is here.
    pub fn has(&self, commit: &CommitId) -> bool {
        self.oid(commit).is_some_and(|id| self.repo.has_object(id))
    }

    /// Finds the commit that a person means: an id, also shortened, a branch as of the last fetch, or `HEAD~3` and its like.
    pub fn resolve(&self, branch: &str, spec: &str) -> Result<CommitId, ReadError> {
        let none = || ReadError::NoCommit(spec.into());
        let spec = spec.strip_prefix('@').map_or_else(|| spec.to_owned(), |rest| format!("HEAD{rest}"));
        let end = spec.find(['~', '^', ':']).unwrap_or(spec.len());
        let (name, suffix) = spec.split_at(end);
        let tip = (name == "HEAD" || name == branch).then(|| self.tip(branch)).flatten();
        let names =
            tip.map(|tip| tip.to_string()).into_iter().chain([format!("refs/remotes/origin/{name}"), name.into()]);
        for name in names {
            if let Ok(id) = self.repo.rev_parse_single(format!("{name}{suffix}^{{commit}}").as_str()) {
                return Ok(commit_id(id.detach()));
            }
        }
        Err(none())
    }

    /// Finds the commit that Git would find for a revision, in the repository as it is.
    pub fn revision(&self, spec: &str) -> Result<CommitId, ReadError> {
        let found = self.repo.rev_parse_single(format!("{spec}^{{commit}}").as_str());
        found.map(|id| commit_id(id.detach())).map_err(|_| ReadError::NoCommit(spec.into()))
    }

    /// Reads one commit's facts.
    pub fn commit(&self, id: &CommitId, check: &dyn SignatureCheck) -> Result<Commit, ReadError> {
        let raw = self.raw(id)?.ok_or_else(|| ReadError::NoCommit(id.to_string()))?;
        Ok(facts(id.clone(), raw, check))
    }

    /// Reads a commit's whole message, which nobody vouches for. One that is too long has none.
    pub fn message(&self, id: &CommitId) -> Result<String, ReadError> {
        let none = || ReadError::NoCommit(id.to_string());
        self.raw(id)?.ok_or_else(none)?;
        let found = self.repo.find_object(self.oid(id).ok_or_else(none)?).map_err(|_| none())?;
        let message = found.data.find(b"\n\n").map_or(&[][..], |at| &found.data[at + 2..]);
        Ok(if message.len() > MESSAGE_MAX { String::new() } else { message.to_str_lossy().into_owned() })
    }

    /// Reads the annotated tags that approve and vouch, named as the tag objects spell it, each once, sorted.
    ///
    /// A tag that cannot be read proves nothing and is left out.
    pub fn tags(&self, check: &dyn SignatureCheck) -> Result<Vec<Tag>, ReadError> {
        let mut tags = Vec::new();
        for prefix in TAGS {
            let damaged = |why: String| {
                self.suspect(&format!("references: {why}"));
                ReadError::References(why.into())
            };
            let all = self.repo.references().map_err(|e| damaged(format!("{e:#}")))?;
            for reference in all.prefixed(prefix).map_err(|e| damaged(format!("{e:#}")))? {
                let reference = reference.map_err(|e| damaged(e.to_string()))?;
                if let Some(id) = reference.target().try_id()
                    && let Some(tag) = self.tag(id.to_owned(), check)
                {
                    tags.push(tag);
                }
            }
        }
        tags.sort_by(|a, b| (&a.name, &a.target, a.tagged).cmp(&(&b.name, &b.target, b.tagged)));
        tags.dedup();
        Ok(tags)
    }

    fn tag(&self, id: ObjectId, check: &dyn SignatureCheck) -> Option<Tag> {
        let found = self.repo.find_object(id).ok().filter(|found| found.kind == gix::object::Kind::Tag)?;
        if gix::objs::compute_hash(gix::hash::Kind::Sha1, found.kind, &found.data).ok()? != id {
            return None;
        }
        let raw = object::tag(&found.data).ok()?;
        // Nobody approves by the tag of a tag, and whose signature would count?
        if raw.kind != "commit" || !TAGS.iter().any(|t| format!("refs/tags/{}", raw.name).starts_with(t)) {
            return None;
        }
        let signature = raw.signed.judge(check);
        Some(Tag {
            name: raw.name,
            target: CommitId::new(raw.object),
            tagger: raw.tagger,
            tagged: raw.tagged,
            signature,
        })
    }

    pub(super) fn oid(&self, commit: &CommitId) -> Option<ObjectId> {
        is_id(commit.as_str()).then(|| ObjectId::from_hex(commit.as_str().as_bytes()).ok()).flatten()
    }

    /// Reads a commit's headers, checking the object against its id; `None` if it is not here.
    pub(super) fn raw(&self, id: &CommitId) -> Result<Option<RawCommit>, ReadError> {
        let Some(oid) = self.oid(id) else { return Ok(None) };
        let damaged = |why: String| {
            self.suspect(&format!("commit {id}: {why}"));
            ReadError::Damaged { id: id.clone(), why: why.into() }
        };
        let Some(found) = self.repo.try_find_object(oid).map_err(|e| damaged(format!("{e:#}")))? else {
            return Ok(None);
        };
        if found.kind != gix::object::Kind::Commit {
            return Ok(None);
        }
        match gix::objs::compute_hash(gix::hash::Kind::Sha1, found.kind, &found.data) {
            Ok(hash) if hash == oid => {}
            _ => return Err(damaged("its content does not have its id".into())),
        }
        // A malformed commit was pushed like this; cloning anew would not mend it.
        object::commit(&found.data).map(Some).map_err(|why| ReadError::Damaged { id: id.clone(), why: why.into() })
    }

    /// The error of a parent that is not here. In a whole clone that is damage, which the next fetch mends.
    pub(super) fn unproven(&self, missing: &CommitId) -> ReadError {
        let why: Arc<str> = if self.shallow {
            "the remote is shallow: its history is cut off there; fetch from a complete repository".into()
        } else {
            self.suspect(&format!("commit {missing} is missing"));
            "the clone is incomplete; the next fetch clones anew".into()
        };
        ReadError::AncestryUnproven { missing: missing.clone(), why }
    }

    /// Reads an object of a kind; `None` if it is not here.
    fn object(&self, oid: Oid, kind: gix::object::Kind) -> Result<Vec<u8>, TreeError> {
        let id = ObjectId::Sha1(*oid.as_bytes());
        let damaged = |why: String| {
            self.suspect(&format!("object {oid}: {why}"));
            TreeError::Damaged { oid, why: why.into() }
        };
        let find = |repo: &gix::Repository| match repo.try_find_object(id) {
            Ok(found) => Ok(found.map(|mut found| (found.kind, std::mem::take(&mut found.data)))),
            Err(error) => Err(damaged(format!("{error:#}"))),
        };
        let mut found = if kind == gix::object::Kind::Blob { find(&self.blobs)? } else { None };
        if found.is_none() {
            found = find(&self.repo)?;
        }
        let (is, data) = found.ok_or_else(|| self.missing(oid))?;
        if is != kind {
            return Err(TreeError::Damaged { oid, why: format!("it is a {is}, not a {kind}").into() });
        }
        Ok(data)
    }

    fn missing(&self, oid: Oid) -> TreeError {
        if !self.shallow {
            self.suspect(&format!("object {oid} is missing"));
        }
        TreeError::Missing(oid)
    }
}

pub(super) fn facts(id: CommitId, raw: RawCommit, check: &dyn SignatureCheck) -> Commit {
    let signature = raw.signed.judge(check);
    let RawCommit { tree, parents, author, committer, committed, subject, signed: _ } = raw;
    Commit { id, parents, tree: tree.into(), author, committer, committed, subject, signature }
}

impl Trees for Snapshot {
    fn tree_of(&self, commit: &CommitId) -> Result<Oid, TreeError> {
        let none = || TreeError::NoCommit(commit.clone());
        let raw = self.raw(commit).map_err(|error| match error {
            ReadError::Damaged { why, .. } => match Oid::from_hex(commit.as_str()) {
                Some(oid) => TreeError::Damaged { oid, why },
                None => none(),
            },
            _ => none(),
        })?;
        Oid::from_hex(&raw.ok_or_else(none)?.tree).ok_or_else(none)
    }

    fn tree(&self, tree: Oid) -> Result<Arc<[u8]>, TreeError> {
        self.object(tree, gix::object::Kind::Tree).map(Arc::from)
    }

    fn blob_size(&self, blob: Oid) -> Result<u64, TreeError> {
        let id = ObjectId::Sha1(*blob.as_bytes());
        let header = self.repo.try_find_header(id).map_err(|e| {
            self.suspect(&format!("object {blob}: {e:#}"));
            TreeError::Damaged { oid: blob, why: format!("{e:#}").into() }
        })?;
        let header = header.ok_or_else(|| self.missing(blob))?;
        if header.kind() != gix::object::Kind::Blob {
            return Err(TreeError::Damaged { oid: blob, why: format!("it is a {}, not a blob", header.kind()).into() });
        }
        Ok(header.size())
    }

    fn blob(&self, blob: Oid, cap: u64) -> Result<Vec<u8>, TreeError> {
        let size = self.blob_size(blob)?;
        if size > cap {
            return Err(TreeError::TooLarge { oid: blob, size, cap });
        }
        let bytes = self.object(blob, gix::object::Kind::Blob)?;
        let hash = gix::objs::compute_hash(gix::hash::Kind::Sha1, gix::object::Kind::Blob, &bytes);
        if hash.is_ok_and(|hash| hash.as_bytes() == blob.as_bytes()) {
            return Ok(bytes);
        }
        self.suspect(&format!("object {blob}: its content does not have its id"));
        Err(TreeError::Damaged { oid: blob, why: "its content does not have its id".into() })
    }
}
