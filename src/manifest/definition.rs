//! Which custom kinds live in namespaces, by the definitions that are wanted together with their objects.
//!
//! Before a definition is established no server can tell, and afterwards it must not become another identity.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Key, Object, Problem, Side, canonical, digest, nature};
use crate::core::effect_kubernetes as rules;
use crate::core::resource::Nature;

/// A custom kind, as its definition declares it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Definition {
    /// Its group.
    pub group: Arc<str>,
    /// The kind.
    pub kind: Arc<str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Definition {
    /// Reads what an object defines, if it is a definition that says so.
    pub(super) fn of(group: &str, kind: &str, object: &Value) -> Option<Self> {
        if (group, kind) != ("apiextensions.k8s.io", "CustomResourceDefinition") {
            return None;
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let namespaced = match text("/spec/scope")? {
            "Namespaced" => true,
            "Cluster" => false,
            _ => return None,
        };
        Some(Self { group: text("/spec/group")?.into(), kind: text("/spec/names/kind")?.into(), namespaced })
    }
}

/// The scopes of custom kinds, by group and kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scopes(BTreeMap<(Arc<str>, Arc<str>), bool>);

impl Scopes {
    /// Adds what is defined.
    pub fn add(&mut self, definition: &Definition) {
        let Definition { group, kind, namespaced } = definition;
        self.0.insert((group.clone(), kind.clone()), *namespaced);
    }

    /// Adds everything of others.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(kind, namespaced)| (kind.clone(), *namespaced)));
    }

    /// Puts an object of a kind that is defined here where it belongs: into the default namespace if it lives in one and names
    /// none.
    ///
    /// # Errors
    /// If it names a namespace and lives in none.
    pub fn place(&self, object: Object, default: &str) -> Result<Object, Problem> {
        let Key { group, kind, namespace, .. } = &object.key;
        if rules::is_namespaced(group, kind).is_some() {
            return Ok(object);
        }
        match (self.0.get(&(group.clone(), kind.clone())), namespace.is_empty()) {
            (Some(false), false) => Err(Problem::Namespaced(namespace.to_string())),
            (Some(true), true) => Ok(object.within(default)),
            _ => Ok(object),
        }
    }
}

impl Object {
    /// Tells whether only a definition says where it lives.
    pub fn is_custom(&self) -> bool {
        rules::is_namespaced(&self.key.group, &self.key.kind).is_none()
    }

    /// Puts it into a namespace.
    fn within(mut self, namespace: &str) -> Self {
        let mut value: Value = serde_json::from_slice(&self.json).expect("a canonical form is JSON");
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        self.key.namespace = namespace.into();
        self.id = self.key.id();
        self.json = canonical(&value).into();
        if self.secret {
            // Nothing of what is remembered may be a digest of what was decrypted.
            self.nature = Nature { group: Some(namespace.into()), ..(*self.nature).clone() }.into();
        } else {
            self.digest = digest(&self.json);
            self.nature = nature(&value, Side::Wanted).into();
        }
        self
    }
}
