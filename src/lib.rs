//! holdfast: a GitOps controller that cannot be made to amplify a bad commit.

pub mod clock;
pub mod core;
pub mod crash;
pub mod store;
