//! Kubernetes manifests: each object in the files under the source path is one resource, wherever it stands.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::error::Fail;
use super::sops::Secrets;
use super::{Limits, Problem, RenderError, WantChange};
use crate::core::resource::{Id, Want};
use crate::core::tree::{Entry, Kind, Oid, Side, TreeError, Trees, Visit, diff, is_freeze, show};
use crate::manifest::{self, Object, Scopes};

/// Changes whenever the same tree would render differently.
pub(super) const VERSION: &[u8] = b"objects 2";

/// The files that are read; all others are none of ours.
const ENDINGS: [&[u8]; 3] = [b".yaml", b".yml", b".json"];

/// The objects of one file.
type Parsed = Arc<[Object]>;

/// What was parsed, by object id; objects never change.
#[derive(Debug, Default)]
pub(super) struct Files {
    blobs: Mutex<HashMap<Oid, Parsed>>,
    /// What the definitions below a tree say.
    scopes: Mutex<HashMap<Oid, Scopes>>,
}

/// Definitions are looked for so deep; nobody nests directories further.
const DEEP: usize = 200;

/// Some hundred megabytes at most; then it is parsed anew.
const FILES_MAX: usize = 50_000;

/// One object, and the file that declares it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    object: Object,
    origin: Arc<str>,
}

impl Found {
    fn want(&self) -> Want {
        let Object { id, key: _, json: _, digest, nature, rank, encrypted: _, secret: _, defines: _ } = &self.object;
        Want { id: id.clone(), digest: *digest, nature: nature.clone(), rank: *rank, origin: Some(self.origin.clone()) }
    }
}

/// Puts objects where the definitions of their kinds say.
fn place(found: Vec<Found>, scopes: &Scopes, namespace: &str) -> Result<Vec<Found>, RenderError> {
    let placed = found.into_iter().map(|Found { object, origin }| {
        let object = scopes
            .place(object, namespace)
            .map_err(|problem| RenderError { path: origin.clone(), problem: Problem::Misplaced(problem) })?;
        Ok(Found { object, origin })
    });
    placed.collect()
}

/// Everything that a tree renders to, with the bytes.
#[derive(Debug, Default)]
pub(super) struct Rendered(BTreeMap<Id, Found>);

impl Rendered {
    /// Takes objects, each once.
    pub(super) fn of(found: impl IntoIterator<Item = Found>) -> Result<Self, RenderError> {
        let mut all: BTreeMap<Id, Found> = BTreeMap::new();
        for found in found {
            if let Some(other) = all.get(&found.object.id) {
                let problem = Problem::Twice { id: found.object.id.clone(), other: other.origin.clone() };
                return Err(RenderError { path: found.origin, problem });
            }
            all.insert(found.object.id.clone(), found);
        }
        Ok(Self(all))
    }

    /// Takes what a program built: every object comes from the directory as a whole.
    pub(super) fn of_built(objects: Vec<Object>, origin: &Arc<str>, namespace: &str) -> Result<Self, RenderError> {
        let found = objects.into_iter().map(|object| Found { object, origin: origin.clone() }).collect();
        Self::of_all(found, namespace)
    }

    /// Takes everything that there is, with the definitions among it.
    fn of_all(found: Vec<Found>, namespace: &str) -> Result<Self, RenderError> {
        let mut scopes = Scopes::default();
        found.iter().filter_map(|found| found.object.defines.as_ref()).for_each(|defined| scopes.add(defined));
        Self::of(place(found, &scopes, namespace)?)
    }

    pub(super) fn wants(&self) -> Vec<Want> {
        self.0.values().map(Found::want).collect()
    }

    pub(super) fn object(&self, id: &Id) -> Option<&Object> {
        self.0.get(id).map(|found| &found.object)
    }

    /// Finds an object that is not the same in another state.
    pub(super) fn differs(&self, other: &Self) -> Option<Id> {
        self.changes(other).into_iter().next().map(|change| change.change.id)
    }

    /// Returns what differs, each side with its bytes.
    pub(super) fn changes(&self, new: &Self) -> Vec<Change> {
        let mut both: BTreeMap<&Id, (Option<&Found>, Option<&Found>)> = BTreeMap::new();
        self.0.iter().for_each(|(id, found)| both.entry(id).or_default().0 = Some(found));
        new.0.iter().for_each(|(id, found)| both.entry(id).or_default().1 = Some(found));
        let differ = |(id, (old, new)): (&Id, (Option<&Found>, Option<&Found>))| Change::of(id, old, new);
        both.into_iter().filter_map(differ).collect()
    }
}

/// What differs of one object; of what was decrypted no bytes.
pub(super) struct Change {
    pub(super) change: WantChange,
    pub(super) old: Option<Arc<[u8]>>,
    pub(super) new: Option<Arc<[u8]>>,
}

impl Change {
    fn of(id: &Id, old: Option<&Found>, new: Option<&Found>) -> Option<Self> {
        let (before, after) = (old.map(Found::want), new.map(Found::want));
        // The same object from another file is no change (`GUARDS.md` 5.3, *move*).
        let same = matches!((&before, &after), (Some(before), Some(after)) if before.digest == after.digest);
        let shown = |found: &Found| (!found.object.secret).then(|| found.object.json.clone());
        let json = |found: Option<&Found>| found.and_then(shown);
        let change = || WantChange { id: id.clone(), old: before, new: after };
        (!same).then(|| Self { change: change(), old: json(old), new: json(new) })
    }
}

/// Renders manifests below one path.
pub(super) struct Objects<'a> {
    pub(super) trees: &'a dyn Trees,
    pub(super) path: &'a [u8],
    pub(super) limits: &'a Limits,
    pub(super) namespace: &'a str,
    /// Whether files that are no manifests are passed over: only for looking at a past that nobody will converge to.
    pub(super) lenient: bool,
    pub(super) files: &'a Files,
    pub(super) secrets: Secrets<'a>,
}

impl Objects<'_> {
    /// Renders a whole tree.
    pub(super) fn all(&self, source: Oid) -> Result<Rendered, RenderError> {
        let (_, new) = self.walk(None, Some(source))?;
        Rendered::of_all(new, self.namespace)
    }

    /// Renders where two trees differ, both sides, at the cost of the files that differ.
    pub(super) fn changes(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<Change>, RenderError> {
        let (before, after) = self.walk(old, new)?;
        let mut both = before.iter().chain(&after).map(|found| &found.object);
        if !both.any(|object| object.is_custom() || object.defines.is_some()) {
            return Ok(Rendered::of(before)?.changes(&Rendered::of(after)?));
        }
        let (known, defined) = (self.scopes_of(old)?, self.scopes_of(new)?);
        if known != defined {
            // Where an object belongs may change in files that did not.
            let whole = |tree: Option<Oid>| tree.map_or_else(|| Ok(Rendered::default()), |tree| self.all(tree));
            return Ok(whole(old)?.changes(&whole(new)?));
        }
        let placed = |found| Rendered::of(place(found, &defined, self.namespace)?);
        Ok(placed(before)?.changes(&placed(after)?))
    }

    /// Returns what the definitions in a tree say.
    fn scopes_of(&self, tree: Option<Oid>) -> Result<Scopes, RenderError> {
        let fail = |error: TreeError| RenderError { path: show(self.path), problem: error.into() };
        tree.map_or_else(|| Ok(Scopes::default()), |tree| self.scopes(tree, true, 0).map_err(fail))
    }

    /// Returns the same of a tree that may be a part of another; of one that was looked at, it is known.
    fn scopes(&self, tree: Oid, top: bool, depth: usize) -> Result<Scopes, TreeError> {
        let known = || self.files.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scopes) = known().get(&tree).filter(|_| !top) {
            return Ok(scopes.clone());
        }
        let mut scopes = Scopes::default();
        let raw = self.trees.tree(tree)?;
        for Entry { name, kind, oid } in crate::core::tree::parse(tree, &raw)? {
            if top && is_freeze(name) {
                continue;
            }
            match kind {
                Kind::Tree if depth < DEEP => scopes.extend(&self.scopes(oid, false, depth + 1)?),
                Kind::File | Kind::Executable if ENDINGS.iter().any(|ending| name.ends_with(ending)) => {
                    // What does not parse is told by whoever renders it.
                    let parsed = self.parse(oid).unwrap_or_default();
                    parsed.iter().filter_map(|object| object.defines.as_ref()).for_each(|defined| scopes.add(defined));
                }
                _ => {}
            }
        }
        let mut known = known();
        if known.len() >= FILES_MAX {
            known.clear();
        }
        known.insert(tree, scopes.clone());
        Ok(scopes)
    }

    fn walk(&self, old: Option<Oid>, new: Option<Oid>) -> Result<(Vec<Found>, Vec<Found>), RenderError> {
        let mut walk = Walk { objects: self, started: Instant::now(), entries: 0, old: Vec::new(), new: Vec::new() };
        diff::<Fail>(self.trees, old, new, &mut walk).map_err(|fail| fail.at(self.path))?;
        Ok((walk.old, walk.new))
    }

    fn file(&self, path: &[u8], side: Side) -> Result<Vec<Found>, RenderError> {
        let Some((kind, oid)) = side else { return Ok(Vec::new()) };
        let origin = if self.path.is_empty() { show(path) } else { show(&[self.path, b"/", path].concat()) };
        let at = |problem| RenderError { path: origin.clone(), problem };
        match kind {
            Kind::File | Kind::Executable => {}
            Kind::Link => return Err(at(Problem::LinkToManifest)),
            Kind::Submodule | Kind::Tree => return Err(at(Problem::Submodule)),
        }
        let parsed = self.parse(oid).map_err(at)?;
        let open = |object: &Object| {
            let object = self.secrets.open(object.clone()).map_err(at)?;
            Ok(Found { object, origin: origin.clone() })
        };
        parsed.iter().map(open).collect()
    }

    fn parse(&self, oid: Oid) -> Result<Parsed, Problem> {
        if let Some(known) = self.files.blobs.lock().unwrap_or_else(PoisonError::into_inner).get(&oid) {
            return Ok(known.clone());
        }
        let bytes = self.trees.blob(oid, self.limits.blob)?;
        let parsed: Parsed = match manifest::parse(&bytes, self.namespace) {
            Ok(objects) => objects.into(),
            Err(_) if self.lenient => Arc::default(),
            Err(error) => return Err(Problem::Manifest(error)),
        };
        let mut files = self.files.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() >= FILES_MAX {
            files.clear();
        }
        files.insert(oid, parsed.clone());
        Ok(parsed)
    }
}

struct Walk<'a, 'b> {
    objects: &'b Objects<'a>,
    started: Instant,
    entries: usize,
    old: Vec<Found>,
    new: Vec<Found>,
}

impl Walk<'_, '_> {
    fn afford(&mut self) -> Result<(), Fail> {
        let limits = self.objects.limits;
        self.entries += 1;
        let problem = if self.entries > limits.entries {
            Problem::TooMany(limits.entries)
        } else if self.started.elapsed() > limits.time {
            Problem::Time(limits.time)
        } else {
            return Ok(());
        };
        Err(Fail::At(RenderError { path: show(self.objects.path), problem }))
    }
}

impl Visit<Fail> for Walk<'_, '_> {
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), Fail> {
        let top = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        if is_freeze(top) || !ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            return Ok(());
        }
        self.afford()?;
        let before = self.objects.file(path, old).map_err(Fail::At)?;
        self.old.extend(before);
        let after = self.objects.file(path, new).map_err(Fail::At)?;
        self.new.extend(after);
        Ok(())
    }

    fn enter(&mut self, path: &[u8]) -> Result<bool, Fail> {
        self.afford()?;
        Ok(!is_freeze(path.split(|byte| *byte == b'/').next().unwrap_or_default()))
    }
}
