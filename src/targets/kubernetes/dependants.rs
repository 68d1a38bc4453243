//! What would go with something that is deleted (`GUARDS.md` 5.2): a namespace's contents, the objects of a definition, what
//! a custom object owns.
//!
//! What belongs to something that goes too is not counted again, nor what the cluster makes in every namespace by itself.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::discovery::{Found, Kind};
use super::key::Key;
use super::list::{Unlisted, Which, list};
use super::object::shared;
use super::observe::AT_ONCE;
use super::owned::Owned;
use super::{Known, Shared};
use crate::core::effect_kubernetes as rules;
use crate::core::op::Op;
use crate::core::rehearse::{Rehearsal, Takes};
use crate::core::resource::Id;

/// What follows from other objects, or is made in every namespace.
const BY_ITSELF: [(&str, &str, &str); 6] = [
    ("", "Event", ""),
    ("events.k8s.io", "Event", ""),
    ("", "Endpoints", ""),
    ("discovery.k8s.io", "EndpointSlice", ""),
    ("", "ConfigMap", "kube-root-ca.crt"),
    ("", "ServiceAccount", "default"),
];

/// Past so many, the rest is only counted.
const NAMED: usize = 1_000;

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    metadata: ItemMetadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemMetadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
}

/// An object that would go.
struct Goes {
    id: Id,
    uid: String,
    owners: Vec<String>,
}

/// Says what would go with an object. `leaves` is what the plan deletes anyway.
pub(super) async fn taken(
    shared_: &Shared,
    known: &Known,
    op: &Op,
    key: &Key<'_>,
    owned: &Owned,
    leaves: &BTreeSet<&str>,
) -> Rehearsal {
    let went = match (key.group, key.kind) {
        ("", "Namespace") => namespace(shared_, known, key.name).await,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(shared_, known, key.name).await,
        (group, kind) if rules::may_own(group, kind) => return owned.taken(op, key, leaves),
        _ => return Rehearsal::Fits,
    };
    match went {
        Err(why) => Rehearsal::Unread(shared(format!("what would go with it: {why}"))),
        Ok(goes) => takes(key, roots(goes).into_iter().map(|id| (id, false)).collect(), None, leaves),
    }
}

/// Says that objects would go, of each whether it is protected itself.
pub(super) fn takes(
    key: &Key<'_>,
    goes: Vec<(Id, bool)>,
    unseen: Option<Arc<str>>,
    leaves: &BTreeSet<&str>,
) -> Rehearsal {
    let (planned, mut outside): (Vec<_>, Vec<_>) = goes.into_iter().partition(|(id, _)| leaves.contains(id.as_str()));
    let protects = rules::protects(key.group, key.kind, outside.iter().map(|(_, is_protected)| *is_protected));
    let unnamed = u32::try_from(outside.len().saturating_sub(NAMED)).unwrap_or(u32::MAX);
    outside.truncate(NAMED);
    let with = outside.into_iter().chain(planned).map(|(id, _)| id).collect();
    Rehearsal::Takes(Takes { with, unnamed, protects, unseen })
}

/// Leaves out what belongs to something else that goes.
fn roots(goes: Vec<Goes>) -> Vec<Id> {
    let uids: HashSet<&str> = goes.iter().map(|goes| goes.uid.as_str()).collect();
    let owned = |goes: &Goes| goes.owners.iter().any(|owner| uids.contains(owner.as_str()));
    let roots: Vec<bool> = goes.iter().map(|goes| !owned(goes)).collect();
    goes.into_iter().zip(roots).filter(|(_, root)| *root).map(|(goes, _)| goes.id).collect()
}

async fn namespace(shared_: &Shared, known: &Known, name: &str) -> Result<Vec<Goes>, String> {
    if let Some(group) = known.discovery.stale().first() {
        return Err(format!("the API group {group} is not available now, and may have objects there"));
    }
    let kinds = known.discovery.in_namespaces();
    let lists = kinds.iter().map(|kind| contents(shared_, kind, Some(name)));
    let all: Vec<_> = futures::stream::iter(lists).buffer_unordered(AT_ONCE).collect().await;
    let mut goes = Vec::new();
    for some in all {
        goes.extend(some?);
    }
    Ok(goes)
}

async fn definition(shared_: &Shared, known: &Known, name: &str) -> Result<Vec<Goes>, String> {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    let found = known.discovery.by_plural(group, plural);
    match found {
        Found::Served(kind) => contents(shared_, &kind, None).await,
        // It was never established, so that nothing is of its kind.
        Found::Absent => Ok(Vec::new()),
        Found::Stale(why) => Err(why.to_string()),
    }
}

async fn contents(shared_: &Shared, kind: &Arc<Kind>, place: Option<&str>) -> Result<Vec<Goes>, String> {
    let which = Which { path: kind.collection(place), selector: None, metadata_only: true };
    let by_itself = |name: &str| {
        BY_ITSELF
            .iter()
            .any(|(group, known, of)| *group == &*kind.group && *known == &*kind.kind && (of.is_empty() || *of == name))
    };
    let take = |item: &RawValue| -> Result<Option<Goes>, String> {
        let Item { metadata } = serde_json::from_str(item.get())
            .map_err(|error| format!("an object of a list is not understood: {error}"))?;
        if by_itself(&metadata.name) {
            return Ok(None);
        }
        let id = format!("{}/{}/{}/{}", kind.group, kind.kind, metadata.namespace, metadata.name);
        let owners = metadata.owner_references.into_iter().map(|owner| owner.uid).collect();
        Ok(Some(Goes { id: Id::new(id), uid: metadata.uid.into_owned(), owners }))
    };
    match list(&shared_.client, &which, take).await {
        Ok(listed) => Ok(listed.items),
        Err(Unlisted::NotThere(_)) => Ok(Vec::new()),
        Err(why) => Err(format!("list {}: {why}", kind.plural)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_something_that_goes_too_is_not_counted_again() {
        let goes = |name: &str, owners: &[&str]| Goes {
            id: Id::new(name),
            uid: name.to_owned(),
            owners: owners.iter().map(|owner| (*owner).to_owned()).collect(),
        };
        let all =
            vec![goes("deployment", &[]), goes("set", &["deployment"]), goes("pod", &["set"]), goes("x", &["away"])];
        assert_eq!(roots(all), [Id::new("deployment"), Id::new("x")]);
    }
}
