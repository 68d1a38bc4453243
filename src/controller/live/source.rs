//! Where the desired state comes from: fetching, pinning, and what freezes.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Fetched, Live, Local};
use crate::clock::MachineClock;
use crate::config::{Application, Credentials};
use crate::controller::edges::Trusted;
use crate::core::commit::{Commit, CommitId, Signature};
use crate::core::freeze::FreezeState;
use crate::core::state::State;
use crate::git::{Merge, Remote, Snapshot, Wanted};

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

/// A head that somebody proposes to merge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposed {
    /// The head.
    pub head: CommitId,
    /// The tip that it was merged onto.
    pub onto: Option<CommitId>,
    /// What merging it gives: a commit of nobody, which nothing but this judgement ever sees.
    pub commit: Option<CommitId>,
    /// Where both sides changed the same things, if so.
    pub conflicts: Vec<Arc<str>>,
}

/// Names a revision as a remote does: a full commit id as it is, anything else as a branch.
fn named(rev: &str) -> String {
    let full = rev.len() == 40 && rev.bytes().all(|byte| byte.is_ascii_hexdigit());
    if full || rev.starts_with("refs/") { rev.to_owned() } else { format!("refs/heads/{rev}") }
}

impl Live {
    /// Judges another revision than the tracked branch's tip.
    pub fn at_rev(&mut self, rev: Option<String>) {
        self.rev = rev;
    }

    /// Judges the merge of a head into the tracked branch, as this computes it, instead of the branch's tip.
    pub fn propose(&mut self, head: CommitId) {
        self.proposed = Some(Proposed { head, onto: None, commit: None, conflicts: Vec::new() });
    }

    /// Returns what became of the merge that is proposed.
    pub const fn proposed(&self) -> Option<&Proposed> {
        self.proposed.as_ref()
    }

    /// Returns the first-parent commits that the merge brings, oldest first, and what the first of them builds on.
    pub fn brought(&self) -> Option<(CommitId, Vec<Commit>)> {
        let (snapshot, proposed) = (self.snapshot.as_ref()?, self.proposed.as_ref()?);
        let check = |_: &[u8], _: &[u8]| Signature::Unsigned;
        let range = snapshot.range(proposed.onto.as_ref()?, &proposed.head, &check).ok()?;
        let base = range.first_parent.first()?.parents.first()?.clone();
        Some((base, range.first_parent))
    }

    /// Merges what is proposed onto the tip.
    fn merged(&mut self, snapshot: &Snapshot, tip: CommitId) -> Result<CommitId, Arc<str>> {
        let Some(proposed) = &mut self.proposed else { return Ok(tip) };
        let merge = snapshot.merge(&tip, &proposed.head).map_err(|error| Arc::from(error.to_string()))?;
        proposed.onto = Some(tip);
        match merge {
            Merge::Clean(merged) => {
                proposed.commit = Some(merged.commit.clone());
                Ok(merged.commit)
            }
            Merge::Conflict { paths } => {
                let named = paths.iter().take(5).map(|path| &**path).collect::<Vec<_>>().join(", ");
                proposed.conflicts = paths;
                Err(format!("it does not merge by itself: both sides changed {named}").into())
            }
        }
    }

    /// Gives what a fetch for all applications of the repository brought, to be used once instead of a fetch.
    pub fn use_fetched(&mut self, fetched: Fetched) {
        self.fetched = Some(fetched);
    }

    /// Returns what the last fetch brought, to be given to others.
    pub fn share_fetched(&self, tip: Result<CommitId, Arc<str>>) -> Fetched {
        Fetched { tip, at: self.fetched_at }
    }

    /// Returns the repository as of the last fetch.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Pins every commit that something accepted names, and lets go what nothing names any longer.
    pub fn pin(&self, state: &State) {
        let mut needed = std::collections::BTreeSet::<&CommitId>::new();
        let mut last = None;
        for accepted in state.resources.values().filter_map(|resource| resource.accepted.as_ref()) {
            // A hundred thousand resources have a few commits, mostly the one of the resource before.
            if last != Some(&accepted.about.commit) {
                last = Some(&accepted.about.commit);
                needed.insert(&accepted.about.commit);
            }
        }
        needed.extend(state.app.base());
        needed.extend(&state.app.last_verified);
        let pinned = self.mirror.pins().unwrap_or_default();
        let mut new = false;
        for commit in needed.iter().filter(|commit| !pinned.contains(commit)) {
            new = true;
            if let Err(error) = self.mirror.pin(commit) {
                tracing::warn!(app = %self.app.name, %commit, %error, "could not pin an accepted commit");
            }
        }
        if new
            && pinned.iter().any(|commit| !needed.contains(commit))
            && let Err(error) = self.mirror.unpin_reached(&needed)
        {
            tracing::warn!(app = %self.app.name, %error, "could not let go of commits that nothing names any longer");
        }
    }

    /// Fetches, and returns the tip, or the revision that was asked for.
    pub(super) fn fetch_tip(&mut self) -> Result<CommitId, Arc<str>> {
        self.merges.begin();
        // What was fetched before serves healing, and detection, while the repository cannot be reached.
        self.snapshot = self.mirror.snapshot().ok();
        let wanted = Wanted { revs: self.rev.iter().map(|rev| named(rev)).collect() };
        let mut rev = None;
        let tip = match self.fetched.take() {
            Some(fetched) => {
                self.fetched_at = fetched.at;
                fetched.tip?
            }
            None => {
                self.fetched_at = Some(MachineClock::read().uptime_ms);
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
        let tip = self.merged(&snapshot, tip);
        self.snapshot = Some(snapshot);
        tip
    }

    /// Tells whether the tip still is what was judged.
    pub(super) fn is_still(&mut self, tip: Option<&CommitId>) -> bool {
        match self.mirror.fetch(&self.remote, &Wanted::default(), &self.stop) {
            Ok(fetched) => tip == Some(&fetched.tip) || self.rev.is_some(),
            // Whatever was judged is still what was judged; the next cycle says that the repository cannot be read.
            Err(_) => true,
        }
    }

    /// Judges what freezes at the tip, and takes up what freezes here.
    pub(super) fn freezes(
        &self,
        state: &State,
        tip: Option<&CommitId>,
        trusted: Option<&Trusted>,
    ) -> Option<(FreezeState, String)> {
        let now =
            state.app.clock.as_ref().map_or_else(MachineClock::wall, |clock| clock.advance(&MachineClock::read()).now);
        let (branch, said) = self.freezes_at(&state.app.freeze, tip, trusted, now).unzip();
        let local =
            Local::read(self.app.freeze.as_ref(), &self.state_dir, branch.as_ref().unwrap_or(&state.app.freeze), now);
        let said: Vec<String> = said.into_iter().chain(local.said).collect();
        (local.state != state.app.freeze).then(|| (local.state, said.join("; ")))
    }

    fn freezes_at(
        &self,
        known: &FreezeState,
        tip: Option<&CommitId>,
        trusted: Option<&Trusted>,
        now: Timestamp,
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
        known.at_tip(tip, &entries, verified, &leads, now)
    }
}
