//! One object as the API server shows it: who owns what of it, who touched it last, and its live state for core.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::discovery::Kind;
use super::ignore::Ignored;
use super::{Words, fields, health, project};
use crate::core::resource::{Digest, Fields, Here, Live, More, Nature, Touch, Version};
use crate::manifest::{self, Side};

/// The name under which we apply: one per installation, so that a hand-over between applications goes on pruning.
pub(super) const MANAGER: &str = "holdfast";

/// The label that says which set of objects one belongs to.
pub(super) const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// What `kubectl apply` remembers of what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Object(pub(super) Value);

/// An entry of an object's `managedFields`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manager<'a> {
    pub(super) name: &'a str,
    pub(super) applies: bool,
    pub(super) subresource: &'a str,
    pub(super) api_version: &'a str,
    pub(super) time: Option<&'a str>,
    pub(super) fields: &'a Value,
}

impl Manager<'_> {
    /// Tells whether it is a person at a terminal.
    pub(super) fn is_interactive(&self) -> bool {
        self.name == "kubectl" || (self.name.starts_with("kubectl-") && self.name != "kubectl-create")
    }

    pub(super) fn is_ours(&self) -> bool {
        self.name == MANAGER && self.applies && self.subresource.is_empty()
    }

    fn when(&self) -> Option<Timestamp> {
        self.time?.parse().ok()
    }
}

impl Object {
    /// Reads an object. In a list the server leaves out what it is: that is put back.
    ///
    /// # Errors
    /// If it is none, for people.
    pub(super) fn parse(bytes: &[u8], kind: &Kind) -> Result<Self, String> {
        let mut value: Value = serde_json::from_slice(bytes)
            .map_err(|error| format!("what the API server shows is no object: {error}"))?;
        let Some(map) = value.as_object_mut() else { return Err("what the API server shows is no object".to_owned()) };
        if !map.contains_key("kind") {
            map.insert("apiVersion".to_owned(), kind.api_version().into());
            map.insert("kind".to_owned(), kind.kind.as_ref().into());
        }
        let object = Self(value);
        if object.uid().is_empty() || object.revision().is_empty() {
            return Err("what the API server shows has neither uid nor resourceVersion".to_owned());
        }
        Ok(object)
    }

    pub(super) fn metadata(&self, name: &str) -> &str {
        self.0.pointer("/metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn uid(&self) -> &str {
        self.metadata("uid")
    }

    /// Returns the resourceVersion.
    pub(super) fn revision(&self) -> &str {
        self.metadata("resourceVersion")
    }

    pub(super) fn version(&self) -> Version {
        spell_version(self.uid(), self.revision())
    }

    pub(super) fn is_leaving(&self) -> bool {
        !self.metadata("deletionTimestamp").is_empty()
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("labels")?.get(name)?.as_str()
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    /// Returns who owns what.
    pub(super) fn managers(&self) -> impl Iterator<Item = Manager<'_>> {
        let entries = self.0.pointer("/metadata/managedFields").and_then(Value::as_array);
        entries.into_iter().flatten().map(|entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str);
            Manager {
                name: text("manager").unwrap_or_default(),
                applies: text("operation") == Some("Apply"),
                subresource: text("subresource").unwrap_or_default(),
                api_version: text("apiVersion").unwrap_or_default(),
                time: text("time"),
                fields: entry.get("fieldsV1").unwrap_or(&Value::Null),
            }
        })
    }

    /// Returns what we own.
    pub(super) fn ours(&self) -> Option<Manager<'_>> {
        self.managers().find(Manager::is_ours)
    }

    /// Returns the live digest: of what is ours, or of everything while nothing is; without what is ignored.
    pub(super) fn digest(&self, ignored: &Ignored) -> Digest {
        let whole = ignored.cut_out(&self.0);
        let digest = match self.ours() {
            Some(ours) => project::digest(self.uid(), &whole, &ignored.cut_out_of(ours.fields, &self.0)),
            None => project::foreign_digest(self.uid(), &whole),
        };
        ignored.mark(digest)
    }

    /// Tells whether an entry is what `kubectl apply` left, which an adoption takes over.
    pub(super) fn is_client_side_apply(&self, manager: &Manager<'_>) -> bool {
        !manager.applies
            && manager.subresource.is_empty()
            && (manager.name == "kubectl-client-side-apply"
                || (manager.name == "kubectl" && self.annotation(LAST_APPLIED).is_some()))
    }

    /// Tells whether an adoption has anything to take over.
    pub(super) fn is_adoptable(&self) -> bool {
        self.managers().any(|manager| self.is_client_side_apply(&manager))
    }

    /// Says who touched it since we did: a person before anybody else, for what a person does makes controllers write too.
    pub(super) fn touch(&self, ignored: &Ignored) -> Touch {
        if manifest::holds(&self.0) {
            return Touch { by: Some("a hold mark".into()), interactive: true, at: None };
        }
        let ours = self.ours().and_then(|ours| ours.when());
        // What `kubectl scale` does has no time.
        let since = |manager: &Manager<'_>| match (manager.when(), ours) {
            (Some(theirs), Some(ours)) => theirs >= ours,
            _ => manager.is_interactive(),
        };
        // Whoever owns nothing but what is ignored did not touch it.
        let touches = |manager: &Manager<'_>| {
            let fields = ignored.cut_out_of(manager.fields, &self.0);
            fields.as_object().is_none_or(|fields| !fields.is_empty())
        };
        let others = self.managers().filter(|manager| !manager.is_ours() && manager.subresource != "status");
        let others = others.filter(touches);
        let last = others.filter(since).max_by_key(|manager| (manager.is_interactive(), manager.when()));
        last.map_or_else(Touch::default, |manager| Touch {
            by: Some(manager.name.into()),
            interactive: manager.is_interactive(),
            at: manager.when(),
        })
    }

    /// Returns its state for core; `before` says what was ours of it.
    pub(super) fn live(&self, before: Option<&Fields>, ignored: &Ignored, words: &Words) -> Live {
        if self.is_leaving() {
            return Live::Leaving;
        }
        let (health, _) = health::of(&self.0);
        let leftover = before.map_or_else(Vec::new, |before| fields::left_over(self, before, ignored));
        let left = leftover.iter().map(|left| left.path.clone()).collect();
        let spelt = self.ours().and_then(|ours| fields::spell(&ours));
        let fields = spelt.map(|owned| Arc::new(Fields { owned: words.get(owned), left }));
        Live::Here(Here {
            digest: self.digest(ignored),
            version: self.version(),
            nature: Arc::new(self.nature()),
            health,
            more: Some(Box::new(More { touch: self.touch(ignored), dependants: 0, fields, leftover })),
        })
    }

    /// Returns what the rules need to know of it: of what is ours, or of everything while nothing is.
    fn nature(&self) -> Nature {
        let Some(ours) = self.ours() else { return manifest::nature(&self.0, Side::Live { owned: false }) };
        let mut part = project::cut(&self.0, ours.fields);
        if let Value::Object(part) = &mut part {
            for name in ["apiVersion", "kind"] {
                part.insert(name.to_owned(), self.0.get(name).cloned().unwrap_or_default());
            }
            let metadata = part.entry("metadata").or_insert_with(|| Value::Object(serde_json::Map::new()));
            for name in ["name", "namespace"] {
                if let (Some(metadata), Some(value)) = (metadata.as_object_mut(), self.0["metadata"].get(name)) {
                    metadata.insert(name.to_owned(), value.clone());
                }
            }
        }
        manifest::nature(&part, Side::Live { owned: true })
    }

    /// Hashes what a watch wakes for: another object, a new generation, its deletion, or a change of who owns what.
    pub(super) fn pulse(&self) -> Digest {
        pulse(&self.0)
    }
}

/// Hashes what a watch wakes for, of an object or of its metadata alone.
pub(super) fn pulse(object: &Value) -> Digest {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let text = |name: &str| metadata.get(name).map_or_else(String::new, Value::to_string);
    let entries = metadata.get("managedFields").and_then(Value::as_array);
    let owners: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("subresource").is_none_or(|sub| sub != "status"))
        .map(|entry| {
            let of = |name: &str| entry.get(name).map_or_else(String::new, Value::to_string);
            // Where nothing counts generations, a change by the same manager shows in its time alone.
            let time = if metadata.get("generation").is_some() { String::new() } else { of("time") };
            format!("{} {} {} {time}", of("manager"), of("operation"), of("fieldsV1"))
        })
        .collect();
    let parts = [text("uid"), text("generation"), text("deletionTimestamp"), owners.join("\n")];
    Digest::of_parts(parts)
}

/// Spells the precondition of a write.
pub(super) fn spell_version(uid: &str, revision: &str) -> Version {
    Version::new(format!("{uid}/{revision}"))
}

/// Reads a precondition: uid and resourceVersion.
pub(super) fn read_version(version: &Version) -> Option<(&str, &str)> {
    version.text()?.split_once('/')
}

/// Says that something is not understood.
pub(super) fn shared(text: impl Into<String>) -> Arc<str> {
    text.into().into()
}
