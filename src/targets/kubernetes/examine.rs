//! What can be told of a cluster without writing: whether it is reached, as whom, and what is permitted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};

use super::client::{Asks, Request, runtime};
use super::discovery::{Discovery, Found, Kind, KindName};
use super::key::Key;
use super::observe::AT_ONCE;
use super::retry::read;
use super::{Kubernetes, Shared};
use crate::core::resource::{AnchorSeen, Id};

/// What was found of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examination {
    /// The server's version.
    pub version: String,
    /// What stands where the anchor should be.
    pub anchor: AnchorSeen,
    /// Where that is.
    pub parent: String,
    /// Groups of kinds that cannot be asked now.
    pub stale: Vec<Arc<str>>,
    /// Kinds in use that are not served.
    pub absent: Vec<String>,
    /// What is not permitted, of what is needed.
    pub lacking: Vec<Permission>,
    /// How many permissions were asked for.
    pub asked: usize,
}

/// One permission.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Permission {
    /// What would be done.
    pub verb: &'static str,
    /// To which kind: its collection and group, as rules spell them.
    pub resource: String,
    /// The group; empty for the core.
    pub group: String,
    /// Where; empty for everywhere.
    pub namespace: String,
    /// Whether only writing needs it.
    pub writes: bool,
}

/// What is needed of every kind, and whether only for writing.
const VERBS: [(&str, bool); 6] =
    [("list", false), ("get", false), ("watch", false), ("create", true), ("patch", true), ("delete", true)];

/// So many namespaces are asked about one by one.
const PLACES_ASKED: usize = 20;

/// What is needed of the parent.
const PARENT_VERBS: [(&str, bool); 4] = [("get", false), ("create", true), ("update", true), ("patch", true)];

impl Kubernetes {
    /// Looks at the cluster, for the kinds of these identities.
    ///
    /// # Errors
    /// Why the cluster could not be asked, for people.
    pub fn examine(&self, ids: &[Id]) -> Result<Examination, String> {
        runtime().block_on(examine(&self.shared, ids))
    }
}

/// Which kinds are in use, and where.
#[derive(Default)]
struct InUse {
    /// Each kind, and the namespaces in which it is; empty for one outside of namespaces.
    kinds: BTreeMap<KindName, (Arc<Kind>, BTreeSet<String>)>,
    /// Those that are not served.
    absent: Vec<String>,
}

impl InUse {
    fn of(shared: &Shared, discovery: &Discovery, ids: &[Id]) -> Self {
        let mut used = Self::default();
        for key in ids.iter().filter_map(Key::parse) {
            match discovery.find(key.group, key.kind) {
                Found::Served(kind) => {
                    let place = shared.namespace_of(&kind, key.namespace).to_owned();
                    used.kinds.entry(kind.kind_name()).or_insert_with(|| (kind, BTreeSet::new())).1.insert(place);
                }
                Found::Stale(_) => {}
                Found::Absent => {
                    let spelt =
                        if key.group.is_empty() { key.kind.to_owned() } else { format!("{}.{}", key.kind, key.group) };
                    if !used.absent.contains(&spelt) {
                        used.absent.push(spelt);
                    }
                }
            }
        }
        used
    }
}

async fn examine(shared: &Shared, ids: &[Id]) -> Result<Examination, String> {
    let answer = read(&shared.client, &Request::get(Asks::Get, "/version".to_owned())).await;
    let bytes = answer.map_err(|lost| lost.to_string())?.ok().map_err(|status| status.said())?;
    let version: Value = serde_json::from_slice(&bytes).map_err(|error| format!("it is no API server: {error}"))?;
    let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let mut known = shared.known.lock().await;
    known.discovery.refresh(&shared.client).await?;
    let InUse { kinds, absent } = InUse::of(shared, &known.discovery, ids);
    let places = |permission: &Permission| -> BTreeSet<String> {
        let named = |kind: &Kind| *kind.plural == *permission.resource && *kind.group == *permission.group;
        kinds.values().find(|(kind, _)| named(kind)).map(|(_, places)| places.clone()).unwrap_or_default()
    };
    let mut needed: Vec<Permission> = kinds.values().flat_map(|(kind, _)| of_kind(kind)).collect();
    needed.extend(PARENT_VERBS.map(|(verb, writes)| Permission {
        verb,
        resource: "configmaps".to_owned(),
        group: String::new(),
        namespace: shared.set.namespace.to_string(),
        writes,
    }));
    let asked = needed.len();
    let asks = needed.into_iter().map(|permission| {
        let places = if permission.namespace.is_empty() { places(&permission) } else { BTreeSet::new() };
        async move { lacks(shared, permission, places).await }
    });
    let said: Vec<_> = futures::stream::iter(asks).buffered(AT_ONCE).collect().await;
    let lacking = said.into_iter().collect::<Result<Vec<_>, String>>()?.concat();
    let anchor = super::anchor::look(shared).await.seen;
    let parent = format!("ConfigMap {} in namespace {}", shared.set.name, shared.set.namespace);
    Ok(Examination { version, anchor, parent, stale: known.discovery.stale(), absent, lacking, asked })
}

/// Returns what is not permitted of this: nothing if it is permitted everywhere, or where it is needed; where it is permitted
/// in none of these namespaces it is told once. Past a few it is to be permitted everywhere.
async fn lacks(shared: &Shared, permission: Permission, places: BTreeSet<String>) -> Result<Vec<Permission>, String> {
    if may(shared, &permission).await? {
        return Ok(Vec::new());
    }
    if places.contains("") || places.is_empty() || places.len() > PLACES_ASKED {
        return Ok(vec![permission]);
    }
    let (mut lacking, asked) = (Vec::new(), places.len());
    for namespace in places {
        let there = Permission { namespace, ..permission.clone() };
        if !may(shared, &there).await? {
            lacking.push(there);
        }
    }
    Ok(if lacking.len() == asked { vec![permission] } else { lacking })
}

fn of_kind(kind: &Kind) -> Vec<Permission> {
    let needed = VERBS.map(|(verb, writes)| Permission {
        verb,
        resource: kind.plural.to_string(),
        group: kind.group.to_string(),
        namespace: String::new(),
        writes,
    });
    needed.into()
}

async fn may(shared: &Shared, permission: &Permission) -> Result<bool, String> {
    let Permission { verb, resource, group, namespace, writes: _ } = permission;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": verb, "resource": resource, "group": group, "namespace": namespace } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
    let body = review.to_string().into_bytes();
    let request = Request::with(Asks::Get, Method::POST, path, "application/json", body);
    let bytes =
        read(&shared.client, &request).await.map_err(|lost| lost.to_string())?.ok().map_err(|status| status.said())?;
    let said: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    Ok(said.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false))
}
