//! What a program of its own builds from a tree: kustomize and Helm, each in a directory of its own that holds copies of what it
//! reads and nothing else.
//!
//! Nothing that a repository contains is executed: plug-ins, functions and charts that kustomize would inflate are refused, and so
//! is whatever lies elsewhere, before the program runs. The program has no environment, no home, no network where the machine
//! can take it away, and bounds on time, memory and what it prints.

mod helm;
mod kustomize;
mod run;

use std::collections::BTreeMap;
use std::path::Path;

pub use helm::Helm;
pub use kustomize::Kustomize;
pub(super) use run::Programs;
pub use run::{Program, is_isolating};

use super::error::Fail;
use super::{Limits, Problem, RenderError};
use crate::core::resource::{Digest, Hasher};
use crate::core::tree::{Kind, Oid, Trees, Visit, diff, lookup, show};
use crate::manifest::{self, Object};

/// Copies of more than this are refused: a chart or a base is text.
const COPIED_BYTES: u64 = 256 << 20;

/// The directories of a tree that a program reads: each whole, none below another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Covered(BTreeMap<Vec<u8>, Oid>);

impl Covered {
    /// Tells whether a path lies in one of them.
    fn has(&self, path: &[u8]) -> bool {
        self.0.keys().any(|dir| is_below(path, dir))
    }

    /// Adds a directory.
    fn add(&mut self, path: Vec<u8>, tree: Oid) {
        if !self.has(&path) {
            self.0.retain(|dir, _| !is_below(dir, &path));
            self.0.insert(path, tree);
        }
    }

    /// Hashes what is in them.
    fn hash_into(&self, hash: &mut Hasher) {
        for (path, tree) in &self.0 {
            hash.part(path).part(tree.as_bytes());
        }
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path == dir || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}

/// One program's way from a tree to objects.
pub(super) struct Build<'a> {
    pub(super) trees: &'a dyn Trees,
    /// The root tree of the commit.
    pub(super) root: Oid,
    /// The source path.
    pub(super) path: &'a [u8],
    pub(super) limits: &'a Limits,
    pub(super) namespace: &'a str,
}

impl Build<'_> {
    fn fail(&self, problem: Problem) -> RenderError {
        RenderError { path: show(self.path), problem }
    }

    /// Finds what is at a path.
    fn at(&self, path: &[u8]) -> Result<Option<(Kind, Oid)>, RenderError> {
        if path.is_empty() {
            return Ok(Some((Kind::Tree, self.root)));
        }
        let mut found = (Kind::Tree, self.root);
        for name in path.split(|byte| *byte == b'/') {
            if found.0 != Kind::Tree {
                return Ok(None);
            }
            match lookup(self.trees, found.1, name).map_err(|error| self.fail(error.into()))? {
                Some(next) => found = next,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Reads a file.
    fn read(&self, oid: Oid) -> Result<Vec<u8>, RenderError> {
        self.trees.blob(oid, self.limits.blob).map_err(|error| self.fail(error.into()))
    }

    /// Copies directories below a root of our own. Links are left out: nothing that is read may lie elsewhere.
    fn copy(&self, covered: &Covered, to: &Path) -> Result<(), RenderError> {
        let mut copy = Copy { build: self, to, entries: 0, bytes: 0, below: Vec::new() };
        for (path, tree) in &covered.0 {
            copy.below.clone_from(path);
            let dir = to.join(os_path(path));
            std::fs::create_dir_all(dir)
                .map_err(|error| self.fail(Problem::Program(format!("copy the tree: {error}"))))?;
            diff::<Fail>(self.trees, None, Some(*tree), &mut copy).map_err(|fail| fail.at(self.path))?;
        }
        Ok(())
    }

    /// Reads what a program printed.
    fn parse(&self, printed: &[u8]) -> Result<Vec<Object>, RenderError> {
        manifest::parse(printed, self.namespace).map_err(|error| self.fail(Problem::Built(error)))
    }
}

/// Spells a path of a tree as the system's. On Linux names are bytes.
fn os_path(path: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(path))
}

/// Joins a relative reference to a directory; `None` if it leaves the repository or is absolute.
fn join(dir: &[u8], reference: &str) -> Option<Vec<u8>> {
    if reference.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&[u8]> = dir.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for part in reference.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name.as_bytes()),
        }
    }
    Some(parts.join(&b'/'))
}

struct Copy<'a, 'b> {
    build: &'b Build<'a>,
    to: &'b Path,
    entries: usize,
    bytes: u64,
    below: Vec<u8>,
}

impl Visit<Fail> for Copy<'_, '_> {
    fn leaf(&mut self, path: &[u8], _: crate::core::tree::Side, new: crate::core::tree::Side) -> Result<(), Fail> {
        let Some((Kind::File | Kind::Executable, oid)) = new else { return Ok(()) };
        let build = self.build;
        let (trees, limits) = (build.trees, build.limits);
        self.entries += 1;
        self.bytes += trees.blob_size(oid)?;
        if self.entries > limits.entries {
            return Err(Fail::At(build.fail(Problem::TooMany(limits.entries))));
        }
        if self.bytes > COPIED_BYTES {
            return Err(Fail::At(build.fail(Problem::TooLarge { size: self.bytes, cap: COPIED_BYTES })));
        }
        let whole = if self.below.is_empty() { path.to_vec() } else { [&self.below[..], b"/", path].concat() };
        let file = self.to.join(os_path(&whole));
        let failed = |error: std::io::Error| Fail::At(build.fail(Problem::Program(format!("copy the tree: {error}"))));
        if let Some(dir) = file.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        std::fs::write(file, trees.blob(oid, limits.blob)?).map_err(failed)
    }
}

/// Hashes what a build depends on: the version of what builds, its options, and what it reads.
fn inputs(name: &str, version: &str, options: Digest, namespace: &str, covered: &Covered) -> Digest {
    let mut hash = Hasher::new();
    hash.part(b"built 1").part(name.as_bytes()).part(version.as_bytes()).part(options.as_bytes());
    hash.part(namespace.as_bytes());
    covered.hash_into(&mut hash);
    hash.finish()
}

/// What a build is about: hashed before, built only where that is new.
pub(super) struct Prepared {
    pub(super) inputs: Digest,
    covered: Covered,
}

/// How a program builds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Builder<'a> {
    Kustomize(&'a Kustomize),
    Helm(&'a Helm),
}

impl<'a> Builder<'a> {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Kustomize(_) => "kustomize",
            Self::Helm(_) => "helm",
        }
    }

    pub(super) const fn program(&self) -> &'a Program {
        match self {
            Self::Kustomize(kustomize) => &kustomize.program,
            Self::Helm(helm) => &helm.program,
        }
    }

    /// Finds what is read, and refuses what must not be.
    pub(super) fn prepare(&self, build: &Build<'_>) -> Result<Prepared, RenderError> {
        let version = Programs.version(self.program()).map_err(|problem| build.fail(problem))?;
        let (covered, options) = match self {
            Self::Kustomize(_) => (kustomize::covered(build)?, Digest::of_parts([b""])),
            Self::Helm(helm) => (helm.covered(build)?, helm.options()),
        };
        let inputs = inputs(self.name(), &version, options, build.namespace, &covered);
        Ok(Prepared { inputs, covered })
    }

    /// Runs the program.
    pub(super) fn build(&self, build: &Build<'_>, prepared: &Prepared) -> Result<Vec<Object>, RenderError> {
        let dir = tempfile::Builder::new().prefix("holdfast-render-").tempdir();
        let dir = dir.map_err(|error| build.fail(Problem::Program(format!("make a directory: {error}"))))?;
        let tree = dir.path().join("tree");
        build.copy(&prepared.covered, &tree)?;
        // Where the tree is for the program: below its root, unless it has the machine's.
        let seen = if self.program().unconfined { tree } else { Path::new("/tree").to_owned() };
        let source = seen.join(os_path(build.path));
        let arguments = match self {
            Self::Kustomize(_) => kustomize::arguments(&source),
            Self::Helm(helm) => helm.arguments(build, &seen, &source)?,
        };
        let printed = Programs.run(self.program(), &arguments, dir.path(), build.limits);
        // Paths of this machine mean nothing to whoever reads the error.
        let place = seen.display().to_string();
        let printed = printed.map_err(|problem| match problem {
            Problem::Program(why) => {
                build.fail(Problem::Program(why.replace(&format!("{place}/"), "").replace(&place, ".")))
            }
            other => build.fail(other),
        })?;
        build.parse(&printed)
    }
}
