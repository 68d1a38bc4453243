//! What the garbage collector of a real cluster would take with a deletion is counted with it, and what is made of a workload is
//! the workload.

use serde_json::{Value, json};

use crate::harness::{Place, place::unique};

/// Makes a world with ten ConfigMaps and a custom object `w`, converged; returns where the object is.
fn with_widget(place: &Place) -> String {
    let group = format!("{}.example.org", unique("g"));
    place.cluster.define(&group, "Widget", "widgets");
    let widget =
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: w, namespace: {} }}\n", place.namespace);
    place.repo.write("w.yaml", &widget);
    place.config_maps(0..10, "one").publish("an object of an operator");
    format!("/apis/{group}/v1/namespaces/{}/widgets/w", place.namespace)
}

/// Makes something that an object owns, as its operator would; returns it.
fn owned(place: &Place, collection: &str, owner: &Value, mut object: Value) -> Value {
    let (kind, api, meta) = (&owner["kind"], &owner["apiVersion"], &owner["metadata"]);
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": api, "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": true}]);
    place.api().create(&format!("{collection}/namespaces/{}/{}", place.namespace, plural(&object)), &object)
}

fn plural(object: &Value) -> &'static str {
    match object["kind"].as_str() {
        Some("ConfigMap") => "configmaps",
        Some("Deployment") => "deployments",
        Some("PersistentVolumeClaim") => "persistentvolumeclaims",
        other => panic!("{other:?} is made by no operator here"),
    }
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[test]
fn k8s_s02_a_custom_object_that_owns_a_hundred_objects_counts_as_a_hundred_and_one_deletions() {
    let place = Place::new();
    let path = with_widget(&place);
    let owner = place.api().get(&path).expect("it is there");
    // One chain of owners, the rest beside each other.
    let first = owned(&place, "/api/v1", &owner, config_map("o0"));
    for number in 1..99 {
        owned(&place, "/api/v1", if number < 10 { &first } else { &owner }, config_map(&format!("o{number}")));
    }
    owned(&place, "/apis/apps/v1", &owner, deployment("o", 8));
    place.cluster.until("its pods are there", |api| {
        let pods = api.get(&format!("/api/v1/namespaces/{}/pods", place.namespace))?;
        (pods["items"].as_array()?.len() == 8).then_some(())
    });
    place.repo.remove("w.yaml");
    place.config_map("c000", "two").repo.publish("take the object away");
    place.counted_cycles(2);
    let status = place.assert_latch("web", "PLAN", &["delete_halt"]);
    assert_eq!(status.number("/plan/deletes"), 101, "{:#}", status.at("/plan"));
    assert_eq!(place.held()["c000"], "one", "written although it is held");
    assert!(place.api().get(&path).is_some());
    place.approve("web", &place.status("web").digest()).ok();
    place.counted_cycles(2);
    assert!(place.api().get(&path).is_none(), "approved, and not deleted");
    place.cluster.until("the garbage collector took them", |api| api.get(&place.path("o42")).is_none().then_some(()));
}

#[test]
fn k8s_s02_a_custom_object_that_owns_data_is_protected_and_one_that_owns_a_little_is_not_held() {
    let place = Place::new();
    let path = with_widget(&place);
    let owner = place.api().get(&path).expect("it is there");
    owned(&place, "/api/v1", &owner, config_map("o"));
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"storageClassName": "none", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    owned(&place, "/api/v1", &owner, claim);
    let group = owner["apiVersion"].as_str().expect("it has a version");
    let widget =
        format!("apiVersion: {group}\nkind: Widget\nmetadata: {{ name: w, namespace: {} }}\n", place.namespace);
    place.repo.remove("w.yaml");
    place.config_map("c000", "two").publish("take the object away");
    assert_eq!(place.held()["c000"], "two", "one protected deletion held the others");
    let parked = place.status("web").list("/parked").to_vec();
    assert!(
        parked.len() == 1 && parked[0]["resource"].as_str().is_some_and(|id| id.contains("/Widget/")),
        "{parked:?}"
    );
    place.assert_printed(&["2 others would go with it"]);
    assert!(place.api().get(&path).is_some());

    // Without the data it owns one object, which is no reason to hold it.
    place.api().merge(
        &format!("/api/v1/namespaces/{}/persistentvolumeclaims/data", place.namespace),
        "test",
        &json!({"metadata": {"ownerReferences": null}}),
    );
    place.repo.write("w.yaml", &widget);
    place.publish("it stays");
    place.repo.remove("w.yaml");
    place.publish("it goes");
    assert!(place.api().get(&path).is_none(), "held although little goes with it");
    let claim = place.api().get(&format!("/api/v1/namespaces/{}/persistentvolumeclaims/data", place.namespace));
    assert!(claim.is_some());
}

#[test]
fn k8s_s02_a_workload_goes_with_its_pods_and_counts_as_one_deletion() {
    let place = Place::new();
    let mut workload = deployment("many", 20);
    workload["metadata"]["namespace"] = place.namespace.as_str().into();
    place.repo.write("many.yaml", &workload.to_string());
    place.config_maps(0..10, "one").publish("a workload");
    place.cluster.until("its pods are there", |api| {
        let pods = api.get(&format!("/api/v1/namespaces/{}/pods", place.namespace))?;
        (pods["items"].as_array()?.len() == 20).then_some(())
    });
    place.repo.remove("many.yaml");
    place.publish("without it");
    place.assert_free("web");
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/many", place.namespace);
    assert!(place.api().get(&path).is_none_or(|gone| gone["metadata"]["deletionTimestamp"].is_string()));
}

#[test]
fn k8s_s02_a_definition_that_can_only_be_replaced_is_parked_with_its_objects() {
    let place = Place::new();
    let group = format!("{}.example.org", unique("g"));
    let name = format!("gadgets.{group}");
    let definition = |scope: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": group, "scope": scope, "names": {"kind": "Gadget", "plural": "gadgets"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    };
    place.repo.write("gadgets.json", &definition("Namespaced").to_string());
    place.config_maps(0..10, "one").publish("a definition");
    let collection = format!("/apis/{group}/v1/namespaces/{}/gadgets", place.namespace);
    place.cluster.until("the kind is served", |api| (api.try_ask("GET", &collection)? == 200).then_some(()));
    for object in ["mine", "yours"] {
        let gadget = json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": {"name": object}});
        place.api().create(&collection, &gadget);
    }
    // The scope of a definition cannot be changed: it would be deleted, with every object of its kind, and made anew.
    place.repo.write("gadgets.json", &definition("Cluster").to_string());
    place.config_map("c000", "two").publish("another scope");
    assert_eq!(place.held()["c000"], "two", "one protected replacement held the others");
    let parked = place.status("web").list("/parked").to_vec();
    let is_it = |parked: &Value| parked["resource"].as_str().is_some_and(|id| id.ends_with(&name));
    assert!(parked.len() == 1 && is_it(&parked[0]), "{parked:?}");
    place.assert_printed(&["2 others would go with it"]);
    assert_eq!(place.api().get(&collection).expect("the kind is served")["items"].as_array().map(Vec::len), Some(2));
}
