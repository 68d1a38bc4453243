//! What is written on a real API server, and how: order, replacement, conflicts, adoption, and the set that objects form.

use serde_json::{Value, json};

use crate::harness::{Place, place::unique};

#[test]
fn k8s_a_namespace_a_definition_and_what_is_in_them_arrive_in_one_commit() {
    let place = Place::new();
    let (space, group) = (unique("inner"), format!("{}.example.org", unique("g")));
    let schema = "{ openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }";
    place.repo.write("all.yaml", &format!("
apiVersion: {group}/v1
kind: Widget
metadata: {{ name: widget, namespace: {space} }}
spec: {{ size: 1 }}
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: inside, namespace: {space} }}
data: {{ value: one }}
---
apiVersion: v1
kind: Namespace
metadata: {{ name: {space} }}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{ name: widgets.{group} }}
spec: {{ group: {group}, scope: Namespaced, names: {{ kind: Widget, plural: widgets }}, versions: [ {{ name: v1, served: true, storage: true, schema: {schema} }} ] }}
"));
    place.repo.publish("everything at once");
    place.counted_cycle();
    let plan = place.plan("web");
    assert_eq!(plan.number("/plan/creates"), 4, "{:#}", plan.0);
    place.settle();
    assert!(place.api().get(&format!("/apis/{group}/v1/namespaces/{space}/widgets/widget")).is_some());
    assert!(place.api().get(&format!("/api/v1/namespaces/{space}/configmaps/inside")).is_some());
    place.assert_steady(2);
    // What goes with a namespace is counted; what the plan deletes itself is not counted twice.
    place.api().create(
        &format!("/api/v1/namespaces/{space}/configmaps"),
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}}),
    );
    place.repo.remove("all.yaml").write(
        "keep.yaml",
        &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: keep, namespace: {} }}\n", place.namespace),
    );
    place.repo.publish("take it all away");
    place.counted_cycles(2);
    let parked = place.status("web").list("/parked").to_vec();
    let names: Vec<&Value> = parked.iter().map(|one| &one["resource"]).collect();
    assert!(names.iter().any(|name| **name == format!("/Namespace//{space}")), "{parked:?}");
    assert!(place.api().get(&format!("/api/v1/namespaces/{space}")).is_some(), "somebody else's object went with it");
}

#[test]
fn k8s_what_cannot_be_changed_in_place_is_a_deletion_and_not_by_stealth() {
    let place = Place::new();
    place.config_maps(0..6, "one");
    let secret = |kind: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: s, namespace: {} }}\ntype: {kind}\ndata: {{ key: YQ== }}\n",
            place.namespace
        )
    };
    place.repo.write("s.yaml", &secret("example.org/one"));
    place.publish("a secret of a type");
    let path = format!("/api/v1/namespaces/{}/secrets/s", place.namespace);
    let uid = |place: &Place| place.api().get(&path).map(|object| object["metadata"]["uid"].clone());
    let before = uid(&place);
    place.repo.write("s.yaml", &secret("example.org/two"));
    place.repo.publish("another type");
    let plan = place.plan("web");
    let op = plan.operations().iter().find(|op| op["resource"].as_str().is_some_and(|id| id.contains("/Secret/")));
    assert_eq!(op.map(|op| op["effect"].clone()), Some(json!("delete")), "{:#}", plan.0);
    assert_eq!(uid(&place), before, "planning replaced it");
    place.settle();
    assert_ne!(uid(&place), before);
    assert_eq!(place.api().get(&path).unwrap()["type"], "example.org/two");
    place.assert_steady(2);
}

#[test]
fn k8s_what_somebody_else_owns_is_a_conflict_until_it_is_approved() {
    let place = Place::new();
    place.config_maps(0..6, "one").publish("six");
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"value": "theirs"}});
    place.api().apply(&place.path("theirs"), "another-controller", &theirs);
    place.config_map("theirs", "ours").config_map("c000", "two").repo.publish("claim it");
    place.counted_cycles(3);
    let held = place.held();
    assert_eq!((held["theirs"].as_str(), held["c000"].as_str()), ("theirs", "two"));
    let said = place.status_text();
    assert!(said.to_lowercase().contains("conflict") && said.contains("another-controller"), "{said}");
    let parked = place.status("web").list("/parked").to_vec();
    let digest = parked.iter().find(|one| one["resource"] == place.id("theirs")).map(|one| one["digest"].clone());
    let digest = digest.unwrap_or_else(|| place.fail(&format!("it is not parked: {parked:?}")));
    place.approve("web", digest.as_str().expect("a digest is text")).ok();
    place.settle();
    assert_eq!(place.held()["theirs"], "ours");
    place.assert_steady(2);
}

#[test]
fn k8s_what_kubectl_applied_is_adopted_and_pruned_from_then_on() {
    let place = Place::new();
    place.config_maps(0..6, "one").publish("six");
    let file = place.dir().join("theirs.yaml");
    let text = |data: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: theirs, namespace: {} }}\ndata: {data}\n",
            place.namespace
        )
    };
    std::fs::write(&file, text("{ value: one, dropped: x }")).expect("the file is written");
    place.cluster.kubectl(&["apply", "-f", file.to_str().expect("the path is text")]);
    place.repo.write("theirs.yaml", &text("{ value: two }"));
    place.publish("take it over");
    let data = place.api().get(&place.path("theirs")).expect("it is there")["data"].clone();
    assert_eq!(data, json!({"value": "two"}), "what only kubectl declared is still there");
    place.assert_steady(2);
}

#[test]
fn k8s_the_set_of_our_objects_is_told_as_kubectl_understands_it() {
    let place = Place::new();
    let other = unique("other");
    place
        .api()
        .create("/api/v1/namespaces", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}));
    place
        .repo
        .write("other.yaml", &format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: s, namespace: {other} }}\n"));
    place.config_maps(0..3, "one").publish("two namespaces");
    place.counted_cycle();
    let parent = place.api().get(&place.path("holdfast-web")).expect("the parent is there");
    let meta = &parent["metadata"];
    assert_eq!(meta["annotations"]["applyset.kubernetes.io/contains-group-kinds"], "ConfigMap,Secret");
    assert_eq!(meta["annotations"]["applyset.kubernetes.io/additional-namespaces"], other.as_str());
    assert!(meta["annotations"]["applyset.kubernetes.io/tooling"].as_str().unwrap().starts_with("holdfast/"));
    let id = meta["labels"]["applyset.kubernetes.io/id"].as_str().expect("it has an id");
    let selector = format!("applyset.kubernetes.io/part-of={id}");
    let names = place.cluster.kubectl(&["get", "configmap,secret", "-A", "-l", &selector, "-o", "name"]);
    assert_eq!(names.lines().count(), 4, "{names}");
    // Nobody's plan writes the parent.
    place.config_map("holdfast-web", "mine").repo.publish("take the anchor");
    place.counted_cycles(2);
    place.assert_latch("web", "RENDER", &[]);
    assert!(place.api().get(&place.path("holdfast-web")).unwrap()["data"]["anchor"].is_string());
}

#[test]
fn k8s_what_the_server_would_not_take_is_told_before_anything_is_written() {
    let place = Place::new();
    place.config_maps(0..6, "one").publish("six");
    place.config_map("c000", "two");
    place.repo.write("bad.yaml", &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: bad, namespace: {} }}\ndata: {{ a: 1 }}\nspec: {{ x: 1 }}\n", place.namespace));
    place.repo.publish("one of them is no ConfigMap");
    place.counted_cycles(2);
    assert_eq!(place.held()["c000"], "one", "written although the plan cannot be carried out");
    let status = place.assert_latch("web", "RENDER", &["refused"]);
    assert!(status.latch("RENDER").unwrap().to_string().contains("bad"), "{:#}", status.0);
    // Healing goes on.
    place.api().delete(&place.path("c003"));
    place.counted_cycle();
    assert_eq!(place.held()["c003"], "one");
    place.repo.remove("bad.yaml");
    place.publish("without it");
    assert_eq!(place.held()["c000"], "two");
}

#[test]
fn k8s_an_object_of_another_set_is_not_taken() {
    let place = Place::new();
    place.config_maps(0..6, "one").publish("six");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "labels": {"applyset.kubernetes.io/part-of": "applyset-other-v1"}}});
    place.api().create(&format!("/api/v1/namespaces/{}/configmaps", place.namespace), &theirs);
    place.config_map("theirs", "ours").repo.publish("claim it");
    place.counted_cycles(2);
    let status = place.assert_latch("web", "RENDER", &["refused"]);
    assert!(status.latch("RENDER").unwrap().to_string().contains("another set"), "{:#}", status.0);
    assert!(!place.held().contains_key("theirs"));
}

#[test]
fn k8s_an_object_that_moves_to_another_application_is_handed_over_untouched() {
    let mut place = Place::new();
    let target = place.app("web").kubernetes.clone();
    place.app("web").path("web");
    place.add_app("db").path("db").guard("rate: disabled").kubernetes = target;
    let write = |folder: &str, name: &str, value: &str| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {} }}\ndata: {{ value: {value}, dropped: x }}\n",
            place.namespace
        );
        place.repo.write(&format!("{folder}/{name}.yaml"), &text);
    };
    for number in 0..6 {
        write("web", &format!("w{number}"), "one");
        write("db", &format!("d{number}"), "one");
    }
    place.repo.publish("two applications");
    let converged = |name: &str| place.status(name).converged() == Some(&place.repo.head());
    let settle = || {
        for _ in 0..12 {
            place.counted_cycle();
            if converged("web") && converged("db") {
                return;
            }
        }
        place.fail("the applications do not converge");
    };
    settle();
    let object = || place.api().get(&place.path("w3")).expect("it is there");
    let before = object();
    place.repo.git(&["mv", "web/w3.yaml", "db/w3.yaml"]);
    place.repo.publish("move one");
    settle();
    place.counted_cycles(2);
    let after = object();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it was deleted and made anew");
    let set = |object: &Value| object["metadata"]["labels"]["applyset.kubernetes.io/part-of"].clone();
    assert_ne!(set(&after), set(&before), "it is still of the first set");
    assert_eq!(place.status("db").number("/inventory"), 7);
    assert_eq!(place.status("web").number("/inventory"), 5);
    // What the first application declared is pruned by the second.
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: w3, namespace: {} }}\ndata: {{ value: two }}\n",
        place.namespace
    );
    place.repo.write("db/w3.yaml", &text);
    place.repo.publish("drop a value");
    settle();
    assert_eq!(object()["data"], json!({"value": "two"}));
}

#[test]
fn k8s_an_impersonated_account_of_one_namespace_is_enough() {
    let mut place = Place::new();
    let (user, _) = place.cluster.user(&place.namespace);
    let account = user.rsplit(':').next().expect("a user has a name").to_owned();
    let verbs = json!(["get", "list", "watch", "create", "patch", "update", "delete"]);
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": verbs}]);
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", place.namespace);
    place.api().create(&format!("{rbac}/roles"), &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer"}, "rules": rules}));
    place.api().create(&format!("{rbac}/rolebindings"), &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"}, "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": place.namespace}]}));
    let target = place.app("web").kubernetes.clone().expect("it is a cluster");
    place.app("web").kubernetes = Some(target.replace(" }", &format!(", serviceAccount: {account} }}")));
    place.repo.write(
        "s.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: s, namespace: {} }}\nstringData: {{ key: value }}\n",
            place.namespace
        ),
    );
    place.config_maps(0..6, "one").publish("two kinds");
    place.assert_steady(2);
    place.api().delete(&place.path("c001"));
    place.config_maps(2..3, "two").drop_maps(5..6).publish("an update and a deletion");
    let held = place.held();
    assert_eq!((held.len(), held["c001"].as_str(), held["c002"].as_str()), (5, "one", "two"));
    // What the account may not touch is not written as somebody else.
    place.repo.write("role.yaml", &format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{ name: more, namespace: {} }}\nrules: []\n", place.namespace));
    place.repo.publish("more rights");
    place.counted_cycles(3);
    assert!(place.api().get(&format!("{rbac}/roles/more")).is_none());
    assert!(place.everything_said("web").contains(&user), "who may not is not told");
}

#[test]
fn k8s_what_somebody_makes_in_the_middle_of_a_rollout_is_judged_anew_and_adopted() {
    let mut place = Place::new();
    place.app("web").interval("1s").guard("writeCap: disabled").guard("rate: { perSecond: 2, burst: 1 }");
    place.config_maps(0..12, "ours").repo.publish("twelve");
    let mut controller = place.controller();
    controller.until("the first is made", || place.held().contains_key("c000").then_some(()));
    // Half a second passes between two writes, and ten come before this one.
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c011"}, "data": {"theirs": "1"}});
    place.api().create(&format!("/api/v1/namespaces/{}/configmaps?fieldManager=somebody", place.namespace), &theirs);
    let tip = place.repo.head();
    controller.until_status("it converged", "web", |status| status.converged() == Some(&tip));
    assert!(controller.stop().success());
    let history = place.holdfast(&["history", "web", "--last", "1000", "--output", "json"]).ok().json();
    let rows = history["history"].as_array().expect("the history is a list");
    let of_it = rows.iter().filter(|row| row.to_string().contains(&place.id("c011"))).map(ToString::to_string);
    let told = of_it.collect::<Vec<_>>().join("\n");
    assert!(
        told.contains("somebody made it meanwhile") && told.contains("changed while it was still unwritten"),
        "{told}"
    );
    let object = place.api().get(&place.path("c011")).expect("it is there");
    assert_eq!(object["data"], json!({"theirs": "1", "value": "ours"}));
    let wrote = rows.iter().find(|row| row["kind"] == "wrote" && row["fact"]["id"] == place.id("c011").as_str());
    let wrote = wrote.unwrap_or_else(|| panic!("it was never written: {told}"));
    let how = (&wrote["fact"]["verb"], &wrote["fact"]["effect"]);
    assert_eq!(how, (&json!("update"), &json!("update")), "an adoption counts as one");
    place.assert_steady(2);
}
