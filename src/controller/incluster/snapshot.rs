//! The Applications as the controller last read them, kept beside the ledger: commands in the pod work on them without asking
//! the API server, whatever its state.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{Application, Controller, InCluster, Resource, load_resources};

/// Returns where they are kept.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("applications.json")
}

/// Keeps them; what cannot be kept is told, and commands go on with what was kept before.
pub(super) fn write<'a>(file: &Path, resources: impl Iterator<Item = Resource<'a>>) {
    let spell = |resource: Resource<'_>| json!({ "namespace": resource.namespace, "name": resource.name, "spec": resource.spec });
    let text = Value::Array(resources.map(spell).collect()).to_string();
    if std::fs::read_to_string(file).is_ok_and(|present| present == text) {
        return;
    }
    let beside = file.with_extension("json.new");
    if let Err(error) = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, file)) {
        tracing::warn!(%error, file = %file.display(), "the Applications could not be kept for commands");
    }
}

/// Reads them; none before the controller has read any.
pub fn read(controller: &Controller, cluster: &InCluster) -> Vec<Application> {
    let text = std::fs::read_to_string(file(&controller.state_dir)).unwrap_or_default();
    let kept: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
    let resource = |kept: &Value| -> Option<(String, String, Value)> {
        Some((kept["namespace"].as_str()?.to_owned(), kept["name"].as_str()?.to_owned(), kept["spec"].clone()))
    };
    let kept: Vec<(String, String, Value)> = kept.iter().filter_map(resource).collect();
    let resources: Vec<Resource<'_>> =
        kept.iter().map(|(namespace, name, spec)| Resource { namespace, name, spec }).collect();
    load_resources(controller, cluster, &resources).into_iter().flatten().collect()
}
