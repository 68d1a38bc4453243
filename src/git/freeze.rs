//! What of a commit freezes (`GUARDS.md` 4), and whether a commit does nothing else (`GUARDS.md` 3.3).

use std::sync::Arc;

use super::snapshot::{ReadError, Snapshot};
use crate::core::commit::CommitId;
use crate::core::tree::{Kind, Side, TreeError, Trees, Visit, diff, is_freeze, lookup, parse, show};

/// An entry that freezes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FreezeEntry {
    /// Its path in the repository, spelt as an identity is.
    pub path: Arc<str>,
    /// Its content, if it is a file that can be read and is not too large; otherwise nothing, which freezes all.
    pub bytes: Vec<u8>,
}

/// A freeze says who and why; more than this is malformed, and freezes all.
const FREEZE_MAX: u64 = 64 * 1024;

impl Snapshot {
    /// Returns the entries that freeze the application at `path`: at the root, and at that path, sorted by path.
    pub fn freeze_entries(&self, commit: &CommitId, path: &str) -> Result<Vec<FreezeEntry>, ReadError> {
        let root = self.tree_of(commit)?;
        let mut found = Vec::new();
        for at in freezing_places(&[path]) {
            let Some((Kind::Tree, tree)) = lookup(self, root, &at)? else { continue };
            let raw = self.tree(tree)?;
            for entry in parse(tree, &raw)?.into_iter().filter(|entry| is_freeze(entry.name)) {
                let bytes = match entry.kind {
                    Kind::File | Kind::Executable => match self.blob(entry.oid, FREEZE_MAX) {
                        Ok(bytes) => bytes,
                        Err(TreeError::TooLarge { .. }) => Vec::new(),
                        Err(error) => return Err(error.into()),
                    },
                    Kind::Link | Kind::Tree | Kind::Submodule => Vec::new(),
                };
                found.push(FreezeEntry { path: show(&joined(&at, entry.name)), bytes });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Tells whether all that a commit changes against its first parent are files that freeze: at the root, or at one of
    /// `paths` (those of all applications of this repository). Whether it freezes more or less is for core to judge.
    ///
    /// A `FREEZE` that is a directory or a submodule freezes too, but needs a signature: it could hold anything.
    pub fn freeze_only(&self, commit: &CommitId, paths: &[&str]) -> Result<bool, ReadError> {
        let raw = self.raw(commit)?.ok_or_else(|| ReadError::NoCommit(commit.to_string()))?;
        let new = self.tree_of(commit)?;
        let old = raw.parents.first().map(|parent| self.tree_of(parent)).transpose()?;
        let mut look = Look { places: freezing_places(paths), only: true, any: false };
        diff::<ReadError>(self, old, Some(new), &mut look)?;
        Ok(look.only && look.any)
    }
}

struct Look {
    places: Vec<Vec<u8>>,
    only: bool,
    any: bool,
}

impl Visit<ReadError> for Look {
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), ReadError> {
        let at = path.iter().rposition(|b| *b == b'/');
        let (dir, name) = at.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        let file = |side: Side| side.is_none_or(|(kind, _)| matches!(kind, Kind::File | Kind::Executable | Kind::Link));
        self.any = true;
        self.only &= is_freeze(name) && self.places.iter().any(|place| place == dir) && file(old) && file(new);
        Ok(())
    }

    fn enter(&mut self, _path: &[u8]) -> Result<bool, ReadError> {
        // Once something else changed, the rest cannot matter.
        Ok(self.only)
    }
}

/// The root and the applications' paths, each once, without `.` and superfluous slashes.
fn freezing_places(paths: &[&str]) -> Vec<Vec<u8>> {
    let mut places = vec![Vec::new()];
    for path in paths {
        let components = path.split('/').filter(|c| !c.is_empty() && *c != ".");
        let place = components.collect::<Vec<_>>().join("/").into_bytes();
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn joined(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.into() } else { [dir, b"/", name].concat() }
}
