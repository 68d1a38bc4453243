//! The real edges of one application: its clone, its renderer, its keys, its target, the machine's clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::edges::{Judged, Read, Rendered, Trusted, Unclaimed, Write};
use crate::clock::MachineClock;
use crate::config::{Application, Credentials, Target as TargetConfig};
use crate::core::clock::Reading;
use crate::core::commit::{Commit, CommitId, Signature, Tag};
use crate::core::culprit::WantChange;
use crate::core::freeze::{self, FreezeState};
use crate::core::guards::{TrustPolicy, Verify};
use crate::core::op::{Op, Verb};
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::resource::{Anchor, AnchorSeen, Digest, FieldChange, Health, Id, Observed};
use crate::core::state::{Approval, State};
use crate::core::trust::{self, Outcome as TrustOutcome, Sighted};
use crate::core::write::{Content, Outcome, WriteOp};
use crate::git::{Mirror, Remote, Snapshot, Wanted};
use crate::render::{self, Renderer};
use crate::signatures::{KeyFiles, Keys};
use crate::targets::Expect;
use crate::targets::directory::{self, Directory, Session, StatCache};

/// Files larger than this are not shown as differences.
const SHOWN_BYTES: u64 = 256 * 1024;

/// Past so many updates a plan is not looked into resource by resource: then nothing of it counts as a version bump.
const DETAILED: usize = 5_000;

/// The real edges of one application.
pub struct Live {
    app: Application,
    state_dir: PathBuf,
    mirror: Mirror,
    remote: Remote,
    renderer: Renderer,
    directory: Directory,
    cache: StatCache,
    cache_path: PathBuf,
    keys: Option<Keys>,
    keys_error: Option<Arc<str>>,
    snapshot: Option<Snapshot>,
    session: Option<Session>,
    /// Another revision than the tracked branch's tip, for `plan --rev`.
    rev: Option<String>,
    /// What a fetch for all applications of the repository brought: used once instead of a fetch.
    fetched: Option<Result<CommitId, Arc<str>>>,
    stop: Arc<AtomicBool>,
    random: u64,
}

/// Why an application's edges could not be made.
#[derive(Debug, thiserror::Error)]
#[error("open {what} of application {app}: {why}")]
pub struct OpenError {
    app: Arc<str>,
    what: &'static str,
    why: String,
}

impl Live {
    /// Opens the edges of an application. Nothing is fetched or read yet.
    ///
    /// # Errors
    /// If the clone or the target cannot be used as configured.
    pub fn open(app: &Application, state_dir: &std::path::Path, stop: Arc<AtomicBool>) -> Result<Self, OpenError> {
        let fail = |what, why: String| OpenError { app: app.name.clone(), what, why };
        let remote = remote_of(app).map_err(|why| fail("the source", why))?;
        let mirror = Mirror::open(&crate::git::directory_for(state_dir, &remote.url))
            .map_err(|error| fail("the clone", error.to_string()))?;
        let renderer = Renderer::new(render::Render::Plain, &app.source.path, render::Limits::default())
            .map_err(|error| fail("the source path", error.to_string()))?;
        let TargetConfig::Directory(target) = &app.target else {
            return Err(fail("the target", format!("this build has no {} target", app.target.kind())));
        };
        let reload = target.reload.iter().map(|reload| directory::Reload {
            matches: reload.matches.to_string(),
            run: reload.run.clone(),
            check: reload.check.clone(),
            timeout: reload.timeout,
        });
        let config =
            directory::Config { root: target.root.clone(), exclusive: target.exclusive, reload: reload.collect() };
        let directory = Directory::open(config).map_err(|error| fail("the target", error.to_string()))?;
        let cache_path = state_dir.join("cache").join(format!("{}.stat", app.name));
        let cache = StatCache::load(&cache_path).unwrap_or_default();
        Ok(Self {
            app: app.clone(),
            state_dir: state_dir.to_owned(),
            mirror,
            remote,
            renderer,
            directory,
            cache,
            cache_path,
            keys: None,
            keys_error: None,
            snapshot: None,
            session: None,
            rev: None,
            fetched: None,
            stop,
            random: seed(),
        })
    }

    /// Judges another revision than the tracked branch's tip.
    pub fn at_rev(&mut self, rev: Option<String>) {
        self.rev = rev;
    }

    /// Gives what a fetch for all applications of the repository brought, to be used once instead of a fetch.
    pub fn use_fetched(&mut self, fetched: Result<CommitId, Arc<str>>) {
        self.fetched = Some(fetched);
    }

    /// Returns the application's configuration.
    pub fn application(&self) -> &Application {
        &self.app
    }

    /// Returns the repository as of the last fetch.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Returns the target's directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Pins every commit that something accepted names, and lets go what nothing names any longer.
    pub fn pin(&self, state: &State) {
        let mut needed: std::collections::BTreeSet<&CommitId> =
            state.resources.values().filter_map(|r| r.accepted.as_ref()).map(|a| &a.commit).collect();
        needed.extend(&state.app.converged);
        needed.extend(&state.app.last_verified);
        let pinned = self.mirror.pins().unwrap_or_default();
        for commit in needed.iter().filter(|commit| !pinned.contains(commit)) {
            if let Err(error) = self.mirror.pin(commit) {
                tracing::warn!(app = %self.app.name, %commit, %error, "could not pin an accepted commit");
            }
        }
    }

    fn load_keys(&mut self) {
        let files = &self.app.trust.files;
        let files = KeyFiles {
            allowed_signers: files.allowed_signers.clone(),
            revocations: files.revocations.clone(),
            keyring: files.keyring.clone(),
        };
        match Keys::load(&files) {
            Ok(keys) => (self.keys, self.keys_error) = (Some(keys), None),
            Err(error) => (self.keys, self.keys_error) = (None, Some(error.to_string().into())),
        }
    }

    fn check(&self) -> impl Fn(&[u8], &[u8]) -> Signature {
        let error = self.keys_error.clone();
        move |payload, signature| match (&self.keys, &error) {
            (Some(keys), _) => keys.check(payload, signature),
            (None, Some(why)) => Signature::Bad { why: format!("the signers could not be read: {why}").into() },
            (None, None) => Signature::Bad { why: "the signers were not read".into() },
        }
    }

    /// Judges every commit of a range.
    fn judge_range(
        &self,
        snapshot: &Snapshot,
        range: &crate::git::Range,
        state: &State,
        now: Timestamp,
    ) -> Result<Trusted, Arc<str>> {
        let policy = &self.app.trust.policy;
        let sight = |id: &CommitId| state.app.sights.get(id).copied().unwrap_or(now);
        let check = self.check();
        let tags = snapshot.tags(&check).map_err(|error| Arc::from(error.to_string()))?;
        let vouches: Vec<(Tag, Timestamp)> =
            tags.iter().filter(|tag| tag.name.starts_with("holdfast-vouch/")).map(|tag| (tag.clone(), now)).collect();
        let mut trusted = Trusted::default();
        for commit in &range.all {
            let first_parent = range.first_parent.iter().any(|first| first.id == commit.id);
            let sighted = Sighted {
                commit,
                first_seen: sight(&commit.id),
                first_parent,
                touches: policy.verify == Verify::Repository || self.touches(snapshot, commit),
                freeze_only: self.freezes_only(snapshot, commit, now),
            };
            let verdict = trust::verdict(&sighted, policy, &vouches);
            let (mut signer, mut why) = (None, None);
            match &verdict.outcome {
                TrustOutcome::Verified { principal, key } => {
                    signer = Some(principal.clone());
                    push_new(&mut trusted.keys, key);
                }
                TrustOutcome::Vouched { by, key } => {
                    signer = Some(by.clone());
                    push_new(&mut trusted.keys, key);
                }
                TrustOutcome::Exempt(_) => {}
                TrustOutcome::Failed { code, message } => {
                    why = Some(message.clone());
                    if trusted.signature.len() < 20 {
                        trusted.signature.push(Reason::new(code.as_str(), message.clone()));
                    }
                }
            }
            trusted.commits.push(Judged {
                commit: commit.clone(),
                first_parent,
                signer,
                verdict: verdict.label().into(),
                why,
            });
        }
        trusted.approvals = approvals(&tags, policy, state, now);
        Ok(trusted)
    }

    /// Tells whether a commit changes anything that this application reads.
    fn touches(&self, snapshot: &Snapshot, commit: &Commit) -> bool {
        let Some(parent) = commit.parents.first() else { return true };
        match (self.renderer.inputs_at(snapshot, parent), self.renderer.inputs_at(snapshot, &commit.id)) {
            (Ok(old), Ok(new)) if old == new => {
                let path = &self.app.source.path;
                let at = |id| snapshot.freeze_entries(id, path).ok();
                at(parent) != at(&commit.id)
            }
            _ => true,
        }
    }

    /// Tells whether all a commit does is to freeze, or to freeze more.
    fn freezes_only(&self, snapshot: &Snapshot, commit: &Commit, now: Timestamp) -> bool {
        let path = self.app.source.path.as_str();
        if !snapshot.freeze_only(&commit.id, &[path]).unwrap_or(false) {
            return false;
        }
        let entries = |id: &CommitId| snapshot.freeze_entries(id, path).unwrap_or_default();
        let new = entries(&commit.id);
        let old = commit.parents.first().map(entries).unwrap_or_default();
        old.iter().all(|old| {
            let written = new.iter().find(|new| new.path == old.path).map(|new| freeze::parse(&new.bytes, now));
            !freeze::narrows(&freeze::parse(&old.bytes, now), written.as_ref())
        })
    }

    fn content(&self, commit: &CommitId, id: &Id) -> Result<render::Content, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        self.renderer.content(snapshot, commit, id).map_err(|error| Arc::from(error.to_string()))
    }

    fn shown(&self, commit: &CommitId, id: &Id) -> Option<Vec<u8>> {
        match self.content(commit, id).ok()? {
            render::Content::File { bytes, .. } if bytes.len() as u64 <= SHOWN_BYTES => Some(bytes),
            render::Content::File { .. } => None,
            render::Content::Link(target) => Some(target),
        }
    }
}

fn push_new(keys: &mut Vec<Arc<str>>, key: &Arc<str>) {
    if !keys.contains(key) {
        keys.push(key.clone());
    }
}

/// Finds the approvals that came as signed tags `holdfast-approve/<digest>`.
fn approvals(tags: &[Tag], policy: &TrustPolicy, state: &State, now: Timestamp) -> Vec<Approval> {
    let mut found = Vec::new();
    for tag in tags {
        let Some(named) = tag.name.strip_prefix("holdfast-approve/") else { continue };
        let Ok(digest) = named.replacen("sha256-", "", 1).parse::<Digest>() else { continue };
        let Ok((by, _)) = trust::tag_signer(tag, now, policy) else { continue };
        let known = state.app.approvals.iter().any(|known| known.digest == digest && known.by == by);
        if !known {
            found.push(Approval { digest, by, via: "tag".into(), at: now, used: false });
        }
    }
    found
}

fn seed() -> u64 {
    let wall = MachineClock::wall().as_nanosecond();
    u64::try_from(wall & i128::from(u64::MAX)).unwrap_or(1) ^ (u64::from(std::process::id()) << 32)
}

/// Names a revision as a remote does: a full commit id as it is, anything else as a branch.
fn named(rev: &str) -> String {
    let full = rev.len() == 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit());
    if full || rev.starts_with("refs/") { rev.to_owned() } else { format!("refs/heads/{rev}") }
}

/// Makes the remote that an application's source names.
///
/// # Errors
/// If the file of certificate authorities cannot be read.
pub fn remote_of(app: &Application) -> Result<Remote, String> {
    let source = &app.source;
    let mut remote = Remote::new(source.url.clone(), source.branch.clone());
    remote.credentials = match &source.credentials {
        Credentials::None => crate::git::Credentials::None,
        Credentials::Token(file) => crate::git::Credentials::Token { file: file.clone() },
        Credentials::Basic { username_file, password_file } => {
            crate::git::Credentials::Password { username: username_file.clone(), password: password_file.clone() }
        }
        Credentials::Ssh { key_file, known_hosts_file } => {
            crate::git::Credentials::Ssh { key: key_file.clone(), known_hosts: known_hosts_file.clone() }
        }
    };
    if let Some(proxy) = &source.proxy {
        remote.network = remote.network.with_proxy(proxy.clone());
    }
    if let Some(file) = &source.ca_file {
        let bytes = std::fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
        remote.network.ca = Some(bytes.into());
    }
    remote.limits.total = source.timeout;
    Ok(remote)
}

impl Read for Live {
    fn clock(&mut self) -> Reading {
        MachineClock::read()
    }

    fn fetch(&mut self) -> Result<CommitId, Arc<str>> {
        self.load_keys();
        // What was fetched before serves healing, and detection, while the repository cannot be reached.
        self.snapshot = self.mirror.snapshot().ok();
        let wanted = Wanted { revs: self.rev.iter().map(|rev| named(rev)).collect() };
        let mut rev = None;
        let tip = match self.fetched.take() {
            Some(fetched) => fetched?,
            None => {
                let fetched = self
                    .mirror
                    .fetch(&self.remote, &wanted, &self.stop)
                    .map_err(|error| Arc::from(error.to_string()))?;
                if let Some(why) = &fetched.rebuilt {
                    tracing::warn!(app = %self.app.name, %why, "the clone was made anew");
                }
                rev = fetched.revs.into_iter().next().flatten();
                fetched.tip
            }
        };
        let snapshot = self.mirror.snapshot().map_err(|error| Arc::from(error.to_string()))?;
        let tip = match &self.rev {
            Some(_) if rev.is_some() => rev.unwrap_or(tip),
            Some(rev) => {
                snapshot.resolve(&self.app.source.branch, rev).map_err(|error| Arc::from(error.to_string()))?
            }
            None => tip,
        };
        self.snapshot = Some(snapshot);
        Ok(tip)
    }

    fn trust(&mut self, state: &State, tip: &CommitId) -> Result<Trusted, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        let text = |error: crate::git::ReadError| Arc::from(error.to_string());
        let now = MachineClock::wall();
        let check = self.check();
        let anchor = state.app.converged.clone().or_else(|| state.app.last_verified.clone());
        let Some(base) = anchor.or_else(|| self.app.trust.policy.anchor.clone()) else {
            // First use without an anchor: the tip itself must verify.
            let commit = snapshot.commit(tip, &check).map_err(text)?;
            let range =
                crate::git::Range { first_parent: vec![commit.clone()], all: vec![commit], base_on_first_parent: true };
            return self.judge_range(snapshot, &range, state, now);
        };
        let known =
            |id: &CommitId| format!("{} is not on the first-parent chain of the tip {}", id.short(), tip.short());
        let range = match snapshot.range(&base, tip, &check) {
            Ok(range) => range,
            Err(error) => return Err(text(error)),
        };
        let mut trusted = self.judge_range(snapshot, &range, state, now)?;
        if !range.base_on_first_parent {
            trusted.history = Some(Reason::new("history", known(&base)));
        }
        if let Some(last) = state.app.last_verified.as_ref().filter(|last| **last != base) {
            let goes_on = snapshot.range(last, tip, &check).is_ok_and(|range| range.base_on_first_parent);
            if !goes_on {
                trusted.history = Some(Reason::new("history", known(last)));
            }
        }
        // A first sync under way has nothing converged yet: what it writes is what was verified last.
        if let Some(commit) = state.app.converged.as_ref().or(state.app.last_verified.as_ref())
            && let Ok(facts) = snapshot.commit(commit, &check)
            && let Signature::Good { key, revocation: crate::core::commit::Revocation::Revoked, .. } = &facts.signature
            && state.app.vouched_by.contains(key)
        {
            let message = format!("key {key}, which vouched for the accepted state {}, was revoked", commit.short());
            trusted.accepted_revoked = Some(Reason::new("revoked_key", message));
        }
        Ok(trusted)
    }

    fn freeze(
        &mut self,
        state: &State,
        tip: Option<&CommitId>,
        trusted: Option<&Trusted>,
    ) -> Option<(FreezeState, String)> {
        let snapshot = self.snapshot.as_ref()?;
        let tip = tip?;
        // A source that cannot be read keeps the last known freeze.
        let entries = snapshot.freeze_entries(tip, &self.app.source.path).ok()?;
        let entries: Vec<(Arc<str>, Vec<u8>)> = entries.into_iter().map(|entry| (entry.path, entry.bytes)).collect();
        let verified = trusted.is_some_and(|trusted| trusted.signature.is_empty() && trusted.history.is_none());
        let check = |_: &[u8], _: &[u8]| Signature::Unsigned;
        let leads = |commit: &CommitId| {
            commit == tip || snapshot.range(commit, tip, &check).is_ok_and(|range| range.base_on_first_parent)
        };
        let now =
            state.app.clock.as_ref().map_or_else(MachineClock::wall, |clock| clock.advance(&MachineClock::read()).now);
        state.app.freeze.at_tip(tip, &entries, verified, &leads, now)
    }

    fn render(&mut self, commit: &CommitId) -> Rendered {
        let Some(snapshot) = self.snapshot.as_ref() else {
            return Rendered::Broken("the repository was not read".into());
        };
        match self.renderer.render(snapshot, commit) {
            Ok(desired) => Rendered::Desired(desired),
            Err(error) if error.is_path_missing() => Rendered::Missing(error.to_string().into()),
            Err(error) => Rendered::Broken(error.to_string().into()),
        }
    }

    fn changes(&mut self, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        self.renderer.changes(snapshot, old, new).map_err(|error| error.to_string().into())
    }

    fn change_details(&mut self, old: &CommitId, new: &CommitId, changes: &[WantChange]) -> Details {
        let updated = changes.iter().filter(|change| change.old.is_some() && change.new.is_some());
        let detailed = updated.take(DETAILED).map(|change| {
            let (before, after) = (self.shown(old, &change.id), self.shown(new, &change.id));
            (change.id.clone(), render::field_changes(before.as_deref(), after.as_deref(), change.id.as_str()))
        });
        detailed.collect()
    }

    fn details(&mut self, state: &State, ops: &[Op]) -> Details {
        let mut details = Details::new();
        for op in ops.iter().filter(|op| op.verb == Verb::Update).take(DETAILED) {
            let accepted = state.resources.get(&op.id).and_then(|resource| resource.accepted.as_ref());
            let in_sync =
                accepted.is_some_and(|accepted| op.from.as_ref().is_some_and(|(live, _)| *live == accepted.live));
            let before = match accepted.filter(|_| in_sync) {
                Some(accepted) => self.shown(&accepted.commit, &op.id),
                None => self.directory.read(&op.id, SHOWN_BYTES),
            };
            let after = op.source.as_ref().and_then(|source| self.shown(&source.commit, &op.id));
            let changes: Vec<FieldChange> = render::field_changes(before.as_deref(), after.as_deref(), op.id.as_str());
            details.insert(op.id.clone(), changes);
        }
        details
    }

    fn observe(&mut self, expect: &[(&Id, Option<Digest>)]) -> Observed {
        let expect: Vec<Expect<'_>> = expect.iter().map(|(id, digest)| Expect { id, digest: *digest }).collect();
        let mut observed = self.directory.observe(&expect, &mut self.cache, MachineClock::wall());
        if MachineClock::is_shifted() {
            // The kernel stamps changes by its own clock, which a shifted one cannot be compared with.
            for (_, live) in &mut observed.seen {
                if let crate::core::resource::Live::Here(here) = live {
                    here.touch.at = None;
                }
            }
        }
        if self.cache.changed() {
            let saved =
                std::fs::create_dir_all(self.state_dir.join("cache")).and_then(|()| self.cache.save(&self.cache_path));
            if let Err(error) = saved {
                tracing::debug!(app = %self.app.name, %error, "could not keep the stat cache");
            }
        }
        observed
    }

    fn unhealthy(&mut self, ids: &[Id]) -> Vec<Id> {
        let results = self.directory.settle_health(ids).into_iter();
        results.filter(|(_, health, _)| *health != Health::Healthy).map(|(id, _, _)| id).collect()
    }

    fn still(&mut self, tip: &CommitId) -> bool {
        match self.mirror.fetch(&self.remote, &Wanted::default(), &self.stop) {
            Ok(fetched) => fetched.tip == *tip || self.rev.is_some(),
            // Whatever was judged is still what was judged; the next cycle says that the repository cannot be read.
            Err(_) => true,
        }
    }

    fn local_freezes(&mut self) -> Vec<Reason> {
        local_freezes(&self.app, &self.state_dir)
    }
}

/// Returns what freezes an application without the repository: its configuration, and a `FREEZE` in the state directory.
pub fn local_freezes(app: &Application, state_dir: &std::path::Path) -> Vec<Reason> {
    let now = MachineClock::wall();
    let mut reasons = Vec::new();
    if let Some(frozen) = app.freeze.as_ref().filter(|frozen| frozen.until.is_none_or(|until| now < until)) {
        let why = frozen.reason.as_deref().unwrap_or("no reason given");
        reasons.push(Reason::new("freeze", format!("frozen by the configuration: {why}")));
    }
    let entries = std::fs::read_dir(state_dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| crate::core::tree::is_freeze(entry.file_name().as_encoded_bytes())) {
        let parsed = freeze::parse(&std::fs::read(entry.path()).unwrap_or_default(), now);
        if parsed.scope.is_empty() || parsed.scope.iter().any(|glob| crate::core::glob::matches(glob, &app.name)) {
            let why = parsed.reason.as_deref().unwrap_or("no reason given");
            reasons.push(Reason::new("freeze", format!("frozen by {}: {why}", entry.path().display())));
        }
    }
    reasons
}

impl Write for Live {
    fn claim(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed> {
        let mut session = self.directory.lock().map_err(|error| Unclaimed(error.to_string().into()))?;
        crate::crash::step("anchor.swap");
        session.swap(expected, new).map_err(|error| Unclaimed(error.to_string().into()))?;
        crate::crash::step("anchor.swapped");
        self.session = Some(session);
        Ok(())
    }

    fn release(&mut self) {
        self.session = None;
    }

    fn write(&mut self, op: &Op) -> Outcome {
        let content = match &op.source {
            None => None,
            Some(source) => match self.content(&source.commit, &op.id) {
                Ok(render::Content::File { bytes, executable }) => {
                    Some(Content::File { bytes: bytes.into(), executable })
                }
                Ok(render::Content::Link(target)) => Some(Content::Link(target.into())),
                Err(why) => return Outcome::Refused(why),
            },
        };
        let write = WriteOp { id: op.id.clone(), verb: op.verb, expected: op.from.clone(), content };
        let Some(session) = self.session.as_mut() else {
            return Outcome::Refused("the target is not claimed".into());
        };
        crate::crash::step("target.write");
        let outcome = session.write(&write);
        crate::crash::step("target.written");
        outcome
    }

    fn settle(&mut self, wrote: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        let mut worst: std::collections::BTreeMap<Id, (Health, Option<String>)> = std::collections::BTreeMap::new();
        let results = self.directory.reload(wrote).into_iter().chain(self.directory.settle_health(wrote));
        for (id, health, why) in results {
            let entry = worst.entry(id).or_insert((Health::Healthy, None));
            if health == Health::Unhealthy || entry.0 == Health::Healthy {
                *entry = (health, why);
            }
        }
        worst.into_iter().map(|(id, (health, why))| (id, health, why)).collect()
    }

    fn wait(&mut self, time: Duration) -> bool {
        let end = std::time::Instant::now() + time;
        while std::time::Instant::now() < end {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
        !self.stop.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> (f64, Arc<str>) {
        // xorshift64*: for jitter and for names that must differ, not for secrets.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let value = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let fraction = (value >> 11) as f64 / (1_u64 << 53) as f64;
        (fraction, format!("{value:016x}{:08x}", std::process::id()).into())
    }
}
