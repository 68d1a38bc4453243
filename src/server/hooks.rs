//! Webhooks of hosting services: proved, de-duplicated, and then only a wake-up.
//!
//! Nothing of a delivery is read but its proof, its id, its event and which repository it is about, in that order. What was
//! refused says no more than that; why is in the log.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::events::{self, Told};
use super::secrets::{Secret, SecretFile, matching, signature};
use super::{Shared, body, reply};
use crate::core::hosting::Named;
use crate::core::resource::Digest;

/// The longest id of a delivery that is kept; hosting services send UUIDs.
const LONGEST_ID: usize = 128;

/// A hosting service that calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Service {
    Github,
    Gitlab,
    Gitea,
}

impl Service {
    fn named(name: &str) -> Option<Self> {
        match name {
            "github" => Some(Self::Github),
            "gitlab" => Some(Self::Gitlab),
            "gitea" => Some(Self::Gitea),
            _ => None,
        }
    }

    /// Tells whether a delivery is proved by one of the secrets.
    fn proved(self, headers: &HeaderMap, body: &Bytes, secrets: &[Secret]) -> bool {
        let signed = |names: &[&str]| {
            let Some(signature) = first(headers, names).and_then(signature) else { return false };
            matching(secrets, |secret| secret.signed(&[body], &signature)).is_some()
        };
        match self {
            Self::Github => signed(&["x-hub-signature-256"]),
            Self::Gitea => signed(&["x-gitea-signature", "x-forgejo-signature", "x-hub-signature-256"]),
            Self::Gitlab => {
                let Some(token) = first(headers, &["x-gitlab-token"]) else { return false };
                matching(secrets, |secret| secret.equals(token)).is_some()
            }
        }
    }

    /// Reads what a delivery tells; only after its proof.
    fn told(self, headers: &HeaderMap, body: &[u8]) -> Result<Told, &'static str> {
        match self {
            Self::Github => events::hub(first(headers, &["x-github-event"]), body),
            Self::Gitea => events::hub(
                first(headers, &["x-gitea-event", "x-forgejo-event", "x-gogs-event", "x-github-event"]),
                body,
            ),
            Self::Gitlab => events::gitlab(body),
        }
    }

    /// Returns what the service calls a delivery, the same when it is sent again.
    fn delivery(self, headers: &HeaderMap, body: &Bytes) -> Option<String> {
        let names: &[&str] = match self {
            Self::Github => &["x-github-delivery"],
            Self::Gitea => &["x-gitea-delivery", "x-forgejo-delivery"],
            Self::Gitlab => &["idempotency-key", "x-gitlab-event-uuid"],
        };
        let name = match first(headers, names) {
            Some(id) if id.is_empty() || id.len() > LONGEST_ID => return None,
            Some(id) => id.to_owned(),
            // Older GitLabs name no delivery; the body has its times and commits.
            None if self == Self::Gitlab => Digest::of_parts([body]).to_string(),
            None => return None,
        };
        let service = match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
        };
        Some(format!("{service}:{name}"))
    }
}

/// Receives a delivery.
pub async fn receive(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    Path(service): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(service) = Service::named(&service) else { return reply::error(StatusCode::NOT_FOUND, "not found") };
    let secrets: Option<&SecretFile> = match service {
        Service::Github => shared.github.as_ref(),
        Service::Gitlab => shared.gitlab.as_ref(),
        Service::Gitea => shared.gitea.as_ref(),
    };
    let Some(secrets) = secrets else {
        tracing::warn!(%peer, ?service, "a delivery was refused: `webhooks` has no secret for that service");
        return reply::error(StatusCode::NOT_FOUND, "not found");
    };
    let body = match body::read(&headers, body, body::DELIVERY, shared.body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    if !service.proved(&headers, &body, &secrets.current()) {
        tracing::warn!(%peer, ?service, "a delivery was refused: it carries no proof of a configured secret");
        return reply::error(StatusCode::UNAUTHORIZED, "refused");
    }
    let repository = match service.told(&headers, &body) {
        Ok(Told::Look(repository)) => repository,
        Ok(Told::Ping) => return (StatusCode::OK, axum::Json(json!({ "pong": true }))).into_response(),
        // Taken, so that the service does not call it failed; nothing of it is kept.
        Ok(Told::Nothing) => return (StatusCode::ACCEPTED, axum::Json(json!({ "duplicate": false }))).into_response(),
        Err(why) => {
            tracing::warn!(%peer, ?service, why, "a delivery was refused");
            return reply::error(StatusCode::BAD_REQUEST, "refused");
        }
    };
    // Only now: what is refused must not use up an id.
    let Some(id) = service.delivery(&headers, &body) else {
        tracing::warn!(%peer, ?service, "a delivery was refused: it has no usable id");
        return reply::error(StatusCode::BAD_REQUEST, "refused");
    };
    take(&shared, peer, service, id, repository).await
}

/// Remembers a delivery, and then wakes whom it concerns.
async fn take(shared: &Shared, peer: SocketAddr, service: Service, id: String, repository: Named) -> Response {
    let known = shared.writing(move |backend| {
        let known = backend.delivery_seen(&id)?;
        if known {
            tracing::debug!(%peer, ?service, id, "a delivery was there before: nothing is woken");
        } else {
            let groups = backend.wake_for(&repository);
            let named = repository.path.as_deref().or(repository.urls.first().map(String::as_str));
            tracing::info!(%peer, ?service, id, repository = named, groups, "a delivery wakes the applications of its repository");
        }
        Ok(known)
    });
    match known.await {
        Ok(duplicate) => (StatusCode::ACCEPTED, axum::Json(json!({ "duplicate": duplicate }))).into_response(),
        Err(why) => {
            tracing::error!(%peer, ?service, %why, "a delivery could not be taken");
            reply::error(StatusCode::SERVICE_UNAVAILABLE, "try again")
        }
    }
}

fn first<'a>(headers: &'a HeaderMap, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| headers.get(*name)?.to_str().ok())
}
