//! A cluster's own rules: what kinds are, which are protected, which are access control, and in which order they are
//! written (`GUARDS.md` 1, 5.2, 6 and 8).
//!
//! Of built-in kinds only: of others the server says what they are.

/// One kind.
struct Kind {
    group: &'static str,
    kind: &'static str,
    /// Whether its objects live outside of namespaces.
    cluster: bool,
    /// Lower ranks are written first and deleted last.
    rank: u8,
}

/// What everything else needs: namespaces, definitions, priorities.
const FOUNDATION: u8 = 0;
/// Definitions of further kinds, which must be established before their objects.
const DEFINITION: u8 = 1;
/// Who may do what, quotas and limits: before whoever is subject to them.
const ACCESS: u8 = 2;
/// What workloads mount and read.
const STORAGE: u8 = 3;
const CONFIGURATION: u8 = 4;
/// What names workloads.
const SERVICE: u8 = 5;
const WORKLOAD: u8 = 6;
/// What scales and exposes workloads.
const ABOVE: u8 = 7;
/// Objects of kinds that are not in the table: their definitions and operators come before.
const CUSTOM: u8 = 8;
/// What would intercept everything before: last.
const ADMISSION: u8 = 9;

const fn kind(group: &'static str, kind: &'static str, cluster: bool, rank: u8) -> Kind {
    Kind { group, kind, cluster, rank }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION_GROUP: &str = "admissionregistration.k8s.io";

const KINDS: &[Kind] = &[
    kind("", "Namespace", true, FOUNDATION),
    kind("scheduling.k8s.io", "PriorityClass", true, FOUNDATION),
    kind("node.k8s.io", "RuntimeClass", true, FOUNDATION),
    kind("apiextensions.k8s.io", "CustomResourceDefinition", true, DEFINITION),
    kind("apiregistration.k8s.io", "APIService", true, ABOVE),
    kind("", "ResourceQuota", false, ACCESS),
    kind("", "LimitRange", false, ACCESS),
    kind("", "ServiceAccount", false, ACCESS),
    kind(RBAC, "ClusterRole", true, ACCESS),
    kind(RBAC, "ClusterRoleBinding", true, ACCESS),
    kind(RBAC, "Role", false, ACCESS),
    kind(RBAC, "RoleBinding", false, ACCESS),
    kind("networking.k8s.io", "NetworkPolicy", false, ACCESS),
    kind("flowcontrol.apiserver.k8s.io", "FlowSchema", true, ACCESS),
    kind("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", true, ACCESS),
    kind("storage.k8s.io", "StorageClass", true, STORAGE),
    kind("storage.k8s.io", "CSIDriver", true, STORAGE),
    kind("storage.k8s.io", "CSINode", true, STORAGE),
    kind("storage.k8s.io", "VolumeAttachment", true, STORAGE),
    kind("storage.k8s.io", "VolumeAttributesClass", true, STORAGE),
    kind("storage.k8s.io", "CSIStorageCapacity", false, STORAGE),
    kind("", "PersistentVolume", true, STORAGE),
    kind("", "PersistentVolumeClaim", false, STORAGE),
    kind("", "ConfigMap", false, CONFIGURATION),
    kind("", "Secret", false, CONFIGURATION),
    kind("", "PodTemplate", false, CONFIGURATION),
    kind("", "Service", false, SERVICE),
    kind("", "Endpoints", false, SERVICE),
    kind("discovery.k8s.io", "EndpointSlice", false, SERVICE),
    kind("networking.k8s.io", "IngressClass", true, SERVICE),
    kind("networking.k8s.io", "ServiceCIDR", true, SERVICE),
    kind("networking.k8s.io", "IPAddress", true, SERVICE),
    kind("", "Pod", false, WORKLOAD),
    kind("", "ReplicationController", false, WORKLOAD),
    kind("apps", "Deployment", false, WORKLOAD),
    kind("apps", "StatefulSet", false, WORKLOAD),
    kind("apps", "DaemonSet", false, WORKLOAD),
    kind("apps", "ReplicaSet", false, WORKLOAD),
    kind("apps", "ControllerRevision", false, WORKLOAD),
    kind("batch", "Job", false, WORKLOAD),
    kind("batch", "CronJob", false, WORKLOAD),
    kind("policy", "PodDisruptionBudget", false, ABOVE),
    kind("autoscaling", "HorizontalPodAutoscaler", false, ABOVE),
    kind("networking.k8s.io", "Ingress", false, ABOVE),
    kind("coordination.k8s.io", "Lease", false, ABOVE),
    kind("events.k8s.io", "Event", false, ABOVE),
    kind("", "Event", false, ABOVE),
    kind("", "Node", true, ABOVE),
    kind("certificates.k8s.io", "CertificateSigningRequest", true, ABOVE),
    kind("certificates.k8s.io", "ClusterTrustBundle", true, CONFIGURATION),
    kind("resource.k8s.io", "DeviceClass", true, FOUNDATION),
    kind("resource.k8s.io", "ResourceSlice", true, STORAGE),
    kind("resource.k8s.io", "ResourceClaim", false, STORAGE),
    kind("resource.k8s.io", "ResourceClaimTemplate", false, STORAGE),
    kind(ADMISSION_GROUP, "ValidatingAdmissionPolicy", true, ADMISSION),
    kind(ADMISSION_GROUP, "ValidatingAdmissionPolicyBinding", true, ADMISSION),
    kind(ADMISSION_GROUP, "MutatingAdmissionPolicy", true, ADMISSION),
    kind(ADMISSION_GROUP, "MutatingAdmissionPolicyBinding", true, ADMISSION),
    kind(ADMISSION_GROUP, "ValidatingWebhookConfiguration", true, ADMISSION),
    kind(ADMISSION_GROUP, "MutatingWebhookConfiguration", true, ADMISSION),
];

fn known(group: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.group == group && known.kind == kind)
}

/// Tells whether objects of a built-in kind live in namespaces; nothing of other kinds.
pub fn is_namespaced(group: &str, kind: &str) -> Option<bool> {
    known(group, kind).map(|known| !known.cluster)
}

/// Returns the order in which kinds are written; deletions go the other way.
pub fn rank(group: &str, kind: &str) -> u8 {
    known(group, kind).map_or(CUSTOM, |known| known.rank)
}

/// Tells whether objects of a kind are never deleted or replaced without an approval (`GUARDS.md` 8, *protected*).
///
/// Namespaces and definitions are protected where something outside the plan would go with them, which only the target can
/// tell.
pub fn is_protected(group: &str, kind: &str) -> bool {
    let data = matches!((group, kind), ("", "PersistentVolume" | "PersistentVolumeClaim") | ("apps", "StatefulSet"));
    let shared = matches!((group, kind), ("storage.k8s.io", "StorageClass") | ("apiregistration.k8s.io", "APIService"));
    let ours = group == "holdfast.dev" || group.ends_with(".holdfast.dev");
    data || shared || ours || is_admission(group)
}

/// Tells whether objects of a kind may own what must be counted when they are deleted (`GUARDS.md` 5.2): custom ones.
///
/// What built-in kinds own is what their controllers make of the object itself.
pub fn may_own(group: &str, kind: &str) -> bool {
    known(group, kind).is_none()
}

/// Tells whether objects of a kind are what controllers make of workloads and services, whoever owns these: they are the
/// workload, and not counted beside it.
pub fn is_machinery(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Pod" | "Endpoints" | "Event")
            | ("apps", "ReplicaSet" | "ControllerRevision")
            | ("discovery.k8s.io", "EndpointSlice")
            | ("events.k8s.io", "Event")
    )
}

/// Tells whether an object is a run that its schedule makes.
pub fn is_scheduled(group: &str, kind: &str, owner: &str) -> bool {
    (group, kind, owner) == ("batch", "Job", "CronJob")
}

/// Tells whether deleting an object is protected by what outside of the plan would go with it (`GUARDS.md` 8, *protected*): by
/// anything in a namespace or of a definition, otherwise by what is protected itself.
pub fn protects(group: &str, kind: &str, goes: impl IntoIterator<Item = bool>) -> bool {
    let holds_all = matches!((group, kind), ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition"));
    goes.into_iter().any(|is_protected| holds_all || is_protected)
}

/// Tells whether drift of objects of a kind is classed as tampering (`GUARDS.md` 6): whatever says who may do what, and what
/// is let into the cluster or through its network.
pub fn is_access_control(group: &str, kind: &str) -> bool {
    group == RBAC
        || is_admission(group)
        || matches!((group, kind), ("networking.k8s.io", "NetworkPolicy") | ("certificates.k8s.io", _))
}

fn is_admission(group: &str) -> bool {
    group == ADMISSION_GROUP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once() {
        for (at, one) in KINDS.iter().enumerate() {
            let again = KINDS[at + 1..].iter().find(|other| other.group == one.group && other.kind == one.kind);
            assert!(again.is_none(), "{}/{}", one.group, one.kind);
        }
    }

    #[test]
    fn what_others_need_comes_first_and_what_intercepts_comes_last() {
        let order = [
            ("", "Namespace"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            (RBAC, "Role"),
            ("", "PersistentVolumeClaim"),
            ("", "ConfigMap"),
            ("", "Service"),
            ("apps", "Deployment"),
            ("networking.k8s.io", "Ingress"),
            ("example.com", "Widget"),
            (ADMISSION_GROUP, "MutatingWebhookConfiguration"),
        ];
        assert!(order.map(|(group, kind)| rank(group, kind)).is_sorted());
    }

    #[test]
    fn a_workload_is_not_counted_by_its_pods_and_what_an_operator_makes_is() {
        for (group, kind) in
            [("apps", "Deployment"), ("apps", "StatefulSet"), ("batch", "CronJob"), ("", "Service"), ("", "ConfigMap")]
        {
            assert!(!may_own(group, kind), "{group}/{kind}");
        }
        assert!(may_own("example.com", "Database") && may_own("example.com", "Deployment"));
        assert!(is_machinery("", "Pod") && is_machinery("apps", "ReplicaSet") && !is_machinery("batch", "Job"));
        assert!(is_scheduled("batch", "Job", "CronJob") && !is_scheduled("batch", "Job", "Database"));
        let definition = ("apiextensions.k8s.io", "CustomResourceDefinition");
        assert!(protects(definition.0, definition.1, [false]) && !protects(definition.0, definition.1, []));
        assert!(
            protects("example.com", "Database", [false, true]) && !protects("example.com", "Database", [false, false])
        );
    }

    #[test]
    fn protected_are_data_what_all_share_and_what_is_ours() {
        for (group, kind) in [
            ("", "PersistentVolumeClaim"),
            ("apps", "StatefulSet"),
            ("storage.k8s.io", "StorageClass"),
            (ADMISSION_GROUP, "ValidatingWebhookConfiguration"),
            ("holdfast.dev", "Application"),
        ] {
            assert!(is_protected(group, kind), "{group}/{kind}");
        }
        for (group, kind) in [("", "Namespace"), ("apps", "Deployment"), (RBAC, "Role"), ("example.com", "StatefulSet")]
        {
            assert!(!is_protected(group, kind), "{group}/{kind}");
        }
        assert!(is_access_control(RBAC, "RoleBinding") && !is_access_control("", "ServiceAccount"));
    }
}
