//! Approvals: who may let go what (`GUARDS.md` 5.4).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::guards::{Guards, TrustPolicy};
use super::resource::Digest;
use super::state::{Approval, State};
use super::weaken::{self, Weakened};

/// How long a pre-approval lives (`GUARDS.md` 5.4).
const PRE_APPROVAL_LIFE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long one person must sleep on their own change under `solo` (`GUARDS.md` 5.4).
const SOLO_WAIT: SignedDuration = SignedDuration::from_mins(30);

/// Everybody who has a part in a commit: none of them may approve it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contributor {
    /// Addresses of author and committer, the signer's principal and key.
    pub names: Vec<Arc<str>>,
}

/// What is to be let go.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The digest of the plan, operation or configuration.
    pub digest: &'a Digest,
    /// The digest of the change, for pre-approvals.
    pub change: Option<&'a Digest>,
    /// When it was first seen.
    pub seen: Timestamp,
    /// Whoever has a part in it.
    pub contributors: &'a [Contributor],
}

/// Returns the person behind an address, a key or a local user, as the policy maps them; others are themselves.
pub fn person<'a>(policy: &'a TrustPolicy, name: &'a str) -> std::borrow::Cow<'a, str> {
    let same = |known: &Arc<str>| known.eq_ignore_ascii_case(name);
    match policy.people.iter().find(|(person, names)| same(person) || names.iter().any(same)) {
        Some((person, _)) => std::borrow::Cow::Borrowed(person),
        None => std::borrow::Cow::Owned(name.to_ascii_lowercase()),
    }
}

/// Says why an approver does not count for something, if so.
pub fn refusal(by: &str, wanted: &Wanted<'_>, policy: &TrustPolicy, guards: &Guards, now: Timestamp) -> Option<String> {
    let local = by.strip_prefix("local:");
    if local.is_some() && !guards.local_approval {
        return Some("approvals from this machine are refused here (guards.localApproval: false)".to_owned());
    }
    let who = person(policy, by);
    let listed = |name: &Arc<str>| name.eq_ignore_ascii_case(by) || person(policy, name) == who;
    if local.is_none() && !policy.approvers.iter().any(listed) {
        return Some(format!("{by} is not a listed approver (trust.approvers)"));
    }
    let own =
        wanted.contributors.iter().flat_map(|contributor| &contributor.names).any(|name| person(policy, name) == who);
    if own && !guards.solo && !weaken::is(Weakened::ApprovalOwn) {
        return Some(format!("{by} wrote, committed or signed a part of it: another listed person must approve"));
    }
    if own && now.duration_since(wanted.seen) < SOLO_WAIT {
        return Some(format!(
            "{by} wrote a part of it: with `solo`, 30 minutes must pass before one's own approval counts"
        ));
    }
    None
}

/// Finds the approval that lets something go.
pub fn find<'a>(state: &'a State, wanted: &Wanted<'_>, policy: &TrustPolicy, guards: &Guards) -> Option<&'a Approval> {
    let now = state.now();
    state.app.approvals.iter().find(|approval| {
        let age = now.duration_since(approval.at);
        let ttl = SignedDuration::try_from(guards.approval_ttl).unwrap_or(SignedDuration::MAX);
        let fits = (approval.digest == *wanted.digest && age <= ttl)
            || weaken::is(Weakened::ApprovalBinding)
            || (wanted.change == Some(&approval.digest) && age <= PRE_APPROVAL_LIFE);
        let unused = !approval.used || weaken::is(Weakened::ApprovalOnce);
        fits && unused && refusal(&approval.by, wanted, policy, guards, now).is_none()
    })
}

/// Returns the unused approvals that can no longer serve anything.
pub fn lapsed(state: &State) -> Vec<Digest> {
    let now = state.now();
    let old = |approval: &&Approval| !approval.used && now.duration_since(approval.at) > PRE_APPROVAL_LIFE;
    state.app.approvals.iter().filter(old).map(|approval| approval.digest).collect()
}
