//! A receiver of alerts: a real HTTP server that keeps what it is sent.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One alert as it arrived.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it was.
    pub body: String,
}

impl Alert {
    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Tells whether it is of this subject and state.
    pub fn is(&self, subject: &str, state: &str) -> bool {
        let json = self.json();
        json["subject"] == subject && json["state"] == state
    }
}

/// How long an alert may take on a busy machine; never reached when all is well.
const DEADLINE: Duration = Duration::from_secs(60);

/// Receives alerts until it goes out of scope.
pub struct Receiver {
    /// Where it listens.
    pub port: u16,
    kept: Arc<Mutex<Vec<Alert>>>,
    ended: Arc<AtomicBool>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Whoever waits for the next one is woken.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Receiver {
    /// Listens on some port of the loopback.
    pub fn new() -> Self {
        Self::listen(0)
    }

    /// Listens on a port of the loopback.
    pub fn listen(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let port = listener.local_addr().expect("it listens").port();
        let (kept, ended): (Arc<Mutex<Vec<Alert>>>, Arc<AtomicBool>) = Default::default();
        let (keep, end) = (kept.clone(), ended.clone());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                let alert = loop {
                    match stream.read(&mut buffer) {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => break None,
                    }
                    if let Some(alert) = whole(&request) {
                        break Some(alert);
                    }
                };
                if let Some(alert) = alert {
                    keep.lock().expect("nobody panics with it").push(alert);
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                }
            }
        });
        Self { port, kept, ended }
    }

    /// Returns what arrived so far.
    pub fn alerts(&self) -> Vec<Alert> {
        self.kept.lock().expect("nobody panics with it").clone()
    }

    /// Forgets what arrived so far.
    pub fn forget(&self) {
        self.kept.lock().expect("nobody panics with it").clear();
    }

    /// Returns what an application's receivers heard last of a subject.
    pub fn last(&self, app: &str, subject: &str) -> Option<Value> {
        let told = self.alerts().into_iter().rev().map(|alert| alert.json());
        told.into_iter().find(|told| told["application"] == app && told["subject"] == subject)
    }

    /// Waits until what was heard last of a subject is as wanted; otherwise returns it after a while. A controller that runs
    /// beside the test tells in its own time.
    pub fn until_last(
        &self,
        app: &str,
        subject: &str,
        patient: bool,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(), Option<Value>> {
        let begun = Instant::now();
        loop {
            let last = self.last(app, subject);
            if wanted(last.as_ref()) {
                return Ok(());
            }
            if !patient || begun.elapsed() > DEADLINE {
                return Err(last);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Returns what arrived of this subject and state.
    pub fn of(&self, subject: &str, state: &str) -> Vec<Alert> {
        self.alerts().into_iter().filter(|alert| alert.is(subject, state)).collect()
    }
}

fn whole(request: &[u8]) -> Option<Alert> {
    let text = String::from_utf8_lossy(request);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: BTreeMap<String, String> = head.lines().skip(1).filter_map(header).collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    (body.len() >= length).then(|| Alert { headers, body: body.to_owned() })
}
