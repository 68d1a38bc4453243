//! What commits cease to declare on a real API server and is still there: told, judged by whoever owns it, taken away once.
//!
//! Every cycle is a process of its own: what is remembered in between is what the ledger holds.

use serde_json::{Value, json};

use crate::harness::Place;

/// Writes the ConfigMap `c` with these values into the repository.
fn map(place: &Place, data: &Value) {
    let meta = json!({"name": "c", "namespace": place.namespace});
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data});
    place.repo.write("c.yaml", &object.to_string());
}

/// Makes a world with five ConfigMaps and `c`, which holds `value` and `keep`.
fn world() -> Place {
    let place = Place::new();
    map(&place, &json!({"value": "one", "keep": "x"}));
    place.config_maps(0..5, "one").publish("six");
    place
}

fn data(place: &Place) -> Value {
    place.api().get(&place.path("c")).expect("it is there")["data"].clone()
}

/// Drops `value` of `c`, and follows.
#[track_caller]
fn dropped(place: &Place) {
    map(place, &json!({"keep": "x"}));
    place.publish("drop a value");
    place.counted_cycle();
}

#[track_caller]
fn drift(place: &Place) -> Value {
    let document = place.holdfast(&["drift", "web", "--output", "json"]).ok().json();
    document["applications"][0]["drift"].clone()
}

#[test]
fn k8s_leftover_of_a_person_s_edit_is_an_emergency_and_taken_away_only_when_the_policy_says_so() {
    let mut place = world();
    place.api().merge(&place.path("c"), "kubectl-edit", &json!({"data": {"value": "by hand"}}));
    place.counted_cycle();
    dropped(&place);
    place.counted_cycles(2);
    let told = drift(&place);
    assert_eq!((&told["leftover"], &told["changed"]), (&json!(1), &json!(1)), "{told:#}");
    assert_eq!(told["byClass"], json!({"emergency": 1}));
    let one = &told["resources"][0];
    let owner = json!({"name": "kubectl-edit", "hand": "person"});
    assert_eq!(one["leftover"], json!([{"path": "/data/value", "owners": [owner]}]), "{one:#}");
    assert_eq!(one["diff"], json!([{"path": "/data/value", "old": "by hand"}]), "{one:#}");
    let said = place.holdfast(&["drift", "web"]).ok().stdout + &place.status_text();
    assert!(said.contains("no longer declared and still there: /data/value; escalated"), "{said}");
    assert_eq!(place.holdfast(&["plan", "web", "--exit-code"]).code, Some(2));
    // However long it takes, without being told to.
    place.advance(24 * 60);
    place.counted_cycles(2);
    assert_eq!(data(&place), json!({"value": "by hand", "keep": "x"}));
    place.app("web").drift("emergency: { escalate: { revertAfter: 8h } }");
    place.counted_cycle();
    if let Some(loosened) = place.status("web").at("/configuration/digest").as_str() {
        place.approve("web", loosened).ok();
    }
    place.counted_cycles(2);
    assert_eq!(data(&place), json!({"keep": "x"}));
    let object = place.api().get(&place.path("c")).expect("it is there");
    let owners: Vec<&Value> =
        object["metadata"]["managedFields"].as_array().unwrap().iter().map(|m| &m["manager"]).collect();
    assert_eq!(owners, ["holdfast"]);
    place.assert_steady(2);
}

#[test]
fn k8s_leftover_of_a_program_is_announced_and_taken_away_once() {
    let place = world();
    place.api().merge(&place.path("c"), "some-script", &json!({"data": {"value": "theirs"}}));
    dropped(&place);
    let told = drift(&place);
    assert_eq!((&told["leftover"], &told["byClass"]), (&json!(1), &json!({"fresh": 1})), "{told:#}");
    assert_eq!(data(&place)["value"], "theirs");
    place.advance(31);
    place.counted_cycles(2);
    assert_eq!(data(&place), json!({"keep": "x"}));
    let history = place.holdfast(&["history", "web", "--output", "json"]).ok().stdout;
    assert!(history.contains("/data/value"), "{history}");
    place.assert_steady(1);
    // What is there again was put there: nobody's leftover, and no fight.
    place.api().merge(&place.path("c"), "some-script", &json!({"data": {"value": "again"}}));
    place.assert_steady(2);
    assert_eq!(data(&place)["value"], "again");
}

#[test]
fn k8s_leftover_that_was_made_ours_and_not_yet_let_go_is_let_go_after_a_crash() {
    let place = world();
    place.api().merge(&place.path("c"), "some-script", &json!({"data": {"value": "theirs"}}));
    dropped(&place);
    // As far as a process came that was killed between the two requests of taking it away.
    let object = place.api().get(&place.path("c")).expect("it is there");
    let entries = object["metadata"]["managedFields"].as_array().expect("it has managers");
    let mut ours = entries.iter().find(|entry| entry["manager"] == "holdfast").expect("we are one").clone();
    ours["fieldsV1"]["f:data"]["f:value"] = json!({});
    let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [ours]}]);
    let path = format!("{}?fieldManager=holdfast", place.path("c"));
    let (code, said) = place.api().ask("PATCH", &path, "application/json-patch+json", Some(&patch));
    assert_eq!(code, 200, "{said}");
    place.counted_cycle();
    assert_eq!(drift(&place)["changed"], 1);
    place.advance(31);
    place.counted_cycles(2);
    assert_eq!(data(&place), json!({"keep": "x"}));
    place.assert_steady(2);
}

#[test]
fn k8s_leftover_that_somebody_else_applies_is_handed_over() {
    let place = world();
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"value": "one"}});
    place.api().apply(&place.path("c"), "another-controller", &theirs);
    dropped(&place);
    place.advance(24 * 60);
    place.counted_cycles(2);
    assert_eq!(data(&place)["value"], "one");
    let told = drift(&place);
    assert_eq!(told["leftover"], 0, "{told:#}");
    let owner = json!({"name": "another-controller", "hand": "applies"});
    let left = json!([{"path": "/data/value", "owners": [owner]}]);
    assert_eq!(told["handedOver"], json!([{"resource": place.id("c"), "leftover": left}]), "{told:#}");
    place.holdfast(&["drift", "web"]).ok().says(&["/data/value is not declared any longer; another-controller does"]);
    place.assert_steady(1);
    // Whoever lets it go lets it go: it is gone.
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    place.api().apply(&place.path("c"), "another-controller", &nothing);
    place.assert_steady(1);
    assert!(drift(&place).get("handedOver").is_none());
}

fn deployment(place: &Place, more: bool) -> Value {
    let (mut env, mut labels) = (vec![json!({"name": "A", "value": "1"})], json!({"app": "d"}));
    if more {
        env.push(json!({"name": "DEBUG", "value": "0"}));
        labels["tier"] = json!("front");
    }
    let container = json!({"name": "web", "image": "nginx:1.25", "env": env});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    if more {
        spec["replicas"] = json!(3);
        spec["strategy"] = json!({"type": "Recreate"});
    }
    let meta = json!({"name": "d", "namespace": place.namespace, "labels": labels});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})
}

fn deployed(place: &Place) -> String {
    place.repo.write("d.yaml", &deployment(place, true).to_string());
    place.config_maps(0..5, "one").publish("a deployment");
    format!("/apis/apps/v1/namespaces/{}/deployments/d", place.namespace)
}

#[test]
fn k8s_leftover_labels_and_list_items_go_and_what_the_server_defaults_is_none() {
    let place = Place::new();
    let path = deployed(&place);
    // Somebody who makes an item anew owns all of it; who changes a value of it, that value.
    let env = |item: Value| json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [item]}]}}}});
    let at = format!("{path}?fieldManager=some-script");
    for item in [json!({"name": "DEBUG", "$patch": "delete"}), json!({"name": "DEBUG", "value": "9"})] {
        let (code, said) = place.api().ask("PATCH", &at, "application/strategic-merge-patch+json", Some(&env(item)));
        assert_eq!(code, 200, "{said}");
    }
    place.api().merge(&path, "some-script", &json!({"metadata": {"labels": {"tier": "back"}}}));
    // Dropped as well: replicas and the strategy, which only we own.
    place.repo.write("d.yaml", &deployment(&place, false).to_string());
    place.publish("drop half of it");
    // What somebody changed is announced before a commit goes over it; then what is left is announced in turn.
    place.advance(31);
    place.counted_cycles(2);
    let told = drift(&place);
    let paths: Vec<&Value> =
        told["resources"][0]["leftover"].as_array().into_iter().flatten().map(|left| &left["path"]).collect();
    let item = "/spec/template/spec/containers/k:{\"name\":\"web\"}/env/k:{\"name\":\"DEBUG\"}";
    assert_eq!(paths, ["/metadata/labels/tier", item], "{told:#}");
    place.advance(31);
    place.counted_cycles(2);
    let object = place.api().get(&path).expect("it is there");
    assert!(object["metadata"]["labels"].get("tier").is_none(), "{object:#}");
    let env = &object["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{"name": "A", "value": "1"}]));
    assert_eq!(
        (&object["spec"]["replicas"], &object["spec"]["strategy"]["type"]),
        (&json!(1), &json!("RollingUpdate"))
    );
    place.assert_steady(2);
}

#[test]
fn k8s_leftover_replicas_of_an_autoscaler_are_its_own() {
    let place = Place::new();
    let path = deployed(&place);
    place.api().merge(&format!("{path}/scale"), "autoscaler", &json!({"spec": {"replicas": 5}}));
    let mut wanted = deployment(&place, true);
    wanted["spec"].as_object_mut().unwrap().remove("replicas");
    place.repo.write("d.yaml", &wanted.to_string());
    place.publish("leave the replicas to the autoscaler");
    place.advance(24 * 60);
    place.assert_steady(2);
    assert_eq!(place.api().get(&path).expect("it is there")["spec"]["replicas"], 5);
    assert!(drift(&place).get("handedOver").is_none());
}

#[test]
fn k8s_leftover_of_what_was_accepted_by_an_older_version_is_known_from_the_next_agreement_on() {
    let place = world();
    let ledger = place.config.state.join("ledger.db");
    let older = |sql: &str| {
        let conn = rusqlite::Connection::open(&ledger).expect("the ledger is there");
        conn.execute_batch(sql).expect("it can be written");
    };
    older("ALTER TABLE resource DROP COLUMN owned; ALTER TABLE resource DROP COLUMN remains; PRAGMA user_version = 2");
    place.assert_steady(1);
    place.api().merge(&place.path("c"), "kubectl-edit", &json!({"data": {"value": "by hand"}}));
    dropped(&place);
    assert_eq!(drift(&place)["leftover"], 1);
}
