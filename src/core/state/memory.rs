//! What is remembered of one resource: its accepted state, and its troubles.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::commit::CommitId;
use crate::core::resource::{Digest, Fields, Nature};

/// What was accepted of a resource.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The desired digest.
    pub desired: Digest,
    /// The live digest seen together with it.
    pub live: Digest,
    /// The rest, which most resources have in common with many others.
    #[serde(flatten)]
    pub about: Arc<About>,
}

impl Accepted {
    /// Returns the same with other fields to remember.
    #[must_use]
    pub fn with_fields(&self, fields: Option<Arc<Fields>>) -> Self {
        Self { about: About { fields, ..(*self.about).clone() }.into(), ..self.clone() }
    }
}

/// What was accepted of a resource beside its digests.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// A commit that renders it.
    pub commit: CommitId,
    /// The file that declares it; see [`Want::origin`](crate::core::resource::Want::origin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// What the rules need to know of it.
    pub nature: Arc<Nature>,
    /// When this controller created it, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Its rank.
    #[serde(default)]
    pub rank: u8,
    /// Which parts of it were ours, where not all is: what is ours no longer and still there is left over. Absent for what
    /// was accepted before this was remembered, until it is next seen in agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Arc<Fields>>,
}

/// Holds what is equal only once, as far as it comes one after the other: a hundred thousand files have a few.
#[derive(Debug, Default)]
pub struct Abouts {
    /// The last ones, the newest first.
    recent: Vec<Arc<About>>,
}

/// How many are looked through for an equal one.
const RECENT: usize = 8;

impl Abouts {
    /// Returns one that says this.
    pub fn get(&mut self, wanted: About) -> Arc<About> {
        match self.recent.iter().position(|known| **known == wanted) {
            Some(at) => self.recent[..=at].rotate_right(1),
            None => {
                self.recent.truncate(RECENT - 1);
                self.recent.insert(0, wanted.into());
            }
        }
        self.recent[0].clone()
    }
}

/// Drift as it was first seen.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DriftMark {
    /// What is there instead; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Digest>,
    /// When this value was first seen.
    pub since: Timestamp,
    /// When the resource first differed, whatever its values since.
    pub first: Timestamp,
    /// When people were last told of this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Timestamp>,
    /// When a person said that this may be taken back, if anybody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Timestamp>,
}

/// Failed attempts to write a resource (`GUARDS.md` 7).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// Failed attempts in a row.
    pub attempts: u32,
    /// No attempt before this time.
    pub next: Timestamp,
    /// Whether only a probe passes now and then.
    pub open: bool,
    /// What the last attempt said.
    pub reason: Arc<str>,
}

/// A mark of a person's that keeps a resource from being written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Who.
    pub by: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Until when; absent means until released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A resource that does not converge.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Differing {
    /// Since when.
    pub since: Timestamp,
    /// Counted cycles so far.
    pub cycles: u32,
    /// The counted cycle that was last added.
    pub at: u64,
    /// Whether people were told.
    #[serde(default)]
    pub alerted: bool,
    /// Why, in one word: `failed`, `held`, `fought`, `pending`, …
    pub why: Arc<str>,
}

/// What is remembered of one resource beyond what was accepted; most have none.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// Live drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftMark>,
    /// Failed writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// A hold by a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Automated reverts, within the longest fight window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reverts: Vec<Timestamp>,
    /// Quarantined since, after a fight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Timestamp>,
    /// Does not converge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differing: Option<Differing>,
    /// Last changed by an unapproved promotion; counts in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Last deleted by an unapproved promotion; counts in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

impl Trouble {
    /// Tells whether there is nothing to remember.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What is remembered of one resource.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Resource {
    /// What was accepted; absent for what is only remembered. Shared with the facts and findings that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Arc<Accepted>>,
    /// The rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Box<Trouble>>,
}
