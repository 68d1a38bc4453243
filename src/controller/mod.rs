//! The control loop: reads everything, lets `core` decide, carries out what it decided.
//!
//! - [`edges`]: what the loop needs of the world, as traits.
//! - [`assess`]: one whole observation and its judgement, in every state.
//! - [`backtest`]: the same judgement of past pushes.
//! - [`act`]: carries out what was let through, one reserved write after the other.
//! - [`report`]: what a cycle found, as people and programs read it.
//! - [`live`] and [`book`]: the real edges and the real ledger.
//! - [`run`]: what wakes whom.

pub mod act;
pub mod assess;
pub mod backtest;
pub mod book;
pub mod edges;
pub mod live;
pub mod report;
pub mod run;
#[cfg(test)]
mod simulation;
pub mod tell;
