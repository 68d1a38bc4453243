//! Plain files: each file under the source path is one resource.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::error::Fail;
use super::{Limits, Problem, RenderError, WantChange, identity};
use crate::core::effect::Rules;
use crate::core::resource::{Desired, Digest, Id, NatureRef, Natures, Vitals, Want};
use crate::core::spelling::{file_digest, link_digest};
use crate::core::tree::{Kind, Oid, Side, TreeError, Trees, Visit, diff, is_freeze, show};

/// Changes whenever the same tree would render differently.
pub(super) const VERSION: &[u8] = b"1";

/// Longer targets are refused by Linux.
pub(super) const LINK_MAX: u64 = 4095;

/// Longer names and paths are refused by Linux.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;

/// Pointers are shorter, by their specification.
const LFS_MAX: u64 = 1024;
/// Longest content that may say nothing although it is not empty: what a template that renders nothing leaves is a few line
/// ends.
const BLANK_MAX: u64 = 16;
const LFS_START: &[u8] = b"version https://git-lfs.github.com/spec/";

/// What was learned of blobs, by object id and kind; objects never change.
#[derive(Debug, Default)]
pub(super) struct Facts(Mutex<HashMap<(Oid, Kind), Fact>>);

/// Some tens of megabytes at most; then it is learned anew.
const FACTS_MAX: usize = 400_000;

#[derive(Clone, Debug)]
struct Fact {
    digest: Digest,
    vitals: Vitals,
}

/// Renders plain files below one path.
pub(super) struct Plain<'a> {
    trees: &'a dyn Trees,
    path: &'a [u8],
    limits: &'a Limits,
    rules: Rules,
    facts: &'a Facts,
    started: Instant,
    entries: usize,
    natures: Natures,
    /// Whether what is learned is kept.
    keeps: bool,
    /// What was rendered last: of a file that is the same there, what there is to learn is known.
    last: Option<Arc<Desired>>,
}

/// A whole tree, rendered.
pub(super) struct Whole {
    pub(super) source: Oid,
    /// How many entries it has at most, directories included.
    pub(super) entries: usize,
    pub(super) wants: Vec<Want>,
}

/// A whole tree that was rendered before.
pub(super) struct Known<'a> {
    pub(super) source: Oid,
    pub(super) entries: usize,
    pub(super) wants: &'a [Want],
}

impl<'a> Plain<'a> {
    pub(super) fn new(
        trees: &'a dyn Trees,
        path: &'a [u8],
        limits: &'a Limits,
        rules: Rules,
        facts: &'a Facts,
    ) -> Self {
        Self {
            trees,
            path,
            limits,
            rules,
            facts,
            started: Instant::now(),
            entries: 0,
            natures: Natures::default(),
            keeps: true,
            last: None,
        }
    }

    /// Renders a whole tree.
    pub(super) fn all(mut self, source: Oid) -> Result<Whole, RenderError> {
        // What is learned of each blob is in what is wanted; to keep it besides would take as much again.
        self.keeps = false;
        let mut wants = Vec::new();
        let entries = self.walk(None, Some(source), &mut |_, _, _| (), &mut |change| wants.extend(change.new))?;
        wants.sort_by(|a, b| a.id.cmp(&b.id));
        wants.shrink_to_fit();
        Ok(Whole { source, entries, wants })
    }

    /// Renders a whole tree at the cost of what differs from one that was rendered; nothing where only a whole rendering
    /// can tell that it keeps to the limits.
    pub(super) fn onto(self, base: &Known<'_>, source: Oid) -> Result<Option<Whole>, RenderError> {
        let most = self.limits.entries;
        let mut changes = Vec::new();
        let spent =
            self.walk(Some(base.source), Some(source), &mut |_, _, _| (), &mut |change| changes.push(change))?;
        let entries = base.entries.saturating_add(spent);
        if entries > most {
            return Ok(None);
        }
        changes.sort_by(|a, b| a.id.cmp(&b.id));
        let mut wants = Vec::with_capacity(base.wants.len() + changes.len());
        let mut old = base.wants.iter().peekable();
        for change in changes {
            while let Some(same) = old.next_if(|want| want.id < change.id) {
                wants.push(same.clone());
            }
            old.next_if(|want| want.id == change.id);
            wants.extend(change.new);
        }
        wants.extend(old.cloned());
        wants.shrink_to_fit();
        Ok(Some(Whole { source, entries, wants }))
    }

    /// Renders where two trees differ, both sides.
    pub(super) fn changes(self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<WantChange>, RenderError> {
        self.changes_seen(old, new, &mut |_, _, _| ())
    }

    /// Renders where two trees differ, and shows each leaf on the way.
    pub(super) fn changes_seen(
        self,
        old: Option<Oid>,
        new: Option<Oid>,
        seen: &mut dyn FnMut(&Id, Side, Side),
    ) -> Result<Vec<WantChange>, RenderError> {
        let mut changes = Vec::new();
        self.walk(old, new, seen, &mut |change| changes.push(change))?;
        changes.sort_by(|a, b| a.id.cmp(&b.id));
        // A file that becomes a directory of the same name, or back, is two identities; a path is there once.
        Ok(changes)
    }

    /// Renders where two trees differ, in Git's order; returns how many entries that took, directories included.
    fn walk(
        self,
        old: Option<Oid>,
        new: Option<Oid>,
        seen: &mut dyn FnMut(&Id, Side, Side),
        found: &mut dyn FnMut(WantChange),
    ) -> Result<usize, RenderError> {
        let (trees, source) = (self.trees, self.path);
        let mut visit = Changes { plain: self, seen, found };
        diff::<Fail>(trees, old, new, &mut visit).map_err(|fail| fail.at(source))?;
        Ok(visit.plain.entries)
    }

    fn want(&mut self, path: &[u8], side: Side) -> Result<Option<Want>, RenderError> {
        let Some((kind, oid)) = side else { return Ok(None) };
        let id = identity(path);
        let fact = holdable(path).and_then(|()| self.fact(kind, oid, &id));
        let fact = fact.map_err(|problem| RenderError { path: self.origin(path), problem })?;
        let nature = self.natures.get(NatureRef {
            identity: Some(if kind == Kind::Link { "link" } else { "file" }),
            vitals: fact.vitals,
            group: id.as_str().split_once('/').map(|(group, _)| group),
            protected: self.rules.is_protected(id.as_str()),
            access_control: self.rules.is_access_control(id.as_str()),
            essence: None,
            stem: None,
        });
        Ok(Some(Want { id, digest: fact.digest, nature, rank: 0, origin: None }))
    }

    /// Spells a path as the repository has it.
    fn origin(&self, path: &[u8]) -> Arc<str> {
        if self.path.is_empty() { show(path) } else { show(&[self.path, b"/", path].concat()) }
    }

    /// Knows what was rendered last.
    pub(super) fn after(mut self, last: Option<Arc<Desired>>) -> Self {
        self.last = last;
        self
    }

    /// A file's digest is of what it holds and may do: where it is the same as in the last rendering, so is the file.
    fn same_as_last(&self, kind: Kind, oid: Oid, id: &Id) -> Option<Fact> {
        let executable = match kind {
            Kind::File => false,
            Kind::Executable => true,
            Kind::Link | Kind::Tree | Kind::Submodule => return None,
        };
        let want = self.last.as_ref()?.get(id)?;
        let digest = file_digest(executable, oid.as_bytes());
        (want.digest == digest).then(|| Fact { digest, vitals: want.nature.vitals })
    }

    fn fact(&self, kind: Kind, oid: Oid, id: &Id) -> Result<Fact, Problem> {
        if let Some(fact) = self.facts.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(oid, kind)) {
            return Ok(fact.clone());
        }
        if let Some(fact) = self.same_as_last(kind, oid, id) {
            return Ok(fact);
        }
        let fact = self.learn(kind, oid)?;
        if !self.keeps {
            return Ok(fact);
        }
        let mut facts = self.facts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() >= FACTS_MAX {
            facts.clear();
        }
        facts.insert((oid, kind), fact.clone());
        Ok(fact)
    }

    fn learn(&self, kind: Kind, oid: Oid) -> Result<Fact, Problem> {
        match kind {
            Kind::File | Kind::Executable => {
                let size = self.trees.blob_size(oid)?;
                if size > self.limits.blob {
                    return Err(Problem::TooLarge { size, cap: self.limits.blob });
                }
                let mut blank = size == 0;
                if size > LFS_START.len() as u64 && size < LFS_MAX {
                    if self.trees.blob(oid, LFS_MAX)?.starts_with(LFS_START) {
                        return Err(Problem::LfsPointer);
                    }
                } else if !blank && size <= BLANK_MAX {
                    blank = self.trees.blob(oid, BLANK_MAX)?.iter().all(u8::is_ascii_whitespace);
                }
                let executable = kind == Kind::Executable;
                let mut vitals = if blank { Vitals::default() } else { Vitals::CONTENT };
                if executable {
                    vitals = vitals.with(Vitals::EXECUTABLE);
                }
                Ok(Fact { digest: file_digest(executable, oid.as_bytes()), vitals })
            }
            Kind::Link => {
                let target = self.trees.blob(oid, LINK_MAX).map_err(|error| match error {
                    TreeError::TooLarge { .. } => Problem::Link,
                    other => other.into(),
                })?;
                if target.is_empty() || target.contains(&0) {
                    return Err(Problem::Link);
                }
                Ok(Fact { digest: link_digest(&target), vitals: Vitals::CONTENT })
            }
            Kind::Submodule => Err(Problem::Submodule),
            Kind::Tree => Err(Problem::NotADirectory),
        }
    }

    fn afford(&mut self) -> Result<(), RenderError> {
        let problem = if self.entries >= self.limits.entries {
            Problem::TooMany(self.limits.entries)
        } else if self.started.elapsed() > self.limits.time {
            Problem::Time(self.limits.time)
        } else {
            self.entries += 1;
            return Ok(());
        };
        Err(RenderError { path: show(self.path), problem })
    }
}

struct Changes<'a, 'b> {
    plain: Plain<'a>,
    seen: &'b mut dyn FnMut(&Id, Side, Side),
    found: &'b mut dyn FnMut(WantChange),
}

impl Visit<Fail> for Changes<'_, '_> {
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), Fail> {
        if freezes(path) {
            return Ok(());
        }
        if is_reserved(path) {
            // What an older commit had there was never written, and its removal is nothing to write either.
            return match new {
                Some(_) => Err(Fail::At(RenderError { path: self.plain.origin(path), problem: Problem::Reserved })),
                None => Ok(()),
            };
        }
        self.plain.afford().map_err(Fail::At)?;
        let before = self.plain.want(path, old).map_err(Fail::At)?;
        let after = self.plain.want(path, new).map_err(Fail::At)?;
        let id = identity(path);
        (self.seen)(&id, old, new);
        (self.found)(WantChange { id, old: before, new: after });
        Ok(())
    }

    fn enter(&mut self, path: &[u8]) -> Result<bool, Fail> {
        if freezes(path) {
            return Ok(false);
        }
        self.plain.afford().map_err(Fail::At)?;
        Ok(true)
    }
}

/// Tells what is never rendered: what freezes at the source path, and what is refused there.
pub(super) fn is_skipped(path: &[u8]) -> bool {
    freezes(path) || is_reserved(path)
}

fn top(path: &[u8]) -> &[u8] {
    path.split(|b| *b == b'/').next().unwrap_or_default()
}

fn freezes(path: &[u8]) -> bool {
    is_freeze(top(path))
}

/// Tells whether a target keeps the name for itself: no plan may write holdfast's own objects (`GUARDS.md` 9).
fn is_reserved(path: &[u8]) -> bool {
    top(path) == b".holdfast" || path.split(|b| *b == b'/').any(|name| name.starts_with(b".holdfast-tmp-"))
}

/// Refuses names that a directory cannot hold, or that Git or we would take for something else.
fn holdable(path: &[u8]) -> Result<(), Problem> {
    if path.len() > PATH_MAX {
        return Err(Problem::Name("the path is longer than 4095 bytes"));
    }
    for name in path.split(|b| *b == b'/') {
        let why = match name {
            b"." | b".." => "it names a directory, this or the one above",
            _ if name.eq_ignore_ascii_case(b".git") => "it is Git's own",
            _ if name.len() > NAME_MAX => "it is longer than 255 bytes",
            _ if name.is_empty() || name.contains(&0) => "it is empty or has a NUL",
            _ => continue,
        };
        return Err(Problem::Name(why));
    }
    Ok(())
}
