//! What went wrong in a conversation, told from gix's errors, HTTP's status and what ssh and git complained about.

use std::error::Error;

use super::credentials::Identity;
use super::fetch::{FetchError, Phase};
use super::remote::Remote;
use super::transport::Way;
use crate::core::spelling::is_printable;

/// Longer messages say nothing more; some servers answer with pages.
const DETAIL_MAX: usize = 400;

/// Tells an HTTP conversation's failure.
pub(super) fn http(remote: &Remote, identity: &Identity, error: &gix::Error) -> FetchError {
    let url = remote.url.clone();
    let detail = detail(identity, error);
    if error.is_unauthenticated() || status(error) == Some(401) {
        let given = !matches!(identity, Identity::None);
        return FetchError::Unauthorized { url, given, detail };
    }
    match status(error) {
        Some(403) => return FetchError::Unauthorized { url, given: !matches!(identity, Identity::None), detail },
        Some(404 | 410) => return FetchError::NotFound { url, detail },
        Some(code) => return FetchError::Unreachable { url, detail: format!("HTTP status {code}") },
        None => {}
    }
    let network: Option<&reqwest::Error> = error.downcast_any_ref();
    if let Some(network) = network {
        if network.is_timeout() {
            let (phase, after) = if network.is_connect() {
                (Phase::Connect, remote.limits.connect)
            } else {
                (Phase::Idle, remote.limits.idle)
            };
            return FetchError::TimedOut { url, phase, after };
        }
        if network.is_connect() || network.is_request() {
            return FetchError::Unreachable { url, detail };
        }
    }
    if timed_out(error) {
        return FetchError::TimedOut { url, phase: Phase::Idle, after: remote.limits.idle };
    }
    other(remote, error, detail)
}

/// Tells a child's failure, by what it wrote to its standard error.
pub(super) fn child(remote: &Remote, identity: &Identity, way: Way, error: &gix::Error, complaint: &str) -> FetchError {
    let url = remote.url.clone();
    let said = clean(&identity.scrub(complaint));
    let has = |texts: &[&str]| texts.iter().any(|text| complaint.contains(text));
    if has(&["Host key verification failed", "REMOTE HOST IDENTIFICATION", "No matching host key"]) {
        return FetchError::HostKey { url, detail: said };
    }
    if has(&[
        "does not appear to be a git repository",
        "not a git repository",
        "epository not found",
        "Could not read from remote",
    ]) && !has(&["Permission denied", "Connection "])
    {
        return FetchError::NotFound { url, detail: said };
    }
    if has(&["Permission denied", "UNPROTECTED PRIVATE KEY", "Too many authentication failures", "dubious ownership"]) {
        return FetchError::Unauthorized { url, given: !matches!(identity, Identity::None), detail: said };
    }
    if has(&["timed out"]) {
        return FetchError::TimedOut { url, phase: Phase::Connect, after: remote.limits.connect };
    }
    if way == Way::Ssh
        && has(&["resolve hostname", "Connection ", "connect to host", "No route to host", "kex_exchange"])
    {
        return FetchError::Unreachable { url, detail: said };
    }
    let mut detail = detail(identity, error);
    if !said.is_empty() {
        detail = format!("{said}; {detail}");
    }
    other(remote, error, detail)
}

fn other(remote: &Remote, error: &gix::Error, detail: String) -> FetchError {
    let url = remote.url.clone();
    if error.is_resource_exhausted() {
        return FetchError::TooLarge { url, what: "object", limit: remote.limits.object };
    }
    FetchError::Protocol { url, detail, damaged: error.is_corrupted() }
}

/// gix tells the status in words only where the server refused.
fn status(error: &gix::Error) -> Option<u16> {
    let typed = error.downcast_any_ref::<reqwest::Error>().and_then(reqwest::Error::status).map(|s| s.as_u16());
    typed.or_else(|| {
        error.iter_errors().find_map(|e| e.to_string().strip_prefix("Received HTTP status ")?.get(..3)?.parse().ok())
    })
}

fn timed_out(error: &gix::Error) -> bool {
    error.iter_errors().any(|e| {
        let kind = e.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let text = e.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
        kind == Some(std::io::ErrorKind::TimedOut) || text || e.to_string().contains("operation timed out")
    })
}

/// Joins the messages of a chain into one line, without repeating what is told twice.
fn detail(identity: &Identity, error: &gix::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for e in error.iter_errors() {
        let text = clean(&identity.scrub(&without_url(e)));
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ").chars().take(DETAIL_MAX).collect()
}

/// An HTTP error ends in the URL, which may be that of a redirect.
fn without_url(error: &(dyn Error + 'static)) -> String {
    let text = format!("{error:#}");
    match error.downcast_ref::<reqwest::Error>().and_then(reqwest::Error::url) {
        Some(url) => text.replace(&format!(" for url ({url})"), ""),
        None => text,
    }
}

/// Makes one printable line of what somebody else wrote.
pub(super) fn clean(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    line.chars().filter(|char| is_printable(*char)).take(DETAIL_MAX).collect()
}
