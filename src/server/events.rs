//! What a proved delivery tells: which repository to look at again, if it is one of the events that matter.
//!
//! Of its body only that is read. A field that is missing is no error, one of another type is: then it is no such delivery.

use serde::Deserialize;

use crate::core::hosting::Named;

/// What a delivery asks for.
#[derive(PartialEq, Eq, Debug)]
pub enum Told {
    /// An answer, as hosting services do when a webhook is set up.
    Ping,
    /// Nothing: it is an event that changes nothing here.
    Nothing,
    /// Another look at a repository.
    Look(Named),
}

#[derive(Deserialize)]
struct Delivery {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    repository: Option<Repository>,
}

/// A repository as GitHub, Gitea and Forgejo write it.
#[derive(Deserialize)]
struct Repository {
    #[serde(default)]
    full_name: Option<String>,
    #[serde(default)]
    clone_url: Option<String>,
    #[serde(default)]
    ssh_url: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

impl From<Repository> for Named {
    fn from(repository: Repository) -> Self {
        let Repository { full_name, clone_url, ssh_url, html_url } = repository;
        Self { urls: [clone_url, ssh_url, html_url].into_iter().flatten().collect(), path: full_name }
    }
}

#[derive(Deserialize)]
struct GitlabDelivery {
    #[serde(default)]
    object_kind: Option<String>,
    /// System hooks tell of some events by this alone.
    #[serde(default)]
    event_name: Option<String>,
    #[serde(default)]
    project: Option<Project>,
    #[serde(default)]
    object_attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    path_with_namespace: Option<String>,
    #[serde(default)]
    git_http_url: Option<String>,
    #[serde(default)]
    git_ssh_url: Option<String>,
    #[serde(default)]
    web_url: Option<String>,
}

impl From<Project> for Named {
    fn from(project: Project) -> Self {
        let Project { path_with_namespace, git_http_url, git_ssh_url, web_url } = project;
        Self { urls: [git_http_url, git_ssh_url, web_url].into_iter().flatten().collect(), path: path_with_namespace }
    }
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    action: Option<String>,
    /// There if, and only if, an update of a merge request brought commits.
    #[serde(default)]
    oldrev: Option<String>,
}

/// Reads a delivery of GitHub, Gitea or Forgejo, whose event a header names.
///
/// # Errors
/// Why it is no delivery, for the log.
pub fn hub(event: Option<&str>, body: &[u8]) -> Result<Told, &'static str> {
    let event = event.ok_or("no header names its event")?;
    if event == "ping" {
        return Ok(Told::Ping);
    }
    if !matches!(event, "push" | "pull_request" | "issue_comment" | "pull_request_comment") {
        return Ok(Told::Nothing);
    }
    let Delivery { action, repository } = parse(body)?;
    let matters = match (event, action.as_deref()) {
        ("push", _) => true,
        // GitHub says `synchronize`, Gitea `synchronized`.
        ("pull_request", Some("opened" | "reopened" | "synchronize" | "synchronized" | "closed")) => true,
        ("issue_comment" | "pull_request_comment", Some("created")) => true,
        _ => false,
    };
    Ok(if matters { Told::Look(repository.map(Named::from).unwrap_or_default()) } else { Told::Nothing })
}

/// Reads a delivery of GitLab, whose body names its event.
///
/// # Errors
/// Why it is no delivery, for the log.
pub fn gitlab(body: &[u8]) -> Result<Told, &'static str> {
    let GitlabDelivery { object_kind, event_name, project, object_attributes } = parse(body)?;
    let (action, oldrev) = object_attributes.map_or((None, None), |attributes| (attributes.action, attributes.oldrev));
    let matters = match (object_kind.or(event_name).as_deref(), action.as_deref()) {
        (None, _) => return Err("its body names no event"),
        (Some("push" | "tag_push" | "repository_update"), _) => true,
        (Some("merge_request"), Some("open" | "reopen" | "close" | "merge")) => true,
        (Some("merge_request"), Some("update")) => oldrev.is_some(),
        // Older ones tell of new notes only, and do not say so.
        (Some("note"), Some("create") | None) => true,
        _ => false,
    };
    Ok(if matters { Told::Look(project.map(Named::from).unwrap_or_default()) } else { Told::Nothing })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, &'static str> {
    let why = "its body is not such JSON: set its content type to application/json";
    // A list would do for a struct otherwise.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(why);
    }
    serde_json::from_slice(body).map_err(|_| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str) -> Told {
        Told::Look(Named { urls: Vec::new(), path: Some(path.to_owned()) })
    }

    #[test]
    fn only_events_that_matter_ask_for_a_look() {
        for (event, action, matters) in [
            ("push", "", true),
            ("pull_request", "opened", true),
            ("pull_request", "reopened", true),
            ("pull_request", "synchronize", true),
            ("pull_request", "synchronized", true),
            ("pull_request", "closed", true),
            ("pull_request", "labeled", false),
            ("pull_request", "", false),
            ("issue_comment", "created", true),
            ("pull_request_comment", "created", true),
            ("issue_comment", "edited", false),
            ("issue_comment", "deleted", false),
            ("star", "created", false),
        ] {
            let action = if action.is_empty() { String::new() } else { format!("\"action\":\"{action}\",") };
            let body = format!("{{{action}\"repository\":{{\"full_name\":\"acme/fleet\",\"id\":1}},\"more\":[1]}}");
            let told = hub(Some(event), body.as_bytes());
            assert_eq!(told, Ok(if matters { look("acme/fleet") } else { Told::Nothing }), "{event} {body}");
        }
        assert_eq!(hub(Some("ping"), b"zen"), Ok(Told::Ping));
        assert_eq!(hub(Some("push"), b"{}"), Ok(Told::Look(Named::default())));
        assert!(hub(None, b"{}").is_err());
        for body in ["", "payload=%7B%7D", "[]", "{\"repository\":[1]}", "{\"repository\":{\"full_name\":1}}"] {
            assert!(hub(Some("push"), body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn gitlab_names_its_event_in_the_body() {
        // The fields are those of GitLab's documentation of its webhook events.
        for (kind, attributes, matters) in [
            ("push", "null", true),
            ("tag_push", "null", true),
            ("merge_request", "{\"action\":\"open\",\"iid\":1}", true),
            ("merge_request", "{\"action\":\"update\",\"oldrev\":\"abc\"}", true),
            ("merge_request", "{\"action\":\"update\"}", false),
            ("merge_request", "{\"action\":\"approved\"}", false),
            ("merge_request", "{\"action\":\"merge\"}", true),
            ("merge_request", "{\"action\":\"close\"}", true),
            ("note", "{\"action\":\"create\",\"noteable_type\":\"MergeRequest\"}", true),
            ("note", "{\"noteable_type\":\"MergeRequest\"}", true),
            ("note", "{\"action\":\"update\"}", false),
            ("pipeline", "{\"action\":\"create\"}", false),
        ] {
            let body = format!(
                "{{\"object_kind\":\"{kind}\",\"project\":{{\"path_with_namespace\":\"acme/infra/fleet\"}},\"object_attributes\":{attributes}}}"
            );
            let told = gitlab(body.as_bytes());
            assert_eq!(told, Ok(if matters { look("acme/infra/fleet") } else { Told::Nothing }), "{body}");
        }
        let system = b"{\"event_name\":\"repository_update\",\"project\":{\"path_with_namespace\":\"a/b\"}}";
        assert_eq!(gitlab(system), Ok(look("a/b")));
        assert!(gitlab(b"{}").is_err() && gitlab(b"x").is_err());
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!("{{\"repository\":{}", "[".repeat(1_000_000));
        assert!(hub(Some("push"), deep.as_bytes()).is_err());
        let aside = format!("{{\"x\":{}", "[".repeat(1_000_000));
        assert!(hub(Some("push"), aside.as_bytes()).is_err());
    }
}
