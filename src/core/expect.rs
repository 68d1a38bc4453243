//! What an observation is asked for.

use std::sync::Arc;

use super::resource::{Digest, Fields, Id};
use super::state::Accepted;

/// One resource that an observation must answer for: everything desired or accepted.
#[derive(Clone, Copy, Debug)]
pub struct Expect<'a> {
    /// Which resource.
    pub id: &'a Id,
    /// What was accepted of it, if anything.
    pub accepted: Option<&'a Accepted>,
    /// Where inside it drift is ignored, as JSON pointers: no part of its live digest.
    pub ignore: Option<&'a Vec<Arc<str>>>,
}

impl<'a> Expect<'a> {
    /// Asks for something of which nothing is known.
    pub const fn new(id: &'a Id) -> Self {
        Self { id, accepted: None, ignore: None }
    }

    /// Returns the accepted live digest, if any. A cache's word that differs from it is not taken: the resource is read
    /// again.
    pub fn digest(&self) -> Option<&'a Digest> {
        self.accepted.map(|accepted| &accepted.live)
    }

    /// Returns which parts of it were ours when it was accepted, if that is known.
    pub fn fields(&self) -> Option<&'a Arc<Fields>> {
        self.accepted?.about.fields.as_ref()
    }

    /// Returns where inside it drift is ignored.
    pub fn ignored(&self) -> &'a [Arc<str>] {
        self.ignore.map_or(&[], Vec::as_slice)
    }
}
