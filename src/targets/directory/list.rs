//! Lists everything below the root, for a directory that is declared exclusive.

use std::sync::Arc;

use rustix::fs::{Dir, FileType};

use super::beneath::{Closed, READ, Root, explain};
use super::path::is_ours;
use super::stat::{Kind, Stat};
use crate::core::resource::Id;
use crate::core::spelling::id_from_bytes;

/// What was found below a root.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Everything that is no directory and not ours.
    pub(super) files: Vec<Id>,
    /// Directories whose content could not be listed, and why.
    pub(super) unread: Vec<(Id, Arc<str>)>,
    /// Why the root itself could not be listed.
    pub(super) failure: Option<Arc<str>>,
}

/// Lists everything; links are listed, never followed.
pub(super) fn all(root: &Root) -> Listing {
    let mut listing = Listing::default();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        if let Err(why) = one(root, &path, &mut todo, &mut listing.files) {
            if path.is_empty() {
                listing.failure = Some(why);
            } else {
                listing.unread.push((id_from_bytes(&path), why));
            }
        }
    }
    listing
}

fn one(root: &Root, path: &[u8], todo: &mut Vec<Vec<u8>>, files: &mut Vec<Id>) -> Result<(), Arc<str>> {
    let dir = match root.dir(path, READ) {
        Ok(dir) => dir,
        // Removed or replaced since its parent was read.
        Err(Closed::Absent) => return Ok(()),
        Err(Closed::Unread(why)) => return Err(why),
    };
    let failed = |error| Arc::<str>::from(format!("`{}`: {}", id_from_bytes(path), explain(error)));
    let mut entries = Dir::read_from(&dir).map_err(failed)?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") || is_ours(name, path.is_empty()) {
            continue;
        }
        let mut whole = path.to_vec();
        if !path.is_empty() {
            whole.push(b'/');
        }
        whole.extend_from_slice(name);
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            // Some file systems do not say.
            FileType::Unknown => Stat::of(&dir, name).is_ok_and(|stat| stat.kind == Kind::Directory),
            _ => false,
        };
        if is_dir {
            todo.push(whole);
        } else {
            files.push(id_from_bytes(&whole));
        }
    }
    Ok(())
}
