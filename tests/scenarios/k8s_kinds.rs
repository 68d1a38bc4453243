//! Kinds and manifests on a real API server: what a manifest says is what is stored, whatever the kind, and where it belongs.

use serde_json::json;

use crate::harness::Place;

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
