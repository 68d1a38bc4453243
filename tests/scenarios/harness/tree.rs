//! What a directory holds, as a value that can be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// One file or link.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file: its bytes, and whether it may be executed.
    File(Vec<u8>, bool),
    /// A symbolic link, and where it points.
    Link(Vec<u8>),
    /// Anything else.
    Other,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(bytes, executable) => {
                write!(f, "file{} {:?}", if *executable { "*" } else { "" }, String::from_utf8_lossy(bytes))
            }
            Self::Link(to) => write!(f, "link to {:?}", String::from_utf8_lossy(to)),
            Self::Other => f.write_str("neither file nor link"),
        }
    }
}

/// Files and links by their path; names are shown with their odd bytes escaped.
pub type Tree = BTreeMap<String, Entry>;

/// Reads a directory, without what belongs to holdfast itself.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    walk(root, "", &mut tree, &|name| name.as_bytes().starts_with(b".holdfast"));
    tree
}

/// Reads what a work clone asks for below a path: neither git's own folder nor a freeze.
pub fn wanted(work: &Path, path: &str) -> Tree {
    let mut tree = Tree::new();
    let skip = |name: &OsStr| {
        let lower = name.to_string_lossy().to_lowercase();
        name == ".git" || lower == "freeze" || lower.starts_with("freeze.")
    };
    walk(&work.join(path), "", &mut tree, &skip);
    tree
}

fn walk(folder: &Path, below: &str, tree: &mut Tree, skip: &dyn Fn(&OsStr) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.expect("the folder is readable");
        let name = entry.file_name();
        if skip(&name) {
            continue;
        }
        let path = format!("{below}{}", name.as_bytes().escape_ascii());
        let kind = entry.file_type().expect("the entry has a type");
        if kind.is_dir() {
            walk(&entry.path(), &format!("{path}/"), tree, skip);
        } else if kind.is_symlink() {
            let to = fs::read_link(entry.path()).expect("the link is readable");
            tree.insert(path, Entry::Link(to.as_os_str().as_bytes().to_vec()));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).expect("the file is readable");
            let mode = entry.metadata().expect("the file has a mode").permissions().mode();
            tree.insert(path, Entry::File(bytes, mode & 0o100 != 0));
        } else {
            tree.insert(path, Entry::Other);
        }
    }
}

/// What differs between two looks at a directory.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Changes {
    /// Only in the second.
    pub created: Vec<String>,
    /// In both, differently.
    pub updated: Vec<String>,
    /// Only in the first.
    pub deleted: Vec<String>,
}

impl Changes {
    /// Returns how many resources differ.
    pub fn total(&self) -> usize {
        self.created.len() + self.updated.len() + self.deleted.len()
    }
}

/// Compares two looks.
pub fn changes(before: &Tree, after: &Tree) -> Changes {
    let mut changes = Changes::default();
    for (path, entry) in before {
        match after.get(path) {
            None => changes.deleted.push(path.clone()),
            Some(now) if now != entry => changes.updated.push(path.clone()),
            Some(_) => {}
        }
    }
    changes.created = after.keys().filter(|path| !before.contains_key(*path)).cloned().collect();
    changes
}
