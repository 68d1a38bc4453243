//! Commits and signatures as facts: what was found, before anybody judges it.
//!
//! The edge reads objects and does cryptography; who may sign what, and when, is decided in `core::trust`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A commit's object id, in lower case hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(Arc<str>);

impl CommitId {
    /// Wraps a full object id in hexadecimal.
    pub fn new(hex: impl Into<Arc<str>>) -> Self {
        Self(hex.into())
    }

    /// Returns the full object id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first seven digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A name and an address, as a commit's header carries them (claims, not proofs).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ident {
    /// The claimed name.
    pub name: String,
    /// The claimed address.
    pub email: String,
}

/// How a signature was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// SSHSIG, namespace `git`.
    Ssh,
    /// An OpenPGP detached signature.
    Openpgp,
}

/// One line of trust that names the key of a signature: who it may speak for, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The principals (addresses) of the line or certificate; patterns with `*`, `?` and a leading `!` as OpenSSH has them.
    pub principals: Vec<String>,
    /// The key is valid from then on, inclusive.
    pub valid_after: Option<Timestamp>,
    /// The key is valid until then, exclusive.
    pub valid_before: Option<Timestamp>,
    /// Whether the line allows signatures of this namespace.
    pub namespace_allowed: bool,
}

/// Whether a key was taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// Nothing configured takes it back.
    None,
    /// Taken back, for every signature it ever made.
    Revoked,
    /// A configured revocation list could not be read, and why: nothing may be concluded.
    Unreadable(Arc<str>),
}

/// What cryptography and the configured files say about the signature of one commit or tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    /// There is none.
    Unsigned,
    /// There is one, and it does not verify: damaged, of another content, of a refused algorithm or namespace.
    Bad {
        /// Why, as a lower-case fragment.
        why: Arc<str>,
    },
    /// There is one, by a key that nothing configured names.
    UnknownKey {
        /// The key's fingerprint as OpenSSH or OpenPGP spell it.
        key: Arc<str>,
    },
    /// It verifies cryptographically, by a key that something configured names.
    Good {
        /// How it was made.
        scheme: Scheme,
        /// The key's fingerprint as OpenSSH (`SHA256:…`) or OpenPGP (hexadecimal) spell it.
        key: Arc<str>,
        /// Every line or certificate that names the key, at least one.
        grants: Vec<Grant>,
        /// Whether the key was taken back.
        revocation: Revocation,
    },
}

/// One commit of a range, as read from the repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The commit.
    pub id: CommitId,
    /// Its parents in order.
    pub parents: Vec<CommitId>,
    /// Its root tree's object id in hexadecimal.
    pub tree: Arc<str>,
    /// Who it claims wrote it.
    pub author: Ident,
    /// Who it claims committed it.
    pub committer: Ident,
    /// When it claims to have been committed.
    pub committed: Timestamp,
    /// The first line of its message, at most 200 characters, control characters removed.
    pub subject: String,
    /// What its signature is worth.
    pub signature: Signature,
}

/// A signed annotated tag that approves or vouches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    /// The full name below `refs/tags/`, as the tag object itself spells it (a moved ref does not rename a tag).
    pub name: String,
    /// What the tag points at, peeled.
    pub target: CommitId,
    /// Who it claims made it.
    pub tagger: Ident,
    /// When it claims to have been made.
    pub tagged: Timestamp,
    /// What its signature is worth.
    pub signature: Signature,
}
