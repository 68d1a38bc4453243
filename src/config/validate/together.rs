//! What can only be judged over all documents: names, and places that must not lie in one another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::error::Findings;
use crate::config::tree::Field;
use crate::config::validated::{Application, Controller};

/// Judges what applications are together; `note` takes findings of the application at an index.
///
/// Two applications on one directory are refused, also where one only lies inside the other: a directory has one anchor, and
/// a file would be one application's desired state and the other's drift (`GUARDS.md` 5.2).
pub(in crate::config) fn together(
    controller: &Controller,
    applications: &[Application],
    files: &[PathBuf],
    mut note: impl FnMut(usize, &mut dyn FnMut(&mut Findings)),
) {
    let mut add = |at: usize, field: Field, what: String, hint: &str| {
        note(at, &mut |findings| findings.add(&field, what.clone(), hint));
    };
    let mut names: BTreeMap<&str, &Application> = BTreeMap::new();
    for (at, application) in applications.iter().enumerate() {
        if let Some(first) = names.get(&*application.name) {
            let what = format!("`{}` is the name of the application at {} already", application.name, first.origin);
            add(at, Field::dotted("metadata.name"), what, "give it another name, or take one of the two out");
        }
        names.entry(&application.name).or_insert(application);
    }
    let state = real(&controller.state_dir);
    let mut roots: Vec<(PathBuf, &Application)> = Vec::new();
    for (at, application) in applications.iter().enumerate() {
        let Some(root) = application.target.root() else { continue };
        let (root, shown) = (real(root), root.display());
        let field = || Field::dotted("spec.target.directory.root");
        if overlap(&root, &state) {
            let what =
                format!("`{shown}` and the state directory `{}` lie in one another", controller.state_dir.display());
            add(at, field(), what, "write another root, or another `stateDir` in a document of kind Controller");
        }
        if let Some((_, other)) = roots.iter().find(|(other, _)| overlap(&root, other)) {
            let what = format!("`{shown}` and the root of application `{}` lie in one another", other.name);
            add(at, field(), what, "give each application a directory of its own: a file belongs to one of them");
        }
        for (name, file) in trusted(applications, files).filter(|(_, file)| real(file).starts_with(&root)) {
            let what =
                format!("{name} `{}` lies below the root `{shown}`, where a commit could replace it", file.display());
            add(at, field(), what, "move that file out of what the application writes");
        }
        roots.push((root, application));
    }
}

/// Lists the files that decide whom to trust, each once.
fn trusted<'a>(
    applications: &'a [Application],
    files: &'a [PathBuf],
) -> impl Iterator<Item = (&'static str, &'a Path)> {
    let mut all: Vec<(&'static str, &Path)> = files.iter().map(|file| ("the configuration", file.as_path())).collect();
    for application in applications {
        let files = &application.trust.files;
        let named = [
            ("the list of signers", &files.allowed_signers),
            ("the revocations", &files.revocations),
            ("the keyring", &files.keyring),
        ];
        all.extend(named.into_iter().filter_map(|(name, file)| Some((name, file.as_deref()?))));
    }
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Follows symbolic links as far as the path exists: two spellings of one directory are one directory.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            return path.strip_prefix(ancestor).map_or_else(|_| path.to_owned(), |rest| found.join(rest));
        }
    }
    path.to_owned()
}
