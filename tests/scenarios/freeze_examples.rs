//! The examples of `examples/freeze`, as they stand there, against the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::http::request;
use crate::harness::{Controller, World};
use crate::s07_replay::{FREEZE_SECRET, TOKEN, accepted, listening, ready};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/freeze")
}

fn yaml(name: &str) -> Value {
    let text = fs::read_to_string(folder().join(name)).expect("the example is there");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits for a freeze whose latch tells this, and lifts it.
#[track_caller]
fn frozen_then_thawed(controller: &mut Controller<'_>, port: u16, told: &str) {
    controller.until_status("the freeze", "web", |status| {
        status.latch("FREEZE").is_some_and(|latch| latch.to_string().contains(told))
    });
    let bearer = format!("Bearer {TOKEN}");
    for body in ["{\"all\":true}", "{\"applications\":[\"web\"]}"] {
        accepted(request(port, "POST", "/api/v1/thaw", &[("Authorization", &bearer)], body));
    }
    controller.until_status("the thaw", "web", |status| status.latch("FREEZE").is_none());
}

/// What Alertmanager's documentation gives as the body of a webhook, version 4.
fn notice(status: &str, labels: &Value) -> String {
    let alert = json!({
        "status": status, "labels": labels, "annotations": { "summary": "half of the requests fail" },
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph", "fingerprint": "c6b6d3d2b9b5bb1f",
    });
    let notice = json!({
        "version": "4", "groupKey": "{}/{freeze=\"holdfast\"}:{alertname=\"Errors\"}", "truncatedAlerts": 0,
        "status": status, "receiver": "holdfast", "groupLabels": { "alertname": "Errors" }, "commonLabels": labels,
        "commonAnnotations": { "summary": "half of the requests fail" },
        "externalURL": "http://alertmanager.example", "alerts": [alert],
    });
    notice.to_string()
}

#[test]
fn alertmanager_freezes_as_its_example_is_configured() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let config = yaml("alertmanager.yaml");
    let webhook = &config["receivers"][1]["webhook_configs"][0];
    let url = webhook["url"].as_str().expect("it has an address");
    let path = url.strip_prefix("http://127.0.0.1:8686").expect("it is the default port of this machine");
    assert_eq!(webhook["http_config"]["authorization"]["type"], "Bearer");
    let bearer = format!("Bearer {TOKEN}");
    let send = |body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        request(port, "POST", path, &headers, body)
    };
    let web = json!({ "alertname": "Errors", "freeze": "holdfast", "holdfast_application": "web" });
    accepted(send(&notice("firing", &web)));
    frozen_then_thawed(&mut controller, port, "half of the requests fail");
    accepted(send(&notice("firing", &json!({ "alertname": "Errors", "freeze": "holdfast" }))));
    frozen_then_thawed(&mut controller, port, "Errors");
    // Resolved, it neither freezes nor thaws.
    let answer = send(&notice("resolved", &web)).expect("it answers");
    assert!(answer.status == 200 && answer.body.contains("\"frozen\":[]"), "{answer:?}");
    world.assert_no_latch("web", "FREEZE");
    let other = json!({ "alertname": "Errors", "holdfast_application": "nobody" });
    assert_eq!(send(&notice("firing", &other)).map(|answer| answer.status), Some(404));
    // Without its token it does nothing.
    assert_eq!(request(port, "POST", path, &[], &notice("firing", &web)).map(|answer| answer.status), Some(401));
    world.assert_no_latch("web", "FREEZE");
}

/// Lets Python tell the time of the world, which is ahead of the machine's.
fn dated(world: &World, command: &mut Command) {
    let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64();
    let ahead = world.clock.now() as f64 - real;
    let customized = format!("import time\nreal = time.time\ntime.time = lambda: real() + {ahead}\n");
    fs::write(world.dir().join("sitecustomize.py"), customized).expect("it is written");
    command.env("PYTHONPATH", world.dir()).env("PYTHONDONTWRITEBYTECODE", "1");
}

/// Runs the caller's script.
fn script(world: &World, port: u16, arguments: &[&str]) -> Output {
    let mut command = Command::new("python3");
    command.arg(folder().join("freeze.py")).args(["--tries", "1", "--url", &format!("http://127.0.0.1:{port}")]);
    dated(world, &mut command);
    command.args(arguments).current_dir(world.dir()).output().expect("python3 runs")
}

#[test]
fn the_signing_script_freezes_and_says_when_it_did_not() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let secret = world.dir().join("freeze");
    let secret = ["--secret-file", secret.to_str().expect("a path of ours is text")];
    let ran = script(
        &world,
        port,
        &[secret[0], secret[1], "--reason", "incident 4711 \"quoted\"", "--owner", "carol", "web"],
    );
    assert!(ran.status.success(), "{ran:?}");
    frozen_then_thawed(&mut controller, port, "incident 4711");
    let ran = script(&world, port, &[secret[0], secret[1], "--reason", "everything"]);
    assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).contains("all"), "{ran:?}");
    frozen_then_thawed(&mut controller, port, "everything");
    for wrong in [&["--reason", "x", "nobody"][..], &["--reason", "x", "--until", "yesterday"]] {
        let ran = script(&world, port, &[&secret, wrong].concat());
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && said.contains("not frozen"), "{wrong:?}: {said}");
    }
    fs::write(world.dir().join("another"), "another secret\n").expect("it is written");
    let ran = script(&world, port, &["--secret-file", "another", "--reason", "x"]);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("401"), "{ran:?}");
    world.assert_no_latch("web", "FREEZE");
}

#[test]
fn the_step_of_github_actions_freezes() {
    let (world, port) = listening();
    let mut controller = world.controller();
    ready(&mut controller, port);
    let workflow = yaml("github-actions.yaml");
    let steps = workflow["jobs"]["smoke"]["steps"].as_array().expect("it has steps");
    let step = steps.iter().find(|step| step["name"] == "Freeze").expect("one freezes");
    assert_eq!(step["if"], "failure()");
    // What the service puts in the place of its expressions.
    let given = |text: &str| {
        text.replace("${{ vars.HOLDFAST_URL }}", &format!("http://127.0.0.1:{port}"))
            .replace("${{ secrets.HOLDFAST_FREEZE_SECRET }}", FREEZE_SECRET)
            .replace("${{ github.server_url }}", "https://github.com")
            .replace("${{ github.repository }}", "acme/fleet")
            .replace("${{ github.run_id }}", "17")
            .replace("${{ github.actor }}", "carol")
    };
    let mut command = Command::new("bash");
    // As the service runs a step.
    command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().expect("it runs something")]);
    for (name, value) in step["env"].as_object().expect("it has an environment") {
        let value = given(value.as_str().expect("values are text"));
        assert!(!value.contains("${{"), "an expression that is not known here: {value}");
        command.env(name, value);
    }
    dated(&world, &mut command);
    let ran = command.current_dir(folder()).output().expect("bash runs");
    assert!(ran.status.success(), "{ran:?}");
    frozen_then_thawed(&mut controller, port, "https://github.com/acme/fleet/actions/runs/17");
}
