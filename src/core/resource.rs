//! The one resource model: identities, digests, what is wanted and what is live.
//!
//! Core never sees file bytes or JSON. A resource has a *desired digest* (from the tree) and a *live digest* (from the
//! target, of what we own there); each kind of target defines its own, core only compares them.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use super::nature::{Nature, NatureRef, Natures, Vitals};
pub use super::version::{FileMark, Version};

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

/// Leaves out what a file's identity tells of where it is declared: a hundred thousand of them would be told it twice.
pub fn told(origin: Option<Arc<str>>, id: &Id) -> Option<Arc<str>> {
    let own = |origin: &Arc<str>| {
        let above = origin.strip_suffix(id.as_str());
        above.is_some_and(|above| above.is_empty() || above.ends_with('/'))
    };
    origin.filter(|origin| !own(origin))
}

/// One resource that a tree renders to. Its bytes stay with the renderer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// Whose desired state this is.
    pub id: Id,
    /// The desired digest.
    pub digest: Digest,
    /// What the rules need to know of it.
    pub nature: Arc<Nature>,
    /// Lower ranks are written first and deleted last.
    pub rank: u8,
    /// The file that declares it, as a path in the repository (spelt as an [`Id`] of a directory is); absent where it is
    /// the file that the identity names, below the source path.
    pub origin: Option<Arc<str>>,
}

/// Everything that a tree at a commit renders to, sorted by identity.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Which inputs it was rendered from: tree, bases, renderer and its version. Equal inputs render equally.
    pub inputs: Digest,
    wants: Vec<Want>,
    /// Made when it is first asked for.
    digest: OnceLock<Digest>,
}

impl PartialEq for Desired {
    fn eq(&self, other: &Self) -> bool {
        (self.inputs, &self.wants) == (other.inputs, &other.wants)
    }
}

impl Desired {
    /// Takes what was rendered: sorted by identity, each once.
    pub const fn new(inputs: Digest, wants: Vec<Want>) -> Self {
        Self { inputs, wants, digest: OnceLock::new() }
    }

    /// What a source path that is missing desires.
    pub fn missing() -> Self {
        Self::new(Digest::of_parts([b"missing"]), Vec::new())
    }

    /// Returns everything, sorted by identity, each once.
    pub fn wants(&self) -> &[Want] {
        &self.wants
    }

    /// Finds one resource by binary search.
    pub fn get(&self, id: &Id) -> Option<&Want> {
        let at = self.wants.binary_search_by(|want| want.id.cmp(id)).ok()?;
        self.wants.get(at)
    }

    /// Hashes identities and desired digests: two commits with equal digests want the same. Hashed once.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hash = Hasher::new();
            for want in &self.wants {
                hash.part(want.id.as_str().as_bytes()).part(want.digest.as_bytes());
            }
            hash.finish()
        })
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
    /// It could not be read: nothing is known. Only ever an answer to whoever asks, never observed.
    #[serde(skip)]
    Unread,
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

/// Which parts of a resource are ours, where a target has several writers of one resource. Both in the target's spelling.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// What is ours.
    pub owned: Arc<str>,
    /// What was ours once, is not now, and was still there when it was last looked for: sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Arc<str>>,
}

/// How somebody came to own a part of a resource, which says whether it may be taken from him.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hand {
    /// A person's interactive tool wrote it once.
    Person,
    /// A program wrote it once.
    Updates,
    /// A program declares it, and would again.
    Applies,
    /// What runs the resource decides it, such as an autoscaler.
    Runs,
}

/// Whoever owns a part of a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// By its own name.
    pub name: Arc<str>,
    /// How.
    pub hand: Hand,
}

/// A part of a resource that was ours, is not now, and is still there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Leftover {
    /// Where, in the target's spelling.
    pub path: Arc<str>,
    /// Who owns it now; nobody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<Owner>,
}

/// What the target holds of a resource that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Here {
    /// The live digest, of what is ours there.
    pub digest: Digest,
    /// The precondition of a write.
    pub version: Version,
    /// What the rules need to know of it.
    pub nature: Arc<Nature>,
    /// Whether it works.
    pub health: Health,
    /// The rest, where the target has more to tell than the version does: a hundred thousand files have nothing.
    pub more: Option<Box<More>>,
}

/// What only some kinds of targets know of a resource that exists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct More {
    /// Who changed it last.
    pub touch: Touch,
    /// How many resources outside the plan would go with it if it were deleted.
    pub dependants: u32,
    /// Which parts of it are ours, to be remembered when it is accepted as it is; absent where all of it is.
    pub fields: Option<Arc<Fields>>,
    /// What of `fields.left` is there, and whose it is.
    pub leftover: Vec<Leftover>,
}

impl Here {
    /// Returns who changed it last, and when: of a file nobody says who, and its version when.
    pub fn touch(&self) -> Touch {
        match &self.more {
            Some(more) => more.touch.clone(),
            None => Touch { at: self.version.file().and_then(|mark| mark.changed_at()), ..Touch::default() },
        }
    }

    /// Returns how many resources outside the plan would go with it if it were deleted.
    pub fn dependants(&self) -> u32 {
        self.more.as_deref().map_or(0, |more| more.dependants)
    }

    /// Returns which parts of it are ours; absent where all of it is.
    pub fn fields(&self) -> Option<&Arc<Fields>> {
        self.more.as_deref()?.fields.as_ref()
    }

    /// Returns what of `fields().left` is there, and whose it is.
    pub fn leftover(&self) -> &[Leftover] {
        self.more.as_deref().map_or(&[], |more| &more.leftover)
    }
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
    /// Something that is no anchor, and why not.
    Foreign(Arc<str>),
    /// It could not be read, and why.
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
    /// Identities that name one and the same resource, in pairs: one that says where it is, and one that leaves it to the
    /// target. Both are in `seen`.
    pub same: Vec<(Id, Id)>,
}

impl Observed {
    /// Finds one resource by binary search.
    pub fn get(&self, id: &Id) -> Option<&Live> {
        let at = self.seen.binary_search_by(|(seen, _)| seen.cmp(id)).ok()?;
        self.seen.get(at).map(|(_, live)| live)
    }

    /// Says why nothing may be concluded from it, if so: the whole target, or whose it is, could not be read.
    pub fn failed(&self) -> Option<Arc<str>> {
        let unread = match &self.anchor {
            AnchorSeen::Unread(why) => Some(format!("its anchor: {why}").into()),
            AnchorSeen::Absent | AnchorSeen::Present(_) | AnchorSeen::Foreign(_) => None,
        };
        self.failure.clone().or(unread)
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
