//! The control loop: reads everything, lets `core` decide, carries out what it decided.
//!
//! - [`edges`]: what the loop needs of the world, as traits.
//! - [`assess`]: one whole observation and its judgement, in every state.
//! - [`backtest`]: the same judgement of past pushes.
//! - [`doctor`]: whether a controller would find what it needs.
//! - [`act`]: carries out what was let through, one reserved write after the other.
//! - [`claims`]: who desires and holds what on a target that several applications write to.
//! - [`rendering`]: from what is configured of a source to what renders it.
//! - [`report`]: what a cycle found, as people and programs read it.
//! - [`live`] and [`book`]: the real edges and the real ledger.
//! - [`hosting`]: pull requests judged, halts told and approvals heard on Git hosting services.
//! - [`incluster`]: Applications, statuses, events and the Lease of a cluster that the controller works in.
//! - [`group`], [`roster`], [`run`], [`wake`] and [`watches`]: what wakes whom.
//! - [`rate`]: how fast single writes may follow each other.
//! - [`tell`], [`metrics`] and [`alerting`]: what is told of facts, as log lines, numbers and alerts.
//! - [`view`] and [`operate`]: what people see and do, whether by command or by HTTP; [`serve`]: the latter.

pub mod act;
pub mod alerting;
pub mod assess;
pub mod backtest;
pub mod book;
pub mod claims;
pub mod doctor;
pub mod edges;
pub mod group;
pub mod hosting;
pub mod incluster;
pub mod live;
pub mod metrics;
pub mod operate;
pub mod rate;
pub mod rendering;
pub mod report;
pub mod roster;
pub mod run;
pub mod serve;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod stub;
pub mod tell;
pub mod view;
pub mod wake;
pub mod watches;
