//! One request and its answer: credentials, limits, time-outs, the size of an answer, and what an answer's status means.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, IF_NONE_MATCH, LOCATION};
use http::{HeaderValue, Method};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::ask::{Answer, Ask};
use super::credential::Redacted;
use super::error::{ForgeError, SetupError};
use super::gate::Gate;
use crate::clock::MachineClock;

/// 16 MiB: a hundred pull requests with everything that a service tells about them are four.
const LARGEST: usize = 16 << 20;

/// How much of what a service says goes into a message.
const MESSAGE: usize = 300;

/// How a service is reached; the default is the process's own: `HTTPS_PROXY` and its like, the system's authorities.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    /// A proxy's address.
    pub proxy: Option<String>,
    /// Certificate authorities (PEM) trusted besides the system's.
    pub ca: Option<Arc<[u8]>>,
}

/// How long things may take, and how far apart they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) connect: Duration,
    /// One request with its answer.
    pub(super) whole: Duration,
    /// Between requests that write.
    pub(super) between: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        // A service that works answers within seconds, and whoever waits for it is a queue and not a person.
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(20), between: Duration::ZERO }
    }
}

/// Makes a client of HTTP.
pub(super) fn http(url: &str, network: &Network, pace: Pace) -> Result<reqwest::Client, SetupError> {
    // Whoever installed one first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fail = |error: reqwest::Error| SetupError::Client { url: url.to_owned(), why: error.without_url().to_string() };
    let mut client = reqwest::Client::builder()
        .connect_timeout(pace.connect)
        .timeout(pace.whole)
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        // The credentials go where they were configured to go and nowhere else.
        .redirect(reqwest::redirect::Policy::none());
    if let Some(proxy) = &network.proxy {
        client = client.proxy(reqwest::Proxy::all(proxy).map_err(fail)?);
    }
    if let Some(ca) = &network.ca {
        client = client.tls_certs_merge(reqwest::Certificate::from_pem_bundle(ca).map_err(fail)?);
    }
    client.build().map_err(fail)
}

/// An exchange that did not come to an answer.
#[derive(Debug)]
pub(super) struct Broken {
    /// Whether anything may have arrived.
    pub(super) sent: bool,
    /// Whether an answer came that is too large to be read.
    pub(super) large: bool,
    pub(super) message: String,
}

impl Broken {
    /// Reads what is known of a failure, wherever in a chain of errors the client's own is.
    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = at {
            if error.is::<LengthLimitError>() {
                return Self { sent: true, large: true, message: "an answer of more than 16 MiB".to_owned() };
            }
            if let Some(error) = error.downcast_ref::<reqwest::Error>() {
                let sent = !error.is_connect() && !error.is_builder();
                let message = if error.is_timeout() { "no answer in time".to_owned() } else { causes(error) };
                return Self { sent, large: false, message };
            }
            at = error.source();
        }
        Self { sent: true, large: false, message: error.to_string().lines().next().unwrap_or_default().to_owned() }
    }
}

/// Spells the causes of an error, without its own text, which holds the address.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = if text.is_empty() { cause_text } else { format!("{text}: {cause_text}") };
        }
        source = cause.source();
    }
    if text.is_empty() { "the connection broke off".to_owned() } else { text }
}

/// Who carries a request.
#[derive(Debug)]
pub(super) enum Carrier {
    /// We do; this word stands before the token.
    Plain {
        /// The client.
        client: reqwest::Client,
        /// The API's base, without a slash at its end.
        base: String,
        /// The scheme of the header.
        scheme: &'static str,
    },
    /// octocrab does.
    Octocrab(octocrab::Octocrab),
}

/// As whom a request is sent.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) secret: Redacted,
    /// Whose limits count.
    pub(super) account: String,
}

/// The way to one service.
#[derive(Debug)]
pub(super) struct Wire {
    carrier: Carrier,
    gate: Gate,
    pace: Pace,
    wrote: tokio::sync::Mutex<Option<Instant>>,
}

impl Wire {
    pub(super) fn new(carrier: Carrier, pace: Pace) -> Self {
        Self { carrier, gate: Gate::default(), pace, wrote: tokio::sync::Mutex::default() }
    }

    /// Sends a request once, unless the service wants to be left alone.
    pub(super) async fn send(&self, identity: &Identity, ask: &Ask) -> Result<Answer, ForgeError> {
        self.gate.pass(&identity.account, MachineClock::wall())?;
        if ask.method != Method::GET {
            self.keep_apart().await;
        }
        let raw = match self.exchange(identity, ask).await {
            Ok(raw) => raw,
            Err(Broken { sent, large, message }) => {
                let message = identity.secret.scrub(&message);
                return Err(if sent && ask.once {
                    ForgeError::Unknown { message }
                } else if large {
                    ForgeError::unexpected(message)
                } else {
                    ForgeError::Unreachable { message }
                });
            }
        };
        let said = said(&raw, &identity.secret);
        let until = self.gate.heard(&identity.account, raw.status, &raw.headers, &said, MachineClock::wall());
        tracing::debug!(method = %ask.method, path = %ask.path, status = raw.status, "asked a hosting service");
        match until {
            Some(until) => Err(ForgeError::RateLimited { until }),
            None => judge(raw, ask, said),
        }
    }

    /// Waits until the last request that wrote is long enough ago: services count those that come at once against us.
    async fn keep_apart(&self) {
        let mut wrote = self.wrote.lock().await;
        if let Some(last) = *wrote {
            tokio::time::sleep_until(last + self.pace.between).await;
        }
        *wrote = Some(Instant::now());
    }

    async fn exchange(&self, identity: &Identity, ask: &Ask) -> Result<Answer, Broken> {
        match &self.carrier {
            Carrier::Plain { client, base, scheme } => {
                let mut request = client.request(ask.method.clone(), format!("{base}{}", ask.path));
                request = request.header(AUTHORIZATION, authorization(scheme, &identity.secret)?);
                request = request.header(ACCEPT, "application/json");
                if let Some(etag) = &ask.etag {
                    request = request.header(IF_NONE_MATCH, etag);
                }
                if let Some(body) = &ask.body {
                    request = request.json(body);
                }
                let answer = request.send().await.map_err(|error| Broken::of(&error))?;
                let (parts, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
                read(parts, body).await
            }
            Carrier::Octocrab(octocrab) => {
                let mut request = http::Request::builder().method(ask.method.clone()).uri(&ask.path);
                request = request.header(AUTHORIZATION, authorization("Bearer", &identity.secret)?);
                request = request.header(ACCEPT, "application/vnd.github+json, application/json;q=0.9");
                if let Some(etag) = &ask.etag {
                    request = request.header(IF_NONE_MATCH, etag);
                }
                let request = octocrab.build_request(request, ask.body.as_ref()).map_err(|error| Broken::of(&error))?;
                // It would log as an error whatever is not answered well; whoever asked does that, and knows what it means.
                let quiet = octocrab.execute(request).with_subscriber(NoSubscriber::default());
                let answer = quiet.await.map_err(|error| Broken::of(&error))?;
                let (parts, body) = answer.into_parts();
                read(parts, body).await
            }
        }
    }
}

fn authorization(scheme: &str, secret: &Redacted) -> Result<HeaderValue, Broken> {
    let value = HeaderValue::from_str(&format!("{scheme} {}", secret.expose()));
    let mut value =
        value.map_err(|_| Broken { sent: false, large: false, message: "the token is no header".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer whole, unless it is too large.
async fn read<B>(parts: http::response::Parts, body: B) -> Result<Answer, Broken>
where
    B: http_body_util::BodyExt,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, LARGEST).collect().await;
    let body = read.map_err(|error| Broken::of(&*error))?.to_bytes().to_vec();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// Says what an answer means.
fn judge(raw: Answer, ask: &Ask, message: String) -> Result<Answer, ForgeError> {
    Err(match raw.status {
        304 if ask.etag.is_some() => return Ok(raw),
        200..=299 => return Ok(raw),
        300..=399 => {
            let to = raw.text(LOCATION.as_str()).and_then(|to| to.split('?').next()).unwrap_or("elsewhere");
            ForgeError::Rejected { status: raw.status, message: format!("it moved to {}", clip(to)) }
        }
        401 => ForgeError::Unauthorized { message },
        403 => ForgeError::Forbidden {
            message: needs(&raw).map_or(message.clone(), |needs| format!("{message} ({needs})")),
        },
        404 | 410 => ForgeError::NotFound { what: ask.what.clone() },
        500.. => {
            let message = format!("it answered {}: {message}", raw.status);
            if ask.once { ForgeError::Unknown { message } } else { ForgeError::Unreachable { message } }
        }
        status => ForgeError::Rejected { status, message },
    })
}

/// GitHub says by headers which rights would do.
fn needs(raw: &Answer) -> Option<String> {
    let fine = raw.text("x-accepted-github-permissions").filter(|text| !text.is_empty());
    let classic = raw.text("x-accepted-oauth-scopes").filter(|text| !text.is_empty());
    Some(format!("it takes {}", clip(fine.or(classic)?)))
}

/// Returns what an answer that is no good one says, without our secret, and short.
fn said(raw: &Answer, secret: &Redacted) -> String {
    if raw.status < 400 {
        return String::new();
    }
    let body: Value = serde_json::from_slice(&raw.body).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let mut said = ["message", "error_description", "error"].iter().find_map(|name| text(body.get(name)?));
    if let (Some(said), Some(errors)) = (&mut said, body.get("errors").and_then(text)) {
        said.push_str(": ");
        said.push_str(&errors);
    }
    let status = http::StatusCode::from_u16(raw.status).ok().and_then(|status| status.canonical_reason());
    clip(&secret.scrub(&said.unwrap_or_else(|| status.unwrap_or_default().to_lowercase())))
}

/// Makes a text that a service wrote fit for one line of a log.
fn clip(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE).collect();
    clean.trim().to_owned()
}
