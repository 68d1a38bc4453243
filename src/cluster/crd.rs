//! The definition of the custom resource, made from the types that the program itself reads and writes.

use serde_json::{Value, json};

use super::status::ApplicationStatus;
use crate::config::{document_rules, structural, structural_spec};

/// The resources' group.
pub const GROUP: &str = "holdfast.dev";

/// The only version there is.
pub const VERSION: &str = "v1alpha1";

/// The resources' name in paths.
pub const PLURAL: &str = "applications";

/// Returns the definition of `applications.holdfast.dev`.
pub fn definition() -> Value {
    let column = |name: &str, path: &str, kind: &str, description: &str, priority: u32| json!({ "name": name, "jsonPath": path, "type": kind, "description": description, "priority": priority });
    let ready = |field: &str| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{PLURAL}.{GROUP}"),
            "annotations": { "helm.sh/resource-policy": "keep" },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": PLURAL, "singular": "application", "kind": "Application", "listKind": "ApplicationList",
                "shortNames": ["hfapp"], "categories": ["holdfast"],
            },
            "versions": [{
                "name": VERSION, "served": true, "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    column("Mode", ".spec.mode", "string", "observe or converge", 0),
                    column("State", ".status.state", "string", "What the controller last found, in one word", 0),
                    column("Drift", ".status.drift.total", "integer", "Resources that were changed without a commit", 0),
                    column("Revision", ".status.revision", "string", "The commit that everything was last converged to", 0),
                    column("Age", ".metadata.creationTimestamp", "date", "Since when there is this application", 0),
                    column("Ready", &ready("status"), "string", "Whether the target is as the tip wants it", 1),
                    column("Why", &ready("message"), "string", "Why, if not", 1),
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": "What is kept in sync with one path of one branch of a Git repository, and what it may not do.",
                    "required": ["spec"],
                    "x-kubernetes-validations": document_rules(),
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": structural_spec(),
                        "status": structural::<ApplicationStatus>(),
                    },
                } },
            }],
        },
    })
}

/// Returns the definition as the chart holds it.
///
/// # Panics
/// Never: what it is made of can be written.
pub fn definition_yaml() -> String {
    let text = serde_yaml::to_string(&definition()).expect("a JSON value has a YAML form");
    format!("# Made from the program's types by docs/generate.\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Visits every schema node with its path.
    fn walk(node: &Value, path: &str, visit: &mut dyn FnMut(&Value, &str)) {
        visit(node, path);
        for (name, field) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(field, &format!("{path}.{name}"), visit);
        }
        for (key, step) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = node.get(key) {
                walk(inner, &format!("{path}{step}"), visit);
            }
        }
    }

    #[test]
    fn the_schema_is_structural() {
        let definition = definition();
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut nodes = 0;
        walk(root, "", &mut |node, path| {
            nodes += 1;
            for forbidden in ["$ref", "$defs", "$schema", "const", "oneOf", "examples", "title"] {
                assert!(node.get(forbidden).is_none(), "{path} has {forbidden}");
            }
            let typed = node.get("type").is_some();
            let free = ["x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"];
            assert!(typed || free.iter().any(|mark| node[mark] == true), "{path} says no type: {node}");
            assert!(node.get("additionalProperties") != Some(&json!(false)), "{path} forbids what it does not know");
            assert!(
                path.is_empty()
                    || path.len() < 10
                    || node.get("type").is_none()
                    || !path.contains("spec")
                    || node.get("description").is_some()
                    || path.ends_with(']')
                    || path.ends_with('}'),
                "{path} is not described"
            );
        });
        assert!(nodes > 150, "only {nodes} nodes: something is not walked");
    }

    #[test]
    fn a_number_or_a_word_is_marked_and_defaults_are_there() {
        let spec = structural_spec();
        let at_most = spec.pointer("/properties/guards/properties/deleteHalt/properties/atMost").unwrap();
        assert_eq!(at_most["x-kubernetes-int-or-string"], true);
        assert_eq!(at_most["pattern"], "^(disabled)$");
        assert_eq!(spec.pointer("/properties/mode/default").unwrap(), "observe");
        assert_eq!(spec.pointer("/properties/source/properties/branch/default").unwrap(), "main");
    }
}
