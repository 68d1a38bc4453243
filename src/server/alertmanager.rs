//! Notices of Prometheus' Alertmanager as requests to freeze: it can send nothing else, and signs nothing.
//!
//! They are read where a request to freeze is, after its proof. A resolved one asks for nothing: thawing is a decision.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::backend::FreezeRequest;

/// The label of alerts that names the application to freeze; without it, all are.
const APPLICATION: &str = "holdfast_application";

/// The version of the notices that this knows.
const VERSION: &str = "4";

/// A notice, as far as it is read: what all of its alerts have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notice {
    version: String,
    status: Status,
    /// Tells a notice from anything else that has a version.
    #[serde(rename = "groupKey")]
    _group_key: String,
    #[serde(default)]
    common_labels: BTreeMap<String, String>,
    #[serde(default)]
    common_annotations: BTreeMap<String, String>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

/// Reads a body as a notice: none where it is something else, and no request where it is of a resolved alert.
pub fn request(body: &[u8]) -> Option<Option<FreezeRequest>> {
    let notice: Notice = serde_json::from_slice(body).ok()?;
    if notice.version != VERSION {
        return None;
    }
    if notice.status == Status::Resolved {
        return Some(None);
    }
    let Notice { common_labels: labels, common_annotations: annotations, .. } = notice;
    let name = labels.get("alertname").map_or("an alert", String::as_str);
    let reason = match annotations.get("summary").or_else(|| annotations.get("description")) {
        Some(said) => format!("{name}: {said}"),
        None => format!("{name} is firing"),
    };
    Some(Some(FreezeRequest {
        applications: labels.get(APPLICATION).cloned().into_iter().collect(),
        reason: Some(reason),
        owner: Some("Alertmanager".to_owned()),
        until: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(more: &str) -> String {
        format!("{{\"version\":\"4\",\"groupKey\":\"{{}}:{{}}\",\"receiver\":\"holdfast\",\"alerts\":[],{more}}}")
    }

    #[test]
    fn a_notice_that_fires_freezes_what_its_label_names() {
        let one = notice(
            "\"status\":\"firing\",\"commonLabels\":{\"alertname\":\"Errors\",\"holdfast_application\":\"web\"},\"commonAnnotations\":{\"summary\":\"many\"}",
        );
        let asked = request(one.as_bytes()).flatten().unwrap();
        assert_eq!((asked.applications, asked.reason.as_deref()), (vec!["web".to_owned()], Some("Errors: many")));
        let all = request(notice("\"status\":\"firing\"").as_bytes()).flatten().unwrap();
        assert_eq!((all.applications.len(), all.reason.as_deref()), (0, Some("an alert is firing")));
        assert_eq!(request(notice("\"status\":\"resolved\"").as_bytes()), Some(None), "it must not freeze");
    }

    #[test]
    fn nothing_else_is_a_notice() {
        for other in [
            "{}",
            "[]",
            "{\"reason\":\"x\"}",
            "{\"version\":\"3\",\"groupKey\":\"\",\"status\":\"firing\"}",
            "{\"version\":\"4\",\"status\":\"firing\"}",
            &notice("\"status\":\"odd\""),
        ] {
            assert_eq!(request(other.as_bytes()), None, "{other}");
        }
    }
}
