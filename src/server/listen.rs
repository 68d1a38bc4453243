//! Connections: bounded in number, by source, and in time at every step.
//!
//! hyper is driven by hand because axum's own loop bounds neither how long headers may take nor how many connections there are.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use super::limits::{CONNECTIONS, Limits, Source};
use super::reply;

/// How long each step of a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A request's headers; also how long a connection may stay idle between requests.
    pub headers: Duration,
    /// A request's body.
    pub body: Duration,
    /// A connection as a whole; a client that reads slowly holds it no longer.
    pub connection: Duration,
    /// A request under way when the connection, or the server, ends.
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(10),
            // Five megabytes over a slow line, and no more.
            body: Duration::from_secs(20),
            connection: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// The longest head of a request.
const HEAD: usize = 32 * 1024;

/// How long is waited when no connection can be taken, such as when file descriptors run out.
const BREATH: Duration = Duration::from_millis(100);

/// Takes connections until it is told to stop, and lets requests under way end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Arc<Limits>,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error means that the sender is gone, which is an end too.
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // What is too much is closed at once rather than kept waiting.
        let (Ok(place), Some(counted)) = (places.clone().try_acquire_owned(), limits.connect(Source::of(peer.ip())))
        else {
            tracing::warn!(%peer, "a connection was closed: too many are open");
            continue;
        };
        let (router, limits, stop) = (router.clone(), limits.clone(), stop.clone());
        connections.spawn(async move {
            let _held = (place, counted);
            converse(stream, peer, router, limits, bounds, stop).await;
        });
    }
    let all = async { while connections.join_next().await.is_some() {} };
    // Whoever is not done by then is cut off when the set is dropped.
    let _ = tokio::time::timeout(bounds.grace, all).await;
}

/// Serves one connection.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Arc<Limits>,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) {
    // Small answers should not wait for more to send.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (mut router, limits) = (router.clone(), limits.clone());
        async move {
            if !limits.allows(Source::of(peer.ip())) {
                return Ok::<Response, Infallible>(reply::too_many());
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            router.call(request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.headers)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection broke");
            }
            return;
        }
        () = tokio::time::sleep(bounds.connection) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(bounds.grace, connection).await;
}
