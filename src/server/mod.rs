//! HTTP: health, metrics, the API, webhooks and pages (`INTERFACE.md`).
//!
//! It holds no state of the controller and decides nothing about it: what it shows and does goes through a [`Backend`]. It runs on
//! threads of its own, so that a busy loop does not keep a freeze from being taken, nor a flood of requests a cycle from running.

mod access;
mod alertmanager;
mod api;
mod backend;
mod body;
mod events;
mod hooks;
mod limits;
mod listen;
mod pages;
mod reply;
mod secrets;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, middleware};
use tokio::sync::{Semaphore, watch};

pub use self::backend::{ApproveRequest, Backend, Caller, FreezeRequest, Query, Refusal, ThawRequest, View};
use self::limits::Limits;
use self::listen::Bounds;
use self::secrets::SecretFile;
use crate::config::{Api, Webhooks};

/// How many reads of the backend run at once; more wait.
const READS: usize = 8;

/// How many writes run at once. They have places of their own, so that reads cannot keep a freeze waiting.
const WRITES: usize = 4;

/// How long a request waits for its place and its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all requests share.
struct Shared {
    backend: Arc<dyn Backend>,
    github: Option<SecretFile>,
    gitlab: Option<SecretFile>,
    gitea: Option<SecretFile>,
    tokens: Option<SecretFile>,
    freeze_secret: Option<SecretFile>,
    /// How long a body may take.
    body: Duration,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Shared {
    fn new(webhooks: &Webhooks, api: &Api, backend: Arc<dyn Backend>, body: Duration) -> Self {
        let secret = |path: &Option<std::path::PathBuf>| path.as_deref().map(|path: &Path| SecretFile::new(path));
        let Webhooks { github, gitlab, gitea } = webhooks;
        let Api { token_file, freeze_secret_file } = api;
        Self {
            backend,
            github: secret(github),
            gitlab: secret(gitlab),
            gitea: secret(gitea),
            tokens: token_file.as_deref().map(SecretFile::tokens),
            freeze_secret: secret(freeze_secret_file),
            body,
            reads: Arc::new(Semaphore::new(READS)),
            writes: Arc::new(Semaphore::new(WRITES)),
        }
    }

    async fn reading<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Backend) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.blocking(&self.reads, ask).await
    }

    async fn writing<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Backend) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.blocking(&self.writes, ask).await
    }

    /// Asks the backend on a thread that may block. Who gives up waiting does not stop what has begun.
    async fn blocking<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        ask: impl FnOnce(&dyn Backend) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = || Refusal::Unavailable("busy: try again in a moment".to_owned());
        let answer = async {
            let place = places.clone().acquire_owned().await.map_err(|_| busy())?;
            let backend = self.backend.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let _place = place;
                ask(&*backend)
            });
            asked.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a request failed inside");
                Err(Refusal::Unavailable("failed inside: the log says why".to_owned()))
            })
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(busy()))
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let view = |which: View| get(move |state, peer, query, headers| api::view(which, state, peer, query, headers));
    Router::new()
        .route("/healthz", get(api::healthy))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/hooks/{service}", post(hooks::receive))
        .route("/api/v1/status", view(View::Status))
        .route("/api/v1/drift", view(View::Drift))
        .route("/api/v1/plan", view(View::Plan))
        .route("/api/v1/history", view(View::History))
        .route("/api/v1/freeze", post(api::freeze))
        .route("/api/v1/thaw", post(api::thaw))
        .route("/api/v1/approve", post(api::approve))
        .route("/", get(pages::overview))
        .route("/applications/{name}", get(pages::application))
        .route("/style.css", get(pages::style))
        .fallback(|| async { reply::error(StatusCode::NOT_FOUND, "not found") })
        .method_not_allowed_fallback(|| async { reply::error(StatusCode::METHOD_NOT_ALLOWED, "not this way") })
        .layer(middleware::from_fn(reply::guarded))
        .with_state(shared)
}

/// A server under way; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and serves on threads of its own.
    ///
    /// # Errors
    /// Those of listening, such as an address in use.
    pub fn start(listen: SocketAddr, webhooks: &Webhooks, api: &Api, backend: Arc<dyn Backend>) -> io::Result<Self> {
        Self::start_within(listen, webhooks, api, backend, Bounds::default(), Limits::default())
    }

    fn start_within(
        listen: SocketAddr,
        webhooks: &Webhooks,
        api: &Api,
        backend: Arc<dyn Backend>,
        bounds: Bounds,
        limits: Limits,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(READS + WRITES)
            .thread_name("http")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(listen))?;
        let address = listener.local_addr()?;
        let router = router(Arc::new(Shared::new(webhooks, api, backend, bounds.body)));
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(listen::serve(listener, router, Arc::new(limits), bounds, stopped));
            // A backend that does not answer must not keep the process from ending.
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
        tracing::info!(%address, "serving HTTP");
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Returns where it listens; the port is known here even if any free one was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and waits a few seconds for requests under way.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Nobody listening any more is what is wanted.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the server's thread failed");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
