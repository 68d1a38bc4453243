//! The deterministic simulation: the controller's own loop in a world that one seed makes and repeats.
//!
//! `assess` and `act` run unchanged over simulated edges and a simulated ledger. A seeded adversary pushes, rewrites, freezes,
//! drifts, refuses, loses answers and stops the process at the k-th step; after every edge call an onlooker judges by what the
//! world looks like, not by what the controller says, whether the promises of `GUARDS.md` still hold.
//!
//! - [`world`]: time, processes, faults, the trace; [`repository`], [`target`], [`cluster`], [`ledger`]: what the edges stand for.
//! - [`edges`]: the edges themselves.
//! - [`process`]: the controller's loop over them, stopped and started again.
//! - [`script`], [`commits`], [`rival`]: what people, hosts, clocks, disks and other controllers do; [`focus`]: what leads to one
//!   guard.
//! - [`oracle`]: what is remembered of the world; [`invariants`], [`rollouts`], [`standing`]: what must hold at every write, when
//!   a rollout begins, and after every judgement.
//! - [`run`]: one seed from the first cycle to the quiet end.
//!
//! `HOLDFAST_SIMULATION_SEEDS=N` runs N seeds instead of a few thousand (`HOLDFAST_SIMULATION_FROM=S` from another one on) and
//! names every one that breaks something; `HOLDFAST_SIMULATION_SEED=S` runs one and prints what happens in it, with
//! `HOLDFAST_SIMULATION_FOCUS=Guard` as the script that leads to a guard, and with `HOLDFAST_SIMULATION_WEAKENED=Guard` without it.

mod cluster;
mod commits;
mod edges;
mod focus;
mod invariants;
mod ledger;
mod oracle;
mod process;
mod random;
mod repository;
mod rival;
mod rollouts;
mod run;
mod script;
mod standing;
mod target;
mod tests;
mod weakened;
mod world;
