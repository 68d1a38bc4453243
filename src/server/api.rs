//! The API: what the commands read and do.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query as UrlQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::backend::{ApproveRequest, Caller, FreezeRequest, Query, Refusal, ThawRequest, View};
use super::secrets::{matching, signature};
use super::{Shared, access, alertmanager, body, reply};
use crate::core::resource::Digest;

/// How far a signed request's time may be from ours (`INTERFACE.md`).
const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// `/healthz`: the process answers.
pub async fn healthy() -> Response {
    Json(json!({ "healthy": true })).into_response()
}

/// `/readyz`: every application has been looked at. Open to all, so it says why not only to who may read.
pub async fn ready(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let told = access::read(peer, &headers, shared.tokens.as_ref()).is_ok();
    match shared.reading(|backend| backend.ready().map_err(Refusal::Unavailable)).await {
        Ok(()) => Json(json!({ "ready": true })).into_response(),
        Err(why) => {
            let why = if told { why.to_string() } else { "not ready".to_owned() };
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": why }))).into_response()
        }
    }
}

/// `/metrics`.
pub async fn metrics(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = access::read(peer, &headers, shared.tokens.as_ref()) {
        return denied.into_response();
    }
    match shared.reading(|backend| backend.metrics()).await {
        Ok(text) => {
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// `/api/v1/{status,drift,plan,history}`.
pub async fn view(
    view: View,
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    UrlQuery(query): UrlQuery<Query>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = access::read(peer, &headers, shared.tokens.as_ref()) {
        return denied.into_response();
    }
    match shared.reading(move |backend| backend.read(view, &query)).await {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// `POST /api/v1/freeze`: with a token, or signed with the secret that can freeze and nothing else.
pub async fn freeze(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match body::read(&headers, body, body::API, shared.body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let (caller, once) = match access::write(&headers, shared.tokens.as_ref()) {
        Ok(caller) => (caller, None),
        Err(denied) => match signed(&shared, &headers, &body) {
            Ok(id) => (Caller::FreezeSecret, Some(id)),
            Err(Unsigned::NotTried) => return denied.into_response(),
            Err(Unsigned::Refused(why)) => {
                tracing::warn!(%peer, why, "a signed freeze was refused");
                return reply::error(StatusCode::UNAUTHORIZED, "refused");
            }
        },
    };
    // An empty body freezes everything: freezing is cheap.
    let request: FreezeRequest = match if body.is_empty() { Ok(FreezeRequest::default()) } else { parse(&body) } {
        Ok(request) => request,
        Err(response) => match alertmanager::request(&body) {
            Some(Some(request)) => request,
            Some(None) => {
                return Json(json!({ "frozen": [], "why": "resolved: whoever may thaw decides" })).into_response();
            }
            None => return response,
        },
    };
    let done = shared.writing(move |backend| {
        if request.until.is_some_and(|until| until <= backend.now()) {
            return Err(Refusal::Invalid("`until` is already past: nothing was frozen".to_owned()));
        }
        if let Some(id) = once
            && backend.delivery_seen(&id)?
        {
            let why = "this signature was used before: sign it again with a new timestamp";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        let answer = backend.freeze(&request, &caller)?;
        backend.wake();
        Ok(answer)
    });
    answer(peer, "freeze", done.await)
}

/// `POST /api/v1/thaw`.
pub async fn thaw(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (caller, request) = match told::<ThawRequest>(&shared, &headers, body).await {
        Ok(told) => told,
        Err(response) => return response,
    };
    if request.applications.is_empty() != request.all {
        let why = "name the applications to thaw in `applications`, or write `\"all\": true`, and not both";
        return reply::error(StatusCode::BAD_REQUEST, why);
    }
    let done = shared.writing(move |backend| {
        let answer = backend.thaw(&request, &caller)?;
        backend.wake();
        Ok(answer)
    });
    answer(peer, "thaw", done.await)
}

/// `POST /api/v1/approve`.
pub async fn approve(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (caller, request) = match told::<ApproveRequest>(&shared, &headers, body).await {
        Ok(told) => told,
        Err(response) => return response,
    };
    let done = shared.writing(move |backend| {
        let answer = backend.approve(&request, &caller)?;
        backend.wake();
        Ok(answer)
    });
    answer(peer, "approve", done.await)
}

/// Checks the token before the body is read, and reads it.
async fn told<T: DeserializeOwned>(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<(Caller, T), Response> {
    let caller = access::write(headers, shared.tokens.as_ref()).map_err(axum::response::IntoResponse::into_response)?;
    let body = body::read(headers, body, body::API, shared.body).await?;
    Ok((caller, parse(&body)?))
}

#[expect(clippy::result_large_err, reason = "an answer is made once a request, and is on its way out")]
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    serde_json::from_slice(body)
        .map_err(|error| reply::error(StatusCode::BAD_REQUEST, format!("the body is not as it should be: {error}")))
}

fn answer(peer: SocketAddr, what: &str, done: Result<serde_json::Value, Refusal>) -> Response {
    match done {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => {
            tracing::warn!(%peer, what, %refusal, "a request was refused");
            refusal.into_response()
        }
    }
}

/// Why a request does not count as signed.
enum Unsigned {
    /// It carries no signature.
    NotTried,
    /// It carries one that does not hold, and why not.
    Refused(&'static str),
}

/// Checks a signed freeze; returns the name under which it is accepted once.
fn signed(shared: &Shared, headers: &HeaderMap, body: &Bytes) -> Result<String, Unsigned> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(timestamp), Some(given)) = (header("x-holdfast-timestamp"), header("x-holdfast-signature")) else {
        return Err(Unsigned::NotTried);
    };
    let Some(secrets) = &shared.freeze_secret else {
        return Err(Unsigned::Refused("`api.freezeSecretFile` is not configured"));
    };
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let at =
        timestamp.parse::<i64>().ok().filter(|_| digits).and_then(|second| jiff::Timestamp::from_second(second).ok());
    let Some(at) = at else { return Err(Unsigned::Refused("the timestamp is no number of Unix seconds")) };
    let Some(bytes) = given.starts_with("sha256=").then(|| signature(given)).flatten() else {
        return Err(Unsigned::Refused("the signature is not `sha256=` and 64 hexadecimal digits"));
    };
    let parts = [timestamp.as_bytes(), b".", body];
    if matching(&secrets.current(), |secret| secret.signed(&parts, &bytes)).is_none() {
        return Err(Unsigned::Refused("the signature is not by a configured secret"));
    }
    if shared.backend.now().duration_since(at).abs() > WINDOW {
        return Err(Unsigned::Refused("the timestamp is more than five minutes from now"));
    }
    Ok(format!("freeze:{}", Digest::from_bytes(bytes)))
}
