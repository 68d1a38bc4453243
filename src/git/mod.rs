//! The clone of one repository: fetched, read, and never trusted further than its objects go.
//!
//! [`Mirror`] is a bare clone below the state directory; [`Mirror::fetch`] brings it up to date within bounds of time and
//! size, and [`Mirror::snapshot`] opens it for reading. What was found are facts ([`crate::core::commit`]); who may sign
//! what, and whether a commit may be promoted, is decided in core. Everything here blocks.
//!
//! gix does the work and stays behind this module, since its interface changes with every release.

mod classify;
mod credentials;
mod fetch;
mod freeze;
mod glimpse;
mod guard;
mod heads;
mod merge;
mod mirror;
mod object;
mod pins;
mod range;
mod remote;
mod session;
mod snapshot;
mod transport;
mod upkeep;

#[cfg(test)]
mod tests;

pub use fetch::{FetchError, Fetched, Phase, Wanted};
pub use freeze::FreezeEntry;
pub use glimpse::{Glimpse, glimpse};
pub use heads::Heads;
pub use merge::{Merge, MergeError, Merged};
pub use mirror::{Mirror, MirrorError, directory_for};
pub use object::SignatureCheck;
pub use range::{FirstParents, Range};
pub use remote::{Credentials, Limits, Network, Remote, Url};
pub use snapshot::{ReadError, Snapshot};
