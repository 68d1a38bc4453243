//! Decides. Everything here is pure and synchronous: no I/O, no clock, no environment, no randomness.
//!
//! Time and seeds are arguments. The edges ([`crate::git`], [`crate::render`], [`crate::targets`], [`crate::store`]) turn
//! the world into the values of this folder and carry out what it decided.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod alert;
pub mod anchor;
pub mod approval;
pub mod backtest;
pub mod claims;
pub mod clock;
pub mod comment;
pub mod commit;
pub mod compare;
pub mod culprit;
pub mod drift;
pub mod effect;
pub mod effect_directory;
pub mod effect_kubernetes;
pub mod expect;
pub mod failing;
#[cfg(test)]
mod fixture;
pub mod fleet;
pub mod freeze;
pub mod glob;
pub mod govern;
pub mod guard_digest;
pub mod guards;
pub mod heads;
pub mod highs;
pub mod hosting;
pub mod judge;
pub mod last_good;
pub mod ledger;
pub mod leftover;
pub mod limits;
pub mod nature;
pub mod notice;
pub mod op;
pub mod pace;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod reason;
pub mod rehearse;
pub mod resource;
pub mod spelling;
pub mod state;
pub mod stricter;
pub mod tenure;
pub mod tree;
pub mod trust;
pub mod version;
pub mod weaken;
pub mod write;
