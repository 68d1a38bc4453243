//! One write as a value: what to do to one resource under which precondition, and what came of it.
//!
//! Separate from the targets so that every kind of target, and the simulated one, takes and answers the same.

use std::sync::Arc;

use super::resource::{Digest, Id, Live, Version};

pub use super::op::Verb;

/// What a resource shall be, as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A regular file, or a document of the target's own kind.
    File {
        /// Its content.
        bytes: Arc<[u8]>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link with this target, as raw bytes; never followed by us.
    Link(Arc<[u8]>),
}

/// One write of one resource, with its precondition (`GUARDS.md` 5.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteOp {
    /// Which resource.
    pub id: Id,
    /// What is done.
    pub verb: Verb,
    /// What was observed, of an update and a deletion; a creation's precondition is that nothing is there.
    pub expected: Option<(Digest, Version)>,
    /// What it shall be, of a creation and an update.
    pub content: Option<Content>,
    /// Whether fields that another writer owns are taken over.
    pub force: bool,
    /// Whether what is there is removed first, for it cannot be changed in place.
    pub replace: bool,
    /// What is left over that goes with it; see [`Op::reclaims`](super::op::Op::reclaims).
    pub reclaims: Vec<Arc<str>>,
    /// Where drift is ignored; see [`Op::ignore`](super::op::Op::ignore).
    pub ignore: Vec<Arc<str>>,
}

/// What came of one write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was written durably; this is what the target holds now.
    Done(Live),
    /// The target was not as observed, and why; nothing was changed, observe again.
    Moved(Arc<str>),
    /// The target would not, and why; nothing was changed.
    Refused(Arc<str>),
    /// It was sent and may or may not have happened; the budget stays spent.
    Unknown(Arc<str>),
}
