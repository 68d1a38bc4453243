//! The chart, rendered by Helm and taken by a real API server; and that its rights are enough for the controller, and no more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::World;
use crate::harness::apiserver::{Cluster, cluster};
use crate::harness::run::Ran;
use crate::harness::servers;
use crate::incluster::{application, root, until};

/// Kinds whose definitions belong to the Prometheus operator: the API server of the tests does not serve them.
const NOT_SERVED: [&str; 2] = ["PrometheusRule", "ServiceMonitor"];

/// Values that turn everything on.
fn everything(namespace: &str) -> Value {
    json!({
        "replicas": 2,
        "image": { "digest": format!("sha256:{}", "a".repeat(64)) },
        "controller": { "notify": [{ "webhook": { "url": "https://chat.example.com/hook" } }] },
        "applications": { "namespaces": [namespace], "unconfinedRenderers": true },
        "seccompProfile": { "type": "Localhost", "localhostProfile": "profiles/renderers.json" },
        "files": [{ "namespace": namespace, "secret": "signers" }, { "namespace": namespace, "configMap": "hosts" }],
        "api": { "secret": "holdfast-api", "freezeSecret": "holdfast-freeze" },
        "webhooks": { "github": "holdfast-github" },
        "deployers": [
            { "namespace": namespace, "name": "deployer", "resources": [{ "group": "apps", "resources": ["deployments"] }] },
            { "namespace": namespace, "name": "other", "create": false },
        ],
        "read": [{ "group": "apps", "resources": ["deployments"] }],
        "serviceMonitor": { "enabled": true, "tokenSecret": "holdfast-scrape" },
        "prometheusRule": { "enabled": true },
        "dashboard": { "enabled": true },
    })
}

/// Runs helm on the chart.
#[track_caller]
fn helm(world: &World, command: &[&str], values: &Value, namespace: &str) -> Ran {
    let file = world.dir().join("values.json");
    fs::write(&file, values.to_string()).expect("the values are written");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/holdfast");
    let output = Command::new(servers::program("helm"))
        .env("HOME", world.dir())
        .args(command)
        .arg(chart)
        .args(["--kube-version", "1.36.0", "--namespace", namespace, "--values"])
        .arg(&file)
        .output()
        .expect("helm runs");
    Ran {
        command: format!("helm {}", command.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Renders the chart into documents.
#[track_caller]
fn render(world: &World, values: &Value, namespace: &str) -> Vec<Value> {
    let ran = helm(world, &["template", "holdfast"], values, namespace).ok();
    let documents = ran
        .stdout
        .split("\n---\n")
        .map(|text| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}")));
    documents.filter(|document: &Value| document.is_object()).collect()
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap_or_default()
}

#[track_caller]
fn only<'a>(documents: &'a [Value], wanted: &str) -> &'a Value {
    let mut found = documents.iter().filter(|document| kind(document) == wanted);
    let first = found.next().unwrap_or_else(|| panic!("there is no {wanted}"));
    assert!(found.next().is_none(), "there is more than one {wanted}");
    first
}

#[test]
fn everything_that_the_chart_renders_is_taken_by_the_server() {
    let cluster = cluster();
    let world = World::empty();
    for values in [json!({}), everything(&cluster.namespace)] {
        let documents = render(&world, &values, &cluster.namespace);
        let mut skipped = BTreeSet::new();
        for document in &documents {
            if NOT_SERVED.contains(&kind(document)) {
                skipped.insert(kind(document).to_owned());
                continue;
            }
            // What names no namespace is the cluster's: another test has the same.
            let more = if document["metadata"].get("namespace").is_none() { vec!["--dry-run=server"] } else { vec![] };
            cluster.apply(document, &more).ok();
        }
        eprintln!("taken: {} objects; not served here, rendered alone: {skipped:?}", documents.len() - skipped.len());
        helm(&world, &["lint"], &values, &cluster.namespace).ok();
        let pod = &only(&documents, "StatefulSet")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let seccomp = if values["seccompProfile"].is_null() { "RuntimeDefault" } else { "Localhost" };
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], seccomp);
        let secure = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true });
        assert_eq!(container["securityContext"], secure);
        // No rule of any role says `*`, and nothing but a status and events is written by the controller's own account.
        for role in documents.iter().filter(|document| ["Role", "ClusterRole"].contains(&kind(document))) {
            assert!(!role["rules"].to_string().contains("\"*\""), "{role:#}");
        }
    }
}

#[test]
fn the_configuration_that_the_chart_renders_is_one() {
    let cluster = cluster();
    let world = World::empty();
    for values in [json!({}), everything(&cluster.namespace)] {
        let documents = render(&world, &values, &cluster.namespace);
        let map =
            documents.iter().find(|document| document["data"].get("holdfast.yaml").is_some()).expect("it is there");
        let file = world.dir().join("rendered.yaml");
        fs::write(&file, map["data"]["holdfast.yaml"].as_str().expect("it is text")).expect("it is written");
        // The state directory is of the pod: there is no ledger here, and that is all that is said.
        world.bare(&["status", "-c", &file.to_string_lossy()]).ok();
    }
}

#[test]
fn wrong_values_are_refused() {
    let world = World::empty();
    let bad = [
        (json!({ "replicas": 0 }), "replicas"),
        (json!({ "colour": "red" }), "colour"),
        (json!({ "controller": { "listen": "0.0.0.0:1" } }), "controller.listen"),
        (json!({ "read": [{ "resources": ["*"] }] }), "resources"),
        (
            json!({ "deployers": [{ "namespace": "a", "name": "b", "resources": [{ "resources": ["*"] }] }] }),
            "resources",
        ),
        (json!({ "serviceMonitor": { "enabled": true } }), "tokenSecret"),
        (json!({ "replicas": 2, "storage": { "existingClaim": "one" } }), "existingClaim"),
        (json!({ "files": [{ "namespace": "a", "secret": "b", "configMap": "c" }] }), "files"),
        (json!({ "files": [{ "namespace": "Team_A", "secret": "b" }] }), "/files/0/namespace"),
        (json!({ "read": [{ "resources": ["deployments.apps"] }] }), "/read/0/resources/0"),
        (json!({ "storage": { "size": "plenty" } }), "/storage/size"),
        (json!({ "fullnameOverride": "Bad_Name" }), "/fullnameOverride"),
        (json!({ "seccompProfile": "Unconfined" }), "/seccompProfile"),
    ];
    for (values, told) in bad {
        let ran = helm(&world, &["template", "holdfast"], &values, "holdfast");
        assert!(ran.code != Some(0), "{values} were taken");
        assert!(ran.stderr.contains(told), "{values} are refused with:\n{}", ran.stderr);
    }
}

/// Asks whether the controller's account may do something.
fn may(cluster: &Cluster, namespace: &str, what: &[&str]) -> bool {
    let account = format!("system:serviceaccount:{}:holdfast", cluster.namespace);
    let mut arguments = vec!["auth", "can-i", "-n", namespace, "--as", &account];
    arguments.extend(what);
    cluster.kubectl(&arguments).stdout.trim() == "yes"
}

#[test]
fn the_charts_rights_are_enough_and_no_more() {
    let cluster = cluster();
    let mut world = World::empty();
    fs::create_dir(world.dir().join("roots/web")).expect("the root is made");
    world.repo.fill("", 0..3);
    world.repo.publish("baseline");
    let own = cluster.namespace.clone();
    let documents = render(&world, &everything(&own), &own);
    let rights = ["ServiceAccount", "Role", "RoleBinding"];
    for document in documents.iter().filter(|document| rights.contains(&kind(document))) {
        cluster.apply(document, &["--force-conflicts"]).ok();
    }

    // Enough: the real controller, as that account alone, converges, tells it and holds its Lease.
    let kubeconfig = cluster.account(&own, "holdfast");
    let text = crate::incluster::controller_document(&world, &cluster, &kubeconfig, "state");
    world.raw_config(&text);
    let mut controller = world.controller();
    cluster.apply(&application(&world, "web"), &[]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    let events = cluster.kubectl(&["get", "events.v1.events.k8s.io", "-n", &own, "-o", "json"]).ok().json();
    assert!(events["items"].as_array().is_some_and(|all| all.iter().any(|event| event["reason"] == "Converged")));
    let lease = cluster.read("lease", "holdfast-0").expect("there is a Lease");
    assert!(lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| holder.starts_with("holdfast-0_")));
    assert!(root(&world, "web").join("f000.conf").exists());
    for refused in ["forbidden", "Forbidden", "cannot "] {
        assert!(!controller.log().contains(refused), "something is refused:\n{}", controller.log());
    }
    controller.stop();
    let asked = world.holdfast(&["doctor"]);
    for told in ["may patch applications/status", "may create events", "may update leases"] {
        assert!(asked.stdout.contains(told), "{told:?} is not said:\n{}{}", asked.stdout, asked.stderr);
    }
    assert!(!asked.stdout.contains("may not"), "{}", asked.stdout);

    // And no more.
    let allowed: [&[&str]; 5] = [
        &["get", "applications.holdfast.dev"],
        &["patch", "applications.holdfast.dev/web", "--subresource=status"],
        &["update", "leases.coordination.k8s.io/holdfast-1"],
        &["impersonate", "serviceaccounts/deployer"],
        &["impersonate", "serviceaccounts/other"],
    ];
    for what in allowed {
        assert!(may(&cluster, &own, what), "{what:?} is not allowed");
    }
    let forbidden: [&[&str]; 15] = [
        &["patch", "applications.holdfast.dev/web"],
        &["delete", "applications.holdfast.dev/web"],
        &["create", "applications.holdfast.dev"],
        &["get", "secrets"],
        &["get", "configmaps"],
        &["create", "configmaps"],
        &["create", "pods"],
        &["create", "pods/exec"],
        &["create", "serviceaccounts/token"],
        &["impersonate", "serviceaccounts/default"],
        &["impersonate", "users/admin"],
        &["impersonate", "groups/system:masters"],
        &["update", "leases.coordination.k8s.io/another"],
        &["bind", "clusterroles"],
        &["*", "*"],
    ];
    for what in forbidden {
        assert!(!may(&cluster, &own, what), "{what:?} is allowed");
    }
    assert!(!may(&cluster, "default", &["get", "applications.holdfast.dev"]), "another namespace's are read");
    assert!(!may(&cluster, "default", &["impersonate", "serviceaccounts/deployer"]));
    // As the deployer, only what its values list.
    let deployer = format!("system:serviceaccount:{own}:deployer");
    let can = |verb: &str, what: &str| {
        let asked = cluster.kubectl(&["auth", "can-i", verb, what, "-n", &own, "--as", &deployer]);
        asked.stdout.trim() == "yes"
    };
    assert!(can("patch", "deployments.apps") && can("patch", "configmaps"));
    assert!(!can("get", "secrets") && !can("patch", "roles.rbac.authorization.k8s.io") && !can("delete", "configmaps"));
}

/// Writes manifests into the work clone: a ConfigMap and a Deployment.
fn manifests(world: &World, value: &str) {
    world.repo.write(
        "k8s/settings.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {value}}}\n"),
    );
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": {
                    "containers": [{ "name": "web", "image": "registry.example.com/web:1" }],
                },
            },
        },
    });
    world.repo.write("k8s/web.yaml", &deployment.to_string());
}

#[test]
fn an_application_deploys_as_its_service_account_and_not_beyond() {
    let cluster = cluster();
    let mut world = World::empty();
    manifests(&world, "one");
    world.repo.publish("baseline");
    let own = cluster.namespace.clone();
    let rights = ["ServiceAccount", "Role", "RoleBinding"];
    for document in render(&world, &everything(&own), &own).iter().filter(|document| rights.contains(&kind(document))) {
        cluster.apply(document, &["--force-conflicts"]).ok();
    }
    let text = crate::incluster::controller_document(&world, &cluster, &cluster.account(&own, "holdfast"), "state");
    world.raw_config(&text);
    let mut controller = world.controller();
    let mut web = application(&world, "web");
    web["spec"]["source"]["path"] = json!("k8s");
    web["spec"]["target"] = json!({ "kubernetes": { "serviceAccount": "deployer" } });
    cluster.apply(&web, &[]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    let settings = cluster.read("configmap", "settings").expect("it was made");
    assert_eq!(settings["data"]["a"], "one");
    assert!(cluster.read("deployment", "web").is_some());

    // What somebody took away is back, and what a commit changes is changed.
    cluster.kubectl(&["delete", "configmap", "settings", "-n", &own]).ok();
    controller.until("it is healed", || cluster.read("configmap", "settings"));
    manifests(&world, "two");
    let two = world.repo.publish("change it");
    until(&mut controller, &cluster, "web", "it converged again", |web| {
        web["status"]["state"] == "Converged" && web["status"]["source"]["converged"] == *two
    });
    assert_eq!(cluster.read("configmap", "settings").expect("it is there")["data"]["a"], "two");

    // What the account may not, is not done, whatever the controller may; and it is told.
    world.repo.write("k8s/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: mine}\nstringData: {a: b}\n");
    world.repo.publish("ask for more than is allowed");
    let told = until(&mut controller, &cluster, "web", "it is told", |web| {
        ["Unread", "Failing", "Halted"].iter().any(|word| web["status"]["state"] == *word)
    });
    assert!(cluster.read("secret", "mine").is_none());
    assert!(told["status"]["conditions"][0]["message"].as_str().is_some_and(|why| why.contains("secrets")), "{told:#}");

    // The Application goes; what it made stays.
    cluster.kubectl(&["delete", "application", "web", "-n", &own]).ok();
    let log = world.dir().join("controller.log");
    controller.until("it is let go", || {
        fs::read_to_string(&log).is_ok_and(|said| said.contains("worked on no longer")).then_some(())
    });
    assert!(cluster.read("configmap", "settings").is_some() && cluster.read("deployment", "web").is_some());
}
