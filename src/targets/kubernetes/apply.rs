//! Server-side apply: the one request that both tries and writes.

use http::Method;
use serde_json::{Map, Value, json};

use super::client::{Answer, Asks, Lost, Request, escaped};
use super::discovery::Kind;
use super::ignore::Ignored;
use super::object::{MANAGER, Object, PART_OF, read_version};
use super::{Known, Shared};
use crate::core::resource::Version;
use std::sync::Arc;

/// A resourceVersion that no object has: etcd's first write makes revision 2. An apply that expects it is refused (409) where
/// there is anything, whoever made it and whatever it holds, and creates (201) where there is nothing.
const ABSENT: &str = "1";

/// What is to be applied, and where.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) kind: Arc<Kind>,
    pub(super) namespace: String,
    pub(super) name: String,
    object: Value,
}

/// Why there is nothing to apply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// Its kind is not served.
    NoKind(String),
    /// The group that serves its kind does not answer.
    Stale(Arc<str>),
    /// It makes no sense.
    Invalid(String),
}

impl Wanted {
    /// Reads what is wanted, marks it as ours, and finds where it belongs.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub(super) fn of(shared: &Shared, known: &Known, bytes: &[u8]) -> Result<Self, Unfit> {
        let invalid = |why: &str| Unfit::Invalid(format!("what is wanted is no object: {why}"));
        let mut object: Value = serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))?;
        let text = |object: &Value, pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
        };
        let (api, kind) = (text(&object, "/apiVersion"), text(&object, "/kind"));
        let (group, version) = api.split_once('/').unwrap_or(("", &api));
        let Some(served) = known.discovery.find_at(group, version, &kind) else {
            return Err(match known.discovery.find(group, &kind) {
                super::discovery::Found::Stale(why) => Unfit::Stale(why),
                super::discovery::Found::Served(other) => {
                    Unfit::NoKind(format!("{kind} is served as {}, not as {api}", other.api_version()))
                }
                super::discovery::Found::Absent => {
                    Unfit::NoKind(format!("there is no kind {kind} in {api}: its definition is missing"))
                }
            });
        };
        let name = text(&object, "/metadata/name");
        if name.is_empty() || matches!(name.as_str(), "." | "..") {
            return Err(invalid("it has no name"));
        }
        let namespace = shared.namespace_of(&served, &text(&object, "/metadata/namespace")).to_owned();
        let metadata =
            object.get_mut("metadata").and_then(Value::as_object_mut).ok_or_else(|| invalid("no metadata"))?;
        if served.namespaced {
            metadata.insert("namespace".to_owned(), namespace.as_str().into());
        } else {
            metadata.remove("namespace");
        }
        let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        if labels.is_null() {
            *labels = json!({});
        }
        let labels = labels.as_object_mut().ok_or_else(|| invalid("its labels are no mapping"))?;
        labels.insert(PART_OF.to_owned(), (&*shared.set.id).into());
        Ok(Self { kind: served, namespace, name, object })
    }

    /// Returns the same without what is ignored and somebody else owns of the object that is there.
    pub(super) fn leaving(&self, ignored: &Ignored, there: &Object) -> Self {
        let mut left = self.clone();
        ignored.leave(&mut left.object, there);
        left
    }

    /// Makes the request; `expected` is what must be there: nothing, if it is absent.
    pub(super) fn request(&self, asks: Asks, expected: Option<&Version>, force: bool) -> Request<'static> {
        let mut object = self.object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let (uid, revision) = expected.map_or(("", ABSENT), |version| read_version(version).unwrap_or_default());
            for (name, value) in [("uid", uid), ("resourceVersion", revision)] {
                if !value.is_empty() {
                    metadata.insert(name.to_owned(), value.into());
                }
            }
        }
        let mut path = format!("{}?fieldManager={}", self.kind.object(&self.namespace, &self.name), escaped(MANAGER));
        if force {
            path += "&force=true";
        }
        if asks == Asks::Rehearse {
            path += "&dryRun=All";
        }
        Request::with(
            asks,
            Method::PATCH,
            path,
            "application/apply-patch+yaml",
            escape(&object.to_string()).into_bytes(),
        )
    }
}

/// Escapes what the server's YAML reader would refuse, or take for the end of a line: it reads JSON as YAML.
///
/// Of JSON's own text nothing is touched: such characters stand in strings alone.
fn escape(json: &str) -> String {
    let odd =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !json.contains(odd) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if odd(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Sends a write, again where the server says that it did not take it up.
pub(super) async fn send(shared: &Shared, request: &Request<'_>) -> Result<Answer, Lost> {
    let mut tried = 0;
    loop {
        let answer = shared.client.send(request).await;
        tried += 1;
        match &answer {
            // Too many requests: it was turned away at the door.
            Ok(Answer { code: 429, retry_after, .. }) if tried < 4 => {
                let wait = retry_after.unwrap_or(std::time::Duration::from_secs(1));
                tokio::time::sleep(wait.min(std::time::Duration::from_secs(10))).await;
            }
            _ => return answer,
        }
    }
}
