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
fn k8s_many_kinds_show_no_drift_over_many_cycles() {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled").guard("settle: 1s");
    let text = include_str!("data/kinds.yaml").replace("NS", &place.namespace);
    place.repo.write("kinds.yaml", &text);
    place.repo.publish("one of each");
    for _ in 0..12 {
        place.counted_cycle();
        if place.status("web").converged() == Some(&place.repo.head()) {
            break;
        }
        // Without the controllers of a whole cluster a workload never becomes ready: a person lets it go on.
        for digest in place.status("web").digests_to_approve("HEALTH") {
            let _ = place.approve("web", &digest);
        }
    }
    let plan = place.holdfast(&["plan", "web"]);
    assert_eq!(place.status("web").number("/inventory"), 32, "{}{}", plan.stdout, plan.stderr);
    // What an autoscaler and a controller do is nobody's drift.
    let deployment = format!("/apis/apps/v1/namespaces/{}/deployments/web", place.namespace);
    place.api().merge(&deployment, "autoscaler", &json!({"spec": {"replicas": 4}}));
    place.api().merge(&format!("{deployment}/status"), "controller", &json!({"status": {"replicas": 4}}));
    place.api().merge(
        &deployment,
        "controller",
        &json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "7"}}}),
    );
    place.api().merge(
        &place.path("cm"),
        "somebody",
        &json!({"metadata": {"labels": {"theirs": "1"}}, "data": {"theirs": "1"}}),
    );
    for _ in 0..10 {
        place.counted_cycle();
        let drift = place.status("web").at("/drift").clone();
        assert_eq!((&drift["changed"], &drift["missing"]), (&json!(0), &json!(0)), "{:#}", self::drift(&place));
    }
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
