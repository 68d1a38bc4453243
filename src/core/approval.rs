//! Approvals: who may let go what (`GUARDS.md` 5.4).

use std::borrow::Cow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::comment;
use super::govern::govern;
use super::guards::{Guards, TrustPolicy};
use super::resource::Digest;
use super::state::{Approval, Governing, LatchName, Standing, State};
use super::weaken::{self, Weakened};

/// How long a pre-approval lives (`GUARDS.md` 5.4).
const PRE_APPROVAL_LIFE: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long one person must sleep on their own change under `solo` (`GUARDS.md` 5.4).
const SOLO_WAIT: SignedDuration = SignedDuration::from_mins(30);

/// How far ahead of ours the clock of whoever makes a tag may be.
const TAGGER_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Everybody who has a part in a commit: none of them may approve it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contributor {
    /// Addresses of author and committer, the signer's principal and key.
    pub names: Vec<Arc<str>>,
}

/// What of a promotion could be approved, and whoever has a part in it and so may not: remembered, so that an approval is
/// refused when it is given rather than in the next cycle.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Parts {
    /// Digests of the plan and of its change. What is parked has contributors of its own.
    pub digests: Vec<Digest>,
    /// Whoever has a part in it.
    pub contributors: Vec<Contributor>,
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
pub fn person<'a>(policy: &'a TrustPolicy, name: &'a str) -> Cow<'a, str> {
    let same = |known: &Arc<str>| known.eq_ignore_ascii_case(name);
    match policy.people.iter().find(|(person, names)| same(person) || names.iter().any(same)) {
        Some((person, _)) => Cow::Borrowed(person),
        None => Cow::Owned(name.to_ascii_lowercase()),
    }
}

/// Says why an approver does not count for something, if so.
pub fn refusal(by: &str, wanted: &Wanted<'_>, policy: &TrustPolicy, guards: &Guards, now: Timestamp) -> Option<String> {
    refused(by, None, wanted, policy, guards, now)
}

/// Says why an approver, who signed with a key if they did, does not count.
fn refused(
    by: &str,
    key: Option<&str>,
    wanted: &Wanted<'_>,
    policy: &TrustPolicy,
    guards: &Guards,
    now: Timestamp,
) -> Option<String> {
    let local = by.strip_prefix("local:");
    if local.is_some() && !guards.local_approval {
        return Some("approvals from this machine are refused here (guards.localApproval: false)".to_owned());
    }
    // Whoever commented is compared with authors and signers by what the policy says of them, and by nothing else.
    if comment::is_account(by)
        && !policy
            .people
            .values()
            .any(|names| names.len() > 1 && names.iter().any(|name| name.eq_ignore_ascii_case(by)))
    {
        return Some(format!(
            "{by} is not listed with an address or key beside it (trust.people): whoever wrote a change could approve it under that name"
        ));
    }
    let who = person(policy, by);
    let listed = |name: &Arc<str>| name.eq_ignore_ascii_case(by) || person(policy, name) == who;
    if local.is_none() && !policy.approvers.iter().any(listed) {
        return Some(format!("{by} is not a listed approver (trust.approvers)"));
    }
    // One key is one person, whatever the addresses say.
    let same_key = key.map(|key| person(policy, key));
    let is_self = |name: &Arc<str>| {
        let named = person(policy, name);
        named == who || same_key.as_ref() == Some(&named)
    };
    let own = wanted.contributors.iter().flat_map(|contributor| &contributor.names).any(is_self);
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

/// Tells whether an approval names something, and is young enough for it.
fn fits(approval: &Approval, wanted: &Wanted<'_>, guards: &Guards, now: Timestamp) -> bool {
    let age = now.duration_since(approval.at);
    let ttl = SignedDuration::try_from(guards.approval_ttl).unwrap_or(SignedDuration::MAX);
    weaken::is(Weakened::ApprovalBinding)
        || (approval.digest == *wanted.digest && (age <= ttl || weaken::is(Weakened::ApprovalTtl)))
        || (wanted.change == Some(&approval.digest) && age <= PRE_APPROVAL_LIFE)
}

/// Finds the approval that lets something go.
pub fn find<'a>(state: &'a State, wanted: &Wanted<'_>, policy: &TrustPolicy, guards: &Guards) -> Option<&'a Approval> {
    state.app.approvals.iter().find(|approval| why_not(approval, wanted, policy, guards, state.now()).is_none())
}

/// Says why an approval that was given does not let something go, if it names it; an approval of something else says so too.
pub fn why_not(
    approval: &Approval,
    wanted: &Wanted<'_>,
    policy: &TrustPolicy,
    guards: &Guards,
    now: Timestamp,
) -> Option<String> {
    if approval.used && !weaken::is(Weakened::ApprovalOnce) {
        return Some("it was used before; an approval serves once".to_owned());
    }
    if !fits(approval, wanted, guards, now) {
        let life = super::limits::spell(guards.approval_ttl);
        return Some(format!("it lapsed: an approval is good for {life} from its first sight"));
    }
    refused(&approval.by, approval.key.as_deref(), wanted, policy, guards, now)
}

/// Returns the digests of approvals that can no longer serve anything: nothing of them need be remembered.
///
/// Used ones are remembered as long, so that they are refused with the right words.
pub fn lapsed(state: &State) -> Vec<Digest> {
    let now = state.now();
    let old = |approval: &&Approval| is_stale(approval.at, now);
    let mut digests: Vec<Digest> = state.app.approvals.iter().filter(old).map(|approval| approval.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let young = |digest: &Digest| state.app.approvals.iter().any(|one| one.digest == *digest && !old(&one));
    digests.retain(|digest| !young(digest));
    digests
}

/// Takes an approval that came as a signed tag, unless it is known or too old to be remembered.
///
/// A tag stays in the repository after its approval was used and forgotten, so that one must be as young by its own date as
/// what is remembered is by ours.
pub fn by_tag(
    digest: Digest,
    (by, key): (Arc<str>, Arc<str>),
    tagged: Timestamp,
    state: &State,
    now: Timestamp,
) -> Option<Approval> {
    let age = now.duration_since(tagged);
    let known = state.app.approvals.iter().any(|known| known.digest == digest && known.by == by);
    // Dated ahead of our clock it would outlive what is remembered of its use by as much.
    let remembered = tagged.checked_sub(TAGGER_AHEAD).is_ok_and(|tagged| !is_stale(tagged, now));
    (!known && remembered && age >= -TAGGER_AHEAD).then(|| Approval {
        digest,
        by,
        via: "tag".into(),
        at: now,
        used: false,
        key: Some(key),
    })
}

/// Why an approval is refused when it is given.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("refused: {why}")]
pub struct Refused {
    /// Who, and why.
    pub why: String,
    /// What to do next.
    pub next: &'static str,
}

/// Tells whether an approval that was made then can no longer serve anything.
///
/// Used ones are remembered until then, so that the tag that made them, which stays where it is, does not make them anew.
pub fn is_stale(made: Timestamp, now: Timestamp) -> bool {
    now.duration_since(made) > PRE_APPROVAL_LIFE
}

/// An approval that somebody gives by a command or the API.
#[derive(Clone, Debug)]
pub struct Giving {
    /// What is approved.
    pub digest: Digest,
    /// By whom.
    pub by: Arc<str>,
    /// Which way: `local`, `api`.
    pub via: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// Whether it is among what waits for an approval, as last reported.
    pub waits: bool,
}

/// Finds the used approval that keeps a digest from being approved once more.
///
/// An approval serves one rollout (`GUARDS.md` 5.4). Once that one has ended, or was cancelled before it wrote everything, the
/// very same operations may wait again, and only a person's new approval lets them go: without it there would be no way out.
pub fn spent<'a>(state: &'a State, digest: &Digest, waits: bool) -> Option<&'a Approval> {
    let by_plan = state.app.rollouts.values().any(|rollout| {
        let approved = matches!(&rollout.standing, Standing::Approved { digest: named, .. } if named == digest);
        approved || rollout.digest == *digest
    });
    let under_way = by_plan || state.rollout_ops.values().any(|one| one.op.digest() == *digest);
    let used = state.app.approvals.iter().find(|known| known.digest == *digest && known.used);
    used.filter(|_| under_way || !waits)
}

/// Takes an approval, or refuses it as far as the ledger knows already that it would not count.
///
/// `configured` is the configuration as it stands; a loosening that waits does not decide who may approve.
///
/// # Errors
/// Who may not approve it, why, and what to do next.
pub fn give(state: &State, giving: &Giving, configured: &Governing) -> Result<Approval, Refused> {
    let Giving { digest, by, via, at, waits } = giving;
    if let Some(used) = spent(state, digest, *waits) {
        let why = format!("{digest} was approved before (by {}) and used: an approval serves once", used.by);
        return Err(Refused { why, next: "look at what is held now: holdfast status" });
    }
    let parts = state.app.parts.as_ref().filter(|parts| parts.digests.contains(digest));
    let contributors = parts.map_or(&[][..], |parts| &parts.contributors);
    let seen = state.app.plan_seen.as_ref().map_or(state.now(), |(_, at)| *at);
    let wanted = Wanted { digest, change: None, seen, contributors };
    let in_force = govern(state, configured);
    let (policy, guards) = match &state.app.governing {
        // The old configuration decides about what loosens it.
        Some(old) if *digest == configured.digest => (&old.trust, &old.guards),
        _ => (&in_force.policy, &in_force.guards),
    };
    if let Some(why) = refusal(by, &wanted, policy, guards, *at) {
        return Err(Refused { why, next: "have a person approve who is listed and has no part in it" });
    }
    Ok(Approval { digest: *digest, by: by.clone(), via: via.clone(), at: state.now(), used: false, key: None })
}

/// Returns what is held, PLAN as given and HEALTH, with whoever has a part in it, if anything
/// waits for an approval.
pub fn parts(state: &State, mut digests: Vec<Digest>, contributors: &[Contributor]) -> Option<Parts> {
    let health = state.app.latches.get(&LatchName::Health).and_then(|latch| latch.digest);
    digests.extend(health);
    if digests.is_empty() {
        return None;
    }
    digests.sort_unstable();
    digests.dedup();
    let mut contributors = contributors.to_vec();
    contributors.sort_unstable();
    contributors.dedup();
    Some(Parts { digests, contributors })
}

#[cfg(test)]
mod tests;
