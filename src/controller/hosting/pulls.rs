//! Open pull requests judged, and merged ones followed until they are where they shall be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::letter::{Letter, Mood, queue};
use super::outlook::{Outlook, Verdict};
use super::place::Place;
use super::words::{self, Basis, Fate};
use crate::clock::MachineClock;
use crate::config::{Application, Config, ForgeKind};
use crate::controller::edges::Read as _;
use crate::controller::live::{Fetched, Hints, Live, remote_of};
use crate::controller::operate;
use crate::controller::report::Status;
use crate::controller::view::{self, Merging};
use crate::core::commit::CommitId;
use crate::core::heads::Head;
use crate::core::resource::Digest;
use crate::forges::{ForgeError, Fresh, Pull, PullState};
use crate::git::Mirror;
use crate::store::{Ledger, StoreError};

/// What is left free of a service's limit for a comment: what became of it is added above.
const ROOM: usize = 2_000;

/// How long what became of a merge is followed.
const FOLLOWED: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Why pull requests could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The service did not answer.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The ledger did not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository could not be read.
    #[error("read the repository: {0}")]
    Git(String),
}

/// What is kept of a pull request.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    /// The branch that it goes into.
    pub branch: String,
    /// Its head as of the last judgement.
    pub head: CommitId,
    /// What else the last judgement depended on.
    pub basis: Digest,
    /// When the service says that it changed last, to the second.
    pub updated: Timestamp,
    /// How often it was looked at since without having changed again.
    #[serde(default)]
    pub looks: u8,
    /// The comment as it was last judged.
    pub body: String,
    /// Whether it comes from another repository.
    pub fork: bool,
    /// What it was merged as, and when that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
    /// When the newest comment that was heard was written, by the service's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
}

/// A pull request that is merged.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Merged {
    /// The commit on the branch.
    pub commit: CommitId,
    /// When this was seen.
    pub at: Timestamp,
    /// What became of it, by application.
    #[serde(default)]
    pub fates: BTreeMap<String, Fate>,
}

/// Returns what is kept of a repository's pull requests; what cannot be read is forgotten.
///
/// # Errors
/// Those of the ledger.
pub fn followed(ledger: &Ledger, key: &str) -> Result<BTreeMap<u64, Followed>, StoreError> {
    let read = |(number, json): (u64, String)| Some((number, serde_json::from_str(&json).ok()?));
    Ok(ledger.pulls(key)?.into_iter().filter_map(read).collect())
}

/// Returns which pull requests the service says brought which commits: hints, which carry no trust (`GUARDS.md` 3.2).
///
/// # Errors
/// Those of the ledger.
pub fn hints(ledger: &Ledger, key: &str, kind: ForgeKind) -> Result<Hints, StoreError> {
    let merged = followed(ledger, key)?.into_iter();
    Ok(merged.filter_map(|(number, known)| Some((known.merged?.commit, vec![head(kind, number)]))).collect())
}

/// Names the head of a pull request.
const fn head(kind: ForgeKind, number: u64) -> Head {
    match kind {
        ForgeKind::Gitlab => Head::Request(number),
        ForgeKind::Github | ForgeKind::Gitea => Head::Pull(number),
    }
}

/// Keeps what is known of a pull request.
///
/// # Errors
/// Those of the ledger.
pub fn keep(ledger: &Ledger, key: &str, number: u64, followed: &Followed) -> Result<(), StoreError> {
    match serde_json::to_string(followed) {
        Ok(json) => ledger.put_pull(key, number, &json),
        Err(error) => {
            tracing::error!(%error, "a pull request could not be kept");
            Ok(())
        }
    }
}

/// Looks after the pull requests of one place.
pub struct Looker<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The ledger.
    pub ledger: &'a Ledger,
    /// Where.
    pub place: &'a Place<'a>,
    /// Whether the controller ends.
    pub stop: &'a Arc<AtomicBool>,
    /// Wakes the applications of the place: something is known that lets them see more.
    pub wake: &'a (dyn Fn() + Sync),
}

impl Looker<'_> {
    /// Judges what is open and was not judged as it stands, and takes up what was merged or closed.
    ///
    /// `open` is what the service last listed; nothing new listed leaves it as it is.
    ///
    /// # Errors
    /// Those of the service, the ledger and the repository; what was done before is kept.
    pub async fn look(&self, open: &mut Vec<Pull>) -> Result<(), LookError> {
        let Place { service, repo, branch, .. } = self.place;
        if let Fresh::New(list) = service.client.open_pulls(repo, branch).await? {
            *open = list;
        }
        let mut known = self.followed()?;
        let gone: Vec<u64> = known
            .iter()
            .filter(|(number, followed)| followed.merged.is_none() && !open.iter().any(|pull| pull.number == **number))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            if let Some(followed) = known.remove(&number) {
                self.ended(number, followed).await?;
            }
        }
        for app in &self.place.apps {
            // As long as an approval of it would serve.
            let old = MachineClock::wall() - FOLLOWED;
            self.ledger.forget_reports(&operate::shown_prefix(app), old)?;
        }
        let basis = self.basis()?;
        let stale = |pull: &&Pull| {
            known.get(&pull.number).is_none_or(|followed| followed.head != pull.head || followed.basis != basis)
        };
        let stale: Vec<&Pull> = open.iter().filter(stale).collect();
        if stale.is_empty() {
            return Ok(());
        }
        self.judge(&stale, &basis, &known)
    }

    /// Returns what is kept of the pull requests into this branch.
    fn followed(&self) -> Result<BTreeMap<u64, Followed>, StoreError> {
        let mut all = followed(self.ledger, &self.place.key)?;
        all.retain(|_, followed| followed.branch == self.place.branch);
        Ok(all)
    }

    /// Hashes what a judgement depends on besides the head: where the branch and the targets stand, and what is withheld.
    fn basis(&self) -> Result<Digest, StoreError> {
        let mut parts: Vec<String> = Vec::new();
        for app in &self.place.apps {
            parts.push(app.name.to_string());
            parts.push(app.guards_digest().to_string());
            let Some(status) = self.last(app)? else { continue };
            let latches = status.latches.iter().map(|latch| latch.name.as_str()).collect::<Vec<_>>().join(" ");
            let source = status.source;
            let commit = |commit: Option<CommitId>| commit.map(|commit| commit.to_string()).unwrap_or_default();
            parts.extend([commit(source.tip), commit(source.converged), latches, status.inventory.to_string()]);
        }
        Ok(Digest::of_parts(parts))
    }

    fn last(&self, app: &Application) -> Result<Option<Status>, StoreError> {
        let report = self.ledger.get_report(&app.name)?;
        Ok(report.and_then(|report| serde_json::from_str(&report.json).ok()))
    }

    fn judge(&self, pulls: &[&Pull], basis: &Digest, known: &BTreeMap<u64, Followed>) -> Result<(), LookError> {
        let kind = self.place.service.client.kind();
        let wanted: Vec<Head> = pulls.iter().map(|pull| head(kind, pull.number)).collect();
        let mut found = BTreeMap::new();
        // Each address has a clone of its own.
        for url in self.place.urls() {
            let app = self.place.apps.iter().find(|app| app.source.url == url);
            let Some(app) = app else { continue };
            let remote = remote_of(app).map_err(LookError::Git)?;
            let mirror = Mirror::open(&crate::git::directory_for(&self.config.controller.state_dir, &remote.url));
            let mirror = mirror.map_err(|error| LookError::Git(error.to_string()))?;
            found.extend(match mirror.fetch_heads(&remote, &wanted, self.stop) {
                Ok(heads) => heads.found,
                // One that is too large must not keep the others from being judged.
                Err(_) if wanted.len() > 1 => {
                    let alone = |one: &Head| mirror.fetch_heads(&remote, &[*one], self.stop).ok();
                    wanted.iter().filter_map(alone).flat_map(|heads| heads.found).collect()
                }
                Err(error) => return Err(LookError::Git(error.to_string())),
            });
        }
        let mut lives = Lives::open(self);
        for pull in pulls {
            if self.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Ok(());
            }
            // What Git has, which may be newer than what the list said.
            let fetched = found.get(&head(kind, pull.number));
            let (outlooks, judged) = lives.judge(self, pull, fetched);
            self.tell(pull, &outlooks, &judged, (basis, fetched.is_some()), known.get(&pull.number))?;
        }
        Ok(())
    }

    fn tell(
        &self,
        pull: &Pull,
        outlooks: &[Outlook],
        judged: &Basis,
        (basis, fetched): (&Digest, bool),
        before: Option<&Followed>,
    ) -> Result<(), LookError> {
        let (ledger, key, now) = (self.ledger, &self.place.key, MachineClock::wall());
        let most = self.place.service.client.body_limit().saturating_sub(ROOM) / 2;
        let body = words::plan(outlooks, judged, most);
        queue(ledger, key, &Letter::Plan { number: pull.number, body: body.clone() }, now)?;
        for outlook in outlooks {
            let letter = Letter::Status {
                commit: judged.head.clone(),
                app: outlook.app.to_string(),
                mood: mood(outlook.verdict),
                text: words::status(outlook),
                summary: body.clone(),
            };
            queue(ledger, key, &letter, now)?;
            // So that an approval of it is told from a slip of the fingers; nothing else needs one.
            let halts = outlook.status.as_ref().filter(|_| outlook.verdict == Verdict::Halts);
            let change = halts.and_then(|status| status.plan.as_ref()).map(|plan| plan.change);
            if let (Some(change), Some(app)) = (change, self.config.application(&outlook.app)) {
                ledger.put_report(&operate::shown(app, change), now, "{}")?;
            }
        }
        let followed = Followed {
            branch: self.place.branch.clone(),
            head: pull.head.clone(),
            // A head that Git does not have yet is looked for again.
            basis: if fetched { *basis } else { Digest::of_parts(["not fetched"]) },
            updated: before.map_or(Timestamp::UNIX_EPOCH, |before| before.updated),
            looks: before.map_or(0, |before| before.looks),
            body,
            fork: pull.fork,
            merged: None,
            heard: before.and_then(|before| before.heard),
        };
        Ok(keep(ledger, key, pull.number, &followed)?)
    }

    /// Takes up what became of a pull request that is no longer open.
    async fn ended(&self, number: u64, followed: Followed) -> Result<(), LookError> {
        let Place { service, repo, key, branch, .. } = self.place;
        let pull = match service.client.pull(repo, number).await {
            Err(ForgeError::NotFound { .. }) => return Ok(self.ledger.drop_pull(key, number)?),
            pull => pull?,
        };
        let merged = match pull.state {
            // The list was older than this, or it goes into another branch by now.
            PullState::Open if pull.base == *branch => return Ok(()),
            PullState::Merged { commit } if pull.base == *branch => commit,
            PullState::Open | PullState::Closed | PullState::Merged { .. } => None,
        };
        match merged {
            Some(commit) => {
                let merged = Merged { commit, at: MachineClock::wall(), fates: BTreeMap::new() };
                keep(self.ledger, key, number, &Followed { merged: Some(merged), ..followed })?;
                (self.wake)();
                Ok(())
            }
            None => Ok(self.ledger.drop_pull(key, number)?),
        }
    }

    /// Brings the comments of merged pull requests up to date with what the last cycles found.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn follow(&self) -> Result<(), LookError> {
        for (number, mut followed) in self.followed()? {
            let Some(merged) = &mut followed.merged else { continue };
            if MachineClock::wall().duration_since(merged.at) > FOLLOWED {
                self.ledger.drop_pull(&self.place.key, number)?;
                continue;
            }
            let before = merged.fates.clone();
            for app in &self.place.apps {
                let name = app.name.to_string();
                if !merged.fates.get(&name).is_some_and(Fate::is_final) {
                    let fate = self.fate(app, merged)?;
                    merged.fates.insert(name, fate);
                }
            }
            if merged.fates == before {
                continue;
            }
            let fates: Vec<(String, Fate)> = merged.fates.clone().into_iter().collect();
            let body = words::after(&merged.commit, &fates, &followed.body);
            queue(self.ledger, &self.place.key, &Letter::Plan { number, body }, MachineClock::wall())?;
            if fates.iter().all(|(_, fate)| fate.is_final()) {
                self.ledger.drop_pull(&self.place.key, number)?;
            } else {
                keep(self.ledger, &self.place.key, number, &followed)?;
            }
        }
        Ok(())
    }

    fn fate(&self, app: &Application, merged: &Merged) -> Result<Fate, LookError> {
        let waiting = || Fate::Waiting { why: "for the next cycle".to_owned() };
        let Some(status) = self.last(app)? else { return Ok(waiting()) };
        let Some(converged) = &status.source.converged else { return Ok(Fate::of(&status)) };
        if status.skipped.contains(&merged.commit) {
            return Ok(Fate::TakenBack);
        }
        if *converged == merged.commit || self.leads(app, &merged.commit, converged) {
            let at = status.source.converged_at.unwrap_or(status.last_cycle.started);
            return Ok(Fate::Converged { after: at.duration_since(merged.at).as_secs().max(0) });
        }
        // A cycle that has not seen the merge yet says nothing about it.
        let tip = status.source.tip.as_ref();
        let seen = tip.is_some_and(|tip| *tip == merged.commit || self.leads(app, &merged.commit, tip));
        Ok(if seen { Fate::of(&status) } else { waiting() })
    }

    /// Tells whether a commit is on the first-parent chain that leads to another.
    fn leads(&self, app: &Application, commit: &CommitId, to: &CommitId) -> bool {
        let check = |_: &[u8], _: &[u8]| crate::core::commit::Signature::Unsigned;
        let Ok(remote) = remote_of(app) else { return false };
        let dir = crate::git::directory_for(&self.config.controller.state_dir, &remote.url);
        let snapshot = Mirror::open(&dir).and_then(|mirror| mirror.snapshot());
        snapshot.is_ok_and(|snapshot| snapshot.range(commit, to, &check).is_ok_and(|range| range.base_on_first_parent))
    }
}

const fn mood(verdict: Verdict) -> Mood {
    match verdict {
        Verdict::Idle | Verdict::Passes => Mood::Success,
        Verdict::Halts | Verdict::Unverified | Verdict::Unrendered | Verdict::Conflicts => Mood::Failure,
        Verdict::Unknown => Mood::Error,
    }
}

/// The edges of the applications of a place, for as long as its pull requests are judged.
struct Lives {
    lives: Vec<(Application, Result<Live, Arc<str>>)>,
    /// What one fetch of each address brought, for all judgements.
    fetched: BTreeMap<String, Fetched>,
}

impl Lives {
    fn open(looker: &Looker<'_>) -> Self {
        let open = |app: &Application| {
            let live = Live::open(app, &looker.config.controller.state_dir, looker.stop.clone());
            (app.clone(), live.map_err(|error| Arc::from(error.to_string())))
        };
        let mut lives: Vec<_> = looker.place.apps.iter().map(open).collect();
        let mut fetched = BTreeMap::new();
        for (app, live) in &mut lives {
            if let (Ok(live), false) = (live, fetched.contains_key(&app.source.url)) {
                let tip = live.fetch();
                fetched.insert(app.source.url.clone(), live.share_fetched(tip));
            }
        }
        Self { lives, fetched }
    }

    fn judge(&mut self, looker: &Looker<'_>, pull: &Pull, head: Option<&CommitId>) -> (Vec<Outlook>, Basis) {
        let mut judged = Basis {
            head: head.unwrap_or(&pull.head).clone(),
            tip: pull.base_commit.clone().unwrap_or_else(|| pull.head.clone()),
            at: MachineClock::wall(),
            fork: pull.fork,
            comments: looker.place.service.comments,
            blamed: Vec::new(),
        };
        let mut outlooks = Vec::new();
        for (app, live) in &mut self.lives {
            let unknown = |why: &str| Outlook::without(app.name.clone(), Verdict::Unknown, why);
            outlooks.push(match (live, head) {
                (_, None) => unknown("its head could not be fetched"),
                (Err(why), _) => unknown(why),
                (Ok(live), Some(head)) => match judge(live, self.fetched.get(&app.source.url), looker.ledger, head) {
                    Err(error) => unknown(&error.to_string()),
                    Ok(Merging { status, onto, conflicts, brings }) => {
                        judged.tip = onto.unwrap_or(judged.tip);
                        if judged.blamed.is_empty() {
                            judged.blamed = brings;
                        }
                        match conflicts.first() {
                            Some(_) => {
                                let why = status.source.error.clone().unwrap_or_default();
                                Outlook::without(app.name.clone(), Verdict::Conflicts, why)
                            }
                            None => Outlook::judged(status, &app.guards),
                        }
                    }
                },
            });
        }
        (outlooks, judged)
    }
}

fn judge(
    live: &mut Live,
    fetched: Option<&Fetched>,
    ledger: &Ledger,
    head: &CommitId,
) -> Result<Merging, view::ViewError> {
    if let Some(fetched) = fetched {
        live.use_fetched(fetched.clone());
    }
    view::judge_merge(live, ledger, head)
}
