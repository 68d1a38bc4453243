//! Reads what a resource holds, for showing what drifted; never for deciding.

use std::io::Read as _;

use super::Directory;
use super::beneath::{Root, open_file};
use super::path::path_of;
use crate::core::resource::Id;

impl Directory {
    /// Reads a regular file below the root, if it is one and has at most `cap` bytes.
    pub fn read(&self, id: &Id, cap: u64) -> Option<Vec<u8>> {
        let path = path_of(id).ok()?;
        let root = Root::open(&self.config.root).ok()?;
        let (dir, leaf) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b""[..], &path[..]),
        };
        let fd = if dir.is_empty() {
            open_file(std::os::fd::AsFd::as_fd(&root), leaf).ok()?
        } else {
            let dir = root.dir(dir, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY).ok()?;
            open_file(std::os::fd::AsFd::as_fd(&dir), leaf).ok()?
        };
        let mut bytes = Vec::new();
        std::fs::File::from(fd).take(cap + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= cap).then_some(bytes)
    }
}
