//! What changes inside the files that two commits both want, read where the trees differ and nowhere else.

use std::collections::BTreeMap;

use super::{RenderError, Renderer, field_changes, identity, plain};
use crate::core::commit::CommitId;
use crate::core::resource::{FieldChange, Id};
use crate::core::tree::{Kind, Oid, Side, TreeError, Trees, Visit, diff, show};

/// How far it is looked into files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// At most so many files; of the rest nothing is told.
    pub files: usize,
    /// Files of more bytes are taken as unreadable.
    pub bytes: u64,
}

impl Renderer {
    /// Tells what changes inside what both commits want, as [`field_changes`] does.
    ///
    /// A file that is larger than it is looked into counts as none on its side.
    pub fn details(
        &self,
        trees: &dyn Trees,
        old: &CommitId,
        new: &CommitId,
        look: Look,
    ) -> Result<BTreeMap<Id, Vec<FieldChange>>, RenderError> {
        let source = |commit| match self.source(trees, commit) {
            Err(error) if error.is_path_missing() => Ok(None),
            other => other.map(Some),
        };
        let (Some(old), Some(new)) = (source(old)?, source(new)?) else { return Ok(BTreeMap::new()) };
        let mut updates = Updates { trees, look, found: BTreeMap::new() };
        diff::<TreeError>(trees, Some(old), Some(new), &mut updates)
            .map_err(|error| RenderError { path: show(&self.path), problem: error.into() })?;
        Ok(updates.found)
    }
}

struct Updates<'a> {
    trees: &'a dyn Trees,
    look: Look,
    found: BTreeMap<Id, Vec<FieldChange>>,
}

impl Updates<'_> {
    fn read(&self, kind: Kind, oid: Oid) -> Result<Option<Vec<u8>>, TreeError> {
        if matches!(kind, Kind::Tree | Kind::Submodule) {
            return Ok(None);
        }
        match self.trees.blob(oid, self.look.bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(TreeError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Visit<TreeError> for Updates<'_> {
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), TreeError> {
        let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
        if plain::is_skipped(path) || self.found.len() >= self.look.files {
            return Ok(());
        }
        let id = identity(path);
        // A mode that changes alone changes nothing inside.
        let changes = if old.1 == new.1 {
            Vec::new()
        } else {
            let (before, after) = (self.read(old.0, old.1)?, self.read(new.0, new.1)?);
            field_changes(before.as_deref(), after.as_deref(), id.as_str())
        };
        self.found.insert(id, changes);
        Ok(())
    }

    fn enter(&mut self, path: &[u8]) -> Result<bool, TreeError> {
        Ok(!plain::is_skipped(path) && self.found.len() < self.look.files)
    }
}
