//! From the bytes of a file to the objects in it, each of which is one resource.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Object;
use super::yaml::yaml;
use crate::core::effect_kubernetes as rules;

/// Says what is wrong with a file of manifests.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("document {document}: {problem}")]
pub struct ManifestError {
    /// Which document of the file, from 1.
    pub document: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Says what is wrong with one document, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// It does not parse.
    #[error("it does not parse: {0}")]
    Syntax(String),
    /// It is no mapping.
    #[error("it is no object; take it out of the source path, or write it as a manifest with apiVersion and kind")]
    NoObject,
    /// It does not say what it is.
    #[error("it has no {0}; take it out of the source path, or write it as a manifest with apiVersion and kind")]
    Missing(&'static str),
    /// A name that the server would refuse, or that is another's spelling.
    #[error("its {0} {1:?} is no name that an object can have")]
    Name(&'static str, String),
    /// Something for kustomize.
    #[error(
        "it is a kustomization; set `render: {{ kustomize: {{}} }}`, or name the directory of the manifests themselves"
    )]
    Kustomization,
    /// An object outside of namespaces that names one.
    #[error("it is of a kind outside of namespaces, and names the namespace {0:?}; take that out")]
    Namespaced(String),
    /// What kubectl would take for a list.
    #[error(
        "it has `items`, which makes it a list to kubectl, and its kind does not end in `List`: nothing but the items would be \
         read; take `items` out, or write the kind of the list"
    )]
    Items,
    /// A field of a wrong kind.
    #[error("its {0} is wrong: it must be {1}")]
    Field(&'static str, &'static str),
}

/// Nested lists are unfolded so deep.
const LISTS_DEEP: usize = 8;

/// Reads every object of a file, lists unfolded; empty documents are none.
///
/// # Errors
/// The first document that is no object, and why.
pub fn parse(bytes: &[u8], namespace: &str) -> Result<Vec<Object>, ManifestError> {
    let mut objects = Vec::new();
    for (document, value) in values(bytes)? {
        objects.push(Object::new(value, namespace).map_err(|problem| ManifestError { document, problem })?);
    }
    Ok(objects)
}

/// Reads what a file holds, lists unfolded, with the number of its document.
pub(super) fn values(bytes: &[u8]) -> Result<Vec<(usize, Value)>, ManifestError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        ManifestError { document: 1, problem: Problem::Syntax(format!("line {line}: it is not UTF-8: {error}")) }
    })?;
    let mut found = Vec::new();
    for (at, document) in yaml(text)?.into_iter().enumerate() {
        let document_number = at + 1;
        let fail = |problem| ManifestError { document: document_number, problem };
        if !document.is_null() {
            unfold(document, 0, &mut |value| found.push((document_number, value))).map_err(fail)?;
        }
    }
    Ok(found)
}

/// Unfolds lists as kubectl does: what has `items` is one, and what is in a typed one need not say its kind.
fn unfold(document: Value, depth: usize, found: &mut dyn FnMut(Value)) -> Result<(), Problem> {
    let Value::Object(mut map) = document else { return Err(Problem::NoObject) };
    let Some(items) = map.remove("items") else {
        found(Value::Object(map));
        return Ok(());
    };
    let (version, kind) = (map.remove("apiVersion"), map.remove("kind"));
    let of = kind.as_ref().and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
    let of = of.ok_or(Problem::Items)?.to_owned();
    let items = match items {
        Value::Null if depth == 0 => return Ok(()),
        Value::Array(items) if depth < LISTS_DEEP => items,
        _ => return Err(Problem::Field("items", "a list of objects, nested eight times at most")),
    };
    for mut item in items {
        let unnamed = |item: &Map<String, Value>| {
            let empty = |name: &str| item.get(name).and_then(Value::as_str).is_none_or(str::is_empty);
            empty("kind") && empty("apiVersion")
        };
        if let Some(item) = item.as_object_mut().filter(|item| depth == 0 && !of.is_empty() && unnamed(item)) {
            item.insert("kind".to_owned(), of.as_str().into());
            item.extend(version.clone().map(|version| ("apiVersion".to_owned(), version)));
        }
        unfold(item, depth + 1, found)?;
    }
    Ok(())
}

/// Returns the group and the kind of an object.
pub(super) fn kind_of(value: &Value) -> Result<(Arc<str>, Arc<str>), Problem> {
    let text = |name: &'static str| {
        let found = value.as_object().ok_or(Problem::NoObject)?.get(name).and_then(Value::as_str);
        found.filter(|text| !text.is_empty()).ok_or(Problem::Missing(name))
    };
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    if group == "kustomize.config.k8s.io" {
        return Err(Problem::Kustomization);
    }
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    if !plain(group, "-.") || version.matches('/').count() > 1 {
        return Err(Problem::Name("apiVersion", version.to_owned()));
    }
    if !plain(kind, "") {
        return Err(Problem::Name("kind", kind.to_owned()));
    }
    Ok((group.into(), kind.into()))
}

/// Returns the name of an object. Generated names would be others at each apply.
pub(super) fn name_of(value: &Value) -> Result<Arc<str>, Problem> {
    let name = value.pointer("/metadata/name");
    if name.is_some_and(|name| name.is_boolean() || name.is_number()) {
        return Err(Problem::Field("metadata.name", "a text: quote it (`y`, `on` and `no` are booleans)"));
    }
    let name = name.and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or(Problem::Missing("metadata.name (generateName would make another one at each apply)"))?;
    segment("name", name)?;
    Ok(name.into())
}

/// Kinds differ in what they take for a name; none takes what a path segment cannot be.
fn segment(what: &'static str, name: &str) -> Result<(), Problem> {
    let odd = |c: char| c == '/' || c == '%' || c.is_control() || c.is_whitespace();
    if name == "." || name == ".." || name.len() > 253 || name.contains(odd) {
        return Err(Problem::Name(what, name.to_owned()));
    }
    Ok(())
}

/// Puts an object of a kind that lives in namespaces into the default one, if it names none; returns its namespace.
///
/// Of kinds that only the server knows, what is written stands: the target knows where an object without a namespace goes.
pub(super) fn settle_namespace(value: &mut Value, group: &str, kind: &str, default: &str) -> Result<Arc<str>, Problem> {
    let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(Problem::Missing("metadata"));
    };
    let named = match metadata.get("namespace") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()).filter(|name| !name.is_empty()),
        Some(_) => return Err(Problem::Field("metadata.namespace", "a text")),
    };
    if let Some(name) = &named {
        segment("namespace", name)?;
    }
    match (rules::is_namespaced(group, kind), named) {
        (Some(false), Some(name)) => Err(Problem::Namespaced(name)),
        (Some(false), None) | (None, None) => {
            metadata.remove("namespace");
            Ok("".into())
        }
        (Some(true), None) => {
            metadata.insert("namespace".to_owned(), Value::String(default.to_owned()));
            Ok(default.into())
        }
        (_, Some(name)) => Ok(name.into()),
    }
}
