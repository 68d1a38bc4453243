//! The structural check: unknown fields, missing fields and values of the wrong kind, all of them at once.
//!
//! It walks a document along the JSON Schema of the raw types, which is the schema that is published: what an editor marks
//! and what the program refuses cannot drift apart. What is wrong is taken out of the document, so that the rest can still be
//! read and validated.

use schemars::Schema;
use serde_json::{Map, Value};

use super::error::Findings;
use super::tree::Field;

/// Checks a document against a schema and takes out what is wrong.
pub(super) fn check(value: &mut Value, schema: &Schema, findings: &mut Findings) {
    let checker = Checker { definitions: schema.get("$defs").and_then(Value::as_object) };
    checker.walk(value, schema.as_value(), &Field::default(), findings);
}

/// The schema of what may be anything.
static ANYTHING: Value = Value::Bool(true);

struct Checker<'a> {
    definitions: Option<&'a Map<String, Value>>,
}

impl<'a> Checker<'a> {
    /// Returns whether the value may stay.
    fn walk(&self, value: &mut Value, schema: &'a Value, at: &Field, findings: &mut Findings) -> bool {
        let alternatives = self.alternatives(schema);
        if value.is_null() {
            findings.add(at, "has no value", format!("write {}, or take the line out", expected(&alternatives)));
            return false;
        }
        let Some(schema) = pick(value, &alternatives) else {
            let (what, hint) = mismatch(value, &alternatives);
            findings.add(at, what, hint);
            return false;
        };
        match value {
            Value::Object(fields) => self.walk_fields(fields, schema, at, findings),
            Value::Array(items) => {
                let schema = schema.get("items").unwrap_or(&ANYTHING);
                let mut places = 0..;
                items.retain_mut(|item| {
                    let place = places.next().unwrap_or_default();
                    self.walk(item, schema, &at.index(place), findings)
                });
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        true
    }

    fn walk_fields(&self, fields: &mut Map<String, Value>, schema: &'a Value, at: &Field, findings: &mut Findings) {
        let known = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties").unwrap_or(&ANYTHING);
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for name in required.into_iter().filter(|name| !fields.contains_key(*name)) {
            let hint = known.and_then(|known| known.get(name)).map(|schema| self.advice(schema)).unwrap_or_default();
            findings.add(&at.key(name), "missing", hint);
        }
        fields.retain(|name, value| {
            let field = at.key(name.clone());
            match (known.and_then(|known| known.get(name)), rest) {
                (Some(schema), _) => self.walk(value, schema, &field, findings),
                (None, Value::Bool(false)) => {
                    findings.add(&field, "unknown field", suggestion(name, known));
                    false
                }
                (None, schema) => self.walk(value, schema, &field, findings),
            }
        });
    }

    /// Returns what a schema allows, references followed.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        let reference = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
        if let Some(name) = reference {
            let definition = self.definitions.and_then(|definitions| definitions.get(name));
            return definition.map(|schema| self.alternatives(schema)).unwrap_or_default();
        }
        let union = ["anyOf", "oneOf"].iter().find_map(|union| schema.get(union)?.as_array());
        union.map_or_else(|| vec![schema], |parts| parts.iter().flat_map(|part| self.alternatives(part)).collect())
    }

    fn advice(&self, schema: &'a Value) -> String {
        let expected = expected(&self.alternatives(schema));
        match schema.get("description").and_then(Value::as_str).and_then(|text| text.lines().next()) {
            Some(text) => format!("write {expected}: {}", text.trim_end_matches('.')),
            None => format!("write {expected}"),
        }
    }
}

/// Returns the alternative that a value is judged by, if one fits.
fn pick<'a>(value: &Value, alternatives: &[&'a Value]) -> Option<&'a Value> {
    let mut fitting = alternatives.iter().copied().filter(|schema| fits(value, schema));
    match value {
        // Of several kinds of mapping, the one that knows most of the names is meant.
        Value::Object(fields) => fitting.max_by_key(|schema| fields.keys().filter(|name| knows(schema, name)).count()),
        _ => fitting.next(),
    }
}

fn knows(schema: &Value, name: &str) -> bool {
    schema.get("properties").and_then(|known| known.get(name)).is_some()
}

fn fits(value: &Value, schema: &Value) -> bool {
    if let Some(constant) = schema.get("const") {
        return constant == value;
    }
    if let Some(listed) = schema.get("enum").and_then(Value::as_array) {
        return listed.contains(value);
    }
    match schema.get("type").and_then(Value::as_str) {
        None => true,
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("integer") => value.as_u64().is_some_and(|number| number <= largest(schema)),
        Some(_) => value.is_number(),
    }
}

fn largest(schema: &Value) -> u64 {
    match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => u32::MAX.into(),
        _ => u64::MAX,
    }
}

/// Says what is wrong with a value that no alternative fits, and what to do.
fn mismatch(value: &Value, alternatives: &[&Value]) -> (String, String) {
    let words = words(alternatives);
    let takes = |kind: &str| alternatives.iter().any(|schema| schema.get("type").and_then(Value::as_str) == Some(kind));
    let write = format!("write {}", expected(alternatives));
    match value {
        Value::String(text) if !words.is_empty() => {
            let close = closest(text, words.iter().copied());
            let hint = match close {
                Some(close) if words.len() == 1 => format!("did you mean `{close}`?"),
                Some(close) => format!("did you mean `{close}`? otherwise {write}"),
                None => write,
            };
            (format!("`{text}` is not one of the values it can have"), hint)
        }
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) && takes("integer") => {
            (format!("\"{text}\" is text, not a number"), "write it without quotes".to_owned())
        }
        Value::Number(number) if takes("integer") => {
            let why = if number.as_f64().is_some_and(|number| number < 0.0) {
                "is negative"
            } else if number.is_f64() {
                "is not a whole number"
            } else {
                "is too large"
            };
            (format!("{number} {why}"), write)
        }
        Value::Number(number) if takes("string") && titles(alternatives).next().is_none() => {
            (format!("{number} is a number, not text"), format!("write it in quotes: \"{number}\""))
        }
        other => (format!("{} stands here", found(other)), write),
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn words<'a>(alternatives: &[&'a Value]) -> Vec<&'a str> {
    let constants = alternatives.iter().filter_map(|schema| schema.get("const"));
    let listed = alternatives.iter().filter_map(|schema| schema.get("enum")?.as_array()).flatten();
    constants.chain(listed).filter_map(Value::as_str).collect()
}

fn titles<'a>(alternatives: &[&'a Value]) -> impl Iterator<Item = &'a str> {
    alternatives
        .iter()
        .filter(|schema| schema.get("type").and_then(Value::as_str) == Some("string"))
        .filter_map(|schema| schema.get("title")?.as_str())
}

/// Describes what may stand at a place.
fn expected(alternatives: &[&Value]) -> String {
    let mut parts = Vec::new();
    for schema in alternatives {
        if schema.get("const").is_some() || schema.get("enum").is_some() {
            continue;
        }
        parts.push(match (schema.get("title").and_then(Value::as_str), schema.get("type").and_then(Value::as_str)) {
            (Some(title), Some("string")) => {
                let example = schema.get("examples").and_then(|examples| examples.get(0)).and_then(Value::as_str);
                example.map_or_else(|| title.to_owned(), |example| format!("{title} such as `{example}`"))
            }
            (_, Some("string")) => "text".to_owned(),
            (_, Some("boolean")) => "`true` or `false`".to_owned(),
            (_, Some("integer" | "number")) => "a whole number from 0 on".to_owned(),
            (_, Some("array")) => "a list".to_owned(),
            (_, Some("object")) => mapping(schema),
            _ => "a value".to_owned(),
        });
    }
    parts.extend(words(alternatives).into_iter().map(|word| format!("`{word}`")));
    join(&parts, "or")
}

fn mapping(schema: &Value) -> String {
    let names = schema.get("properties").and_then(Value::as_object).map(|known| known.keys().collect::<Vec<_>>());
    match names {
        Some(names) if (1..=5).contains(&names.len()) => {
            format!("a mapping of {}", join(&names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>(), "and"))
        }
        _ => "a mapping".to_owned(),
    }
}

fn join(parts: &[String], word: &str) -> String {
    match parts {
        [] => "a value".to_owned(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} {word} {last}", some.join(", ")),
    }
}

/// Says what to do about a field that is not known.
fn suggestion(name: &str, known: Option<&Map<String, Value>>) -> String {
    if name == "<<" {
        return "merge keys are not read: write the fields out, or use an anchor for a whole value".to_owned();
    }
    let names = || known.into_iter().flat_map(Map::keys).map(String::as_str);
    match closest(name, names()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if names().next().is_none() => "nothing can be written here: take it out".to_owned(),
        None => {
            let list: Vec<String> = names().map(|name| format!("`{name}`")).collect();
            format!("take it out; known here: {}", list.join(", "))
        }
    }
}

/// Finds the word that was probably meant: the same but for case and separators, or at most a third of its letters off.
pub(super) fn closest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.replace(['_', '-', ' '], "").to_lowercase();
    let wanted = plain(written);
    let distance = |word: &str| strsim::damerau_levenshtein(&wanted, &plain(word));
    words
        .map(|word| (distance(word), word))
        .filter(|&(distance, word)| distance <= 2.max(word.len() / 3) && distance < word.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn what_was_probably_meant_is_found() {
        let words = ["deleteHalt", "deleteCap", "changeHalt", "settle"];
        assert_eq!(closest("delete_halt", words.into_iter()), Some("deleteHalt"));
        assert_eq!(closest("deletehalts", words.into_iter()), Some("deleteHalt"));
        assert_eq!(closest("setle", words.into_iter()), Some("settle"));
        assert_eq!(closest("colour", words.into_iter()), None);
        assert_eq!(closest("x", ["on", "a"].into_iter()), None, "a word of one letter is not one letter off");
    }
}
