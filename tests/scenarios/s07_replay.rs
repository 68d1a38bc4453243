//! 7. Replayed and duplicate deliveries; forged ones; the API.

use std::fs;

use crate::harness::http::{self, Answer, github_push, hmac, request};
use crate::harness::keys::address;
use crate::harness::{Controller, World};

const SECRET: &str = "a secret of the hosting service";
pub const FREEZE_SECRET: &str = "a secret that can only freeze";
pub const TOKEN: &str = "token-of-an-operator";
pub const TOKEN_OF_BOB: &str = "token-of-an-approver";

/// Makes a world at its baseline whose controller listens; returns it with its port.
pub fn listening() -> (World, u16) {
    let mut world = World::new();
    let port = http::free_port();
    let tokens = format!("{TOKEN}\n{} {TOKEN_OF_BOB}", address("bob"));
    for (name, secret) in [("hook", SECRET), ("freeze", FREEZE_SECRET), ("token", &tokens)] {
        fs::write(world.dir().join(name), format!("{secret}\n")).expect("the secret is written");
    }
    let dir = world.dir().to_owned();
    world.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    world.config.controller.push(format!("webhooks: {{ github: {{ secretFile: {:?} }} }}", dir.join("hook")));
    world.config.controller.push(format!(
        "api: {{ tokenFile: {:?}, freezeSecretFile: {:?} }}",
        dir.join("token"),
        dir.join("freeze")
    ));
    world.repo.fill("", 0..12);
    world.baseline();
    (world, port)
}

/// Waits until the controller answers.
pub fn ready(controller: &mut Controller<'_>, port: u16) {
    controller.until("readiness", || request(port, "GET", "/readyz", &[], "").filter(|answer| answer.status == 200));
}

/// Returns how many cycles of its one application the controller has finished.
pub fn cycles(port: u16) -> Option<u64> {
    let text = request(port, "GET", "/metrics", &[], "").filter(|answer| answer.status == 200)?.body;
    let line = text.lines().find(|line| line.starts_with("holdfast_cycle_seconds_count"));
    line?.rsplit(' ').next()?.parse::<f64>().ok().map(|count| count as u64)
}

/// Waits until no cycle follows another, and returns how many there were.
pub fn quiet(controller: &mut Controller<'_>, port: u16) -> u64 {
    let mut last = None;
    let mut same = 0;
    controller.until("the cycles to cease", || {
        let now = cycles(port)?;
        same = if last == Some(now) { same + 1 } else { 0 };
        last = Some(now);
        (same >= 25 && now > 0).then_some(now)
    })
}

#[track_caller]
pub fn accepted(answer: Option<Answer>) {
    let answer = answer.expect("the controller answers");
    assert!((200..300).contains(&answer.status), "{answer:?}");
}

#[track_caller]
pub fn rejected(answer: Option<Answer>) {
    let answer = answer.expect("the controller answers");
    assert!([400, 401, 403, 404, 409].contains(&answer.status), "{answer:?}");
}

#[test]
fn s07_a_duplicate_delivery_wakes_nothing_even_after_a_restart() {
    let (world, port) = listening();
    let push = "{\"ref\":\"refs/heads/main\"}";
    let mut controller = world.controller();
    ready(&mut controller, port);
    let begun = quiet(&mut controller, port);

    accepted(github_push(port, SECRET, "delivery-one", push));
    controller.until("the delivery's cycle", || cycles(port).filter(|count| *count > begun));
    let woken = quiet(&mut controller, port);
    assert_eq!(woken, begun + 1, "one delivery is one cycle");

    for _ in 0..5 {
        accepted(github_push(port, SECRET, "delivery-one", push));
    }
    assert_eq!(quiet(&mut controller, port), woken, "a duplicate delivery ran a cycle");

    // Known durably: a restart forgets no delivery.
    controller.kill();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let begun = quiet(&mut controller, port);
    accepted(github_push(port, SECRET, "delivery-one", push));
    assert_eq!(quiet(&mut controller, port), begun, "a duplicate delivery ran a cycle after a restart");
    accepted(github_push(port, SECRET, "delivery-two", push));
    controller.until("the new delivery's cycle", || cycles(port).filter(|count| *count > begun));
}

#[test]
fn s07_a_forged_or_unsigned_delivery_is_refused() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let begun = quiet(&mut controller, port);
    let push = "{\"ref\":\"refs/heads/main\"}";
    rejected(github_push(port, "another secret", "forged-one", push));
    let event = [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "forged-two")];
    rejected(request(port, "POST", "/hooks/github", &event, push));
    // A signature of another body.
    let signature = format!("sha256={}", hmac(SECRET, "{}"));
    let headers = [event[0], ("X-GitHub-Delivery", "forged-three"), ("X-Hub-Signature-256", signature.as_str())];
    rejected(request(port, "POST", "/hooks/github", &headers, push));
    rejected(request(port, "POST", "/hooks/gitlab", &[("X-Gitlab-Token", SECRET)], push));
    assert_eq!(quiet(&mut controller, port), begun, "a refused delivery ran a cycle");
    // A refused delivery must not use up its id.
    accepted(github_push(port, SECRET, "forged-one", push));
    controller.until("the true delivery's cycle", || cycles(port).filter(|count| *count > begun));
    // Five MiB are the most.
    let large = "x".repeat(6 << 20);
    let refused = github_push(port, SECRET, "large", &large);
    assert!(refused.is_none_or(|answer| answer.status == 413 || answer.status == 400), "6 MiB were taken");
}

#[test]
fn s07_a_replayed_push_does_not_thaw() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let before = format!("{{\"ref\":\"refs/heads/main\",\"after\":\"{}\"}}", world.repo.head());
    accepted(github_push(port, SECRET, "before", &before));

    world.repo.write("FREEZE", "reason: incident\n");
    world.repo.commit("stop").unsigned_by("mallory");
    world.repo.push();
    accepted(github_push(port, SECRET, "freeze", "{\"ref\":\"refs/heads/main\"}"));
    controller.until_status("the freeze", "web", |status| status.latch("FREEZE").is_some());

    accepted(github_push(port, SECRET, "before", &before));
    let count = cycles(port).expect("metrics are served");
    accepted(github_push(port, SECRET, "before, under another name", &before));
    controller.until("a cycle", || cycles(port).filter(|now| *now > count));
    quiet(&mut controller, port);
    world.assert_latch("web", "FREEZE", &["freeze"]);
}

/// Sends a signed freeze, dated by the world's clock and an offset.
pub fn freeze(world: &World, port: u16, secret: &str, offset: i64, body: &str) -> Option<Answer> {
    let timestamp = (world.clock.now() + offset).to_string();
    let signature = format!("sha256={}", hmac(secret, &format!("{timestamp}.{body}")));
    let headers = [("X-Holdfast-Timestamp", timestamp.as_str()), ("X-Holdfast-Signature", signature.as_str())];
    request(port, "POST", "/api/v1/freeze", &headers, body)
}

#[test]
fn s07_the_freeze_secret_freezes_and_nothing_else() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let body = "{\"applications\":[\"web\"],\"reason\":\"pager\",\"owner\":\"carol\"}";
    rejected(freeze(&world, port, "another secret", 0, body));
    rejected(freeze(&world, port, FREEZE_SECRET, -301, body));
    rejected(freeze(&world, port, FREEZE_SECRET, 400, body));
    rejected(request(port, "POST", "/api/v1/freeze", &[], body));
    world.assert_no_latch("web", "FREEZE");

    accepted(freeze(&world, port, FREEZE_SECRET, 0, body));
    let status = controller.until_status("the freeze", "web", |status| status.latch("FREEZE").is_some());
    assert!(status.latch("FREEZE").is_some_and(|latch| latch.to_string().contains("pager")), "the reason is not told");

    // The same secret lifts nothing and approves nothing.
    let timestamp = world.clock.now().to_string();
    let thaw = "{\"applications\":[\"web\"],\"reason\":\"never mind\"}";
    let signature = format!("sha256={}", hmac(FREEZE_SECRET, &format!("{timestamp}.{thaw}")));
    let headers = [("X-Holdfast-Timestamp", timestamp.as_str()), ("X-Holdfast-Signature", signature.as_str())];
    for path in ["/api/v1/thaw", "/api/v1/approve"] {
        rejected(request(port, "POST", path, &headers, thaw));
    }
    let wrong = [("Authorization", "Bearer another-token")];
    rejected(request(port, "POST", "/api/v1/thaw", &wrong, thaw));
    world.assert_latch("web", "FREEZE", &["freeze"]);

    let bearer = format!("Bearer {TOKEN}");
    accepted(request(port, "POST", "/api/v1/thaw", &[("Authorization", &bearer)], thaw));
    controller.until_status("the thaw", "web", |status| status.latch("FREEZE").is_none());

    // A replay of the freeze that was lifted does no more than freeze: that is cheap. A replayed thaw needs the token.
    rejected(request(port, "POST", "/api/v1/thaw", &[], thaw));
}

#[test]
fn s07_the_api_reads_what_the_commands_read() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    quiet(&mut controller, port);
    let answer = request(port, "GET", "/api/v1/status", &[], "").expect("the controller answers");
    assert_eq!(answer.status, 200);
    let served: serde_json::Value = serde_json::from_str(&answer.body).expect("it is JSON");
    assert_eq!(served["applications"][0]["name"], "web");
    assert_eq!(served["applications"][0]["inventory"], 12);
    for path in ["/api/v1/drift", "/api/v1/plan", "/api/v1/history"] {
        let answer = request(port, "GET", path, &[], "").expect("the controller answers");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str::<serde_json::Value>(&answer.body).expect("it is JSON");
    }
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(request(port, "GET", path, &[], "").map(|answer| answer.status), Some(200), "{path}");
    }
    let metrics = request(port, "GET", "/metrics", &[], "").expect("metrics are served").body;
    for family in [
        "holdfast_drifted_resources",
        "holdfast_latch",
        "holdfast_cycle_seconds",
        "holdfast_failing_resources",
        "holdfast_last_complete_cycle_timestamp_seconds",
        "holdfast_last_fetch_timestamp_seconds",
    ] {
        assert!(metrics.contains(family), "{family} is not served:\n{metrics}");
    }
    assert!(!metrics.contains("f003.conf"), "a label names a resource");
    assert_eq!(request(port, "GET", "/nothing/here", &[], "").map(|answer| answer.status), Some(404));
}
