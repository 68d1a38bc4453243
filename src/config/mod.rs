//! What a person writes, and what it means.
//!
//! Raw documents (serde, unknown fields refused) become [`validated`] values in one step, with every error found at once.

mod validated;

pub use validated::*;
