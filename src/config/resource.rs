//! Applications that an API server holds, read by the same rules as documents, and by some more.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::check::check;
use super::error::{ConfigError, Findings};
use super::load::{decode, second_look};
use super::raw::{API_VERSION, ApplicationDocument};
use super::schema::APPLICATION;
use super::validate::{self, Scope};
use super::validated::{Application, Controller, InCluster, Origin, Target};

/// An Application as an API server holds it.
#[derive(Clone, Debug)]
pub struct Resource<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What a person wrote.
    pub spec: &'a Value,
}

/// Validates each Application by itself and all of them together: one that is wrong stops no other. Of two that cannot both
/// be, the first stays.
pub fn load_resources(
    controller: &Controller,
    cluster: &InCluster,
    resources: &[Resource<'_>],
) -> Vec<Result<Application, Vec<ConfigError>>> {
    let mut loaded: Vec<Result<Application, Vec<ConfigError>>> =
        resources.iter().map(|resource| load_one(cluster, resource)).collect();
    // What contradicts something that stays is taken out one by one: another may fit then.
    while let Some((at, findings)) = contradiction(controller, &loaded) {
        if let (Some(slot), Some(resource)) = (loaded.get_mut(at), resources.get(at)) {
            *slot = Err(errors(resource, findings));
        }
    }
    loaded
}

fn load_one(cluster: &InCluster, resource: &Resource<'_>) -> Result<Application, Vec<ConfigError>> {
    let mut document = json!({
        "apiVersion": API_VERSION, "kind": "Application",
        "metadata": { "name": resource.name, "namespace": resource.namespace }, "spec": resource.spec,
    });
    // What names no namespace is of the Application's own, as everything else of it.
    if let Some(Value::Object(target)) = document.pointer_mut("/spec/target/kubernetes") {
        target.entry("namespace").or_insert_with(|| json!(resource.namespace));
    }
    let mut findings = Findings::default();
    check(&mut document, &APPLICATION, &mut findings);
    let raw = decode::<ApplicationDocument>(&document, &mut findings);
    let base = cluster.files.join(resource.namespace);
    let origin = Origin { file: Path::new(resource.namespace).join(resource.name), line: 1 };
    let application = second_look(&mut findings, |more| {
        let scope = Scope::new(&base, more);
        let application = validate::application(&scope, &raw, origin);
        if let Some(application) = application.as_ref().filter(|_| !cluster.unconfined) {
            validate::confined(&scope, application, resource.namespace, cluster.unconfined_renderers);
        }
        application
    });
    match application {
        Some(mut application) if findings.0.is_empty() => {
            at_home(cluster, &mut application);
            Ok(application)
        }
        _ => Err(errors(resource, findings)),
    }
}

/// Names the cluster that an Application is in, where it names none and the controller is no pod of it.
fn at_home(cluster: &InCluster, application: &mut Application) {
    if let Target::Kubernetes(target) = &mut application.target
        && target.kubeconfig.is_none()
    {
        target.kubeconfig.clone_from(&cluster.kubeconfig);
        target.context.clone_from(&cluster.context);
    }
}

/// Returns the first application that cannot be beside those before it, with everything that is wrong about that.
fn contradiction(
    controller: &Controller,
    loaded: &[Result<Application, Vec<ConfigError>>],
) -> Option<(usize, Findings)> {
    let valid: Vec<(usize, &Application)> =
        loaded.iter().enumerate().filter_map(|(at, loaded)| Some((at, loaded.as_ref().ok()?))).collect();
    let applications: Vec<Application> = valid.iter().map(|(_, application)| (*application).clone()).collect();
    let mut wrong: Option<(usize, Findings)> = None;
    validate::together(controller, &applications, &[], |at, add| {
        let (first, findings) = wrong.get_or_insert_with(|| (at, Findings::default()));
        if *first == at {
            add(findings);
        }
    });
    let (at, findings) = wrong?;
    valid.get(at).map(|(at, _)| (*at, findings))
}

fn errors(resource: &Resource<'_>, findings: Findings) -> Vec<ConfigError> {
    let document: Arc<str> = format!("Application `{}/{}`", resource.namespace, resource.name).into();
    let mut errors: Vec<ConfigError> = findings
        .0
        .into_iter()
        .map(|finding| ConfigError {
            file: Path::new(resource.namespace).join(resource.name),
            line: None,
            document: document.to_string(),
            field: finding.field.to_string(),
            what: finding.what,
            hint: finding.hint,
        })
        .collect();
    errors.sort_by(|a, b| a.field.cmp(&b.field));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;

    fn controller(more: &str) -> Controller {
        let text = format!(
            "apiVersion: {API_VERSION}\nkind: Controller\nspec: {{kubernetes: {{applications: {{{more}}}}}}}\n"
        );
        load_text(Path::new("/etc/holdfast/holdfast.yaml"), &text).unwrap().controller
    }

    fn load(controller: &Controller, resources: &[(&str, &str, Value)]) -> Vec<Result<Arc<str>, Vec<String>>> {
        let resources: Vec<Resource<'_>> =
            resources.iter().map(|(namespace, name, spec)| Resource { namespace, name, spec }).collect();
        let loaded = load_resources(controller, controller.cluster.as_ref().unwrap(), &resources);
        let fields =
            |errors: Vec<ConfigError>| errors.into_iter().map(|error| format!("{}: {}", error.field, error.what));
        loaded.into_iter().map(|one| one.map(|app| app.name).map_err(|errors| fields(errors).collect())).collect()
    }

    fn directory(root: &str) -> Value {
        json!({ "source": { "url": "https://git.example.com/a.git" }, "target": { "directory": { "root": root } } })
    }

    #[test]
    fn what_is_wrong_with_one_stops_no_other_and_all_of_it_is_told() {
        let controller = controller("unconfined: true");
        let wrong = json!({ "mode": "convverge", "target": { "directory": { "rot": "/srv/x" } } });
        let loaded = load(
            &controller,
            &[
                ("a", "web", directory("/srv/web")),
                ("a", "db", wrong),
                ("b", "web", directory("/srv/other")),
                ("b", "files", directory("/srv/web/below")),
            ],
        );
        assert_eq!(loaded[0], Ok("web".into()));
        let told = loaded[1].as_ref().unwrap_err();
        for field in ["spec.mode", "spec.source", "spec.target.directory.rot", "spec.target.directory.root"] {
            assert!(told.iter().any(|error| error.starts_with(&format!("{field}:"))), "{field} is missing: {told:?}");
        }
        assert!(loaded[2].as_ref().unwrap_err()[0].contains("already"), "{loaded:?}");
        assert!(loaded[3].as_ref().unwrap_err()[0].contains("lie in one another"), "{loaded:?}");
    }

    #[test]
    fn an_application_acts_as_an_account_of_its_own_namespace_in_its_own_cluster() {
        let controller = controller("files: /etc/holdfast/files");
        let spec = |target: Value| {
            json!({
                "source": { "url": "https://git.example.com/a.git" }, "target": { "kubernetes": target },
            })
        };
        let cluster = controller.cluster.as_ref().unwrap();
        let one = spec(json!({ "serviceAccount": "deployer" }));
        let loaded = load_resources(&controller, cluster, &[Resource { namespace: "team-a", name: "web", spec: &one }]);
        let Target::Kubernetes(target) = &loaded[0].as_ref().unwrap().target else { panic!("it is another target") };
        assert_eq!(
            (target.namespace.as_deref(), target.service_account.as_deref()),
            (Some("team-a"), Some("deployer"))
        );
        assert!(
            load(
                &controller,
                &[("team-a", "web", spec(json!({ "namespace": "shop", "serviceAccount": "team-a/deployer" })))]
            )[0]
            .is_ok()
        );
        for wrong in [
            json!({}),
            json!({ "serviceAccount": "team-b/deployer" }),
            json!({ "serviceAccount": "team-b:deployer" }),
            json!({ "serviceAccount": "system:serviceaccount:kube-system:admin" }),
            json!({ "serviceAccount": "system:admin" }),
            json!({ "serviceAccount": "deployer", "namespace": "team-b" }),
        ] {
            let told = load(&controller, &[("team-a", "web", spec(wrong.clone()))]).remove(0).unwrap_err();
            assert!(told[0].starts_with("spec.target.kubernetes.serviceAccount"), "{wrong}: {told:?}");
        }
    }

    #[test]
    fn a_tenant_names_nothing_of_the_controller() {
        let controller = controller("files: /etc/holdfast/files");
        let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        let spec = json!({
            "source": { "url": "https://evil.example.com/a.git", "credentials": { "tokenFile": token }, "caFile": "../team-b/ca.crt" },
            "trust": { "ssh": { "allowedSigners": "signers/allowed" } },
            "target": { "exec": { "run": ["./anything"] } },
        });
        let told = load(&controller, &[("team-a", "web", spec)]).remove(0).unwrap_err();
        for field in ["spec.source.credentials.tokenFile", "spec.source.caFile", "spec.target.exec"] {
            assert!(told.iter().any(|error| error.starts_with(field)), "{field} is missing: {told:?}");
        }
        assert!(!told.iter().any(|error| error.starts_with("spec.trust")), "{told:?}");
        let local = load(
            &controller,
            &[(
                "team-a",
                "web",
                json!({ "source": { "url": "/srv/repo" }, "target": { "directory": { "root": "/srv" } } }),
            )],
        );
        assert!(local[0].as_ref().unwrap_err().iter().any(|error| error.starts_with("spec.source.url")), "{local:?}");
    }

    #[test]
    fn a_tenant_has_no_program_run_no_isolation_lifted_and_decrypts_with_its_own_key() {
        let spec = |render: Value| {
            json!({
                "source": { "url": "https://git.example.com/a.git", "render": render },
                "target": { "kubernetes": { "serviceAccount": "deployer" } },
            })
        };
        let told = |more: &str, render: Value| load(&controller(more), &[("team-a", "web", spec(render))]).remove(0);
        let sops = |key: &str| json!({ "ageKeyFile": key });
        let wrong = [
            (json!({ "kustomize": { "program": "/bin/anything" } }), "spec.source.render.kustomize.program"),
            (json!({ "helm": { "program": "team-a/anything" } }), "spec.source.render.helm.program"),
            (
                json!({ "plain": {}, "sops": { "program": "x", "ageKeyFile": "keys/age" } }),
                "spec.source.render.sops.program",
            ),
            (json!({ "plain": {}, "sops": sops("../team-b/keys/age") }), "spec.source.render.sops.ageKeyFile"),
            (json!({ "plain": {}, "sops": sops("/etc/holdfast/api/tokens") }), "spec.source.render.sops.ageKeyFile"),
        ];
        for (render, field) in wrong {
            for more in ["", "unconfinedRenderers: true"] {
                let errors = told(more, render.clone()).unwrap_err();
                assert!(errors.len() == 1 && errors[0].starts_with(&format!("{field}: ")), "{field}: {errors:?}");
            }
        }
        assert!(told("", json!({ "plain": {}, "sops": sops("keys/age") })).is_ok());
        // Only whoever runs the controller can accept that nothing isolates a program.
        let lifted = [
            (json!({ "kustomize": { "unconfined": true } }), "kustomize"),
            (json!({ "helm": { "unconfined": true } }), "helm"),
            (json!({ "plain": {}, "sops": { "unconfined": true, "ageKeyFile": "keys/age" } }), "sops"),
        ];
        for (render, name) in lifted {
            let errors = told("", render.clone()).unwrap_err();
            assert!(errors[0].starts_with(&format!("spec.source.render.{name}.unconfined: ")), "{errors:?}");
            assert!(told("unconfinedRenderers: true", render).is_ok());
        }
    }
}
