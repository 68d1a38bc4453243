//! What a merge may cost, and what it is given.

use std::cell::Cell;

use gix::objs::{Data, Find, FindHeader, Header, Write, WriteTo};
use gix::{ObjectId, oid};

use super::MergeError;
use crate::core::tree::{Kind, Oid, Side, TreeError, Trees, Visit, diff};
use crate::git::snapshot::Snapshot;

/// A blob over this is not looked into: it merges only where one side alone changed it.
pub(super) const BLOB_MAX: u64 = 4 << 20;

/// What a merge may read in all, and in how many pieces.
const READ_MAX: u64 = 512 << 20;
const OBJECTS_MAX: u64 = 500_000;

/// How many paths may differ on one side.
const CHANGES_MAX: usize = 50_000;

/// How many bytes may be compared to find what was renamed: each file that is gone with each that is new.
const RENAMES_MAX: u64 = 1 << 30;

/// The objects of a repository, as far as a merge may read them. What is missing is an error, never nothing.
pub(super) struct Bounded<'a> {
    repo: &'a gix::Repository,
    bytes: Cell<u64>,
    objects: Cell<u64>,
    pub(super) over: Cell<bool>,
}

impl<'a> Bounded<'a> {
    pub(super) const fn new(repo: &'a gix::Repository) -> Self {
        Self { repo, bytes: Cell::new(READ_MAX), objects: Cell::new(OBJECTS_MAX), over: Cell::new(false) }
    }

    fn take(&self, bytes: usize) -> gix::Result<()> {
        let bytes = self.bytes.get().checked_sub(bytes as u64);
        match (bytes, self.objects.get().checked_sub(1)) {
            (Some(bytes), Some(objects)) => {
                self.bytes.set(bytes);
                self.objects.set(objects);
                Ok(())
            }
            _ => {
                self.over.set(true);
                Err(gix::Error::from_error(std::io::Error::other("it reads too much")))
            }
        }
    }
}

impl Find for Bounded<'_> {
    fn try_find<'a>(&self, id: &oid, buffer: &'a mut Vec<u8>) -> gix::Result<Option<Data<'a>>> {
        let found = self.repo.objects.try_find(id, buffer)?;
        self.take(found.as_ref().map_or(0, |data| data.data.len()))?;
        let missing =
            || gix::Error::from_error(std::io::Error::other(format!("object {id} is missing from the clone")));
        found.map(Some).ok_or_else(missing)
    }
}

impl FindHeader for Bounded<'_> {
    fn try_header(&self, id: &oid) -> gix::Result<Option<Header>> {
        self.take(0)?;
        FindHeader::try_header(&self.repo.objects, id)
    }
}

impl Write for Bounded<'_> {
    fn write(&self, object: &dyn WriteTo) -> gix::Result<ObjectId> {
        self.repo.objects.write(object)
    }

    fn write_buf(&self, object: gix::objs::Kind, from: &[u8]) -> gix::Result<ObjectId> {
        self.take(from.len())?;
        self.repo.objects.write_buf(object, from)
    }

    fn write_buf_with_known_id(&self, object: gix::objs::Kind, from: &[u8], id: ObjectId) -> gix::Result<ObjectId> {
        self.repo.objects.write_buf_with_known_id(object, from, id)
    }

    fn write_stream(&self, kind: gix::objs::Kind, size: u64, from: &mut dyn std::io::Read) -> gix::Result<ObjectId> {
        self.repo.objects.write_stream(kind, size, from)
    }

    fn write_stream_with_known_id(
        &self,
        kind: gix::objs::Kind,
        size: u64,
        from: &mut dyn std::io::Read,
        id: ObjectId,
    ) -> gix::Result<ObjectId> {
        self.repo.objects.write_stream_with_known_id(kind, size, from, id)
    }
}

/// Reads the trees in which two differ by our own rules, and refuses a difference that would take too long to merge.
pub(super) fn look(snapshot: &Snapshot, old: Oid, new: Oid) -> Result<(), MergeError> {
    let mut seen = Differences { snapshot, gone: Sum::default(), new: Sum::default(), changes: 0 };
    diff::<MergeError>(snapshot, Some(old), Some(new), &mut seen)?;
    let Differences { gone, new, .. } = seen;
    let compared = gone.count.saturating_mul(new.bytes).saturating_add(new.count.saturating_mul(gone.bytes));
    if compared > RENAMES_MAX {
        return Err(MergeError::TooLarge("too many files may have been renamed"));
    }
    Ok(())
}

#[derive(Default)]
struct Sum {
    count: u64,
    bytes: u64,
}

struct Differences<'a> {
    snapshot: &'a Snapshot,
    gone: Sum,
    new: Sum,
    changes: usize,
}

impl Visit<MergeError> for Differences<'_> {
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), MergeError> {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            return Err(MergeError::TooLarge("too many paths differ"));
        }
        if path.split(|b| *b == b'/').any(is_unsafe) {
            let oid = new.or(old).map_or(Oid::new([0; 20]), |(_, oid)| oid);
            return Err(TreeError::Damaged { oid, why: "a name that no file may have".into() }.into());
        }
        let (sum, oid) = match (old, new) {
            (Some((Kind::File | Kind::Executable, oid)), None) => (&mut self.gone, oid),
            (None, Some((Kind::File | Kind::Executable, oid))) => (&mut self.new, oid),
            _ => return Ok(()),
        };
        sum.count += 1;
        // Only what is small enough to be looked into is compared.
        let size = self.snapshot.blob_size(oid)?;
        sum.bytes += if size > BLOB_MAX { 0 } else { size };
        Ok(())
    }
}

/// Names that Git refuses to check out, and that gix would refuse to write.
fn is_unsafe(name: &[u8]) -> bool {
    name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git")
}
