//! holdfast: a GitOps controller that cannot be made to amplify a bad commit.

pub mod config;
pub mod core;
pub mod git;
pub mod render;
pub mod signatures;
