//! What commits want: rendered, compared with each other, and as bytes.

use std::sync::Arc;

use super::Live;
use crate::controller::edges::Rendered;
use crate::core::commit::CommitId;
use crate::core::culprit::WantChange;
use crate::core::op::{Class, Op, Verb};
use crate::core::plan::Details;
use crate::core::resource::{Digest, FieldChange, Id};
use crate::core::spelling::link_digest;
use crate::core::state::State;
use crate::core::write::{Content, WriteOp};
use crate::render;
use crate::targets::content_digest;

/// Files larger than this are not shown as differences.
const SHOWN_BYTES: u64 = 256 * 1024;

/// Past so many updates a plan is not looked into resource by resource: then nothing of it counts as a version bump.
const DETAILED: usize = 5_000;

impl Live {
    /// Renders a commit.
    pub(super) fn rendered(&self, commit: &CommitId) -> Rendered {
        let Some(snapshot) = self.snapshot.as_ref() else {
            return Rendered::Broken("the repository was not read".into());
        };
        match self.renderer.render(snapshot, commit) {
            Ok(desired) => Rendered::Desired(desired),
            Err(error) if error.is_path_missing() => Rendered::Missing(error.to_string().into()),
            Err(error) => Rendered::Broken(error.to_string().into()),
        }
    }

    /// Tells what a commit changes, desired against desired.
    pub(super) fn wants_changed(&self, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        self.renderer.changes(snapshot, old, new).map_err(|error| error.to_string().into())
    }

    /// Tells what changes inside the resources that are updated from one commit to another.
    pub(super) fn inside_changes(&self, old: &CommitId, new: &CommitId, changes: &[WantChange]) -> Details {
        let updated = changes.iter().filter(|change| change.old.is_some() && change.new.is_some());
        let detailed = updated.take(DETAILED).map(|change| {
            let (before, after) = (self.shown(old, &change.id), self.shown(new, &change.id));
            (change.id.clone(), self.renderer.field_changes(before.as_deref(), after.as_deref(), &change.id))
        });
        detailed.collect()
    }

    /// Tells what operations change inside their resources.
    pub(super) fn inside_ops(&mut self, state: &State, ops: &[Op]) -> Details {
        let mut details = Details::new();
        for op in ops.iter().filter(|op| op.verb == Verb::Update).take(DETAILED) {
            // What was decrypted is not shown, as it is wanted or as it is.
            if self.is_secret(op) {
                continue;
            }
            if let Some((before, after)) = self.target.rehearsed(op) {
                details.insert(op.id.clone(), self.renderer.field_changes(Some(&before), Some(&after), &op.id));
                continue;
            }
            let accepted = state.resources.get(&op.id).and_then(|resource| resource.accepted.as_deref());
            let in_sync =
                accepted.is_some_and(|accepted| op.from.as_ref().is_some_and(|(live, _)| *live == accepted.live));
            let before = match accepted.filter(|_| in_sync) {
                Some(accepted) => self.shown(&accepted.about.commit, &op.id),
                None => self.target.read(&op.id, SHOWN_BYTES),
            };
            let after = op.source.as_ref().and_then(|source| self.shown(&source.commit, &op.id));
            let changes: Vec<FieldChange> = self.renderer.field_changes(before.as_deref(), after.as_deref(), &op.id);
            details.insert(op.id.clone(), changes);
        }
        details
    }

    fn content(&self, commit: &CommitId, id: &Id) -> Result<render::Content, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        self.renderer.content(snapshot, commit, id).map_err(|error| Arc::from(error.to_string()))
    }

    /// Reads what an operation's commit wants written; nothing of a removal.
    pub(super) fn bytes_of(&self, op: &Op) -> Result<Option<Vec<u8>>, Arc<str>> {
        let Some(source) = &op.source else { return Ok(None) };
        match self.content(&source.commit, &op.id)? {
            render::Content::File { bytes, .. } => Ok(Some(bytes)),
            render::Content::Link(target) => Ok(Some(target)),
            render::Content::Object { json, .. } => Ok(Some(json)),
        }
    }

    fn is_secret(&self, op: &Op) -> bool {
        let wanted = op.source.as_ref().map(|source| self.content(&source.commit, &op.id));
        matches!(wanted, Some(Ok(render::Content::Object { secret: true, .. })))
    }

    fn shown(&self, commit: &CommitId, id: &Id) -> Option<Vec<u8>> {
        match self.content(commit, id).ok()? {
            render::Content::File { bytes, .. } if bytes.len() as u64 <= SHOWN_BYTES => Some(bytes),
            render::Content::File { .. } => None,
            render::Content::Link(target) => Some(target),
            render::Content::Object { secret: true, .. } => None,
            render::Content::Object { json, .. } => Some(json).filter(|json| json.len() as u64 <= SHOWN_BYTES),
        }
    }

    /// Makes one write of an operation, with the bytes that its commit wants; returns their desired digest too.
    ///
    /// # Errors
    /// Why the bytes cannot be read; then nothing is to be written.
    pub(super) fn write_op(&self, op: &Op) -> Result<(WriteOp, Option<Digest>), Arc<str>> {
        let (content, digest) = match &op.source {
            None => (None, None),
            Some(source) => match self.content(&source.commit, &op.id)? {
                render::Content::File { bytes, executable } => {
                    let digest = content_digest(&bytes, executable);
                    (Some(Content::File { bytes: bytes.into(), executable }), digest)
                }
                render::Content::Link(target) => {
                    let digest = link_digest(&target);
                    (Some(Content::Link(target.into())), Some(digest))
                }
                render::Content::Object { json, digest, secret: _ } => {
                    (Some(Content::File { bytes: json.into(), executable: false }), Some(digest))
                }
            },
        };
        let write = WriteOp {
            id: op.id.clone(),
            verb: op.verb,
            expected: op.from.clone(),
            content,
            force: op.force,
            replace: op.class == Class::Replace,
            reclaims: op.reclaims.clone(),
            ignore: op.ignore.clone(),
        };
        Ok((write, digest))
    }
}
