//! A look at a remote that leaves nothing behind: a real fetch, and not into the clone.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::fetch::{FetchError, Job, Wanted, tracked};
use super::mirror::{MirrorError, commit_id};
use super::remote::Remote;
use super::session::Depth;
use super::snapshot::Snapshot;
use super::upkeep;
use crate::core::commit::CommitId;

/// What a look at a remote found.
#[derive(Debug)]
pub struct Glimpse {
    /// The tracked branch's tip.
    pub tip: CommitId,
    /// The tip and the tags that approve and vouch, without history; or why they could not be had.
    pub snapshot: Result<Snapshot, FetchError>,
    /// Gone with the snapshot that reads it.
    _dir: tempfile::TempDir,
}

/// Asks a remote for the tracked branch, and fetches its tip into a directory that is thrown away.
///
/// Where the clone at `known` has the tip already, that is read instead; it is not written to.
///
/// # Errors
/// If the remote cannot be reached, or has no such branch.
pub fn glimpse(remote: &Remote, known: &Path, interrupt: &AtomicBool) -> Result<Glimpse, FetchError> {
    let wanted = Wanted::default();
    let job = Job::new(remote, &wanted)?;
    let temporary = std::env::temp_dir();
    let dir = tempfile::tempdir().map_err(|error| MirrorError::io(&temporary, &error))?;
    let place = dir.path().join("repo");
    upkeep::create(&place)?;
    let repo = upkeep::open(&place, Some(&remote.limits))?;
    job.guard.watch(interrupt, || {
        let (advertised, _) = job.topic(job.specs(), Depth::AsHere).talk(&repo, &mut |_| false)?;
        let Some(tip) = advertised.get(&tracked(&remote.branch)).map(|id| commit_id(*id)) else {
            return Err(job.missing_branch(&repo));
        };
        let snapshot = match Snapshot::open_readonly(known) {
            Ok(clone) if clone.has(&tip) => Ok(clone),
            _ => job
                .topic(job.specs(), Depth::Tips)
                .talk(&repo, &mut |_| true)
                .and_then(|_| Ok(Snapshot::open_readonly(&place)?)),
        };
        Ok(Glimpse { tip, snapshot, _dir: dir })
    })
}
