//! Helm: a chart in the repository, its dependencies vendored, rendered without a cluster and without hooks.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::{Build, Covered, Program, join, os_path};
use crate::core::resource::{Digest, Hasher};
use crate::core::tree::Kind;
use crate::render::{Problem, RenderError};

/// How Helm renders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Helm {
    /// The program.
    pub program: Program,
    /// The release's name.
    pub release: Arc<str>,
    /// Files of values in the repository, relative to the chart; later ones win.
    pub values_files: Vec<String>,
    /// Whether the chart's `crds/` are rendered too.
    pub include_crds: bool,
    /// The version of Kubernetes that templates see, if another than Helm's own.
    pub kube_version: Option<String>,
}

impl Helm {
    /// Renders with this program under this name.
    pub const fn new(program: Program, release: Arc<str>) -> Self {
        Self { program, release, values_files: Vec::new(), include_crds: false, kube_version: None }
    }

    /// Hashes what is configured.
    pub(super) fn options(&self) -> Digest {
        let Self { program: _, release, values_files, include_crds, kube_version } = self;
        let mut hash = Hasher::new();
        hash.part(release.as_bytes()).part(&[u8::from(*include_crds)]);
        hash.part(kube_version.as_deref().unwrap_or_default().as_bytes());
        for file in values_files {
            hash.part(file.as_bytes());
        }
        hash.finish()
    }

    /// Finds the directories that are read: the chart, and where files of values lie.
    pub(super) fn covered(&self, build: &Build<'_>) -> Result<Covered, RenderError> {
        let Some((Kind::Tree, tree)) = build.at(build.path)? else { return Err(build.fail(Problem::PathMissing)) };
        let chart = join(build.path, "Chart.yaml").unwrap_or_default();
        if !matches!(build.at(&chart)?, Some((Kind::File | Kind::Executable, _))) {
            return Err(build.fail(Problem::NoChart));
        }
        let mut covered = Covered::default();
        covered.add(build.path.to_vec(), tree);
        for file in &self.values_files {
            let path = join(build.path, file).ok_or_else(|| build.fail(Problem::Elsewhere(file.clone())))?;
            let Some((Kind::File | Kind::Executable, _)) = build.at(&path)? else {
                return Err(build.fail(Problem::Elsewhere(file.clone())));
            };
            let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &path[..at]);
            if let Some((Kind::Tree, tree)) = build.at(parent)? {
                covered.add(parent.to_vec(), tree);
            }
        }
        Ok(covered)
    }

    pub(super) fn arguments(
        &self,
        build: &Build<'_>,
        tree: &Path,
        source: &Path,
    ) -> Result<Vec<OsString>, RenderError> {
        let mut arguments: Vec<OsString> = vec!["template".into(), (&*self.release).into(), source.into()];
        arguments.extend(["--namespace", build.namespace, "--no-hooks", "--skip-tests"].map(Into::into));
        if self.include_crds {
            arguments.push("--include-crds".into());
        }
        if let Some(version) = &self.kube_version {
            arguments.extend(["--kube-version", version].map(Into::into));
        }
        for file in &self.values_files {
            let path = join(build.path, file).ok_or_else(|| build.fail(Problem::Elsewhere(file.clone())))?;
            arguments.extend(["--values".into(), tree.join(os_path(&path)).into()]);
        }
        Ok(arguments)
    }
}
