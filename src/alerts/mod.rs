//! Sends alerts to webhooks: one signed POST each. When to try again, and how often, is the caller's: the queue is durable
//! and this is not.
//!
//! A receiver proves the sender as the freeze API does: `X-Holdfast-Signature` is `sha256=` and the hexadecimal HMAC-SHA256 of
//! `X-Holdfast-Timestamp`, a full stop, and the body. `X-Holdfast-Delivery` stays the same when an alert is sent again.

mod reach;
mod secret;

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::blocking::{Client, ClientBuilder, Response};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use sha2::Sha256;

use crate::config::{Event, Notify};

pub use reach::{Unreached, reach};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long all of it may take: a receiver that works answers at once, and the next alert waits behind this one.
const WHOLE: Duration = Duration::from_secs(15);

/// The longest wait that a receiver may ask for: an hour, so that none can silence alerts for good.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// One alert.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// Names it, the same at every attempt.
    pub id: &'a str,
    /// What it is about.
    pub event: Event,
    /// What it says, as JSON.
    pub json: &'a str,
}

/// Why an alert did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    /// No receiver of that address is configured any more; trying again is of no use.
    #[error("no alerts are configured for {0}")]
    Unknown(String),
    /// The secret cannot be read; nothing is sent unsigned instead.
    #[error("the secret {} cannot be read", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The receiver could not be reached, or did not answer in time.
    #[error("the receiver could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The receiver answered that it did not take it.
    #[error("the receiver answered {status}")]
    Refused {
        /// What it answered.
        status: StatusCode,
        /// How long it asks to be left alone, an hour at most.
        wait: Option<Duration>,
    },
}

/// Why no alerts can be sent at all.
#[derive(Debug, thiserror::Error)]
#[error("the client for alerts cannot be made")]
pub struct SetupError(#[source] reqwest::Error);

/// Sends alerts. Blocks; meant for a thread of its own, and not for a task of an asynchronous runtime.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    receivers: Vec<Notify>,
}

impl Sender {
    /// Makes a sender for the configured receivers.
    ///
    /// # Errors
    /// That no client can be made, such as without certificate authorities.
    pub fn new(receivers: &[Notify]) -> Result<Self, SetupError> {
        Self::with(receivers, Client::builder(), WHOLE)
    }

    fn with(receivers: &[Notify], client: ClientBuilder, whole: Duration) -> Result<Self, SetupError> {
        // Whoever installed one first is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client
            .connect_timeout(CONNECT)
            .timeout(whole)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            // An alert, and its signature, go where they were configured to go and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(SetupError)?;
        Ok(Self { client, receivers: receivers.to_vec() })
    }

    /// Returns the addresses that want alerts about an event, each once.
    pub fn receivers(&self, event: Event) -> Vec<&str> {
        let mut urls: Vec<&str> =
            self.receivers.iter().filter(|to| to.on.contains(&event)).map(|to| to.url.as_str()).collect();
        urls.sort_unstable();
        urls.dedup();
        urls
    }

    /// Sends an alert to one address, once.
    ///
    /// # Errors
    /// Why it did not arrive, as far as is known: after a time-out it may have.
    pub fn send(&self, url: &str, alert: &Alert<'_>, now: Timestamp) -> Result<(), AlertError> {
        let wants = |to: &&Notify| to.url == url && to.on.contains(&alert.event);
        let receiver = self.receivers.iter().find(wants).ok_or_else(|| AlertError::Unknown(url.to_owned()))?;
        let timestamp = now.as_second().to_string();
        let mut request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("x-holdfast-event", alert.event.as_str())
            .header("x-holdfast-delivery", alert.id)
            .header("x-holdfast-timestamp", &timestamp);
        if let Some(path) = &receiver.secret_file {
            let secret = secret::newest(path).map_err(|source| AlertError::Secret { path: path.clone(), source })?;
            request = request.header("x-holdfast-signature", sign(&secret, &timestamp, alert.json));
        }
        let response = request.body(alert.json.to_owned()).send();
        // The address may hold a token, and the error goes into the journal.
        let response = response.map_err(|error| AlertError::Unreachable(error.without_url()))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(AlertError::Refused { status: response.status(), wait: wait(&response) })
    }
}

/// Signs a text as a receiver checks it.
fn sign(secret: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    for part in [timestamp, ".", body] {
        mac.update(part.as_bytes());
    }
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Reads how long the receiver asks to be left alone, in seconds.
fn wait(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
