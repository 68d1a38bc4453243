//! Kustomize: which directories a kustomization reads, and that none of it lies elsewhere or is executed.

use std::path::Path;

use serde_json::Value;

use super::{Build, Covered, Program, join};
use crate::core::tree::{Kind, show};
use crate::manifest::yaml;
use crate::render::{Problem, RenderError};

/// How kustomize builds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kustomize {
    /// The program.
    pub(in crate::render) program: Program,
}

impl Kustomize {
    /// Builds with this program.
    pub const fn new(program: Program) -> Self {
        Self { program }
    }
}

/// What a directory's kustomization is called.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields whose entries are files or directories; of some an entry may be a patch written out.
const LISTS: [&str; 7] =
    ["resources", "components", "bases", "configurations", "crds", "patchesStrategicMerge", "patchesJson6902"];

/// Fields that read nothing.
const PLAIN: [&str; 21] = [
    "apiVersion",
    "kind",
    "metadata",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "generatorOptions",
    "images",
    "imageTags",
    "replicas",
    "vars",
    "sortOptions",
    "buildMetadata",
    "openapi",
    "patches",
    "replacements",
    "configMapGenerator",
    "secretGenerator",
];

/// What the entries of other lists may say. Everything else is refused: the program takes keys for the same that we would not.
const ENTRIES: [(&str, &[&str]); 5] = [
    ("patches", &["path", "patch", "target", "options"]),
    ("patchesJson6902", &["path", "patch", "target", "options"]),
    ("replacements", &["path", "source", "targets"]),
    ("configMapGenerator", GENERATOR),
    ("secretGenerator", GENERATOR),
];

const GENERATOR: &[&str] = &["name", "namespace", "behavior", "type", "files", "envs", "env", "literals", "options"];

/// More directories than any fleet has; bounds loops.
const DIRECTORIES_MAX: usize = 10_000;

pub(super) fn arguments(source: &Path) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> =
        ["build", "--load-restrictor", "LoadRestrictionsNone"].map(Into::into).into();
    arguments.push(source.into());
    arguments
}

/// Finds the directories that a kustomization reads, its bases included.
pub(super) fn covered(build: &Build<'_>) -> Result<Covered, RenderError> {
    let mut covered = Covered::default();
    let mut seen = std::collections::BTreeSet::new();
    let mut left = vec![build.path.to_vec()];
    let mut first = true;
    while let Some(dir) = left.pop() {
        if !seen.insert(dir.clone()) {
            continue;
        }
        if seen.len() > DIRECTORIES_MAX {
            return Err(build.fail(Problem::TooMany(DIRECTORIES_MAX)));
        }
        let fail = |problem| RenderError { path: show(&dir), problem };
        let Some((Kind::Tree, tree)) = build.at(&dir)? else {
            return Err(fail(if first { Problem::PathMissing } else { Problem::NotADirectory }));
        };
        first = false;
        covered.add(dir.clone(), tree);
        for reference in references(build, &dir)? {
            let path = join(&dir, &reference).ok_or_else(|| fail(Problem::Elsewhere(reference.clone())))?;
            match build.at(&path)? {
                Some((Kind::Tree, _)) => left.push(path),
                Some((Kind::File | Kind::Executable, _)) => {
                    let parent: Vec<u8> = match path.iter().rposition(|byte| *byte == b'/') {
                        Some(at) => path[..at].to_vec(),
                        None => Vec::new(),
                    };
                    if !covered.has(&parent)
                        && let Some((Kind::Tree, tree)) = build.at(&parent)?
                    {
                        covered.add(parent, tree);
                    }
                }
                Some((Kind::Link, _)) => return Err(fail(Problem::LinkToManifest)),
                Some((Kind::Submodule, _)) => return Err(fail(Problem::Submodule)),
                None => return Err(fail(Problem::Elsewhere(reference))),
            }
        }
    }
    Ok(covered)
}

/// Returns what a directory's kustomization refers to.
fn references(build: &Build<'_>, dir: &[u8]) -> Result<Vec<String>, RenderError> {
    let fail = |problem| RenderError { path: show(dir), problem };
    let mut found = None;
    for name in NAMES {
        let path = if dir.is_empty() { name.as_bytes().to_vec() } else { [dir, b"/", name.as_bytes()].concat() };
        if let Some((Kind::File | Kind::Executable, oid)) = build.at(&path)? {
            found = Some(oid);
            break;
        }
    }
    let oid = found.ok_or_else(|| fail(Problem::NoKustomization))?;
    let bytes = build.read(oid)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| fail(Problem::Program(error.to_string())))?;
    let documents = yaml(text).map_err(|error| fail(Problem::Built(error)))?;
    let mut references = Vec::new();
    for document in documents.iter().filter_map(Value::as_object) {
        let known = |key: &&String| LISTS.contains(&key.as_str()) || PLAIN.contains(&key.as_str());
        if let Some(refused) = document.keys().find(|key| !known(key)) {
            return Err(fail(Problem::Executes(refused.clone())));
        }
        for (list, allowed) in ENTRIES {
            let keys = entries(document.get(list)).filter_map(Value::as_object).flat_map(|entry| entry.keys());
            if let Some(refused) = keys.into_iter().find(|key| !allowed.contains(&key.as_str())) {
                return Err(fail(Problem::Executes(format!("{list}/{refused}"))));
            }
        }
        if let Some(openapi) = document.get("openapi")
            && openapi.as_object().is_none_or(|openapi| openapi.keys().any(|key| key != "path" && key != "version"))
        {
            return Err(fail(Problem::Executes("openapi".to_owned())));
        }
        for list in LISTS {
            for entry in entries(document.get(list)) {
                references.extend(file(entry));
                references.extend(entry.get("path").and_then(file));
            }
        }
        for list in ["patches", "replacements"] {
            references.extend(entries(document.get(list)).filter_map(|entry| entry.get("path").and_then(file)));
        }
        references.extend(document.get("openapi").and_then(|openapi| openapi.get("path")).and_then(file));
        for list in ["configMapGenerator", "secretGenerator"] {
            for generator in entries(document.get(list)) {
                for from in ["files", "envs"] {
                    references.extend(entries(generator.get(from)).filter_map(file).map(|entry| content(&entry)));
                }
                references.extend(generator.get("env").and_then(file));
            }
        }
    }
    Ok(references)
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// An entry that names a file or a directory, not one that is written out.
fn file(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.contains('\n') && !text.is_empty()).map(str::to_owned)
}

/// Of `key=path` the path.
fn content(entry: &str) -> String {
    entry.split_once('=').map_or(entry, |(_, path)| path).to_owned()
}
