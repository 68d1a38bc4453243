//! From the bytes of a file to the objects in it, read as the API server reads YAML.

use std::sync::Arc;

use serde_json::Value;

use super::Object;
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
    /// A field of a wrong kind.
    #[error("its {0} is wrong: it must be {1}")]
    Field(&'static str, &'static str),
}

/// Anchors and aliases in manifests are few; a document that unfolds into a million values is an attack.
const NODES_MAX: usize = 1_000_000;

/// Nested lists are unfolded so deep.
const LISTS_DEEP: usize = 8;

/// Reads every object of a file, lists unfolded; empty documents are none. `json` tells the format.
///
/// # Errors
/// The first document that is no object, and why.
pub fn parse(bytes: &[u8], json: bool, namespace: &str) -> Result<Vec<Object>, ManifestError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ManifestError { document: 1, problem: Problem::Syntax(error.to_string()) })?;
    let documents = if json { json_documents(text) } else { yaml_documents(text) }?;
    let mut objects = Vec::new();
    for (at, document) in documents.into_iter().enumerate() {
        unfold(document, namespace, 0, &mut objects).map_err(|problem| ManifestError { document: at + 1, problem })?;
    }
    Ok(objects)
}

fn json_documents(text: &str) -> Result<Vec<Value>, ManifestError> {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    documents
        .enumerate()
        .map(|(at, document)| {
            document.map_err(|error| ManifestError { document: at + 1, problem: Problem::Syntax(error.to_string()) })
        })
        .collect()
}

/// YAML 1.1 as the API server's own reader takes it: `0777` is octal, `yes` is a boolean, a repeated key is an error.
fn yaml_documents(text: &str) -> Result<Vec<Value>, ManifestError> {
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    options.strict_booleans = false;
    options.with_snippet = false;
    let mut budget = serde_saphyr::Budget::default();
    budget.max_nodes = NODES_MAX;
    options.budget = Some(budget);
    serde_saphyr::from_multiple_with_options::<Value>(text, options).map_err(|error| {
        let said = error.to_string();
        let line = error.location().map_or(0, |location| location.line() as usize);
        // The documents that end before the one that is wrong.
        let before = text.lines().take(line.saturating_sub(1)).filter(|line| line.trim_end() == "---").count();
        let first = usize::from(!text.trim_start().starts_with("---"));
        let document = (before + first).max(1);
        ManifestError { document, problem: Problem::Syntax(said.lines().next().unwrap_or_default().to_owned()) }
    })
}

fn unfold(document: Value, namespace: &str, depth: usize, objects: &mut Vec<Object>) -> Result<(), Problem> {
    match document {
        Value::Null => Ok(()),
        Value::Object(mut map) => {
            let is_list = map.get("apiVersion").and_then(Value::as_str) == Some("v1")
                && map.get("kind").and_then(Value::as_str) == Some("List");
            if !is_list {
                objects.push(Object::new(Value::Object(map), namespace)?);
                return Ok(());
            }
            match map.remove("items") {
                Some(Value::Array(items)) if depth < LISTS_DEEP => {
                    items.into_iter().try_for_each(|item| unfold(item, namespace, depth + 1, objects))
                }
                None | Some(Value::Null) => Ok(()),
                Some(_) => Err(Problem::Field("items", "a list of objects, nested eight times at most")),
            }
        }
        _ => Err(Problem::NoObject),
    }
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
    let name = value.pointer("/metadata/name").and_then(Value::as_str).filter(|name| !name.is_empty());
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
