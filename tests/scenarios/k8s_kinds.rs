//! Kinds and manifests on a real API server: what a manifest says is what is stored, whatever the kind, and where it belongs.

use serde_json::json;

use crate::harness::{Place, place::unique};

#[test]
fn k8s_what_a_manifest_says_is_what_the_server_stores_in_typed_lists_too_and_in_any_character() {
    let place = Place::new();
    let namespace = &place.namespace;
    let text = "del \u{7f} next \u{85} line \u{2028} paragraph \u{2029} bom \u{feff} wide \u{1f600} tab \t end";
    let as_json = serde_json::to_string(text).expect("it is text").replace('\u{2028}', "\\u2028");
    let as_json = as_json.replace('\u{2029}', "\\u2029").replace('\u{85}', "\\u0085").replace('\u{7f}', "\\u007f");
    place.repo.write(
        "odd.yaml",
        &format!(
            "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {{ name: odd, namespace: {namespace} }}\n  data:\n    text: {as_json}\n    \
             yes: 'no'\n    0644: \"0644\"\n    merged: &m |\n      ---\n      x\n    again: *m\n\
             - metadata: {{ name: even, namespace: {namespace} }}\n"
        ),
    );
    place.repo.write(
        "mode.json",
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: mode, namespace: {namespace} }}\nspec:\n  automountServiceAccountToken: off\n  \
             containers: [{{ name: a, image: b }}]\n  volumes: [{{ name: v, configMap: {{ name: odd, defaultMode: 0640 }} }}]\n"
        ),
    );
    place.publish("one file of each");
    let odd = place.api().get(&place.path("odd")).expect("it is there");
    let block = "---\nx\n";
    assert_eq!(odd["data"], json!({ "text": text, "true": "no", "420": "0644", "merged": block, "again": block }));
    assert!(place.api().get(&place.path("even")).is_some());
    let pod = place.api().get(&format!("/api/v1/namespaces/{namespace}/pods/mode")).expect("it is there");
    assert_eq!(pod["spec"]["volumes"][0]["configMap"]["defaultMode"], 0o640);
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    place.assert_steady(2);
}

#[test]
fn k8s_a_custom_object_is_named_by_the_scope_of_its_definition_in_the_same_commit_and_stays_so() {
    let place = Place::new();
    let group = format!("{}.example.org", unique("g"));
    let definition = |kind: &str, plural: &str, scope: &str| {
        let schema = "{ openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }";
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {plural}.{group} }}\n\
             spec: {{ group: {group}, scope: {scope}, names: {{ kind: {kind}, plural: {plural} }}, versions: [ {{ name: v1, served: true, storage: true, schema: {schema} }} ] }}\n"
        )
    };
    let object = |kind: &str, name: &str| {
        format!("apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {{ size: 1 }}\n")
    };
    place.repo.write(
        "all/crds.yaml",
        &[definition("Widget", "widgets", "Namespaced"), definition("Estate", "estates", "Cluster")].join("---\n"),
    );
    place.repo.write("all/objects.yaml", &[object("Widget", "w"), object("Estate", "e")].join("---\n"));
    place.repo.publish("definitions and their objects");
    let (widget, estate) = (format!("{group}/Widget/{}/w", place.namespace), format!("{group}/Estate//e"));
    let planned = |place: &Place| -> Vec<String> {
        let plan = place.plan("web");
        plan.operations().iter().filter_map(|op| op["resource"].as_str().map(str::to_owned)).collect()
    };
    place.counted_cycle();
    let first = planned(&place);
    assert!(first.contains(&widget) && first.contains(&estate), "{first:?}");
    place.settle();
    let path = format!("/apis/{group}/v1/namespaces/{}/widgets/w", place.namespace);
    let uid = || place.api().get(&path).expect("it is there")["metadata"]["uid"].clone();
    let before = uid();
    place.assert_steady(2);
    assert_eq!(uid(), before);

    // Its definition becomes another's, and its namespace is written out: still the same object, and not one is deleted.
    place.repo.write(
        "all/objects.yaml",
        &[
            object("Widget", "w").replace("name: w", &format!("name: w, namespace: {}", place.namespace)),
            object("Estate", "e"),
        ]
        .join("---\n"),
    );
    place.publish("the namespace is written out");
    place.assert_steady(1);
    assert_eq!(uid(), before);

    place.repo.write("all/more.yaml", &object("Estate", "f").replace("name: f", "name: f, namespace: somewhere"));
    place.repo.publish("a namespace where there are none");
    place.counted_cycle();
    let said =
        place.assert_latch("web", "RENDER", &["render"]).latch("RENDER").expect("it was just asserted").to_string();
    assert!(said.contains("all/more.yaml") && said.contains("outside of namespaces"), "{said}");
}

#[test]
fn k8s_an_object_that_is_named_in_another_way_is_the_same_object_and_is_not_deleted() {
    let place = Place::new();
    let group = format!("{}.example.org", unique("g"));
    place.cluster.define(&group, "Widget", "widgets");
    let object = |name: &str| {
        format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: {name} }}\nspec: {{ size: 1 }}\n")
    };
    let named = format!("w, namespace: {}", place.namespace);
    place.config_maps(0..3, "one");
    place.repo.write("w.yaml", &object("w"));
    place.publish("somebody else's kind, and no namespace");
    let path = format!("/apis/{group}/v1/namespaces/{}/widgets/w", place.namespace);
    let seen = || place.api().get(&path).expect("it is there")["metadata"].clone();
    let before = seen();
    for name in [named.as_str(), "w"] {
        place.repo.write("w.yaml", &object(name));
        place.publish("named in another way");
        place.assert_steady(1);
        assert_eq!(seen()["uid"], before["uid"]);
        assert_eq!(seen()["resourceVersion"], before["resourceVersion"], "written although nothing changed");
    }
    // Both at once are one object twice.
    place.repo.write("again.yaml", &object(&named));
    place.repo.publish("twice");
    place.counted_cycle();
    let said =
        place.assert_latch("web", "RENDER", &["refused"]).latch("RENDER").expect("it was just asserted").to_string();
    assert!(said.contains("the same object"), "{said}");
    place.counted_cycles(2);
    assert_eq!(seen()["uid"], before["uid"]);
}
