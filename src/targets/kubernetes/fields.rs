//! Trees of owned fields (`fieldsV1`) and places in an object: what was ours and is not, who owns it, and how it is taken over.
//!
//! A place is a path of the names that a `fieldsV1` uses. Outside it is spelt as a JSON pointer whose steps into lists are
//! those names (`/spec/template/spec/containers/k:{"name":"web"}/env/k:{"name":"A"}`), and read back along a live object.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::ignore::Ignored;
use super::object::{MANAGER, Manager, Object};
use super::project::Item;
use crate::core::resource::{Fields, Hand, Leftover, Owner};

/// So many bytes of owned fields are remembered of an object; of one that has more, what it leaves over is not told.
const REMEMBERED: usize = 32 * 1024;

static NONE: Value = Value::Null;

/// A path of `fieldsV1` names.
pub(super) type Place = Vec<String>;

/// Spells what we own, in which version of the kind; nothing if that is too much to remember.
pub(super) fn spell(ours: &Manager<'_>) -> Option<String> {
    let spelt = format!("{} {}", ours.api_version, ours.fields);
    (spelt.len() <= REMEMBERED).then_some(spelt)
}

/// Reads what we owned, if it is of this version of the kind: another one may have other fields.
fn read(spelt: &str, api_version: &str) -> Option<Value> {
    let (version, fields) = spelt.split_once(' ')?;
    if version != api_version {
        return None;
    }
    serde_json::from_str(fields).ok()
}

/// Returns what of an object was ours before, is not now, and is still there, with whoever owns it. What somebody keeps
/// things of his own in is his; what is ignored is nobody's news.
pub(super) fn left_over(object: &Object, before: &Fields, ignored: &Ignored) -> Vec<Leftover> {
    let Some(ours) = object.ours() else { return Vec::new() };
    let mut places = BTreeSet::new();
    if let Some(owned) = read(&before.owned, ours.api_version) {
        lost(&owned, ours.fields, &object.0, &mut Vec::new(), &mut places);
    }
    let known = before.left.iter().filter_map(|pointer| parse(pointer, &object.0));
    places.extend(known.filter(|place| !covers(ours.fields, place)));
    let mut top: Vec<Place> = Vec::new();
    for place in places {
        // Sorted: what is above another comes first.
        if !top.iter().any(|above| place.starts_with(above)) {
            top.push(place);
        }
    }
    let left = top.into_iter().filter(|place| !ignored.has(&object.0, place)).filter_map(|place| {
        let owners = owners(object, &place)?;
        Some(Leftover { path: pointer(&place).into(), owners })
    });
    left.collect()
}

/// Collects what one tree has and another has not, where a live object still has it: fields, and items of lists.
fn lost(old: &Value, now: &Value, live: &Value, at: &mut Place, out: &mut BTreeSet<Place>) {
    for (name, below) in old.as_object().into_iter().flatten().filter(|(name, _)| *name != ".") {
        let Some(value) = child(live, name) else { continue };
        let leaf = is_leaf(below);
        at.push(name.clone());
        match now.get(name) {
            Some(now) if is_leaf(now) && now.get(".").is_none() => {}
            Some(now) => lost(below, now, value, at, out),
            None if leaf || (!name.starts_with("f:") && below.get(".").is_some()) => {
                out.insert(at.clone());
            }
            None => lost(below, &NONE, value, at, out),
        }
        at.pop();
    }
}

/// Tells whether nothing below a thing is owned apart from it.
fn is_leaf(fields: &Value) -> bool {
    fields.as_object().is_none_or(|fields| fields.keys().all(|name| name == "."))
}

/// Returns what a name leads to in a live value.
pub(super) fn child<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(field) = name.strip_prefix("f:") {
        return value.as_object()?.get(field);
    }
    let item = Item::parse(name);
    value.as_array()?.iter().find(|value| item.is(value))
}

/// Returns what is at a place of a live object.
pub(super) fn at<'a>(object: &'a Value, place: &[String]) -> Option<&'a Value> {
    place.iter().try_fold(object, |value, name| child(value, name))
}

/// Tells whether a tree has a place, something below it, or the whole of something above it.
fn covers(fields: &Value, place: &[String]) -> bool {
    let mut node = fields;
    for name in place {
        match node.get(name) {
            Some(below) => node = below,
            None => return !std::ptr::eq(node, fields) && node.as_object().is_some_and(Map::is_empty),
        }
    }
    true
}

/// Returns who owns a place; `None` if somebody only keeps things of his own in it.
fn owners(object: &Object, place: &[String]) -> Option<Vec<Owner>> {
    let item = place.last().is_some_and(|name| !name.starts_with("f:"));
    let mut owners: Vec<Owner> = Vec::new();
    for manager in object.managers().filter(|manager| manager.name != MANAGER && manager.subresource != "status") {
        if !covers(manager.fields, place) {
            continue;
        }
        let node = place.iter().try_fold(manager.fields, |node, name| node.get(name));
        if !item && node.is_some_and(|node| !is_leaf(node)) {
            return None;
        }
        let hand = match () {
            () if manager.applies || object.is_client_side_apply(&manager) => Hand::Applies,
            () if manager.is_interactive() => Hand::Person,
            () if !manager.subresource.is_empty() => Hand::Runs,
            () => Hand::Updates,
        };
        let owner = Owner { name: manager.name.into(), hand };
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    Some(owners)
}

/// Spells a place.
pub(super) fn pointer(place: &[String]) -> String {
    let step = |name: &String| {
        let name = name.strip_prefix("f:").unwrap_or(name);
        format!("/{}", name.replace('~', "~0").replace('/', "~1"))
    };
    place.iter().map(step).collect()
}

/// Reads a place along a live object; nothing if it is not there.
pub(super) fn parse(pointer: &str, object: &Value) -> Option<Place> {
    let mut value = object;
    let mut place = Place::new();
    for step in pointer.strip_prefix('/')?.split('/') {
        let step = step.replace("~1", "/").replace("~0", "~");
        let name = if value.is_array() { step } else { format!("f:{step}") };
        value = child(value, &name)?;
        place.push(name);
    }
    Some(place)
}

/// Makes the tree that has these places and nothing else.
pub(super) fn tree<'a>(places: impl IntoIterator<Item = &'a Place>) -> Value {
    let mut tree = json!({});
    for place in places {
        give(&mut tree, place, json!({}));
    }
    tree
}

/// Makes the removal of places as a JSON patch, last items of lists first.
pub(super) fn removal(object: &Value, places: &[Place]) -> Vec<Value> {
    let mut paths: Vec<Vec<(usize, String)>> = places.iter().filter_map(|place| indexed(object, place)).collect();
    paths.sort();
    let spell = |path: &Vec<(usize, String)>| path.iter().map(|(_, step)| format!("/{step}")).collect::<String>();
    paths.iter().rev().map(|path| json!({ "op": "remove", "path": spell(path) })).collect()
}

/// Spells a place as a JSON pointer of today's object; numbers come along so that they sort as numbers.
fn indexed(object: &Value, place: &[String]) -> Option<Vec<(usize, String)>> {
    let mut value = object;
    let mut path = Vec::new();
    for name in place {
        let step = match (name.strip_prefix("f:"), value) {
            (None, Value::Array(items)) => {
                let item = Item::parse(name);
                let index = items.iter().position(|value| item.is(value))?;
                (index, index.to_string())
            }
            (Some(field), _) => (0, field.replace('~', "~0").replace('/', "~1")),
            _ => return None,
        };
        value = child(value, name)?;
        path.push(step);
    }
    Some(path)
}

/// Returns `managedFields` with places that are ours alone.
///
/// # Errors
/// Why that cannot be, for people.
pub(super) fn taken(object: &Object, places: &[Place]) -> Result<Vec<Value>, Arc<str>> {
    let entries = object.0.pointer("/metadata/managedFields").and_then(Value::as_array);
    let ours = object.ours().ok_or("nothing of it is ours")?;
    let mut kept = Vec::new();
    for (entry, manager) in entries.into_iter().flatten().zip(object.managers()) {
        let mut entry = entry.clone();
        let fields = entry.get_mut("fieldsV1").ok_or("its managedFields are not understood")?;
        if manager.is_ours() {
            places.iter().for_each(|place| give(fields, place, json!({})));
            kept.push(entry);
            continue;
        }
        for place in places.iter().filter(|place| covers(manager.fields, place)) {
            if manager.api_version != ours.api_version || !manager.subresource.is_empty() {
                let why = format!("{} owns {} in another version or part of it", manager.name, pointer(place));
                return Err(why.into());
            }
            if !take(fields, place) {
                return Err(format!("{} owns the whole of what {} is in", manager.name, pointer(place)).into());
            }
        }
        if fields.as_object().is_some_and(|fields| !fields.is_empty()) {
            kept.push(entry);
        }
    }
    Ok(kept)
}

/// Adds a place to a tree: a thing of a list as itself, anything else as the whole of it.
fn give(tree: &mut Value, place: &[String], below: Value) {
    let (Some((first, rest)), Some(map)) = (place.split_first(), tree.as_object_mut()) else { return };
    let fresh = if first.starts_with("f:") { below.clone() } else { json!({ ".": {} }) };
    let node = map.entry(first.clone()).or_insert(fresh);
    give(node, rest, below);
}

/// Takes a place and what is below it from a tree, and what is empty then; tells whether it was there.
fn take(tree: &mut Value, place: &[String]) -> bool {
    let (Some((first, rest)), Some(map)) = (place.split_first(), tree.as_object_mut()) else { return false };
    if rest.is_empty() {
        return map.remove(first).is_some();
    }
    let Some(node) = map.get_mut(first) else { return false };
    if !take(node, rest) {
        return false;
    }
    // Empty it would be the whole of it.
    if node.as_object().is_some_and(Map::is_empty) {
        map.remove(first);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn object(spec: Value, entries: &[Value]) -> Object {
        Object(json!({"metadata": {"managedFields": entries}, "spec": spec}))
    }

    fn before(fields: &Value, left: &[&str]) -> Fields {
        Fields { owned: format!("v1 {fields}").into(), left: left.iter().map(|path| (*path).into()).collect() }
    }

    fn told(object: &Object, before: &Fields) -> Vec<(String, Vec<Hand>)> {
        let left = left_over(object, before, &Ignored::default()).into_iter();
        left.map(|left| (left.path.to_string(), left.owners.iter().map(|owner| owner.hand).collect())).collect()
    }

    #[test]
    fn what_was_ours_and_is_still_there_is_left_over_with_its_owners() {
        let old = json!({"f:spec": {"f:a": {}, "f:b": {}, "f:gone": {}, "f:list": {
            "k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:v": {}}, "k:{\"name\":\"y\"}": {".": {}, "f:name": {}, "f:v": {}}}}});
        let ours = json!({"f:spec": {"f:a": {}, "f:list": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}}}}});
        let spec = json!({"a": 1, "b": 2, "list": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]});
        let edited = entry("kubectl-edit", "Update", json!({"f:spec": {"f:b": {}}}));
        let other = entry("other", "Apply", json!({"f:spec": {"f:list": {"k:{\"name\":\"y\"}": {"f:v": {}}}}}));
        let it = object(spec, &[entry(MANAGER, "Apply", ours), edited, other]);
        let all = told(&it, &before(&old, &[]));
        let expected = [
            ("/spec/b", vec![Hand::Person]),
            ("/spec/list/k:{\"name\":\"x\"}/v", vec![]),
            ("/spec/list/k:{\"name\":\"y\"}", vec![Hand::Applies]),
        ];
        assert_eq!(all, expected.map(|(path, hands)| (path.to_owned(), hands)));
        // Of what was noted the same is told as long as it is there, and not ours again.
        let noted = before(&json!({}), &["/spec/b", "/spec/a", "/spec/gone", "/spec/list/k:{\"name\":\"y\"}"]);
        let paths: Vec<String> = told(&it, &noted).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["/spec/b", "/spec/list/k:{\"name\":\"y\"}"]);
        // In another version of the kind the fields may be others.
        let elsewhere = Fields { owned: format!("v2 {old}").into(), left: Vec::new() };
        assert!(left_over(&it, &elsewhere, &Ignored::default()).is_empty());
    }

    #[test]
    fn what_others_keep_their_own_things_in_is_theirs() {
        let old = json!({"f:metadata": {"f:annotations": {}, "f:labels": {".": {}, "f:a": {}}}});
        let theirs = json!({"f:metadata": {"f:annotations": {".": {}, "f:revision": {}}}});
        let it = Object(json!({"metadata": {"annotations": {"revision": "1"}, "labels": {"b": "1"},
            "managedFields": [entry(MANAGER, "Apply", json!({"f:data": {}})), entry("controller", "Update", theirs)]}}));
        assert!(left_over(&it, &before(&old, &[]), &Ignored::default()).is_empty());
    }

    #[test]
    fn places_are_taken_from_everybody_and_are_ours_alone_then() {
        let theirs = json!({"f:spec": {"f:b": {}, "f:list": {"k:{\"name\":\"y\"}": {"f:v": {}}}}, "f:data": {}});
        let ours = json!({"f:spec": {"f:a": {}}});
        let spec = json!({"a": 1, "b": 2, "list": [{"name": "x"}, {"name": "y", "v": 2}]});
        let it = object(spec, &[entry(MANAGER, "Apply", ours), entry("kubectl-edit", "Update", theirs)]);
        let places: Vec<Place> =
            ["/spec/b", "/spec/list/k:{\"name\":\"y\"}"].iter().filter_map(|path| parse(path, &it.0)).collect();
        let now = taken(&it, &places).unwrap();
        let mine = json!({"f:spec": {"f:a": {}, "f:b": {}, "f:list": {"k:{\"name\":\"y\"}": {".": {}}}}});
        assert_eq!(now, [entry(MANAGER, "Apply", mine), entry("kubectl-edit", "Update", json!({"f:data": {}}))]);
        let removed = removal(&it.0, &places);
        assert_eq!(
            removed,
            [json!({"op": "remove", "path": "/spec/list/1"}), json!({"op": "remove", "path": "/spec/b"})]
        );
        // A whole that somebody owns is not taken apart.
        let whole = object(
            json!({"b": 1}),
            &[entry(MANAGER, "Apply", json!({"f:x": {}})), entry("x", "Update", json!({"f:spec": {}}))],
        );
        assert!(taken(&whole, &[vec!["f:spec".to_owned(), "f:b".to_owned()]]).is_err());
    }
}
