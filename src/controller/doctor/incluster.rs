//! The cluster that the controller works in: is it reached, and does the controller's account have the rights it needs?

use super::Notes;
use crate::cluster::applications::Applications;
use crate::cluster::client::{Access, Client, Right};
use crate::config::InCluster;

/// A right that is asked for: what it is for, and whether nothing works without it.
struct Needed {
    right: Right<'static>,
    needed_for: &'static str,
    essential: bool,
}

/// What the controller needs wherever Applications are.
const AT_APPLICATIONS: [Needed; 4] = [
    needed("list", "holdfast.dev", "applications", "", "reading Applications", true),
    needed("watch", "holdfast.dev", "applications", "", "hearing of Applications at once, not within a minute", false),
    needed("patch", "holdfast.dev", "applications", "status", "telling in Applications how they stand", false),
    needed("create", "events.k8s.io", "events", "", "telling what happened as events", false),
];

/// What it needs in its own namespace.
const AT_HOME: [Needed; 3] = [
    needed("get", "coordination.k8s.io", "leases", "", "holding its Lease", true),
    needed("create", "coordination.k8s.io", "leases", "", "taking its Lease the first time", true),
    needed("update", "coordination.k8s.io", "leases", "", "renewing its Lease", true),
];

const fn needed(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    needed_for: &'static str,
    essential: bool,
) -> Needed {
    Needed { right: Right { verb, group, resource, subresource, name: "" }, needed_for, essential }
}

/// Checks the cluster.
pub(super) fn incluster(settings: &InCluster, pod: &str, notes: &mut Notes<'_>) {
    let access = Access { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
    let place = settings
        .kubeconfig
        .as_ref()
        .map_or_else(|| "the pod's own account".to_owned(), |path| path.display().to_string());
    let client = match Client::open(&access) {
        Ok(client) => client,
        Err(error) => {
            return notes.problem(
                place,
                error.to_string(),
                "name a kubeconfig with `kubernetes.kubeconfig`, or run it in a pod",
            );
        }
    };
    let applications = Applications::new(client.clone(), &settings.namespaces);
    match applications.list() {
        Ok(found) => notes.ok(&place, format!("the cluster is reached; Applications here: {}", found.len())),
        Err(error) if error.is_missing() => {
            let advice = "apply the definition: holdfast schema --crd | kubectl apply --server-side -f -";
            return notes.problem(&place, "the cluster is reached, and does not know Applications", advice);
        }
        Err(error) => {
            let advice = "see whether the server is up, and whether the account may list applications.holdfast.dev";
            return notes.problem(&place, format!("Applications cannot be listed: {error}"), advice);
        }
    }
    for namespace in applications.namespaces() {
        for needed in &AT_APPLICATIONS {
            ask(&client, needed, namespace.as_deref(), "", notes);
        }
    }
    let home = settings.namespace.as_deref().unwrap_or_else(|| client.namespace()).to_owned();
    for needed in &AT_HOME {
        // A right to create cannot be limited by name.
        let name = if needed.right.verb == "create" { "" } else { pod };
        ask(&client, needed, Some(&home), name, notes);
    }
}

fn ask(client: &Client, needed: &Needed, namespace: Option<&str>, name: &str, notes: &mut Notes<'_>) {
    let Needed { right, needed_for, essential } = needed;
    let at = namespace.map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
    let what = format!("{} {}", right.verb, [right.resource, right.subresource].join("/").trim_end_matches('/'));
    match client.may(&Right { name, ..*right }, namespace) {
        Ok(true) => notes.ok(at, format!("may {what}")),
        Ok(false) => {
            let (message, advice) = (format!("may not {what}, for {needed_for}"), "give it that right; the chart does");
            if *essential { notes.problem(at, message, advice) } else { notes.warning(at, message, advice) }
        }
        Err(error) => notes.warning(at, format!("cannot ask whether it may {what}: {error}"), ""),
    }
}
