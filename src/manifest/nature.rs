//! What the rules of effects, protection and counting need to know of an object (`GUARDS.md` 1, 5.3 and 8).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::canonical::{canonical, digest};
use super::parse::kind_of;
use crate::core::effect_kubernetes as rules;
use crate::core::resource::{Digest, Nature, Vitals};

/// An annotation or label that protects an object, unless it says `false`.
const PROTECT: &str = "holdfast.dev/protect";

/// An annotation by which a person keeps an object as it is (`GUARDS.md` 6, a hold mark).
const HOLD: &str = "holdfast.dev/hold";

/// Metadata that changes with every version and means nothing (`GUARDS.md` 5.3, *inert*).
const INERT: [&str; 3] = ["helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"];

/// Which side of a comparison an object stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// As it is wanted: what it does not say is left as it is, and so cannot be lost.
    Wanted,
    /// As it is live: what is not there is not had.
    Live {
        /// Whether only what is ours of it is shown.
        owned: bool,
    },
}

/// Tells what the rules need to know of an object.
pub fn nature(object: &Value, side: Side) -> Nature {
    let Ok((group, kind)) = kind_of(object) else { return Nature::default() };
    let metadata = object.get("metadata");
    let namespace = metadata.and_then(|metadata| metadata.get("namespace")).and_then(Value::as_str);
    Nature {
        identity: selector(object),
        vitals: vitals(object, &group, &kind, side),
        group: namespace.map(Arc::from),
        protected: rules::is_protected(&group, &kind) || is_marked(object, PROTECT),
        access_control: rules::is_access_control(&group, &kind),
        essence: essence(object),
        stem: stem(object, &group, &kind),
    }
}

/// Tells whether a person marked an object to be kept as it is.
pub fn holds(object: &Value) -> bool {
    is_marked(object, HOLD)
}

/// Tells whether an object is marked as protected.
pub fn is_kept(object: &Value) -> bool {
    is_marked(object, PROTECT)
}

fn is_marked(object: &Value, name: &str) -> bool {
    ["annotations", "labels"].iter().any(|map| {
        let value = object.get("metadata").and_then(|metadata| metadata.get(map)).and_then(|map| map.get(name));
        value.is_some_and(|value| value.as_str() != Some("false"))
    })
}

/// Hashes whom an object is about, where its kind says so by a selector: another selector is another thing.
fn selector(object: &Value) -> Option<Arc<str>> {
    let selector = object.pointer("/spec/selector").filter(|selector| !selector.is_null())?;
    Some(digest(&canonical(selector)).to_string().into())
}

fn vitals(object: &Value, group: &str, kind: &str, side: Side) -> Vitals {
    let mut vitals = Vitals::default();
    let mut keep = |vital: Vitals, kept: bool| {
        if kept {
            vitals = vitals.with(vital);
        }
    };
    let replicas = object.pointer("/spec/replicas").filter(|replicas| !replicas.is_null());
    // A workload without a number of its own has one replica, unless somebody else says how many.
    keep(Vitals::RUNNING, replicas.is_none_or(|replicas| replicas.as_f64() != Some(0.0)));
    let suspended = object.pointer("/spec/suspend").and_then(Value::as_bool);
    keep(Vitals::ACTIVE, suspended != Some(true));
    let holds_data = matches!((group, kind), ("", "ConfigMap" | "Secret"));
    let full = |name: &str| match object.get(name) {
        Some(Value::Object(map)) => !map.is_empty(),
        _ => false,
    };
    keep(Vitals::CONTENT, !holds_data || full("data") || full("binaryData"));
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let finalized = finalizers.is_some_and(|finalizers| !finalizers.is_empty());
    // Of an object that is not ours, others set them, and an apply leaves them there.
    keep(Vitals::FINALIZED, finalized && side != Side::Live { owned: false });
    vitals
}

/// Hashes an object less what changes with every version; nothing where there is none of that.
fn essence(object: &Value) -> Option<Digest> {
    let mut less = object.clone();
    strip(&mut less, 0).then(|| Digest::of_parts([&b"essence"[..], &canonical(&less)]))
}

/// Takes inert labels and annotations out, also those of templates; tells whether there were any.
fn strip(value: &mut Value, depth: usize) -> bool {
    let Some(map) = value.as_object_mut().filter(|_| depth < 12) else { return false };
    let mut stripped = false;
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        stripped |= strip_metadata(metadata);
    }
    for (name, below) in map.iter_mut().filter(|(name, _)| matches!(name.as_str(), "spec" | "template" | "jobTemplate"))
    {
        debug_assert!(name != "metadata", "metadata was looked at");
        stripped |= strip(below, depth + 1);
    }
    stripped
}

fn strip_metadata(metadata: &mut Map<String, Value>) -> bool {
    let mut stripped = false;
    for map in ["labels", "annotations"] {
        let Some(named) = metadata.get_mut(map).and_then(Value::as_object_mut) else { continue };
        for name in INERT {
            stripped |= named.remove(name).is_some();
        }
    }
    stripped
}

/// Returns the name less a suffix that a generator made from the content (`GUARDS.md` 5.3, *supersede*).
///
/// Kustomize appends ten characters of an alphabet without vowels, and only to configuration.
fn stem(object: &Value, group: &str, kind: &str) -> Option<Arc<str>> {
    let generates = matches!((group, kind), ("", "ConfigMap" | "Secret"));
    let name = object.pointer("/metadata/name").and_then(Value::as_str).filter(|_| generates)?;
    let (stem, suffix) = name.rsplit_once('-')?;
    let made = suffix.len() == 10 && suffix.bytes().all(|byte| b"bcdfghkmt2456789".contains(&byte));
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    (made && !stem.is_empty()).then(|| format!("{group}/{kind}/{namespace}/{stem}").into())
}
