//! The controller's own life in a cluster: the Applications that it reads from the API, the status and the events that it
//! writes there, and the Lease that says who may write. It knows nothing of targets.

pub mod applications;
pub mod client;
pub mod crd;
pub mod events;
pub mod lease;
pub mod status;
