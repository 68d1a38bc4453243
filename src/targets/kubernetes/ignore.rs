//! Where drift is ignored inside an object (`drift.ignore` with `paths`): no part of its live digest, and left to whoever
//! else owns it by whatever is applied.
//!
//! A path is a JSON pointer. Into a list it goes by the item's number, by one of its values (`name=web`), or to all with `*`.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::object::{MANAGER, Object};
use super::project::Item;
use crate::core::resource::{Digest, Hasher};

/// Paths that are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Ignored(Vec<Vec<String>>);

/// What of the paths goes on below a step.
enum Below<'a> {
    /// All of it is ignored.
    All,
    /// Some of it may be.
    Some(Vec<&'a [String]>),
}

/// A step down an object: a field, or an item of a list with its number.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Item(usize, &'a Value),
}

impl Step<'_> {
    fn is(&self, wanted: &str) -> bool {
        match self {
            _ if wanted == "*" => true,
            Self::Field(name) => *name == wanted,
            Self::Item(at, item) => {
                wanted.parse() == Ok(*at)
                    || wanted.split_once('=').is_some_and(|(key, value)| match item.get(key) {
                        Some(Value::String(text)) => text == value,
                        Some(other) => serde_json::to_string(other).is_ok_and(|text| text == value),
                        None => false,
                    })
            }
        }
    }
}

fn below<'a>(paths: &[&'a [String]], step: Step<'_>) -> Below<'a> {
    let mut rest = Vec::new();
    for path in paths {
        match path.split_first() {
            Some((first, [])) if step.is(first) => return Below::All,
            Some((first, more)) if step.is(first) => rest.push(more),
            _ => {}
        }
    }
    Below::Some(rest)
}

impl Ignored {
    /// Reads JSON pointers.
    pub(super) fn of(paths: &[Arc<str>]) -> Self {
        let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
        let path = |path: &Arc<str>| path.split('/').skip(1).map(step).collect();
        Self(paths.iter().map(path).filter(|path: &Vec<String>| !path.is_empty()).collect())
    }

    fn paths(&self) -> Vec<&[String]> {
        self.0.iter().map(Vec::as_slice).collect()
    }

    /// Returns an object without what is ignored.
    pub(super) fn cut_out<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        if self.0.is_empty() {
            return Cow::Borrowed(object);
        }
        Cow::Owned(without(object, &self.paths()))
    }

    /// Returns a tree of owned fields without what is ignored of a live object.
    pub(super) fn cut_out_of<'a>(&self, fields: &'a Value, live: &Value) -> Cow<'a, Value> {
        if self.0.is_empty() {
            return Cow::Borrowed(fields);
        }
        Cow::Owned(tree_without(fields, Some(live), &self.paths()))
    }

    /// Makes a digest one of what is not ignored: with other paths the same is to be looked at again.
    pub(super) fn mark(&self, digest: Digest) -> Digest {
        if self.0.is_empty() {
            return digest;
        }
        let mut hash = Hasher::new();
        hash.part(b"ignoring").part(digest.as_bytes());
        for path in &self.0 {
            hash.part(&Digest::of_parts(path).as_bytes()[..]);
        }
        hash.finish()
    }

    /// Tells whether a place of a live object is ignored, by itself or with all that it is in.
    pub(super) fn has(&self, live: &Value, place: &[String]) -> bool {
        let (mut paths, mut value) = (self.paths(), Some(live));
        for name in place {
            let Some((step, child)) = step_to(name, value) else { return false };
            match below(&paths, step) {
                Below::All => return true,
                Below::Some(rest) => paths = rest,
            }
            value = child;
        }
        false
    }

    /// Takes out of what is wanted what is ignored and somebody else owns of the object that is there.
    pub(super) fn leave(&self, wanted: &mut Value, there: &Object) {
        if self.0.is_empty() {
            return;
        }
        // What `kubectl apply` owns is taken over with an adoption.
        let others = there.managers().filter(|manager| {
            manager.name != MANAGER && manager.subresource != "status" && !there.is_client_side_apply(manager)
        });
        let trees: Vec<&Value> = others.map(|manager| manager.fields).collect();
        leave(wanted, &trees, &self.paths());
    }
}

/// Tells whether a node of a tree owns all that is below it.
fn is_whole(fields: &Value) -> bool {
    fields.as_object().is_none_or(Map::is_empty)
}

/// Returns what a name of a tree of fields leads to, if it is known what that is.
fn step_to<'a>(name: &'a str, value: Option<&'a Value>) -> Option<(Step<'a>, Option<&'a Value>)> {
    if let Some(field) = name.strip_prefix("f:") {
        return Some((Step::Field(field), value.and_then(|value| value.get(field))));
    }
    let item = Item::parse(name);
    let (at, value) = value?.as_array()?.iter().enumerate().find(|(_, value)| item.is(value))?;
    Some((Step::Item(at, value), Some(value)))
}

fn without(value: &Value, paths: &[&[String]]) -> Value {
    if paths.is_empty() {
        return value.clone();
    }
    let keep = |step: Step<'_>, value: &Value| match below(paths, step) {
        Below::All => None,
        Below::Some(rest) => Some(without(value, &rest)),
    };
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter_map(|(name, value)| Some((name.clone(), keep(Step::Field(name), value)?)));
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().enumerate().filter_map(|(at, item)| keep(Step::Item(at, item), item)).collect())
        }
        other => other.clone(),
    }
}

fn tree_without(fields: &Value, live: Option<&Value>, paths: &[&[String]]) -> Value {
    let Some(map) = fields.as_object().filter(|_| !paths.is_empty()) else { return fields.clone() };
    let kept = map.iter().filter_map(|(name, node)| {
        let Some((step, value)) = step_to(name, live).filter(|_| name != ".") else {
            return Some((name.clone(), node.clone()));
        };
        match below(paths, step) {
            Below::All => None,
            Below::Some(rest) => {
                let kept = tree_without(node, value, &rest);
                // Empty it would be the whole of it.
                (is_whole(node) || !is_whole(&kept)).then(|| (name.clone(), kept))
            }
        }
    });
    Value::Object(kept.collect())
}

fn leave(wanted: &mut Value, trees: &[&Value], paths: &[&[String]]) {
    if trees.is_empty() || paths.is_empty() {
        return;
    }
    match wanted {
        Value::Object(map) => map.retain(|field, value| {
            let nodes = nodes(trees, |key| key.strip_prefix("f:") == Some(field));
            match below(paths, Step::Field(field)) {
                Below::All => nodes.is_empty(),
                Below::Some(rest) => {
                    leave(value, &nodes, &rest);
                    true
                }
            }
        }),
        Value::Array(items) => {
            let mut at = 0;
            items.retain_mut(|item| {
                let step = below(paths, Step::Item(at, item));
                let nodes = nodes(trees, |key| Item::parse(key).is(item));
                at += 1;
                match step {
                    Below::All => nodes.is_empty(),
                    Below::Some(rest) => {
                        leave(item, &nodes, &rest);
                        true
                    }
                }
            });
        }
        _ => {}
    }
}

/// Returns the nodes of trees a step further down. What is owned whole cannot be left in part.
fn nodes<'a>(trees: &[&'a Value], is: impl Fn(&str) -> bool) -> Vec<&'a Value> {
    let below = trees.iter().copied().filter_map(Value::as_object).flatten();
    below.filter(|(name, _)| is(name)).map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ignored(paths: &[&str]) -> Ignored {
        Ignored::of(&paths.iter().map(|path| Arc::from(*path)).collect::<Vec<_>>())
    }

    fn entry(manager: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsV1": fields})
    }

    #[test]
    fn what_is_ignored_is_no_part_of_the_digest_whoever_owns_it() {
        let ours = |replicas: bool, image: bool| {
            let mut item = json!({".": {}, "f:name": {}});
            if image {
                item["f:image"] = json!({});
            }
            let mut spec = json!({"f:paused": {}, "f:list": {"k:{\"name\":\"web\"}": item}});
            if replicas {
                spec["f:replicas"] = json!({});
            }
            json!({ "f:spec": spec })
        };
        let object = |replicas: u32, image: &str, fields: Value| {
            Object(json!({"metadata": {"uid": "u", "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}]},
                "spec": {"paused": false, "replicas": replicas, "list": [{"name": "side"}, {"name": "web", "image": image}]}}))
        };
        for by in ["/spec/list/1/image", "/spec/list/name=web/image", "/spec/list/*/image"] {
            let ignored = ignored(&["/spec/replicas", by]);
            let before = object(2, "a", ours(true, true)).digest(&ignored);
            assert_eq!(object(7, "b", ours(false, false)).digest(&ignored), before, "{by}");
            let mut other = object(2, "a", ours(true, true));
            other.0["spec"]["paused"] = json!(true);
            assert_ne!(other.digest(&ignored), before);
        }
        let none = Ignored::default();
        assert_ne!(object(7, "a", ours(true, true)).digest(&none), object(2, "a", ours(true, true)).digest(&none));
    }

    #[test]
    fn what_somebody_else_owns_of_it_is_left_to_him_and_nothing_else() {
        let scaler = entry("autoscaler", json!({"f:spec": {"f:replicas": {}, "f:min": {}}}));
        let tool =
            entry("tool", json!({"f:spec": {"f:list": {"k:{\"name\":\"web\"}": {"f:image": {}}}, "f:whole": {}}}));
        let there = Object(json!({"metadata": {"managedFields": [scaler, tool]}}));
        let wanted = json!({"spec": {"replicas": 2, "min": 1, "paused": false, "whole": {"a": 1, "b": 2},
            "list": [{"name": "web", "image": "a"}, {"name": "side", "image": "b"}]}});
        let mut left = wanted.clone();
        ignored(&["/spec/replicas", "/spec/paused", "/spec/list/*/image", "/spec/whole/a"]).leave(&mut left, &there);
        assert_eq!(
            left,
            json!({"spec": {"min": 1, "paused": false, "whole": {"a": 1, "b": 2},
            "list": [{"name": "web"}, {"name": "side", "image": "b"}]}})
        );
        let mut all = wanted.clone();
        Ignored::default().leave(&mut all, &there);
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_place_is_ignored_with_all_that_it_is_in() {
        let live = json!({"spec": {"list": [{"name": "web", "env": []}], "replicas": 1}});
        let place = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let item = place(&["f:spec", "f:list", "k:{\"name\":\"web\"}", "f:env"]);
        assert!(ignored(&["/spec/list/name=web"]).has(&live, &item) && ignored(&["/spec"]).has(&live, &item));
        assert!(!ignored(&["/spec/list/name=x", "/spec/list/0/env/0"]).has(&live, &item));
    }
}
