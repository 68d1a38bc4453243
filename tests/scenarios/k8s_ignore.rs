//! `drift.ignore` on a real API server: what others own at ignored paths is no drift, and nobody's write takes it back.

use serde_json::{Value, json};

use crate::harness::Place;

const REPLICAS: &str = "ignore: [ { kind: Deployment, paths: [ /spec/replicas ] } ]";

fn deployment(place: &Place, replicas: Option<u32>, env: &str) {
    let container = json!({"name": "web", "image": "nginx:1.25", "env": [{"name": "A", "value": env}]});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    if let Some(replicas) = replicas {
        spec["replicas"] = json!(replicas);
    }
    let meta = json!({"name": "d", "namespace": place.namespace, "labels": {"app": "d"}});
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec});
    place.repo.write("d.yaml", &object.to_string());
}

/// Makes a world with a deployment of three replicas, and this `drift`.
fn world(drift: Option<&str>) -> (Place, String) {
    let mut place = Place::new();
    if let Some(drift) = drift {
        place.app("web").drift(drift);
    }
    deployment(&place, Some(3), "1");
    place.config_maps(0..5, "one").publish("a deployment");
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/d", place.namespace);
    (place, path)
}

fn live(place: &Place, path: &str, pointer: &str) -> Value {
    let object = place.api().get(path).expect("it is there");
    object.pointer(pointer).cloned().unwrap_or_default()
}

const ENV: &str = "/spec/template/spec/containers/0/env/0/value";

#[test]
fn k8s_ignored_replicas_that_were_scaled_stay_whatever_else_is_written() {
    let (place, path) = world(Some(REPLICAS));
    let replicas = || live(&place, &path, "/spec/replicas");
    assert_eq!(replicas(), 3, "what is declared holds for what is made");
    place.cluster.kubectl(&["scale", "deployment/d", "--replicas=5", "-n", &place.namespace]);
    place.assert_steady(2);
    // A commit that changes something else of it.
    deployment(&place, Some(3), "2");
    place.publish("another value");
    assert_eq!((replicas(), live(&place, &path, ENV)), (json!(5), json!("2")));
    place.assert_steady(2);
    // Drift of something else of it that is taken back.
    place.api().merge(&path, "some-script", &json!({"metadata": {"labels": {"app": "theirs"}}}));
    place.counted_cycle();
    assert_eq!(place.status("web").number("/drift/changed"), 1);
    place.advance(31);
    place.counted_cycles(2);
    assert_eq!((replicas(), live(&place, &path, "/metadata/labels/app")), (json!(5), json!("d")));
    // A commit that changes what is ignored: it is for whoever scales.
    deployment(&place, Some(4), "2");
    place.publish("another number");
    assert_eq!(replicas(), 5);
    place.assert_steady(1);
    // What is missing is made as it is declared.
    place.api().delete(&path);
    place.cluster.until("it is gone", |api| api.get(&path).is_none().then_some(()));
    place.counted_cycles(2);
    assert_eq!(replicas(), 4);
    place.assert_steady(1);
}

#[test]
fn k8s_ignored_replicas_that_nobody_else_owns_are_what_commits_say() {
    let (place, path) = world(Some(REPLICAS));
    deployment(&place, Some(4), "1");
    place.publish("four");
    assert_eq!(live(&place, &path, "/spec/replicas"), 4);
    place.assert_steady(1);
    // And dropped ones that an autoscaler took are its own.
    place.api().merge(&format!("{path}/scale"), "autoscaler", &json!({"spec": {"replicas": 7}}));
    deployment(&place, None, "1");
    place.publish("none");
    assert_eq!(live(&place, &path, "/spec/replicas"), 7);
    place.assert_steady(1);
}

#[test]
fn k8s_ignoring_more_is_held_until_it_is_approved() {
    let (mut place, path) = world(None);
    place.api().merge(&format!("{path}/scale"), "autoscaler", &json!({"spec": {"replicas": 5}}));
    place.counted_cycle();
    assert_eq!(place.status("web").number("/drift/changed"), 1);
    place.app("web").drift(REPLICAS);
    place.counted_cycle();
    let status = place.status("web");
    assert_eq!(*status.at("/configuration/loosened"), json!(["drift.ignore"]), "{:#}", status.0);
    assert_eq!(status.number("/drift/changed"), 1, "it is ignored before anybody approved");
    let version = live(&place, &path, "/metadata/generation");
    place.approve("web", status.text("/configuration/digest")).ok();
    place.counted_cycle();
    place.advance(31);
    place.assert_steady(2);
    assert_eq!(live(&place, &path, "/metadata/generation"), version, "it was written to");
    // Ignoring less is no loosening: what was ignored is drift at once.
    place.app("web").drift("ignore: []");
    place.counted_cycle();
    assert_eq!(place.status("web").number("/drift/changed"), 1);
}

#[test]
fn k8s_ignored_items_of_lists_and_whole_kinds_are_left_alone() {
    let ignore = "ignore: [ { kind: Deployment.apps, resource: 'apps/**', paths: [ '/spec/template/spec/containers/name=web/image' ] }, { kind: ConfigMap } ]";
    let (place, path) = world(Some(ignore));
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}}}});
    let at = format!("{path}?fieldManager=image-updater");
    let (code, said) = place.api().ask("PATCH", &at, "application/strategic-merge-patch+json", Some(&image));
    assert_eq!(code, 200, "{said}");
    place.api().merge(&place.path("c001"), "some-script", &json!({"data": {"value": "theirs"}}));
    place.advance(31);
    place.assert_steady(2);
    deployment(&place, Some(3), "2");
    place.publish("another value");
    let now = |pointer: &str| live(&place, &path, pointer);
    assert_eq!((now("/spec/template/spec/containers/0/image"), now(ENV)), (json!("nginx:1.27"), json!("2")));
    assert_eq!(place.held()["c001"], "theirs");
    // Another container's image is nobody's to change.
    place.api().merge(&path, "some-script", &json!({"metadata": {"labels": {"app": "x"}}}));
    place.counted_cycle();
    assert_eq!(place.status("web").number("/drift/changed"), 1);
}
