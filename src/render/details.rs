//! What changes inside the files that two commits both want, read where the trees differ and nowhere else.

use super::objects::Change;
use super::{Render, RenderError, Renderer, WantChange, field_changes};
use crate::core::commit::CommitId;
use crate::core::plan::Details;
use crate::core::resource::Id;
use crate::core::tree::{Kind, Oid, Side, TreeError, Trees};

/// What an object's canonical form is called where a file's path tells how it reads.
pub(super) const OBJECT: &str = "object.json";

/// How far it is looked into files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// At most so many files; of the rest nothing is told.
    pub files: usize,
    /// Files of more bytes are taken as unreadable.
    pub bytes: u64,
}

impl Renderer {
    /// Returns what [`Renderer::changes`] does, and what changes inside what both commits want, as [`field_changes`] tells
    /// it. The trees are walked once.
    ///
    /// A file that is larger than it is looked into counts as none on its side.
    pub fn changes_with_details(
        &self,
        trees: &dyn Trees,
        old: &CommitId,
        new: &CommitId,
        look: Look,
    ) -> Result<(Vec<WantChange>, Details), RenderError> {
        let (old, new) = (self.source_or_none(trees, old)?, self.source_or_none(trees, new)?);
        if let Some(objects) = self.objects(trees) {
            return Ok(split(objects.changes(old, new)?, look));
        }
        let mut updates = Vec::new();
        let mut seen = |id: &Id, old: Side, new: Side| {
            if let (Some(old), Some(new)) = (old, new)
                && updates.len() < look.files
            {
                updates.push((id.clone(), old, new));
            }
        };
        let changes = match self.kind {
            Render::Plain => self.plain(trees).changes_seen(old, new, &mut seen)?,
        };
        let mut details = Details::new();
        for (id, old, new) in updates {
            let read = |side| read(trees, side, look.bytes).map_err(|error| RenderError::at(id.as_str(), error.into()));
            // A mode that changes alone changes nothing inside.
            let found = if old.1 == new.1 {
                Vec::new()
            } else {
                field_changes(read(old)?.as_deref(), read(new)?.as_deref(), id.as_str())
            };
            details.insert(id, found);
        }
        Ok((changes, details))
    }
}

/// Tells what changes from what changes inside.
fn split(changed: Vec<Change>, look: Look) -> (Vec<WantChange>, Details) {
    let (mut changes, mut details) = (Vec::new(), Details::new());
    for Change { change, old, new } in changed {
        if let (Some(old), Some(new)) = (old, new)
            && details.len() < look.files
        {
            let fits = |json: &[u8]| json.len() as u64 <= look.bytes;
            let (old, new) = (Some(&*old).filter(|json| fits(json)), Some(&*new).filter(|json| fits(json)));
            details.insert(change.id.clone(), field_changes(old, new, OBJECT));
        }
        changes.push(change);
    }
    (changes, details)
}

fn read(trees: &dyn Trees, (kind, oid): (Kind, Oid), cap: u64) -> Result<Option<Vec<u8>>, TreeError> {
    if matches!(kind, Kind::Tree | Kind::Submodule) {
        return Ok(None);
    }
    match trees.blob(oid, cap) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(TreeError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
