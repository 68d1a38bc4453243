//! Carries out: reads what a target holds and writes what was let through. One kind of target per folder.
//!
//! Nothing here decides whether a write may happen; each kind makes its precondition real and says what came of it.
//! Everything blocks: callers use `spawn_blocking`.

pub mod directory;
mod process;

use crate::core::resource::{Digest, Id};

/// One resource that an observation must answer for: everything desired or accepted.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Which resource.
    pub id: &'a Id,
    /// The accepted live digest, if any. A cache's word that differs from it is not taken: the resource is read again.
    pub digest: Option<Digest>,
}

/// A target of any kind.
#[derive(Clone, Debug)]
pub enum Target {
    /// Files below a directory.
    Directory(directory::Directory),
}
