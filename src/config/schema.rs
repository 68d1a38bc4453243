//! The JSON Schema of the documents, as it is published and as the structural check walks it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, transform::RecursiveTransform};
use serde_json::{Value, json};

use super::raw::{ApplicationDocument, ControllerDocument};

/// The schema of an application's document.
pub(super) static APPLICATION: LazyLock<Schema> = LazyLock::new(schema_of::<ApplicationDocument>);

/// The schema of the controller's document.
pub(super) static CONTROLLER: LazyLock<Schema> = LazyLock::new(schema_of::<ControllerDocument>);

pub(super) fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(forbid_null))
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Takes `null` out of what may stand anywhere: absent is absent, and a name without a value is a mistake.
fn forbid_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(parts)) = object.get_mut("anyOf") else { return };
    parts.retain(|part| part.get("type").and_then(Value::as_str) != Some("null"));
    if let [Value::Object(only)] = parts.as_mut_slice() {
        let only = std::mem::take(only);
        object.remove("anyOf");
        for (name, value) in only {
            // A description beside the reference is the field's own and says more.
            object.entry(name).or_insert(value);
        }
    }
}

/// Returns the JSON Schema of every document that a configuration can hold.
pub fn schema() -> Value {
    let mut definitions = serde_json::Map::new();
    let mut documents = Vec::new();
    for (name, schema) in [("ControllerDocument", &*CONTROLLER), ("ApplicationDocument", &*APPLICATION)] {
        let mut schema = schema.as_value().clone();
        if let Some(object) = schema.as_object_mut() {
            object.remove("$schema");
            if let Some(Value::Object(inner)) = object.remove("$defs") {
                definitions.extend(inner.into_iter().map(|(name, schema)| (public(&name).to_owned(), schema)));
            }
        }
        definitions.insert(name.to_owned(), schema);
        documents.push(json!({ "$ref": format!("#/$defs/{name}") }));
    }
    definitions.values_mut().for_each(rename_references);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "holdfast configuration",
        "description": "One document of a holdfast configuration.",
        "oneOf": documents,
        "$defs": definitions,
    })
}

/// Our types are called raw where a validated one has the name; outside there is only what is written.
fn public(name: &str) -> &str {
    name.strip_prefix("Raw").unwrap_or(name)
}

fn rename_references(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{}", public(name));
            }
            fields.values_mut().for_each(rename_references);
        }
        Value::Array(items) => items.iter_mut().for_each(rename_references),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
