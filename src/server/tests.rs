//! Through a real socket, with requests written by hand: what a stranger can send is what is tested.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::core::hosting::Named;

mod hooks;

/// A small controller: it remembers what it was asked.
struct Fake {
    now: Timestamp,
    ready: Result<(), String>,
    asked: Mutex<Vec<String>>,
    deliveries: Mutex<BTreeSet<String>>,
}

impl Fake {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Backend for Fake {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn ready(&self) -> Result<(), String> {
        self.ready.clone()
    }

    fn read(&self, view: View, query: &Query) -> Result<Value, Refusal> {
        match query.application.as_deref() {
            Some("panic") => panic!("as asked"),
            Some(name) if name != "web" => Err(Refusal::NotFound(format!("there is no application {name}"))),
            _ => Ok(
                json!({"view": format!("{view:?}"), "last": query.last, "applications": [{"name": "web"}], "history": []}),
            ),
        }
    }

    fn metrics(&self) -> Result<String, Refusal> {
        Ok("holdfast_latch{application=\"web\",latch=\"PLAN\"} 1\n# EOF\n".to_owned())
    }

    fn freeze(&self, request: &FreezeRequest, by: &Caller) -> Result<Value, Refusal> {
        self.note(format!(
            "freeze {:?} {} by {}",
            request.applications,
            request.reason.as_deref().unwrap_or("-"),
            by.name()
        ));
        Ok(json!({"frozen": request.applications}))
    }

    fn thaw(&self, request: &ThawRequest, by: &Caller) -> Result<Value, Refusal> {
        self.note(format!("thaw {:?} all={} by {}", request.applications, request.all, by.name()));
        Ok(json!({"thawed": true}))
    }

    fn approve(&self, request: &ApproveRequest, by: &Caller) -> Result<Value, Refusal> {
        match by {
            Caller::Principal(name) => {
                self.note(format!("approve {} {} by {name}", request.application, request.digest.short()));
                Ok(json!({"approved": true}))
            }
            Caller::Operator | Caller::FreezeSecret => Err(Refusal::Forbidden("not a listed approver".to_owned())),
        }
    }

    fn wake(&self) {
        self.note("wake".to_owned());
    }

    fn wake_for(&self, repository: &Named) -> usize {
        self.note(format!("wake {}", repository.path.as_deref().unwrap_or("all")));
        1
    }

    fn delivery_seen(&self, id: &str) -> Result<bool, Refusal> {
        if id == "github:broken" {
            return Err(Refusal::Unavailable("the disk is full".to_owned()));
        }
        Ok(!self.deliveries.lock().unwrap().insert(id.to_owned()))
    }
}

/// A server on a free port, with its secrets in files.
struct World {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    server: Option<Server>,
    address: SocketAddr,
}

const NOW: i64 = 1_800_000_000;

impl World {
    fn new() -> Self {
        Self::within(Bounds::default(), Limits::default(), Ok(()))
    }

    fn within(bounds: Bounds, limits: Limits, ready: Result<(), String>) -> Self {
        Self::on("127.0.0.1:0", bounds, limits, ready)
    }

    fn on(listen: &str, bounds: Bounds, limits: Limits, ready: Result<(), String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> Option<PathBuf> {
            std::fs::write(dir.path().join(name), text).unwrap();
            Some(dir.path().join(name))
        };
        let webhooks = Webhooks { github: file("github", "hub\n"), gitlab: file("gitlab", "lab\n"), gitea: None };
        let api = Api {
            token_file: file("token", "operator\nbob@acme.example bobs\n"),
            freeze_secret_file: file("freeze", "pager\n"),
        };
        let now = Timestamp::from_second(NOW).unwrap();
        let fake = Arc::new(Fake { now, ready, asked: Mutex::default(), deliveries: Mutex::default() });
        let listen = listen.parse().unwrap();
        let server = Server::start_within(listen, &webhooks, &api, fake.clone(), bounds, limits).unwrap();
        let address = server.address();
        Self { dir, fake, server: Some(server), address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // Longer than any answer of a test takes, and shorter than the usual bounds: only so that a hang fails.
        stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that refuses early may close before everything is sent; what it said counts.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "the server left the connection open");
        }
        Answer::parse(&answer)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = if headers.iter().any(|(name, _)| *name == "Host") { "" } else { "Host: localhost\r\n" };
        let mut head =
            format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        self.raw(format!("{head}\r\n{body}").as_bytes())
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    fn push(&self, secret: &str, id: &str, body: &str) -> Answer {
        let signature = format!("sha256={}", hmac(secret, body));
        let headers = [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", id), ("X-Hub-Signature-256", &signature)];
        self.ask("POST", "/hooks/github", &headers, body)
    }

    fn freeze(&self, secret: &str, at: i64, body: &str) -> Answer {
        let signature = format!("sha256={}", hmac(secret, &format!("{at}.{body}")));
        let at = at.to_string();
        self.ask("POST", "/api/v1/freeze", &[("X-Holdfast-Timestamp", &at), ("X-Holdfast-Signature", &signature)], body)
    }

    /// Takes what the controller was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.fake.asked.lock().unwrap())
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

fn hmac(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

const OPERATOR: (&str, &str) = ("Authorization", "Bearer operator");

#[test]
fn what_reads_is_open_on_this_machine() {
    let world = World::new();
    assert_eq!(world.get("/healthz").status, 200);
    assert_eq!(world.get("/readyz").status, 200);
    for view in ["status", "drift", "plan", "history"] {
        let answer = world.get(&format!("/api/v1/{view}?application=web&last=5"));
        assert_eq!((answer.status, answer.json()["last"].as_u64()), (200, Some(5)), "{view}");
        assert_eq!(answer.json()["view"].as_str().unwrap().to_lowercase(), view);
    }
    let metrics = world.get("/metrics");
    assert!(metrics.status == 200 && metrics.body.ends_with("# EOF\n"), "{}", metrics.body);
    assert!(metrics.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", metrics.head);
    for page in ["/", "/applications/web", "/style.css"] {
        let answer = world.get(page);
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
    }
    let missing = world.get("/api/v1/status?application=db");
    assert_eq!((missing.status, missing.json()["error"].as_str()), (404, Some("there is no application db")));
    assert_eq!(world.get("/applications/db").status, 404);
    assert_eq!(world.get("/api/v1/history?last=many").status, 400);
    assert_eq!(world.get("/nothing/here").json()["error"], "not found");
    assert_eq!(world.ask("POST", "/api/v1/status", &[], "").status, 405);
    assert_eq!(world.get("/api/v1/freeze").status, 405);
}

#[test]
fn what_reads_needs_the_token_under_another_name_or_behind_a_proxy() {
    let world = World::new();
    for headers in [vec![("Host", "evil.example")], vec![("X-Forwarded-For", "192.0.2.1")]] {
        for path in ["/", "/applications/web", "/metrics", "/api/v1/status"] {
            let answer = world.ask("GET", path, &headers, "");
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            assert!(answer.head.contains("www-authenticate: bearer, basic"), "{}", answer.head);
            let with: Vec<_> = headers.iter().copied().chain([OPERATOR]).collect();
            assert_eq!(world.ask("GET", path, &with, "").status, 200, "{path}");
        }
        assert_eq!(world.ask("GET", "/healthz", &headers, "").status, 200);
        assert_eq!(world.ask("GET", "/readyz", &headers, "").status, 200);
    }
}

#[test]
fn why_it_is_not_ready_is_told_to_who_may_read() {
    let world = World::within(Bounds::default(), Limits::default(), Err("web was not observed yet".to_owned()));
    let here = world.get("/readyz");
    assert_eq!((here.status, here.json()["reason"].as_str()), (503, Some("web was not observed yet")));
    let elsewhere = world.ask("GET", "/readyz", &[("Host", "evil.example")], "");
    assert_eq!((elsewhere.status, elsewhere.json()["reason"].as_str()), (503, Some("not ready")));
}

#[test]
fn the_freeze_secret_freezes_once_per_signature() {
    let world = World::new();
    let body = "{\"applications\":[\"web\"],\"reason\":\"pager\",\"owner\":\"carol\"}";
    for (secret, at) in [("wrong", NOW), ("pager", NOW - 301), ("pager", NOW + 301), ("pager", -1)] {
        let answer = world.freeze(secret, at, body);
        assert_eq!((answer.status, answer.body.as_str()), (401, "{\"error\":\"refused\"}"), "{secret} {at}");
    }
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.freeze("pager", NOW - 300, body).json()["frozen"], json!(["web"]));
    assert_eq!(world.asked(), ["freeze [\"web\"] pager by webhook", "wake"]);
    assert_eq!(world.freeze("pager", NOW - 300, body).status, 409, "a replay");
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.freeze("pager", NOW - 299, body).status, 200, "signed anew");
    // The digits' case is no other signature.
    let at = (NOW - 300).to_string();
    let upper = format!("sha256={}", hmac("pager", &format!("{at}.{body}")).to_uppercase());
    let headers = [("X-Holdfast-Timestamp", at.as_str()), ("X-Holdfast-Signature", upper.as_str())];
    assert_eq!(world.ask("POST", "/api/v1/freeze", &headers, body).status, 409);
    world.asked();
    for path in ["/api/v1/thaw", "/api/v1/approve"] {
        assert_eq!(world.ask("POST", path, &headers, body).status, 401, "{path}");
    }
    assert_eq!(world.ask("POST", "/api/v1/thaw", &[("Authorization", "Bearer pager")], "{\"all\":true}").status, 401);
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn writing_needs_a_token_even_here() {
    let world = World::new();
    for path in ["freeze", "thaw", "approve"] {
        let path = format!("/api/v1/{path}");
        assert_eq!(world.ask("POST", &path, &[], "{}").status, 401, "{path}");
        assert_eq!(world.ask("POST", &path, &[("Authorization", "Bearer operator2")], "{}").status, 401, "{path}");
        // A browser sends a remembered password along with what another page asks for: `x:operator`.
        assert_eq!(
            world.ask("POST", &path, &[("Authorization", "Basic eDpvcGVyYXRvcg==")], "{}").status,
            401,
            "{path}"
        );
    }
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.ask("POST", "/api/v1/freeze", &[OPERATOR], "").status, 200, "nothing said is everything");
    assert_eq!(world.ask("POST", "/api/v1/thaw", &[OPERATOR], "{\"applications\":[\"web\"]}").status, 200);
    assert_eq!(world.ask("POST", "/api/v1/thaw", &[OPERATOR], "{\"all\":true,\"reason\":\"over\"}").status, 200);
    assert_eq!(
        world.asked(),
        ["freeze [] - by api", "wake", "thaw [\"web\"] all=false by api", "wake", "thaw [] all=true by api", "wake"]
    );
}

#[test]
fn an_approval_is_by_whom_the_token_was_given_to() {
    let world = World::new();
    let body = format!("{{\"application\":\"web\",\"digest\":\"sha256:{}\"}}", "5d".repeat(32));
    assert_eq!(world.ask("POST", "/api/v1/approve", &[OPERATOR], &body).status, 403);
    assert_eq!(world.asked(), Vec::<String>::new());
    assert_eq!(world.ask("POST", "/api/v1/approve", &[("Authorization", "Bearer bobs")], &body).status, 200);
    assert_eq!(world.asked(), ["approve web 5d5d5d5d5d5d by bob@acme.example", "wake"]);
}

#[test]
fn requests_that_make_no_sense_change_nothing() {
    let world = World::new();
    for (path, body, says) in [
        ("freeze", "{\"aplications\":[\"web\"]}", "unknown field `aplications`"),
        ("freeze", "{\"until\":\"2020-01-01T00:00:00Z\"}", "already past"),
        ("freeze", "{\"until\":\"2030-01-01T00:00:00\"}", "the body is not as it should be"),
        ("freeze", "[1]", "the body is not as it should be"),
        ("freeze", "{", "the body is not as it should be"),
        ("thaw", "{}", "name the applications to thaw"),
        ("thaw", "{\"applications\":[\"web\"],\"all\":true}", "not both"),
        ("approve", "{\"application\":\"web\"}", "missing field `digest`"),
        ("approve", "{\"application\":\"web\",\"digest\":\"5d\"}", "not a digest"),
    ] {
        let answer = world.ask("POST", &format!("/api/v1/{path}"), &[OPERATOR], body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{body}: {}", answer.body);
    }
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn a_request_that_fails_inside_takes_nothing_else_along() {
    let world = World::new();
    for _ in 0..READS * 2 {
        assert_eq!(world.get("/api/v1/status?application=panic").status, 503);
    }
    assert_eq!(world.get("/api/v1/status").status, 200);
}

#[test]
fn bodies_are_bounded() {
    let world = World::new();
    let of = |length: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(length - 8));
    assert_eq!(world.push("hub", "large", &of(body::DELIVERY + 1)).status, 413);
    assert_eq!(world.push("hub", "fits", &of(body::DELIVERY)).status, 202);
    // The length is believed before a byte is read, and need not be said.
    let head =
        "POST /api/v1/freeze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer operator\r\nConnection: close\r\n";
    assert_eq!(world.raw(format!("{head}Content-Length: 999999999999\r\n\r\n").as_bytes()).status, 413);
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", body::API + 1, "x".repeat(body::API + 1));
    assert_eq!(world.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes()).status, 413);
    assert_eq!(world.asked(), ["wake all"]);
}

#[test]
fn heads_are_bounded() {
    let world = World::new();
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(world.raw(long.as_bytes()).status, 431);
    let many: String = (0..500).map(|at| format!("X-{at}: x\r\n")).collect();
    assert_eq!(world.raw(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).status, 431);
    assert_eq!(world.raw(b"nonsense\r\n\r\n").status, 400);
    assert_eq!(world.get("/healthz").status, 200);
}

fn short() -> Bounds {
    let soon = Duration::from_millis(100);
    Bounds { headers: soon, body: soon, ..Bounds::default() }
}

#[test]
fn who_is_slow_is_let_go() {
    let world = World::within(short(), Limits::default(), Ok(()));
    // Half a head, and a head without its body: `raw` returns because the server closes.
    let head = world.raw(b"GET /healthz HTTP/1.1\r\nHost: loc");
    assert!(head.status == 0 || head.status == 408, "{}", head.status);
    let post = "POST /api/v1/freeze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer operator\r\nContent-Length: 9\r\n\r\n{";
    assert_eq!(world.raw(post.as_bytes()).status, 408);
    assert_eq!(world.raw(b"").status, 0);
    assert_eq!(world.asked(), Vec::<String>::new());
}

#[test]
fn a_connection_ends_though_it_is_used() {
    let bounds = Bounds { connection: Duration::from_millis(100), ..Bounds::default() };
    let world = World::within(bounds, Limits::default(), Ok(()));
    // Kept alive by the client, closed by the server.
    let answer = world.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.status, 200);
}

#[test]
fn one_source_gets_so_many_requests_and_connections() {
    let world = World::within(Bounds::default(), Limits::new(NonZeroU32::MIN, 2), Ok(()));
    let statuses: Vec<u16> = (0..20).map(|_| world.get("/healthz").status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    let world = World::within(Bounds::default(), Limits::new(NonZeroU32::MAX, 2), Ok(()));
    let mut held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = world.connect();
            // Answered, so it counts.
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream
        })
        .collect();
    assert_eq!(world.get("/healthz").status, 0, "closed without an answer");
    let stream = held.pop().unwrap();
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    // The server sees the end when it gets to it.
    while world.get("/healthz").status != 200 {
        std::thread::yield_now();
    }
}

#[test]
fn stopping_ends_what_is_idle_and_frees_the_port() {
    // On an address of its own: another test's server may be given the port that becomes free.
    let mut world = World::on("127.0.0.77:0", Bounds::default(), Limits::default(), Ok(()));
    let mut idle = world.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    world.server.take().unwrap().stop();
    assert_eq!(idle.read(&mut [0; 1024]).unwrap_or(0), 0, "the connection was closed");
    assert!(TcpStream::connect(world.address).is_err());
}

#[test]
fn an_address_in_use_is_an_error() {
    let world = World::new();
    let taken = Server::start(world.address, &Webhooks::default(), &Api::default(), world.fake.clone());
    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn without_secrets_nothing_but_reading_here_works() {
    let now = Timestamp::from_second(NOW).unwrap();
    let fake = Arc::new(Fake { now, ready: Ok(()), asked: Mutex::default(), deliveries: Mutex::default() });
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(listen, &Webhooks::default(), &Api::default(), fake.clone()).unwrap();
    let world = World { dir: tempfile::tempdir().unwrap(), fake, address: server.address(), server: Some(server) };
    assert_eq!(world.get("/").status, 200);
    assert_eq!(world.ask("GET", "/", &[("Host", "evil.example")], "").status, 403);
    assert_eq!(world.freeze("", NOW, "").status, 401);
    assert_eq!(world.ask("POST", "/api/v1/freeze", &[OPERATOR], "").status, 403);
    assert_eq!(world.push("", "id", "{}").status, 404);
    assert_eq!(world.asked(), Vec::<String>::new());
}
