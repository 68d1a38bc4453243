//! Lists, page by page, from the bytes that came: what an item is worth is decided before anything of it is kept.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Asks, Client, Request, escaped};
use super::retry::read;
use super::status::Meaning;

/// How many objects one page has at most (`resourceVersion=0` would ignore it).
const PAGE: usize = 2_000;

/// How often a list that expired on the way is begun anew: the token that the server offers instead is inconsistent.
const BEGINNINGS: usize = 3;

/// What to list.
#[derive(Clone, Debug)]
pub(super) struct Which<'a> {
    /// The collection's path.
    pub(super) path: String,
    /// A label that the objects must have.
    pub(super) selector: Option<&'a str>,
    /// Whether their metadata is enough.
    pub(super) metadata_only: bool,
}

/// A whole list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// As of when: a watch goes on from here.
    pub(super) revision: String,
}

/// Why there is no whole list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unlisted {
    /// It may not be listed.
    #[error("{0}")]
    Forbidden(String),
    /// The namespace, or the kind, is not there.
    #[error("{0}")]
    NotThere(String),
    /// It could not be read to its end.
    #[error("{0}")]
    Failed(String),
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    metadata: PageMetadata<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PageMetadata<'a> {
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(borrow, default, rename = "continue")]
    next: Cow<'a, str>,
}

/// The beginning of every object: which it is.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow)]
    pub(super) metadata: HeadMetadata<'a>,
}

/// What tells objects, and their versions, apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeadMetadata<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) uid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) resource_version: Cow<'a, str>,
}

impl<'a> Head<'a> {
    /// Reads which object it is, and nothing else of it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("an object of a list is not understood: {error}"))
    }
}

/// Lists objects, each handed to `take`, which keeps what it needs.
///
/// # Errors
/// If the list could not be read to its end: what `take` kept of it is dropped.
pub(super) async fn list<T>(
    client: &Client,
    which: &Which<'_>,
    mut take: impl FnMut(&RawValue) -> Result<Option<T>, String>,
) -> Result<Listed<T>, Unlisted> {
    let mut begun = 0;
    'beginning: loop {
        begun += 1;
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let answer =
                read(client, &request(which, &next)).await.map_err(|lost| Unlisted::Failed(lost.to_string()))?;
            let bytes = match answer.ok() {
                Ok(bytes) => bytes,
                Err(status) => match status.meaning() {
                    Meaning::Expired if begun < BEGINNINGS => continue 'beginning,
                    Meaning::Forbidden => return Err(Unlisted::Forbidden(status.said())),
                    Meaning::NotThere => return Err(Unlisted::NotThere(status.said())),
                    _ => return Err(Unlisted::Failed(status.said())),
                },
            };
            let page: Page<'_> = serde_json::from_slice(&bytes)
                .map_err(|error| Unlisted::Failed(format!("a page of a list is not understood: {error}")))?;
            for item in page.items.unwrap_or_default() {
                items.extend(take(item).map_err(Unlisted::Failed)?);
            }
            if page.metadata.next.is_empty() {
                return Ok(Listed { items, revision: page.metadata.resource_version.into_owned() });
            }
            next = page.metadata.next.into_owned();
        }
    }
}

fn request(which: &Which<'_>, next: &str) -> Request<'static> {
    let mut path = format!("{}?limit={PAGE}", which.path);
    if let Some(selector) = which.selector {
        path += &format!("&labelSelector={}", escaped(selector));
    }
    if !next.is_empty() {
        path += &format!("&continue={}", escaped(next));
    }
    let mut request = Request::get(Asks::List, path);
    if which.metadata_only {
        request.accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    }
    request
}
