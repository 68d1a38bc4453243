//! What an Application of a cluster may not name: whoever may write one is not whoever runs the controller.
//!
//! Otherwise a person with a right to write Applications could have the controller send its own account's token to a Git
//! server of theirs, write files of its pod, run programs in it, or act as any service account.

use std::path::Path;

use super::Scope;
use crate::config::validated::{
    Application, Credentials, Helm, KubernetesTarget, Render, Sops, Source, Target, Transport,
};

/// Judges an application of a namespace; the scope is at the document's top, and its paths are relative to the folder of the
/// files that the namespace may name. With `unconfined_renderers` it may have programs run that nothing isolates.
pub(in crate::config) fn confined(scope: &Scope<'_>, app: &Application, namespace: &str, unconfined_renderers: bool) {
    let scope = scope.key("spec");
    let source = scope.key("source");
    if app.source.transport == Transport::Local {
        source
            .key("url")
            .error("is a path of the controller's pod", "write `https://…`, `ssh://…` or `user@host:path`");
    }
    let credentials = source.key("credentials");
    match &app.source.credentials {
        Credentials::None => {}
        Credentials::Token(file) => inside(&credentials.key("tokenFile"), file),
        Credentials::Basic { username_file, password_file } => {
            inside(&credentials.key("usernameFile"), username_file);
            inside(&credentials.key("passwordFile"), password_file);
        }
        Credentials::Ssh { key_file, known_hosts_file } => {
            inside(&credentials.key("sshKeyFile"), key_file);
            inside(&credentials.key("knownHostsFile"), known_hosts_file);
        }
    }
    let trust = scope.key("trust");
    let files = &app.trust.files;
    let named = [
        (source.key("caFile"), app.source.ca_file.as_deref()),
        (trust.key("ssh").key("allowedSigners"), files.allowed_signers.as_deref()),
        (trust.key("ssh").key("revocations"), files.revocations.as_deref()),
        (trust.key("openpgp").key("keyring"), files.keyring.as_deref()),
    ];
    for (scope, file) in named {
        if let Some(file) = file {
            inside(&scope, file);
        }
    }
    renderers(&source.key("render"), &app.source, unconfined_renderers);
    target(&scope.key("target"), &app.target, namespace);
}

fn renderers(scope: &Scope<'_>, source: &Source, unconfined_renderers: bool) {
    let renderer = match &source.render {
        Render::Plain => None,
        Render::Kustomize { program, unconfined } => Some(("kustomize", program, *unconfined)),
        Render::Helm(Helm { program, unconfined, .. }) => Some(("helm", program, *unconfined)),
    };
    let sops = source.sops.as_ref();
    if let Some(Sops { age_key_file, .. }) = sops {
        inside(&scope.key("sops").key("ageKeyFile"), age_key_file);
    }
    let sops = sops.map(|Sops { program, unconfined, .. }| ("sops", program, *unconfined));
    for (name, program, unconfined) in renderer.into_iter().chain(sops) {
        let scope = scope.key(name);
        if program.is_some() {
            scope.key("program").error(
                "is a program of the controller's pod",
                format!("take it out: `{name}` of the controller's image is run"),
            );
        }
        if unconfined && !unconfined_renderers {
            scope.key("unconfined").error(
                "lifts what isolates a program in the controller's pod",
                "take it out; or let whoever runs the controller set `applications.unconfinedRenderers`",
            );
        }
    }
}

fn target(scope: &Scope<'_>, target: &Target, namespace: &str) {
    match target {
        Target::Directory(_) | Target::Exec(_) => scope.key(target.kind()).error(
            "is of the controller's own pod",
            "write `kubernetes`; or let whoever runs the controller set `applications.unconfined`",
        ),
        Target::Kubernetes(KubernetesTarget { kubeconfig, context: _, namespace: into, service_account }) => {
            let scope = scope.key("kubernetes");
            match kubeconfig {
                Some(file) => inside(&scope.key("kubeconfig"), file),
                None if service_account.is_none() => scope.key("serviceAccount").error(
                    "missing, and the controller's own account writes nothing",
                    format!("write the name of a service account of the namespace {namespace}"),
                ),
                None => {}
            }
            let Some(account) = service_account else { return };
            // Of another namespace is another tenant's.
            let own = account.split_once('/').is_none_or(|(of, _)| of == namespace);
            let named_by_another = !account.contains('/') && into.as_deref().is_some_and(|into| into != namespace);
            if kubeconfig.is_none() && (!own || named_by_another || account.contains(':')) {
                scope.key("serviceAccount").error(
                    format!("`{account}` is not one of the namespace {namespace}"),
                    format!("write `{namespace}/NAME`: an Application acts as a service account of its own namespace"),
                );
            }
        }
    }
}

/// Refuses a file outside the folder of what the namespace may name.
fn inside(scope: &Scope<'_>, file: &Path) {
    if !file.starts_with(scope.base) {
        scope.error(
            format!("`{}` is not below `{}`", file.display(), scope.base.display()),
            "write a path relative to that folder; the chart mounts Secrets and ConfigMaps there (values: files)",
        );
    }
}
