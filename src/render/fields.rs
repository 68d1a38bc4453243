//! What changed inside a resource, for people, for shapes and for telling a version bump.
//!
//! YAML and JSON are compared by structure, other text by lines that share a key. Nothing here decides: a value that is
//! redacted or cut here is compared in full, as a digest, where it matters.

use serde_json::Value;

use super::lines;
use super::redact::{is_secret_file, is_secret_name, is_secret_value, redacted, shown};
use crate::core::resource::FieldChange;

/// Larger documents are compared by size alone: what people read, and what a cycle can afford.
const TEXT_MAX: usize = 256 * 1024;

/// More changes than anybody reads.
const CHANGES_MAX: usize = 50;

/// Deeper than any manifest; bounds recursion.
const DEPTH_MAX: usize = 100;

/// Lists what changed in a file at `path`, `None` being no file. Values that may be secrets are redacted, values are cut
/// at 200 characters, and after 50 changes the rest is counted.
pub fn field_changes(old: Option<&[u8]>, new: Option<&[u8]>, path: &str) -> Vec<FieldChange> {
    if old == new {
        return Vec::new();
    }
    let (before, after) = (old.unwrap_or_default(), new.unwrap_or_default());
    let all_secret = is_secret_file(path, before) || is_secret_file(path, after);
    let mut out = Out { changes: Vec::new(), total: 0, all_secret };
    match (text(before), text(after)) {
        (Some(a), Some(b)) => {
            let structured = old.is_some() && new.is_some() && structured(path, a, b, &mut out);
            // A change of comments alone is still a change of the file.
            if !structured || out.total == 0 {
                lines::compare(a, b, &mut |path, old, new| out.push(path, old, new));
            }
        }
        _ => {
            let size = |bytes: Option<&[u8]>| bytes.map(|bytes| format!("{} bytes", bytes.len()));
            out.changes.push(FieldChange { path: String::new(), old: size(old), new: size(new) });
            out.total = 1;
        }
    }
    if out.total == 0 {
        let size = |bytes: Option<&[u8]>| bytes.map(|bytes| format!("{} bytes", bytes.len()));
        out.changes.push(FieldChange { path: String::new(), old: size(old), new: size(new) });
    }
    out.finish()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= TEXT_MAX && !text.contains('\0'))
}

struct Out {
    changes: Vec<FieldChange>,
    total: usize,
    all_secret: bool,
}

impl Out {
    fn push(&mut self, path: String, old: Option<&str>, new: Option<&str>) {
        self.total += 1;
        if self.changes.len() == CHANGES_MAX {
            return;
        }
        let secret = self.all_secret || is_secret_name(&path) || [old, new].into_iter().flatten().any(is_secret_value);
        let show = |value: &str| if secret { redacted(value) } else { shown(value) };
        self.changes.push(FieldChange { path: shown(&path), old: old.map(show), new: new.map(show) });
    }

    fn finish(mut self) -> Vec<FieldChange> {
        let more = self.total.saturating_sub(self.changes.len());
        if more > 0 {
            // The last place goes to the count, so that there are never more than the limit.
            self.changes.pop();
            self.changes.push(FieldChange { path: format!("({} more)", more + 1), old: None, new: None });
        }
        self.changes
    }
}

/// Compares by structure where both sides have one; says whether it could.
fn structured(path: &str, old: &str, new: &str, out: &mut Out) -> bool {
    let lower = path.to_ascii_lowercase();
    let read: fn(&str) -> Option<Vec<Value>> = if lower.ends_with(".json") {
        |text| serde_json::from_str(text).ok().map(|value| vec![value])
    } else if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        documents
    } else {
        return false;
    };
    let (Some(olds), Some(news)) = (read(old), read(new)) else { return false };
    let several = olds.len().max(news.len()) > 1;
    for at in 0..olds.len().max(news.len()) {
        let pointer = if several { format!("/{at}") } else { String::new() };
        let secret = [olds.get(at), news.get(at)].into_iter().flatten().any(is_secret_kind);
        Compare { out, secret_below: secret }.values(&pointer, olds.get(at), news.get(at), 0, false);
    }
    true
}

fn documents(text: &str) -> Option<Vec<Value>> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).ok()).collect()
}

/// Kubernetes calls them so; their values have names of the user's choice.
fn is_secret_kind(document: &Value) -> bool {
    document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.contains("Secret"))
}

struct Compare<'a> {
    out: &'a mut Out,
    /// Whether `data` and `stringData` are secrets.
    secret_below: bool,
}

impl Compare<'_> {
    fn values(&mut self, pointer: &str, old: Option<&Value>, new: Option<&Value>, depth: usize, secret: bool) {
        if old == new {
            return;
        }
        match (old, new) {
            (Some(Value::Object(olds)), Some(Value::Object(news))) if depth < DEPTH_MAX => {
                let named = |map: &serde_json::Map<String, Value>| {
                    let name = ["name", "key"].iter().find_map(|key| map.get(*key).and_then(Value::as_str));
                    name.is_some_and(is_secret_name)
                };
                let named = named(olds) || named(news);
                let added = news.keys().filter(|key| !olds.contains_key(*key));
                for key in olds.keys().chain(added) {
                    let below = secret
                        || (named && key != "name" && key != "key")
                        || (self.secret_below && (key == "data" || key == "stringData"))
                        || is_secret_name(key);
                    let pointer = format!("{pointer}/{}", escaped(key));
                    self.values(&pointer, olds.get(key), news.get(key), depth + 1, below);
                }
            }
            (Some(Value::Array(olds)), Some(Value::Array(news))) if depth < DEPTH_MAX => {
                self.arrays(pointer, olds, news, depth, secret);
            }
            _ => self.leaf(pointer, old, new, secret),
        }
    }

    /// Skips what is equal at both ends, so that one element put in front does not change all others.
    fn arrays(&mut self, pointer: &str, olds: &[Value], news: &[Value], depth: usize, secret: bool) {
        let start = olds.iter().zip(news).take_while(|(a, b)| a == b).count();
        let (a, b) = (&olds[start..], &news[start..]);
        let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
        let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
        for at in 0..a.len().max(b.len()) {
            self.values(&format!("{pointer}/{}", start + at), a.get(at), b.get(at), depth + 1, secret);
        }
    }

    fn leaf(&mut self, pointer: &str, old: Option<&Value>, new: Option<&Value>, secret: bool) {
        // A value that is a whole structure may have secrets anywhere in it.
        let inside = [old, new].into_iter().flatten().any(has_secret);
        let show = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (old, new) = (old.map(show), new.map(show));
        let before = self.out.all_secret;
        self.out.all_secret |= secret || inside;
        self.out.push(pointer.to_owned(), old.as_deref(), new.as_deref());
        self.out.all_secret = before;
    }
}

fn has_secret(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            let named = ["name", "key"].iter().any(|k| map.get(*k).and_then(Value::as_str).is_some_and(is_secret_name));
            named || is_secret_kind(value) || map.iter().any(|(key, value)| is_secret_name(key) || has_secret(value))
        }
        Value::Array(values) => values.iter().any(has_secret),
        Value::String(text) => is_secret_value(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Escapes a key for a JSON pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
