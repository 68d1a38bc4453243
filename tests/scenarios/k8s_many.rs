//! Hundreds of objects as well-known projects publish them, on a whole cluster with an autoscaler and a mutating webhook at
//! work: no drift is invented, and every change that somebody makes by hand is told.
//!
//! The truth is a forced dry-run, as in `k8s_contract`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::harness::Place;
use crate::harness::admission::{COUNTED, SIDECAR, Webhook};
use crate::harness::api::Api;
use crate::harness::cluster::{Cluster, Part};
use crate::k8s_by_hand::{Changed, Object, Way};

/// How many requests are under way at the same time.
const AT_ONCE: usize = 8;

/// What no server takes as it is published, by kind and name, and why.
const LEFT_OUT: [(&str, &str, &str); 11] = [
    ("DaemonSet", "node-problem-detector", "a field that there is not"),
    ("Service", "netexec", "a field that there is not"),
    ("Deployment", "metrics-server", "a part that others complete"),
    ("Certificate", "routing-serving-certs", "its definition is published elsewhere"),
    ("Image", "queue-proxy", "its definition is published elsewhere"),
    ("ClusterRoleBinding", "backup-app-cluster-role-binding", "an account without a namespace"),
    ("ClusterRoleBinding", "csi-gce-pd-controller-provisioner-binding", "an account without a namespace"),
    ("ClusterRoleBinding", "csi-gce-pd-controller-attacher-binding", "an account without a namespace"),
    ("ClusterRoleBinding", "csi-gce-pd-resizer-binding", "an account without a namespace"),
    ("ClusterRoleBinding", "csi-gce-pd-controller-snapshotter-binding", "an account without a namespace"),
    ("ClusterRoleBinding", "psp-csi-controller-driver-registrar-role", "an account without a namespace"),
];

/// Kinds outside of namespaces.
const OUTSIDE: [&str; 5] =
    ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "StorageClass", "MutatingWebhookConfiguration"];

/// Reads what the projects publish: every document that is an object, once.
fn published() -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/manifests");
    let ran = Command::new(script).output().expect("tests/servers/manifests runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut files = Vec::new();
    collect(Path::new(String::from_utf8_lossy(&ran.stdout).trim()), &mut files);
    let (mut found, mut known) = (Vec::new(), BTreeSet::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("it is readable");
        for document in format!("\n{text}").split("\n---").filter(|document| !document.contains("{{")) {
            let Ok(mut object) = serde_yaml::from_str::<Value>(document) else { continue };
            // Some name a namespace where there is none, which RENDER asks to take out.
            if OUTSIDE.iter().any(|kind| object["kind"] == *kind) {
                object["metadata"].as_object_mut().map(|metadata| metadata.remove("namespace"));
            }
            let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let key = (of("/kind"), of("/metadata/namespace"), of("/metadata/name"));
            let left_out = LEFT_OUT.iter().any(|(kind, name, _)| (*kind, *name) == (&key.0, &key.2));
            if !key.0.is_empty() && !key.2.is_empty() && !left_out && known.insert(key) {
                found.push(object);
            }
        }
    }
    found
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("the folder is there")
        .map(|entry| entry.expect("it is readable").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}

/// Does something with every object, several at a time, and returns the answers in their order.
fn all<T: Send>(objects: &[Object], work: impl Fn(&Object) -> T + Sync) -> Vec<T> {
    let next = Mutex::new(0..objects.len());
    let answers = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().expect("nobody fails with it").next() else { return };
                    let answer = work(&objects[at]);
                    answers.lock().expect("nobody fails with it").insert(at, answer);
                }
            });
        }
    });
    answers.into_inner().expect("nobody failed with it").into_values().collect()
}

/// Makes a world that holds all of them.
fn world() -> (Place, Webhook, Vec<Value>) {
    let mut place = Place::on(Cluster::whole());
    let webhook = Webhook::start(place.dir());
    let configuration = webhook.configuration("mesh");
    let webhooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    place.api().create(webhooks, &configuration);
    let mut declared = published();
    let own = include_str!("data/kinds.yaml").replace("NS", &place.namespace);
    let own = format!("\n{own}");
    declared.extend(own.split("\n---").map(|document| serde_yaml::from_str(document).expect("it is YAML")));
    for namespace in ["hello", "gce-pd-csi-driver"] {
        let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        place.api().create("/api/v1/namespaces", &made);
    }
    place.app("web").guard("writeCap: disabled").guard("settle: 1s");
    for (number, object) in declared.iter().enumerate() {
        place.repo.write(&format!("{number:03}.yaml"), &object.to_string());
    }
    place.repo.publish("everything");
    for _ in 0..40 {
        place.counted_cycle();
        let status = place.status("web");
        if status.converged() == Some(&place.repo.head()) {
            break;
        }
        // What needs a network or a disk never becomes ready: a person lets it go on.
        for digest in status.digests_to_approve("HEALTH") {
            let _ = place.approve("web", &digest);
        }
    }
    (place, webhook, declared)
}

/// Finds every object in the cluster.
fn find(api: &Api, namespace: &str, declared: &[Value]) -> Vec<Object> {
    let mut served: BTreeMap<String, Value> = BTreeMap::new();
    let parent = api.get(&format!("/api/v1/namespaces/{namespace}/configmaps/holdfast-web")).expect("it is there");
    let set = parent["metadata"]["labels"]["applyset.kubernetes.io/id"].clone();
    let object = |declared: &Value| {
        let text = |pointer: &str| declared.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        let base = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let kinds = served.entry(base.clone()).or_insert_with(|| api.get(&base).expect("it is served"));
        let resources = kinds["resources"].as_array().expect("there are some");
        let of_kind = |one: &&Value| one["kind"] == *kind && !one["name"].as_str().unwrap_or_default().contains('/');
        let resource = resources.iter().find(of_kind).unwrap_or_else(|| panic!("{kind} is not served"));
        let named = text("/metadata/namespace");
        let place = if resource["namespaced"] == false {
            String::new()
        } else if named.is_empty() {
            namespace.to_owned()
        } else {
            named
        };
        let mut wanted = declared.clone();
        let metadata = wanted["metadata"].as_object_mut().expect("it has metadata");
        if place.is_empty() {
            metadata.remove("namespace");
        } else {
            metadata.insert("namespace".to_owned(), json!(place));
        }
        metadata.remove("creationTimestamp");
        if wanted["metadata"]["labels"].is_null() {
            wanted["metadata"]["labels"] = json!({});
        }
        wanted["metadata"]["labels"]["applyset.kubernetes.io/part-of"] = set.clone();
        wanted.as_object_mut().expect("it is an object").remove("status");
        let within = if place.is_empty() { String::new() } else { format!("/namespaces/{place}") };
        let plural = resource["name"].as_str().expect("it has a name");
        let group = version.split_once('/').map_or("", |(group, _)| group);
        Object {
            id: format!("{group}/{kind}/{place}/{name}"),
            kind,
            path: format!("{base}{within}/{plural}/{name}"),
            wanted,
        }
    };
    declared.iter().map(object).collect()
}

/// What comes of all changes: how many objects can be changed in a way, and how many of them a forced apply would change back.
const COUNTED_EXACTLY: &str = "\
Changed: 339 changed, 339 drifted
TakenOver: 339 changed, 339 drifted
Shared: 304 changed, 0 drifted
Removed: 337 changed, 316 drifted
ItemAdded: 152 changed, 141 drifted
ItemRemoved: 217 changed, 205 drifted
Reordered: 115 changed, 100 drifted
KeyAdded: 339 changed, 29 drifted
Stripped: 339 changed, 339 drifted
Relabelled: 339 changed, 339 drifted
Replaced: 339 changed, 339 drifted
Seized: 339 changed, 339 drifted
Disowned: 339 changed, 339 drifted
Annotated: 339 changed, 240 drifted
Deleted: 294 changed, 294 drifted
Recreated: 294 changed, 294 drifted
";

fn drifted(place: &Place) -> BTreeSet<String> {
    let document = place.holdfast(&["drift", "web", "--output", "json"]).ok().json();
    let resources = document["applications"][0]["drift"]["resources"].as_array().cloned().unwrap_or_default();
    resources.iter().map(|one| one["resource"].as_str().expect("it has a name").to_owned()).collect()
}

#[test]
fn k8s_hundreds_of_published_objects_show_no_drift_and_every_change_by_hand_is_told() {
    let (place, webhook, declared) = world();
    let api = place.api();
    let plan = || place.holdfast(&["plan", "web"]).stdout;
    assert_eq!(place.status("web").number("/inventory"), i64::try_from(declared.len()).unwrap(), "{}", plan());
    let objects = find(api, &place.namespace, &declared);
    let kinds: BTreeSet<&str> = objects.iter().map(|object| object.kind.as_str()).collect();
    assert!(objects.len() >= 300 && kinds.len() >= 25, "{} objects of {} kinds", objects.len(), kinds.len());

    // The autoscaler and the webhook did what they do, to what we declared.
    let deployment = |name: &str| {
        let path = format!("/apis/apps/v1/namespaces/knative-serving/deployments/{name}");
        api.get(&path).expect("it is there")
    };
    place
        .cluster
        .until("the autoscaler has scaled", |_| (deployment("activator")["spec"]["replicas"] == 1).then_some(()));
    let containers = deployment("activator")["spec"]["template"]["spec"]["containers"].clone();
    assert!(containers.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == SIDECAR)), "{containers:#}");
    let asked = webhook.asked();
    assert!(asked > 300, "the webhook was asked {asked} times");

    for cycle in 1..=10 {
        place.counted_cycle();
        let drift = place.status("web").at("/drift").clone();
        assert_eq!((&drift["changed"], &drift["missing"]), (&json!(0), &json!(0)), "cycle {cycle}: {drift:#}");
    }

    // From here on nobody but the test changes anything.
    for part in [Part::Controllers, Part::Scheduler, Part::Nodes] {
        place.cluster.pause(part);
    }
    let uncounted = |object: &mut Value| {
        if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
            annotations.remove(COUNTED);
        }
    };
    let mut table = String::new();
    let mut ways: BTreeMap<&str, Vec<Way>> = objects.iter().map(|object| (object.id.as_str(), Vec::new())).collect();
    for way in Way::ALL {
        let done = all(&objects, |object| {
            let changed = object.change(api, way);
            let differs = changed.done && object.differs(api, &changed, uncounted);
            (changed, differs)
        });
        let truth: BTreeSet<String> = objects
            .iter()
            .zip(&done)
            .filter(|(_, (_, differs))| *differs)
            .map(|(object, _)| object.id.clone())
            .collect();
        let told = drifted(&place);
        let missed: Vec<_> = truth.difference(&told).collect();
        let invented: Vec<_> = told.difference(&truth).collect();
        assert!(missed.is_empty() && invented.is_empty(), "{way:?}: not told {missed:#?}, invented {invented:#?}");
        for (object, _) in objects.iter().zip(&done).filter(|(_, (changed, _))| changed.done) {
            ways.entry(&object.id).or_default().push(way);
        }
        let back: BTreeMap<&str, &Changed> =
            objects.iter().zip(&done).map(|(object, (changed, _))| (object.id.as_str(), changed)).collect();
        all(&objects, |object| object.restore(api, back[object.id.as_str()]));
        let changed = done.iter().filter(|(changed, _)| changed.done).count();
        table += &format!("{way:?}: {changed} changed, {} drifted\n", truth.len());
    }
    assert_eq!(drifted(&place), BTreeSet::new(), "what was restored still drifts");
    // Not every kind has lists and maps, or can be deleted at once.
    let fewer: Vec<_> = ways.iter().filter(|(_, ways)| ways.len() < 10).collect();
    assert!(fewer.is_empty(), "changed in less than ten ways: {fewer:?}");
    assert_eq!(table, COUNTED_EXACTLY);
}
