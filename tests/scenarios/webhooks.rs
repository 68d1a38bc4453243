//! Webhooks of the real binary: whom they wake, GitHub's own payloads, and clients that mean harm.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::http::{Answer, github_push, hmac, request};
use crate::harness::{Controller, World};
use crate::s07_replay::{accepted, cycles, listening, quiet, ready};

const SECRET: &str = "a secret of the hosting service";

/// Delivers an event as GitHub does.
fn deliver(port: u16, event: &str, id: &str, body: &str) -> Option<Answer> {
    let signature = format!("sha256={}", hmac(SECRET, body));
    let headers = [("X-GitHub-Event", event), ("X-GitHub-Delivery", id), ("X-Hub-Signature-256", signature.as_str())];
    request(port, "POST", "/hooks/github", &headers, body)
}

/// Puts the origin where a hosting service's path ends in `owner/name`, and lets an application track it there.
fn host_at(world: &mut World, app: &str, path: &str) {
    let link = world.dir().join(format!("{path}.git"));
    fs::create_dir_all(link.parent().expect("it has an owner")).expect("the owner's folder is made");
    std::os::unix::fs::symlink(&world.repo.origin, &link).expect("the repository is linked");
    world.app(app).url = link.to_string_lossy().into_owned();
}

/// Returns the number of an application's last cycle.
fn last_cycle(world: &World, app: &str) -> String {
    let document = world.holdfast(&["status", "--output", "json"]).ok().json();
    crate::harness::Status::of(&document, app).text("/lastCycle/id").to_owned()
}

#[test]
fn a_push_wakes_the_applications_of_its_repository_and_no_other() {
    let (mut world, port) = listening();
    world.add_app("other");
    host_at(&mut world, "web", "acme/fleet");
    host_at(&mut world, "other", "acme/other");
    for app in ["web", "other"] {
        world.app(app).interval("24h");
    }
    world.preplace("other");
    let mut controller = world.controller();
    ready(&mut controller, port);
    quiet(&mut controller, port);
    let (web, other) = (last_cycle(&world, "web"), last_cycle(&world, "other"));
    // No time passes for the world and the interval is a day: only the delivery can begin the cycle that reads the push.
    world.repo.change("", 3..4, "omega");
    let pushed = world.repo.publish("one update");
    let body = |name: &str| {
        format!(
            "{{\"ref\":\"refs/heads/main\",\"repository\":{{\"full_name\":\"acme/{name}\",\"clone_url\":\"https://git.example/acme/{name}.git\"}}}}"
        )
    };
    accepted(deliver(port, "push", "of nobody's", &body("unknown")));
    accepted(deliver(port, "push", "one", &body("fleet")));
    controller.until_status("the push's cycle", "web", |status| {
        status.at("/source").to_string().contains(&pushed) && status.text("/lastCycle/id") != web
    });
    quiet(&mut controller, port);
    assert_eq!(last_cycle(&world, "other"), other, "an application of another repository was woken");
    let log = controller.log();
    assert!(log.contains("acme/unknown"), "what wakes nobody is not told:\n{log}");
    accepted(deliver(port, "push", "two", &body("other")));
    controller.until_status("its own cycle", "other", |status| status.text("/lastCycle/id") != other);
}

/// Returns every example of an event of GitHub, of github.com and of each Enterprise Server.
fn examples() -> Vec<(String, Value)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/webhook-examples");
    let ran = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("it runs");
    assert!(ran.status.success(), "the examples cannot be had: see above");
    let dir = PathBuf::from(String::from_utf8(ran.stdout).expect("a path is text").trim());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the package is there") {
        let Ok(text) = fs::read_to_string(entry.expect("an entry is readable").path().join("index.json")) else {
            continue;
        };
        let events: Vec<Value> = serde_json::from_str(&text).expect("it is JSON");
        for event in events {
            let name = event["name"].as_str().expect("it has a name");
            let examples = event["examples"].as_array().expect("it has examples");
            found.extend(examples.iter().map(|example| (name.to_owned(), example.clone())));
        }
    }
    found
}

#[test]
fn every_published_payload_of_github_is_taken_and_only_ours_wake() {
    let (mut world, port) = listening();
    host_at(&mut world, "web", "codertocat/hello-world");
    world.app("web").interval("24h");
    let mut controller = world.controller();
    ready(&mut controller, port);
    let begun = quiet(&mut controller, port);
    let wakes = |event: &str, action: &str| match event {
        "push" => true,
        "pull_request" => ["opened", "reopened", "synchronize", "closed"].contains(&action),
        "issue_comment" => action == "created",
        _ => false,
    };
    let (mut expected, mut sent) = (0, 0);
    // All of our events, and one of each other action of each other event.
    let mut others = std::collections::BTreeSet::new();
    for (at, (event, payload)) in examples().into_iter().enumerate() {
        let action = payload["action"].as_str().unwrap_or_default();
        let ours = ["push", "pull_request", "issue_comment", "ping"].contains(&event.as_str());
        if !ours && !others.insert((event.clone(), action.to_owned())) {
            continue;
        }
        expected += usize::from(wakes(&event, action));
        sent += 1;
        let answer = deliver(port, &event, &format!("example {at}"), &payload.to_string()).expect("it answers");
        assert_eq!(answer.status, if event == "ping" { 200 } else { 202 }, "{event} {action}: {answer:?}");
    }
    assert!(expected >= 20 && sent > 150, "{expected} of {sent} examples wake: is the package whole?");
    let woken = |log: &str| log.lines().filter(|line| line.contains("a delivery wakes")).count();
    let log = controller.log();
    assert_eq!(woken(&log), expected);
    let of_ours = log.lines().filter(|line| line.contains("a delivery wakes") && line.contains("groups=1")).count();
    assert_eq!(of_ours, expected, "an example did not wake its repository's application:\n{log}");
    let ran = quiet(&mut controller, port) - begun;
    assert!((1..=expected as u64).contains(&ran), "{ran} cycles for {expected} deliveries that wake");
}

/// Sends bytes, in pieces if wanted, and returns the status of the answer, if there is one.
fn raw(port: u16, pieces: impl IntoIterator<Item = Vec<u8>>) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    for piece in pieces {
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

/// The most that the forged deliveries of one client may be, of eight clients.
const FORGED: usize = 1500;

#[test]
fn a_client_that_means_harm_starts_no_cycle_takes_no_memory_and_delays_no_push() {
    let (mut world, port) = listening();
    world.app("web").interval("24h");
    let mut controller = world.controller();
    ready(&mut controller, port);
    let begun = quiet(&mut controller, port);
    accepted(github_push(port, SECRET, "known", "{}"));
    controller.until("its cycle", || cycles(port).filter(|count| *count > begun));
    let begun = quiet(&mut controller, port);
    let memory = controller.peak_memory();
    let head = "POST /hooks/github HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: x\r\n";
    // Slow senders: heads and bodies that never end, held open during all that follows.
    let slow: Vec<TcpStream> = (0..60)
        .map(|at| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it is taken");
            let part =
                if at % 2 == 0 { "POST /hooks/git".to_owned() } else { format!("{head}Content-Length: 99\r\n\r\n{{") };
            stream.write_all(part.as_bytes()).expect("it is sent");
            stream
        })
        .collect();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|client| scope.spawn(move || flood(port, client))).collect();
        scope.spawn(move || {
            let endless = std::iter::repeat_n(format!("10000\r\n{}\r\n", "x".repeat(65_536)).into_bytes(), 200);
            let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            let status = raw(port, std::iter::once(chunked).chain(endless));
            assert!(matches!(status, None | Some(413 | 429)), "an endless body: {status:?}");
            let large = "x".repeat((5 << 20) + 1);
            let status = github_push(port, SECRET, "large", &large).map(|answer| answer.status);
            assert!(matches!(status, None | Some(413 | 429)), "more than 5 MiB: {status:?}");
            let many: String = (0..2000).map(|at| format!("X-{at}: {}\r\n", "y".repeat(50))).collect();
            let status = raw(port, [head.as_bytes().to_vec(), many.into_bytes(), b"\r\n".to_vec()]);
            assert!(matches!(status, None | Some(400 | 429 | 431)), "a flood of headers: {status:?}");
        });
        let judged: usize = clients.into_iter().map(|client| client.join().expect("nothing was taken")).sum();
        assert!(judged > 1000, "only {judged} deliveries were judged: the flood was none");
    });
    assert_eq!(quiet(&mut controller, port), begun, "something refused or replayed ran a cycle");
    // While the slow ones still hold on, a true push is read.
    world.repo.change("", 3..4, "omega");
    let pushed = world.repo.publish("one update");
    controller
        .until("the push's delivery", || github_push(port, SECRET, "true", "{}").filter(|answer| answer.status == 202));
    controller.until_status("the push's cycle", "web", |status| status.at("/source").to_string().contains(&pushed));
    drop(slow);
    let grown = controller.peak_memory().saturating_sub(memory);
    assert!(grown < 128 << 20, "{grown} bytes more");
}

/// Sends forged, altered and replayed deliveries; who is limited is told so, and nothing is taken. Returns how many were judged.
fn flood(port: u16, client: usize) -> usize {
    let mut judged = 0;
    let signature = format!("sha256={}", hmac(SECRET, "{}"));
    for at in 0..FORGED {
        let id = format!("{client} {at}");
        let (id, body, proof) = match at % 4 {
            0 => (id.as_str(), "{}", None),
            1 => (id.as_str(), "{ }", Some(signature.as_str())),
            2 => (id.as_str(), "{}", Some("sha256=00")),
            _ => ("known", "{}", Some(signature.as_str())),
        };
        let mut headers = vec![("X-GitHub-Event", "push"), ("X-GitHub-Delivery", id)];
        headers.extend(proof.map(|proof| ("X-Hub-Signature-256", proof)));
        let answer = request(port, "POST", "/hooks/github", &headers, body);
        let wanted = if at % 4 == 3 { 202 } else { 401 };
        match answer {
            // Closed at once: too many connections.
            None => {}
            Some(answer) => {
                assert!([wanted, 429].contains(&answer.status), "{at}: {answer:?}");
                judged += usize::from(answer.status == wanted);
            }
        }
    }
    judged
}

#[test]
fn many_deliveries_while_it_writes_are_few_cycles() {
    let (mut world, port) = listening();
    world.app("web").interval("24h");
    world.on_batch(
        "web",
        "if [ $call = 1 ]; then touch \"$dir/waiting\"; while [ ! -e \"$dir/go\" ]; do sleep 0.02; done; fi",
    );
    let mut controller: Controller<'_> = world.controller();
    ready(&mut controller, port);
    let begun = quiet(&mut controller, port);
    world.repo.change("", 0..1, "omega");
    world.repo.publish("one update");
    accepted(github_push(port, SECRET, "the push", "{}"));
    world.advance(4);
    controller.until("the first batch", || {
        accepted(github_push(port, SECRET, &format!("settle {}", world.clock.now()), "{}"));
        world.advance(1);
        world.dir().join("waiting").exists().then_some(())
    });
    let before = cycles(port).expect("metrics are served");
    for at in 0..300 {
        accepted(github_push(port, SECRET, &format!("number {at}"), "{}"));
    }
    assert!(cycles(port).expect("metrics are served") == before, "a cycle began within another");
    fs::write(world.dir().join("go"), "").expect("the batch goes on");
    controller.until("the next cycle", || cycles(port).filter(|count| *count > before));
    let ran = quiet(&mut controller, port) - before;
    assert!((1..=6).contains(&ran), "{ran} cycles for 300 deliveries that came while it wrote; {begun} before");
}
