//! What an API server says of a request that failed, and what that means.

use serde::Deserialize;

/// A failed request, as the server tells it.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) message: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) details: Details,
}

/// What exactly failed.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Details {
    pub(super) kind: String,
    pub(super) retry_after_seconds: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) causes: Vec<Cause>,
}

/// One of several causes.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Cause {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) field: String,
}

fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What a failed request means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Meaning {
    /// The object is another one, or changed, or is gone.
    Moved,
    /// Other managers own what would be written.
    Owned,
    /// A field cannot be changed in place.
    Immutable,
    /// The namespace, or the kind, does not exist; or the object, of one that must be there.
    NotThere,
    /// The permission is lacking.
    Forbidden,
    /// It is not taken as it is.
    Invalid,
    /// A token or a version of a list is too old.
    Expired,
    /// The server, or something that it asks, does not work now: another time.
    Failing,
}

/// What the server says of fields that it keeps as they were made.
const IMMUTABLE: [&str; 7] = [
    "field is immutable",
    "is immutable after creation",
    "for fields other than",
    "may not change fields other than",
    "may not change once set",
    "cannot change roleRef",
    "cannot be changed after creation",
];

impl Status {
    /// Reads what the server said; whatever it said counts by its code.
    pub(super) fn parse(code: u16, bytes: &[u8]) -> Self {
        let status: Self = serde_json::from_slice(bytes).unwrap_or_else(|_| Self {
            message: String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).trim().to_owned(),
            ..Self::default()
        });
        Self { code, ..status }
    }

    /// Says what it means.
    pub(super) fn meaning(&self) -> Meaning {
        let immutable = |text: &str| IMMUTABLE.iter().any(|said| text.contains(said));
        match self.code {
            404 => Meaning::NotThere,
            409 if self.details.causes.iter().any(|cause| cause.reason == "FieldManagerConflict") => Meaning::Owned,
            409 => Meaning::Moved,
            410 => Meaning::Expired,
            401 => Meaning::Failing,
            403 if self.message.contains(" cannot ") => Meaning::Forbidden,
            422 if self.details.causes.iter().any(|cause| cause.field == "metadata.uid") => Meaning::Moved,
            422 if self.message.contains("UID in precondition") => Meaning::Moved,
            422 if immutable(&self.message) && self.details.causes.iter().all(|cause| immutable(&cause.message)) => {
                Meaning::Immutable
            }
            500 if self.message.contains("failed to create typed patch object") => Meaning::Invalid,
            500 if self.message.contains("failed to create manager for") => Meaning::Invalid,
            429 | 500..=599 => Meaning::Failing,
            _ => Meaning::Invalid,
        }
    }

    /// Says it to people: in the server's words, with its code.
    pub(super) fn said(&self) -> String {
        let message = if self.message.is_empty() { self.reason.as_str() } else { self.message.as_str() };
        let message: String = message.chars().take(600).collect();
        format!("{message} ({})", self.code)
    }
}
