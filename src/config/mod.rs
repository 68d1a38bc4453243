//! What a person writes, and what it means.
//!
//! Raw documents (serde, unknown fields refused) become [`validated`] values in one step, with every error found at once.

mod check;
mod error;
mod load;
mod raw;
mod schema;
mod tree;
mod validate;
mod validated;

pub use error::{ConfigError, ConfigErrors};
pub use load::{Override, load, load_text, load_text_with, load_with};
pub use raw::{API_VERSION, parse_duration, print_duration};
pub use schema::schema;
pub use validated::*;

#[cfg(test)]
mod tests;
