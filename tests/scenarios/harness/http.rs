//! Just enough HTTP to talk to the controller.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Where to look for a port next.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Returns a port of the loopback that nobody listened on a moment ago, and that no other test is given.
///
/// From below those that the system gives to connections: one of them could be gone before it is listened on.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const MANY: u16 = 20_000;
    // Another run of the tests at the same time begins elsewhere.
    let begin = u16::try_from(std::process::id() * 101 % u32::from(MANY)).expect("it is below a number of 16 bits");
    let mut tried = (0..MANY).map(|_| FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % MANY);
    tried.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

/// Sends one request; `None` if nobody answers.
pub fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).ok()?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    // A server that refuses before it has read everything may close its side early: what it said still counts.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Some(Answer { status, body })
}

/// Returns the hexadecimal HMAC-SHA256 of a text.
pub fn hmac(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Delivers a push as GitHub does.
pub fn github_push(port: u16, secret: &str, delivery: &str, body: &str) -> Option<Answer> {
    let signature = format!("sha256={}", hmac(secret, body));
    let headers = [
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", delivery),
        ("X-Hub-Signature-256", &signature),
    ];
    request(port, "POST", "/hooks/github", &headers, body)
}
