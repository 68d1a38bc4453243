//! From a tree at a commit to what is wanted, for the renderers that there are.
//!
//! A [`Renderer`] belongs to one application. It reads through [`Trees`], keeps what it learned by object id, and gives
//! whole states ([`Renderer::render`]), differences between commits at the cost of what differs
//! ([`Renderer::changes`]), and the bytes of one resource when they are to be written ([`Renderer::content`]).
//!
//! What a file is depends on the kind of target: for a directory each file is a resource; for a cluster each object in it
//! is one ([`Rules::Kubernetes`]).

mod details;
mod error;
mod fields;
mod lines;
mod objects;
mod plain;
mod redact;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use details::Look;
pub use error::{Problem, RenderError};
pub use fields::field_changes;

use crate::core::commit::CommitId;
use crate::core::effect::Rules;
use crate::core::resource::{Desired, Digest, FieldChange, Id};
use crate::core::spelling::{bytes_from_id, id_from_bytes};
use crate::core::tree::{Kind, Oid, TreeError, Trees, lookup, show};

/// How a tree becomes resources. Kustomize, Helm and sops are further kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Render {
    /// Each file under the source path is one resource, as it is.
    #[default]
    Plain,
}

/// What a render may cost; beyond, it is an error rather than a surprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many entries, directories included.
    pub entries: usize,
    /// How many bytes one file may have.
    pub blob: u64,
    /// How long a render may take.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 500_000, blob: 64 << 20, time: Duration::from_secs(60) }
    }
}

pub use crate::core::culprit::WantChange;

/// What is to be written for one resource.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// A file.
    File {
        /// Its content.
        bytes: Vec<u8>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link.
    Link(Vec<u8>),
}

impl std::fmt::Debug for Content {
    /// Shows sizes only: contents may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { bytes, executable } => write!(f, "File({} bytes, executable: {executable})", bytes.len()),
            Self::Link(target) => write!(f, "Link({} bytes)", target.len()),
        }
    }
}

/// Renders one application's source path. Share it between tasks; it caches by object id.
#[derive(Debug)]
pub struct Renderer {
    kind: Render,
    path: Vec<u8>,
    limits: Limits,
    rules: Rules,
    /// Where objects go that name no namespace.
    namespace: Arc<str>,
    lenient: bool,
    facts: plain::Facts,
    files: objects::Files,
    recent: Mutex<VecDeque<Kept>>,
}

/// A whole state that is kept.
#[derive(Clone, Debug)]
struct Kept {
    desired: Arc<Desired>,
    /// Its objects, where it is of a cluster.
    objects: Option<Arc<objects::Rendered>>,
}

/// Whole states that are kept: the accepted one, the tip, and some between while a range is judged.
const RECENT: usize = 4;

/// Where objects go that name no namespace, unless the target says so.
const NAMESPACE: &str = "default";

impl Renderer {
    /// Makes a renderer for a source path: relative to the repository's root, `.` being the root itself.
    pub fn new(kind: Render, path: &str, limits: Limits) -> Result<Self, RenderError> {
        let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty() && *c != ".").collect();
        if path.starts_with('/') || components.contains(&"..") || path.contains('\0') {
            return Err(RenderError::at(path, Problem::BadPath));
        }
        let path = components.join("/").into_bytes();
        Ok(Self {
            kind,
            path,
            limits,
            rules: Rules::default(),
            namespace: NAMESPACE.into(),
            lenient: false,
            facts: plain::Facts::default(),
            files: objects::Files::default(),
            recent: Mutex::default(),
        })
    }

    /// Judges what is wanted by the rules of another kind of target than a directory.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Puts objects that name no namespace into another one than `default`.
    #[must_use]
    pub fn with_namespace(mut self, namespace: Option<&str>) -> Self {
        if let Some(namespace) = namespace {
            self.namespace = namespace.into();
        }
        self
    }

    /// Passes over files that are no manifests: only for looking at a past that nobody will converge to.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Renders everything that a commit wants, sorted by identity.
    pub fn render(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Arc<Desired>, RenderError> {
        self.kept(trees, commit).map(|kept| kept.desired)
    }

    fn kept(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Kept, RenderError> {
        let source = self.source(trees, commit)?;
        let inputs = self.inputs(source);
        if let Some(known) = self.recent().iter().find(|known| known.desired.inputs == inputs) {
            return Ok(known.clone());
        }
        let (wants, objects) = match self.objects(trees) {
            None => (self.plain(trees).all(source)?, None),
            Some(objects) => {
                let rendered = Arc::new(objects.all(source)?);
                (rendered.wants(), Some(rendered))
            }
        };
        let kept = Kept { desired: Arc::new(Desired { inputs, wants }), objects };
        let mut recent = self.recent();
        recent.truncate(RECENT - 1);
        recent.push_front(kept.clone());
        Ok(kept)
    }

    /// Hashes what a commit's rendering depends on, without rendering: equal inputs render equally.
    pub fn inputs_at(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Digest, RenderError> {
        Ok(self.inputs(self.source(trees, commit)?))
    }

    /// Returns what differs between two commits, sorted by identity, at the cost of what differs.
    ///
    /// A source path that is missing at one of them counts as empty there, so that what this takes away is seen.
    pub fn changes(&self, trees: &dyn Trees, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, RenderError> {
        let (old, new) = (self.source_or_none(trees, old)?, self.source_or_none(trees, new)?);
        match self.objects(trees) {
            None => self.plain(trees).changes(old, new),
            Some(objects) => Ok(objects.changes(old, new)?.into_iter().map(|change| change.change).collect()),
        }
    }

    /// Reads what a commit wants written for one resource.
    pub fn content(&self, trees: &dyn Trees, commit: &CommitId, id: &Id) -> Result<Content, RenderError> {
        let fail = |problem| RenderError::at(id.as_str(), problem);
        if self.rules == Rules::Kubernetes {
            let kept = self.kept(trees, commit)?;
            let json = kept.objects.as_ref().and_then(|objects| objects.json(id));
            let json = json.ok_or_else(|| fail(Problem::NotWanted))?;
            return Ok(Content::File { bytes: json.to_vec(), executable: false });
        }
        let path = bytes_from_id(id).map_err(|_| fail(Problem::NotWanted))?;
        let source = self.source(trees, commit)?;
        let found = lookup(trees, source, &path).map_err(|e| fail(e.into()))?;
        if plain::is_skipped(&path) {
            return Err(fail(Problem::NotWanted));
        }
        let read = |oid, cap| trees.blob(oid, cap).map_err(|e| fail(e.into()));
        match found {
            Some((kind @ (Kind::File | Kind::Executable), oid)) => {
                Ok(Content::File { bytes: read(oid, self.limits.blob)?, executable: kind == Kind::Executable })
            }
            Some((Kind::Link, oid)) => Ok(Content::Link(read(oid, plain::LINK_MAX)?)),
            Some((Kind::Tree | Kind::Submodule, _)) | None => Err(fail(Problem::NotWanted)),
        }
    }

    /// Lists what changed inside a resource, as [`field_changes`] does, by what its bytes are.
    pub fn field_changes(&self, old: Option<&[u8]>, new: Option<&[u8]>, id: &Id) -> Vec<FieldChange> {
        // What an object may keep secret is told by its kind, not by its name.
        let path = if self.rules == Rules::Kubernetes { details::OBJECT } else { id.as_str() };
        field_changes(old, new, path)
    }

    /// Finds the source path's tree, if it is there.
    fn source_or_none(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Option<Oid>, RenderError> {
        match self.source(trees, commit) {
            Err(error) if error.is_path_missing() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Finds the source path's tree.
    fn source(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Oid, RenderError> {
        let fail = |problem| RenderError { path: show(&self.path), problem };
        let root = trees.tree_of(commit).map_err(|e: TreeError| fail(e.into()))?;
        let mut found = (Kind::Tree, root);
        for name in self.path.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
            match found.0 {
                Kind::Tree => {}
                Kind::Submodule => return Err(fail(Problem::Submodule)),
                Kind::File | Kind::Executable | Kind::Link => return Err(fail(Problem::NotADirectory)),
            }
            let next = lookup(trees, found.1, name).map_err(|e| fail(e.into()))?;
            found = next.ok_or_else(|| fail(Problem::PathMissing))?;
        }
        match found.0 {
            Kind::Tree => Ok(found.1),
            Kind::Submodule => Err(fail(Problem::Submodule)),
            Kind::File | Kind::Executable | Kind::Link => Err(fail(Problem::NotADirectory)),
        }
    }

    /// The version changes with every release: a new one may render differently, and must be judged like a commit.
    fn inputs(&self, source: Oid) -> Digest {
        let name: &[u8] = match self.kind {
            Render::Plain => b"plain",
        };
        let version = if self.rules == Rules::Kubernetes { objects::VERSION } else { plain::VERSION };
        Digest::of_parts([name, version, self.namespace.as_bytes(), &self.path, source.as_bytes()])
    }

    /// Returns what renders objects, where that is what is wanted.
    fn objects<'a>(&'a self, trees: &'a dyn Trees) -> Option<objects::Objects<'a>> {
        (self.rules == Rules::Kubernetes).then(|| objects::Objects {
            trees,
            path: &self.path,
            limits: &self.limits,
            namespace: &self.namespace,
            lenient: self.lenient,
            files: &self.files,
        })
    }

    fn plain<'a>(&'a self, trees: &'a dyn Trees) -> plain::Plain<'a> {
        plain::Plain::new(trees, &self.path, &self.limits, self.rules, &self.facts)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<Kept>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spells the identity of a file below the source path.
fn identity(path: &[u8]) -> Id {
    id_from_bytes(path)
}
