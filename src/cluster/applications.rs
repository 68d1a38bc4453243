//! Applications as the API server holds them: listed whole, watched only to be woken, their status written as ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{ApiError, Change, Client};
use super::crd::{GROUP, PLURAL, VERSION};
use super::status::ApplicationStatus;

/// How many are asked for at once: a page of large ones is a few megabytes.
const PAGE: usize = 250;

/// How long a watch lasts, in seconds: what was missed is found by the list that follows.
const WATCH_SECONDS: u32 = 240;

/// One Application as it was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// Where and what it is.
    pub place: Place,
    /// The generation of its `spec`.
    pub generation: i64,
    /// When it was created, as the server says it: the older of two keeps what both want.
    pub created: String,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// What a person wrote.
    pub spec: Value,
    /// What was last written about it.
    pub status: Option<ApplicationStatus>,
}

/// Names one Application for good.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// What tells it from another one of that name.
    pub uid: Arc<str>,
}

impl Place {
    fn path(&self) -> String {
        format!("{}/{}", collection(Some(&self.namespace)), self.name)
    }

    /// Refers to it, as events do.
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Application",
            "namespace": self.namespace, "name": self.name, "uid": self.uid,
        })
    }
}

fn collection(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"),
        None => format!("/apis/{GROUP}/{VERSION}/{PLURAL}"),
    }
}

/// The Applications of some namespaces.
#[derive(Clone)]
pub struct Applications {
    client: Client,
    /// `None` is all namespaces.
    namespaces: Vec<Option<Arc<str>>>,
}

impl Applications {
    /// Reads those of these namespaces; none named are all.
    pub fn new(client: Client, namespaces: &[Arc<str>]) -> Self {
        let namespaces =
            if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        Self { client, namespaces }
    }

    /// Returns which namespaces are read; `None` is all of them.
    pub fn namespaces(&self) -> &[Option<Arc<str>>] {
        &self.namespaces
    }

    /// Lists all of them, the oldest first; whole or not at all.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn list(&self) -> Result<Vec<Found>, ApiError> {
        let mut all = Vec::new();
        for namespace in &self.namespaces {
            let mut next = String::new();
            loop {
                let more = if next.is_empty() { String::new() } else { format!("&continue={next}") };
                let path = format!("{}?limit={PAGE}{more}", collection(namespace.as_deref()));
                let page = self.client.get(&path)?;
                all.extend(page["items"].as_array().into_iter().flatten().filter_map(found));
                next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
                if next.is_empty() {
                    break;
                }
            }
        }
        all.sort_by(|a, b| (&a.created, &a.place).cmp(&(&b.created, &b.place)));
        Ok(all)
    }

    /// Calls `woken` whenever a `spec` changed, or an Application came or went; returns when the server ended the watch or
    /// nobody wants it any longer. A status that we wrote ourselves wakes nobody.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn watch(&self, namespace: Option<&str>, stopped: impl Fn() -> bool, woken: impl Fn()) -> Result<(), ApiError> {
        let mut known: BTreeMap<Place, (i64, bool)> = BTreeMap::new();
        let path = format!("{}?watch=true&timeoutSeconds={WATCH_SECONDS}", collection(namespace));
        self.client.watch(&path, stopped, |change| {
            let news = match &change {
                Change::Is(object) => found(object).is_some_and(|found| {
                    let now = (found.generation, found.leaving);
                    known.insert(found.place, now) != Some(now)
                }),
                Change::Gone(object) => {
                    if let Some(found) = found(object) {
                        known.remove(&found.place);
                    }
                    true
                }
            };
            if news {
                woken();
            }
        })
    }

    /// Writes the status of one, as ours.
    ///
    /// # Errors
    /// What the server said, or that it did not answer. Missing: it is gone, or another one has its name by now.
    pub fn write_status(&self, place: &Place, status: &ApplicationStatus) -> Result<(), ApiError> {
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "Application",
            "metadata": { "name": place.name, "namespace": place.namespace, "uid": place.uid },
            "status": status,
        });
        self.client.apply(&format!("{}/status", place.path()), &body).map(|_| ())
    }

    /// Reads one.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn read(&self, namespace: &str, name: &str) -> Result<Option<Found>, ApiError> {
        let object = self.client.get(&format!("{}/{name}", collection(Some(namespace))))?;
        Ok(found(&object))
    }

    /// Merges fields into the `spec` of one, as the person who asks.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn merge_spec(&self, namespace: &str, name: &str, spec: &Value, manager: &str) -> Result<(), ApiError> {
        let path = format!("{}/{name}", collection(Some(namespace)));
        self.client.merge(&path, &json!({ "spec": spec }), manager).map(|_| ())
    }
}

/// Reads one Application; `None` if it has no name, which no server would answer.
fn found(object: &Value) -> Option<Found> {
    let about = object.get("metadata")?;
    let text = |name: &str| about.get(name).and_then(Value::as_str);
    Some(Found {
        place: Place { namespace: text("namespace")?.into(), name: text("name")?.into(), uid: text("uid")?.into() },
        generation: about.get("generation").and_then(Value::as_i64).unwrap_or_default(),
        created: text("creationTimestamp").unwrap_or_default().to_owned(),
        leaving: text("deletionTimestamp").is_some(),
        spec: object.get("spec").cloned().unwrap_or_default(),
        status: object.get("status").and_then(|status| serde_json::from_value(status.clone()).ok()),
    })
}
