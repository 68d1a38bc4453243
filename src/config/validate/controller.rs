//! The controller's document.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::guards::fleet;
use super::{Scope, is_label};
use crate::config::raw::{
    ControllerDocument, ControllerSpec, RawApi, RawApp, RawApplications, RawEvent, RawForge, RawForgeKind,
    RawInCluster, RawNotify, RawNotifyWebhook, RawSecret, RawWebhooks,
};
use crate::config::validated::{Api, Controller, Event, Forge, ForgeAuth, ForgeKind, InCluster, Notify, Webhooks};

/// Validates the controller's document; what cannot be used is left out, since its finding stops the program anyway.
pub(in crate::config) fn controller(scope: &Scope<'_>, raw: &ControllerDocument) -> Controller {
    let ControllerDocument { api_version: _, kind: _, metadata, spec } = raw;
    let name = metadata.as_ref().and_then(|metadata| metadata.name.as_deref()).unwrap_or("default");
    let scope = scope.key("spec");
    let none = ControllerSpec::default();
    let ControllerSpec { state_dir, listen, webhooks, api, forges, notify, fleet: raw_fleet, kubernetes } =
        spec.as_ref().unwrap_or(&none);
    let forges_scope = scope.key("forges");
    let notify_scope = scope.key("notify");
    Controller {
        name: name.into(),
        state_dir: scope.key("stateDir").path(state_dir.as_deref().unwrap_or("./.holdfast-state")),
        listen: listen.as_ref().and_then(|text| listen_of(&scope.key("listen"), text)),
        webhooks: webhooks.as_ref().map(|raw| webhooks_of(&scope.key("webhooks"), raw)).unwrap_or_default(),
        api: api.as_ref().map(|raw| api_of(&scope.key("api"), raw)).unwrap_or_default(),
        forges: forges
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(at, raw)| forge(&forges_scope.index(at), raw))
            .collect(),
        notify: notify
            .iter()
            .flatten()
            .enumerate()
            .filter_map(|(at, raw)| notice(&notify_scope.index(at), raw))
            .collect(),
        fleet: raw_fleet.as_ref().map(|raw| fleet(&scope.key("fleet"), raw)).unwrap_or_default(),
        cluster: kubernetes.as_ref().map(|raw| cluster(&scope.key("kubernetes"), raw)),
    }
}

fn cluster(scope: &Scope<'_>, raw: &RawInCluster) -> InCluster {
    let RawInCluster { kubeconfig, context, namespace, applications, replicas } = raw;
    let none = RawApplications::default();
    let RawApplications { namespaces, files, unconfined, unconfined_renderers } =
        applications.as_ref().unwrap_or(&none);
    let scope_of = scope.key("applications");
    if namespaces.as_ref().is_some_and(Vec::is_empty) {
        scope_of
            .key("namespaces")
            .error("is an empty list, so nothing would be worked on", "list namespaces, or take the line out for all");
    }
    let names = namespaces.iter().flatten().enumerate();
    let namespaces = names.map(|(at, name)| namespace_of(&scope_of.key("namespaces").index(at), name)).collect();
    if *replicas == Some(0) {
        scope.key("replicas").error("is zero", "write how many pods there are");
    }
    if context.is_some() && kubeconfig.is_none() {
        scope.key("context").error("is of no kubeconfig", "write `kubeconfig` too, or take it out");
    }
    InCluster {
        kubeconfig: scope.path_of("kubeconfig", kubeconfig.as_ref()),
        context: context.clone(),
        namespace: namespace.as_ref().map(|name| namespace_of(&scope.key("namespace"), name)),
        namespaces,
        files: scope_of.key("files").path(files.as_deref().unwrap_or("/etc/holdfast/files")),
        unconfined: unconfined.unwrap_or(false),
        unconfined_renderers: unconfined_renderers.unwrap_or(false),
        replicas: replicas.unwrap_or(1).max(1),
    }
}

fn namespace_of(scope: &Scope<'_>, name: &str) -> Arc<str> {
    if !is_label(name) {
        scope.error(format!("`{name}` is no namespace"), "write its name as `kubectl get namespaces` prints it");
    }
    name.into()
}

fn listen_of(scope: &Scope<'_>, text: &str) -> Option<SocketAddr> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address = numeric.as_deref().unwrap_or(text).parse().ok();
    if address.is_none() {
        let hint = match text.strip_prefix(':') {
            Some(port) => {
                format!("write `127.0.0.1:{port}` for this machine alone, or `0.0.0.0:{port}` for every network")
            }
            None => "write an address and a port, such as `127.0.0.1:8686` or `[::]:8686`".to_owned(),
        };
        scope.error(format!("`{text}` is no address to listen on"), hint);
    }
    address
}

fn webhooks_of(scope: &Scope<'_>, raw: &RawWebhooks) -> Webhooks {
    let RawWebhooks { github, gitlab, gitea } = raw;
    let file = |name: &str, raw: &Option<RawSecret>| -> Option<PathBuf> {
        raw.as_ref().and_then(|RawSecret { secret_file }| scope.key(name).path_of("secretFile", secret_file.as_ref()))
    };
    Webhooks { github: file("github", github), gitlab: file("gitlab", gitlab), gitea: file("gitea", gitea) }
}

fn api_of(scope: &Scope<'_>, raw: &RawApi) -> Api {
    let RawApi { token_file, freeze_secret_file } = raw;
    let api = Api {
        token_file: scope.path_of("tokenFile", token_file.as_ref()),
        freeze_secret_file: scope.path_of("freezeSecretFile", freeze_secret_file.as_ref()),
    };
    if api.token_file.is_some() && api.token_file == api.freeze_secret_file {
        scope.key("freezeSecretFile").error(
            "is the token's file, so who may only freeze could do everything",
            "write a file with a secret of its own",
        );
    }
    api
}

fn forge(scope: &Scope<'_>, raw: &RawForge) -> Option<Forge> {
    let RawForge { kind, url, app, token_file, comment_approvals } = raw;
    let kind = (*kind).map(|kind| match kind {
        RawForgeKind::Github => ForgeKind::Github,
        RawForgeKind::Gitlab => ForgeKind::Gitlab,
        RawForgeKind::Gitea => ForgeKind::Gitea,
    });
    let url = match (url, kind) {
        (Some(url), _) => Some(scope.key("url").web_address(url, true)),
        (None, Some(ForgeKind::Github)) => Some("https://api.github.com".to_owned()),
        (None, Some(ForgeKind::Gitlab | ForgeKind::Gitea)) => {
            scope.key("url").error("missing", "write the site's address, such as `https://git.example.com`");
            None
        }
        (None, None) => None,
    };
    let token = scope.path_of("tokenFile", token_file.as_ref());
    let auth = match (token, app) {
        (Some(token), None) => Some(ForgeAuth::Token(token)),
        (None, Some(RawApp { id, key_file })) => {
            let scope = scope.key("app");
            if kind.is_some_and(|kind| kind != ForgeKind::Github) {
                scope.error("is for GitHub", "write `tokenFile`");
            }
            let key_file = scope.path_of("keyFile", key_file.as_ref());
            id.zip(key_file).map(|(id, key_file)| ForgeAuth::App { id, key_file })
        }
        (Some(_), Some(_)) | (None, None) => {
            let how =
                if kind == Some(ForgeKind::Github) { "write either `tokenFile` or `app`" } else { "write `tokenFile`" };
            let what = if app.is_some() { "says twice how it is asked" } else { "does not say how it is asked" };
            scope.error(what, how);
            None
        }
    };
    Some(Forge { kind: kind?, url: url?, auth: auth?, comment_approvals: comment_approvals.unwrap_or(false) })
}

fn notice(scope: &Scope<'_>, raw: &RawNotify) -> Option<Notify> {
    let RawNotify { webhook, on } = raw;
    let on = match on {
        None => Event::ALL.to_vec(),
        Some(events) => {
            if events.is_empty() {
                scope
                    .key("on")
                    .error("is an empty list, so nothing would be sent", "list alerts, or take the line out for all");
            }
            let mut on: Vec<Event> = events
                .iter()
                .map(|event| match event {
                    RawEvent::Halt => Event::Halt,
                    RawEvent::Freeze => Event::Freeze,
                    RawEvent::Failing => Event::Failing,
                })
                .collect();
            on.sort_unstable();
            on.dedup();
            on
        }
    };
    let RawNotifyWebhook { url, secret_file } = webhook.as_ref()?;
    let scope = scope.key("webhook");
    let url = url.as_ref().map(|url| scope.key("url").web_address(url, false));
    let secret_file = scope.path_of("secretFile", secret_file.as_ref());
    Some(Notify { url: url?, secret_file, on })
}
