//! What a person writes, and what it means.
//!
//! A text becomes values (`tree`), is checked along the published schema (`check`), is read into the raw types (`raw`) and
//! validated (`validate`) into what everybody else sees (`validated`). Every error is found in one go, each with its file,
//! line and field.

mod check;
mod crd;
mod error;
mod init;
mod load;
mod raw;
mod reference;
mod resource;
mod schema;
mod tree;
mod validate;
mod validated;

pub use crd::{document_rules, structural, structural_spec};
pub use error::{ConfigError, ConfigErrors};
pub use init::{Init, init_config};
pub use load::{Override, load, load_text, load_text_with, load_with};
pub use raw::{API_VERSION, parse_duration, print_duration};
pub use reference::{guard_table_markdown, reference_markdown};
pub use resource::{Resource, load_resources};
pub use schema::schema;
pub use validated::*;

#[cfg(test)]
mod tests;
