//! Stands between holdfast and an API server, hands on what both say, and fails where a test tells it to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::apiserver;
use super::http::free_port;

/// What becomes of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is handed on.
    Passes,
    /// It is handed on with another path.
    As(String),
    /// It is answered with this code, and not handed on.
    Fails(u16),
    /// It is handed on with this path, and the connection ends in the middle of the answer.
    CutAs(String),
}

/// Decides by method and path.
type Decide = Box<dyn FnMut(&str, &str) -> Fate + Send>;

/// A relay; it ends with the test process.
pub struct Relay {
    port: u16,
    decide: Arc<Mutex<Decide>>,
    watches: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    /// Begins to hand on to the server that listens at `url`.
    pub fn to(url: &str) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let http = reqwest::blocking::Client::builder()
            .danger_accept_invalid_certs(true)
            .no_proxy()
            .timeout(None)
            // A connection to a server that was stopped meanwhile is no good any more.
            .pool_max_idle_per_host(0);
        let http = http.build().expect("the client is made");
        let decide: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(|_, _| Fate::Passes)));
        let watches: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (deciding, watching, url) = (decide.clone(), watches.clone(), url.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hand =
                    Hand { http: http.clone(), url: url.clone(), decide: deciding.clone(), watches: watching.clone() };
                // Whoever asked may be gone: there is nobody to tell.
                std::thread::spawn(move || hand.on(stream));
            }
        });
        Self { port, decide, watches }
    }

    /// Has the relay decide so from now on.
    pub fn decide(&self, decide: impl FnMut(&str, &str) -> Fate + Send + 'static) {
        *self.decide.lock().expect("no decision fails") = Box::new(decide);
    }

    /// Returns how many watches were begun since they were last cut.
    pub fn watches(&self) -> usize {
        self.watches.lock().expect("nothing failed with it").len()
    }

    /// Ends every watch that is open; returns how many were.
    pub fn cut_watches(&self) -> usize {
        let watches = std::mem::take(&mut *self.watches.lock().expect("nothing failed with it"));
        watches.iter().filter(|watch| watch.shutdown(Shutdown::Both).is_ok()).count()
    }

    /// Writes the kubeconfig of an administrator who goes through the relay.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let file = folder.join("relay.kubeconfig");
        let text = apiserver::kubeconfig(self.port, apiserver::ADMIN, "default").replace("https://", "http://");
        std::fs::write(&file, text).expect("the kubeconfig is written");
        file
    }
}

/// What one connection needs.
struct Hand {
    http: reqwest::blocking::Client,
    url: String,
    decide: Arc<Mutex<Decide>>,
    watches: Arc<Mutex<Vec<TcpStream>>>,
}

impl Hand {
    /// Hands on one request and its answer; the connection ends with it.
    fn on(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut sent = reqwest::header::HeaderMap::new();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "host" | "connection" | "accept-encoding" | "transfer-encoding" => {}
                name => {
                    let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).ok()?;
                    sent.insert(name, value.trim().parse().ok()?);
                }
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let fate = (self.decide.lock().expect("no decision fails"))(&method, &path);
        let (path, cut) = match fate {
            Fate::Passes => (path, false),
            Fate::As(path) => (path, false),
            Fate::CutAs(path) => (path, true),
            Fate::Fails(code) => return refuse(stream, code),
        };
        if path.contains("watch=true") {
            self.watches.lock().expect("nothing failed with it").push(stream.try_clone().ok()?);
        }
        let method = reqwest::Method::from_bytes(method.as_bytes()).ok()?;
        let asked = self.http.request(method, format!("{}{path}", self.url)).headers(sent).body(body);
        answer(stream, asked.send().ok()?, cut)
    }
}

fn refuse(mut stream: TcpStream, code: u16) -> Option<()> {
    let said = format!(r#"{{"kind":"Status","code":{code},"message":"the relay says {code}"}}"#);
    let head = format!("HTTP/1.1 {code} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{said}", said.len());
    stream.write_all(head.as_bytes()).ok()
}

fn answer(mut stream: TcpStream, mut answer: reqwest::blocking::Response, cut: bool) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status().as_u16());
    for name in ["content-type", "etag", "retry-after"] {
        if let Some(value) = answer.headers().get(name).and_then(|value| value.to_str().ok()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    if cut {
        let whole = answer.bytes().ok()?;
        head += &format!("content-length: {}\r\n\r\n", whole.len());
        stream.write_all(head.as_bytes()).ok()?;
        return stream.write_all(&whole[..whole.len() / 2]).ok();
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    let mut some = [0; 16 << 10];
    loop {
        match answer.read(&mut some) {
            Ok(0) | Err(_) => return stream.shutdown(Shutdown::Both).ok(),
            Ok(many) => stream.write_all(&some[..many]).ok()?,
        }
    }
}
