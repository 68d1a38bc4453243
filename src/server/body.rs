//! Reading a request's body: bounded in size and in time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::reply;

/// The largest delivery of a hosting service (`INTERFACE.md`).
pub const DELIVERY: usize = 5 * 1024 * 1024;

/// The largest request to the API: names and a reason.
pub const API: usize = 64 * 1024;

/// Reads a whole body.
///
/// # Errors
/// The answer to a body that is too large, too slow or broken off.
pub async fn read(headers: &HeaderMap, body: Body, largest: usize, within: Duration) -> Result<Bytes, Response> {
    let too_large = || {
        tracing::warn!(largest, "a body was refused: it is larger than that");
        reply::error(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {largest} bytes"))
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > largest) {
        return Err(too_large());
    }
    match tokio::time::timeout(within, axum::body::to_bytes(body, largest)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        // What was read is at most `largest`; more than that and a line that broke are not told apart further.
        Ok(Err(_)) if length.is_none() => Err(too_large()),
        Ok(Err(_)) => {
            tracing::warn!("a body was refused: it broke off");
            Err(reply::error(StatusCode::BAD_REQUEST, "the body broke off"))
        }
        Err(_) => {
            tracing::warn!(seconds = within.as_secs(), "a body was refused: it took longer than that");
            Err(reply::error(StatusCode::REQUEST_TIMEOUT, "the body took too long"))
        }
    }
}
