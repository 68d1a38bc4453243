//! The target's anchor, in the parent of our set (`GUARDS.md` 9): swapped against its resourceVersion.

use http::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::{Answer, Asks, Lost, Request};
use super::list::{Unlisted, Which, list};
use super::object::shared;
use super::retry::read;
use super::set::{ANCHOR, Contents, ID, parent};
use super::status::Meaning;
use super::{Shared, SwapError};
use crate::core::resource::{Anchor, AnchorSeen};

/// The parent as it was read.
pub(super) struct Parent {
    pub(super) seen: AnchorSeen,
    /// Absent if there is none, or it could not be read.
    value: Option<Value>,
}

/// Reads the anchor.
pub(super) async fn look(shared_: &Shared) -> Parent {
    let unread = |why: String| Parent { seen: AnchorSeen::Unread(shared(why)), value: None };
    let foreign = |why: String| AnchorSeen::Foreign(shared(why));
    let what = format!("ConfigMap {} in namespace {}", shared_.set.name, shared_.set.namespace);
    let answer = match read(&shared_.client, &Request::get(Asks::Get, shared_.set.path())).await {
        Ok(answer) => answer,
        Err(lost) => return unread(format!("{what}: {lost}")),
    };
    let bytes = match answer.ok() {
        Ok(bytes) => bytes,
        Err(status) if status.meaning() == Meaning::NotThere => {
            return Parent { seen: AnchorSeen::Absent, value: None };
        }
        Err(status) => return unread(format!("{what}: {}", status.said())),
    };
    let value: Value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(error) => return unread(format!("{what}: {error}")),
    };
    if value.pointer("/metadata/deletionTimestamp").is_some() {
        return Parent { seen: foreign(format!("{what} is being deleted")), value: None };
    }
    let seen = match value.pointer("/data").and_then(|data| data.get(ANCHOR)).and_then(Value::as_str) {
        None => foreign(format!("{what} is there and holds no anchor: it is somebody else's")),
        Some(text) => match serde_json::from_str::<Anchor>(text) {
            Ok(anchor) => AnchorSeen::Present(anchor),
            Err(error) => foreign(format!("{what} holds no anchor that is understood: {error}")),
        },
    };
    Parent { seen, value: Some(value) }
}

/// Tells whether a set belongs to another application of the same ledger: what that one no longer holds may be taken over,
/// and whether it does was decided before anybody asks here.
pub(super) async fn is_of_ours(shared_: &Shared, set: &str) -> bool {
    let Some(ledger) = shared_.ledger.get() else { return false };
    let selector = format!("{ID}={set}");
    let anchored = |item: &RawValue| -> Result<Option<Anchor>, String> {
        let value: Value = serde_json::from_str(item.get()).map_err(|error| error.to_string())?;
        let text = value.pointer("/data").and_then(|data| data.get(ANCHOR)).and_then(Value::as_str);
        Ok(text.and_then(|text| serde_json::from_str(text).ok()))
    };
    let everywhere = Which { path: "/api/v1/configmaps".to_owned(), selector: Some(&selector), metadata_only: false };
    let here = Which { path: shared_.set.collection(), ..everywhere.clone() };
    let listed = match list(&shared_.client, &everywhere, anchored).await {
        Err(Unlisted::Forbidden(_)) => list(&shared_.client, &here, anchored).await,
        other => other,
    };
    listed.is_ok_and(|listed| listed.items.iter().any(|anchor| anchor.ledger == *ledger))
}

/// Replaces the anchor if it still is the expected one, and says what the set contains.
///
/// # Errors
/// See [`SwapError`].
pub(super) async fn swap(
    shared_: &Shared,
    contents: &Contents,
    expected: &AnchorSeen,
    new: &Anchor,
) -> Result<(), SwapError> {
    if let AnchorSeen::Foreign(why) | AnchorSeen::Unread(why) = expected {
        return Err(SwapError::Refused(why.clone()));
    }
    let text = serde_json::to_string(new).expect("an anchor is JSON");
    let found = look(shared_).await;
    if found.seen != *expected {
        return Err(match found.seen {
            AnchorSeen::Foreign(why) | AnchorSeen::Unread(why) => SwapError::Refused(why),
            _ => SwapError::Moved(shared("it is not the one that was observed")),
        });
    }
    let request = match found.value {
        None => {
            let made = parent(&shared_.set, contents, &text).to_string().into_bytes();
            Request::with(Asks::Create, Method::POST, shared_.set.collection(), "application/json", made)
        }
        Some(mut value) => {
            let metadata = value.get_mut("metadata").and_then(Value::as_object_mut);
            let metadata = metadata.ok_or_else(|| SwapError::Refused(shared("it has no metadata")))?;
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let (Value::Object(into), Value::Object(said)) = (annotations, contents.annotations()) {
                into.extend(said);
            }
            // The server keeps who owns what.
            metadata.remove("managedFields");
            value["data"] = json!({ ANCHOR: text });
            let made = value.to_string().into_bytes();
            Request::with(Asks::Update, Method::PUT, shared_.set.path(), "application/json", made)
        }
    };
    judged(shared_.client.send(&as_manager(request)).await)
}

/// Says that the set contains more than before, ahead of the write that makes it so.
///
/// # Errors
/// See [`SwapError`].
pub(super) async fn announce(shared_: &Shared, contents: &Contents) -> Result<(), SwapError> {
    let body = json!({ "metadata": { "annotations": contents.annotations() } }).to_string().into_bytes();
    let path = shared_.set.path();
    let request = Request::with(Asks::Patch, Method::PATCH, path, "application/merge-patch+json", body);
    judged(shared_.client.send(&as_manager(request)).await)
}

fn as_manager(mut request: Request<'static>) -> Request<'static> {
    request.path += &format!("?fieldManager={}", super::object::MANAGER);
    request
}

fn judged(answer: Result<Answer, Lost>) -> Result<(), SwapError> {
    match answer {
        Err(Lost::Unsent(why)) => Err(SwapError::Refused(shared(why))),
        Err(Lost::Unanswered(why)) => Err(SwapError::Unknown(shared(why))),
        Ok(answer) => match answer.ok() {
            Ok(_) => Ok(()),
            Err(status) => Err(match status.meaning() {
                Meaning::Moved => SwapError::Moved(shared(status.said())),
                Meaning::Failing if status.code != 429 => SwapError::Unknown(shared(status.said())),
                _ => SwapError::Refused(shared(status.said())),
            }),
        },
    }
}

impl Parent {
    /// Returns what the parent says that the set contains.
    pub(super) fn contents(&self) -> Contents {
        self.value.as_ref().map_or_else(Contents::default, Contents::of)
    }
}
