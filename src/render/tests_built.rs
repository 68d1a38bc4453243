//! Kustomize, Helm and SOPS, by their own programs (`tests/servers`), over trees in memory.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::tests::{Memory, Node, file, names, tree};
use super::{Content, Helm, Kustomize, Limits, Program, Render, Renderer, Sops};
use crate::core::commit::CommitId;
use crate::core::effect::Rules;

/// Finds a program, built if it has not been on this machine.
fn built(name: &str) -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/build");
    let built = Command::new(build).arg(name).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
}

fn program(name: &'static str) -> Program {
    Program { name, path: Some(built(name)), unconfined: false }
}

fn renderer(kind: Render, path: &str) -> Renderer {
    Renderer::new(kind, path, Limits::default()).unwrap().with_rules(Rules::Kubernetes).with_namespace(Some("shop"))
}

fn kustomize(path: &str) -> Renderer {
    renderer(Render::Kustomize(Kustomize::new(program("kustomize"))), path)
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ a: {value} }}\n")
}

/// An overlay of a base beside it.
fn overlay<'a>(base: &'a str, more: &'a str) -> Node<'a> {
    tree([
        ("base", tree([("kustomization.yaml", file("resources: [map.yaml]\n")), ("map.yaml", file(base))])),
        ("prod", tree([("kustomization.yaml", file(more))])),
        ("other", tree([("values.txt", file("x"))])),
    ])
}

const OVERLAY: &str = "resources: [../base]\nnamePrefix: prod-\n";

fn error(commit: &Node<'_>) -> String {
    let mut memory = Memory::default();
    let commit = memory.commit(commit);
    kustomize("prod").render(&memory, &commit).unwrap_err().to_string()
}

#[test]
fn a_kustomization_is_built_with_its_bases_and_only_they_are_inputs() {
    let mut memory = Memory::default();
    let (x, y) = (map("m", "x"), map("m", "y"));
    let commit = memory.commit(&overlay(&x, OVERLAY));
    let renderer = kustomize("prod");
    let desired = renderer.render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["/ConfigMap/shop/prod-m"]);
    let changed = memory.commit(&overlay(&y, OVERLAY));
    let changes = renderer.changes(&memory, &commit, &changed).unwrap();
    assert_eq!(changes.iter().map(|change| change.id.as_str()).collect::<Vec<_>>(), ["/ConfigMap/shop/prod-m"]);
    let elsewhere = tree([
        ("base", tree([("kustomization.yaml", file("resources: [map.yaml]\n")), ("map.yaml", file(&x))])),
        ("prod", tree([("kustomization.yaml", file(OVERLAY))])),
        ("other", tree([("values.txt", file("y"))])),
    ]);
    let elsewhere = memory.commit(&elsewhere);
    let inputs = |commit: &CommitId| renderer.inputs_at(&memory, commit).unwrap();
    assert_eq!(inputs(&elsewhere), inputs(&commit), "what is not read is no input");
    assert_ne!(inputs(&changed), inputs(&commit));
    assert!(renderer.identity().is_some_and(|identity| identity.starts_with("kustomize ")));
}

#[test]
fn what_is_elsewhere_or_would_be_executed_is_refused_before_anything_runs() {
    let x = map("m", "x");
    for (kustomization, told) in [
        ("resources: ['https://example.com/base.yaml']\n", "nothing is fetched from elsewhere"),
        ("resources: ['github.com/acme/base?ref=v1']\n", "nothing is fetched from elsewhere"),
        ("resources: [../../../etc]\n", "nothing is fetched from elsewhere"),
        ("resources: [/etc]\n", "nothing is fetched from elsewhere"),
        ("resources: [missing.yaml]\n", "missing.yaml"),
        ("configMapGenerator: [{ name: a, files: ['k=/etc/passwd'] }]\n", "nothing is fetched from elsewhere"),
        ("patches: [{ path: 'https://example.com/p.yaml' }]\n", "nothing is fetched from elsewhere"),
        ("helmCharts: [{ name: a, repo: 'https://example.com' }]\n", "`helmCharts` is refused"),
        ("generators: [base]\n", "`generators` is refused"),
        ("generators: ['apiVersion: builtin']\n", "`generators` is refused"),
        ("transformers: [base]\n", "`transformers` is refused"),
        ("configmapgenerator: [{ name: a, files: ['k=/etc/passwd'] }]\n", "`configmapgenerator` is refused"),
        ("Resources: ['https://example.com/base.yaml']\n", "`Resources` is refused"),
        ("configMapGenerator: [{ name: a, Files: ['k=/etc/passwd'] }]\n", "`configMapGenerator/Files` is refused"),
        ("re\u{17f}ources: ['https://example.com/base.yaml']\n", "is refused"),
        ("a: [\n", "does not parse"),
    ] {
        assert!(
            error(&overlay(&x, kustomization)).contains(told),
            "{kustomization}: {}",
            error(&overlay(&x, kustomization))
        );
    }
    let none = tree([("prod", tree([("a.yaml", file(&x))]))]);
    assert!(error(&none).contains("there is no kustomization.yaml"));
}

#[test]
fn a_program_sees_nothing_of_the_machine() {
    let mut memory = Memory::default();
    let chart = chart("{{ .Files.Get \"/etc/passwd\" }}{{ .Files.Get \"../../../etc/passwd\" }}", "");
    let commit = memory.commit(&chart);
    assert_eq!(helm(&[]).render(&memory, &commit).unwrap().wants().len(), 0);
    // Whatever a template or a plug-in could make the program read, it is not there.
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["template", "web", "/etc"].map(Into::into);
    let ran = super::built::Programs.run(&program("helm"), &arguments, dir.path(), &Limits::default());
    let error = ran.unwrap_err().to_string();
    assert!(Path::new("/etc").is_dir() && error.contains("not found"), "{error}");
}

const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.2.3\n";
const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n  labels: { helm.sh/chart: web-{{ .Chart.Version }} }\ndata: { a: {{ .Values.a | quote }} }\n";

fn chart<'a>(template: &'a str, values: &'a str) -> Node<'a> {
    tree([
        (
            "chart",
            tree([
                ("Chart.yaml", file(CHART)),
                ("values.yaml", file("a: default\n")),
                ("templates", tree([("map.yaml", file(template))])),
            ]),
        ),
        ("env", tree([("prod.yaml", file(values))])),
    ])
}

fn helm(values: &[&str]) -> Renderer {
    let values_files = values.iter().map(|file| (*file).to_owned()).collect();
    renderer(Render::Helm(Helm { values_files, ..Helm::new(program("helm"), "web".into()) }), "chart")
}

#[test]
fn a_chart_is_rendered_with_its_values_and_a_version_alone_is_inert() {
    let mut memory = Memory::default();
    let commit = memory.commit(&chart(TEMPLATE, "a: prod\n"));
    let renderer = helm(&["../env/prod.yaml"]);
    let desired = renderer.render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["/ConfigMap/shop/web"]);
    let Content::Object { json, .. } = renderer.content(&memory, &commit, &desired.wants()[0].id).unwrap() else {
        panic!()
    };
    assert!(String::from_utf8(json).unwrap().contains(r#""a":"prod""#));
    assert!(desired.wants()[0].nature.essence.is_some());
    let outside = helm(&["../../x.yaml"]).render(&memory, &commit).unwrap_err().to_string();
    assert!(outside.contains("nothing is fetched from elsewhere"), "{outside}");
}

#[test]
fn a_chart_that_renders_otherwise_each_time_does_not_render() {
    let mut memory = Memory::default();
    let random = TEMPLATE.replace(".Values.a", "(randAlphaNum 20)");
    let commit = memory.commit(&chart(&random, ""));
    let error = helm(&[]).render(&memory, &commit).unwrap_err().to_string();
    assert!(error.contains("rendering it twice differs (/ConfigMap/shop/web"), "{error}");
    let broken = memory.commit(&chart("{{ fail \"no\" }}", ""));
    let error = helm(&[]).render(&memory, &broken).unwrap_err().to_string();
    assert!(error.contains("helm ended with") && !error.contains("/tmp"), "{error}");
}

#[test]
fn a_program_that_is_missing_says_so_and_where_to_get_it() {
    let mut memory = Memory::default();
    let commit = memory.commit(&chart(TEMPLATE, ""));
    let missing = Program { name: "helm", path: Some("/nowhere/helm".into()), unconfined: false };
    let renderer = renderer(Render::Helm(Helm::new(missing, "web".into())), "chart");
    let error = renderer.render(&memory, &commit).unwrap_err().to_string();
    assert!(error.contains("helm cannot be run") && error.contains("helm.sh"), "{error}");
    assert_eq!(renderer.identity(), None);
}

#[test]
fn what_sops_encrypted_is_decrypted_in_memory_and_named_by_what_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let made = Command::new(built("age-keygen")).arg("-o").arg(&key).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    let recipient = said.split_whitespace().find(|word| word.starts_with("age1")).unwrap().to_owned();
    let plain = dir.path().join("s.yaml");
    std::fs::write(&plain, "apiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData: { pin: four }\n").unwrap();
    let encrypted = Command::new(built("sops"))
        .args(["encrypt", "--age", &recipient, "--encrypted-regex", "^(data|stringData)$"])
        .arg(&plain)
        .output()
        .unwrap();
    assert!(encrypted.status.success(), "{}", String::from_utf8_lossy(&encrypted.stderr));
    let encrypted = String::from_utf8(encrypted.stdout).unwrap();
    assert!(!encrypted.contains("four"));

    let mut memory = Memory::default();
    let both = format!("{encrypted}---\n{}", map("m", "x"));
    let commit = memory.commit(&tree([("apps", tree([("s.yaml", file(&both))]))]));
    let without = renderer(Render::Plain, "apps").render(&memory, &commit).unwrap_err().to_string();
    assert!(without.contains("/Secret/shop/s is encrypted with SOPS"), "{without}");
    let sops = Sops { program: program("sops"), age_key_file: key };
    let renderer = renderer(Render::Plain, "apps").with_sops(Some(sops));
    let desired = renderer.render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["/ConfigMap/shop/m", "/Secret/shop/s"]);
    let Content::Object { json, digest, secret: true } =
        renderer.content(&memory, &commit, &desired.wants()[1].id).unwrap()
    else {
        panic!()
    };
    let text = String::from_utf8(json.clone()).unwrap();
    assert!(text.contains(r#""pin":"Zm91cg==""#) && !text.contains("sops"), "{text}");
    assert_eq!(digest, desired.wants()[1].digest);
    assert_ne!(digest, crate::manifest::digest(&json), "the digest tells nothing of the secret");
}
