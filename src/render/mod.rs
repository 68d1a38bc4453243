//! From a tree at a commit to what is wanted, for the renderers that there are.
//!
//! A [`Renderer`] belongs to one application. It reads through [`Trees`], keeps what it learned by object id, and gives
//! whole states ([`Renderer::render`]), differences between commits at the cost of what differs
//! ([`Renderer::changes`]), and the bytes of one resource when they are to be written ([`Renderer::content`]).
//!
//! What a file is depends on the kind of target: for a directory each file is a resource; for a cluster each object in it
//! is one ([`Rules::Kubernetes`]).

pub mod built;
mod details;
mod error;
mod fields;
mod lines;
mod objects;
mod plain;
mod redact;
mod sops;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_built;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use built::{Build, Builder};
pub use built::{Helm, Kustomize, Program, is_isolating};
pub use details::Look;
pub use error::{Problem, RenderError};
pub use fields::field_changes;
pub use sops::Sops;

use crate::core::commit::CommitId;
use crate::core::effect::Rules;
use crate::core::resource::{Desired, Digest, FieldChange, Id};
use crate::core::spelling::{bytes_from_id, id_from_bytes};
use crate::core::tree::{Kind, Oid, TreeError, Trees, lookup, show};

/// How a tree becomes resources.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Render {
    /// Each file under the source path is one resource, as it is; for a cluster each object in its manifests.
    #[default]
    Plain,
    /// What kustomize builds of it.
    Kustomize(Kustomize),
    /// What Helm renders of the chart that it is.
    Helm(Helm),
}

impl Render {
    const fn builder(&self) -> Option<Builder<'_>> {
        match self {
            Self::Plain => None,
            Self::Kustomize(kustomize) => Some(Builder::Kustomize(kustomize)),
            Self::Helm(helm) => Some(Builder::Helm(helm)),
        }
    }
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
    /// An object of a cluster.
    Object {
        /// Its canonical form, decrypted.
        json: Vec<u8>,
        /// Its desired digest: of what is committed.
        digest: Digest,
        /// Whether nothing of it may be shown.
        secret: bool,
    },
}

impl std::fmt::Debug for Content {
    /// Shows sizes only: contents may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { bytes, executable } => write!(f, "File({} bytes, executable: {executable})", bytes.len()),
            Self::Link(target) => write!(f, "Link({} bytes)", target.len()),
            Self::Object { json, digest, secret: _ } => write!(f, "Object({} bytes, {digest})", json.len()),
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
    sops: Option<Sops>,
    decrypted: sops::Decrypted,
    recent: Mutex<VecDeque<Kept>>,
}

/// A whole state that is kept.
#[derive(Clone, Debug)]
struct Kept {
    desired: Arc<Desired>,
    /// Its objects, where it is of a cluster.
    objects: Option<Arc<objects::Rendered>>,
    /// Its tree, and how many entries that has, where it is of plain files.
    plain: Option<(Oid, usize)>,
    /// Whether it was rendered twice, and was the same.
    twice: bool,
}

/// Whole states that are kept: the accepted one, the tip, and some between while a range is judged.
const RECENT: usize = 4;

/// The same of what a program builds, which costs more to have again than to keep.
const RECENT_BUILT: usize = 32;

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
            sops: None,
            decrypted: sops::Decrypted::default(),
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

    /// Decrypts objects that SOPS encrypted.
    #[must_use]
    pub fn with_sops(mut self, sops: Option<Sops>) -> Self {
        self.sops = sops;
        self
    }

    /// Names the renderer and its version, as far as it can be told: another one may render differently.
    pub fn identity(&self) -> Option<String> {
        match self.kind.builder() {
            None => Some("plain 1".to_owned()),
            Some(builder) => {
                let version = built::Programs.version(builder.program()).ok()?;
                Some(format!("{} {version}", builder.name()))
            }
        }
    }

    /// Passes over files that are no manifests: only for looking at a past that nobody will converge to.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Renders everything that a commit wants, sorted by identity. What a program builds is built twice, and must be the same
    /// (`GUARDS.md` 2, RENDER).
    pub fn render(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Arc<Desired>, RenderError> {
        self.kept(trees, commit, true).map(|kept| kept.desired)
    }

    fn kept(&self, trees: &dyn Trees, commit: &CommitId, twice: bool) -> Result<Kept, RenderError> {
        if let Some(builder) = self.kind.builder() {
            return self.kept_built(trees, commit, builder, twice);
        }
        let source = self.source(trees, commit)?;
        let inputs = self.inputs(source);
        if let Some(known) = self.known(inputs) {
            return Ok(known);
        }
        let kept = match self.objects(trees) {
            None => {
                let plain::Whole { source, entries, wants } = self.whole(trees, source)?;
                let desired = Arc::new(Desired::new(inputs, wants));
                Kept { desired, objects: None, plain: Some((source, entries)), twice: true }
            }
            Some(objects) => {
                let rendered = Arc::new(objects.all(source)?);
                let desired = Arc::new(Desired::new(inputs, rendered.wants()));
                Kept { desired, objects: Some(rendered), plain: None, twice: true }
            }
        };
        Ok(self.keep(kept, RECENT))
    }

    /// Renders plain files: those that are the same as in the tree that was rendered last are not rendered again.
    fn whole(&self, trees: &dyn Trees, source: Oid) -> Result<plain::Whole, RenderError> {
        let last = self.recent().iter().find(|kept| kept.plain.is_some()).cloned();
        if let Some((last, (known, entries))) = last.as_ref().and_then(|last| Some((last, last.plain?))) {
            let base = plain::Known { source: known, entries, wants: last.desired.wants() };
            // What fails on the way is told as a whole rendering tells it.
            if let Ok(Some(whole)) = self.plain(trees).onto(&base, source) {
                return Ok(whole);
            }
        }
        self.plain(trees).all(source)
    }

    fn kept_built(
        &self,
        trees: &dyn Trees,
        commit: &CommitId,
        builder: Builder<'_>,
        twice: bool,
    ) -> Result<Kept, RenderError> {
        let build = self.build(trees, commit)?;
        let prepared = builder.prepare(&build)?;
        let known = self.known(prepared.inputs);
        if let Some(known) = known.clone().filter(|known| known.twice || !twice) {
            return Ok(known);
        }
        let origin = show(&self.path);
        let once = || {
            let objects = builder.build(&build, &prepared)?;
            let fail = |problem| RenderError { path: origin.clone(), problem };
            let opened = objects.into_iter().map(|object| self.secrets().open(object).map_err(fail));
            objects::Rendered::of_built(opened.collect::<Result<_, _>>()?, &origin, &self.namespace)
        };
        let rendered = match known.and_then(|known| known.objects) {
            Some(rendered) => rendered,
            None => Arc::new(once()?),
        };
        if twice && let Some(id) = once()?.differs(&rendered) {
            return Err(RenderError { path: origin, problem: Problem::Undetermined(id) });
        }
        let desired = Arc::new(Desired::new(prepared.inputs, rendered.wants()));
        Ok(self.keep(Kept { desired, objects: Some(rendered), plain: None, twice }, RECENT_BUILT))
    }

    fn build<'a>(&'a self, trees: &'a dyn Trees, commit: &CommitId) -> Result<Build<'a>, RenderError> {
        let root =
            trees.tree_of(commit).map_err(|error| RenderError { path: show(&self.path), problem: error.into() })?;
        let (limits, namespace) = (&self.limits, &*self.namespace);
        Ok(Build { trees, root, path: &self.path, limits, namespace })
    }

    fn known(&self, inputs: Digest) -> Option<Kept> {
        self.recent().iter().find(|known| known.desired.inputs == inputs).cloned()
    }

    fn keep(&self, kept: Kept, most: usize) -> Kept {
        let mut recent = self.recent();
        recent.retain(|known| known.desired.inputs != kept.desired.inputs);
        recent.truncate(most - 1);
        recent.push_front(kept.clone());
        kept
    }

    /// Hashes what a commit's rendering depends on, without rendering: equal inputs render equally.
    pub fn inputs_at(&self, trees: &dyn Trees, commit: &CommitId) -> Result<Digest, RenderError> {
        match self.kind.builder() {
            Some(builder) => Ok(builder.prepare(&self.build(trees, commit)?)?.inputs),
            None => Ok(self.inputs(self.source(trees, commit)?)),
        }
    }

    /// Returns what differs between two commits, sorted by identity, at the cost of what differs.
    ///
    /// A source path that is missing at one of them counts as empty there, so that what this takes away is seen.
    pub fn changes(&self, trees: &dyn Trees, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, RenderError> {
        if let Some(changed) = self.objects_changed(trees, old, new) {
            return Ok(changed?.into_iter().map(|change| change.change).collect());
        }
        let (old, new) = (self.source_or_none(trees, old)?, self.source_or_none(trees, new)?);
        self.plain(trees).changes(old, new)
    }

    /// Returns what differs between two commits with the bytes of both sides, where it is about objects.
    fn objects_changed(
        &self,
        trees: &dyn Trees,
        old: &CommitId,
        new: &CommitId,
    ) -> Option<Result<Vec<objects::Change>, RenderError>> {
        if self.kind.builder().is_some() {
            let side = |commit: &CommitId| match self.kept(trees, commit, false) {
                Ok(kept) => Ok(kept.objects.unwrap_or_default()),
                Err(error) if error.is_path_missing() => Ok(Arc::default()),
                Err(error) => Err(error),
            };
            return Some(side(old).and_then(|old| Ok(old.changes(&*side(new)?))));
        }
        let objects = self.objects(trees)?;
        let side = |commit: &CommitId| self.source_or_none(trees, commit);
        Some(side(old).and_then(|old| objects.changes(old, side(new)?)))
    }

    /// Reads what a commit wants written for one resource.
    pub fn content(&self, trees: &dyn Trees, commit: &CommitId, id: &Id) -> Result<Content, RenderError> {
        let fail = |problem| RenderError::at(id.as_str(), problem);
        if self.rules == Rules::Kubernetes {
            let kept = self.kept(trees, commit, false)?;
            let object = kept.objects.as_ref().and_then(|objects| objects.object(id));
            let object = object.ok_or_else(|| fail(Problem::NotWanted))?;
            return Ok(Content::Object { json: object.json.to_vec(), digest: object.digest, secret: object.secret });
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
        let version = if self.rules == Rules::Kubernetes { objects::VERSION } else { plain::VERSION };
        Digest::of_parts([&b"plain"[..], version, self.namespace.as_bytes(), &self.path, source.as_bytes()])
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
            secrets: self.secrets(),
        })
    }

    fn secrets(&self) -> sops::Secrets<'_> {
        let (sops, known) = (self.sops.as_ref(), &self.decrypted);
        sops::Secrets { sops, known, namespace: &self.namespace }
    }

    fn plain<'a>(&'a self, trees: &'a dyn Trees) -> plain::Plain<'a> {
        let last = self.recent().iter().find(|kept| kept.plain.is_some()).map(|kept| kept.desired.clone());
        plain::Plain::new(trees, &self.path, &self.limits, self.rules, &self.facts).after(last)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<Kept>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spells the identity of a file below the source path.
fn identity(path: &[u8]) -> Id {
    id_from_bytes(path)
}
