//! What a request asks for, and what came back.

use http::header::{ETAG, LINK};
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ForgeError;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// From the API's base on, with a slash before it.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) etag: Option<String>,
    /// Whether it must not happen twice.
    pub(super) once: bool,
    /// What is asked for, in words.
    pub(super) what: String,
}

impl Ask {
    /// Reads something.
    pub(super) fn get(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), None, what.into())
    }

    /// Creates something: must not happen twice.
    pub(super) fn create(path: impl Into<String>, body: Value, what: impl Into<String>) -> Self {
        Self { once: true, ..Self::new(Method::POST, path.into(), Some(body), what.into()) }
    }

    /// Posts something of which the last one counts.
    pub(super) fn post(path: impl Into<String>, body: Value, what: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into(), Some(body), what.into())
    }

    /// Changes something.
    pub(super) fn patch(path: impl Into<String>, body: Value, what: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path.into(), Some(body), what.into())
    }

    /// Changes something, where a service wants it so.
    pub(super) fn put(path: impl Into<String>, body: Value, what: impl Into<String>) -> Self {
        Self::new(Method::PUT, path.into(), Some(body), what.into())
    }

    /// Removes something.
    pub(super) fn delete(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into(), None, what.into())
    }

    const fn new(method: Method, path: String, body: Option<Value>, what: String) -> Self {
        Self { method, path, body, etag: None, once: false, what }
    }

    /// Wants an answer only if it is another one than this.
    pub(super) fn unless(mut self, etag: Option<&str>) -> Self {
        self.etag = etag.map(str::to_owned);
        self
    }
}

/// What came back, a good one.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads it; what a service adds is left out.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        // The text of the error may quote the answer; its place is enough.
        serde_json::from_slice(&self.body)
            .map_err(|error| ForgeError::unexpected(format!("line {}, column {}", error.line(), error.column())))
    }

    /// Tells whether it is as it was.
    pub(super) const fn is_same(&self) -> bool {
        self.status == 304
    }

    pub(super) fn etag(&self) -> Option<&str> {
        self.text(ETAG.as_str())
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Tells whether there is a page after this one. Where it is we know ourselves, since a service may not know by which name it is
    /// reached; of what it says only the number is read, so that none leads in a circle.
    pub(super) fn has_next(&self, page: usize) -> bool {
        let lines = self.headers.get_all(LINK).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).filter(|link| link.contains("rel=\"next\"")).any(|link| {
            let number = link.split(['?', '&', '>']).find_map(|part| part.strip_prefix("page=")?.parse::<usize>().ok());
            number.is_none_or(|number| number > page)
        })
    }
}
