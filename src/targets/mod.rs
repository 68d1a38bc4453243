//! Carries out: reads what a target holds and writes what was let through. One kind of target per folder.
//!
//! Nothing here decides whether a write may happen; each kind makes its precondition real and says what came of it.
//! Everything blocks: callers use `spawn_blocking`.

pub mod directory;
pub mod exec;
mod process;

use gix::hash::{Kind, hasher};

use crate::core::resource::{Digest, Id};
use crate::core::spelling::file_digest;

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
    /// A program of the user's.
    Exec(exec::Exec),
}

/// Returns the digest that a file of this content has; nothing if the content is a SHA-1 collision attack.
fn content_digest(bytes: &[u8], executable: bool) -> Option<Digest> {
    let mut hash = blob_hasher(bytes.len() as u64);
    hash.update(bytes);
    let oid = hash.try_finalize().ok()?;
    Some(file_digest(executable, oid.as_slice()))
}

/// Starts the hash of a blob as Git names it; what follows is the content.
fn blob_hasher(size: u64) -> gix::hash::Hasher {
    let mut hash = hasher(Kind::Sha1);
    hash.update(format!("blob {size}\0").as_bytes());
    hash
}
