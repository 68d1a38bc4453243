//! holdfast: a GitOps controller that cannot be made to amplify a bad commit.

pub mod alerts;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod controller;
pub mod core;
pub mod crash;
pub mod git;
pub mod manifest;
pub mod process;
pub mod render;
pub mod server;
pub mod signatures;
pub mod store;
pub mod targets;
