//! Operations and their effects (`GUARDS.md` 1 and 5.3).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::commit::CommitId;
use super::resource::{Digest, FieldChange, Hasher, Id, Nature, Version};

/// What is done to the target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Something that is not there is written.
    Create,
    /// Something that is there is overwritten.
    Update,
    /// Something that is there is removed.
    Delete,
}

/// What an operation amounts to, whatever its verb.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Something new.
    Create,
    /// Something changed, or adopted.
    Update,
    /// Something removed, replaced, emptied or stopped.
    Delete,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        })
    }
}

/// How an operation is counted besides its effect (`GUARDS.md` 5.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Counted as its effect.
    Plain,
    /// A version-only update: counted apart.
    Bump,
    /// Only listed metadata changed: paced, not counted.
    Inert,
    /// One half of a move; the pair counts as one update, on the half that removes.
    Move,
    /// One half of a superseded generated object; the pair counts as one update.
    Supersede,
    /// What exists is taken into the inventory.
    Adopt,
    /// One part of a replacement of one thing by another that cannot be there at the same time, such as a file by a folder of
    /// its name: a deletion by effect, written at the end with what goes in its place.
    Replace,
}

/// Where the bytes of what is written come from: a commit and the identity it renders.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The commit that renders it.
    pub commit: CommitId,
    /// The file that declares it; see [`Want::origin`](super::resource::Want::origin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
}

/// One operation of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Op {
    /// What is written.
    pub id: Id,
    /// How.
    pub verb: Verb,
    /// What it amounts to.
    pub effect: Effect,
    /// How it is counted.
    pub class: Class,
    /// What was observed there: the precondition of the write. Absent when nothing was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<(Digest, Version)>,
    /// The desired digest that it leads to. Absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
    /// The desired digest that was accepted before, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Digest>,
    /// Where the bytes come from. Absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What the rules need to know of the result (of what is removed, for a removal).
    pub nature: Arc<Nature>,
    /// Whether fields that another writer owns are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// How much it counts: 1, and what would go with it.
    pub weight: u32,
    /// Lower ranks are written first and deleted last.
    pub rank: u8,
    /// Whether it reverts drift rather than promotes a commit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reverts: bool,
    /// Whether it could not be tried when it was planned: what it needs is created by the plan itself (`GUARDS.md` 5.8).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrehearsed: bool,
    /// What is left over that it takes away (`Leftover::path`), beside what it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reclaims: Vec<Arc<str>>,
    /// Where drift is ignored, as JSON pointers: what somebody else owns there is not written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Arc<str>>,
    /// What operations that change the same paths the same way share; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Arc<str>>,
}

impl Op {
    /// Tells whether it waits until nothing else of its rollout is left (`GUARDS.md` 5.2): deletions, and what goes in the
    /// place of what is deleted.
    pub fn is_late(&self) -> bool {
        self.verb == Verb::Delete || self.class == Class::Replace
    }

    /// Hashes what an approval binds to: identity, effect, the live digest and the desired digest (`GUARDS.md` 5.4).
    pub fn digest(&self) -> Digest {
        let mut hash = Hasher::new();
        self.hash_into(&mut hash);
        hash.finish()
    }

    /// Adds what an approval binds to.
    pub fn hash_into(&self, hash: &mut Hasher) {
        hash.part(self.id.as_str().as_bytes()).part(self.effect.to_string().as_bytes()).part(&[u8::from(self.force)]);
        hash.part(self.from.as_ref().map_or(&[][..], |(digest, _)| digest.as_bytes()));
        hash.part(self.to.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
        for path in self.reclaims.iter().chain(&self.ignore) {
            hash.part(path.as_bytes());
        }
    }

    /// Adds what a pre-approval binds to: old desired, new desired and effect.
    pub fn hash_change_into(&self, hash: &mut Hasher) {
        hash.part(self.id.as_str().as_bytes()).part(self.effect.to_string().as_bytes());
        hash.part(self.was.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
        hash.part(self.to.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
    }
}

/// Classifies an update by what it leads from and to: losing something vital, or becoming another kind of thing, is a
/// delete; what cannot be told (nothing known of what was) is a delete too.
pub fn update_effect(from: &Nature, to: &Nature) -> Effect {
    let replaced = from.identity != to.identity;
    if replaced || from.vitals.lost_by(to.vitals) { Effect::Delete } else { Effect::Update }
}

/// Tells whether every changed value is a version of the same image, chart or package (`GUARDS.md` 5.3, *bump*).
pub fn is_bump(changes: &[FieldChange]) -> bool {
    !changes.is_empty()
        && changes.iter().all(|change| match (&change.old, &change.new) {
            (Some(old), Some(new)) => bumped_value(&change.path, old, new),
            _ => false,
        })
}

fn bumped_value(path: &str, old: &str, new: &str) -> bool {
    let key = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    match (split_image(old), split_image(new)) {
        // A value that names its own image or package says by itself what it is.
        (Some((a, _)), Some((b, _))) => a == b && old != new && (a.contains('/') || key.contains("image")),
        _ => {
            matches!(
                key.as_str(),
                "version"
                    | "tag"
                    | "newtag"
                    | "imagetag"
                    | "appversion"
                    | "chartversion"
                    | "targetrevision"
                    | "digest"
                    | "image_tag"
                    | "image-tag"
            ) && looks_like_version(old)
                && looks_like_version(new)
        }
    }
}

/// Splits `registry/name:tag@digest` into the name and what follows.
fn split_image(value: &str) -> Option<(&str, &str)> {
    let value = value.trim_matches(|c| c == '"' || c == '\'');
    if value.contains(char::is_whitespace) || value.contains("://") {
        return None;
    }
    if let Some((name, digest)) = value.split_once('@') {
        let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
        return (digest.starts_with("sha256:") && plausible_name(name)).then_some((name, digest));
    }
    let (name, tag) = value.rsplit_once(':')?;
    (!tag.contains('/') && looks_like_version(tag) && plausible_name(name)).then_some((name, tag))
}

fn plausible_name(name: &str) -> bool {
    name.contains(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:".contains(c))
}

fn looks_like_version(text: &str) -> bool {
    let text = text.trim_matches(|c| c == '"' || c == '\'');
    !text.is_empty()
        && text.len() <= 128
        && text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::resource::Vitals;
    use super::*;

    fn change(path: &str, old: &str, new: &str) -> FieldChange {
        FieldChange { path: path.into(), old: Some(old.into()), new: Some(new.into()) }
    }

    #[test]
    fn emptying_stopping_and_replacing_are_deletes() {
        let full = Nature { vitals: Vitals::CONTENT.with(Vitals::EXECUTABLE), ..Nature::default() };
        let plain = Nature { vitals: Vitals::CONTENT, ..Nature::default() };
        let link = Nature { identity: Some("link".into()), ..plain.clone() };
        assert_eq!(update_effect(&full, &full), Effect::Update);
        assert_eq!(update_effect(&plain, &full), Effect::Update);
        assert_eq!(update_effect(&full, &plain), Effect::Delete);
        assert_eq!(update_effect(&plain, &Nature::default()), Effect::Delete);
        assert_eq!(update_effect(&plain, &link), Effect::Delete);
    }

    #[test]
    fn bumps_are_versions_of_the_same_thing() {
        assert!(is_bump(&[change("/spec/image", "ghcr.io/a/web:1.2.3", "ghcr.io/a/web:1.2.4")]));
        assert!(is_bump(&[change("/image/tag", "v1.0", "v1.1"), change("/version", "1", "2")]));
        assert!(is_bump(&[change("/i", "a/b:1@sha256:00", "a/b:2@sha256:11")]));
        assert!(!is_bump(&[]));
        assert!(!is_bump(&[change("/spec/image", "a/web:1", "b/web:1")]));
        assert!(!is_bump(&[change("/spec/replicas", "3", "0")]));
        assert!(!is_bump(&[change("/listen", "10.0.0.1:80", "10.0.0.1:81")]));
        assert!(!is_bump(&[change("/upstream", "backend:8080", "backend:8081")]));
        assert!(is_bump(&[change("/image", "nginx:1.25", "nginx:1.27")]));
        assert!(!is_bump(&[change("/url", "http://a:80", "http://a:81")]));
        assert!(!is_bump(&[change("/tag", "v1", "v2"), change("/replicas", "3", "0")]));
        assert!(!is_bump(&[FieldChange { path: "/tag".into(), old: Some("1".into()), new: None }]));
    }
}
