//! Typed reasons: why something is withheld, in numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One reason, as JSON and text show it. Codes are the parameter names of `GUARDS.md` 8 and the signature codes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// What was crossed.
    pub code: Arc<str>,
    /// The magnitude that was found, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<u32>,
    /// The largest allowed value, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How much there is (N), where it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// The same for people.
    pub message: String,
}

impl Reason {
    /// Makes a reason without numbers.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), observed: None, limit: None, n: None, message: message.into() }
    }

    /// Tells whether it is that the source's configuration or the renderer is another (`GUARDS.md` 3.6): no commit takes
    /// that back.
    pub fn is_reconfiguration(&self) -> bool {
        matches!(&*self.code, "configuration" | "renderer")
    }

    /// Makes a reason with its magnitude, limit and N.
    pub fn crossed(code: &str, observed: u32, limit: u32, n: u32, message: impl Into<String>) -> Self {
        Self { code: code.into(), observed: Some(observed), limit: Some(limit), n: Some(n), message: message.into() }
    }
}

/// Returns the codes of reasons: what is the same halt for the same causes, whatever the numbers are.
pub fn codes(reasons: &[Reason]) -> BTreeSet<Arc<str>> {
    reasons.iter().map(|reason| reason.code.clone()).collect()
}
