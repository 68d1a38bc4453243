//! The pages: what is stopped and what is not, why in numbers, who and where, then what to type. Plain HTML that refreshes
//! itself; nothing runs in the browser, and nothing can be changed from there.

mod html;
mod status;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};

use self::status::{Journal, Statuses};
use super::backend::{Query, Refusal, View};
use super::{Shared, access};

/// How many rows of the journal an application's page shows.
const ROWS: usize = 30;

/// `/`: all applications.
pub async fn overview(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = access::read(peer, &headers, shared.tokens.as_ref()) {
        return denied.into_response();
    }
    let read = shared.reading(|backend| {
        let statuses: Statuses = decode(backend.read(View::Status, &Query::default())?)?;
        Ok((statuses, backend.now()))
    });
    match read.await {
        Ok((statuses, now)) => Html(view::overview(&statuses, now)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// `/applications/NAME`: one application.
pub async fn application(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<SocketAddr>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = access::read(peer, &headers, shared.tokens.as_ref()) {
        return denied.into_response();
    }
    let read = shared.reading(move |backend| {
        let query = Query { application: Some(name.clone()), last: Some(ROWS) };
        let statuses: Statuses = decode(backend.read(View::Status, &query)?)?;
        let journal: Journal = decode(backend.read(View::History, &query)?)?;
        let status = statuses.applications.into_iter().find(|status| status.name == name);
        let status = status.ok_or_else(|| Refusal::NotFound(format!("{name} has not been looked at yet")))?;
        Ok((status, journal, backend.now()))
    });
    match read.await {
        Ok((status, journal, now)) => Html(view::application(&status, &journal, now)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// `/style.css`: how pages look; the same for everybody.
pub async fn style() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("max-age=3600")),
    ];
    (headers, include_str!("style.css")).into_response()
}

fn decode<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| Refusal::Unavailable(format!("the status cannot be shown: {error}")))
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::NotFound(_) => StatusCode::NOT_FOUND,
        Refusal::Invalid(_) | Refusal::Forbidden(_) | Refusal::Conflict(_) | Refusal::Unavailable(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    (status, Html(view::failure(&refusal.to_string()))).into_response()
}
