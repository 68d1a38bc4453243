//! What a Kubernetes object says of itself: which one it is, its canonical form, and what the rules need to know of it.
//!
//! Apart from the edges because two of them need the same answers: the renderer of what is wanted, and the target of what is
//! live. Nothing here reads anything.

mod canonical;
mod definition;
mod nature;
mod parse;
#[cfg(test)]
mod tests;
mod yaml;

use std::sync::Arc;

pub use canonical::{canonical, digest};
pub use definition::{Definition, Scopes};
pub use nature::{Side, holds, is_kept, nature};
pub use parse::{ManifestError, Problem, parse};
pub use yaml::yaml;

use crate::core::effect_kubernetes as rules;
use crate::core::resource::{Digest, Id, Nature};

/// Names one object, whatever version of its kind it is written in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The API group; empty for the core one.
    pub group: Arc<str>,
    /// The kind.
    pub kind: Arc<str>,
    /// The namespace; empty outside of namespaces, and where only the server knows.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// Spells the identity: `group/Kind/namespace/name`.
    pub fn id(&self) -> Id {
        let Self { group, kind, namespace, name } = self;
        Id::new(format!("{group}/{kind}/{namespace}/{name}"))
    }

    /// Reads an identity.
    pub fn parse(id: &Id) -> Option<Self> {
        let mut parts = id.as_str().split('/');
        let mut next = || parts.next().map(Arc::from);
        let key = Self { group: next()?, kind: next()?, namespace: next()?, name: next()? };
        (parts.next().is_none() && !key.kind.is_empty() && !key.name.is_empty()).then_some(key)
    }
}

/// One object as it is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Which one.
    pub id: Id,
    /// The parts of that.
    pub key: Key,
    /// Its canonical form: JSON with sorted keys, without what only a server may say.
    pub json: Arc<[u8]>,
    /// The desired digest: of the canonical form.
    pub digest: Digest,
    /// What the rules need to know of it.
    pub nature: Arc<Nature>,
    /// Lower ranks are written first and deleted last.
    pub rank: u8,
    /// Whether SOPS encrypted it.
    pub encrypted: bool,
    /// Whether it was decrypted: nothing of it is shown.
    pub secret: bool,
    /// The kind that it defines, if it is a definition.
    pub defines: Option<Definition>,
}

impl Object {
    /// Takes an object that was read, in the namespace where it says none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(mut value: serde_json::Value, namespace: &str) -> Result<Self, Problem> {
        let (group, kind) = parse::kind_of(&value)?;
        let name = parse::name_of(&value)?;
        let namespace = parse::settle_namespace(&mut value, &group, &kind, namespace)?;
        let encrypted = value.pointer("/sops/mac").is_some() || value.pointer("/sops/version").is_some();
        canonical::clean(&mut value, encrypted)?;
        let json: Arc<[u8]> = canonical(&value).into();
        let nature = Arc::new(nature(&value, Side::Wanted));
        let defines = Definition::of(&group, &kind, &value);
        let rank = rules::rank(&group, &kind);
        let key = Key { group, kind, namespace, name };
        Ok(Self { id: key.id(), key, digest: digest(&json), json, nature, rank, encrypted, secret: false, defines })
    }
}
