//! One form of one object: the same bytes for whatever means the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::Problem;
use crate::core::resource::Digest;

/// What only a server says in an object's metadata.
const SERVER_S: [&str; 6] = ["managedFields", "uid", "resourceVersion", "generation", "selfLink", "deletionTimestamp"];

/// Hashes a canonical form.
pub fn digest(canonical: &[u8]) -> Digest {
    Digest::of_parts([&b"object"[..], canonical])
}

/// Writes a value as JSON with sorted keys and nothing between.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                leaf(&Value::String(key.clone()), out);
                out.push(b':');
                write(&map[key], out);
            }
            out.push(b'}');
        }
        Value::Array(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(value, out);
            }
            out.push(b']');
        }
        leaf_value => leaf(leaf_value, out),
    }
}

fn leaf(value: &Value, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("values have text keys only, and memory does not fail");
}

/// Takes out what only a server says, and spells `stringData` as what the server stores (`KUBERNETES.md` 12).
pub(super) fn clean(value: &mut Value) -> Result<(), Problem> {
    let Some(object) = value.as_object_mut() else { return Err(Problem::NoObject) };
    object.remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in SERVER_S {
            metadata.remove(name);
        }
        if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
            metadata.remove("creationTimestamp");
        }
    }
    let secret = object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1");
    if secret { encode(object) } else { Ok(()) }
}

fn encode(secret: &mut Map<String, Value>) -> Result<(), Problem> {
    let plain = match secret.remove("stringData") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(plain)) => plain,
        Some(_) => return Err(Problem::Field("stringData", "a mapping from names to texts")),
    };
    let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let Some(data) = data.as_object_mut() else { return Err(Problem::Field("data", "a mapping")) };
    for (name, text) in plain {
        let Value::String(text) = text else { return Err(Problem::Field("stringData", "texts only: quote the value")) };
        data.insert(name, Value::String(STANDARD.encode(text)));
    }
    Ok(())
}
