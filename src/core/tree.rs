//! Trees and blobs as values: what their consumers need of a repository, and how two trees differ.
//!
//! The edge that holds the clone implements [`Trees`]; renderers consume it, so that neither imports the other. Git's own
//! tree format is parsed here, strictly: what Git's `fsck` calls an error is refused, because everything downstream
//! relies on entries being sorted and each there once.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::commit::CommitId;
use super::spelling::spell;

/// A SHA-1 object id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid([u8; 20]);

impl Oid {
    /// Wraps the 20 bytes of an object id.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Reads 40 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut bytes = [0; 20];
        hex::decode_to_slice(hex, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Returns the 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an entry of a tree is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; the blob is its target.
    Link,
    /// Another tree.
    Tree,
    /// A commit of another repository.
    Submodule,
}

/// One entry of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Its name: not empty, without `/` and NUL.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Its object.
    pub oid: Oid,
}

/// Says why an object could not be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TreeError {
    /// It is not in the clone.
    #[error("object {0} is missing from the clone (a shallow remote, or a damaged clone)")]
    Missing(Oid),
    /// It is larger than the caller allows.
    #[error("object {oid} has {size} bytes, over the limit of {cap}")]
    TooLarge {
        /// Which object.
        oid: Oid,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        cap: u64,
    },
    /// It can be read, and is not what it should be.
    #[error("object {oid} is damaged: {why}")]
    Damaged {
        /// Which object.
        oid: Oid,
        /// Why, as a lower-case fragment.
        why: Arc<str>,
    },
    /// A commit is not in the clone.
    #[error("commit {0} is missing from the clone (a shallow remote, or a damaged clone)")]
    NoCommit(CommitId),
}

/// Reads trees and blobs of a repository. Objects never change, so answers may be cached by id.
pub trait Trees {
    /// Returns the root tree of a commit.
    fn tree_of(&self, commit: &CommitId) -> Result<Oid, TreeError>;
    /// Returns a tree as Git stores it; [`parse`] reads it.
    fn tree(&self, tree: Oid) -> Result<Arc<[u8]>, TreeError>;
    /// Returns the size of a blob in bytes, without reading its content.
    fn blob_size(&self, blob: Oid) -> Result<u64, TreeError>;
    /// Returns the content of a blob of at most `cap` bytes, checked against its id.
    fn blob(&self, blob: Oid, cap: u64) -> Result<Vec<u8>, TreeError>;
}

/// Reads the entries of a tree in Git's order; a malformed, unsorted or ambiguous tree is an error.
pub fn parse(oid: Oid, raw: &[u8]) -> Result<Vec<Entry<'_>>, TreeError> {
    let damaged = |why: &str| TreeError::Damaged { oid, why: why.into() };
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(raw.len() / 40);
    let mut rest = raw;
    while !rest.is_empty() {
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(|| damaged("an entry without a mode"))?;
        let kind = kind_of(&rest[..space]).ok_or_else(|| damaged("an entry with an unknown mode"))?;
        rest = &rest[space + 1..];
        let end = rest.iter().position(|b| *b == 0).ok_or_else(|| damaged("an entry without an end"))?;
        let (name, tail) = rest.split_at(end);
        if name.is_empty() || name.contains(&b'/') {
            return Err(damaged("an entry whose name is empty or has a slash"));
        }
        let (id, tail) = tail[1..].split_first_chunk::<20>().ok_or_else(|| damaged("an entry that is cut off"))?;
        rest = tail;
        let entry = Entry { name, kind, oid: Oid(*id) };
        if entries.last().is_some_and(|last| order(last, &entry) != Ordering::Less) || repeats(&entries, name) {
            return Err(damaged("entries that are not sorted, or there twice"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Tells whether a name is there already, as another kind: `a`, `a.b`, `a/` is sorted, and still has `a` twice.
fn repeats(entries: &[Entry<'_>], name: &[u8]) -> bool {
    entries.iter().rev().take_while(|e| e.name.starts_with(name)).any(|e| e.name == name)
}

/// Cuts off the entries that two trees have in common at both ends, so that one change in a directory of thousands of
/// files costs little more than finding it.
fn middle<'a>(old: &'a [u8], new: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let mut start = 0;
    while let Some(end) = entry_end(old, start)
        && new.get(start..end) == old.get(start..end)
    {
        start = end;
    }
    let (old, new) = (&old[start..], &new[start..]);
    let common = common_end(old, new);
    let (from_old, from_new) = (boundary(old, old.len() - common), boundary(new, new.len() - common));
    // Equal bytes are equal entries only if both sides' entries begin there.
    if old.len() - from_old == new.len() - from_new { (&old[..from_old], &new[..from_new]) } else { (old, new) }
}

/// The end of the entry at a position; `None` at the end, and where there is no entry.
fn entry_end(raw: &[u8], at: usize) -> Option<usize> {
    let header = std::ffi::CStr::from_bytes_until_nul(raw.get(at..)?).ok()?;
    let end = at + header.count_bytes() + 21;
    (end <= raw.len()).then_some(end)
}

/// The first beginning of an entry at or after a position.
fn boundary(raw: &[u8], after: usize) -> usize {
    let mut at = 0;
    while at < after {
        at = entry_end(raw, at).unwrap_or(raw.len());
    }
    at
}

/// The number of equal bytes at the ends of two slices, by blocks: which are compared fast.
fn common_end(a: &[u8], b: &[u8]) -> usize {
    const BLOCK: usize = 256;
    let blocks = a.rchunks_exact(BLOCK).zip(b.rchunks_exact(BLOCK)).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - blocks * BLOCK], &b[..b.len() - blocks * BLOCK]);
    blocks * BLOCK + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn kind_of(mode: &[u8]) -> Option<Kind> {
    Some(match mode {
        b"100644" | b"100664" => Kind::File,
        b"100755" => Kind::Executable,
        b"120000" => Kind::Link,
        b"40000" => Kind::Tree,
        b"160000" => Kind::Submodule,
        _ => return None,
    })
}

/// Orders entries as Git does: a tree as if its name ended in a slash.
fn order(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let common = a.name.len().min(b.name.len());
    a.name[..common].cmp(&b.name[..common]).then_with(|| next(a, common).cmp(&next(b, common)))
}

/// The byte after the common part; a tree ends in a slash, everything else before any byte.
fn next(entry: &Entry<'_>, at: usize) -> Option<u8> {
    entry.name.get(at).copied().or((entry.kind == Kind::Tree).then_some(b'/'))
}

/// Deeper than any tree that a file system could hold (paths end at 4096 bytes); bounds recursion on hostile trees.
const DEPTH: usize = 512;

/// One side of a difference.
pub type Side = Option<(Kind, Oid)>;

/// Sees the leaves in which two trees differ, with their paths; unequal sides, never trees.
pub trait Visit<E> {
    /// Sees one leaf.
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), E>;
    /// Tells whether a subtree is of interest; called for every subtree in which there is a difference.
    fn enter(&mut self, _path: &[u8]) -> Result<bool, E> {
        Ok(true)
    }
}

impl<E, F: FnMut(&[u8], Side, Side) -> Result<(), E>> Visit<E> for F {
    fn leaf(&mut self, path: &[u8], old: Side, new: Side) -> Result<(), E> {
        self(path, old, new)
    }
}

/// Compares two trees, skipping subtrees of equal id. `None` is the empty tree; so this also walks one whole tree.
pub fn diff<E: From<TreeError>>(
    trees: &dyn Trees,
    old: Option<Oid>,
    new: Option<Oid>,
    visit: &mut dyn Visit<E>,
) -> Result<(), E> {
    Walk { trees, visit, path: Vec::new(), depth: 0 }.pair(old, new)
}

struct Walk<'a, E> {
    trees: &'a dyn Trees,
    visit: &'a mut dyn Visit<E>,
    path: Vec<u8>,
    depth: usize,
}

impl<E: From<TreeError>> Walk<'_, E> {
    fn pair(&mut self, old: Option<Oid>, new: Option<Oid>) -> Result<(), E> {
        if old == new || !self.visit.enter(&self.path)? {
            return Ok(());
        }
        if self.depth == DEPTH {
            let oid = new.or(old).expect("one of two that differ is there");
            return Err(TreeError::Damaged { oid, why: "nested too deeply".into() }.into());
        }
        self.depth += 1;
        let raw_old = old.map(|oid| self.trees.tree(oid)).transpose()?;
        let raw_new = new.map(|oid| self.trees.tree(oid)).transpose()?;
        let (olds, news) = middle(raw_old.as_deref().unwrap_or_default(), raw_new.as_deref().unwrap_or_default());
        let olds = old.map(|oid| parse(oid, olds)).transpose()?.unwrap_or_default();
        let news = new.map(|oid| parse(oid, news)).transpose()?.unwrap_or_default();
        let (mut olds, mut news) = (olds.iter().peekable(), news.iter().peekable());
        loop {
            let which = match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => order(a, b),
            };
            let a = if which == Ordering::Greater { None } else { olds.next() };
            let b = if which == Ordering::Less { None } else { news.next() };
            self.entries(a, b)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn entries(&mut self, old: Option<&Entry<'_>>, new: Option<&Entry<'_>>) -> Result<(), E> {
        let side = |entry: Option<&Entry<'_>>| entry.map(|e| (e.kind, e.oid));
        if side(old) == side(new) {
            return Ok(());
        }
        let Some(name) = old.or(new).map(|e| e.name) else { return Ok(()) };
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        // Git's order makes both trees or neither: a file and a tree of one name are two entries.
        let done = if old.or(new).is_some_and(|e| e.kind == Kind::Tree) {
            self.pair(old.map(|e| e.oid), new.map(|e| e.oid))
        } else {
            self.visit.leaf(&self.path, side(old), side(new))
        };
        self.path.truncate(length);
        done
    }
}

/// Finds an entry by its path; the empty path and `.` are the tree itself.
pub fn lookup(trees: &dyn Trees, root: Oid, path: &[u8]) -> Result<Option<(Kind, Oid)>, TreeError> {
    let mut found = (Kind::Tree, root);
    for name in path.split(|b| *b == b'/').filter(|name| !name.is_empty() && *name != b".") {
        if found.0 != Kind::Tree {
            return Ok(None);
        }
        let raw = trees.tree(found.1)?;
        let Some(entry) = parse(found.1, &raw)?.into_iter().find(|e| e.name == name) else { return Ok(None) };
        found = (entry.kind, entry.oid);
    }
    Ok(Some(found))
}

/// Tells whether a name, on the tracked branch's root or the application's path, freezes (`GUARDS.md` 4): the stem is
/// `freeze` in any case, with any extension or none.
pub fn is_freeze(name: &[u8]) -> bool {
    name.get(..6).is_some_and(|stem| stem.eq_ignore_ascii_case(b"freeze")) && matches!(name.get(6), None | Some(b'.'))
}

/// Spells a path of the repository for people.
pub fn show(path: &[u8]) -> Arc<str> {
    spell(path).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const ID: Oid = Oid::new([1; 20]);

    fn raw(entries: &[(&str, &str, u8)]) -> Vec<u8> {
        let entry = |(mode, name, id): &(&str, &str, u8)| [format!("{mode} {name}\0").as_bytes(), &[*id; 20]].concat();
        entries.iter().map(entry).collect::<Vec<_>>().concat()
    }

    #[test]
    fn entries_are_read_in_gits_order() {
        let raw = raw(&[
            ("100644", "a.b", 1),
            ("40000", "a", 2),
            ("100755", "a0", 3),
            ("120000", "b", 4),
            ("160000", "c", 5),
        ]);
        let kinds: Vec<Kind> = parse(ID, &raw).unwrap().iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::File, Kind::Tree, Kind::Executable, Kind::Link, Kind::Submodule]);
    }

    #[test]
    fn what_fsck_calls_an_error_is_refused() {
        for entries in [
            &[("100644", "b", 1), ("100644", "a", 2)][..],
            &[("100644", "a", 1), ("100644", "a", 2)],
            &[("100644", "a", 1), ("100644", "a.b", 2), ("40000", "a", 3)],
            &[("100644", "", 1)],
            &[("100644", "a/b", 1)],
            &[("100600", "a", 1)],
            &[("0100644", "a", 1)],
        ] {
            assert!(matches!(parse(ID, &raw(entries)), Err(TreeError::Damaged { .. })), "{entries:?}");
        }
        let whole = raw(&[("100644", "a", 1)]);
        for end in 1..whole.len() {
            assert!(parse(ID, &whole[..end]).is_err(), "cut off at {end}");
        }
    }

    #[test]
    fn freezing_names_have_the_stem_in_any_case() {
        for name in ["FREEZE", "freeze", "Freeze.yaml", "freeze.", "FREEZE.md.txt"] {
            assert!(is_freeze(name.as_bytes()), "{name}");
        }
        for name in ["freezer", "FREEZ", "a.freeze", "", ".freeze", "freeze-not", "freeze\u{e9}"] {
            assert!(!is_freeze(name.as_bytes()), "{name}");
        }
    }

    struct Two(BTreeMap<Oid, Arc<[u8]>>);

    impl Trees for Two {
        fn tree_of(&self, commit: &CommitId) -> Result<Oid, TreeError> {
            Err(TreeError::NoCommit(commit.clone()))
        }

        fn tree(&self, tree: Oid) -> Result<Arc<[u8]>, TreeError> {
            self.0.get(&tree).cloned().ok_or(TreeError::Missing(tree))
        }

        fn blob_size(&self, blob: Oid) -> Result<u64, TreeError> {
            Err(TreeError::Missing(blob))
        }

        fn blob(&self, blob: Oid, _cap: u64) -> Result<Vec<u8>, TreeError> {
            Err(TreeError::Missing(blob))
        }
    }

    fn names() -> impl Strategy<Value = BTreeMap<String, u8>> {
        // Few names and ids, so that trees have much in common.
        proptest::collection::btree_map("[ab.]{1,3}", 65_u8..68, 0..12)
    }

    proptest! {
        #[test]
        fn a_difference_is_what_the_sets_of_entries_differ_in(old in names(), new in names()) {
            let (a, b) = (Oid::new([2; 20]), Oid::new([3; 20]));
            let tree = |names: &BTreeMap<String, u8>| -> Arc<[u8]> {
                let entries: Vec<_> = names.iter().map(|(name, id)| ("100644", name.as_str(), *id)).collect();
                raw(&entries).into()
            };
            let trees = Two([(a, tree(&old)), (b, tree(&new))].into());
            let mut seen = BTreeMap::new();
            let mut leaf = |path: &[u8], old: Side, new: Side| -> Result<(), TreeError> {
                let id = |side: Side| side.map(|(_, oid)| oid.as_bytes()[0]);
                seen.insert(String::from_utf8_lossy(path).into_owned(), (id(old), id(new)));
                Ok(())
            };
            diff(&trees, Some(a), Some(b), &mut leaf).unwrap();
            let all = old.keys().chain(new.keys()).map(|name| (name.clone(), (old.get(name).copied(), new.get(name).copied())));
            let expected: BTreeMap<_, _> = all.filter(|(_, (old, new))| old != new).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
