//! What the rules of effects and protection need to know of a resource, and how equal ones are shared.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::resource::Digest;

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

/// What the rules of effects and protection need to know of a resource, wanted or live, beyond its digest. Equal ones are
/// shared where there are many: a hundred thousand files have a few.
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

impl Nature {
    /// Borrows what it says.
    pub fn borrowed(&self) -> NatureRef<'_> {
        // No `..`: what is added to a nature must be compared here.
        let Self { identity, vitals, group, protected, access_control, essence, stem } = self;
        NatureRef {
            identity: identity.as_deref(),
            vitals: *vitals,
            group: group.as_deref(),
            protected: *protected,
            access_control: *access_control,
            essence: *essence,
            stem: stem.as_deref(),
        }
    }
}

/// What a [`Nature`] says, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NatureRef<'a> {
    /// See [`Nature::identity`].
    pub identity: Option<&'a str>,
    /// See [`Nature::vitals`].
    pub vitals: Vitals,
    /// See [`Nature::group`].
    pub group: Option<&'a str>,
    /// See [`Nature::protected`].
    pub protected: bool,
    /// See [`Nature::access_control`].
    pub access_control: bool,
    /// See [`Nature::essence`].
    pub essence: Option<Digest>,
    /// See [`Nature::stem`].
    pub stem: Option<&'a str>,
}

/// Makes natures, of which equal ones are mostly the same: a hundred thousand files have a few.
#[derive(Debug, Default)]
pub struct Natures {
    /// The last ones, the newest first.
    recent: Vec<Arc<Nature>>,
    /// Identities and groups.
    words: BTreeSet<Arc<str>>,
}

/// How many natures are looked through for an equal one.
const RECENT: usize = 8;

impl Natures {
    /// Returns a nature that says this.
    pub fn get(&mut self, wanted: NatureRef<'_>) -> Arc<Nature> {
        if let Some(at) = self.recent.iter().position(|known| known.borrowed() == wanted) {
            self.recent[..=at].rotate_right(1);
            return self.recent[0].clone();
        }
        let NatureRef { identity, vitals, group, protected, access_control, essence, stem } = wanted;
        let (identity, group) = (self.word(identity), self.word(group));
        let stem = stem.map(Arc::from);
        let made = Arc::new(Nature { identity, vitals, group, protected, access_control, essence, stem });
        self.recent.truncate(RECENT - 1);
        self.recent.insert(0, made.clone());
        made
    }

    fn word(&mut self, word: Option<&str>) -> Option<Arc<str>> {
        let word = word?;
        if let Some(known) = self.words.get(word) {
            return Some(known.clone());
        }
        let word: Arc<str> = word.into();
        self.words.insert(word.clone());
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_natures_are_one_and_others_are_not() {
        let mut natures = Natures::default();
        let file = |group| NatureRef { identity: Some("file"), group: Some(group), ..NatureRef::default() };
        let first = natures.get(file("a"));
        assert_eq!(first.borrowed(), file("a"));
        let others = [
            file("b"),
            NatureRef { identity: Some("link"), ..file("a") },
            NatureRef { vitals: Vitals::CONTENT, ..file("a") },
            NatureRef { protected: true, ..file("a") },
            NatureRef { access_control: true, ..file("a") },
            NatureRef { essence: Some(Digest::from_bytes([1; 32])), ..file("a") },
            NatureRef { stem: Some("s"), ..file("a") },
        ];
        for other in others {
            let made = natures.get(other);
            assert_eq!(made.borrowed(), other);
            assert_ne!(made, first);
        }
        assert!(Arc::ptr_eq(&natures.get(file("a")), &first));
        assert!(Arc::ptr_eq(&natures.get(file("a")), &first), "and once more, from the front");
    }
}
