//! Drift on a real API server: none is invented, whatever the server and others make of objects; all of it is told.

use serde_json::{Value, json};

use crate::harness::Place;

/// Makes a world with a dozen ConfigMaps.
fn dozen() -> Place {
    let place = Place::new();
    place.config_maps(0..12, "one").publish("twelve");
    place
}

#[track_caller]
fn drift(place: &Place) -> Value {
    place.holdfast(&["drift", "web", "--output", "json"]).ok().json()
}

#[test]
fn k8s_admission_that_rewrites_what_is_declared_makes_no_drift_without_end() {
    let place = Place::new();
    let name = place.namespace.clone();
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
        "matchConditions": [{"name": "ours", "expression": "has(object.data) && 'value' in object.data"}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'replace', path: '/data/value', value: 'rewritten'}]"}}]}});
    place.api().create("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies", &policy);
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {"policyName": name}});
    place.api().create("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings", &binding);
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}, "data": {"value": "x"}});
    place.cluster.until("the policy is in force", |api| {
        let path = format!("/api/v1/namespaces/{name}/configmaps?dryRun=All");
        (api.ask("POST", &path, "application/json", Some(&probe)).1["data"]["value"] == "rewritten").then_some(())
    });
    place.config_maps(0..6, "one").publish("six");
    assert!(place.held().values().all(|value| value == "rewritten"));
    let before = place.versions(&format!("/api/v1/namespaces/{name}/configmaps"));
    place.assert_steady(4);
    place.config_maps(0..2, "two").publish("a change that admission undoes");
    place.assert_steady(2);
    let mut after = place.versions(&format!("/api/v1/namespaces/{name}/configmaps"));
    after.retain(|of, _| before.contains_key(of) && !of.contains("holdfast-web"));
    assert!(after.iter().all(|(of, version)| before[of] == *version), "written again and again");
    place.api().delete(&format!("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/{name}"));
}

#[test]
fn k8s_a_person_s_edit_is_told_with_its_author_and_not_reverted() {
    let place = dozen();
    place.api().merge(&place.path("c003"), "kubectl-edit", &json!({"data": {"value": "by hand"}}));
    place.counted_cycles(3);
    let status = place.status("web");
    assert_eq!(status.number("/drift/byClass/emergency"), 1, "{:#}", status.at("/drift"));
    assert_eq!(place.held()["c003"], "by hand");
    let said = drift(&place).to_string() + &place.holdfast(&["drift", "web"]).ok().stdout;
    assert!(said.contains("kubectl-edit") && said.contains("by hand") && said.contains("/data/value"), "{said}");
    // A commit that touches the same field does not overwrite it silently, and does not hold the others.
    place.config_map("c003", "two").config_map("c004", "two").repo.publish("touch both");
    place.counted_cycles(3);
    let held = place.held();
    assert_eq!((held["c003"].as_str(), held["c004"].as_str()), ("by hand", "two"));
    let said = place.status_text().to_lowercase();
    assert!(said.contains("conflict") && said.contains("c003"), "{said}");
    // One that adopts the change ends the conflict.
    place.config_map("c003", "by hand").publish("keep what was done");
    place.assert_steady(2);
}

#[test]
fn k8s_what_a_person_changed_is_taken_back_once_it_is_released() {
    let place = dozen();
    // An incident is over: one was put back by hand, which leaves its owner, and one was not.
    place.api().merge(&place.path("c003"), "kubectl-edit", &json!({"data": {"value": "by hand"}}));
    place.api().merge(&place.path("c004"), "kubectl-edit", &json!({"data": {"value": "by hand"}}));
    place.counted_cycle();
    place.api().merge(&place.path("c003"), "kubectl-edit", &json!({"data": {"value": "one"}}));
    place.counted_cycles(2);
    assert_eq!(place.status("web").number("/drift/byClass/emergency"), 2, "{:#}", place.status("web").at("/drift"));
    let id = |name: &str| format!("/ConfigMap/{}/{name}", place.namespace);
    let said = place.holdfast(&["drift", "web"]).ok().stdout;
    for name in ["c003", "c004"] {
        let command = format!("holdfast release {}", id(name));
        assert!(said.contains(&command), "{command} is not said:\n{said}");
        place.holdfast(&["release", &id(name)]).ok().says(&["taken back"]);
    }
    place.counted_cycles(2);
    assert_eq!(place.held()["c004"], "one");
    place.assert_steady(2);
    place.holdfast(&["release", &id("c004")]).refused().says(&["nothing differs there"]);
}

#[test]
fn k8s_a_change_by_nobody_known_is_announced_and_reverted_after_the_grace() {
    let place = dozen();
    place.api().merge(&place.path("c003"), "some-operator", &json!({"data": {"value": "theirs"}}));
    place.counted_cycle();
    assert_eq!(place.status("web").number("/drift/byClass/fresh"), 1, "{:#}", place.status("web").at("/drift"));
    assert_eq!(place.held()["c003"], "theirs");
    place.advance(31);
    place.counted_cycles(2);
    assert_eq!(place.held()["c003"], "one");
    // It is ours alone again.
    let object = place.api().get(&place.path("c003")).expect("it is there");
    let owners: Vec<&Value> =
        object["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| &m["manager"]).collect();
    assert_eq!(owners, ["holdfast"]);
    place.assert_steady(2);
}

#[test]
fn k8s_what_is_deleted_or_hidden_is_seen_for_what_it_is() {
    let place = dozen();
    place.api().delete(&place.path("c001"));
    // Without its label it is on no labelled list, and not missing.
    place.api().merge(&place.path("c002"), "some-operator", &json!({"metadata": {"labels": null}}));
    place.counted_cycle();
    let status = place.status("web");
    assert_eq!(status.number("/drift/changed"), 1, "{:#}", status.at("/drift"));
    assert_eq!(place.held()["c001"], "one", "what is missing is healed at once");
    place.advance(31);
    place.counted_cycles(2);
    let label = |name: &str| place.api().get(&place.path(name)).expect("it is there")["metadata"]["labels"].clone();
    assert_eq!(label("c002"), label("c003"));
    place.assert_steady(2);
}

#[test]
fn k8s_a_change_that_was_taken_back_is_drift_of_ownership_alone_and_ends_quietly() {
    let place = dozen();
    for value in ["two", "one"] {
        place.api().merge(&place.path("c003"), "some-operator", &json!({"data": {"value": value}}));
    }
    place.counted_cycle();
    assert_eq!(place.status("web").number("/drift/changed"), 1);
    place.advance(31);
    place.counted_cycles(2);
    assert_eq!(place.held()["c003"], "one");
    place.assert_steady(2);
}

#[test]
fn k8s_an_object_that_is_being_deleted_is_neither_missing_nor_written() {
    let place = dozen();
    let held = json!({"metadata": {"finalizers": ["example.org/hold"]}});
    place.api().merge(&place.path("c003"), "some-operator", &held);
    place.api().delete(&place.path("c003"));
    place.counted_cycles(3);
    let object = place.api().get(&place.path("c003")).expect("it is held");
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(place.status("web").number("/drift/missing"), 0);
    place.api().merge(&place.path("c003"), "some-operator", &json!({"metadata": {"finalizers": null}}));
    place.counted_cycles(2);
    assert_eq!(place.held()["c003"], "one");
    assert!(place.api().get(&place.path("c003")).unwrap()["metadata"]["deletionTimestamp"].is_null());
}
