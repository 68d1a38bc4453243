//! The schema of the custom resource: the same types as a document's, as the API server takes them.
//!
//! - `structural`: a JSON Schema without references and unions (Kubernetes calls that structural).
//! - `rules`: what validation refuses and the server can refuse as well, before anything is stored.

mod rules;
mod structural;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::raw::ApplicationSpec;
use super::schema::schema_of;

/// Returns the structural schema of an application's `spec`, with the rules that the API server checks.
pub fn structural_spec() -> Value {
    let mut spec = structural::<ApplicationSpec>();
    rules::add(&mut spec);
    spec
}

/// Returns the structural schema of a type.
pub fn structural<T: JsonSchema>() -> Value {
    structural::convert(schema_of::<T>().as_value())
}

/// Returns the rules about an application's whole document.
pub fn document_rules() -> Value {
    json!([{
        "rule": "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 63",
        "message": "metadata.name must be a DNS label: lower case letters, digits and hyphens, at most 63",
    }])
}
