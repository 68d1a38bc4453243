//! Reads what a resource holds, for showing what drifted; never for deciding.

use std::io::Read as _;
use std::os::fd::AsFd as _;

use super::Directory;
use super::beneath::{Root, SEARCH, open_file};
use super::path::{path_of, split};
use super::stat::{Kind, Stat};
use crate::core::resource::Id;

impl Directory {
    /// Reads a regular file below the root, if it is one and has at most `cap` bytes.
    ///
    /// Nothing else is ever opened: a fifo's reader would wait, and a device's may do anything.
    pub fn read(&self, id: &Id, cap: u64) -> Option<Vec<u8>> {
        let path = path_of(id).ok()?;
        let (dir, leaf) = split(&path);
        let root = Root::open(&self.config.root).ok()?;
        let dir = root.dir(dir, SEARCH).ok()?;
        let seen = Stat::of(&dir, leaf).ok().filter(|stat| stat.kind == Kind::File && stat.mark.size <= cap)?;
        let fd = open_file(dir.as_fd(), leaf).ok()?;
        // Something else may have taken its place since; opening does not wait, and nothing was read yet.
        let opened = Stat::of_fd(&fd).ok()?;
        if opened.kind != Kind::File || (opened.mark.dev, opened.mark.ino) != (seen.mark.dev, seen.mark.ino) {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::from(fd).take(cap.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= cap).then_some(bytes)
    }
}
