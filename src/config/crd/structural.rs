//! From a JSON Schema as `schemars` makes it to a structural one: every node says its type, nothing refers elsewhere.
//!
//! A union of a mapping and something else has no structural form. Such a node keeps what it is given, says which words and
//! numbers it takes, and the controller validates the rest (the application is `Stalled` with every error then).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Converts a schema with its `$defs`.
pub(super) fn convert(root: &Value) -> Value {
    let none = Map::new();
    let definitions = root.get("$defs").and_then(Value::as_object).unwrap_or(&none);
    Converter { definitions }.node(root)
}

struct Converter<'a> {
    definitions: &'a Map<String, Value>,
}

impl Converter<'_> {
    fn node(&self, schema: &Value) -> Value {
        let alternatives = self.alternatives(schema);
        let mut node = match alternatives.as_slice() {
            [one] => self.single(one),
            several => self.union(several),
        };
        // The field's own description says more than its type's.
        let described = [Some(schema), alternatives.first().copied()].into_iter().flatten();
        let description = described.filter_map(|schema| schema.get("description").and_then(Value::as_str)).next();
        if let (Some(text), Some(node)) = (description, node.as_object_mut()) {
            node.insert("description".to_owned(), json!(one_line(text)));
        }
        node
    }

    /// Returns what a schema allows, references followed.
    fn alternatives<'s>(&'s self, schema: &'s Value) -> Vec<&'s Value> {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(definition) = reference.and_then(|name| self.definitions.get(name)) {
            return self.alternatives(definition);
        }
        let union = ["anyOf", "oneOf"].iter().find_map(|union| schema.get(union)?.as_array());
        union.map_or_else(|| vec![schema], |parts| parts.iter().flat_map(|part| self.alternatives(part)).collect())
    }

    /// Converts what has one kind.
    fn single(&self, schema: &Value) -> Value {
        if let Some(words) = words(&[schema]) {
            return json!({ "type": "string", "enum": words });
        }
        match kind(schema) {
            "object" => self.object(schema),
            "array" => {
                let items = schema.get("items").map_or_else(anything, |items| self.node(items));
                json!({ "type": "array", "items": items })
            }
            "integer" => integer(schema),
            kind @ ("string" | "boolean" | "number") => {
                let mut node = json!({ "type": kind });
                for known in ["pattern", "format", "minLength", "maxLength"] {
                    if let Some(value) = schema.get(known).filter(|value| **value != "double") {
                        node[known] = value.clone();
                    }
                }
                node
            }
            _ => anything(),
        }
    }

    fn object(&self, schema: &Value) -> Value {
        let mut node = json!({ "type": "object" });
        if let Some(known) = schema.get("properties").and_then(Value::as_object) {
            let fields = known.iter().map(|(name, schema)| (name.clone(), self.node(schema)));
            node["properties"] = Value::Object(fields.collect());
            if let Some(required) = schema.get("required") {
                node["required"] = required.clone();
            }
            return node;
        }
        match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => node["additionalProperties"] = self.node(values),
            // A mapping without fields, such as `plain: {}`.
            Some(Value::Bool(false)) => {}
            _ => node["x-kubernetes-preserve-unknown-fields"] = json!(true),
        }
        node
    }

    /// Converts what may be of several kinds.
    fn union(&self, alternatives: &[&Value]) -> Value {
        let kinds: BTreeSet<&str> = alternatives.iter().map(|schema| kind(schema)).collect();
        let words = words(alternatives);
        if kinds.len() == 1 && kinds.contains("string") && words.is_some() {
            return json!({ "type": "string", "enum": words });
        }
        let mut node = if kinds == BTreeSet::from(["integer", "string"]) {
            json!({ "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] })
        } else {
            json!({ "x-kubernetes-preserve-unknown-fields": true })
        };
        // Each of these holds for values of its kind alone.
        let strings: Vec<&Value> = alternatives.iter().copied().filter(|schema| kind(schema) == "string").collect();
        if let Some(words) = self::words(&strings).filter(|words| !words.is_empty()) {
            node["pattern"] = json!(format!("^({})$", words.join("|")));
        }
        if let Some(number) = alternatives.iter().find(|schema| kind(schema) == "integer") {
            let bounds = integer(number);
            for bound in ["minimum", "maximum"] {
                if let Some(value) = bounds.get(bound) {
                    node[bound] = value.clone();
                }
            }
        }
        if let Some(fields) = alternatives.iter().find(|schema| schema.get("properties").is_some()) {
            node["properties"] = self.object(fields)["properties"].clone();
        }
        node
    }
}

/// What may be anything, kept as it is given.
fn anything() -> Value {
    json!({ "x-kubernetes-preserve-unknown-fields": true })
}

fn kind(schema: &Value) -> &str {
    let worded = schema.get("const").is_some() || schema.get("enum").is_some();
    schema.get("type").and_then(Value::as_str).unwrap_or(if worded { "string" } else { "" })
}

/// Returns the words that are listed, if there is nothing but words.
fn words(alternatives: &[&Value]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for schema in alternatives {
        let listed = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        let listed = listed.or_else(|| schema.get("const").map(std::slice::from_ref))?;
        words.extend(listed.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    Some(words)
}

/// Converts a number: formats that Kubernetes does not know become bounds.
fn integer(schema: &Value) -> Value {
    let mut node = json!({ "type": "integer", "format": "int64" });
    match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => (node["minimum"], node["maximum"]) = (json!(0), json!(u32::MAX)),
        Some("uint64") => node["minimum"] = json!(0),
        Some(format @ "int32") => node["format"] = json!(format),
        _ => {}
    }
    node
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
