//! The hosting service: a world of pull requests, comments and issues, a log of requests, and faults to come.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{gitea, github, gitlab};
use crate::config::ForgeKind;

/// The account that the token is of.
pub const ME: &str = "holdfast-bot";

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With its query, below the API's base.
    pub path: String,
    pub body: Value,
    pub headers: http::HeaderMap,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum How {
    /// It answers this, and does nothing.
    Answers(u16, Vec<(&'static str, String)>, &'static str),
    /// It breaks off before it does anything.
    BreaksOff,
    /// It does it, and breaks off.
    LosesTheAnswer,
    /// It does it, and answers what nobody understands.
    Babbles,
    /// It never answers, and does nothing.
    Hangs,
    /// It does it, and never answers.
    DoesItAndHangs,
}

/// A fault of the next request that has this method and this in its path.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: &'static str,
    pub path: &'static str,
    pub how: How,
}

/// A comment or an issue.
#[derive(Clone, Debug)]
pub struct Text {
    pub id: u64,
    /// The pull request of a comment.
    pub of: u64,
    pub author: String,
    pub title: String,
    pub body: String,
    pub open: bool,
    pub created: &'static str,
    pub updated: &'static str,
}

/// Everything that the service has.
#[derive(Default, Debug)]
pub struct World {
    pub log: Vec<Seen>,
    pub faults: VecDeque<Fault>,
    pub pulls: Vec<Value>,
    pub comments: Vec<Text>,
    pub issues: Vec<Text>,
    pub statuses: Vec<(String, Value)>,
    pub next: u64,
    /// How many things a page has at most, whatever is asked for.
    pub page: usize,
    /// Answers by path, before anything else.
    pub fixed: Vec<(String, u16, Value)>,
    /// Whether lists have tags.
    pub tags: bool,
    /// Whether an App asks, not a user.
    pub app: bool,
    /// When tokens end that are given to Apps.
    pub token_until: String,
}

impl World {
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn comment(&mut self, of: u64, author: &str, body: &str) -> u64 {
        let id = self.number();
        let (author, body) = (author.to_owned(), body.to_owned());
        let (created, updated) = ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z");
        self.comments.push(Text { id, of, author, title: String::new(), body, open: true, created, updated });
        id
    }

    pub fn issue(&mut self, author: &str, title: &str, body: &str) -> u64 {
        let id = self.number();
        let (author, title, body) = (author.to_owned(), title.to_owned(), body.to_owned());
        let (created, updated) = ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z");
        self.issues.push(Text { id, of: 0, author, title, body, open: true, created, updated });
        id
    }
}

/// What is answered.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body, headers: Vec::new() }
    }

    pub fn made(body: Value) -> Self {
        Self { status: 201, body, headers: Vec::new() }
    }

    pub fn missing() -> Self {
        Self { status: 404, body: serde_json::json!({ "message": "Not Found" }), headers: Vec::new() }
    }

    /// One page of a list.
    pub fn page(all: Vec<Value>, size: usize, query: &[(String, String)]) -> Self {
        let number = find(query, "page").and_then(|page| page.parse::<usize>().ok()).unwrap_or(1);
        let size = size.max(1);
        let more = all.len() > number * size;
        let items: Vec<Value> = all.into_iter().skip((number - 1) * size).take(size).collect();
        // By another name than the one that it is reached by, as behind a proxy.
        let link = format!("<http://internal.invalid/x?page={}>; rel=\"next\"", number + 1);
        let headers = if more { vec![("link", link)] } else { Vec::new() };
        Self { status: 200, body: Value::Array(items), headers }
    }
}

/// Returns a parameter of a query.
pub fn find<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A service that runs until it is dropped.
pub struct Fake {
    pub url: String,
    pub world: Arc<Mutex<World>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn start(kind: ForgeKind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::new(Mutex::new(World { next: 100, page: 100, ..World::default() }));
        let shared = world.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let world = shared.clone();
                let serve = service_fn(move |request| answer(kind, world.clone(), request));
                tokio::spawn(async move {
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
                });
            }
        });
        Self { url, world, task }
    }

    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Makes the next such request go wrong.
    pub fn fail(&self, method: &'static str, path: &'static str, how: How) {
        self.world().faults.push_back(Fault { method, path, how });
    }

    /// Answers every request for a path so, from now on.
    pub fn fix(&self, path: &str, status: u16, body: Value) {
        self.world().fixed.push((path.to_owned(), status, body));
    }

    /// Returns the requests that came, as `METHOD path`.
    pub fn asked(&self) -> Vec<String> {
        self.world().log.iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// Returns how many requests came that began so.
    pub fn count(&self, beginning: &str) -> usize {
        self.asked().iter().filter(|asked| asked.starts_with(beginning)).count()
    }
}

/// That a connection is ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost;

async fn answer(
    kind: ForgeKind,
    world: Arc<Mutex<World>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let base = match kind {
        ForgeKind::Github => "",
        ForgeKind::Gitlab => "/api/v4",
        ForgeKind::Gitea => "/api/v1",
    };
    let whole = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
    let path = whole.strip_prefix(base).unwrap_or("/not-the-api").to_owned();
    let seen = Seen {
        method: parts.method.to_string(),
        path,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        headers: parts.headers,
    };
    let (fault, reply) = {
        let mut world = world.lock().unwrap();
        world.log.push(seen.clone());
        let due = |fault: &Fault| fault.method == seen.method && seen.path.contains(fault.path);
        let fault = world.faults.iter().position(due).and_then(|at| world.faults.remove(at)).map(|fault| fault.how);
        let reply = match &fault {
            None | Some(How::LosesTheAnswer | How::Babbles | How::DoesItAndHangs) => {
                Some(dispatch(kind, &mut world, &seen))
            }
            Some(How::Answers(..) | How::BreaksOff | How::Hangs) => None,
        };
        (fault, reply)
    };
    match fault {
        None => Ok(respond(reply.unwrap())),
        Some(How::Answers(status, headers, body)) => {
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            Ok(answer.body(Full::from(body)).unwrap())
        }
        Some(How::BreaksOff | How::LosesTheAnswer) => Err(Lost),
        Some(How::Babbles) => Ok(Response::builder().status(201).body(Full::from("<html>busy</html>")).unwrap()),
        Some(How::Hangs | How::DoesItAndHangs) => {
            let never: Infallible = std::future::pending().await;
            match never {}
        }
    }
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let mut answer = Response::builder().status(reply.status).header("content-type", "application/json");
    for (name, value) in reply.headers {
        answer = answer.header(name, value);
    }
    let body = if matches!(reply.status, 204 | 304) { Bytes::new() } else { reply.body.to_string().into() };
    answer.body(Full::new(body)).unwrap()
}

fn dispatch(kind: ForgeKind, world: &mut World, seen: &Seen) -> Reply {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    let query: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Some((_, status, body)) = world.fixed.iter().rev().find(|(fixed, _, _)| fixed == path) {
        return Reply { status: *status, body: body.clone(), headers: Vec::new() };
    }
    let names: Vec<&str> = path.trim_matches('/').split('/').collect();
    let mut reply = match kind {
        ForgeKind::Gitea => gitea::reply(world, &seen.method, &names, &query, &seen.body),
        ForgeKind::Github => github::reply(world, &seen.method, &names, &query, &seen.body),
        ForgeKind::Gitlab => gitlab::reply(world, &seen.method, &names, &query, &seen.body),
    };
    if world.tags && seen.method == "GET" && reply.body.is_array() {
        let tag = format!("W/\"{}\"", crate::core::resource::Digest::of_parts([reply.body.to_string()]).short());
        if seen.headers.get("if-none-match").is_some_and(|known| *known == *tag) {
            reply.status = 304;
        }
        reply.headers.push(("etag", tag));
    }
    reply
}
