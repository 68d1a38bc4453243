//! Against a real socket that answers what it is told.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// Answers one request, and returns it; says nothing if `answer` is empty, until the sender gives up.
fn receiver(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?token=hunter2", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !complete(&request) {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the request broke off");
            request.extend_from_slice(&buffer[..read]);
        }
        if answer.is_empty() {
            let _ = stream.read(&mut buffer);
        } else {
            stream.write_all(answer.as_bytes()).unwrap();
        }
        String::from_utf8(request).unwrap()
    });
    (url, thread)
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() >= length.parse::<usize>().unwrap()
}

fn sender(url: &str, secret_file: Option<PathBuf>, whole: Duration) -> Sender {
    let receivers = [Notify { url: url.to_owned(), secret_file, on: vec![Event::Halt] }];
    Sender::with(&receivers, Client::builder().no_proxy(), whole).unwrap()
}

const ALERT: Alert<'static> = Alert { id: "web-plan-1", event: Event::Halt, json: "{\"application\":\"web\"}" };

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

#[test]
fn an_alert_arrives_signed() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "\nnew\nold\n").unwrap();
    let (url, thread) = receiver("HTTP/1.1 204 No Content\r\n\r\n");
    sender(&url, Some(secret), WHOLE).send(&url, &ALERT, now()).unwrap();
    let request = thread.join().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, ALERT.json);
    assert!(head.starts_with("POST /hook?token=hunter2 HTTP/1.1"), "{head}");
    // As `printf '%s' '1800000000.{"application":"web"}' | openssl dgst -sha256 -hmac new` has it.
    let signature = "x-holdfast-signature: sha256=cd679f739d0860c842fd3d9099c9a79219ae96fe0a9bd0eb9fcdcbb63fcf3f3d";
    for line in [
        "content-type: application/json",
        "x-holdfast-event: halt",
        "x-holdfast-delivery: web-plan-1",
        "x-holdfast-timestamp: 1800000000",
        signature,
    ] {
        assert!(head.lines().any(|known| known == line), "{line} is missing:\n{head}");
    }
}

#[test]
fn a_refusal_says_how_long_to_wait() {
    for (answer, code, seconds) in [
        ("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 429, Some(7)),
        ("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 999999\r\nContent-Length: 0\r\n\r\n", 503, Some(3600)),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, None),
        // Not followed: a signed alert goes where it was meant to go.
        ("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", 307, None),
    ] {
        let (url, thread) = receiver(answer);
        let error = sender(&url, None, WHOLE).send(&url, &ALERT, now()).unwrap_err();
        let AlertError::Refused { status, wait } = error else { panic!("{error:?}") };
        assert_eq!((status.as_u16(), wait), (code, seconds.map(Duration::from_secs)));
        assert!(!thread.join().unwrap().contains("x-holdfast-signature"), "nothing signs without a secret");
    }
}

#[test]
fn who_does_not_answer_is_given_up_without_telling_the_address() {
    let (url, thread) = receiver("");
    let error = sender(&url, None, Duration::from_millis(200)).send(&url, &ALERT, now()).unwrap_err();
    thread.join().unwrap();
    assert!(matches!(error, AlertError::Unreachable(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "the address may hold a token");
}

#[test]
fn nothing_is_sent_unsigned_or_to_whom_it_is_not_configured_for() {
    let url = "http://192.0.2.1/";
    let missing = PathBuf::from("/nonexistent/secret");
    let sender = sender(url, Some(missing), WHOLE);
    assert!(matches!(sender.send(url, &ALERT, now()), Err(AlertError::Secret { .. })));
    let failing = Alert { event: Event::Failing, ..ALERT };
    assert!(matches!(sender.send(url, &failing, now()), Err(AlertError::Unknown(_))));
    assert!(matches!(sender.send("http://192.0.2.2/", &ALERT, now()), Err(AlertError::Unknown(_))));
    assert_eq!((sender.receivers(Event::Halt), sender.receivers(Event::Freeze)), (vec![url], vec![]));
}
