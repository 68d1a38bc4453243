//! One API server: as whom it is reached, and one request at a time.
//!
//! Requests go out as bytes and come back as bytes: what a list of ten thousand objects costs is decided by who parses it.
//! Each has a time-out of its own, and nothing is sent a second time here.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::status::Status;

/// How long one request may take, its answer included.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// How long it may take until the server takes up a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// More than a page of the largest objects that fit into etcd on average.
const MAX_ANSWER: usize = 512 << 20;

/// What a request does, as the metric's label spells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asks {
    Discover,
    Get,
    List,
    Watch,
    Rehearse,
    Create,
    Update,
    Patch,
    Delete,
}

/// Every kind of request, as the metric's label spells it.
pub const VERBS: [&str; 9] = ["discover", "get", "list", "watch", "rehearse", "create", "update", "patch", "delete"];

/// As whom which API server is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// The kubeconfig; none is the pod's own.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The user that is impersonated.
    pub impersonate: Option<String>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) asks: Asks,
    pub(super) method: http::Method,
    pub(super) path: String,
    pub(super) accept: &'a str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    pub(super) etag: Option<String>,
}

impl Request<'_> {
    /// Reads a path as JSON.
    pub(super) fn get(asks: Asks, path: String) -> Self {
        Self { asks, method: http::Method::GET, path, accept: "application/json", body: None, etag: None }
    }

    /// Sends a body.
    pub(super) fn with(asks: Asks, method: http::Method, path: String, kind: &'static str, body: Vec<u8>) -> Self {
        Self { asks, method, path, accept: "application/json", body: Some((kind, body)), etag: None }
    }
}

/// What the server answered, whatever it said.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) bytes: Vec<u8>,
    pub(super) etag: Option<String>,
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    /// Returns the bytes of a success, or what the server said instead.
    pub(super) fn ok(self) -> Result<Vec<u8>, Status> {
        if (200..300).contains(&self.code) { Ok(self.bytes) } else { Err(self.status()) }
    }

    /// Returns what the server said of a request that failed.
    pub(super) fn status(&self) -> Status {
        Status::parse(self.code, &self.bytes)
    }
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The request never left: nothing happened.
    #[error("{0}")]
    Unsent(String),
    /// It left, and nobody knows what became of it.
    #[error("{0}")]
    Unanswered(String),
}

/// The runtime that all clusters of the process share.
pub(super) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        // Another part of the program may have been first: it is the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("kubernetes")
            .enable_all()
            .build()
            .expect("the machine lets a process have two threads")
    });
    &RUNTIME
}

/// A connection to an API server, made at the first request and anew after one that could not be sent.
#[derive(Debug)]
pub(super) struct Client {
    access: Access,
    connected: Mutex<Option<Connected>>,
    counts: [AtomicU64; VERBS.len()],
}

#[derive(Clone)]
struct Connected(kube::Client);

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connected")
    }
}

impl Client {
    pub(super) fn new(access: Access) -> Self {
        Self { access, connected: Mutex::default(), counts: Default::default() }
    }

    /// Returns how many requests of each kind were sent since this was last asked.
    pub(super) fn take_counts(&self) -> Vec<(&'static str, u64)> {
        let taken = VERBS.iter().zip(&self.counts).map(|(label, count)| (*label, count.swap(0, Ordering::Relaxed)));
        taken.filter(|(_, count)| *count > 0).collect()
    }

    /// Sends a request once, and waits for its whole answer.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Lost> {
        let sent = self.start(request);
        let answer = async {
            let response = sent.await?;
            read(response).await.map_err(Lost::Unanswered)
        };
        match tokio::time::timeout(REQUEST_TIME, answer).await {
            Ok(answer) => {
                if matches!(&answer, Err(Lost::Unsent(_)) | Ok(Answer { code: 401, .. })) {
                    self.forget();
                }
                answer
            }
            Err(_) => Err(Lost::Unanswered(format!("no answer within {} seconds", REQUEST_TIME.as_secs()))),
        }
    }

    /// Sends a request, and returns its answer's beginning.
    pub(super) async fn start(&self, request: &Request<'_>) -> Result<http::Response<Body>, Lost> {
        let connected = self.connected().await?;
        self.counts[request.asks as usize].fetch_add(1, Ordering::Relaxed);
        let mut sent = http::Request::builder().method(request.method.clone()).uri(&request.path);
        sent = sent.header(ACCEPT, request.accept);
        if let Some((kind, _)) = &request.body {
            sent = sent.header(CONTENT_TYPE, *kind);
        }
        if let Some(etag) = &request.etag {
            sent = sent.header(IF_NONE_MATCH, etag);
        }
        let body = request.body.as_ref().map_or_else(Body::empty, |(_, bytes)| Body::from(bytes.clone()));
        let sent = sent.body(body).map_err(|error| Lost::Unsent(format!("ask for {}: {error}", request.path)))?;
        connected.0.send(sent).await.map_err(|error| {
            let said = chain(&error);
            if is_unsent(&error) { Lost::Unsent(said) } else { Lost::Unanswered(said) }
        })
    }

    async fn connected(&self) -> Result<Connected, Lost> {
        if let Some(connected) = &*self.lock() {
            return Ok(connected.clone());
        }
        let connected = self.connect().await.map_err(Lost::Unsent)?;
        *self.lock() = Some(connected.clone());
        Ok(connected)
    }

    /// Lets the next request read the kubeconfig again: tokens and addresses change.
    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Connected>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Connected, String> {
        let mut config = match &self.access.kubeconfig {
            Some(path) => {
                let read = |error: kube::config::KubeconfigError| format!("{}: {}", path.display(), chain(&error));
                let kubeconfig = Kubeconfig::read_from(path).map_err(read)?;
                let options = KubeConfigOptions { context: self.access.context.clone(), ..Default::default() };
                let names_proxy = |cluster: &kube::config::NamedCluster| {
                    cluster.cluster.as_ref().is_some_and(|cluster| cluster.proxy_url.is_some())
                };
                let proxied = kubeconfig.clusters.iter().any(names_proxy);
                let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(read)?;
                // The environment's proxy is for the outside; a cluster that needs one says so.
                if !proxied {
                    config.proxy_url = None;
                }
                config
            }
            None => kube::Config::incluster().map_err(|error| {
                format!("no `kubeconfig` is configured, and this is no pod of a cluster: {}", chain(&error))
            })?,
        };
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIME);
        if let Some(user) = &self.access.impersonate {
            let value = HeaderValue::from_str(user).map_err(|_| format!("{user:?} cannot be impersonated"))?;
            config.headers.push((HeaderName::from_static("impersonate-user"), value));
        }
        kube::Client::try_from(config).map(Connected).map_err(|error| chain(&error))
    }
}

async fn read(response: http::Response<Body>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text(ETAG).map(str::to_owned);
    let retry_after = text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let bytes = body.map_err(|error| format!("the answer broke off: {}", chain(error.as_ref())))?.to_bytes().to_vec();
    Ok(Answer { code: head.status.as_u16(), bytes, etag, retry_after })
}

/// Tells whether a request never left: no connection was made.
fn is_unsent(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Spells an error with everything that caused it, each once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    said
}

/// Spells a value inside of a path or a query.
pub(super) fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
