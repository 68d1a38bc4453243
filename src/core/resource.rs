//! The one resource model: identities, digests, what is wanted and what is live.
//!
//! Core never sees file bytes or JSON. A resource has a *desired digest* (from the tree) and a *live digest* (from the
//! target, of what we own there); each kind of target defines its own, core only compares them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Names a resource in the target's own spelling: ordered and opaque to core.
///
/// A directory spells it as the path below its root, with bytes that are no printable UTF-8 (and the backslash) written
/// `\xNN`; Kubernetes as `group/Kind/namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(Arc<str>);

impl Id {
    /// Makes an identity of the target's spelling.
    pub fn new(spelling: impl Into<Arc<str>>) -> Self {
        Self(spelling.into())
    }

    /// Returns the target's spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps 32 bytes that are a SHA-256 already.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes parts unambiguously: each is preceded by its length.
    pub fn of_parts<I, P>(parts: I) -> Self
    where
        I: IntoIterator<Item = P>,
        P: AsRef<[u8]>,
    {
        let mut hash = Hasher::new();
        for part in parts {
            hash.part(part.as_ref());
        }
        hash.finish()
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first 12 hexadecimal digits, for people; unambiguous in practice, never parsed back.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

/// Hashes a sequence of parts into a [`Digest`] without keeping them.
#[derive(Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts an empty sequence.
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds one part, preceded by its length so that no two sequences of parts hash alike.
    pub fn part(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Ends the sequence.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected sha256: and 64 hexadecimal digits, as `holdfast status` prints it")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotADigest)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What the target uses as the precondition of a write: opaque, compared for equality only.
///
/// A directory spells device, inode, size, mtime and ctime; Kubernetes uid and resourceVersion.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub Arc<str>);

/// The things about a resource that can be lost by an update: losing one makes the update a `delete` (`GUARDS.md` 1).
///
/// A small set of bits; each kind of target sets those that it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vitals(pub u32);

impl Vitals {
    /// The file has content; the object has `data`.
    pub const CONTENT: Self = Self(1);
    /// The file may be executed.
    pub const EXECUTABLE: Self = Self(1 << 1);
    /// The workload has replicas.
    pub const RUNNING: Self = Self(1 << 2);
    /// The workload is not suspended.
    pub const ACTIVE: Self = Self(1 << 3);
    /// The object is held by finalizers.
    pub const FINALIZED: Self = Self(1 << 4);

    /// Returns both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether going from `self` to `to` loses anything.
    pub const fn lost_by(self, to: Self) -> bool {
        self.0 & !to.0 != 0
    }

    /// Tells whether everything of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What the rules of effects and protection need to know of a resource, wanted or live, beyond its digest.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Nature {
    /// What cannot change without replacing the resource (file or link; immutable fields). A different value is a
    /// replacement, hence a delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Arc<str>>,
    /// What an update could lose.
    #[serde(default)]
    pub vitals: Vitals,
    /// The group whose emptying is counted: the first directory below the path, or the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Arc<str>>,
    /// Protected by the kind of target or by a mark of its own, apart from what the configuration adds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
    /// Access control: drift of it is classed as tampering.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub access_control: bool,
    /// The digest less the listed metadata that changes with every version (`GUARDS.md` 5.3, *inert*).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub essence: Option<Digest>,
    /// The name less a generated hash suffix (`GUARDS.md` 5.3, *supersede*).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem: Option<Arc<str>>,
}

/// One resource that a tree renders to. Its bytes stay with the renderer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// Whose desired state this is.
    pub id: Id,
    /// The desired digest.
    pub digest: Digest,
    /// What the rules need to know of it.
    pub nature: Nature,
    /// Lower ranks are written first and deleted last.
    pub rank: u8,
    /// The file that declares it, as a path in the repository (spelt as an [`Id`] of a directory is).
    pub origin: Arc<str>,
}

/// Everything that a tree at a commit renders to, sorted by identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// Which inputs it was rendered from: tree, bases, renderer and its version. Equal inputs render equally.
    pub inputs: Digest,
    /// Sorted by identity, each once.
    pub wants: Vec<Want>,
}

impl Desired {
    /// What a source path that is missing desires.
    pub fn missing() -> Self {
        Self { inputs: Digest::of_parts([b"missing"]), wants: Vec::new() }
    }

    /// Finds one resource by binary search.
    pub fn get(&self, id: &Id) -> Option<&Want> {
        let at = self.wants.binary_search_by(|want| want.id.cmp(id)).ok()?;
        self.wants.get(at)
    }

    /// Hashes identities and desired digests: two commits with equal digests want the same.
    pub fn digest(&self) -> Digest {
        let mut hash = Hasher::new();
        for want in &self.wants {
            hash.part(want.id.as_str().as_bytes()).part(want.digest.as_bytes());
        }
        hash.finish()
    }
}

/// Whether what was written works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// It works, or the target has no notion of it.
    #[default]
    Healthy,
    /// It is on its way.
    Progressing,
    /// It does not work.
    Unhealthy,
}

/// Who changed a resource last, and when, where the target records it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Touch {
    /// The writer's name, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// Whether the writer is a person's interactive tool, such as kubectl.
    #[serde(default)]
    pub interactive: bool,
    /// When, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What the target holds of a resource that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Here {
    /// The live digest, of what is ours there.
    pub digest: Digest,
    /// The precondition of a write.
    pub version: Version,
    /// What the rules need to know of it.
    pub nature: Nature,
    /// Whether it works.
    pub health: Health,
    /// Who changed it last.
    pub touch: Touch,
    /// How many resources outside the plan would go with it if it were deleted.
    pub dependants: u32,
}

/// What was observed of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Live {
    /// It exists.
    Here(Here),
    /// It was read, and does not exist.
    Gone,
    /// It is being deleted: neither written nor missing.
    Leaving,
    /// It could not be read, and why; nothing may be concluded from it.
    Unread(Arc<str>),
}

impl Live {
    /// Returns what exists, if it does.
    pub const fn here(&self) -> Option<&Here> {
        match self {
            Self::Here(here) => Some(here),
            Self::Gone | Self::Leaving | Self::Unread(_) => None,
        }
    }
}

/// The anchor as it stands in the target (`GUARDS.md` 9).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anchor {
    /// Names the target; made once.
    pub target: Arc<str>,
    /// Names the application that converges it.
    pub application: Arc<str>,
    /// Names the ledger that converges it.
    pub ledger: Arc<str>,
    /// Counts the writer's starts.
    pub epoch: u64,
    /// Differs at every swap: a ledger that does not know it is not the one that swapped.
    pub token: Arc<str>,
    /// The last commit that promotion was begun for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified: Option<super::commit::CommitId>,
    /// The journal's sequence number at the swap.
    pub seq: u64,
}

/// What was seen where the anchor should be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum AnchorSeen {
    /// Nobody has claimed the target.
    #[default]
    Absent,
    /// An anchor.
    Present(Anchor),
    /// Something that is no anchor, or that could not be read, and why.
    Unread(Arc<str>),
}

/// Everything that was observed of a target. Never an error: what failed is [`Live::Unread`] or `failure`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Sorted by identity, each once: all that was asked for, and what an exclusive target holds besides.
    pub seen: Vec<(Id, Live)>,
    /// Why the whole target could not be read; then `seen` says nothing.
    pub failure: Option<Arc<str>>,
    /// What was seen where the anchor should be.
    pub anchor: AnchorSeen,
}

impl Observed {
    /// Finds one resource by binary search.
    pub fn get(&self, id: &Id) -> Option<&Live> {
        let at = self.seen.binary_search_by(|(seen, _)| seen.cmp(id)).ok()?;
        self.seen.get(at).map(|(_, live)| live)
    }
}

/// One changed value inside a resource, for people, for shapes and for telling a version bump.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where, as a JSON pointer; for a text without structure, `/` and the line's key or number.
    pub path: String,
    /// The value before, redacted where it may be a secret; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The value after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}
