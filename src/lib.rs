//! holdfast: a GitOps controller that cannot be made to amplify a bad commit.

pub mod core;
pub mod targets;
