//! The controller inside a cluster, against a real API server: Applications come and go, what happens is told there, and a
//! Lease says who writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::apiserver::{Cluster, cluster};
use crate::harness::http::{free_port, request};
use crate::harness::{Controller, World, copy, keys};

/// What the Controller's document says; Applications of tests may name directories.
pub fn controller_document(world: &World, cluster: &Cluster, kubeconfig: &Path, state: &str) -> String {
    let state = world.dir().join(state);
    format!(
        "apiVersion: holdfast.dev/v1alpha1\nkind: Controller\nspec:\n  stateDir: {state:?}\n  kubernetes:\n    \
         kubeconfig: {kubeconfig:?}\n    namespace: {namespace}\n    applications: {{ namespaces: [{namespace}], unconfined: true }}\n",
        namespace = cluster.namespace,
    )
}

/// Makes a world whose controller works in a cluster, with a directory for `web`.
pub fn world(cluster: &Cluster) -> World {
    let mut world = World::empty();
    fs::create_dir(world.dir().join("roots/web")).expect("the root is made");
    let text = controller_document(&world, cluster, &cluster.kubeconfig(), "state");
    world.raw_config(&text);
    world.repo.fill("", 0..12);
    world.repo.publish("baseline");
    world
}

/// Returns an Application that converges the world's repository into a directory.
pub fn application(world: &World, name: &str) -> Value {
    json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "Application", "metadata": { "name": name },
        "spec": {
            "mode": "converge", "interval": "1s",
            "source": { "url": world.repo.origin },
            "trust": {
                "ssh": { "allowedSigners": world.dir().join("allowed_signers") },
                "approvers": [keys::address("bob")],
            },
            "target": { "directory": { "root": world.dir().join("roots").join(name) } },
        },
    })
}

/// Returns the directory of an application.
pub fn root(world: &World, name: &str) -> PathBuf {
    world.dir().join("roots").join(name)
}

/// Returns a condition.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

pub fn is(object: &Value, kind: &str) -> bool {
    condition(object, kind)["status"] == "True"
}

/// Waits until an Application is as wanted, and returns it.
#[track_caller]
pub fn until(
    controller: &mut Controller<'_>,
    cluster: &Cluster,
    name: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        controller.until(what, || {
            last = cluster.read("application", name)?;
            wanted(&last).then(|| last.clone())
        })
    }));
    seen.unwrap_or_else(|_| panic!("waited in vain for {what}: {last:#}"))
}

/// Waits for an event of a reason about an Application, and returns its note.
#[track_caller]
fn event(controller: &mut Controller<'_>, cluster: &Cluster, name: &str, reason: &str) -> String {
    let field = format!("reason={reason}");
    controller.until(&format!("an event {reason}"), || {
        let kind = "events.v1.events.k8s.io";
        let ran = cluster.kubectl(&["get", kind, "-n", &cluster.namespace, "--field-selector", &field, "-o", "json"]);
        let all = ran.ok().json();
        let ours = all["items"].as_array()?.iter().find(|event| event["regarding"]["name"] == name)?;
        assert_eq!(ours["regarding"]["kind"], "Application");
        ours["note"].as_str().map(str::to_owned)
    })
}

#[test]
fn an_application_converges_is_told_halts_freezes_and_leaves_everything_when_it_is_deleted() {
    let cluster = cluster();
    let world = world(&cluster);
    let mut controller = world.controller();
    cluster.apply(&application(&world, "web"), &[]).ok();

    // It converges, and says so as kstatus reads it.
    let web = until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    assert!(is(&web, "Ready") && !is(&web, "Reconciling") && !is(&web, "Stalled"), "{web:#}");
    assert_eq!(web["status"]["observedGeneration"], web["metadata"]["generation"]);
    for latch in [
        "Freeze",
        "State",
        "Observation",
        "Observe",
        "History",
        "Signature",
        "Render",
        "Plan",
        "Health",
        "Drift",
        "Failure",
    ] {
        assert_eq!(condition(&web, latch)["status"], "False", "{latch}: {web:#}");
    }
    cluster
        .kubectl(&["wait", "application/web", "-n", &cluster.namespace, "--for=condition=Ready", "--timeout=30s"])
        .ok();
    let printed = cluster.kubectl(&["get", "applications", "-n", &cluster.namespace]).ok().stdout;
    let head = world.repo.head();
    for word in ["MODE", "STATE", "DRIFT", "REVISION", "AGE", "converge", "Converged", &head[..7]] {
        assert!(printed.contains(word), "{word} is not printed:\n{printed}");
    }
    assert!(event(&mut controller, &cluster, "web", "Converged").contains(&head[..7]));
    assert_eq!(fs::read_dir(root(&world, "web")).expect("the root is readable").count(), 13, "12 files and the anchor");

    // A steady state writes nothing: the version stays while cycles go by.
    let mut pass = |cycles: u64| {
        let first = last_cycle(&world);
        controller.until("more cycles", || (last_cycle(&world) >= first + cycles).then_some(()));
        cluster.read("application", "web").expect("it is there")
    };
    let (before, after) = (pass(2), pass(3));
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"], "{before:#}\n{after:#}");

    // Drift heals.
    fs::remove_file(root(&world, "web").join("f003.conf")).expect("the file is removed");
    assert!(event(&mut controller, &cluster, "web", "Healed").contains("f003.conf"));

    // A poisoned commit halts.
    (0..9).for_each(|at| {
        world.repo.remove(&format!("f{at:03}.conf"));
    });
    let poison = world.repo.publish("remove nearly everything");
    let web = until(&mut controller, &cluster, "web", "it halted", |web| is(web, "Plan"));
    assert!(is(&web, "Stalled") && !is(&web, "Ready") && web["status"]["state"] == "Halted", "{web:#}");
    assert_eq!(web["status"]["plan"]["deletes"], 9);
    assert!(web["status"]["plan"]["culprit"].as_str().is_some_and(|culprit| culprit.contains(&poison[..7])), "{web:#}");
    assert!(
        condition(&web, "Plan")["message"].as_str().is_some_and(|told| told.contains("holdfast approve web sha256:"))
    );
    event(&mut controller, &cluster, "web", "PlanSet");
    assert!(root(&world, "web").join("f000.conf").exists());

    // Frozen by a field; thawed by taking it out.
    let freeze = json!({ "spec": { "freeze": { "reason": "an incident", "owner": "alice" } } }).to_string();
    cluster.kubectl(&["patch", "application", "web", "-n", &cluster.namespace, "--type=merge", "-p", &freeze]).ok();
    let web = until(&mut controller, &cluster, "web", "it is frozen", |web| web["status"]["state"] == "Frozen");
    assert!(condition(&web, "Freeze")["message"].as_str().is_some_and(|told| told.contains("an incident")), "{web:#}");
    let thaw = r#"[{"op":"remove","path":"/spec/freeze"}]"#;
    cluster.kubectl(&["patch", "application", "web", "-n", &cluster.namespace, "--type=json", "-p", thaw]).ok();
    until(&mut controller, &cluster, "web", "it is thawed", |web| web["status"]["state"] == "Halted");
    world.repo.git(&["checkout", "HEAD~1", "--", "."]);
    world.repo.publish("take it back");
    until(&mut controller, &cluster, "web", "the revert converged", |web| web["status"]["state"] == "Converged");

    // Deleted: nothing of the target is touched, and nothing is healed any more.
    cluster.kubectl(&["delete", "application", "web", "-n", &cluster.namespace]).ok();
    controller.until("it is let go", || controller_log(&world).contains("worked on no longer").then_some(()));
    let before = fs::read_dir(root(&world, "web")).expect("the root is readable").count();
    fs::remove_file(root(&world, "web").join("f001.conf")).expect("the file is removed");
    cluster.apply(&application(&world, "db"), &[]).ok();
    fs::create_dir_all(root(&world, "db")).expect("the root is made");
    until(&mut controller, &cluster, "db", "another one converged", |db| db["status"]["state"] == "Converged");
    assert_eq!(fs::read_dir(root(&world, "web")).expect("the root is readable").count(), before - 1);
    assert_eq!(controller.stop().code(), Some(0));
    let lease = cluster.read("lease", "holdfast-0").expect("there is a Lease");
    assert_eq!(lease["spec"]["holderIdentity"], "", "it is given back: {lease:#}");
}

fn controller_log(world: &World) -> String {
    fs::read_to_string(world.dir().join("controller.log")).unwrap_or_default()
}

/// Returns the number of the last cycle that the ledger's report is of.
pub fn last_cycle(world: &World) -> u64 {
    let ran = world.holdfast(&["status", "--output", "json"]).ok();
    let document = ran.json();
    let id = document["applications"][0]["lastCycle"]["id"].as_str().unwrap_or_default();
    id.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn what_is_wrong_with_one_application_is_told_in_it_and_stops_no_other() {
    let cluster = cluster();
    let mut world = world(&cluster);
    let port = free_port();
    let text = controller_document(&world, &cluster, &cluster.kubeconfig(), "state");
    world.raw_config(&format!("{text}  listen: 127.0.0.1:{port}\n"));
    let mut controller = world.controller();
    let mut wrong = application(&world, "wrong");
    // What only the controller can know: the server takes it.
    wrong["spec"]["guards"] = json!({ "deleteHalt": { "ovver": 1 } });
    wrong["spec"]["drift"] = json!({ "ignore": [{ "kind": "Deployment" }] });
    cluster.apply(&wrong, &[]).ok();
    cluster.apply(&application(&world, "web"), &[]).ok();
    until(&mut controller, &cluster, "web", "the right one converged", |web| web["status"]["state"] == "Converged");
    let told = until(&mut controller, &cluster, "wrong", "the wrong one is told", |wrong| is(wrong, "Stalled"));
    assert_eq!(told["status"]["state"], "Invalid");
    let errors: Vec<&str> =
        told["status"]["errors"].as_array().into_iter().flatten().filter_map(|error| error["field"].as_str()).collect();
    assert_eq!(errors, ["spec.drift.ignore[0].kind", "spec.guards.deleteHalt.ovver"], "{told:#}");
    assert!(event(&mut controller, &cluster, "wrong", "Invalid").contains("ovver"));

    // The same place as another one's: the older stays.
    let mut second = application(&world, "second");
    second["spec"]["target"]["directory"]["root"] = json!(root(&world, "web"));
    cluster.apply(&second, &[]).ok();
    let told = until(&mut controller, &cluster, "second", "the second is refused", |second| is(second, "Stalled"));
    assert!(told["status"]["errors"][0]["what"].as_str().is_some_and(|what| what.contains("web")), "{told:#}");

    // What cannot be opened is told too, and keeps nobody from being ready.
    let mut missing = application(&world, "missing");
    missing["spec"]["source"]["url"] = json!("https://git.invalid/acme/fleet.git");
    missing["spec"]["source"]["caFile"] = json!(world.dir().join("missing.crt"));
    cluster.apply(&missing, &[]).ok();
    let told = until(&mut controller, &cluster, "missing", "it is told", |missing| is(missing, "Stalled"));
    assert!(told["status"]["errors"][0]["what"].as_str().is_some_and(|what| what.contains("missing.crt")), "{told:#}");
    controller.until("it is ready", || request(port, "GET", "/readyz", &[], "").filter(|answer| answer.status == 200));

    // Mended, it goes on.
    fs::create_dir(root(&world, "wrong")).expect("the root is made");
    cluster.kubectl(&["delete", "application", "wrong", "-n", &cluster.namespace]).ok();
    cluster.apply(&application(&world, "wrong"), &[]).ok();
    let mended =
        until(&mut controller, &cluster, "wrong", "it converged", |wrong| wrong["status"]["state"] == "Converged");
    assert!(mended["status"].get("errors").is_none() && !is(&mended, "Stalled"), "{mended:#}");
}

#[test]
fn a_paused_leader_that_wakes_writes_nothing() {
    let cluster = cluster();
    let world = world(&cluster);
    cluster.apply(&application(&world, "web"), &[]).ok();
    let mut first = world.controller();
    until(&mut first, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    first.signal("STOP");

    // Another process of the same replica, on what the volume held: another machine took it over.
    copy(&world.dir().join("state"), &world.dir().join("taken"));
    let text = controller_document(&world, &cluster, &cluster.kubeconfig(), "taken");
    let before = cluster.read("lease", "holdfast-0").expect("there is a Lease")["spec"].clone();
    let mut second = world.controller_with("second.yaml", &text);
    let moved = second.until("the Lease moved", || {
        let lease = cluster.read("lease", "holdfast-0")?;
        (lease["spec"]["holderIdentity"] != before["holderIdentity"]).then_some(lease)
    });
    assert_eq!(moved["spec"]["leaseTransitions"], before["leaseTransitions"].as_i64().unwrap_or(0) + 1, "{moved:#}");
    assert_eq!(moved["metadata"]["annotations"]["holdfast.dev/epoch"], "2", "{moved:#}");
    assert!(moved["spec"]["renewTime"].as_str().is_some_and(|at| at.len() == "2026-01-01T00:00:00.000000Z".len()));
    world.repo.change("", 0..2, "omega");
    let newer = world.repo.publish("what the second writes");
    until(&mut second, &cluster, "web", "the second converged it", |web| {
        web["status"]["source"]["converged"] == *newer && web["status"]["state"] == "Converged"
    });
    second.stop();

    // It wakes, finds that it may not write, and says so; nobody else is there to write what is asked for now.
    world.repo.write("late.conf", "nobody may write this");
    world.repo.publish("nobody may write this");
    let late = root(&world, "web").join("late.conf");
    hold_the_lease(&cluster);
    first.signal("CONT");
    let status = first.until("it knows", || {
        let ran = world.holdfast(&["status", "--output", "json"]);
        let document = ran.json();
        let web = document["applications"][0].clone();
        let reasons = web["latches"][0]["reasons"].to_string();
        (reasons.contains("the Lease is held by somebody-else")).then_some(web)
    });
    assert_eq!(status["writes"], json!({ "promotion": false, "healing": false }), "{status:#}");
    let begun = last_cycle(&world);
    first.until("some more cycles", || (last_cycle(&world) >= begun + 3).then_some(()));
    assert!(!late.exists());

    // With the Lease back in its hands, what it remembers is older than what the target says: STATE, and the way back.
    cluster.kubectl(&["delete", "lease", "holdfast-0", "-n", &cluster.namespace]).ok();
    let web = until(&mut first, &cluster, "web", "the ledger is older than the target", |web| is(web, "State"));
    assert!(condition(&web, "State")["message"].as_str().is_some_and(|told| told.contains("reanchor")), "{web:#}");
    assert!(!late.exists());
    world.holdfast(&["reanchor", "web", &world.repo.head(), "--reason", "the other replica is gone"]).ok();
    first.until("it writes again", || late.exists().then_some(()));
    // What the other one wrote is a change by nobody known, and is not overwritten.
    let kept = fs::read_to_string(root(&world, "web").join("f000.conf")).expect("it is readable");
    assert!(kept.contains("omega"), "{kept}");
}

/// Holds the Lease as somebody else, for an hour.
#[track_caller]
fn hold_the_lease(cluster: &Cluster) {
    let spec = json!({ "spec": {
        "holderIdentity": "somebody-else", "leaseDurationSeconds": 3600, "renewTime": "2026-01-01T00:00:00.000000Z",
    } });
    let patch = spec.to_string();
    cluster.kubectl(&["patch", "lease", "holdfast-0", "-n", &cluster.namespace, "--type=merge", "-p", &patch]).ok();
}

#[test]
fn a_lost_volume_is_no_first_use() {
    let cluster = cluster();
    let world = world(&cluster);
    cluster.apply(&application(&world, "web"), &[]).ok();
    let mut controller = world.controller();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    controller.stop();
    fs::remove_dir_all(world.dir().join("state")).expect("the volume is lost");
    fs::remove_file(root(&world, "web").join("f003.conf")).expect("the file is removed");
    let mut controller = world.controller();
    let web = until(&mut controller, &cluster, "web", "it is not trusted", |web| is(web, "State"));
    assert!(is(&web, "Stalled") && web["status"]["writes"]["healing"] == false, "{web:#}");
    assert!(!root(&world, "web").join("f003.conf").exists());
    world.holdfast(&["reanchor", "web", &world.repo.head(), "--reason", "the volume was lost"]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    assert!(root(&world, "web").join("f003.conf").exists());
}

#[test]
fn the_server_refuses_what_validation_refuses() {
    let cluster = cluster();
    let good = json!({
        "apiVersion": "holdfast.dev/v1alpha1", "kind": "Application", "metadata": { "name": "web" },
        "spec": {
            "source": { "url": "https://git.example.com/acme/fleet.git" },
            "target": { "kubernetes": { "serviceAccount": "deployer" } },
        },
    });
    cluster.apply(&good, &["--dry-run=server"]).ok();
    let signers = json!({ "ssh": { "allowedSigners": "signers/allowed" } });
    let better = [
        ("/spec/mode", json!("converge"), Some(("/spec/trust", signers))),
        ("/spec/freeze", json!(true), None),
        ("/spec/freeze", json!({ "reason": "an incident", "until": "2030-01-01T00:00:00Z" }), None),
        (
            "/spec/guards",
            json!({ "changeHalt": 3, "bumpHalt": "disabled", "deleteHalt": { "over": 5, "atMost": "disabled" } }),
            None,
        ),
        ("/spec/guards", json!({ "window": { "deletes": { "1h": 1, "7d": "disabled" } }, "rate": "disabled" }), None),
        ("/spec/drift", json!({ "emergency": { "escalate": { "revertAfter": "8h" } }, "routine": "adopt" }), None),
        ("/spec/source/url", json!("git@git.example.com:acme/fleet.git"), None),
    ];
    for (field, value, more) in better {
        let mut document = with(&good, field, value);
        if let Some((field, value)) = more {
            document = with(&document, field, value);
        }
        cluster.apply(&document, &["--dry-run=server"]).ok();
    }
    let bad = [
        ("/metadata/name", json!("web.app"), "DNS label"),
        ("/spec/mode", json!("converge"), "needs trust.ssh or trust.openpgp"),
        ("/spec/mode", json!("write"), "Unsupported value"),
        ("/spec/interval", json!("0s"), "at least 1s"),
        ("/spec/interval", json!("3"), "should match"),
        ("/spec/colour", json!("red"), ".spec.colour: field not declared"),
        ("/spec/source/url", json!("https://user:password@git.example.com/a.git"), "holds a user or password"),
        ("/spec/source/url", json!("ftp://git.example.com/a.git"), "write https://"),
        ("/spec/source/branch", json!("refs/heads/main"), "without refs/heads/"),
        ("/spec/source/branch", json!("a..b"), "no branch's name"),
        ("/spec/source/path", json!("/hosts"), "below the repository's root"),
        ("/spec/source/path", json!("a/../../b"), "leaves the repository"),
        ("/spec/source/render", json!({}), "exactly one of plain, kustomize and helm"),
        ("/spec/source/credentials", json!({}), "one way to prove"),
        (
            "/spec/source/credentials",
            json!({ "tokenFile": "a", "sshKeyFile": "b", "knownHostsFile": "c" }),
            "one way to prove",
        ),
        ("/spec/source/credentials", json!({ "sshKeyFile": "b" }), "go together"),
        ("/spec/source/credentials", json!({ "passwordFile": "b" }), "go together"),
        ("/spec/trust", json!({ "anchor": "abc" }), "should match"),
        ("/spec/trust", json!({ "signers": [] }), "at least 1 items"),
        ("/spec/trust", json!({ "signers": ["*@acme.example"] }), "should match"),
        ("/spec/target", json!({}), "exactly one of directory, kubernetes and exec"),
        ("/spec/target", json!({ "directory": { "root": "/a" }, "exec": { "run": ["a"] } }), "exactly one"),
        ("/spec/target", json!({ "exec": {} }), "spec.target.exec.run"),
        ("/spec/guards", json!({ "changeHalt": "off" }), "should match"),
        ("/spec/guards", json!({ "changeHalt": -1 }), "greater than or equal to 0"),
        ("/spec/guards", json!({ "deleteHalt": { "over": "five" } }), "expected numeric"),
        ("/spec/guards", json!({ "backoff": { "initial": "0s" } }), "at least 1s"),
        ("/spec/drift", json!({ "ignore": [{ "paths": ["/a"] }] }), "would ignore all drift"),
        ("/spec/drift", json!({ "ignore": [{ "kind": "Deployment", "paths": ["spec"] }] }), "should match"),
        ("/spec/drift", json!({ "tamper": "ignore" }), "should match"),
    ];
    for (field, value, told) in bad {
        let ran = cluster.apply(&with(&good, field, value.clone()), &["--dry-run=server", "--validate=strict"]);
        assert!(ran.code != Some(0), "{field}: {value} was taken");
        assert!(ran.stderr.contains(told), "{field}: {value} is refused with:\n{}", ran.stderr);
    }
}

/// Sets a field, making the mappings on the way.
fn with(document: &Value, field: &str, value: Value) -> Value {
    let mut document = document.clone();
    let mut at = &mut document;
    for step in field.trim_start_matches('/').split('/') {
        at = &mut at[step];
    }
    *at = value;
    document
}

#[test]
fn every_example_is_taken_by_the_server() {
    let cluster = cluster();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        Command::new("git").args(["ls-files", "examples", "charts"]).current_dir(root).output().expect("git runs");
    let files = String::from_utf8_lossy(&found.stdout).into_owned();
    let mut applications = 0;
    for file in files.lines().filter(|file| file.ends_with(".yaml")) {
        let text = fs::read_to_string(root.join(file)).expect("the example is readable");
        for document in text.split("\n---").filter(|document| document.contains("kind: Application\n")) {
            if document.contains("kind: CustomResourceDefinition") || document.contains("{{") {
                continue;
            }
            let value: Value = serde_yaml::from_str(document.trim_start_matches("---")).expect("it is YAML");
            cluster.apply(&value, &["--dry-run=server", "--validate=strict"]).ok();
            applications += 1;
        }
    }
    assert!(applications > 0, "no example has an Application");
}

#[test]
fn replicas_share_the_repositories_and_each_application_has_one_judge() {
    let cluster = cluster();
    let world = world(&cluster);
    // Addresses of one repository that differ, until each replica owns one.
    let mut addresses: [Option<String>; 2] = [None, None];
    for at in 0.. {
        let link = world.dir().join(format!("repository-{at}"));
        let address = link.to_string_lossy().into_owned();
        let slot = &mut addresses[holdfast::core::tenure::owner(&address, 2) as usize];
        if slot.is_none() {
            std::os::unix::fs::symlink(&world.repo.origin, &link).expect("the link is made");
            *slot = Some(address);
        }
        if addresses.iter().all(Option::is_some) {
            break;
        }
    }
    let text = |state: &str| {
        format!("{}    replicas: 2\n", controller_document(&world, &cluster, &cluster.kubeconfig(), state))
    };
    let mut zero = world.controller_as("zero.yaml", &text("zero"), "holdfast-0");
    let mut one = world.controller_as("one.yaml", &text("one"), "holdfast-1");
    for (name, address) in ["a", "b"].iter().zip(addresses.iter().flatten()) {
        fs::create_dir_all(root(&world, name)).expect("the root is made");
        let mut document = application(&world, name);
        document["spec"]["source"]["url"] = json!(address);
        cluster.apply(&document, &[]).ok();
    }
    for (controller, name, pod) in [(&mut zero, "a", "holdfast-0"), (&mut one, "b", "holdfast-1")] {
        let done = until(controller, &cluster, name, "it converged", |app| app["status"]["state"] == "Converged");
        assert_eq!(done["status"]["replica"], format!("{}/{pod}", cluster.namespace), "{done:#}");
        let lease = cluster.read("lease", pod).expect("there is a Lease");
        assert!(lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| holder.starts_with(pod)), "{lease:#}");
    }
    assert!(!zero.log().contains("app=b") && !one.log().contains("app=a"), "one was worked on twice");
    assert_eq!((zero.stop().code(), one.stop().code()), (Some(0), Some(0)));
    let refused =
        world.command(&["run", "--once", "--pod", "holdfast-2", "-c", "zero.yaml"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which of 2 replicas"), "{refused:?}");
}

#[test]
fn losing_the_lease_stops_at_the_next_resource() {
    let cluster = cluster();
    let world = world(&cluster);
    let script = world.script(
        "hook.sh",
        "if [ $call = 2 ]; then touch \"$dir/waiting\"; while [ ! -e \"$dir/go\" ]; do sleep 0.02; done; fi",
    );
    let run: Value = serde_yaml::from_str(&script).expect("it is a list");
    let mut document = application(&world, "web");
    document["spec"]["target"]["directory"]["reload"] = json!([{ "match": "*", "run": run, "timeout": "10m" }]);
    document["spec"]["guards"] = json!({ "settle": "10m" });
    cluster.apply(&document, &[]).ok();
    let mut controller = world.controller();
    controller.until("the second batch", || world.dir().join("waiting").exists().then_some(()));
    hold_the_lease(&cluster);
    controller.until("it knows", || controller_log(&world).contains("the Lease was lost").then_some(()));
    fs::write(world.dir().join("go"), "").expect("it goes on");
    let begun = last_cycle(&world);
    controller.until("some more cycles", || (last_cycle(&world) >= begun + 3).then_some(()));
    let count = || fs::read_dir(root(&world, "web")).expect("the root is readable").count();
    assert_eq!(count(), 3 + 1, "one and two resources, and the anchor");

    // Given back, the rollout goes on where it was.
    cluster.kubectl(&["delete", "lease", "holdfast-0", "-n", &cluster.namespace]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    assert_eq!(count(), 12 + 1);
}

/// Returns what `doctor` says of a configuration.
fn controller_doctor(world: &World, config: &str) -> String {
    let output = world.command(&["doctor", "-c", config]).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_status_that_cannot_be_written_stalls_nothing() {
    let cluster = cluster();
    let world = world(&cluster);
    let namespace = &cluster.namespace;
    cluster.kubectl(&["create", "serviceaccount", "mute", "-n", namespace]).ok();
    let rules = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "mute" },
        "rules": [
            { "apiGroups": ["holdfast.dev"], "resources": ["applications"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"] },
        ],
    });
    cluster.apply(&rules, &[]).ok();
    let account = format!("--serviceaccount={namespace}:mute");
    cluster.kubectl(&["create", "rolebinding", "mute", "-n", namespace, "--role=mute", &account]).ok();
    let kubeconfig = cluster.account(namespace, "mute");
    let text = controller_document(&world, &cluster, &kubeconfig, "state");
    let mut controller = world.controller_with("mute.yaml", &text);
    cluster.apply(&application(&world, "web"), &[]).ok();
    controller.until("it converged all the same", || root(&world, "web").join("f011.conf").exists().then_some(()));
    controller.until("it is told", || {
        fs::read_to_string(world.dir().join("mute.yaml.log"))
            .unwrap_or_default()
            .contains("the status was not written")
            .then_some(())
    });
    fs::remove_file(root(&world, "web").join("f003.conf")).expect("the file is removed");
    controller.until("it heals all the same", || root(&world, "web").join("f003.conf").exists().then_some(()));
    assert!(cluster.read("application", "web").expect("it is there").get("status").is_none());

    let asked = controller_doctor(&world, "mute.yaml");
    for told in ["may not patch applications/status", "may not create events", "may update leases"] {
        assert!(asked.contains(told), "{told:?} is not said:\n{asked}");
    }

    // Once it may, the newest is told.
    let more = json!([{ "op": "add", "path": "/rules/-", "value": {
        "apiGroups": ["holdfast.dev"], "resources": ["applications/status"], "verbs": ["patch"],
    } }]);
    cluster.kubectl(&["patch", "role", "mute", "-n", namespace, "--type=json", "-p", &more.to_string()]).ok();
    until(&mut controller, &cluster, "web", "it is told at last", |web| is(web, "Ready"));
}
