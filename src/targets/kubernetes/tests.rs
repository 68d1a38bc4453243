//! Against servers that misbehave in ways that a real one does not on request: cut lists, expired tokens, garbage.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;
use crate::core::resource::Live;

/// A server that gives scripted answers to requests, each for the paths that hold its word.
struct Fake {
    _dir: tempfile::TempDir,
    target: Kubernetes,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What is answered: to which requests, how often, and the bytes after the status line's code.
type Script = Vec<(&'static str, usize, Vec<u8>)>;

fn answer(code: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// An answer whose connection ends before its body does.
fn cut(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{}", body.len(), &body[..body.len() / 2])
        .into_bytes()
}

fn failure(code: u16, message: &str) -> Vec<u8> {
    answer(code, &format!(r#"{{"kind":"Status","code":{code},"message":"{message}"}}"#))
}

const CORE: &str = r#"{"kind":"APIGroupDiscoveryList","items":[{"metadata":{},"versions":[{"version":"v1","freshness":"Current","resources":[{"resource":"configmaps","responseKind":{"group":"","version":"v1","kind":"ConfigMap"},"scope":"Namespaced","verbs":["list","delete"]}]}]}]}"#;
const GROUPS: &str = r#"{"kind":"APIGroupDiscoveryList","items":[]}"#;

fn object(name: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"u-{name}","resourceVersion":"7"}},"data":{{"a":"1"}}}}"#
    )
}

fn page(names: &[&str], next: &str) -> String {
    let items: Vec<String> = names.iter().map(|name| object(name)).collect();
    format!(r#"{{"metadata":{{"resourceVersion":"9","continue":"{next}"}},"items":[{}]}}"#, items.join(","))
}

impl Fake {
    fn new(mut script: Script) -> Self {
        script.extend([
            ("/apis ", 99, answer(200, GROUPS)),
            ("/api ", 99, answer(200, CORE)),
            ("/configmaps/holdfast-web ", 99, failure(404, "not found")),
        ]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut some = [0; 4096];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let read = stream.read(&mut some).unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    request.extend_from_slice(&some[..read]);
                }
                let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
                let step = script.iter_mut().find(|(word, left, _)| *left > 0 && line.contains(word));
                let bytes = match step {
                    Some((_, left, bytes)) => {
                        *left -= 1;
                        bytes.clone()
                    }
                    None => failure(404, "nothing is scripted"),
                };
                told.lock().unwrap().push(line);
                let _ = stream.write_all(&bytes);
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: t, clusters: [{{name: t, cluster: {{server: \"{url}\"}}}}], users: [{{name: t, user: {{token: t}}}}], contexts: [{{name: t, context: {{cluster: t, user: t}}}}]}}"
        );
        std::fs::write(&file, text).unwrap();
        let config = KubernetesTarget { kubeconfig: Some(file), ..KubernetesTarget::default() };
        Self { _dir: dir, target: Kubernetes::open(&config, "web"), asked }
    }

    fn look(&self, names: &[&str]) -> Observed {
        let ids: Vec<Id> = names.iter().map(|name| Id::new(format!("/ConfigMap/default/{name}"))).collect();
        let expect: Vec<Expect<'_>> = ids.iter().map(Expect::new).collect();
        self.target.observe(&expect)
    }

    fn lists(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.contains("limit=")).count()
    }
}

fn here(observed: &Observed, name: &str) -> bool {
    matches!(observed.get(&Id::new(format!("/ConfigMap/default/{name}"))), Some(Live::Here(_)))
}

fn unread(observed: &Observed, name: &str) -> String {
    match observed.get(&Id::new(format!("/ConfigMap/default/{name}"))) {
        Some(Live::Unread(why)) => why.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_list_of_several_pages_is_one_list() {
    let fake = Fake::new(vec![
        ("continue=two", 1, answer(200, &page(&["b"], ""))),
        ("limit=", 1, answer(200, &page(&["a"], "two"))),
    ]);
    let observed = fake.look(&["a", "b"]);
    assert!(here(&observed, "a") && here(&observed, "b"), "{observed:?}");
    assert_eq!(fake.lists(), 2);
}

#[test]
fn a_token_that_expired_begins_the_list_anew_and_a_list_that_never_ends_is_none() {
    let expired = || failure(410, "the provided continue parameter is too old");
    let fake = Fake::new(vec![
        ("continue=two", 1, expired()),
        ("continue=two", 1, answer(200, &page(&["b"], ""))),
        ("limit=", 9, answer(200, &page(&["a"], "two"))),
    ]);
    let observed = fake.look(&["a", "b"]);
    assert!(here(&observed, "a") && here(&observed, "b"), "{observed:?}");
    let fake = Fake::new(vec![("continue=two", 99, expired()), ("limit=", 99, answer(200, &page(&["a"], "two")))]);
    let observed = fake.look(&["a", "b"]);
    assert!(unread(&observed, "a").contains("too old") && unread(&observed, "b").contains("too old"));
}

#[test]
fn a_list_that_is_cut_in_the_middle_or_refused_is_read_again_and_then_unread_as_a_whole() {
    let whole = page(&["a", "b"], "");
    let fake = Fake::new(vec![("limit=", 1, cut(&whole)), ("limit=", 1, answer(200, &whole))]);
    assert!(here(&fake.look(&["a", "b"]), "a"));
    let fake = Fake::new(vec![("limit=", 99, cut(&whole))]);
    assert!(unread(&fake.look(&["a"]), "a").contains("broke off"));
    for (code, words) in [(500, "etcdserver: request timed out"), (503, "unavailable"), (429, "too many requests")] {
        let fake = Fake::new(vec![
            ("continue=two", 99, failure(code, words)),
            ("limit=", 1, answer(200, &page(&["a"], "two"))),
        ]);
        let observed = fake.look(&["a", "b"]);
        // The first page counts for nothing without the second.
        assert!(unread(&observed, "a").contains(words), "{code}");
    }
    let fake = Fake::new(vec![("limit=", 99, answer(200, "<html>a proxy's page</html>"))]);
    assert!(unread(&fake.look(&["a"]), "a").contains("not understood"));
}

#[test]
fn what_no_list_shows_is_read_by_name_before_it_is_gone() {
    let fake = Fake::new(vec![
        ("/configmaps/a ", 1, answer(200, &object("a"))),
        ("/configmaps/b ", 1, failure(404, "not found")),
        ("limit=", 1, answer(200, &page(&[], ""))),
    ]);
    let observed = fake.look(&["a", "b"]);
    assert!(here(&observed, "a"));
    assert_eq!(observed.get(&Id::new("/ConfigMap/default/b")), Some(&Live::Gone));
}

#[test]
fn a_server_that_serves_no_kinds_is_no_observation() {
    for (bytes, words) in [
        (failure(503, "starting"), "starting"),
        (answer(200, r#"{"kind":"APIGroupList","groups":[]}"#), "too old"),
        (answer(200, "no"), "not understood"),
    ] {
        let fake = Fake::new(vec![("/apis ", 99, bytes)]);
        let failure = fake.look(&["a"]).failure.unwrap();
        assert!(failure.contains(words), "{failure}");
    }
}
