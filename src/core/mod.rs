//! Decides. Everything here is pure and synchronous: no I/O, no clock, no environment, no randomness.
//!
//! Time and seeds are arguments. The edges ([`crate::git`], [`crate::render`], [`crate::targets`], [`crate::store`]) turn
//! the world into the values of this folder and carry out what it decided.

pub mod commit;
pub mod guards;
pub mod resource;
pub mod spelling;
pub mod write;
