//! A world whose application converges objects of a real cluster, in a namespace of its own.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::World;
use super::api::Api;
use super::cluster::Cluster;

/// A world and its namespace.
pub struct Place {
    world: World,
    /// The cluster.
    pub cluster: Cluster,
    /// The namespace that everything is in, unless a test says otherwise.
    pub namespace: String,
}

impl Deref for Place {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Place {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

/// Makes a name that no other test has.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Place {
    /// Makes a world whose application `web` converges the repository's objects, without waiting between writes.
    pub fn new() -> Self {
        Self::on(Cluster::shared())
    }

    /// Makes such a world on a cluster of its own.
    pub fn on(cluster: Cluster) -> Self {
        let mut world = World::new();
        let namespace = unique("t");
        let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        cluster.api().create("/api/v1/namespaces", &made);
        let kubernetes = format!("{{ kubeconfig: {:?}, namespace: {namespace} }}", cluster.kubeconfig());
        world.app("web").guard("rate: disabled").kubernetes = Some(kubernetes);
        Self { world, cluster, namespace }
    }

    /// Returns the API as an administrator sees it.
    pub fn api(&self) -> &Api {
        self.cluster.api()
    }

    /// Returns the identity of a ConfigMap.
    pub fn id(&self, name: &str) -> String {
        format!("/ConfigMap/{}/{name}", self.namespace)
    }

    /// Returns the path of a ConfigMap.
    pub fn path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace)
    }

    /// Writes a ConfigMap with one value into the repository.
    pub fn config_map(&self, name: &str, value: &str) -> &Self {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {} }}\ndata: {{ value: {value:?} }}\n",
            self.namespace
        );
        self.repo.write(&format!("{name}.yaml"), &text);
        self
    }

    /// Writes several of them, `c000` and so on.
    pub fn config_maps(&self, numbers: std::ops::Range<usize>, value: &str) -> &Self {
        for number in numbers {
            self.config_map(&format!("c{number:03}"), value);
        }
        self
    }

    /// Takes files out of the repository.
    pub fn drop_maps(&self, numbers: std::ops::Range<usize>) -> &Self {
        for number in numbers {
            self.repo.remove(&format!("c{number:03}.yaml"));
        }
        self
    }

    /// Returns the values of all ConfigMaps of the application that the cluster holds.
    pub fn held(&self) -> BTreeMap<String, String> {
        let list = self
            .api()
            .get(&format!("/api/v1/namespaces/{}/configmaps", self.namespace))
            .expect("the namespace is there");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let held = |item: &Value| {
            let name = item["metadata"]["name"].as_str()?.to_owned();
            Some((name, item["data"]["value"].as_str()?.to_owned()))
        };
        items.iter().filter_map(held).collect()
    }

    /// Returns uids and resourceVersions of everything in a collection: equal ones are untouched objects.
    pub fn versions(&self, collection: &str) -> BTreeMap<String, String> {
        let list = self.api().get(collection).expect("it can be listed");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let version = |item: &Value| {
            let meta = &item["metadata"];
            (meta["name"].to_string(), format!("{}/{}", meta["uid"], meta["resourceVersion"]))
        };
        items.iter().map(version).collect()
    }

    /// Runs counted cycles until the application is said to be converged to HEAD.
    #[track_caller]
    pub fn settle(&self) {
        let tip = self.repo.head();
        for _ in 0..30 {
            self.counted_cycle();
            if self.status("web").converged() == Some(&tip) {
                return;
            }
        }
        self.fail(&format!("it did not converge to {tip}"));
    }

    /// Publishes what the work clone holds, and brings the cluster there.
    #[track_caller]
    pub fn publish(&self, subject: &str) -> &Self {
        self.repo.publish(subject);
        self.settle();
        self
    }

    /// Asserts that several cycles write nothing, and see no drift.
    #[track_caller]
    pub fn assert_steady(&self, cycles: usize) {
        for _ in 0..cycles {
            self.counted_cycle();
            let drift = self.status("web").at("/drift").clone();
            if drift["changed"] != 0 || drift["missing"] != 0 {
                let said = self.holdfast(&["drift", "web"]);
                self.fail(&format!("drift is invented: {drift}\n{}{}", said.stdout, said.stderr));
            }
        }
        let planned = self.holdfast(&["plan", "web", "--exit-code"]);
        assert_eq!(planned.code, Some(0), "something is left to do:\n{}{}", planned.stdout, planned.stderr);
    }
}
