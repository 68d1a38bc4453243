//! Whom commits and tags come from: signatures checked against the configured keys, and judged by the policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Live;
use super::merges::{By, Failing, Found};
use crate::clock::MachineClock;
use crate::controller::edges::{Judged, Trusted};
use crate::core::approval::{self, Contributor};
use crate::core::commit::{Commit, CommitId, Revocation, Signature, Tag};
use crate::core::freeze;
use crate::core::guards::{TrustPolicy, Verify};
use crate::core::reason::Reason;
use crate::core::resource::{Digest, Id};
use crate::core::state::{Approval, State};
use crate::core::trust::{self, CommitVerdict, Outcome, Own, Sighted};
use crate::git::{Range, Snapshot};
use crate::signatures::{KeyFiles, Keys};

impl Live {
    /// Reads the files that say whose signatures count, anew in every cycle.
    pub(super) fn load_keys(&mut self) {
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

    /// Judges the range from what was verified to the tip.
    pub(super) fn trust_range(&self, policy: &TrustPolicy, state: &State, tip: &CommitId) -> Result<Trusted, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        let text = |error: crate::git::ReadError| Arc::from(error.to_string());
        let now = MachineClock::wall();
        let check = self.check();
        let Some(base) = state.app.base().or(policy.anchor.as_ref()).cloned() else {
            // First use without an anchor: the tip itself must verify.
            let commit = snapshot.commit(tip, &check).map_err(text)?;
            let range = Range { first_parent: vec![commit.clone()], all: vec![commit], base_on_first_parent: true };
            // Whoever signs a tip vouches for all of it; the hosting service's merge vouches for nothing below.
            let policy = TrustPolicy { service_merges: false, ..policy.clone() };
            return self.judge_range(&policy, snapshot, &range, state, now);
        };
        let known =
            |id: &CommitId| format!("{} is not on the first-parent chain of the tip {}", id.short(), tip.short());
        let range = match snapshot.range(&base, tip, &check) {
            Ok(range) => range,
            Err(error) => return Err(text(error)),
        };
        let mut trusted = self.judge_range(policy, snapshot, &range, state, now)?;
        if !range.base_on_first_parent {
            trusted.history = Some(Reason::new("history", known(&base)));
        }
        if let Some(last) = state.app.last_verified.as_ref().filter(|last| **last != base) {
            let goes_on = snapshot.range(last, tip, &check).is_ok_and(|range| range.base_on_first_parent);
            if !goes_on {
                trusted.history = Some(Reason::new("history", known(last)));
            }
        }
        // Every key that vouched for what was accepted, not only the tip's.
        let revoked = |key: &&Arc<str>| {
            let keys = self.keys.as_ref();
            keys.is_some_and(|keys| keys.revocation(key) == Revocation::Revoked)
        };
        if let Some(key) = state.app.vouched_by.iter().find(revoked) {
            let accepted = state.app.converged.as_ref().map_or("(none)", |commit| commit.short());
            let message = format!("key {key}, which vouched for the accepted state {accepted}, was revoked");
            trusted.accepted_revoked = Some(Reason::new("revoked_key", message));
        }
        Ok(trusted)
    }

    /// Names whoever has a part in what a range does to one resource.
    pub(super) fn contributors_to(
        &self,
        policy: &TrustPolicy,
        base: &CommitId,
        tip: &CommitId,
        id: &Id,
    ) -> Result<Vec<Contributor>, Arc<str>> {
        let snapshot = self.snapshot.as_ref().ok_or_else(|| Arc::from("the repository was not read"))?;
        let text = |error: crate::git::ReadError| Arc::from(error.to_string());
        let now = MachineClock::wall();
        let check = self.check();
        let range = snapshot.range(base, tip, &check).map_err(text)?;
        let vouches = self.vouches(snapshot, now)?;
        let by = By { policy, vouches: &vouches, sights: &|_| now, check: &check };
        let judge = |commit: &Commit| {
            let sighted = Sighted { commit, first_seen: now, first_parent: true, touches: true, freeze_only: false };
            trust::verdict(&sighted, policy, &vouches)
        };
        let failing = failing(&range, &range.all.iter().map(judge).collect::<Vec<_>>(), policy);
        let search = self.search(snapshot, &range, &failing, &by);
        let mut contributing = Vec::new();
        let mut before = base.clone();
        for commit in &range.first_parent {
            // What does not render is taken to have a part in everything.
            let changes = self.renderer.changes(snapshot, &before, &commit.id);
            if changes.map_or(true, |changes| changes.iter().any(|change| change.id == *id)) {
                let brought = match commit.parents.as_slice() {
                    [_] => vec![commit.clone()],
                    _ => snapshot.range(&before, &commit.id, &self.check()).map_err(text)?.all,
                };
                contributing.extend(brought);
            }
            before = commit.id.clone();
        }
        let judged = contributing.into_iter().map(|commit| {
            let verdict = judge(&commit);
            let mut brought = Vec::new();
            if trust::may_be_merged(&verdict, policy) {
                let own = search
                    .brought(&commit)
                    .ok_or_else(|| format!("nobody can say of what {} was made", commit.id.short()))?;
                brought = own.iter().map(Own::contributor).collect();
            }
            let signer = match verdict.outcome {
                Outcome::Verified { principal, .. } => Some(principal),
                Outcome::Vouched { by, .. } => Some(by),
                _ => None,
            };
            Ok(Judged { commit, first_parent: true, signer, verdict: "".into(), why: None, brought }.contributor())
        });
        judged.collect()
    }

    /// Returns the tags that might vouch, as seen now.
    fn vouches(&self, snapshot: &Snapshot, now: Timestamp) -> Result<Vec<(Tag, Timestamp)>, Arc<str>> {
        let tags = snapshot.tags(&self.check()).map_err(|error| Arc::from(error.to_string()))?;
        Ok(tags.into_iter().filter(|tag| tag.name.starts_with("holdfast-vouch/")).map(|tag| (tag, now)).collect())
    }

    /// Judges every commit of a range.
    fn judge_range(
        &self,
        policy: &TrustPolicy,
        snapshot: &Snapshot,
        range: &Range,
        state: &State,
        now: Timestamp,
    ) -> Result<Trusted, Arc<str>> {
        let sight = |id: &CommitId| state.app.sights.get(id).copied().unwrap_or(now);
        let check = self.check();
        let tags = snapshot.tags(&check).map_err(|error| Arc::from(error.to_string()))?;
        let vouches = self.vouches(snapshot, now)?;
        let by = By { policy, vouches: &vouches, sights: &sight, check: &check };
        let verdicts = range.all.iter().map(|commit| {
            let sighted = Sighted {
                commit,
                first_seen: sight(&commit.id),
                first_parent: range.first_parent.iter().any(|first| first.id == commit.id),
                touches: policy.verify == Verify::Repository || self.touches(snapshot, commit),
                freeze_only: self.freezes_only(snapshot, commit, now),
            };
            trust::verdict(&sighted, policy, &vouches)
        });
        let verdicts: Vec<CommitVerdict> = verdicts.collect();
        let mut found = self.found(range, &verdicts, &by);
        let mut trusted = Trusted::default();
        for (commit, verdict) in range.all.iter().zip(verdicts) {
            let (verdict, own) = found.remove(&commit.id).map_or((verdict, Vec::new()), |new| (new.verdict, new.own));
            let (mut signer, mut why) = (None, None);
            match &verdict.outcome {
                Outcome::Verified { principal, key } => {
                    signer = Some(principal.clone());
                    push_new(&mut trusted.keys, key);
                }
                Outcome::Vouched { by, key } => {
                    signer = Some(by.clone());
                    push_new(&mut trusted.keys, key);
                }
                Outcome::Merged { head: _, keys } => keys.iter().for_each(|key| push_new(&mut trusted.keys, key)),
                Outcome::Exempt(_) => {}
                // Whoever merges it will sign it, or not: that is judged when it is there.
                Outcome::Failed { .. } if self.is_proposed(&commit.id) => {}
                Outcome::Failed { code, message } => {
                    why = Some(message.clone());
                    if trusted.signature.len() < 20 {
                        trusted.signature.push(Reason::new(code.as_str(), message.clone()));
                    }
                }
            }
            let label = if self.is_proposed(&commit.id) { "proposed" } else { verdict.label() };
            trusted.heads.extend(own.iter().map(|own| own.commit.id.clone()));
            trusted.commits.push(Judged {
                commit: commit.clone(),
                first_parent: range.first_parent.iter().any(|first| first.id == commit.id),
                signer,
                verdict: label.into(),
                why,
                brought: own.iter().map(Own::contributor).collect(),
            });
        }
        trusted.approvals = approvals(&tags, policy, state, now);
        Ok(trusted)
    }

    fn is_proposed(&self, id: &CommitId) -> bool {
        self.proposed.as_ref().is_some_and(|proposed| proposed.commit.as_ref() == Some(id))
    }

    /// Judges anew what has no signature that counts, where the policy lets the hosting service merge.
    fn found(&self, range: &Range, verdicts: &[CommitVerdict], by: &By<'_>) -> BTreeMap<CommitId, Found> {
        let failing = failing(range, verdicts, by.policy);
        if failing.is_empty() { BTreeMap::new() } else { self.judge_merges(range, &failing, by) }
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
}

/// Finds what may be the hosting service's.
fn failing(range: &Range, verdicts: &[CommitVerdict], policy: &TrustPolicy) -> Vec<Failing> {
    let all = range.all.iter().zip(verdicts).filter(|(_, verdict)| trust::may_be_merged(verdict, policy));
    all.map(|(commit, verdict)| Failing { commit: commit.clone(), verdict: verdict.clone() }).collect()
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
        let Ok(signer) = trust::tag_signer(tag, now, policy) else { continue };
        found.extend(approval::by_tag(digest, signer, tag.tagged, state, now));
    }
    found
}
