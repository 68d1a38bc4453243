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
