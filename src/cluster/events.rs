//! Events (`events.k8s.io/v1`): what people read with `kubectl describe` and `kubectl events`. Hints, not the record.

use jiff::Timestamp;
use serde_json::json;

use super::applications::Place;
use super::client::{ApiError, Client};

/// The longest note that the API takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Something that happened to an Application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happening {
    /// One word for programs, such as `PlanSet`.
    pub reason: String,
    /// The same for people.
    pub note: String,
    /// Whether somebody should look.
    pub warning: bool,
}

/// Writes an event about an Application; `id` is unique among its events.
///
/// # Errors
/// What the server said, or that it did not answer.
pub fn write(
    client: &Client,
    place: &Place,
    what: &Happening,
    at: Timestamp,
    id: &str,
    instance: &str,
) -> Result<(), ApiError> {
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": format!("{}.{id}", place.name), "namespace": place.namespace },
        "eventTime": micro(at),
        "type": if what.warning { "Warning" } else { "Normal" },
        "reason": what.reason, "action": "Reconcile", "note": shortened(&what.note),
        "reportingController": "holdfast.dev/controller", "reportingInstance": instance,
        "regarding": place.reference(),
    });
    client.post(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", place.namespace), &body).map(|_| ())
}

/// Writes a time with microseconds: whatever has less is refused where Kubernetes wants a MicroTime.
pub(super) fn micro(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn shortened(note: &str) -> String {
    if note.len() <= LONGEST_NOTE {
        return note.to_owned();
    }
    let mut end = LONGEST_NOTE - '…'.len_utf8();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &note[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit_and_times_have_microseconds() {
        let long = shortened(&"é".repeat(1000));
        assert!(long.len() <= LONGEST_NOTE && long.ends_with('…'));
        assert_eq!(shortened("short"), "short");
        assert_eq!(micro("2026-01-01T00:00:00Z".parse().unwrap()), "2026-01-01T00:00:00.000000Z");
    }
}
