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
    assert_every_change_is_seen(&place);
}

/// Changes one declared value of every object, as far as the server lets somebody, and asserts that each is told.
#[track_caller]
fn assert_every_change_is_seen(place: &Place) {
    let parent = place.api().get(&place.path("holdfast-web")).expect("the parent is there");
    let set = parent["metadata"]["labels"]["applyset.kubernetes.io/id"].as_str().expect("it has an id");
    let kinds = parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"].as_str().unwrap();
    let listed = place.cluster.kubectl(&[
        "get",
        kinds,
        "-A",
        "-o",
        "json",
        "--show-managed-fields",
        "-l",
        &format!("applyset.kubernetes.io/part-of={set}"),
    ]);
    let objects: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
    let mut changed = Vec::new();
    for object in objects["items"].as_array().expect("there are some") {
        let name = object["metadata"]["name"].as_str().expect("it has a name");
        let entries = object["metadata"]["managedFields"].as_array().expect("it has managers").iter();
        // What a controller copies takes our label along.
        let Some(ours) = entries.into_iter().find(|entry| entry["manager"] == "holdfast") else { continue };
        let mut leaves = Vec::new();
        owned_leaves(&ours["fieldsV1"], object, &mut Vec::new(), &mut leaves);
        let kind = object["kind"].as_str().expect("it has a kind");
        let api = object["apiVersion"].as_str().expect("it has a version");
        let typed = format!("{}.{}", kind.to_lowercase(), api.split_once('/').map_or("", |(group, _)| group));
        let named = [typed.trim_end_matches('.'), name, "-n", &place.namespace];
        let taken = leaves.into_iter().any(|patch| {
            let patch = patch.to_string();
            let arguments =
                [&["patch"], &named[..], &["--type=merge", "--field-manager=some-operator", "-p", &patch]].concat();
            place.cluster.try_kubectl(&arguments)
        });
        if taken {
            changed.push(format!("{kind}/{name}"));
        }
    }
    place.counted_cycle();
    let drift = drift(place).to_string();
    let missed: Vec<_> = changed
        .iter()
        .filter(|one| {
            let (kind, name) = one.split_once('/').expect("it was put together so");
            !drift.contains(&format!("/{kind}/{}/{name}\"", place.namespace))
                && !drift.contains(&format!("/{kind}//{name}\""))
        })
        .collect();
    assert!(missed.is_empty(), "not told: {missed:?}\n{drift}");
    assert!(changed.len() >= 25, "only {changed:?} could be changed");
}

/// Makes a change of each value that is ours and not inside of a list.
fn owned_leaves(fields: &Value, live: &Value, at: &mut Vec<String>, out: &mut Vec<Value>) {
    for (name, below) in fields.as_object().into_iter().flatten() {
        let Some(name) = name.strip_prefix("f:") else { continue };
        let value = &live[name];
        at.push(name.to_owned());
        if below.as_object().is_some_and(serde_json::Map::is_empty) {
            let other = match value {
                Value::String(text) if text.parse::<i64>().is_ok() => Some(json!("7")),
                Value::String(text) => Some(json!(format!("{text}x"))),
                Value::Number(number) => Some(json!(number.as_i64().unwrap_or(1) + 1)),
                Value::Bool(value) => Some(json!(!value)),
                Value::Array(_) | Value::Object(_) => Some(Value::Null),
                Value::Null => None,
            };
            out.extend(other.map(|other| at.iter().rev().fold(other, |inner, name| json!({ name.as_str(): inner }))));
        } else {
            owned_leaves(below, value, at, out);
        }
        at.pop();
    }
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
