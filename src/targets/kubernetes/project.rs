//! The projection of an object on a manager's fields: what is ours of it, in live order.
//!
//! A `fieldsV1` is a tree of what a manager owns: `f:NAME` a field, `k:{…}` an item of a list by its keys, `v:…` an item of
//! a set by its value, `.` the thing itself. The live digest hashes the uid, that tree, and the live values at exactly
//! those places. Nothing here knows a schema, a default or a quantity: two projections are equal or they are not.

use serde_json::{Map, Value};

use crate::core::resource::{Digest, Hasher};

/// Hashes what is ours of an object.
pub(super) fn digest(uid: &str, object: &Value, fields: &Value) -> Digest {
    let mut hash = Hasher::new();
    hash.part(b"ours").part(uid.as_bytes()).part(&bytes_of(fields)).part(&projection(object, fields));
    hash.finish()
}

/// Hashes an object of which nothing is ours: all of it but what changes by itself.
pub(super) fn foreign_digest(uid: &str, object: &Value) -> Digest {
    let mut whole = object.clone();
    if let Value::Object(map) = &mut whole {
        map.remove("status");
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            for name in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(name);
            }
        }
    }
    let mut hash = Hasher::new();
    hash.part(b"theirs").part(uid.as_bytes()).part(&bytes_of(&whole));
    hash.finish()
}

/// Spells the live values at a manager's fields, unambiguously.
pub(super) fn projection(object: &Value, fields: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    spell(Some(object), fields, &mut out);
    out
}

fn bytes_of(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value is JSON")
}

fn spell_value(value: Option<&Value>, out: &mut Vec<u8>) {
    match value {
        None => out.push(b'~'),
        Some(value) => serde_json::to_writer(out, value).expect("memory takes what is written to it"),
    }
}

fn spell(value: Option<&Value>, fields: &Value, out: &mut Vec<u8>) {
    let none = Map::new();
    let fields = fields.as_object().unwrap_or(&none);
    let itself = fields.contains_key(".");
    let mut below = fields.iter().filter(|(name, _)| *name != ".").peekable();
    if below.peek().is_none() {
        // Of a `.` alone the existence is ours, not the content.
        return match (itself, value) {
            (true, Some(_)) => out.push(b'!'),
            (_, value) => spell_value(value, out),
        };
    }
    match value {
        Some(Value::Object(map)) if fields.keys().all(|name| name == "." || name.starts_with("f:")) => {
            out.push(b'{');
            for (name, below) in below {
                let name = &name[2..];
                spell_key(name, out);
                spell(map.get(name), below, out);
            }
            out.push(b'}');
        }
        Some(Value::Array(items)) => {
            let keys: Vec<(Item, &str, &Value)> =
                below.map(|(name, below)| (Item::parse(name), name.as_str(), below)).collect();
            out.push(b'[');
            for item in items {
                for (key, name, below) in &keys {
                    match key {
                        Item::Keys(keys) if has_keys(item, keys) => {
                            spell_key(name, out);
                            spell(Some(item), below, out);
                        }
                        Item::Value(value) if item == value => spell_key(name, out),
                        Item::Index => {
                            spell_key(name, out);
                            spell_value(Some(item), out);
                        }
                        _ => {}
                    }
                }
            }
            out.push(b']');
        }
        other => spell_value(other, out),
    }
}

fn spell_key(name: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, name).expect("memory takes what is written to it");
    out.push(b':');
}

/// How a `fieldsV1` names an item of a list.
pub(super) enum Item {
    Keys(Map<String, Value>),
    Value(Value),
    Index,
    Unknown,
}

impl Item {
    pub(super) fn parse(name: &str) -> Self {
        let (how, rest) = name.split_at_checked(2).unwrap_or((name, ""));
        match (how, serde_json::from_str(rest)) {
            ("k:", Ok(Value::Object(keys))) => Self::Keys(keys),
            ("v:", Ok(value)) => Self::Value(value),
            ("i:", _) => Self::Index,
            _ => Self::Unknown,
        }
    }

    /// Tells whether it names this item by itself; by a place in the list none is.
    pub(super) fn is(&self, item: &Value) -> bool {
        match self {
            Self::Keys(keys) => has_keys(item, keys),
            Self::Value(value) => item == value,
            Self::Index | Self::Unknown => false,
        }
    }
}

fn has_keys(item: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter().all(|(name, value)| item.get(name) == Some(value))
}

/// Cuts an object down to a manager's fields, for people: items of lists in live order.
pub(super) fn cut(value: &Value, fields: &Value) -> Value {
    let none = Map::new();
    let fields = fields.as_object().unwrap_or(&none);
    if fields.keys().all(|name| name == ".") {
        return value.clone();
    }
    match value {
        Value::Object(map) => {
            let cut_field = |(name, below): (&String, &Value)| {
                let name = name.strip_prefix("f:")?;
                Some((name.to_owned(), cut(map.get(name)?, below)))
            };
            Value::Object(fields.iter().filter_map(cut_field).collect())
        }
        Value::Array(items) => {
            let keys: Vec<(Item, &Value)> = fields.iter().map(|(name, below)| (Item::parse(name), below)).collect();
            let cut_item = |item: &Value| {
                keys.iter().find_map(|(key, below)| match key {
                    Item::Keys(keys) if has_keys(item, keys) => {
                        let mut part = cut(item, below);
                        if let Value::Object(map) = &mut part {
                            map.extend(keys.clone());
                        }
                        Some(part)
                    }
                    Item::Value(value) if item == value => Some(item.clone()),
                    Item::Index => Some(item.clone()),
                    _ => None,
                })
            };
            Value::Array(items.iter().filter_map(cut_item).collect())
        }
        other => other.clone(),
    }
}

/// Cuts an object down to a manager's fields, to nothing where it has none.
pub(super) fn cut_if_any(value: &Value, fields: &Value) -> Value {
    if fields.is_null() { Value::Null } else { cut(value, fields) }
}

/// Adds to one part of an object what another part of the same object has besides; lists are taken whole, the longer one.
pub(super) fn lay_over(part: &mut Value, more: Value) {
    match (part, more) {
        (Value::Object(part), Value::Object(more)) => {
            for (name, value) in more {
                match part.get_mut(&name) {
                    Some(below) => lay_over(below, value),
                    None => {
                        part.insert(name, value);
                    }
                }
            }
        }
        (Value::Array(part), Value::Array(more)) if more.len() > part.len() => *part = more,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(object: &Value, fields: &Value) -> String {
        String::from_utf8(projection(object, fields)).unwrap()
    }

    #[test]
    fn what_is_not_ours_changes_nothing_and_what_is_does() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:list": {"k:{\"name\":\"a\"}": {".": {}, "f:v": {}}}}});
        let object =
            json!({"spec": {"replicas": 2, "paused": false, "list": [{"name": "a", "v": 1, "w": 1}, {"name": "b"}]}});
        let ours = of(&object, &fields);
        assert_eq!(ours, r#"{"spec":{"list":["k:{\"name\":\"a\"}":{"v":1}]"replicas":2}}"#);
        for (pointer, value, same) in [
            ("/spec/paused", json!(true), true),
            ("/spec/list/0/w", json!(2), true),
            ("/spec/list/1/name", json!("c"), true),
            ("/spec/replicas", json!(3), false),
            ("/spec/list/0/v", json!("1"), false),
            ("/spec/list/0/name", json!("z"), false),
        ] {
            let mut changed = object.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_eq!(of(&changed, &fields) == ours, same, "{pointer}");
        }
    }

    #[test]
    fn the_order_of_our_items_is_ours() {
        let fields = json!({"k:{\"p\":1}": {}, "k:{\"p\":2}": {}, "v:\"x\"": {}});
        let (a, b, c) =
            (json!([{"p": 1}, {"p": 3}, {"p": 2}]), json!([{"p": 2}, {"p": 1}]), json!([{"p": 1}, {"p": 2}]));
        assert_ne!(of(&a, &fields), of(&b, &fields));
        assert_eq!(of(&a, &fields), of(&c, &fields));
    }

    #[test]
    fn absent_null_and_present_are_told_apart() {
        let leaf = json!({"f:a": {}});
        let said: Vec<String> =
            [json!({}), json!({"a": null}), json!({"a": {}})].iter().map(|o| of(o, &leaf)).collect();
        assert_eq!(said, [r#"{"a":~}"#, r#"{"a":null}"#, r#"{"a":{}}"#]);
        // Of a thing itself only its existence is ours.
        let itself = json!({"f:a": {".": {}}});
        assert_eq!(of(&json!({"a": {"x": 1}}), &itself), of(&json!({"a": {}}), &itself));
        assert_ne!(of(&json!({}), &itself), of(&json!({"a": {}}), &itself));
    }

    #[test]
    fn what_people_see_is_cut_to_what_is_ours() {
        let fields = json!({"f:spec": {"f:ports": {"k:{\"port\":80}": {".": {}, "f:name": {}}}, "f:type": {}}});
        let object = json!({"spec": {"type": "A", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "name": "x", "nodePort": 3}, {"port": 1}]}});
        assert_eq!(cut(&object, &fields), json!({"spec": {"type": "A", "ports": [{"port": 80, "name": "x"}]}}));
    }
}
