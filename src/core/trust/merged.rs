//! Commits that a hosting service made of what others signed: covered by our own merge, without trusting the service's key.
//!
//! What is proved is where the content comes from, and nothing else: that the tree is what merging gives, and that everything
//! merged is signed by whoever may. Who decided to merge, and when, is not.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{CommitVerdict, Outcome, Sighted, SignatureCode, help, verdict};
use crate::core::approval::Contributor;
use crate::core::commit::{Commit, CommitId, Signature, Tag};
use crate::core::guards::{TrustPolicy, Verify};
use crate::core::heads::Head;

/// How a commit's tree compares with what our own merging gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compared {
    /// It is the same.
    Same,
    /// It merges by itself, to another tree.
    Differs,
    /// It does not merge by itself; these places conflict.
    Conflict(Vec<Arc<str>>),
    /// Nobody can tell, and why.
    Unknown(Arc<str>),
}

/// How a hosting service may have made a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By merging its second parent.
    Merge,
    /// By squashing all that a head brings into one commit.
    Squash(Head),
    /// By making one of a head's commits anew, as one of an unbroken row of all of them.
    Rebase(Head),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merge => f.write_str("the merge of its parents"),
            Self::Squash(head) => write!(f, "what pull request {head} comes to"),
            Self::Rebase(head) => write!(f, "a commit of pull request {head} made anew"),
        }
    }
}

/// A commit that a head brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    /// The commit.
    pub commit: Commit,
    /// When the controller first saw it on any ref.
    pub first_seen: Timestamp,
    /// If it has two parents, how it compares with their merge.
    pub merge: Option<Compared>,
    /// The keys by which it is covered itself, where it was judged before as one that the hosting service made.
    pub covered: Option<Vec<Arc<str>>>,
}

impl Own {
    /// Returns everybody who has a part in the commit.
    pub fn contributor(&self) -> Contributor {
        let Commit { author, committer, signature, .. } = &self.commit;
        let mut names: Vec<Arc<str>> = vec![author.email.as_str().into(), committer.email.as_str().into()];
        if let Signature::Good { key, grants, .. } = signature {
            names.push(key.clone());
            names.extend(grants.iter().flat_map(|grant| &grant.principals).map(|name| name.as_str().into()));
        }
        Contributor { names }
    }
}

/// One way in which a commit may have been made, as far as it could be followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// Which.
    pub way: Way,
    /// What was merged, if that is here.
    pub head: Option<CommitId>,
    /// How the commit compares.
    pub compared: Compared,
    /// Everything that the head brings and the first parent does not have, if the commit is the same.
    pub own: Vec<Own>,
}

impl Attempt {
    /// An attempt that ended early.
    pub fn unknown(way: Way, why: impl Into<Arc<str>>) -> Self {
        Self { way, head: None, compared: Compared::Unknown(why.into()), own: Vec::new() }
    }
}

/// Tells whether a verdict may be judged anew as that of a commit which the hosting service made: it has no signature that
/// counts, and none that is bad, expired or taken back.
///
/// Only where every commit must verify: a merge brings along whatever its first parent has, also under another name.
pub fn may_be_merged(verdict: &CommitVerdict, policy: &TrustPolicy) -> bool {
    let all = policy.verify == Verify::Repository;
    all && policy.service_merges && verdict.failure().is_some_and(|(code, _)| code.can_be_vouched())
}

/// Judges anew a commit that has no signature which counts, by the ways in which the hosting service may have made it.
pub fn merged(
    commit: &Commit,
    failed: CommitVerdict,
    attempts: &[Attempt],
    policy: &TrustPolicy,
    vouches: &[(Tag, Timestamp)],
) -> CommitVerdict {
    let Outcome::Failed { code: before, message } = &failed.outcome else { return failed };
    let mut nearest: Option<(SignatureCode, String)> = None;
    for attempt in attempts {
        match cover(attempt, policy, vouches) {
            Ok(keys) => {
                let head = attempt.head.clone().unwrap_or_else(|| commit.id.clone());
                return CommitVerdict { outcome: Outcome::Merged { head, keys } };
            }
            Err((code, why)) if nearest.as_ref().is_none_or(|(old, _)| nearness(code) > nearness(*old)) => {
                nearest = Some((code, format!("{}{}: {why}", attempt.way, named(attempt))));
            }
            Err(_) => {}
        }
    }
    let Some((code, why)) = nearest else {
        let message = format!("{message} (it names no pull request of which it could be the merge)");
        return CommitVerdict { outcome: Outcome::Failed { code: *before, message } };
    };
    let message = format!(
        "commit {} {:?} by {} has no signature that counts ({before}), and it cannot be shown to be {why}: {}; or have an \
         approver push the signed tag holdfast-vouch/{}",
        commit.id.short(),
        commit.subject,
        commit.committer.email,
        help(code),
        commit.id,
    );
    CommitVerdict { outcome: Outcome::Failed { code, message } }
}

fn named(attempt: &Attempt) -> String {
    attempt.head.as_ref().map_or_else(String::new, |head| format!(" (head {})", head.short()))
}

/// What was nearly covered explains most.
fn nearness(code: SignatureCode) -> u8 {
    match code {
        SignatureCode::HeadUnverified => 2,
        SignatureCode::MergeDiffers => 1,
        _ => 0,
    }
}

/// Returns the keys that vouch for what was merged, if that is all there is to a commit.
fn cover(
    attempt: &Attempt,
    policy: &TrustPolicy,
    vouches: &[(Tag, Timestamp)],
) -> Result<Vec<Arc<str>>, (SignatureCode, String)> {
    match &attempt.compared {
        Compared::Same => {}
        Compared::Differs => {
            let why = "its tree is not the one that merging gives here".to_owned();
            return Err((SignatureCode::MergeDiffers, why));
        }
        Compared::Conflict(paths) => {
            let why = format!("merging gives a conflict here ({})", listed(paths));
            return Err((SignatureCode::MergeDiffers, why));
        }
        Compared::Unknown(why) => return Err((SignatureCode::MergeUnproven, why.to_string())),
    }
    if attempt.head.is_none() {
        return Err((SignatureCode::MergeUnproven, "its head is not known".to_owned()));
    }
    let mut keys: Vec<Arc<str>> = Vec::new();
    let mut vouch = |by: &[Arc<str>]| {
        keys.extend(by.iter().filter(|key| !keys.contains(key)).cloned().collect::<Vec<_>>());
    };
    for own in &attempt.own {
        let Own { commit, first_seen, merge, covered } = own;
        let sighted =
            Sighted { commit, first_seen: *first_seen, first_parent: true, touches: true, freeze_only: false };
        match verdict(&sighted, policy, vouches).outcome {
            Outcome::Verified { key, .. } | Outcome::Vouched { key, .. } => vouch(&[key]),
            // It adds nothing to its parents, each of which is judged here too or was before.
            Outcome::Failed { code, .. } if code.can_be_vouched() && is_own_merge(commit, merge.as_ref()) => {}
            Outcome::Failed { code, .. } if code.can_be_vouched() && covered.is_some() => {
                vouch(covered.as_deref().unwrap_or_default());
            }
            other => {
                let label = CommitVerdict { outcome: other }.label();
                let (id, by) = (commit.id.short(), &commit.committer.email);
                let why = format!("of what it brings, {id} {:?} by {by} does not verify ({label})", commit.subject);
                return Err((SignatureCode::HeadUnverified, why));
            }
        }
    }
    Ok(keys)
}

fn is_own_merge(commit: &Commit, merge: Option<&Compared>) -> bool {
    commit.parents.len() == 2 && merge == Some(&Compared::Same)
}

/// Spells some places; more would not help.
fn listed(paths: &[Arc<str>]) -> String {
    let shown: Vec<&str> = paths.iter().take(5).map(AsRef::as_ref).collect();
    let more = if paths.len() > shown.len() { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
