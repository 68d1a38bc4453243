//! `kubectl holdfast`: the program under another name, against a real API server.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::apiserver::{Cluster, cluster};
use crate::harness::http::free_port;
use crate::harness::run::Ran;
use crate::harness::servers;
use crate::harness::{World, keys};
use crate::incluster::{application, controller_document, is, root, until, world};

/// Runs the program under the name that kubectl finds it by.
#[track_caller]
fn plugin(world: &World, kubeconfig: &Path, cluster: &Cluster, arguments: &[&str]) -> Ran {
    let link = world.dir().join("kubectl-holdfast");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_holdfast"), &link).expect("the link is made");
    }
    let path = format!("{}:{}", world.dir().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new(servers::program("kubectl"))
        .env("PATH", path)
        .env("KUBECONFIG", kubeconfig)
        .arg("holdfast")
        .args(arguments)
        .args(["-n", &cluster.namespace])
        .output()
        .expect("kubectl runs");
    Ran {
        command: format!("kubectl holdfast {}", arguments.join(" ")),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn the_plug_in_looks_freezes_and_thaws_with_the_rights_of_who_asks() {
    let cluster = cluster();
    let world = world(&cluster);
    let mut controller = world.controller();
    cluster.apply(&application(&world, "web"), &[]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    let admin = cluster.kubeconfig();
    plugin(&world, &admin, &cluster, &["status"]).ok().says(&["web", "Converged", &world.repo.head()[..7]]);
    let frozen =
        plugin(&world, &admin, &cluster, &["freeze", "web", "--reason", "an incident", "--owner", "alice"]).ok();
    frozen.says(&["kubectl holdfast thaw"]);
    let web = until(&mut controller, &cluster, "web", "it is frozen", |web| web["status"]["state"] == "Frozen");
    assert_eq!(web["spec"]["freeze"], json!({ "reason": "an incident", "owner": "alice" }));
    plugin(&world, &admin, &cluster, &["status", "web"]).ok().says(&["FREEZE", "an incident"]);
    let json = plugin(&world, &admin, &cluster, &["status", "web", "--output", "json"]).ok().json();
    assert_eq!(json["applications"][0]["state"], "Frozen");
    plugin(&world, &admin, &cluster, &["thaw", "web"]).ok();
    until(&mut controller, &cluster, "web", "it is thawed", |web| web["status"]["state"] == "Converged");
    plugin(&world, &admin, &cluster, &["thaw", "web"]).ok().says(&["was not frozen by its field"]);

    // Who may not, cannot; what is past or missing is refused.
    cluster.kubectl(&["create", "serviceaccount", "nobody", "-n", &cluster.namespace]).ok();
    let nobody = cluster.account(&cluster.namespace, "nobody");
    let refused = plugin(&world, &nobody, &cluster, &["freeze", "web", "--reason", "mischief"]).refused();
    refused.says(&["forbidden"]);
    plugin(&world, &admin, &cluster, &["freeze", "web", "--reason", "x", "--until", "2020-01-01T00:00:00Z"]).refused();
    plugin(&world, &admin, &cluster, &["status", "missing"]).refused().says(&["there is no Application"]);
}

/// Returns an address of this machine that the API server's proxy accepts: not a loopback.
fn reachable() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn the_plug_in_plans_and_approves_through_the_api_server() {
    let cluster = cluster();
    let Some(address) = reachable() else {
        eprintln!("skipped: this machine has no address but its loopback, which the API server does not ask");
        return;
    };
    let mut world = world(&cluster);
    let (port, tokens) = (free_port(), world.dir().join("tokens"));
    fs::write(&tokens, format!("{} a-token-of-bob-that-is-long\n", keys::address("bob")))
        .expect("the tokens are written");
    let text = controller_document(&world, &cluster, &cluster.kubeconfig(), "state");
    world.raw_config(&format!("{text}  listen: 0.0.0.0:{port}\n  api: {{ tokenFile: {tokens:?} }}\n"));
    // The pod that a kubelet would run; no scheduler takes it, so that its address stays.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "holdfast-0" },
        "spec": { "schedulerName": "nobody", "containers": [{ "name": "holdfast", "image": "holdfast" }] },
    });
    cluster.apply(&pod, &[]).ok();
    let status =
        json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] } }).to_string();
    let patch =
        ["patch", "pod", "holdfast-0", "-n", &cluster.namespace, "--subresource=status", "--type=merge", "-p", &status];
    cluster.kubectl(&patch).ok();
    let mut controller = world.controller();
    cluster.apply(&application(&world, "web"), &[]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    (0..9).for_each(|at| {
        world.repo.remove(&format!("f{at:03}.conf"));
    });
    world.repo.publish("remove nearly everything");
    let web = until(&mut controller, &cluster, "web", "it halted", |web| is(web, "Plan"));
    let digest = web["status"]["plan"]["digest"].as_str().expect("there is a digest").to_owned();
    let (admin, port) = (cluster.kubeconfig(), port.to_string());
    let token = ["--token-file", &tokens.to_string_lossy(), "--port", &port];
    let with_token = |arguments: &[&str]| plugin(&world, &admin, &cluster, &[arguments, &token[..]].concat());
    with_token(&["plan", "web"]).ok().says(&["f000.conf", "9"]);
    with_token(&["drift", "web"]).ok().says(&["no drift"]);
    with_token(&["history", "web", "--last", "20"]).ok().says(&["latched", "PLAN", "cycle"]);
    with_token(&["status", "web"]).ok().says(&["planned: 9 delete", &digest]);
    plugin(&world, &admin, &cluster, &["plan", "web", "--port", &port]).refused().says(&["--token-file"]);
    with_token(&["approve", "web", &digest, "--reason", "it is meant"]).ok().says(&["approved", &keys::address("bob")]);
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["inventory"] == 3);
    assert!(!root(&world, "web").join("f000.conf").exists());

    // With nobody there, what is said to type is what can be typed.
    controller.stop();
    let hint = format!("kubectl exec -n {} holdfast-0 -- holdfast drift web\n", cluster.namespace);
    with_token(&["drift", "web"]).refused().says(&[&hint]);
}
