//! The scenarios of `GUARDS.md` 10 through the real binary: real repositories, really signed commits, real directories.
//!
//! One module per scenario, named for its number. Each test asserts what was written and what was not, the latch and the
//! code of its reason, what is reported as JSON, and what `status` prints. What needs a cluster is named in the module
//! whose scenario it belongs to.

mod harness;

mod attacks;
mod attacks_git;
mod bad_disk;
mod bad_fetch;
mod bad_input;
mod bad_render;
mod chart;
mod commands;
mod doctor;
mod exec_target;
mod freeze_examples;
mod hosting;
mod incluster;
mod incluster_outages;
mod k8s_act;
mod k8s_by_hand;
mod k8s_contract;
mod k8s_drift;
mod k8s_failing;
mod k8s_freeze;
mod k8s_guards;
mod k8s_ignore;
mod k8s_kinds;
mod k8s_leftover;
mod k8s_loop;
mod k8s_many;
mod k8s_outages;
mod k8s_owned;
mod k8s_permissions;
mod k8s_rendering;
mod k8s_scale;
mod kill9;
mod outside;
mod outside_alerts;
mod plugin;
mod s01_source;
mod s02_protected;
mod s03_poison;
mod s04_observing;
mod s05_budget;
mod s06_window;
mod s07_replay;
mod s08_history;
mod s09_merges;
mod s09_merges_refused;
mod s09_signatures;
mod s10_freeze;
mod s11_rollout;
mod s12_drift;
mod s13_edges;
mod s14_state;
mod s15_loosened;
mod s16_health;
mod s17_fleet;
mod unwatched;
mod webhooks;
