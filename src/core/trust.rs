//! Who may sign what, and when: judges the facts that cryptography left (`GUARDS.md` 3).

mod merged;
mod signer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::commit::{Commit, CommitId, Tag};
use super::guards::{Match, TrustPolicy, Verify};
pub use merged::{Attempt, Compared, Own, Way, may_be_merged, merged};
pub use signer::pattern_list;
use signer::{Claim, Listed, Refused, signer};

/// Why a signature does not count. Codes are interface (`reasons[].code`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureCode {
    /// There is none.
    Unsigned,
    /// It does not verify.
    BadSignature,
    /// Its key is named by nothing that is configured.
    UnknownKey,
    /// Its key was not valid when the commit was made, or when it was first seen.
    ExpiredKey,
    /// Its key was taken back.
    RevokedKey,
    /// Its key's principals may not sign here.
    SignerNotAllowed,
    /// Its key may sign, but not for this committer.
    PrincipalMismatch,
    /// Nobody can say whether its key was taken back.
    RevocationsUnreadable,
    /// Whether the range leads from what was verified to the tip cannot be proved.
    AncestryUnproven,
    /// The hosting service seems to have made it, and our own merge gives another tree or a conflict.
    MergeDiffers,
    /// The hosting service seems to have made it, and of what cannot be found out.
    MergeUnproven,
    /// The hosting service made it, of commits that do not verify.
    HeadUnverified,
}

impl SignatureCode {
    /// Returns the code as JSON spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::ExpiredKey => "expired_key",
            Self::RevokedKey => "revoked_key",
            Self::SignerNotAllowed => "signer_not_allowed",
            Self::PrincipalMismatch => "principal_mismatch",
            Self::RevocationsUnreadable => "revocations_unreadable",
            Self::AncestryUnproven => "ancestry_unproven",
            Self::MergeDiffers => "merge_differs",
            Self::MergeUnproven => "merge_unproven",
            Self::HeadUnverified => "head_unverified",
        }
    }

    /// Tells whether an approver's tag can supply what is missing: never for a signature that is bad or taken back
    /// (`GUARDS.md` 3.3).
    const fn can_be_vouched(self) -> bool {
        matches!(self, Self::Unsigned | Self::UnknownKey | Self::SignerNotAllowed)
    }
}

impl fmt::Display for SignatureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A commit of the range, and what was found about it.
#[derive(Clone, Copy, Debug)]
pub struct Sighted<'a> {
    /// The commit.
    pub commit: &'a Commit,
    /// When the controller first saw it on any ref.
    pub first_seen: Timestamp,
    /// Whether it is on the tip's first-parent chain.
    pub first_parent: bool,
    /// Whether it changes anything this application reads (`GUARDS.md` 3.1).
    pub touches: bool,
    /// Whether all it does to its first parent is to add or widen a freeze.
    pub freeze_only: bool,
}

/// What a commit's signature is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitVerdict {
    /// The outcome.
    pub outcome: Outcome,
}

/// What a commit's signature is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is signed by somebody who may.
    Verified {
        /// Who, as the policy or the file spells it.
        principal: Arc<str>,
        /// The key's fingerprint.
        key: Arc<str>,
    },
    /// An approver's signed tag stands in for the signature.
    Vouched {
        /// The approver.
        by: Arc<str>,
        /// The approver's key.
        key: Arc<str>,
    },
    /// The hosting service made it of commits that verify, and added nothing.
    Merged {
        /// What was merged.
        head: CommitId,
        /// The keys that vouch for that.
        keys: Vec<Arc<str>>,
    },
    /// It needs none, and why.
    Exempt(&'static str),
    /// It does not verify.
    Failed {
        /// Why.
        code: SignatureCode,
        /// Which commit, whose, why, and what to do.
        message: String,
    },
}

impl CommitVerdict {
    /// Returns `verified`, `vouched`, `merged`, `exempt`, or the code of what failed.
    pub fn label(&self) -> &'static str {
        match &self.outcome {
            Outcome::Verified { .. } => "verified",
            Outcome::Vouched { .. } => "vouched",
            Outcome::Merged { .. } => "merged",
            Outcome::Exempt(_) => "exempt",
            Outcome::Failed { code, .. } => code.as_str(),
        }
    }

    /// Returns what failed, if anything.
    pub fn failure(&self) -> Option<(SignatureCode, &str)> {
        match &self.outcome {
            Outcome::Failed { code, message } => Some((*code, message)),
            Outcome::Verified { .. } | Outcome::Vouched { .. } | Outcome::Merged { .. } | Outcome::Exempt(_) => None,
        }
    }
}

/// Tells whether the policy covers a commit (`GUARDS.md` 3.1).
pub fn covered(sighted: &Sighted<'_>, policy: &TrustPolicy) -> bool {
    match policy.verify {
        Verify::Repository => true,
        Verify::Path => sighted.first_parent && sighted.touches,
    }
}

/// Judges one commit. `vouches` are the tags that might vouch, each with when it was first seen; those for other commits
/// are passed over.
pub fn verdict(sighted: &Sighted<'_>, policy: &TrustPolicy, vouches: &[(Tag, Timestamp)]) -> CommitVerdict {
    let commit = sighted.commit;
    let claim = Claim {
        signature: &commit.signature,
        made: commit.committed,
        first_seen: sighted.first_seen,
        address: &commit.committer.email,
    };
    let listed = if policy.signers.is_empty() { Listed::Anybody } else { Listed::Only(&policy.signers) };
    let outcome = match signer(&claim, policy, listed, policy.match_ == Match::Committer) {
        Ok((principal, key)) => Outcome::Verified { principal, key },
        Err(_) if !covered(sighted, policy) => Outcome::Exempt("it changes nothing that this application reads"),
        Err(_) if sighted.freeze_only => Outcome::Exempt("all it does is to freeze"),
        Err(refused) => failed(commit, &refused, policy, vouches),
    };
    CommitVerdict { outcome }
}

/// Says who signed an approving tag, if it was an approver.
///
/// # Errors
/// The code and, for people, which tag it is and why it does not count.
pub fn tag_signer(
    tag: &Tag,
    first_seen: Timestamp,
    policy: &TrustPolicy,
) -> Result<(Arc<str>, Arc<str>), (SignatureCode, String)> {
    let claim = Claim { signature: &tag.signature, made: tag.tagged, first_seen, address: &tag.tagger.email };
    // An empty list of approvers is nobody, unlike an empty list of signers.
    signer(&claim, policy, Listed::Only(&policy.approvers), false).map_err(|refused| {
        let help = match refused.code {
            SignatureCode::Unsigned => "make it with `git tag -s`",
            SignatureCode::BadSignature => "make it anew with `git tag -s`",
            SignatureCode::UnknownKey => "sign with a key that the trust files name, or add it there",
            SignatureCode::SignerNotAllowed | SignatureCode::PrincipalMismatch => {
                "have somebody sign who is listed in `trust.approvers`"
            }
            other => help(other),
        };
        let message = format!("tag {} by {} {}: {help}", tag.name, tag.tagger.email, refused.why);
        (refused.code, message)
    })
}

fn failed(commit: &Commit, refused: &Refused, policy: &TrustPolicy, vouches: &[(Tag, Timestamp)]) -> Outcome {
    let name = format!("holdfast-vouch/{}", commit.id);
    let mut aside = None;
    for (tag, first_seen) in vouches.iter().filter(|(tag, _)| tag.name == name && tag.target == commit.id) {
        match tag_signer(tag, *first_seen, policy) {
            Ok((by, key)) if refused.code.can_be_vouched() => return Outcome::Vouched { by, key },
            Ok((by, _)) => aside = Some(format!("{by} vouches for it, which does not help here")),
            Err((_, why)) => aside = Some(format!("what should vouch for it does not count: {why}")),
        }
    }
    let mut message = format!(
        "commit {} {:?} by {} {}: {}",
        commit.id.short(),
        commit.subject,
        commit.committer.email,
        refused.why,
        help(refused.code)
    );
    if refused.code.can_be_vouched() {
        message.push_str(&format!("; or have an approver push the signed tag {name}"));
    }
    if let Some(aside) = aside {
        message.push_str(&format!(" ({aside})"));
    }
    Outcome::Failed { code: refused.code, message }
}

/// Says what to do about it.
const fn help(code: SignatureCode) -> &'static str {
    match code {
        SignatureCode::Unsigned => "sign it (`git commit --amend -S`) and push it anew",
        SignatureCode::BadSignature => "find out who altered it; otherwise sign it anew and push it",
        SignatureCode::UnknownKey => "sign with a key that the trust files name, or add this key there if it should be",
        SignatureCode::ExpiredKey => "sign it anew with a valid key, or correct the key's dates in the trust files",
        SignatureCode::RevokedKey => "revert what it did, unless somebody else signs the same change anew",
        SignatureCode::SignerNotAllowed => "have a listed signer make it, or list this one in `trust.signers`",
        SignatureCode::PrincipalMismatch => {
            "commit under the address that the key is for, or set `trust.match: signer`"
        }
        SignatureCode::RevocationsUnreadable => "make the configured revocation list readable",
        SignatureCode::AncestryUnproven => "let the whole history be fetched",
        SignatureCode::MergeDiffers => "merge it by hand with a signed commit",
        SignatureCode::MergeUnproven => "let its head be fetched, or merge it by hand with a signed commit",
        SignatureCode::HeadUnverified => "have everything signed that it brings, and merge that",
    }
}
