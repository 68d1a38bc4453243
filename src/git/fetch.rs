//! Bringing a mirror up to date: first what the remote has, then what is missing, and a new clone when the old is damaged.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gix::ObjectId;

use super::credentials::Identity;
use super::guard::Guard;
use super::mirror::{Mirror, MirrorError, commit_id};
use super::remote::{Limits, Remote, Url};
use super::session::{Advertised, Depth, Topic};
use super::transport::{self, Address};
use super::upkeep;
use crate::core::commit::CommitId;

/// The phase of a fetch that took too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Waiting for another process that fetches into the same mirror.
    Lock,
    /// Reaching the server.
    Connect,
    /// Waiting for it to say anything.
    Idle,
    /// All of it.
    Total,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lock => "waiting for another process that uses the same clone",
            Self::Connect => "connecting",
            Self::Idle => "waiting for the server to say anything",
            Self::Total => "the whole fetch",
        })
    }
}

/// Says why a mirror could not be brought up to date. The mirror still has what it had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL, or what goes with it, cannot work.
    #[error("fetch from {url}: {why}")]
    Url {
        /// From where.
        url: Url,
        /// Why, as a lower-case fragment.
        why: String,
    },
    /// A file with credentials cannot be used.
    #[error("read credentials from {path}: {why}", path = path.display())]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The remote wants credentials, or others.
    #[error(
        "fetch from {url}: {} ({detail})",
        if *given { "the credentials were refused; check that they are current and may read this repository" }
        else { "the server wants credentials; set source.credentials" }
    )]
    Unauthorized {
        /// From where.
        url: Url,
        /// Whether any were given.
        given: bool,
        /// What the other side said.
        detail: String,
    },
    /// The remote's host key is not the known one.
    #[error(
        "fetch from {url}: the host's key is not among the known hosts; compare it out of band before adding it ({detail})"
    )]
    HostKey {
        /// From where.
        url: Url,
        /// What ssh said.
        detail: String,
    },
    /// There is no repository, or none that these credentials may see.
    #[error("fetch from {url}: there is no such repository, or these credentials may not see it ({detail})")]
    NotFound {
        /// From where.
        url: Url,
        /// What the other side said.
        detail: String,
    },
    /// The server cannot be reached, or is out of order.
    #[error("fetch from {url}: the server cannot be reached ({detail})")]
    Unreachable {
        /// From where.
        url: Url,
        /// What failed.
        detail: String,
    },
    /// It took too long.
    #[error("fetch from {url}: {phase} took longer than {} s", after.as_secs_f32())]
    TimedOut {
        /// From where.
        url: Url,
        /// Which part of it.
        phase: Phase,
        /// How long it was allowed to take.
        after: Duration,
    },
    /// The caller asked to stop.
    #[error("fetch: interrupted")]
    Interrupted,
    /// The remote sent more than is allowed.
    #[error(
        "fetch from {url}: the {what} is larger than {limit} bytes; a repository of desired state needs no such files"
    )]
    TooLarge {
        /// From where.
        url: Url,
        /// `pack` or `object`.
        what: &'static str,
        /// In bytes.
        limit: u64,
    },
    /// The repository has branches, and not this one.
    #[error("fetch from {url}: there is no branch {branch:?}; it has {}", others.join(", "))]
    BranchMissing {
        /// From where.
        url: Url,
        /// Which branch.
        branch: String,
        /// Some that it has.
        others: Vec<String>,
    },
    /// The repository has no branch at all.
    #[error("fetch from {url}: the repository is empty; push a first commit to {branch:?}")]
    Empty {
        /// From where.
        url: Url,
        /// Which branch was asked for.
        branch: String,
    },
    /// What came makes no sense: cut off, damaged, or of a protocol that is not spoken.
    #[error("fetch from {url}: {detail}")]
    Protocol {
        /// From where.
        url: Url,
        /// What failed.
        detail: String,
        /// Whether data, from there or here, was damaged.
        damaged: bool,
    },
    /// A program that is needed cannot be started.
    #[error("start {program}: {why}; https needs no program", program = program.display())]
    Program {
        /// Which program.
        program: PathBuf,
        /// Why.
        why: String,
    },
    /// The clone itself cannot be used.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

impl FetchError {
    /// Returns the variant's name, for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "url",
            Self::Credentials { .. } => "credentials",
            Self::Unauthorized { .. } => "unauthorized",
            Self::HostKey { .. } => "host_key",
            Self::NotFound { .. } => "not_found",
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Interrupted => "interrupted",
            Self::TooLarge { .. } => "too_large",
            Self::BranchMissing { .. } => "branch_missing",
            Self::Empty { .. } => "empty",
            Self::Protocol { .. } => "protocol",
            Self::Program { .. } => "program",
            Self::Mirror(_) => "mirror",
        }
    }
}

/// What is wanted besides the tracked branch and the tags that approve and vouch.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Full reference names (`refs/pull/7/head`) or commit ids in full; what the remote lacks is `None` in the result.
    pub revs: Vec<String>,
}

/// What a fetch brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The tracked branch's tip; its objects are here.
    pub tip: CommitId,
    /// What each of [`Wanted::revs`] is, in that order.
    pub revs: Vec<Option<CommitId>>,
    /// Whether anything was different from the last fetch.
    pub changed: bool,
    /// Bytes of the packs that came.
    pub received: u64,
    /// Whether history is cut off somewhere, so that ancestry may be unprovable.
    pub shallow: bool,
    /// Why the clone was made anew, if it was.
    pub rebuilt: Option<String>,
    /// Pinned commits that a new clone could not carry over.
    pub lost: Vec<CommitId>,
}

/// Tags that approve a plan (`GUARDS.md` 5.4) and vouch for a commit (`GUARDS.md` 3.3).
pub(super) const TAGS: [&str; 2] = ["refs/tags/holdfast-approve/", "refs/tags/holdfast-vouch/"];

/// Below this a fetched revision has a name of ours.
pub(super) const REVS: &str = "refs/holdfast/revs/";

/// One fetch: its remote, with the files read and the URL parsed.
pub(super) struct Job<'a> {
    pub(super) remote: &'a Remote,
    pub(super) wanted: &'a Wanted,
    identity: Identity,
    address: Address,
    pub(super) guard: Arc<Guard>,
}

impl<'a> Job<'a> {
    pub(super) fn new(remote: &'a Remote, wanted: &'a Wanted) -> Result<Self, FetchError> {
        let mut identity = Identity::read(&remote.credentials)?;
        let address = transport::address(remote, &mut identity)?;
        let why = |what: &str| FetchError::Url { url: remote.url.clone(), why: what.into() };
        gix::validate::reference::name(tracked(&remote.branch).as_str().into())
            .map_err(|_| why("source.branch is not a branch's name"))?;
        for rev in &wanted.revs {
            if !is_id(rev)
                && (!rev.starts_with("refs/") || gix::validate::reference::name(rev.as_str().into()).is_err())
            {
                return Err(why("a revision is neither a full reference name nor a full commit id"));
            }
        }
        Ok(Self { remote, wanted, identity, address, guard: Guard::new(remote) })
    }

    pub(super) fn topic(&self, specs: Vec<String>, depth: Depth) -> Topic<'_> {
        let Self { remote, identity, address, guard, wanted: _ } = self;
        Topic { remote, identity, address, guard, specs, depth }
    }

    pub(super) fn specs(&self) -> Vec<String> {
        let mut specs = vec![format!("+refs/heads/{0}:{1}", self.remote.branch, tracked(&self.remote.branch))];
        specs.extend(TAGS.iter().map(|tags| format!("+{tags}*:{tags}*")));
        specs.extend(self.wanted.revs.iter().map(|rev| format!("+{rev}:{}", local_rev(rev))));
        specs
    }

    /// Fetches into the clone at `dir`; gives the advertised names, and whether any is new.
    pub(super) fn run(&self, dir: &std::path::Path) -> Result<(Advertised, bool), FetchError> {
        let repo = upkeep::open(dir, Some(&self.remote.limits))?;
        let shallow = repo.is_shallow().unwrap_or(false);
        let tracked = tracked(&self.remote.branch);
        let here = upkeep::names(&repo, &tracked)?;
        let topic = self.topic(self.specs(), if shallow { Depth::Whole } else { Depth::AsHere });
        let mut moved = false;
        let (advertised, received) = topic.talk(&repo, &mut |advertised| {
            let differs = |(name, id): (&String, &ObjectId)| match here.get(name) {
                Some(known) => known != id,
                // A revision by its id that is here already needs no conversation.
                None => !(name.starts_with(REVS) && repo.has_object(*id)),
            };
            moved = advertised.iter().any(differs);
            advertised.contains_key(&tracked) && (shallow || moved)
        })?;
        if !advertised.contains_key(&tracked) {
            return Err(self.missing_branch(&repo));
        }
        if let Some(pack) = received.as_ref().and_then(|received| received.pack.as_ref()) {
            upkeep::sync(dir, pack)?;
        }
        // A tag that was taken back approves nothing.
        let gone: Vec<&String> =
            here.keys().filter(|name| name.starts_with("refs/tags/") && !advertised.contains_key(*name)).collect();
        upkeep::forget(&repo, gone.iter().map(|name| name.as_str()))?;
        Ok((advertised, moved || !gone.is_empty()))
    }

    /// The names that this fetch gives to revisions.
    pub(super) fn revs(&self) -> Vec<String> {
        self.wanted.revs.iter().map(|rev| local_rev(rev)).collect()
    }

    /// Looks at all branches, so that the error can name them.
    pub(super) fn missing_branch(&self, repo: &gix::Repository) -> FetchError {
        let (url, branch) = (self.remote.url.clone(), self.remote.branch.clone());
        let topic = self.topic(vec!["refs/heads/*:refs/holdfast/seen/*".into()], Depth::AsHere);
        match topic.talk(repo, &mut |_| false) {
            Ok((seen, _)) if seen.is_empty() => FetchError::Empty { url, branch },
            Ok((seen, _)) => {
                let names = seen.keys().filter_map(|name| name.strip_prefix("refs/holdfast/seen/"));
                FetchError::BranchMissing { url, branch, others: names.take(10).map(String::from).collect() }
            }
            Err(error) => error,
        }
    }
}

impl Mirror {
    /// Brings the mirror up to date with the tracked branch (forced) and the tags that approve and vouch.
    ///
    /// When nothing changed this costs one listing of names. A mirror found damaged is cloned anew beside and swapped,
    /// pins included. Setting `interrupt` ends it soon; so do the remote's limits.
    pub fn fetch(&self, remote: &Remote, wanted: &Wanted, interrupt: &AtomicBool) -> Result<Fetched, FetchError> {
        let job = Job::new(remote, wanted)?;
        job.guard.watch(interrupt, || self.fetch_guarded(&job))
    }

    fn fetch_guarded(&self, job: &Job<'_>) -> Result<Fetched, FetchError> {
        let _lock = self.lock(job)?;
        upkeep::tidy(self.dir())?;
        let mut rebuilt = self.suspicion();
        let mut lost = Vec::new();
        let mut run = Err(None);
        if rebuilt.is_none() {
            run = job.run(self.dir()).map_err(Some);
            rebuilt = match &run {
                Ok((advertised, _)) => self.lacks(advertised).or_else(|| self.suspicion()),
                Err(Some(FetchError::Mirror(MirrorError::Damaged { why, .. }))) => Some(why.clone()),
                Err(Some(FetchError::Protocol { damaged: true, .. })) => self.suspicion(),
                Err(_) => None,
            };
        }
        if let Some(reason) = &rebuilt {
            tracing::warn!(repository = %job.remote.url, %reason, "the clone is damaged, cloning anew");
            let (result, gone) = self.rebuild(job, reason)?;
            (run, lost) = (Ok(result), gone);
            if let Ok((advertised, _)) = &run
                && let Some(still) = self.lacks(advertised)
            {
                return Err(MirrorError::Damaged { dir: self.dir().into(), why: still }.into());
            }
        }
        let (advertised, changed) = run.map_err(|error| error.unwrap_or(FetchError::Interrupted))?;
        if let Some(gone) = self.consolidate(job) {
            lost.extend(gone);
        }
        let tip =
            advertised.get(&tracked(&job.remote.branch)).map(|id| commit_id(*id)).ok_or(FetchError::Interrupted)?;
        let revs = job.wanted.revs.iter().map(|rev| self.peel(advertised.get(&local_rev(rev))?)).collect();
        let shallow = upkeep::open(self.dir(), None)?.is_shallow().unwrap_or(true);
        Ok(Fetched { tip, revs, changed, received: job.guard.received(), shallow, rebuilt, lost })
    }

    /// Follows a fetched revision to its commit.
    fn peel(&self, id: &ObjectId) -> Option<CommitId> {
        let repo = upkeep::open(self.dir(), None).ok()?;
        let commit = repo.find_object(*id).ok()?.peel_to_kind(gix::object::Kind::Commit).ok()?;
        Some(commit_id(commit.id))
    }

    /// Says what of the advertised names is not here after all.
    fn lacks(&self, advertised: &Advertised) -> Option<String> {
        let repo = match upkeep::open(self.dir(), None) {
            Ok(repo) => repo,
            Err(error) => return Some(error.to_string()),
        };
        advertised.iter().find_map(|(name, id)| {
            let object = match repo.find_object(*id) {
                Ok(object) => object,
                Err(_) => return Some(format!("{name} is fetched, and its object {id} cannot be read")),
            };
            let tree = object.peel_to_tree().map(|tree| tree.id);
            (!name.starts_with("refs/tags/") && tree.is_err()).then(|| format!("the tree of {name} cannot be read"))
        })
    }
}

/// The local name of a tracked branch.
pub(super) fn tracked(branch: &str) -> String {
    format!("refs/remotes/origin/{branch}")
}

fn local_rev(rev: &str) -> String {
    let digest = crate::core::resource::Digest::of_parts([rev.as_bytes()]);
    format!("{REVS}{}", hex::encode(digest.as_bytes()))
}

/// Tells whether a revision is a full object id.
pub(super) fn is_id(rev: &str) -> bool {
    rev.len() == 40 && rev.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Limits {
    /// What gix calls the limit of one allocation: of an object, and so of the objects of a pack.
    pub(super) fn allocation(&self) -> u64 {
        self.object
    }
}
