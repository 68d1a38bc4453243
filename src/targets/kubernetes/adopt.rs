//! Takes over what others owned, so that an apply lets it go: what `kubectl apply` declared, and what is left over.
//!
//! A server prunes what only we own. The entry of `kubectl apply` becomes ours with an adoption, so that what a commit drops
//! is pruned from then on; what is left over becomes ours alone right before the apply that takes it away.

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use super::Shared;
use super::apply::{Wanted, send};
use super::client::{Asks, Request, escaped};
use super::fields::{self, Place};
use super::object::{MANAGER, Object, read_version};
use super::observe::get;
use super::write::{Undone, lost, refused, version_after};
use crate::core::resource::Version;

/// Rewrites the entry of `kubectl apply`, if there is one; returns the version that this leads to.
pub(super) async fn take_over(shared: &Shared, wanted: &Wanted, version: &Version) -> Result<Option<Version>, Undone> {
    // If it moved, the apply that follows says so.
    let Some(object) = as_it_was(shared, wanted, version).await else { return Ok(None) };
    match rewritten(&object) {
        Some(entries) => rewrite(shared, wanted, &object, &entries).await,
        None => Ok(None),
    }
}

/// Makes what is left over ours alone, so that the apply that follows lets it go; returns the version that this leads to.
pub(super) async fn reclaim(
    shared: &Shared,
    wanted: &Wanted,
    version: &Version,
    paths: &[Arc<str>],
) -> Result<Version, Undone> {
    let object = as_it_was(shared, wanted, version).await;
    let object = object.ok_or_else(|| Undone::Moved("it changed since it was observed".into()))?;
    let places: Vec<Place> = paths.iter().filter_map(|path| fields::parse(path, &object.0)).collect();
    if places.is_empty() {
        return Err(Undone::Moved("what was left over is gone".into()));
    }
    let entries = fields::taken(&object, &places).map_err(Undone::Refused)?;
    let taken = rewrite(shared, wanted, &object, &entries).await?;
    taken.ok_or_else(|| Undone::Unknown("it was accepted, and has no version".into()))
}

/// Reads an object if it still is at a version.
pub(super) async fn as_it_was(shared: &Shared, wanted: &Wanted, version: &Version) -> Option<Object> {
    let (uid, revision) = read_version(version)?;
    let object = get(shared, &wanted.kind, &wanted.namespace, &wanted.name).await.ok()??;
    (object.uid() == uid && object.revision() == revision).then_some(object)
}

/// Replaces `managedFields` of an object that is as it was read.
async fn rewrite(
    shared: &Shared,
    wanted: &Wanted,
    object: &Object,
    entries: &[Value],
) -> Result<Option<Version>, Undone> {
    let patch = json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": entries },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": object.revision() },
    ]);
    let path = format!("{}?fieldManager={}", wanted.kind.object(&wanted.namespace, &wanted.name), escaped(MANAGER));
    let body = patch.to_string().into_bytes();
    let request = Request::with(Asks::Patch, Method::PATCH, path, "application/json-patch+json", body);
    let bytes = send(shared, &request).await.map_err(lost)?.ok().map_err(|status| refused(&status))?;
    Ok(version_after(&bytes))
}

/// Returns `managedFields` with what `kubectl apply` owned under our name; nothing if it owned nothing.
fn rewritten(object: &Object) -> Option<Vec<Value>> {
    let entries = object.0.pointer("/metadata/managedFields")?.as_array()?;
    let managers: Vec<_> = object.managers().collect();
    let version = managers.iter().find(|manager| object.is_client_side_apply(manager))?.api_version;
    let taken = |at: usize| {
        let manager = &managers[at];
        let ours = manager.name == MANAGER && manager.applies && manager.subresource.is_empty();
        (ours || object.is_client_side_apply(manager)) && manager.api_version == version
    };
    let mut fields = Map::new();
    let mut kept = Vec::new();
    let mut first = None;
    for (at, entry) in entries.iter().enumerate() {
        if !taken(at) {
            kept.push(entry.clone());
            continue;
        }
        if let Some(Value::Object(more)) = entry.get("fieldsV1") {
            merge(&mut fields, more);
        }
        first.get_or_insert_with(|| entry.clone());
    }
    let mut ours = first?;
    let map = ours.as_object_mut()?;
    map.insert("manager".to_owned(), MANAGER.into());
    map.insert("operation".to_owned(), "Apply".into());
    map.insert("fieldsV1".to_owned(), fields.into());
    kept.push(ours);
    Some(kept)
}

fn merge(into: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, below) in more {
        match (into.get_mut(name), below) {
            (Some(Value::Object(into)), Value::Object(more)) => merge(into, more),
            (Some(_), _) => {}
            (None, below) => {
                into.insert(name.clone(), below.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_owned_becomes_ours_and_nothing_else() {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let object = Object(json!({"metadata": {"managedFields": [
            entry("kubectl-client-side-apply", "Update", json!({"f:data": {".": {}, "f:a": {}}})),
            entry("kubectl-edit", "Update", json!({"f:data": {"f:b": {}}})),
            entry("holdfast", "Apply", json!({"f:data": {"f:c": {}}})),
        ]}}));
        let now = rewritten(&object).unwrap();
        assert_eq!(now.len(), 2);
        assert_eq!(now[0]["manager"], "kubectl-edit");
        assert_eq!(now[1], entry("holdfast", "Apply", json!({"f:data": {".": {}, "f:a": {}, "f:c": {}}})));
        let other = Object(json!({"metadata": {"managedFields": [entry("kubectl-edit", "Update", json!({}))]}}));
        assert_eq!(rewritten(&other), None);
    }
}
