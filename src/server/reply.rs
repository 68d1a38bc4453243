//! Answers: JSON, errors, and the headers that every answer has.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::access::Denied;
use super::backend::Refusal;

/// Makes an error's answer.
pub fn error(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "error": message.into() }))).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        error(status, self.to_string())
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Self::NoTokens => error(
                StatusCode::FORBIDDEN,
                "not from here: no `api.tokenFile` is configured, and only reading on the machine itself is open without",
            ),
            Self::Token => {
                let mut response = error(
                    StatusCode::UNAUTHORIZED,
                    "no token, or none of those in `api.tokenFile`: send `Authorization: Bearer TOKEN`",
                );
                // Browsers ask for a password then; the token is it.
                let challenge = HeaderValue::from_static("Bearer, Basic realm=\"holdfast\", charset=\"UTF-8\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
        }
    }
}

/// Refuses a source that asks too much.
pub fn too_many() -> Response {
    let mut response =
        error(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address: try again in a second");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Puts the headers on an answer that keep it from being stored, framed, guessed at, or made to run anything.
pub async fn guarded(request: Request<Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
