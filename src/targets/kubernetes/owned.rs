//! What the garbage collector would take with objects that are deleted: whatever all of whose owners go (`GUARDS.md` 5.2).
//!
//! Nothing but a list of every kind tells what an object owns. So it is asked for custom objects alone, of metadata, once for
//! all deletions of a plan, and without what controllers make of workloads.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::dependants::takes;
use super::discovery::{Found, Kind};
use super::key::Key;
use super::list::{Unlisted, Which, list};
use super::object::{read_version, shared};
use super::observe::AT_ONCE;
use super::{Known, Shared};
use crate::core::effect_kubernetes as rules;
use crate::core::op::Op;
use crate::core::rehearse::Rehearsal;
use crate::core::resource::Id;
use crate::manifest;

/// Past so many namespaces one list of all is less than one of each.
const PLACES: usize = 3;

/// So many kinds that could not be listed are named.
const TOLD: usize = 3;

/// Everything that has owners, where deletions make that matter.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// By namespace; empty for everywhere.
    places: BTreeMap<String, Place>,
    /// Whether there is one list of everything.
    everywhere: bool,
    /// Why nothing could be told.
    failed: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Place {
    /// By the uid of an owner.
    dependents: HashMap<String, Vec<Arc<Dependent>>>,
    /// Kinds that may not be listed, and why.
    unseen: Vec<String>,
}

#[derive(Debug)]
struct Dependent {
    id: Id,
    uid: String,
    owners: Vec<String>,
    is_protected: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    kind: String,
}

/// Looks at what has owners, wherever these operations delete something that may own it.
pub(super) async fn look(shared_: &Shared, known: &Known, deletions: &[&Op]) -> Owned {
    let mut places: BTreeSet<String> = BTreeSet::new();
    for key in deletions.iter().filter_map(|op| Key::parse(&op.id)) {
        if rules::may_own(key.group, key.kind)
            && let Found::Served(kind) = known.discovery.find(key.group, key.kind)
        {
            places.insert(shared_.namespace_of(&kind, key.namespace).to_owned());
        }
    }
    if places.is_empty() {
        return Owned::default();
    }
    if let Some(group) = known.discovery.stale().first() {
        let why = format!("the API group {group} is not available now, and may have objects that it owns");
        return Owned { failed: Some(shared(why)), ..Owned::default() };
    }
    let everywhere = places.contains("") || places.len() > PLACES;
    if everywhere {
        places = BTreeSet::from([String::new()]);
    }
    let mut owned = Owned { everywhere, ..Owned::default() };
    for namespace in places {
        match place(shared_, known, &namespace).await {
            Ok(place) => drop(owned.places.insert(namespace, place)),
            Err(why) => return Owned { failed: Some(shared(why)), ..Owned::default() },
        }
    }
    owned
}

async fn place(shared_: &Shared, known: &Known, namespace: &str) -> Result<Place, String> {
    let there = |kind: &Arc<Kind>| namespace.is_empty() || kind.namespaced;
    let kinds = known.discovery.all().filter(|kind| there(kind) && !rules::is_machinery(&kind.group, &kind.kind));
    let lists = kinds.map(|kind| async move { (dependents(shared_, &kind, namespace).await, kind) });
    let all: Vec<_> = futures::stream::iter(lists).buffer_unordered(AT_ONCE).collect().await;
    let mut place = Place::default();
    let mut known: HashSet<String> = HashSet::new();
    for (listed, kind) in all {
        match listed {
            Ok(some) => {
                // Some objects are served by two groups.
                for dependent in some.into_iter().map(Arc::new).filter(|dependent| known.insert(dependent.uid.clone()))
                {
                    for owner in &dependent.owners {
                        place.dependents.entry(owner.clone()).or_default().push(dependent.clone());
                    }
                }
            }
            Err(Unlisted::NotThere(_)) => {}
            Err(Unlisted::Forbidden(_)) => place.unseen.push(kind.plural.to_string()),
            Err(Unlisted::Failed(why)) => return Err(format!("list {}: {why}", kind.plural)),
        }
    }
    place.unseen.sort();
    Ok(place)
}

/// Lists what has owners of one kind.
async fn dependents(shared_: &Shared, kind: &Kind, namespace: &str) -> Result<Vec<Dependent>, Unlisted> {
    let which = Which { path: kind.collection(Some(namespace)), selector: None, metadata_only: true };
    let take = |item: &RawValue| -> Result<Option<Dependent>, String> {
        if !item.get().contains("\"ownerReferences\"") {
            return Ok(None);
        }
        let wrong = |error: serde_json::Error| format!("an object of a list is not understood: {error}");
        let object: Value = serde_json::from_str(item.get()).map_err(wrong)?;
        let metadata = Metadata::deserialize(object.get("metadata").unwrap_or(&Value::Null)).map_err(wrong)?;
        let Metadata { name, namespace, uid, owner_references: owners } = metadata;
        if owners.is_empty() || owners.iter().any(|owner| rules::is_scheduled(&kind.group, &kind.kind, &owner.kind)) {
            return Ok(None);
        }
        Ok(Some(Dependent {
            id: Id::new(format!("{}/{}/{namespace}/{name}", kind.group, kind.kind)),
            uid,
            owners: owners.into_iter().map(|owner| owner.uid).collect(),
            is_protected: rules::is_protected(&kind.group, &kind.kind) || manifest::is_kept(&object),
        }))
    };
    list(&shared_.client, &which, take).await.map(|listed| listed.items)
}

impl Owned {
    /// Says what would go with an object. `leaves` is what the plan deletes anyway.
    pub(super) fn taken(&self, op: &Op, key: &Key<'_>, leaves: &BTreeSet<&str>) -> Rehearsal {
        if let Some(why) = &self.failed {
            return Rehearsal::Unread(shared(format!("what would go with it: {why}")));
        }
        let namespace = if self.everywhere { "" } else { key.namespace };
        let place = self.places.get(namespace).or_else(|| self.places.values().next());
        let uid = op.from.as_ref().and_then(|(_, version)| read_version(version)).map(|(uid, _)| uid);
        let (Some(place), Some(uid)) = (place, uid) else { return Rehearsal::Fits };
        takes(key, place.goes_with(uid), place.unseen(), leaves)
    }
}

impl Place {
    /// Returns what goes once an object is gone: what it owns alone, and what that owns.
    fn goes_with(&self, uid: &str) -> Vec<(Id, bool)> {
        let (mut going, mut next) = (HashSet::from([uid]), vec![uid]);
        let mut goes = Vec::new();
        while let Some(owner) = next.pop() {
            for dependent in self.dependents.get(owner).into_iter().flatten() {
                let last = dependent.owners.iter().all(|owner| going.contains(owner.as_str()));
                if last && going.insert(&dependent.uid) {
                    next.push(&dependent.uid);
                    goes.push((dependent.id.clone(), dependent.is_protected));
                }
            }
        }
        goes.sort();
        goes
    }

    fn unseen(&self) -> Option<Arc<str>> {
        let told = self.unseen.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
        match self.unseen.len() {
            0 => None,
            few if few <= TOLD => Some(shared(format!("{told} may not be listed: grant `list`, or look and approve"))),
            many => Some(shared(format!(
                "{told} and {} more kinds may not be listed: grant `list`, or look and approve",
                many - TOLD
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(objects: &[(&str, &[&str])]) -> Place {
        let mut place = Place::default();
        for (name, owners) in objects {
            let owners: Vec<String> = owners.iter().map(|owner| (*owner).to_owned()).collect();
            let of =
                Dependent { id: Id::new(*name), uid: (*name).to_owned(), owners: owners.clone(), is_protected: false };
            let of = Arc::new(of);
            owners.into_iter().for_each(|owner| place.dependents.entry(owner).or_default().push(of.clone()));
        }
        place
    }

    fn goes_with(place: &Place, uid: &str) -> Vec<String> {
        place.goes_with(uid).into_iter().map(|(id, _)| id.to_string()).collect()
    }

    #[test]
    fn what_an_object_owns_alone_goes_with_it_and_what_that_owns() {
        let place = place(&[
            ("b", &["a"]),
            ("c", &["b"]),
            ("shared", &["a", "other"]),
            ("within", &["b", "c"]),
            ("theirs", &["other"]),
            ("circle", &["circle", "a"]),
        ]);
        assert_eq!(goes_with(&place, "a"), ["b", "c", "within"]);
        assert_eq!(goes_with(&place, "other"), ["theirs"]);
        assert!(goes_with(&place, "nobody").is_empty());
    }

    #[test]
    fn kinds_that_may_not_be_listed_are_named_and_the_others_counted() {
        let mut place = Place::default();
        assert_eq!(place.unseen(), None);
        place.unseen = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        assert!(place.unseen().unwrap().starts_with("a, b, c and 2 more kinds may not be listed"));
    }
}
