//! Reaches the API server: blocking calls on a runtime of its own, each with an end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::WatchEvent;
use serde_json::{Value, json};

/// An API server that is alive answers a small request within seconds, and a Lease must be renewed in time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a watch looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(250);

/// Who writes: one name per installation, so that a hand-over keeps what it owns (`KUBERNETES.md` 13).
pub const MANAGER: &str = "holdfast";

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// Its status code.
        code: u16,
        /// What it said.
        message: String,
    },
    /// It could not be asked, or did not answer.
    #[error("{0}")]
    Unreachable(String),
}

impl ApiError {
    /// Tells whether something is not there.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Tells whether somebody else was faster.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused { code: status.code, message: status.message },
            error => {
                let mut message = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    let text = cause.to_string();
                    if !message.contains(&text) {
                        message = format!("{message}: {text}");
                    }
                    source = cause.source();
                }
                Self::Unreachable(message)
            }
        }
    }
}

/// Which cluster, and as whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// A kubeconfig; `None` is the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
}

/// A right that an account has or has not.
#[derive(Clone, Copy, Debug)]
pub struct Right<'a> {
    /// What is done.
    pub verb: &'a str,
    /// To what, by its group; empty is the core's.
    pub group: &'a str,
    /// Its plural name.
    pub resource: &'a str,
    /// A part of it; empty is the whole.
    pub subresource: &'a str,
    /// Which one; empty is any.
    pub name: &'a str,
}

/// A connection to an API server.
#[derive(Clone)]
pub struct Client {
    runtime: Arc<tokio::runtime::Runtime>,
    client: kube::Client,
}

impl Client {
    /// Prepares to reach an API server; nothing is asked yet.
    ///
    /// # Errors
    /// If the kubeconfig or the pod's account cannot be read.
    pub fn open(access: &Access) -> Result<Self, ApiError> {
        // Whoever was first installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fail = |error: &dyn std::fmt::Display| ApiError::Unreachable(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| fail(&error))?;
        let mut config = runtime.block_on(configuration(access))?;
        // One group that answers 503 must not hang everything (`LIBRARIES.md`).
        config.default_retry = false;
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = None;
        let client = {
            let _inside = runtime.enter();
            kube::Client::try_from(config).map_err(ApiError::from)?
        };
        Ok(Self { runtime: Arc::new(runtime), client })
    }

    /// Returns the namespace of the kubeconfig's context, or the pod's own.
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Reads an object or a list.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send("GET", path, "", None)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send("POST", path, "application/json", Some(body))
    }

    /// Replaces an object; its `resourceVersion` is the precondition.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send("PUT", path, "application/json", Some(body))
    }

    /// Applies what we declare of an object, as our manager.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn apply(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let path = format!("{path}?fieldManager={MANAGER}&force=true");
        self.send("PATCH", &path, "application/apply-patch+yaml", Some(body))
    }

    /// Merges some fields into an object.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn merge(&self, path: &str, body: &Value, manager: &str) -> Result<Value, ApiError> {
        let path = format!("{path}?fieldManager={manager}");
        self.send("PATCH", &path, "application/merge-patch+json", Some(body))
    }

    /// Asks whether the account has a right, in a namespace or in all.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn may(&self, right: &Right<'_>, namespace: Option<&str>) -> Result<bool, ApiError> {
        let Right { verb, group, resource, subresource, name } = right;
        let asked = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name,
                "namespace": namespace.unwrap_or_default(),
            } },
        });
        let answer = self.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &asked)?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// Reads text, as a service behind the API server's proxy answers it.
    ///
    /// # Errors
    /// What was answered, or that nothing was.
    pub fn text(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<String, ApiError> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(bytes.into()).map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let (code, bytes) = self.answered(async {
            let answer = self.client.send(request).await?;
            let code = answer.status();
            Ok((code, answer.into_body().collect_bytes().await?))
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if code.is_success() {
            return Ok(text);
        }
        Err(ApiError::Refused { code: code.as_u16(), message: said(&text).unwrap_or_else(|| code.to_string()) })
    }

    /// Hears of changes until the server ends the watch or nobody wants it any longer; each is an object as it is then.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn watch(&self, path: &str, stopped: impl Fn() -> bool, mut hear: impl FnMut(Change)) -> Result<(), ApiError> {
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let events = self.answered(self.client.request_events::<Value>(request))?;
        self.runtime.block_on(async {
            let mut events = std::pin::pin!(events);
            while !stopped() {
                let Ok(next) = tokio::time::timeout(LOOK, events.try_next()).await else { continue };
                let Some(event) = next.map_err(ApiError::from)? else { break };
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => hear(Change::Is(object)),
                    WatchEvent::Deleted(object) => hear(Change::Gone(object)),
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(status) => {
                        return Err(ApiError::Refused { code: status.code, message: status.message });
                    }
                }
            }
            Ok(())
        })
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let headers: &[(&str, &str)] = if kind.is_empty() { &[] } else { &[("content-type", kind)] };
        let text = self.text(method, path, headers, body)?;
        serde_json::from_str(&text).map_err(|error| ApiError::Unreachable(format!("the answer is no JSON: {error}")))
    }

    fn answered<T>(&self, asked: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
        self.runtime.block_on(async {
            match tokio::time::timeout(TIMEOUT, asked).await {
                Ok(answer) => answer.map_err(ApiError::from),
                Err(_) => Err(ApiError::Unreachable(format!("no answer within {} s", TIMEOUT.as_secs()))),
            }
        })
    }
}

/// Finds what an answer says for people: the API server's `message`, or what a service behind its proxy calls `error`.
fn said(text: &str) -> Option<String> {
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned);
    };
    ["message", "error"].iter().find_map(|name| answer.get(name)?.as_str()).map(str::to_owned)
}

/// What a watch tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// An object is so now.
    Is(Value),
    /// An object is gone.
    Gone(Value),
}

async fn configuration(access: &Access) -> Result<kube::Config, ApiError> {
    let fail = |error: &dyn std::fmt::Display| ApiError::Unreachable(error.to_string());
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    match &access.kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path);
            let file = read.map_err(|error| fail(&format!("read {}: {error}", path.display())))?;
            let made = kube::Config::from_custom_kubeconfig(file, &options).await;
            made.map_err(|error| fail(&format!("use {}: {error}", path.display())))
        }
        None => kube::Config::incluster().map_err(|error| fail(&format!("find the pod's account: {error}"))),
    }
}
