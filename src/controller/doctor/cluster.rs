//! The cluster that is kept in sync: whether it is reached, whose it is, and what is permitted there.

use std::collections::BTreeMap;

use super::Notes;
use super::state::Seen;
use crate::config::{Application, KubernetesTarget};
use crate::core::anchor;
use crate::core::guards::Mode;
use crate::core::resource::{AnchorSeen, Id};
use crate::core::state::State;
use crate::targets::kubernetes::{Examination, Kubernetes, Permission};

/// Checks a cluster, for the kinds of what the tip wants and of what is managed already.
pub(super) fn cluster(
    app: &Application,
    target: &KubernetesTarget,
    wanted: &[Id],
    state: &Seen,
    notes: &mut Notes<'_>,
) {
    let place =
        target.kubeconfig.as_ref().map_or_else(|| "the pod's own cluster".to_owned(), |p| p.display().to_string());
    let known = state.of(&app.name);
    let mut ids: Vec<Id> = wanted.to_vec();
    ids.extend(known.iter().flat_map(|(_, state)| state.resources.keys().cloned()));
    let seen = match Kubernetes::open(target, &app.name).examine(&ids) {
        Ok(seen) => seen,
        Err(why) => {
            let advice = "look at the address, the network and the credentials: kubectl --kubeconfig … version";
            return notes.problem(place, format!("the API server cannot be asked: {why}"), advice);
        }
    };
    let whom = target.service_account.as_deref().map_or_else(String::new, |name| format!(", as {name}"));
    notes.ok(&place, format!("reached{whom}; Kubernetes {}", seen.version));
    for group in &seen.stale {
        notes.warning(
            &place,
            format!(
                "the API group {group} is not available now: its objects are unread, and namespaces cannot be judged"
            ),
            "kubectl get apiservice shows why; remove one that nothing serves",
        );
    }
    if !seen.absent.is_empty() {
        notes.warning(
            &place,
            format!("the cluster knows no {}", seen.absent.join(", ")),
            "nothing, if the definitions are a part of what is wanted; otherwise install them",
        );
    }
    anchored(app, &seen, known.as_ref().map(|(ledger, state)| (&**ledger, state)), notes);
    permissions(app, &place, &seen, notes);
}

fn anchored(app: &Application, seen: &Examination, known: Option<(&str, &State)>, notes: &mut Notes<'_>) {
    let nobody = State::default();
    let (ledger, state) = known.unwrap_or(("", &nobody));
    if let AnchorSeen::Unread(why) = &seen.anchor {
        return notes.problem(
            &seen.parent,
            why.to_string(),
            "let the account read it; see docs/runbook/observation.md",
        );
    }
    match anchor::misplaced(&state.app.anchor, &seen.anchor, &app.name, ledger) {
        Some(reason) => notes.problem(&seen.parent, reason.message, "see docs/runbook/state.md before anything else"),
        None => notes.ok(&seen.parent, "the anchor is this ledger's, or there is none yet"),
    }
}

/// Says what is not permitted, grouped as rules are written.
fn permissions(app: &Application, place: &str, seen: &Examination, notes: &mut Notes<'_>) {
    if seen.lacking.is_empty() {
        return notes.ok(place, format!("all {} permissions that are needed are there", seen.asked));
    }
    let mut lacking: BTreeMap<(&str, &str, &str), Vec<&Permission>> = BTreeMap::new();
    for permission in &seen.lacking {
        let of = (permission.group.as_str(), permission.resource.as_str(), permission.namespace.as_str());
        lacking.entry(of).or_default().push(permission);
    }
    for ((group, resource, namespace), lacking) in lacking {
        let mut verbs: Vec<&str> = Vec::new();
        for permission in &lacking {
            if !verbs.contains(&permission.verb) {
                verbs.push(permission.verb);
            }
        }
        let verbs = verbs.join(", ");
        let named = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let everywhere = if namespace.is_empty() { String::new() } else { format!(" in namespace {namespace}") };
        let message = format!("may not {verbs} {named}{everywhere}");
        let advice = format!("add a rule: apiGroups: [{group:?}], resources: [{resource}], verbs: [{verbs}]");
        let only_writes = lacking.iter().all(|permission| permission.writes);
        let only_wakes = lacking.iter().all(|permission| permission.verb == "watch");
        if only_wakes {
            notes.warning(place, format!("{message}: changes are seen an interval late"), advice);
        } else if only_writes && app.guards.mode == Mode::Observe {
            notes.warning(
                place,
                format!("{message}: nothing is written in mode observe, and drift cannot be confirmed"),
                advice,
            );
        } else {
            notes.problem(place, message, advice);
        }
    }
}
