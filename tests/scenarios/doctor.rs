//! `doctor`: every problem is told with its place and what to do, what is fine is not, and nothing is written.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::harness::run::Ran;
use crate::harness::{HOUR, World, http, keys, tree};

/// Makes a world that never ran.
fn fresh() -> World {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.repo.publish("baseline");
    world
}

/// Makes a world at its baseline.
fn world() -> World {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode is set");
}

impl World {
    /// Asserts that doctor tells exactly one problem, in these words.
    #[track_caller]
    fn has_problem(&self, phrases: &[&str]) {
        let ran = self.holdfast(&["doctor", "--output", "json"]).exits(1);
        let found = verdicts(&ran, "problem");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0]["advice"].as_str().is_some_and(|advice| !advice.is_empty()),
            "what to do is not told: {found:#?}"
        );
        let text = self.holdfast(&["doctor"]).exits(1).says(&["PROBLEM", "1 problem"]);
        for phrase in phrases {
            assert!(found[0].to_string().contains(phrase), "{phrase:?} is not told: {:#}", found[0]);
            assert!(text.stdout.contains(phrase), "{phrase:?} is not told:\n{}", text.stdout);
        }
    }

    /// Asserts that doctor is content, and warns in these words.
    #[track_caller]
    fn has_warning(&self, phrases: &[&str]) {
        let ran = self.holdfast(&["doctor", "--output", "json"]).exits(0);
        let found = verdicts(&ran, "warning");
        let told = |one: &Value| phrases.iter().all(|phrase| one.to_string().contains(phrase));
        assert!(found.iter().any(told), "{phrases:?} is not told: {found:#?}");
        self.holdfast(&["doctor"]).exits(0).says(phrases);
    }
}

#[track_caller]
fn verdicts(ran: &Ran, verdict: &str) -> Vec<Value> {
    let document = ran.json();
    let checks = document["checks"].as_array().expect("checks are listed");
    checks.iter().filter(|check| check["verdict"] == verdict).cloned().collect()
}

#[test]
fn nothing_is_written_before_the_first_run_and_none_after() {
    let world = fresh();
    let ran = world.holdfast(&["doctor", "--output", "json"]).ok();
    assert_eq!(verdicts(&ran, "problem"), Vec::<Value>::new());
    assert!(!world.config.state.exists(), "the state directory was made");
    assert_eq!(world.tree("web").len(), 0);
    world.baseline();
    let files = |world: &World| {
        let state = tree::read(&world.config.state);
        (state.into_iter().filter(|(name, _)| !name.contains("ledger.db-")).collect::<Vec<_>>(), world.tree("web"))
    };
    let before = files(&world);
    world.holdfast(&["doctor"]).ok().says(&["12 resources", "0 problems"]);
    assert!(files(&world) == before, "doctor changed what it looked at");
    world.converge("web");
}

#[test]
fn files_with_secrets_are_there_and_nobody_else_s() {
    let mut world = fresh();
    let token = world.dir().join("token");
    world.config.controller.push(format!("api: {{ tokenFile: {token:?} }}"));
    world.has_problem(&["token", "api.tokenFile", "No such file"]);
    fs::write(&token, "hunter2-hunter2-hunter2\n").expect("the token is written");
    mode(&token, 0o644);
    world.has_problem(&["everybody on this machine may read it", "chmod o-rwx"]);
    mode(&token, 0o600);
    world.holdfast(&["doctor"]).ok();
    fs::write(&token, "").expect("the token is emptied");
    world.has_problem(&["api.tokenFile", "is empty"]);
}

#[test]
fn files_with_trust_are_written_by_nobody_else_and_list_somebody() {
    let mut world = fresh();
    let file = world.dir().join("allowed_signers");
    mode(&file, 0o666);
    world.has_problem(&["allowed_signers", "chmod o-w"]);
    mode(&file, 0o644);
    fs::write(&file, "# nobody yet\n").expect("the signers are written");
    world.has_problem(&["nobody is listed"]);
    fs::write(&file, keys::allowed_signers()).expect("the signers are written");
    world.app("web").trust("approvers: [somebody.else@example.org]");
    world.has_warning(&["no key is listed for somebody.else@example.org"]);
    let revocations = format!("revocations: {:?}", world.dir().join("no-such-list"));
    world.app("web").ssh.push(revocations);
    let said = world.holdfast(&["doctor"]).exits(1);
    said.says(&["no-such-list", "revocation list cannot be read"]);
}

#[test]
fn the_tip_is_judged_as_the_controller_would() {
    let world = fresh();
    world.holdfast(&["doctor"]).ok().says(&["is signed by"]);
    world.repo.change("", 0..1, "omega");
    world.repo.commit("not signed").unsigned_by("mallory");
    world.repo.push();
    world.has_warning(&["would be held", "unsigned"]);
    world.repo.change("", 1..2, "omega");
    world.repo.commit("tomorrow").dated(world.clock.now() + 24 * HOUR).by("alice");
    world.repo.push();
    world.has_warning(&["from the future"]);
}

#[test]
fn a_repository_that_is_not_as_configured_is_told_apart() {
    let mut world = fresh();
    world.app("web").branch = "mian".to_owned();
    world.has_problem(&["there is no branch", "mian", "main", "source.branch"]);
    world.app("web").branch = "main".to_owned();
    world.app("web").path("hosts/web");
    world.has_problem(&["hosts/web", "source.path"]);
    world.app("web").path(".");
    // Somebody listens there, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = silent.local_addr().expect("it is bound").port();
    world.app("web").url = format!("http://127.0.0.1:{port}/fleet.git");
    world.app("web").source.push("timeout: 1s".to_owned());
    world.has_problem(&["127.0.0.1", "longer than"]);
    drop(silent);
    world.has_problem(&["127.0.0.1", "cannot be reached"]);
}

#[test]
fn a_root_that_is_missing_or_not_ours_is_a_problem() {
    let mut world = world();
    let root = world.root("web");
    // Another state directory is another ledger.
    let another = world.dir().join("another");
    let state = std::mem::replace(&mut world.config.state, another);
    world.has_problem(&["another ledger", "docs/runbook/state.md"]);
    world.config.state = state;
    let held = fs::File::open(&root).expect("the root opens");
    held.lock().expect("the root is locked");
    world.has_problem(&["another controller is writing", "stop one"]);
    drop(held);
    world.holdfast(&["doctor"]).ok();
    fs::rename(&root, world.dir().join("elsewhere")).expect("the root is moved");
    world.has_problem(&["does not exist", "never makes a root"]);
}

#[test]
fn directories_that_may_not_be_written_are_told_with_the_user() {
    let mut world = fresh();
    world.without_privilege();
    let root = world.root("web");
    world.with_mode(&root, 0o555, || world.has_problem(&["cannot be written", "this runs as user"]));
    world.baseline();
    let state = world.config.state.clone();
    world.with_mode(&state, 0o777, || world.has_problem(&["others may write it", "chmod go-w"]));
    world.holdfast(&["doctor"]).ok();
}

#[test]
fn a_ledger_that_is_damaged_and_a_clock_behind_it_are_problems() {
    let world = world();
    world.clock.jump(-2 * HOUR);
    world.has_problem(&["7", "s behind", "NTP"]);
    world.clock.jump(2 * HOUR);
    let ledger = world.config.state.join("ledger.db");
    for file in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = fs::remove_file(world.config.state.join(file));
    }
    fs::write(&ledger, "no database at all, but long enough to look like one".repeat(100)).expect("it is damaged");
    let said = world.holdfast(&["doctor"]).exits(1);
    said.says(&["ledger.db", "not usable", "docs/runbook/state.md"]);
}

#[test]
fn a_freeze_is_told_and_is_no_problem() {
    let world = world();
    world.holdfast(&["doctor"]).ok().says(&["nothing is frozen"]);
    fs::write(world.config.state.join("FREEZE"), "reason: audit\n").expect("the freeze is written");
    world.has_warning(&["audit", "holdfast thaw web"]);
    fs::remove_file(world.config.state.join("FREEZE")).expect("the freeze is removed");
    world.repo.write("FREEZE", "");
    world.repo.publish("freeze");
    world.has_warning(&["FREEZE at the tip"]);
}

#[test]
fn the_port_is_free_or_the_running_controller_s() {
    let mut world = world();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port();
    world.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    world.has_problem(&["cannot be listened on", "ss -ltnp"]);
    drop(taken);
    world.holdfast(&["doctor"]).ok().says(&["free"]);
    world.config.controller.clear();
    world.config.controller.push(format!("listen: 127.0.0.1:{}", http::free_port()));
    let mut controller = world.controller();
    controller.until_status("the first cycle", "web", |status| status.at("/lastCycle/complete") == true);
    world.holdfast(&["doctor"]).ok().says(&["a controller is running"]);
}

#[test]
fn receivers_are_reached_and_hear_nothing() {
    let mut world = fresh();
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = receiver.local_addr().expect("it is bound").port();
    let webhook = format!("notify: [ {{ webhook: {{ url: \"http://127.0.0.1:{port}/hook-secret\" }} }} ]");
    world.config.controller.push(webhook);
    world.holdfast(&["doctor"]).ok().says(&["no alert was sent"]);
    let (mut heard, _) = receiver.accept().expect("somebody came");
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut heard, &mut said).expect("it hung up");
    assert!(said.is_empty(), "{said:?}");
    drop((heard, receiver));
    world.has_problem(&["alerts would not arrive", "notify.webhook.url"]);
    let told = world.holdfast(&["doctor"]);
    assert!(!told.stdout.contains("hook-secret"), "the receiver's address is a secret:\n{}", told.stdout);
}

#[test]
fn a_hosting_service_is_asked_what_its_credentials_are_good_for() {
    let mut world = fresh();
    let token = world.dir().join("forge-token");
    fs::write(&token, "hunter2-hunter2-hunter2\n").expect("the token is written");
    mode(&token, 0o600);
    let port = http::free_port();
    let forge = format!("forges: [ {{ kind: gitea, url: \"http://127.0.0.1:{port}\", tokenFile: {token:?} }} ]");
    world.config.controller.push(forge);
    world.has_warning(&["no application's repository is there", "source.url"]);
    world.app("web").url = format!("http://127.0.0.1:{port}/acme/fleet.git");
    // Its repository cannot be reached either, which is another problem.
    let ran = world.holdfast(&["doctor", "--output", "json"]).exits(1);
    let told = verdicts(&ran, "problem").into_iter().find(|check| check["check"] == "hosting");
    let told = told.expect("the service is a problem");
    assert_eq!(told["where"], "127.0.0.1/acme/fleet");
    assert!(told["message"].as_str().is_some_and(|message| message.contains("could not be reached")), "{told:#}");
    assert!(!ran.stdout.contains("hunter2"), "a token was shown:\n{}", ran.stdout);
}

#[test]
fn commands_that_cannot_be_run_are_named() {
    let mut world = fresh();
    let script = world.dir().join("check.sh");
    fs::write(&script, "#!/bin/sh\n").expect("the script is written");
    let reload = format!("reload: [ {{ match: \"*.conf\", run: [sh, -c, \"true\"], check: [{script:?}] }} ]");
    world.app("web").directory(&reload);
    mode(&script, 0o644);
    world.has_problem(&["check.sh", "reload.check", "may not be executed"]);
    mode(&script, 0o755);
    world.holdfast(&["doctor"]).ok();
    world.app("web").directory("reload: [ { match: \"*.conf\", run: [no-such-program-here] } ]");
    world.has_problem(&["no-such-program-here", "reload.run", "PATH"]);
}

#[test]
fn the_first_steps_lead_from_init_to_a_plan() {
    let world = fresh();
    let at = world.dir().join("fresh");
    fs::create_dir(&at).expect("the folder is made");
    let (url, root) = (world.repo.origin.to_string_lossy().into_owned(), world.root("web"));
    let signers = world.dir().join("allowed_signers");
    let run = |arguments: &[&str]| {
        let ran = world.command(arguments).current_dir(&at).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        (ran.status.code(), said)
    };
    let (url, root, signers) = (url.as_str(), &*root.to_string_lossy(), &*signers.to_string_lossy());
    let (code, said) = run(&["init", "--repo", url, "--root", root, "--allowed-signers", signers, "--name", "web"]);
    assert_eq!(code, Some(0), "{said}");
    // Where it would listen by itself, somebody else on this machine may.
    let file = at.join("holdfast.yaml");
    let text = fs::read_to_string(&file).expect("the configuration is written");
    let elsewhere = text.replace("127.0.0.1:8686", &format!("127.0.0.1:{}", http::free_port()));
    assert_ne!(text, elsewhere);
    fs::write(&file, elsewhere).expect("the configuration is written");
    for (next, told) in [("doctor", "the tip"), ("plan", "12 create")] {
        assert!(said.contains(&format!("holdfast {next}")), "what to type next is not told:\n{said}");
        let (code, said) = run(&[next]);
        assert!(code == Some(0) && said.contains(told), "{next}: {code:?}\n{said}");
    }
    let (code, said) = run(&["init", "--repo", "ftp://nowhere/x", "--root", root, "--to", "other.yaml"]);
    assert!(code == Some(64) && !at.join("other.yaml").exists(), "{code:?} {said}");
}
