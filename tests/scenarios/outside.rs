//! The running controller and the world outside: freezes by HTTP while it writes, approvals by API, metrics, watches, the
//! rate of writes, a ledger that is lost, an end that is asked for.

use std::fs;

use crate::harness::http::{Answer, github_push, request};
use crate::harness::{Controller, Status, World, changes};
use crate::s07_replay::{
    FREEZE_SECRET, TOKEN, TOKEN_OF_BOB, accepted, cycles, freeze, listening, quiet, ready, rejected,
};

/// Lets interval after interval pass, each once the cycle before is over, until `status` is as wanted.
#[track_caller]
fn intervals_until(controller: &mut Controller<'_>, port: u16, what: &str, wanted: impl Fn(&Status) -> bool) {
    let world = controller.world();
    let mut seen = None;
    controller.until_status(what, "web", |status| {
        let done = wanted(status);
        let now = cycles(port);
        if !done && now != seen {
            seen = now;
            world.advance(4);
            // It waits by the machine's clock for what the shifted one has reached.
            github_push(port, "a secret of the hosting service", &format!("wake {}", world.clock.now()), "{}");
        }
        done
    });
}

/// Calls the API with a token.
fn call(port: u16, token: &str, path: &str, body: &str) -> Option<Answer> {
    let bearer = format!("Bearer {token}");
    request(port, "POST", path, &[("Authorization", bearer.as_str())], body)
}

/// Begins ten updates that stop after the second batch (three resources) until the file `go` is there.
fn rollout_under_way<'a>(world: &'a World, port: u16) -> Controller<'a> {
    world.repo.change("", 0..10, "omega");
    world.repo.publish("ten updates");
    let mut controller = world.controller();
    ready(&mut controller, port);
    world.advance(4);
    accepted(github_push(port, "a secret of the hosting service", "the push", "{}"));
    controller.until("the second batch", || world.dir().join("waiting").exists().then_some(()));
    controller
}

/// Lets a world's batches wait after the second.
fn waiting(world: &mut World) {
    world.on_batch(
        "web",
        "if [ $call = 2 ]; then touch \"$dir/waiting\"; while [ ! -e \"$dir/go\" ]; do sleep 0.02; done; fi",
    );
}

#[test]
fn a_freeze_by_http_stops_a_rollout_at_the_next_resource() {
    for by_token in [false, true] {
        let (mut world, port) = listening();
        waiting(&mut world);
        let before = world.tree("web");
        let mut controller = rollout_under_way(&world, port);
        let body = "{\"applications\":[\"web\"],\"reason\":\"pager\",\"owner\":\"carol\"}";
        accepted(match by_token {
            true => call(port, TOKEN, "/api/v1/freeze", body),
            false => freeze(&world, port, FREEZE_SECRET, 0, body),
        });
        fs::write(world.dir().join("go"), "").expect("the batch goes on");
        controller.until_status("a frozen cycle", "web", |status| {
            status.latch("FREEZE").is_some() && status.at("/lastCycle/acted").as_array().is_none_or(Vec::is_empty)
        });
        assert_eq!(changes(&before, &world.tree("web")).total(), 3, "it did not stop at the next resource");
        // Frozen, it goes on looking, and writes nothing.
        let frozen = world.tree("web");
        world.edit_live("web", "f011.conf", "by hand\n");
        // The writes of a moment ago keep the watch quiet for a while.
        accepted(github_push(port, "a secret of the hosting service", "a push meanwhile", "{}"));
        controller.until_status("drift under the freeze", "web", |status| status.number("/drift/changed") >= 1);
        world.advance(60);
        accepted(github_push(port, "a secret of the hosting service", "another push", "{}"));
        quiet(&mut controller, port);
        assert_eq!(changes(&frozen, &world.tree("web")).total(), 1, "something but the edit was written");
        let said = world.everything_said("web");
        assert!(said.contains("pager") && said.contains("carol"), "who froze, and why?\n{said}");
        // An operator lifts it, and the rollout goes on through a new judgement.
        accepted(call(port, TOKEN, "/api/v1/thaw", "{\"applications\":[\"web\"]}"));
        intervals_until(&mut controller, port, "the rest of the rollout", |status| {
            status.latch("FREEZE").is_none() && status.converged() == Some(&world.repo.head())
        });
    }
}

#[test]
fn a_freeze_of_all_is_lifted_by_a_thaw_of_all() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    accepted(freeze(&world, port, FREEZE_SECRET, 0, "{\"reason\":\"everything\"}"));
    controller.until_status("the freeze", "web", |status| status.latch("FREEZE").is_some());
    let answer = call(port, TOKEN, "/api/v1/thaw", "{\"applications\":[\"web\"]}").expect("it answers");
    assert!(answer.status == 200 && answer.body.contains("--all"), "it does not say what is left: {answer:?}");
    world.assert_latch("web", "FREEZE", &["freeze"]);
    rejected(call(port, TOKEN, "/api/v1/freeze", "{\"applications\":[\"nobody\"]}"));
    accepted(call(port, TOKEN, "/api/v1/thaw", "{\"all\":true}"));
    controller.until_status("the thaw", "web", |status| status.latch("FREEZE").is_none());
}

#[test]
fn only_a_listed_principal_approves_by_api_and_only_once() {
    let (world, port) = listening();
    world.repo.drop("", 0..8);
    world.repo.publish("eight of twelve go");
    let mut controller = world.controller();
    ready(&mut controller, port);
    let status = controller.until_status("the halt", "web", |status| status.latch("PLAN").is_some());
    let body = format!("{{\"application\":\"web\",\"digest\":\"{}\"}}", status.digest());
    rejected(call(port, "wrong", "/api/v1/approve", &body));
    let answer = call(port, TOKEN, "/api/v1/approve", &body).expect("it answers");
    assert!(answer.status == 403 && answer.body.contains("approver"), "an operator is no approver: {answer:?}");
    let other = format!("{{\"application\":\"web\",\"digest\":\"sha256:{}\"}}", "0".repeat(64));
    assert_eq!(call(port, TOKEN_OF_BOB, "/api/v1/approve", &other).map(|answer| answer.status), Some(409));
    accepted(call(port, TOKEN_OF_BOB, "/api/v1/approve", &body));
    intervals_until(&mut controller, port, "the rollout", |status| {
        status.latch("PLAN").is_none() && status.converged() == Some(&world.repo.head())
    });
    let history = world.holdfast(&["history", "web", "--last", "5000", "--output", "json"]).ok().stdout;
    assert!(history.contains("\"via\": \"api\""), "the way of the approval is not kept:\n{history}");
    rejected(call(port, TOKEN_OF_BOB, "/api/v1/approve", &body));
}

/// Reads one sample; `labels` as they stand in the text.
fn sample(port: u16, series: &str) -> Option<f64> {
    let text = request(port, "GET", "/metrics", &[], "")?.body;
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn every_promised_metric_is_served_with_its_labels_and_counts() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let text = request(port, "GET", "/metrics", &[], "").expect("metrics are served").body;
    for (name, labels) in [
        ("holdfast_drifted_resources", &["application", "class"][..]),
        ("holdfast_latch", &["application", "latch"]),
        ("holdfast_cycle_seconds_count", &[]),
        ("holdfast_convergence_seconds_count", &[]),
        ("holdfast_heal_seconds_count", &[]),
        ("holdfast_actions_total", &["application", "effect", "outcome"]),
        ("holdfast_failing_resources", &["application", "reason"]),
        ("holdfast_last_complete_cycle_timestamp_seconds", &[]),
        ("holdfast_last_fetch_timestamp_seconds", &[]),
        ("holdfast_poisoned_commits_total", &[]),
        ("holdfast_api_requests_total", &["target", "verb"]),
    ] {
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let line = line.unwrap_or_else(|| panic!("{name} is not served:\n{text}"));
        let found: Vec<&str> = line.split(['{', ',']).skip(1).filter_map(|part| part.split('=').next()).collect();
        assert_eq!(found, labels, "{line}");
    }
    world.edit_live("web", "f003.conf", "by hand\n");
    let drifted = "holdfast_drifted_resources{application=\"web\",class=\"fresh\"}";
    controller.until("the drift", || sample(port, drifted).filter(|count| *count == 1.0));
    // Reverted after `grace`.
    let written = "holdfast_actions_total{application=\"web\",effect=\"update\",outcome=\"done\"}";
    controller.until("the reversal", || {
        world.advance(10);
        github_push(port, "a secret of the hosting service", &format!("wake {}", world.clock.now()), "{}");
        sample(port, written).filter(|count| *count == 1.0)
    });
    assert_eq!(sample(port, "holdfast_heal_seconds_count"), Some(1.0));
    assert!(sample(port, "holdfast_api_requests_total{target=\"directory\",verb=\"update\"}") >= Some(1.0));
    world.repo.drop("", 0..8);
    world.repo.publish("eight of twelve go");
    let held = "holdfast_latch{application=\"web\",latch=\"PLAN\"}";
    controller.until("the halt", || {
        github_push(port, "a secret of the hosting service", &format!("wake {}", world.clock.now()), "{}");
        world.advance(1);
        sample(port, held).filter(|value| *value == 1.0)
    });
    assert_eq!(sample(port, "holdfast_poisoned_commits_total"), Some(1.0));
}

#[test]
fn a_change_wakes_without_waiting_for_the_interval() {
    let (mut world, port) = listening();
    world.app("web").interval("1h");
    let mut controller = world.controller();
    ready(&mut controller, port);
    quiet(&mut controller, port);
    world.edit_live("web", "f003.conf", "by hand\n");
    controller.until_status("the drift", "web", |status| status.number("/drift/changed") == 1);
    world.remove_live("web", "f004.conf");
    controller.until_status("more drift", "web", |status| {
        status.number("/drift/missing") == 1 || world.exists("web", "f004.conf")
    });
}

#[test]
fn a_rate_of_zero_writes_nothing_and_another_paces_single_writes() {
    let mut world = World::new();
    world.repo.fill("", 0..20);
    world.baseline();
    world.app("web").guard("rate: { perSecond: 0, burst: 5 }");
    world.repo.change("", 0..5, "omega");
    world.repo.publish("five updates");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let acted = world.status("web").at("/lastCycle/acted").to_string();
    assert!(acted.contains("rate"), "it does not say what it waits for: {acted}");

    world.app("web").guard("rate: { perSecond: 2, burst: 1 }");
    world.counted_cycle();
    // A rate that is not zero any more loosens the guards.
    let digest = world.status("web").text("/configuration/digest").to_owned();
    world.assert_unchanged("web", &before);
    world.approve("web", &digest).ok();
    let begun = std::time::Instant::now();
    world.counted_cycle();
    let took = begun.elapsed();
    assert_eq!(changes(&before, &world.tree("web")).total(), 5);
    assert!(took.as_secs() >= 2, "five writes at two a second after a burst of one took {took:?}");
    world.converge("web");
}

#[test]
fn a_ledger_that_is_lost_while_running_withholds_all_writes_and_detection_goes_on() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    quiet(&mut controller, port);
    fs::rename(world.dir().join("state/ledger.db"), world.dir().join("ledger.aside"))
        .expect("the ledger is taken away");
    world.repo.change("", 0..3, "omega");
    world.repo.publish("three updates");
    world.edit_live("web", "f011.conf", "by hand\n");
    let frozen = world.tree("web");
    let status = controller.until("the latch", || {
        let answer = request(port, "GET", "/api/v1/status", &[], "")?;
        let document: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
        let status = document["applications"].get(0)?.clone();
        let held = status["latches"].as_array()?.iter().any(|latch| latch["name"] == "STATE");
        (held && status["drift"]["changed"] == 1).then_some(status)
    });
    assert_eq!((&status["writes"]["promotion"], &status["writes"]["healing"]), (&false.into(), &false.into()));
    assert_eq!(status["inventory"], 12, "what was known is forgotten");
    let ready = request(port, "GET", "/readyz", &[], "").expect("it answers");
    assert!(ready.status == 503 && ready.body.contains("ledger"), "{ready:?}");
    world.advance(60);
    world.assert_unchanged("web", &frozen);
    drop(controller);
    world.assert_unchanged("web", &frozen);
}

#[test]
fn an_end_that_is_asked_for_finishes_the_write_and_exits_with_zero() {
    let (mut world, port) = listening();
    waiting(&mut world);
    let before = world.tree("web");
    let controller = rollout_under_way(&world, port);
    let asked = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| controller.stop());
        fs::write(world.dir().join("go"), "").expect("the batch goes on");
        stopping.join().expect("it stops")
    });
    assert_eq!(asked.code(), Some(0));
    let written = changes(&before, &world.tree("web")).total();
    assert!((3..=10).contains(&written), "{written}");
    // Whatever was written is remembered: the rest follows, and nothing is taken for drift.
    world.converge("web");
    world.assert_free("web");
}
