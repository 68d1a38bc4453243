//! Kustomizations and what SOPS encrypted, from a commit to a real API server.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Place, servers};

/// Makes a world whose application renders with these options.
fn place(render: &str) -> Place {
    let mut place = Place::new();
    place.app("web").source.push(format!("render: {render}"));
    place
}

#[test]
fn k8s_a_kustomization_converges_and_one_that_leads_elsewhere_holds() {
    let place = place(&format!("{{ kustomize: {{ program: {:?} }} }}", servers::program("kustomize")));
    let kustomize = |text: &str| place.repo.write("kustomization.yaml", text);
    place.config_maps(0..3, "one");
    kustomize("resources: [c000.yaml, c001.yaml, c002.yaml]\nnamePrefix: k-\n");
    place.publish("a kustomization");
    let names: Vec<String> = place.held().into_keys().collect();
    assert_eq!(names, ["k-c000", "k-c001", "k-c002"]);
    place.assert_steady(2);

    kustomize("resources: [c000.yaml, c001.yaml, c002.yaml, 'https://example.com/more.yaml']\nnamePrefix: k-\n");
    place.repo.publish("a base from elsewhere");
    place.api().delete(&place.path("k-c001"));
    place.counted_cycle();
    place.counted_cycle();
    let status = place.assert_latch("web", "RENDER", &["render"]);
    let told = status.latch("RENDER").expect("it was just asserted").to_string();
    assert!(told.contains("https://example.com/more.yaml") && told.contains("nothing is fetched"), "{told}");
    assert_eq!(place.held().len(), 3, "healing goes on");

    kustomize(
        "resources: [c000.yaml, c001.yaml, c002.yaml]\nconfigMapGenerator: [{ name: host, Files: [/etc/hostname] }]\n",
    );
    place.repo.publish("a file of the machine");
    place.counted_cycle();
    place.assert_latch("web", "RENDER", &["render"]);

    kustomize("resources: [c000.yaml, c001.yaml]\nnamePrefix: k-\n");
    place.publish("taken back, and one object less");
    assert_eq!(place.held().len(), 2);
}

/// Encrypts a text for a key that is made beside it; returns the text and where the key is.
fn encrypted(place: &Place, text: &str) -> (String, PathBuf) {
    let (key, plain) = (place.dir().join("age.key"), place.dir().join("plain.yaml"));
    let made = Command::new(servers::program("age-keygen")).arg("-o").arg(&key).output().expect("age-keygen runs");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let recipient = said.split_whitespace().find(|word| word.starts_with("age1")).expect("it names the recipient");
    std::fs::write(&plain, text).expect("the text is written");
    let done = Command::new(servers::program("sops"))
        .args(["encrypt", "--age", recipient, "--encrypted-regex", "^(data|stringData)$"])
        .arg(&plain)
        .output()
        .expect("sops runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (String::from_utf8(done.stdout).expect("it is text"), key)
}

#[test]
fn k8s_what_sops_encrypted_is_decrypted_in_the_cluster_and_nowhere_else() {
    let mut place = Place::new();
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: pin, namespace: {} }}\nstringData: {{ pin: swordfish }}\n",
        place.namespace
    );
    let (text, key) = encrypted(&place, &text);
    let sops =
        format!("render: {{ plain: {{}}, sops: {{ program: {:?}, ageKeyFile: {key:?} }} }}", servers::program("sops"));
    place.app("web").source.push(sops);
    place.repo.write("pin.yaml", &text);
    place.config_maps(0..3, "one").publish("a secret");
    let secret = place.api().get(&format!("/api/v1/namespaces/{}/secrets/pin", place.namespace)).expect("it is there");
    // "swordfish"
    assert_eq!(secret["data"]["pin"], "c3dvcmRmaXNo");
    place.assert_steady(2);

    // Changed by hand, it is told and healed, and nothing that is kept or said shows what it is.
    let path = format!("/api/v1/namespaces/{}/secrets/pin", place.namespace);
    place.api().merge(&path, "kubectl-edit", &serde_json::json!({ "data": { "pin": "b3RoZXI=" } }));
    place.counted_cycle();
    let drift = place.holdfast(&["drift", "web", "--output", "json"]).ok().stdout;
    assert!(drift.contains("/Secret/") && !drift.contains("swordfish") && !drift.contains("c3dvcmRmaXNo"), "{drift}");
    let plan = place.holdfast(&["plan", "web", "--output", "json"]).ok().stdout;
    let history = place.holdfast(&["history", "web", "--output", "json"]).ok().stdout;
    for said in [&plan, &history] {
        assert!(!said.contains("swordfish") && !said.contains("c3dvcmRmaXNo") && !said.contains("b3RoZXI="), "{said}");
    }
}
