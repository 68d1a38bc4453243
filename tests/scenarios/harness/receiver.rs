//! A receiver of alerts: a real HTTP server that keeps what it is sent.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

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

/// Receives alerts until the process ends.
pub struct Receiver {
    kept: Arc<Mutex<Vec<Alert>>>,
}

impl Receiver {
    /// Listens on a port of the loopback.
    pub fn listen(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
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
        Self { kept }
    }

    /// Returns what arrived so far.
    pub fn alerts(&self) -> Vec<Alert> {
        self.kept.lock().expect("nobody panics with it").clone()
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
