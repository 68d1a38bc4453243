//! Kustomizations and what SOPS encrypted, from a commit to a real API server.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
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

/// Copies a program as another release of it: one that says another version of itself, wherever it does.
fn another_release(of: &Path, to: &Path) {
    let (module, version) = (b"kustomize/v5\tv", b"5.8.0");
    let mut bytes = std::fs::read(of).expect("the program is readable");
    let named: Vec<u8> = [&module[..], version].concat();
    let places: Vec<usize> =
        bytes.windows(named.len()).enumerate().filter(|(_, at)| *at == named).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "kustomize 5.8.0 is what is built: change this test with it");
    for at in places {
        bytes[at + named.len() - 1] = b'9';
    }
    std::fs::write(to, bytes).expect("the copy is written");
    std::fs::set_permissions(to, Permissions::from_mode(0o755)).expect("it may be run");
}

#[test]
fn k8s_another_release_of_a_renderer_is_held_until_it_is_approved() {
    let mut place = Place::new();
    let program = place.dir().join("kustomize");
    std::fs::copy(servers::program("kustomize"), &program).expect("the program is copied");
    place.app("web").source.push(format!("render: {{ kustomize: {{ program: {program:?} }} }}"));
    place.config_maps(0..3, "one");
    // Kustomize writes its own version into what it builds.
    place
        .repo
        .write("kustomization.yaml", "resources: [c000.yaml, c001.yaml, c002.yaml]\nbuildMetadata: [managedByLabel]\n");
    place.publish("a kustomization");
    let by = |name: &str| {
        let object = place.api().get(&place.path(name)).expect("it is there");
        object["metadata"]["labels"]["app.kubernetes.io/managed-by"].as_str().expect("it has the label").to_owned()
    };
    assert_eq!(by("c000"), "kustomize-v5.8.0");

    another_release(&servers::program("kustomize"), &program);
    place.api().delete(&place.path("c001"));
    place.counted_cycle();
    place.counted_cycle();
    let status = place.assert_latch("web", "PLAN", &["renderer"]);
    let told = status.latch("PLAN").expect("it was just asserted").to_string();
    assert!(told.contains("v5.8.9 instead of kustomize v5.8.0"), "{told}");
    assert_eq!(by("c000"), "kustomize-v5.8.0");
    // Nobody but the former release can make what was accepted.
    let text = place.holdfast(&["status", "web"]).stdout;
    let failing = "c001: kustomize v5.8.9 does not make of its commit what was accepted: run the release that did";
    let remedy = "the configuration, and the program that renders, as they were";
    assert!(text.contains(failing) && text.contains(remedy) && !text.contains("git re"), "{text}");
    assert!(!place.held().contains_key("c001"));

    for digest in status.digests_to_approve("PLAN") {
        place.approve("web", &digest).ok();
    }
    place.counted_cycle();
    place.counted_cycle();
    assert_eq!(["c000", "c001", "c002"].map(by), ["kustomize-v5.8.9"; 3]);
    place.assert_steady(2);
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
