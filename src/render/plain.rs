//! Plain files: each file under the source path is one resource.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::error::Fail;
use super::{Limits, Problem, RenderError, WantChange, identity};
use crate::core::effect::Rules;
use crate::core::resource::{Digest, Id, Nature, Vitals, Want};
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
    kinds: [Arc<str>; 2],
    group: Option<Arc<str>>,
}

impl<'a> Plain<'a> {
    pub(super) fn new(
        trees: &'a dyn Trees,
        path: &'a [u8],
        limits: &'a Limits,
        rules: Rules,
        facts: &'a Facts,
    ) -> Self {
        let kinds = ["file".into(), "link".into()];
        Self { trees, path, limits, rules, facts, started: Instant::now(), entries: 0, kinds, group: None }
    }

    /// Renders a whole tree.
    pub(super) fn all(self, source: Oid) -> Result<Vec<Want>, RenderError> {
        let changes = self.changes(None, Some(source))?;
        Ok(changes.into_iter().filter_map(|change| change.new).collect())
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
        let trees = self.trees;
        let source = self.path;
        let mut visit = Changes { plain: self, changes: Vec::new(), seen };
        diff::<Fail>(trees, old, new, &mut visit).map_err(|fail| fail.at(source))?;
        let mut changes = visit.changes;
        changes.sort_by(|a, b| a.id.cmp(&b.id));
        // A file that becomes a directory of the same name, or back, is two identities; a path is there once.
        Ok(changes)
    }

    fn want(&mut self, path: &[u8], side: Side) -> Result<Option<Want>, RenderError> {
        let Some((kind, oid)) = side else { return Ok(None) };
        let origin = self.origin(path);
        let at = |problem| RenderError { path: origin.clone(), problem };
        holdable(path).map_err(at)?;
        let fact = self.fact(kind, oid).map_err(at)?;
        let id = identity(path);
        let nature = Nature {
            identity: Some(self.kinds[usize::from(kind == Kind::Link)].clone()),
            vitals: fact.vitals,
            group: self.group(id.as_str()),
            protected: self.rules.is_protected(id.as_str()),
            access_control: self.rules.is_access_control(id.as_str()),
            essence: None,
            stem: None,
        };
        Ok(Some(Want { id, digest: fact.digest, nature, rank: 0, origin }))
    }

    /// Spells a path as the repository has it.
    fn origin(&self, path: &[u8]) -> Arc<str> {
        if self.path.is_empty() { show(path) } else { show(&[self.path, b"/", path].concat()) }
    }

    /// The first directory below the path; files come in order, so that the last one's group is often this one's.
    fn group(&mut self, id: &str) -> Option<Arc<str>> {
        let (first, _) = id.split_once('/')?;
        if self.group.as_deref() != Some(first) {
            self.group = Some(first.into());
        }
        self.group.clone()
    }

    fn fact(&self, kind: Kind, oid: Oid) -> Result<Fact, Problem> {
        if let Some(fact) = self.facts.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(oid, kind)) {
            return Ok(fact.clone());
        }
        let fact = self.learn(kind, oid)?;
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
    changes: Vec<WantChange>,
    seen: &'b mut dyn FnMut(&Id, Side, Side),
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
        self.changes.push(WantChange { id, old: before, new: after });
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
