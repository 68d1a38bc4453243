//! Heads of pull requests, which the hosting service keeps beside the branches: fetched when asked for, under names of ours.
//!
//! Anybody may propose anything, so a fetch of heads may bring less than one of the tracked branch.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use gix::bstr::ByteSlice;

use super::fetch::{FetchError, Job, Wanted};
use super::mirror::{Mirror, MirrorError, commit_id};
use super::remote::Remote;
use super::session::Depth;
use super::snapshot::Snapshot;
use super::upkeep;
use crate::core::commit::CommitId;
use crate::core::heads::Head;

/// Below this a fetched head has a name of ours.
const PULLS: &str = "refs/holdfast/pulls/";
const REQUESTS: &str = "refs/holdfast/requests/";

/// How many bytes the heads that are asked for at once may bring.
const PACK_MAX: u64 = 256 << 20;

/// How many heads are kept; those of the lowest numbers go first.
const KEPT_MAX: usize = 1_000;

/// What the remote has of the heads that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// Those that it has, and that can be read. A head that is not there any more keeps what it had here.
    pub found: BTreeMap<Head, CommitId>,
    /// Bytes of the packs that came.
    pub received: u64,
}

impl Mirror {
    /// Fetches heads of pull requests, and nothing else: forced, into names of ours.
    ///
    /// One head that is too large fails all that are asked for at once: then ask for each alone.
    pub fn fetch_heads(&self, remote: &Remote, heads: &[Head], interrupt: &AtomicBool) -> Result<Heads, FetchError> {
        let mut remote = remote.clone();
        remote.limits.pack = remote.limits.pack.min(PACK_MAX);
        let wanted = Wanted::default();
        let job = Job::new(&remote, &wanted)?;
        job.guard.watch(interrupt, || {
            let _lock = self.lock(&job)?;
            upkeep::tidy(self.dir())?;
            self.heads(&job, heads)
        })
    }

    fn heads(&self, job: &Job<'_>, heads: &[Head]) -> Result<Heads, FetchError> {
        let repo = upkeep::open(self.dir(), Some(&job.remote.limits))?;
        let specs = heads.iter().map(|head| format!("+{}:{}", head.remote(), local(*head))).collect();
        let (advertised, received) = job.topic(specs, Depth::AsHere).talk(&repo, &mut |advertised| {
            let here =
                |name: &str| repo.try_find_reference(name).ok().flatten()?.target().try_id().map(|id| id.to_owned());
            advertised.iter().any(|(name, id)| here(name) != Some(*id) || !repo.has_object(*id))
        })?;
        if let Some(pack) = received.as_ref().and_then(|received| received.pack.as_ref()) {
            upkeep::sync(self.dir(), pack)?;
        }
        // Opened anew: it has packs that it had not.
        let snapshot = self.snapshot()?;
        let mut found = BTreeMap::new();
        for head in heads {
            if advertised.contains_key(&local(*head))
                && let Some(commit) = snapshot.head(*head)
            {
                found.insert(*head, commit);
            }
        }
        prune(&snapshot, heads)?;
        Ok(Heads { found, received: job.guard.received() })
    }
}

impl Snapshot {
    /// Returns what a pull request proposes, as of the last fetch of its head.
    pub fn head(&self, head: Head) -> Option<CommitId> {
        let reference = self.repo.try_find_reference(&*local(head)).ok()??;
        let found = self.repo.find_object(reference.target().try_id()?.to_owned()).ok()?;
        (found.kind == gix::object::Kind::Commit && found.peel_to_tree().is_ok())
            .then(|| reference.target().try_id().map(|id| commit_id(id.to_owned())))?
    }
}

fn local(head: Head) -> String {
    match head {
        Head::Pull(number) => format!("{PULLS}{number}"),
        Head::Request(number) => format!("{REQUESTS}{number}"),
    }
}

/// Forgets the heads of the oldest pull requests: each keeps objects for as long as it has a name.
fn prune(snapshot: &Snapshot, keep: &[Head]) -> Result<(), MirrorError> {
    let repo = &snapshot.repo;
    let damaged =
        |e: gix::Error| MirrorError::Damaged { dir: repo.path().into(), why: format!("its references: {e:#}") };
    let all = repo.references().map_err(damaged)?;
    let mut known = Vec::new();
    for (prefix, head) in [(PULLS, Head::Pull as fn(u64) -> Head), (REQUESTS, Head::Request)] {
        for reference in all.prefixed(prefix).map_err(damaged)?.flatten() {
            let name = reference.name().as_bstr().to_str_lossy().into_owned();
            known.extend(name.strip_prefix(prefix).and_then(|number| number.parse().ok()).map(|n| (n, head(n))));
        }
    }
    known.sort_unstable();
    let over = known.len().saturating_sub(KEPT_MAX);
    let gone: Vec<String> =
        known.iter().take(over).filter(|(_, head)| !keep.contains(head)).map(|(_, head)| local(*head)).collect();
    upkeep::forget(repo, gone.iter().map(String::as_str))
}
