//! Objects as people write them.

use serde_json::{Value, json};

use super::*;
use crate::core::op::{Effect, update_effect};

fn yaml(text: &str) -> Vec<Object> {
    parse(text.as_bytes(), "default").unwrap()
}

fn one(text: &str) -> Object {
    let [object] = <[Object; 1]>::try_from(yaml(text)).unwrap();
    object
}

fn error(text: &str) -> String {
    parse(text.as_bytes(), "default").unwrap_err().to_string()
}

fn value(object: &Object) -> Value {
    serde_json::from_slice(&object.json).unwrap()
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web, namespace: shop }\n";

#[test]
fn an_identity_is_group_kind_namespace_and_name_whatever_the_version() {
    assert_eq!(one(MAP).id.as_str(), "/ConfigMap/shop/web");
    let deployment =
        |version: &str| one(&format!("apiVersion: {version}\nkind: Deployment\nmetadata: {{ name: api }}\n"));
    assert_eq!(deployment("apps/v1").id.as_str(), "apps/Deployment/default/api");
    assert_eq!(deployment("apps/v1").id, deployment("apps/v1beta1").id);
    assert_ne!(deployment("apps/v1").digest, deployment("apps/v1beta1").digest);
    let namespace = one("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    assert_eq!(namespace.id.as_str(), "/Namespace//shop");
    // Whether it lives in a namespace only the server knows.
    let custom = one("apiVersion: example.com/v1\nkind: Widget\nmetadata: { name: w }\n");
    assert_eq!(custom.id.as_str(), "example.com/Widget//w");
    for object in [&namespace, &custom] {
        assert_eq!(Key::parse(&object.id).as_ref(), Some(&object.key));
    }
    for odd in ["", "a/b/c", "a//c/d", "a/b/c/", "a/b/c/d/e"] {
        assert_eq!(Key::parse(&crate::core::resource::Id::new(odd)), None, "{odd}");
    }
}

#[test]
fn one_meaning_has_one_form() {
    let written = one("# a comment\nkind: ConfigMap\nmetadata: {namespace: shop, name: \"web\"}\napiVersion: v1\n");
    assert_eq!((written.digest, &written.json), (one(MAP).digest, &one(MAP).json));
    let exported = one(&format!("{MAP}status: {{ x: 1 }}\n"));
    assert_eq!(exported.digest, one(MAP).digest);
    let exported =
        one("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web, namespace: shop, uid: u, resourceVersion: '1', \
         generation: 2, creationTimestamp: null, managedFields: [] }\n");
    assert_eq!(exported.digest, one(MAP).digest);
}

#[test]
fn string_data_is_what_the_server_stores() {
    let secret =
        one("apiVersion: v1\nkind: Secret\nmetadata: { name: s }\ndata: { a: eA== }\nstringData: { b: why, a: z }\n");
    assert_eq!(value(&secret)["data"], json!({ "a": "eg==", "b": "d2h5" }));
    assert!(value(&secret).get("stringData").is_none());
    assert!(
        error("apiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData: { b: 1 }\n")
            .contains("quote the value")
    );
}

#[test]
fn lists_and_documents_are_unfolded_and_empty_ones_are_none() {
    let text = format!(
        "---\n# nothing\n---\n{MAP}---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Namespace, metadata: {{name: a}}}}\n"
    );
    let ids: Vec<String> = yaml(&text).iter().map(|object| object.id.to_string()).collect();
    assert_eq!(ids, ["/ConfigMap/shop/web", "/Namespace//a"]);
    let json = br#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}} {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}"#;
    assert_eq!(parse(json, "default").unwrap().len(), 2);
}

#[test]
fn yaml_is_read_as_the_api_server_reads_it() {
    let object = one(&format!("{MAP}data: {{ }}\nx: {{ mode: 0644, on: yes, off: no, text: '0644', none: ~ }}\n"));
    let x = &value(&object)["x"];
    assert_eq!((&x["mode"], &x["text"], &x["none"]), (&json!(420), &json!("0644"), &Value::Null));
    assert!(error(&format!("{MAP}data: {{}}\ndata: {{}}\n")).contains("duplicate"));
    let merged = one(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\nx: &x { b: '1', c: '2' }\ndata: { <<: *x, c: '3' }\n",
    );
    assert_eq!(value(&merged)["data"], json!({ "b": "1", "c": "3" }));
}

#[test]
fn what_is_wrong_says_where_and_what_to_do() {
    for (text, told) in [
        ("a: 1\n", "document 1: it has no apiVersion"),
        ("apiVersion: v1\nkind: ConfigMap\n", "metadata.name"),
        ("- a\n", "it is no object"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: { name: a, namespace: b }\n", "outside of namespaces"),
        ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "render: { kustomize: {} }"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a/b }\n", "no name that an object can have"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: { generateName: a }\n", "generateName"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: y }\n", "quote it"),
        ("apiVersion: v1\nkind: X\nmetadata: { name: a }\nitems: []\n", "makes it a list to kubectl"),
        (
            "apiVersion: v1\nkind: X\na: 1\na: 2\n",
            "document 1: it does not parse: line 4: the key \"a\" is there twice",
        ),
    ] {
        assert!(error(text).contains(told), "{}", error(text));
    }
    assert!(
        error(&format!("{MAP}---\na: [\n")).starts_with("document 2: it does not parse"),
        "{}",
        error(&format!("{MAP}---\na: [\n"))
    );
    assert!(parse(&[0xff], "default").is_err());
}

#[test]
fn a_document_that_unfolds_without_end_is_an_error() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for at in 1..10 {
        let before = at - 1;
        bomb.push_str(&format!("a{at}: &a{at} [{}]\n", vec![format!("*a{before}"); 10].join(",")));
    }
    assert!(error(&bomb).contains("does not parse"));
}

fn effect(old: &str, new: &str) -> Effect {
    let live: Value = value(&one(old));
    update_effect(&nature(&live, Side::Live { owned: true }), &one(new).nature)
}

#[test]
fn emptying_stopping_and_other_selectors_are_deletes() {
    let deployment =
        |spec: &str| format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: a }}\nspec: {{ {spec} }}\n");
    let cases = [
        (deployment("replicas: 3"), deployment("replicas: 0"), Effect::Delete),
        (deployment("replicas: 3"), deployment("replicas: 1"), Effect::Update),
        (deployment("replicas: 3"), deployment("paused: true"), Effect::Update),
        (deployment("replicas: 0"), deployment("replicas: 0"), Effect::Update),
        (deployment("selector: { a: b }"), deployment("selector: { a: c }"), Effect::Delete),
        (deployment("suspend: false"), deployment("suspend: true"), Effect::Delete),
        (format!("{MAP}data: {{ a: b }}\n"), format!("{MAP}data: {{}}\n"), Effect::Delete),
        (format!("{MAP}data: {{ a: b }}\n"), format!("{MAP}data: {{ a: c }}\n"), Effect::Update),
        (format!("{MAP}data: {{ a: b }}\n"), format!("{MAP}binaryData: {{ a: Yg== }}\n"), Effect::Update),
    ];
    for (old, new, expected) in cases {
        assert_eq!(effect(&old, &new), expected, "{old}{new}");
    }
    let finalized = MAP.replace("name: web", "name: web, finalizers: [a/b]");
    assert_eq!(effect(&finalized, MAP), Effect::Delete);
    let others: Value = value(&one(&finalized));
    let others = nature(&others, Side::Live { owned: false });
    assert_eq!(update_effect(&others, &one(MAP).nature), Effect::Update, "others' finalizers stay where they are");
}

#[test]
fn marks_protect_and_hold() {
    let marked = |mark: &str| one(&MAP.replace("name: web", &format!("name: web, annotations: {{ {mark} }}")));
    assert!(marked("holdfast.dev/protect: 'true'").nature.protected);
    assert!(!marked("holdfast.dev/protect: 'false'").nature.protected && !one(MAP).nature.protected);
    assert!(holds(&value(&marked("holdfast.dev/hold: incident"))) && !holds(&value(&one(MAP))));
}

#[test]
fn only_listed_metadata_is_inert_and_generated_names_share_a_stem() {
    let chart = |version: &str, more: &str| {
        one(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: a, labels: {{ helm.sh/chart: {version} }} }}\nspec:\n  \
             template: {{ metadata: {{ labels: {{ helm.sh/chart: {version}, more: '{more}' }} }} }}\n"
        ))
    };
    let essence = |object: &Object| object.nature.essence.unwrap();
    assert_eq!(essence(&chart("a-1", "x")), essence(&chart("a-2", "x")));
    assert_ne!(essence(&chart("a-1", "x")), essence(&chart("a-2", "y")));
    assert_eq!(one(MAP).nature.essence, None);
    let named = |name: &str| one(&MAP.replace("name: web", &format!("name: {name}"))).nature.stem.clone();
    assert_eq!(named("web-bk2h4m79df").as_deref(), Some("/ConfigMap/shop/web"));
    assert_eq!(named("web-bk2h4m79df"), named("web-44gf8dmt5k"));
    assert_eq!((named("web"), named("web-production")), (None, None));
}
