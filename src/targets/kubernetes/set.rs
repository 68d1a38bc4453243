//! The set that our objects form, by the ApplySet convention: its name, and what its parent says of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The label of a parent, and of nothing else.
pub(super) const ID: &str = "applyset.kubernetes.io/id";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// Under which key of the parent's data the anchor is.
pub(super) const ANCHOR: &str = "anchor";

/// Which set an application's objects form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Set {
    /// The parent's name.
    pub(super) name: Arc<str>,
    /// The parent's namespace.
    pub(super) namespace: Arc<str>,
    /// What members are labelled with.
    pub(super) id: Arc<str>,
}

impl Set {
    /// Names the set of an application.
    pub(super) fn of(application: &str, namespace: &str) -> Self {
        let name = format!("holdfast-{application}");
        // The core group is empty, and keeps its dot.
        let hashed = Sha256::digest(format!("{name}.{namespace}.ConfigMap."));
        let id = format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hashed));
        Self { name: name.into(), namespace: namespace.into(), id: id.into() }
    }

    /// Returns where the parent is.
    pub(super) fn path(&self) -> String {
        use super::client::escaped;
        format!("{}/{}", self.collection(), escaped(&self.name))
    }

    /// Returns where the parent's like are.
    pub(super) fn collection(&self) -> String {
        use super::client::escaped;
        format!("/api/v1/namespaces/{}/configmaps", escaped(&self.namespace))
    }

    /// Tells whether an identity is the parent's: no plan writes it.
    pub(super) fn is_parent(&self, key: &super::key::Key<'_>) -> bool {
        key.group.is_empty()
            && key.kind == "ConfigMap"
            && key.name == &*self.name
            && (key.namespace == &*self.namespace || key.namespace.is_empty())
    }
}

/// What a set contains, so that others find its members: kinds as `Kind.group`, and namespaces apart from the parent's.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Contents {
    pub(super) kinds: BTreeSet<String>,
    pub(super) namespaces: BTreeSet<String>,
}

impl Contents {
    /// Adds where an object is; tells whether that was news.
    pub(super) fn add(&mut self, set: &Set, group: &str, kind: &str, namespace: &str) -> bool {
        let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let elsewhere = !namespace.is_empty() && namespace != &*set.namespace;
        self.kinds.insert(kind) | (elsewhere && self.namespaces.insert(namespace.to_owned()))
    }

    /// Reads what a parent says.
    pub(super) fn of(parent: &Value) -> Self {
        let list = |name: &str| {
            let text = parent.pointer("/metadata/annotations").and_then(|all| all.get(name)).and_then(Value::as_str);
            text.unwrap_or_default().split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        Self { kinds: list(KINDS), namespaces: list(NAMESPACES) }
    }

    /// Returns the annotations that say it.
    pub(super) fn annotations(&self) -> Value {
        let list = |all: &BTreeSet<String>| all.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        json!({
            TOOLING: concat!("holdfast/v", env!("CARGO_PKG_VERSION")),
            KINDS: list(&self.kinds),
            NAMESPACES: list(&self.namespaces),
        })
    }
}

/// Makes the parent.
pub(super) fn parent(set: &Set, contents: &Contents, anchor: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": &*set.name,
            "namespace": &*set.namespace,
            "labels": { ID: &*set.id },
            "annotations": contents.annotations(),
        },
        "data": { ANCHOR: anchor },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_as_kubectl_names_it() {
        let set = Set::of("web", "default");
        assert_eq!((&*set.name, &*set.namespace), ("holdfast-web", "default"));
        // printf %s holdfast-web.default.ConfigMap. | sha256sum | xxd -r -p | base64 | tr +/ -_ | tr -d =
        assert_eq!(&*set.id, "applyset-wbV59H32BT-hDtuBHBQTKhUKXhJmevwx1q2z-mPn4fQ-v1");
    }

    #[test]
    fn contents_are_said_and_read_back_even_when_empty() {
        let set = Set::of("web", "default");
        let mut contents = Contents::default();
        assert!(contents.add(&set, "apps", "Deployment", "default") && contents.add(&set, "", "ConfigMap", "other"));
        assert!(!contents.add(&set, "apps", "Deployment", "default"));
        let said = parent(&set, &contents, "{}");
        assert_eq!(
            said.pointer("/metadata/annotations/applyset.kubernetes.io~1contains-group-kinds").unwrap(),
            "ConfigMap,Deployment.apps"
        );
        assert_eq!(Contents::of(&said), contents);
        let empty = parent(&set, &Contents::default(), "{}");
        assert_eq!(empty.pointer("/metadata/annotations/applyset.kubernetes.io~1additional-namespaces").unwrap(), "");
    }
}
