//! Which kinds the API server knows, and how they are addressed: two requests, most of them answered by "as before".

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::client::{Asks, Client, Request, escaped};
use super::retry::read;

/// A group, and a kind of it.
pub(super) type KindName = (Arc<str>, Arc<str>);

/// What the server is asked for: everything in one answer.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind as it is served in one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    pub(super) group: Arc<str>,
    pub(super) kind: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) plural: Arc<str>,
    pub(super) namespaced: bool,
    pub(super) listable: bool,
    pub(super) deletable: bool,
}

impl Kind {
    /// Returns which kind it is, whatever the version.
    pub(super) fn kind_name(&self) -> KindName {
        (self.group.clone(), self.kind.clone())
    }

    /// Returns `group/version`, as objects spell it.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Returns where the objects of a namespace are, or all objects.
    pub(super) fn collection(&self, namespace: Option<&str>) -> String {
        let Self { group, version, plural, .. } = self;
        let mut path = if group.is_empty() {
            format!("/api/{}", escaped(version))
        } else {
            format!("/apis/{}/{}", escaped(group), escaped(version))
        };
        if let Some(namespace) = namespace.filter(|namespace| self.namespaced && !namespace.is_empty()) {
            path += &format!("/namespaces/{}", escaped(namespace));
        }
        format!("{path}/{}", escaped(plural))
    }

    /// Returns where one object is.
    pub(super) fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), escaped(name))
    }
}

/// What is known of a kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// It is served.
    Served(Arc<Kind>),
    /// There is no such kind.
    Absent,
    /// Its group cannot be asked now, and why.
    Stale(Arc<str>),
}

/// Everything that the server serves, as of the last refresh.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    halves: [Half; 2],
}

#[derive(Debug, Default)]
struct Half {
    etag: Option<String>,
    kinds: HashMap<KindName, Vec<Arc<Kind>>>,
    stale: HashMap<Arc<str>, Arc<str>>,
}

impl Discovery {
    /// Asks again; what did not change costs next to nothing.
    ///
    /// # Errors
    /// If the server could not be asked; then nothing may be concluded from what was known.
    pub(super) async fn refresh(&mut self, client: &Client) -> Result<(), String> {
        let [core, groups] = &mut self.halves;
        let (core, groups) = futures::join!(core.refresh(client, "/api"), groups.refresh(client, "/apis"));
        core.and(groups)
    }

    /// Finds a kind in the version that the server prefers.
    pub(super) fn find(&self, group: &str, kind: &str) -> Found {
        let key = (Arc::from(group), Arc::from(kind));
        for half in &self.halves {
            if let Some(kind) = half.kinds.get(&key).and_then(|versions| versions.first()) {
                return Found::Served(kind.clone());
            }
            if let Some(why) = half.stale.get(group) {
                return Found::Stale(why.clone());
            }
        }
        Found::Absent
    }

    /// Finds a kind in one version.
    pub(super) fn find_at(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Kind>> {
        let key = (Arc::from(group), Arc::from(kind));
        let versions = self.halves.iter().find_map(|half| half.kinds.get(&key))?;
        versions.iter().find(|kind| &*kind.version == version).cloned()
    }

    /// Finds a kind by the name of its collection.
    pub(super) fn by_plural(&self, group: &str, plural: &str) -> Found {
        for half in &self.halves {
            let mut kinds = half.kinds.values().filter_map(|versions| versions.first());
            if let Some(kind) = kinds.find(|kind| &*kind.group == group && &*kind.plural == plural) {
                return Found::Served(kind.clone());
            }
            if let Some(why) = half.stale.get(group) {
                return Found::Stale(why.clone());
            }
        }
        Found::Absent
    }

    /// Returns every kind that can be listed and deleted, in the version that the server prefers.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Kind>> + '_ {
        let first = self.halves.iter().flat_map(|half| half.kinds.values()).filter_map(|versions| versions.first());
        first.filter(|kind| kind.listable && kind.deletable).cloned()
    }

    /// Returns those that live in namespaces.
    pub(super) fn in_namespaces(&self) -> Vec<Arc<Kind>> {
        self.all().filter(|kind| kind.namespaced).collect()
    }

    /// Returns the groups that cannot be asked now.
    pub(super) fn stale(&self) -> Vec<Arc<str>> {
        self.halves.iter().flat_map(|half| half.stale.keys().cloned()).collect()
    }
}

impl Half {
    async fn refresh(&mut self, client: &Client, path: &str) -> Result<(), String> {
        let mut request = Request::get(Asks::Discover, path.to_owned());
        request.accept = AGGREGATED;
        request.etag = self.etag.clone();
        let fail = |why: String| format!("ask the API server which kinds it serves: {why}");
        let answer = read(client, &request).await.map_err(|failed| fail(failed.to_string()))?;
        if answer.code == 304 {
            return Ok(());
        }
        let (etag, bytes) = (answer.etag.clone(), answer.ok().map_err(|status| fail(status.said()))?);
        let list: GroupList =
            serde_json::from_slice(&bytes).map_err(|error| fail(format!("its answer is not understood: {error}")))?;
        if list.kind != "APIGroupDiscoveryList" {
            return Err(fail("it is too old to say it in one answer: Kubernetes 1.30 or newer is needed".to_owned()));
        }
        *self = Self::of(list, etag);
        Ok(())
    }

    fn of(list: GroupList, etag: Option<String>) -> Self {
        let mut half = Self { etag, ..Self::default() };
        for group in list.items {
            let name: Arc<str> = group.metadata.name.into();
            for version in group.versions {
                if version.freshness == "Stale" {
                    let why =
                        format!("the API group {name} is not available now: the server that serves it does not answer");
                    half.stale.insert(name.clone(), why.into());
                    // What it answers changes without its content's digest changing.
                    half.etag = None;
                }
                for served in version.resources {
                    let Some(response) = served.response_kind else { continue };
                    let has = |verb: &str| served.verbs.iter().any(|known| known == verb);
                    let kind = Kind {
                        group: name.clone(),
                        kind: response.kind.as_str().into(),
                        version: version.version.as_str().into(),
                        plural: served.resource.as_str().into(),
                        namespaced: served.scope == "Namespaced",
                        listable: has("list"),
                        deletable: has("delete"),
                    };
                    half.kinds.entry((name.clone(), kind.kind.clone())).or_default().push(Arc::new(kind));
                }
            }
        }
        half
    }
}

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: GroupName,
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize, Default)]
struct GroupName {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    resources: Vec<Served>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct ResponseKind {
    kind: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn half() -> Half {
        let served = |resource: &str, kind: &str, scope: &str| json!({"resource": resource, "responseKind": {"group": "", "version": "v1", "kind": kind}, "scope": scope, "verbs": ["list", "delete"]});
        let list = json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": [served("deployments", "Deployment", "Namespaced")]},
                {"version": "v1beta1", "freshness": "Current", "resources": [served("deployments", "Deployment", "Namespaced")]}]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1", "freshness": "Stale"}]}]});
        Half::of(serde_json::from_value(list).unwrap(), Some("x".to_owned()))
    }

    #[test]
    fn a_kind_that_is_not_served_is_told_apart_from_a_group_that_does_not_answer() {
        let discovery = Discovery { halves: [Half::default(), half()] };
        let Found::Served(kind) = discovery.find("apps", "Deployment") else { panic!("it is served") };
        assert_eq!(kind.object("a", "b:c/d"), "/apis/apps/v1/namespaces/a/deployments/b:c%2Fd");
        assert_eq!(discovery.find_at("apps", "v1beta1", "Deployment").unwrap().api_version(), "apps/v1beta1");
        assert_eq!(discovery.find("apps", "Widget"), Found::Absent);
        assert!(matches!(discovery.find("metrics.k8s.io", "PodMetrics"), Found::Stale(_)));
        assert_eq!(discovery.halves[1].etag, None, "what is stale is asked for again");
    }
}
