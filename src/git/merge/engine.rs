//! gix's merge, set up so that nothing but the trees decides what it gives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use gix::ObjectId;
use gix::bstr::ByteSlice;
use gix::diff::Rewrites;
use gix::diff::blob::Algorithm;
use gix::glob::pattern::Case;
use gix::hash::Kind::Sha1;
use gix::merge::blob::builtin_driver::text::Labels;
use gix::merge::blob::{Resolution as Text, pipeline, platform};
use gix::merge::plumbing;
use gix::merge::tree::{Conflict, Resolution};
use gix::objs::Write;
use gix::worktree::Stack;
use gix::worktree::stack::State;

use super::bounds::{BLOB_MAX, Bounded};
use super::{MergeError, Outcome, object_id};
use crate::core::tree::{Oid, is_freeze, show};

/// Finds the best common ancestors of two commits.
pub(super) fn bases(objects: &Bounded<'_>, one: ObjectId, other: ObjectId) -> Result<Vec<ObjectId>, MergeError> {
    guarded(objects, || {
        let mut graph = gix::revwalk::Graph::new(objects, None);
        let bases = gix::revision::plumbing::merge_base(one, &[other], &mut graph)?;
        Ok(bases.map(|bases| bases.into_iter().collect()).unwrap_or_default())
    })
}

/// Merges several common ancestors into the tree of one.
pub(super) fn several(objects: &Bounded<'_>, mut bases: Vec<ObjectId>) -> Result<Oid, MergeError> {
    let (Some(first), Some(second)) = (bases.pop(), bases.pop()) else {
        return Err(MergeError::Failed("there is no common ancestor".into()));
    };
    let tree = guarded(objects, || {
        let mut graph = gix::revwalk::Graph::new(objects, None);
        let merged = plumbing::commit::virtual_merge_base(
            first,
            second,
            bases,
            &mut graph,
            &mut similarity(),
            &mut contents(),
            objects,
            &mut |id| id.to_string(),
            options(),
        )?;
        Ok(merged.tree_id)
    })?;
    oid(tree)
}

/// Merges two trees by a third.
pub(super) fn trees(objects: &Bounded<'_>, base: Oid, ours: Oid, theirs: Oid) -> Result<Outcome, MergeError> {
    let (base, ours, theirs) = (object_id(base), object_id(ours), object_id(theirs));
    let merged = guarded(objects, || {
        let mut merged = plumbing::tree(
            &base,
            &ours,
            &theirs,
            Labels::default(),
            objects,
            |blob| objects.write_buf(gix::objs::Kind::Blob, blob),
            &mut Default::default(),
            &mut similarity(),
            &mut contents(),
            options(),
        )?;
        let mut paths: Vec<Arc<str>> =
            merged.conflicts.iter().filter(|conflict| !is_settled(conflict)).flat_map(places).collect();
        paths.sort();
        paths.dedup();
        if !paths.is_empty() {
            return Ok(Err(paths));
        }
        merged.tree.write(|tree| objects.write(tree)).map(Ok)
    })?;
    Ok(match merged {
        Ok(tree) => Outcome::Clean(oid(tree)?),
        Err(paths) => Outcome::Conflict(paths),
    })
}

/// Runs gix. It is young: what it did not expect of a hostile tree must not end the controller.
fn guarded<T>(objects: &Bounded<'_>, work: impl FnOnce() -> gix::Result<T>) -> Result<T, MergeError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) if objects.over.get() => Err(MergeError::TooLarge("it reads too much")),
        Ok(Err(error)) => Err(MergeError::Failed(format!("{error:#}").into())),
        Err(_) => Err(MergeError::Failed("it was not expected to look like this".into())),
    }
}

/// Tells whether both sides' changes to one place are in the result as Git would have them there: lines of one file that do
/// not overlap, in the file's old or new place. Anything cleverer, such as following a renamed directory, is a conflict.
///
/// What freezes needs no signature, so that nothing of it may get into anything else.
fn is_settled(conflict: &Conflict) -> bool {
    let freezes = |location: &[u8]| is_freeze(location.rsplit(|b| *b == b'/').next().unwrap_or_default());
    if [&conflict.ours, &conflict.theirs].iter().any(|change| freezes(change.location())) {
        return false;
    }
    match &conflict.resolution {
        Ok(Resolution::OursModifiedTheirsModifiedThenBlobContentMerge { merged_blob }) => {
            merged_blob.resolution == Text::Complete
        }
        Ok(Resolution::OursModifiedTheirsRenamedAndChangedThenRename { merged_blob, final_location, .. }) => {
            final_location.is_none() && merged_blob.is_none_or(|merged| merged.resolution == Text::Complete)
        }
        Ok(Resolution::SourceLocationAffectedByRename { .. } | Resolution::Forced(_)) | Err(_) => false,
    }
}

fn places(conflict: &Conflict) -> [Arc<str>; 2] {
    [&conflict.ours, &conflict.theirs].map(|change| show(change.location().as_bytes()))
}

/// As Git's `ort` has it without configuration: renames of half the content, the histogram algorithm.
fn options() -> plumbing::tree::Options {
    let mut blob_merge = platform::merge::Options::default();
    blob_merge.text.diff_algorithm = Algorithm::Histogram;
    plumbing::tree::Options {
        rewrites: Some(Rewrites { copies: None, percentage: Some(0.5), limit: 1000, track_empty: false }),
        blob_merge,
        blob_merge_command_ctx: gix::command::Context::default(),
        fail_on_conflict: None,
        marker_size_multiplier: 0,
        symlink_conflicts: None,
        tree_conflicts: None,
    }
}

/// Attributes of which there are none.
fn no_attributes() -> Stack {
    Stack::new("/", State::AttributesStack(Default::default()), Case::Sensitive, Vec::new(), Vec::new())
}

fn no_filter() -> gix::filter::plumbing::Pipeline {
    gix::filter::plumbing::Pipeline::new(gix::command::Context::default(), Sha1, Default::default())
}

/// Compares files to find what was renamed.
fn similarity() -> gix::diff::blob::Platform {
    use gix::diff::blob::{Pipeline, pipeline, platform};
    let options = pipeline::Options { large_file_threshold_bytes: BLOB_MAX, ..Default::default() };
    let pipeline = Pipeline::new(pipeline::WorktreeRoots::default(), no_filter(), Vec::new(), options);
    let options = platform::Options { algorithm: Some(Algorithm::Histogram), ..Default::default() };
    gix::diff::blob::Platform::new(options, pipeline, pipeline::Mode::ToGit, no_attributes())
}

/// Merges what is inside files.
fn contents() -> gix::merge::blob::Platform {
    let options = pipeline::Options { large_file_threshold_bytes: BLOB_MAX };
    let pipeline = gix::merge::blob::Pipeline::new(pipeline::WorktreeRoots::default(), no_filter(), options);
    let options = platform::Options { default_driver: None };
    gix::merge::blob::Platform::new(pipeline, pipeline::Mode::ToGit, no_attributes(), Vec::new(), options)
}

fn oid(id: ObjectId) -> Result<Oid, MergeError> {
    let bytes = id.as_bytes().try_into().map_err(|_| MergeError::Failed("an id that is not SHA-1".into()))?;
    Ok(Oid::new(bytes))
}
