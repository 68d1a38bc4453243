//! What an account may not do on a real API server: it is told, and nothing is concluded or written beyond it.

use serde_json::{Value, json};

use crate::harness::{Place, http, place::unique};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Makes an account and lets the application use it; returns the account's user.
fn limited(place: &mut Place) -> String {
    let (user, token) = place.cluster.user(&place.namespace);
    let kubeconfig = place.cluster.kubeconfig_of(place.dir(), &token);
    place.app("web").kubernetes = Some(format!("{{ kubeconfig: {kubeconfig:?}, namespace: {} }}", place.namespace));
    user
}

/// Lets an account do these things, in one namespace or everywhere; again with others, it may do those instead.
fn permit(place: &Place, user: &str, namespace: Option<&str>, rules: &Value) {
    let base = namespace.map_or_else(|| RBAC.to_owned(), |namespace| format!("{RBAC}/namespaces/{namespace}"));
    let (role, of) = if namespace.is_some() { ("Role", "roles") } else { ("ClusterRole", "clusterroles") };
    let object =
        |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": user}});
    let mut made = object(role);
    made["rules"] = rules.clone();
    place.api().apply(&format!("{base}/{of}/{user}"), "test", &made);
    let mut binding = object(&format!("{role}Binding"));
    binding["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": user});
    binding["subjects"] = json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]);
    place.api().apply(&format!("{base}/{}bindings/{user}", &of[..of.len() - 1]), "test", &binding);
}

fn all() -> Value {
    json!(["get", "list", "watch", "create", "patch", "update", "delete"])
}

fn maps(verbs: &Value) -> Value {
    json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}])
}

#[test]
fn k8s_an_account_of_two_namespaces_sees_a_change_by_hand_at_once() {
    let mut place = Place::new();
    let user = limited(&mut place);
    let second = unique("second");
    place
        .api()
        .create("/api/v1/namespaces", &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": second}}));
    for namespace in [place.namespace.as_str(), &second] {
        permit(&place, &user, Some(namespace), &maps(&all()));
    }
    let port = http::free_port();
    place.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    // Nothing but the watch tells.
    place.app("web").interval("24h");
    place.config_maps(0..3, "one");
    place.repo.write(
        "far.yaml",
        &format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: far, namespace: {second} }}\ndata: {{ value: one }}\n"
        ),
    );
    place.repo.publish("in two namespaces");
    for _ in 0..3 {
        place.advance(25 * 60);
        let _ = place.cycle();
    }
    assert_eq!(place.held().len(), 3);
    place.holdfast(&["doctor"]).exits(0);
    let mut controller = place.controller();
    controller
        .until("it is ready", || http::request(port, "GET", "/readyz", &[], "").filter(|answer| answer.status == 200));
    controller.until_status("a cycle is over", "web", |status| status.at("/lastCycle/complete") == true);
    let far = format!("/api/v1/namespaces/{second}/configmaps/far");
    place.api().merge(&far, "some-operator", &json!({"data": {"value": "theirs"}}));
    controller.until_status("the drift of one namespace is told", "web", |status| status.number("/drift/changed") == 1);
    place.api().merge(&place.path("c001"), "some-operator", &json!({"data": {"value": "theirs"}}));
    controller.until_status("the drift of the other is told", "web", |status| status.number("/drift/changed") == 2);
    assert!(!controller.log().contains("not watched"), "{}", controller.log());
    assert!(controller.stop().success());
}

#[test]
fn k8s_without_the_permission_to_patch_it_only_observes_and_says_so() {
    let mut place = Place::new();
    let user = limited(&mut place);
    permit(&place, &user, None, &maps(&all()));
    place.config_maps(0..6, "one").publish("six");
    let before = place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace));
    permit(&place, &user, None, &maps(&json!(["get", "list", "watch"])));
    place.assert_steady(1);
    place.assert_free("web");

    place.api().merge(&place.path("c001"), "some-operator", &json!({"data": {"value": "theirs"}}));
    place.repo.remove("c005.yaml");
    place.config_map("c000", "two").config_map("new", "n").repo.publish("one of each");
    place.advance(40);
    place.counted_cycles(3);
    let status = place.assert_latch("web", "OBSERVE", &["permission"]);
    let said = status.latch("OBSERVE").expect("it was just asserted").to_string();
    assert!(said.contains("cannot patch") && said.contains("holdfast doctor"), "{said}");
    assert!(status.reason("OBSERVATION", "observation").to_string().contains("unconfirmed"), "{:#}", status.0);
    assert_eq!((status.number("/drift/changed"), status.number("/drift/missing")), (0, 0), "claimed unconfirmed");
    let after = place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace));
    let changed: Vec<&String> =
        after.iter().filter(|(name, version)| before.get(*name) != Some(version)).map(|(name, _)| name).collect();
    assert_eq!((changed, after.len()), (vec![&"\"c001\"".to_owned()], before.len()), "something was written");
    place
        .holdfast(&["doctor"])
        .exits(1)
        .says(&["may not create, patch, delete configmaps", "verbs: [create, patch, delete]"]);

    permit(&place, &user, None, &maps(&all()));
    place.counted_cycles(4);
    place.settle();
    assert_eq!(place.status("web").number("/drift/changed"), 1, "it was drift all the time");
    place.advance(40);
    place.counted_cycles(2);
    place.assert_free("web");
    assert_eq!(place.held()["c001"], "one");
}

#[test]
fn k8s_without_the_permission_for_one_kind_that_is_refused_and_the_others_are_healed() {
    let mut place = Place::new();
    let user = limited(&mut place);
    // To create by an apply takes both.
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch", "patch"]});
    let mut rules = maps(&all());
    rules.as_array_mut().expect("it is a list").push(secrets);
    permit(&place, &user, Some(&place.namespace.clone()), &rules);
    place.config_maps(0..6, "one").publish("six");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: s, namespace: {} }}\ndata: {{ a: YQ== }}\n",
        place.namespace
    );
    place.repo.write("s.yaml", &secret);
    place.config_map("c000", "two").repo.publish("a kind that is not permitted");
    place.api().delete(&place.path("c003"));
    place.counted_cycles(2);
    let status = place.assert_latch("web", "RENDER", &["refused"]);
    assert!(status.latch("RENDER").expect("it was just asserted").to_string().contains("/Secret/"), "{:#}", status.0);
    place.assert_no_latch("web", "OBSERVE");
    let held = place.held();
    assert_eq!((held["c003"].as_str(), held["c000"].as_str()), ("one", "one"));
    place.holdfast(&["doctor"]).exits(1).says(&["may not create, delete secrets"]);
}

#[test]
fn k8s_what_may_not_be_listed_may_go_with_a_custom_object_so_that_its_deletion_waits_for_an_approval() {
    let mut place = Place::new();
    let group = format!("{}.example.org", unique("g"));
    place.cluster.define(&group, "Widget", "widgets");
    let user = limited(&mut place);
    let mut rules = maps(&all());
    rules
        .as_array_mut()
        .expect("it is a list")
        .push(json!({"apiGroups": [group], "resources": ["widgets"], "verbs": all()}));
    permit(&place, &user, Some(&place.namespace.clone()), &rules);
    place.config_maps(0..3, "one");
    let widget =
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: w, namespace: {} }}\n", place.namespace);
    place.repo.write("w.yaml", &widget);
    place.publish("a custom object");
    place.repo.remove("w.yaml");
    place.publish("without it");
    let parked = place.status("web").list("/parked").to_vec();
    assert!(
        parked.len() == 1 && parked[0]["resource"].as_str().is_some_and(|id| id.contains("/Widget/")),
        "{parked:?}"
    );
    place.assert_printed(&["may not be listed"]);
    place.approve("web", parked[0]["digest"].as_str().expect("a digest is text")).ok();
    place.counted_cycles(2);
    assert!(place.api().get(&format!("/apis/{group}/v1/namespaces/{}/widgets/w", place.namespace)).is_none());
}
