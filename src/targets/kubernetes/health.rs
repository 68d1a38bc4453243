//! Whether an object works, by the rules of kstatus: what its kind and its conditions say.

use serde_json::Value;

use crate::core::resource::Health;

/// What is known of an object's health, and why it does not work (yet).
pub(super) type Said = (Health, Option<String>);

const WORKS: Said = (Health::Healthy, None);

fn on_its_way(why: impl Into<String>) -> Said {
    (Health::Progressing, Some(why.into()))
}

fn broken(why: impl Into<String>) -> Said {
    (Health::Unhealthy, Some(why.into()))
}

/// Tells whether an object works.
pub(super) fn of(object: &Value) -> Said {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return on_its_way("it is being deleted");
    }
    if let Some(said) = of_conditions(object) {
        return said;
    }
    let group = text("/apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text("/kind")) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => match text("/status/phase") {
            "Bound" => WORKS,
            "Lost" => broken("its volume is lost"),
            phase => on_its_way(format!("the claim is {}", or(phase, "new"))),
        },
        ("", "Service") if text("/spec/type") == "LoadBalancer" && text("/spec/clusterIP").is_empty() => {
            on_its_way("it has no address yet")
        }
        ("", "Namespace") => match text("/status/phase") {
            "Terminating" => on_its_way("it is being deleted"),
            _ => WORKS,
        },
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => match condition(object, "Available") {
            Some(("True", _)) => WORKS,
            Some((_, why)) => broken(or(why, "its server does not answer")),
            None => on_its_way("its server was not asked yet"),
        },
        _ => ready(object),
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Returns a condition's status and what it says.
fn condition<'a>(object: &'a Value, name: &str) -> Option<(&'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(name))?;
    let text = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default();
    Some((text("status"), or(text("message"), text("reason"))))
}

fn reason<'a>(object: &'a Value, name: &str) -> &'a str {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found =
        conditions.into_iter().flatten().find(|condition| condition.get("type").and_then(Value::as_str) == Some(name));
    found.and_then(|found| found.get("reason")).and_then(Value::as_str).unwrap_or_default()
}

/// What holds for every kind: a generation that its controller did not see, and the conditions of that convention.
fn of_conditions(object: &Value) -> Option<Said> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    if let (Some(generation), Some(observed)) = (generation, observed)
        && observed != generation
    {
        return Some(on_its_way("its controller did not look at it yet"));
    }
    if let Some(("True", why)) = condition(object, "Stalled") {
        return Some(broken(or(why, "it is stalled")));
    }
    if let Some(("True", why)) = condition(object, "Reconciling") {
        return Some(on_its_way(or(why, "it is being reconciled")));
    }
    None
}

/// What holds for kinds without rules of their own.
fn ready(object: &Value) -> Said {
    match condition(object, "Ready") {
        Some(("False" | "Unknown", why)) => on_its_way(or(why, "it is not ready")),
        _ => WORKS,
    }
}

fn deployment(object: &Value) -> Said {
    if reason(object, "Progressing") == "ProgressDeadlineExceeded" {
        return broken(condition(object, "Progressing").map_or("", |(_, why)| why));
    }
    if let Some(("True", why)) = condition(object, "ReplicaFailure") {
        return broken(or(why, "its pods cannot be made"));
    }
    let want = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let has = |name: &str| number(object, &format!("/status/{name}"));
    if object.pointer("/status/observedGeneration").is_none() {
        return on_its_way("its controller did not look at it yet");
    }
    let (all, updated, available, ready) =
        (has("replicas"), has("updatedReplicas"), has("availableReplicas"), has("readyReplicas"));
    if updated < want {
        return on_its_way(format!("{updated} of {want} replicas are updated"));
    }
    if all > updated {
        return on_its_way(format!("{} old replicas are still there", all - updated));
    }
    if available < updated || ready < want {
        return on_its_way(format!("{} of {want} replicas are available", available.min(ready)));
    }
    match condition(object, "Available") {
        Some(("True", _)) | None => WORKS,
        Some((_, why)) => on_its_way(or(why, "it is not available")),
    }
}

fn stateful_set(object: &Value) -> Said {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/spec/updateStrategy/type") == "OnDelete" {
        return WORKS;
    }
    let want = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    if object.pointer("/status/observedGeneration").is_none() {
        return on_its_way("its controller did not look at it yet");
    }
    let ready = number(object, "/status/readyReplicas");
    if number(object, "/status/replicas") != want || ready < want {
        return on_its_way(format!("{ready} of {want} replicas are ready"));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    let updated = number(object, "/status/updatedReplicas");
    if partition > 0 {
        let due = (want - partition).max(0);
        return if updated < due { on_its_way(format!("{updated} of {due} replicas are updated")) } else { WORKS };
    }
    if text("/status/currentRevision") != text("/status/updateRevision") {
        return on_its_way(format!("{updated} of {want} replicas are updated"));
    }
    WORKS
}

fn daemon_set(object: &Value) -> Said {
    if object.pointer("/status/observedGeneration").is_none() {
        return on_its_way("its controller did not look at it yet");
    }
    let has = |name: &str| number(object, &format!("/status/{name}"));
    let want = has("desiredNumberScheduled");
    let on_delete = object.pointer("/spec/updateStrategy/type").and_then(Value::as_str) == Some("OnDelete");
    let updated = if on_delete { want } else { has("updatedNumberScheduled") };
    let least = updated.min(has("numberAvailable")).min(has("numberReady")).min(has("currentNumberScheduled"));
    if least < want { on_its_way(format!("{least} of {want} pods are available")) } else { WORKS }
}

fn replica_set(object: &Value) -> Said {
    if let Some(("True", why)) = condition(object, "ReplicaFailure") {
        return broken(or(why, "its pods cannot be made"));
    }
    let want = object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let least = number(object, "/status/availableReplicas").min(number(object, "/status/readyReplicas"));
    let all = number(object, "/status/replicas");
    if least < want || all > want { on_its_way(format!("{least} of {want} replicas are ready")) } else { WORKS }
}

fn job(object: &Value) -> Said {
    if let Some(("True", why)) = condition(object, "Failed") {
        return broken(or(why, "it failed"));
    }
    if let Some(("True", _)) = condition(object, "Complete") {
        return WORKS;
    }
    let suspended = object.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false);
    // One that runs does what it should; how long that takes is its own affair.
    if suspended || object.pointer("/status/startTime").is_some() {
        WORKS
    } else {
        on_its_way("it was not started yet")
    }
}

fn pod(object: &Value) -> Said {
    let phase = object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let waiting = |of: &str| {
        let of = object.pointer(of).and_then(Value::as_array).into_iter().flatten();
        let reasons = of.filter_map(|container| container.pointer("/state/waiting/reason").and_then(Value::as_str));
        reasons.into_iter().find(|reason| reason.ends_with("BackOff") || reason.starts_with("Err")).map(str::to_owned)
    };
    match phase {
        "Succeeded" => WORKS,
        "Failed" => broken("it failed"),
        _ => match condition(object, "Ready") {
            Some(("True", _)) => WORKS,
            ready => match waiting("/status/initContainerStatuses").or_else(|| waiting("/status/containerStatuses")) {
                Some(why) => broken(why),
                None => on_its_way(or(ready.map_or("", |(_, why)| why), or(phase, "it was not scheduled yet"))),
            },
        },
    }
}

fn definition(object: &Value) -> Said {
    if let Some(("False", why)) = condition(object, "NamesAccepted") {
        return broken(or(why, "its names are taken"));
    }
    match condition(object, "Established") {
        Some(("True", _)) => WORKS,
        _ => on_its_way("it is not served yet"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn health(object: Value) -> Health {
        of(&object).0
    }

    fn deployed(status: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status})
    }

    #[test]
    fn a_deployment_works_once_all_its_new_replicas_do() {
        let all = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2});
        assert_eq!(health(deployed(all.clone())), Health::Healthy);
        for (name, value) in [
            ("observedGeneration", 1),
            ("updatedReplicas", 1),
            ("availableReplicas", 1),
            ("readyReplicas", 1),
            ("replicas", 3),
        ] {
            let mut status = all.clone();
            status[name] = value.into();
            assert_eq!(health(deployed(status)), Health::Progressing, "{name}");
        }
        assert_eq!(health(deployed(json!({}))), Health::Progressing);
        let mut late = all;
        late["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]);
        assert_eq!(of(&deployed(late)), (Health::Unhealthy, Some("timed out".to_owned())));
    }

    #[test]
    fn conditions_speak_for_kinds_that_nobody_knows() {
        let widget =
            |conditions: Value| json!({"apiVersion": "x/v1", "kind": "Widget", "status": {"conditions": conditions}});
        let one = |name: &str, status: &str| widget(json!([{"type": name, "status": status}]));
        assert_eq!(health(json!({"apiVersion": "x/v1", "kind": "Widget"})), Health::Healthy);
        assert_eq!(health(one("Ready", "True")), Health::Healthy);
        assert_eq!(health(one("Ready", "False")), Health::Progressing);
        assert_eq!(health(one("Stalled", "True")), Health::Unhealthy);
        assert_eq!(health(one("Reconciling", "True")), Health::Progressing);
    }

    #[test]
    fn jobs_pods_claims_and_definitions_have_rules_of_their_own() {
        let of =
            |api: &str, kind: &str, status: Value| health(json!({"apiVersion": api, "kind": kind, "status": status}));
        let said = |name: &str, status: &str| json!({"conditions": [{"type": name, "status": status}]});
        assert_eq!(of("batch/v1", "Job", json!({})), Health::Progressing);
        assert_eq!(of("batch/v1", "Job", json!({"startTime": "x"})), Health::Healthy);
        assert_eq!(of("batch/v1", "Job", said("Failed", "True")), Health::Unhealthy);
        assert_eq!(of("v1", "Pod", json!({"phase": "Pending"})), Health::Progressing);
        let crashing =
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        assert_eq!(of("v1", "Pod", crashing), Health::Unhealthy);
        assert_eq!(of("v1", "PersistentVolumeClaim", json!({"phase": "Pending"})), Health::Progressing);
        assert_eq!(of("v1", "PersistentVolumeClaim", json!({"phase": "Bound"})), Health::Healthy);
        assert_eq!(
            of("apiextensions.k8s.io/v1", "CustomResourceDefinition", said("Established", "True")),
            Health::Healthy
        );
        assert_eq!(of("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({})), Health::Progressing);
    }
}
