//! What merging gives: three-way merges of our own, which write nothing but the memory of the snapshot that made them.
//!
//! gix merges as Git's `ort` does, set up here by hand: no attributes, drivers, filters or configuration of any repository
//! have a say, and no program is run. What it is given was parsed by our own rules first, and is bounded: trees come from
//! people who may be anybody.

mod bounds;
mod engine;

use std::sync::Arc;

use gix::ObjectId;

use self::bounds::Bounded;
use super::mirror::commit_id;
use super::snapshot::{ReadError, Snapshot};
use crate::core::commit::CommitId;
use crate::core::tree::{Oid, TreeError, Trees};

/// What merging gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Merge {
    /// It goes by itself.
    Clean(Merged),
    /// Both sides changed the same things.
    Conflict {
        /// Where, spelt for people, sorted.
        paths: Vec<Arc<str>>,
    },
}

/// A clean merge, readable through the snapshot that made it as long as that lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    /// What it comes to.
    pub tree: Oid,
    /// A commit of that tree, unsigned and of nobody.
    pub commit: CommitId,
}

/// Says why there is no telling what merging would give.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MergeError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to merge by.
    #[error("{0} and {1} have no history in common")]
    Unrelated(CommitId, CommitId),
    /// A commit that is picked has several parents, so that what it changes cannot be told.
    #[error("{0} is a merge, so what it changes by itself cannot be told")]
    NoChange(CommitId),
    /// It would take too long.
    #[error("the merge is too large to be computed ({0})")]
    TooLarge(&'static str),
    /// gix failed.
    #[error("the merge could not be computed ({0})")]
    Failed(Arc<str>),
}

impl From<TreeError> for MergeError {
    fn from(error: TreeError) -> Self {
        Self::Read(error.into())
    }
}

impl Snapshot {
    /// Merges a head onto a commit, as `git merge` would where the commit is checked out.
    pub fn merge(&self, onto: &CommitId, head: &CommitId) -> Result<Merge, MergeError> {
        let objects = Bounded::new(&self.repo);
        let base = self.merge_base(&objects, onto, head)?;
        let (ours, theirs) = (self.tree_of(onto)?, self.tree_of(head)?);
        let merged = self.three_way(&objects, base, ours, theirs)?;
        self.kept(merged, onto, head, &[onto, head])
    }

    /// Makes the change of one commit onto another, as `git cherry-pick` and `git rebase` do.
    pub fn pick(&self, commit: &CommitId, onto: &CommitId) -> Result<Merge, MergeError> {
        let raw = self.raw(commit)?.ok_or_else(|| self.unproven(commit))?;
        let base = match raw.parents.as_slice() {
            [parent] => self.tree_of(parent)?,
            _ => return Err(MergeError::NoChange(commit.clone())),
        };
        let objects = Bounded::new(&self.repo);
        let merged = self.three_way(&objects, base, self.tree_of(onto)?, self.tree_of(commit)?)?;
        self.kept(merged, onto, commit, &[onto])
    }

    /// Finds the tree that two commits are merged by; where there are several, that is itself a merge.
    fn merge_base(&self, objects: &Bounded<'_>, one: &CommitId, other: &CommitId) -> Result<Oid, MergeError> {
        for commit in [one, other] {
            // Parsed by our own rules, and checked against its id.
            self.raw(commit)?.ok_or_else(|| self.unproven(commit))?;
        }
        if self.shallow {
            return Err(self.unproven(other).into());
        }
        let bases = engine::bases(objects, self.known(one)?, self.known(other)?)?;
        match bases.as_slice() {
            [] => Err(MergeError::Unrelated(one.clone(), other.clone())),
            [base] => Ok(self.tree_of(&commit_id(*base))?),
            _ => {
                // What they in turn are merged by is gix's to read, within the same bounds.
                let trees = bases.iter().map(|base| self.tree_of(&commit_id(*base))).collect::<Result<Vec<_>, _>>()?;
                for pair in trees.windows(2) {
                    bounds::look(self, pair[0], pair[1])?;
                }
                engine::several(objects, bases)
            }
        }
    }

    fn three_way(&self, objects: &Bounded<'_>, base: Oid, ours: Oid, theirs: Oid) -> Result<Outcome, MergeError> {
        // What only one side changed needs no merging.
        if ours == theirs || theirs == base {
            return Ok(Outcome::Clean(ours));
        }
        if ours == base {
            return Ok(Outcome::Clean(theirs));
        }
        bounds::look(self, base, ours)?;
        bounds::look(self, base, theirs)?;
        engine::trees(objects, base, ours, theirs)
    }

    /// Keeps what was merged, with a commit that leads to it.
    fn kept(
        &self,
        merged: Outcome,
        onto: &CommitId,
        of: &CommitId,
        parents: &[&CommitId],
    ) -> Result<Merge, MergeError> {
        let tree = match merged {
            Outcome::Clean(tree) => tree,
            Outcome::Conflict(paths) => return Ok(Merge::Conflict { paths }),
        };
        // It must be what our own reader takes for a tree.
        bounds::look(self, self.tree_of(onto)?, tree)?;
        let when = self.raw(of)?.ok_or_else(|| self.unproven(of))?.committed.as_second();
        let who = gix::actor::Signature {
            name: "holdfast".into(),
            email: "holdfast@localhost".into(),
            time: gix::date::Time { seconds: when, offset: 0 },
        };
        let commit = gix::objs::Commit {
            tree: object_id(tree),
            parents: parents.iter().map(|parent| self.known(parent)).collect::<Result<_, _>>()?,
            author: who.clone(),
            committer: who,
            encoding: None,
            message: format!("What merging {} gives\n", of.short()).into(),
            extra_headers: Vec::new(),
        };
        let commit = self.repo.write_object(&commit).map_err(|e| MergeError::Failed(format!("{e:#}").into()))?;
        Ok(Merge::Clean(Merged { tree, commit: commit_id(commit.detach()) }))
    }

    fn known(&self, commit: &CommitId) -> Result<ObjectId, MergeError> {
        Ok(self.oid(commit).ok_or_else(|| ReadError::NoCommit(commit.to_string()))?)
    }
}

/// What merging trees comes to.
enum Outcome {
    Clean(Oid),
    Conflict(Vec<Arc<str>>),
}

fn object_id(oid: Oid) -> ObjectId {
    ObjectId::Sha1(*oid.as_bytes())
}
