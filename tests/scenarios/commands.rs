//! The commands as people use them: exit codes, JSON, and what is said when something is wrong.

use std::fs;

use serde_json::Value;

use crate::harness::{World, keys, short};

/// Makes a world at its baseline.
fn world() -> World {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world
}

#[test]
fn wrong_usage_is_64_and_says_what_is_right() {
    let world = world();
    world.bare(&["no-such-command"]).exits(64);
    world.bare(&["status", "--no-such-option"]).exits(64);
    world.bare(&["status", "--output", "xml"]).exits(64);
    world.bare(&["approve", "web"]).exits(64);
    world.bare(&[]).calm().says(&["Usage"]);
    world.bare(&["--help"]).ok().says(&["status", "freeze", "approve", "backtest"]);
    world.bare(&["freeze", "--help"]).ok().says(&["--reason"]);
    world.bare(&["--version"]).ok().says(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn an_invalid_or_missing_configuration_is_65() {
    let mut world = World::empty();
    world.bare(&["status", "-c", "/nowhere/holdfast.yaml"]).exits(65).says(&["/nowhere/holdfast.yaml"]);
    // With neither ./holdfast.yaml nor /etc/holdfast.
    if !std::path::Path::new("/etc/holdfast").exists() {
        world.bare(&["status"]).exits(65).says(&["holdfast.yaml", "holdfast init"]);
    }
    world.raw_config("kind: [\n");
    for command in [&["run", "--once"][..], &["status"], &["plan"], &["doctor"]] {
        world.holdfast(command).exits(65);
    }
}

#[test]
fn an_unknown_application_is_named_with_those_that_there_are() {
    let world = world();
    for command in [&["status", "wbe"][..], &["plan", "wbe"], &["freeze", "wbe", "--reason", "r"], &["verify", "wbe"]] {
        world.holdfast(command).refused().says(&["wbe", "web"]);
    }
    world.assert_free("web");
}

#[test]
fn plan_tells_by_its_exit_code() {
    let world = world();
    world.holdfast(&["plan", "web", "--exit-code"]).exits(0);
    world.repo.change("", 0..1, "omega");
    world.repo.publish("one change");
    world.holdfast(&["plan", "web", "--exit-code"]).exits(2);
    world.holdfast(&["plan", "web"]).ok();
    world.repo.drop("", 0..11);
    let poison = world.repo.publish("poison");
    world.holdfast(&["plan", "web", "--exit-code"]).exits(3).says(&[short(&poison)]);
    world.holdfast(&["plan", "--exit-code"]).exits(3);

    let world = self::world();
    world.remove_live("web", "f003.conf");
    world.holdfast(&["plan", "web", "--exit-code"]).exits(2);
}

#[test]
fn plan_writes_nothing_and_shows_every_operation_with_its_difference() {
    let world = world();
    world.repo.change("", 0..2, "omega").drop("", 2..3).write("new.conf", "fresh = yes\n");
    world.repo.publish("four changes");
    let before = world.tree("web");
    let plan = world.plan("web");
    world.assert_unchanged("web", &before);
    let numbers = ["/plan/creates", "/plan/updates", "/plan/deletes"].map(|pointer| plan.number(pointer));
    assert_eq!(numbers, [1, 2, 1], "{:#}", plan.0);
    let mut operations: Vec<_> = plan
        .operations()
        .iter()
        .map(|one| (one["resource"].as_str().unwrap_or_default(), one["effect"].as_str().unwrap_or_default()))
        .collect();
    operations.sort_unstable();
    assert_eq!(
        operations,
        [("f000.conf", "update"), ("f001.conf", "update"), ("f002.conf", "delete"), ("new.conf", "create")]
    );
    let update = plan.operations().iter().find(|one| one["resource"] == "f000.conf").expect("it is listed");
    let text = update["diff"].to_string();
    assert!(text.contains("alpha") && text.contains("omega"), "the difference is not shown: {update:#}");
    world.holdfast(&["plan", "web"]).ok().says(&["f000.conf", "new.conf", "f002.conf"]);
}

#[test]
fn plan_of_a_revision_shows_what_its_merge_would_do() {
    let world = world();
    world.repo.git(&["checkout", "-q", "-b", "feature"]);
    world.repo.drop("", 0..11);
    let tip = world.repo.publish("drop most");
    world.repo.git(&["checkout", "-q", "main"]);
    let before = world.tree("web");
    for revision in ["feature", tip.as_str()] {
        let ran = world.holdfast(&["plan", "web", "--rev", revision, "--exit-code", "--output", "json"]).exits(3);
        assert_eq!(crate::harness::Status::of(&ran.json(), "web").number("/plan/deletes"), 11);
    }
    world.assert_unchanged("web", &before);
    world.assert_free("web");
    world.holdfast(&["plan", "web", "--rev", "no-such-revision"]).refused().says(&["no-such-revision"]);
}

#[test]
fn everything_speaks_json_and_never_null() {
    let world = world();
    world.repo.drop("", 0..11);
    world.repo.publish("poison");
    world.remove_live("web", "f011.conf");
    world.counted_cycle();
    for command in [
        &["status"][..],
        &["status", "web"],
        &["plan"],
        &["plan", "web"],
        &["drift"],
        &["drift", "web"],
        &["history"],
        &["history", "web"],
        &["verify", "web"],
        &["backtest", "web"],
        &["doctor"],
    ] {
        let mut arguments = command.to_vec();
        arguments.extend(["--output", "json"]);
        let ran = world.holdfast(&arguments);
        assert!(ran.code.is_some_and(|code| code < 64), "{ran:?}");
        let document = ran.json();
        assert!(!has_null(&document), "`{}` prints null where it should print nothing:\n{document:#}", ran.command);
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.iter().any(has_null),
        Value::Object(all) => all.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[test]
fn status_has_the_promised_fields() {
    let world = world();
    let status = world.status("web");
    assert_eq!(status.at("/name"), "web");
    assert_eq!(status.at("/mode"), "converge");
    assert_eq!(status.at("/inventory"), 12);
    assert!(status.writes("promotion") && status.writes("healing"));
    let head = world.repo.head();
    for pointer in ["/source/tip", "/source/verified", "/source/converged"] {
        assert_eq!(status.text(pointer), head, "{pointer}");
    }
    assert_eq!(status.number("/source/behind"), 0);
    for pointer in ["/drift/missing", "/drift/changed", "/drift/extra"] {
        assert_eq!(status.at(pointer), 0, "{pointer}");
    }
    assert!(!status.text("/lastCycle/id").is_empty());
    assert!(crate::harness::status::is_time(status.at("/lastCycle/started")), "{:#}", status.at("/lastCycle"));
    assert!(status.at("/lastCycle/seconds").is_number());
    assert_eq!(status.at("/lastCycle/complete"), true);
    world.assert_printed(&["web", "ok", short(&head), "12"]);
}

#[test]
fn status_answers_before_anything_ran() {
    let world = World::new();
    world.repo.fill("", 0..3);
    world.repo.publish("baseline");
    let status = world.status("web");
    assert!(!status.writes("promotion"), "{:#}", status.0);
    assert!(world.status_text().contains("web"));
    assert!(!world.root("web").join(".holdfast").exists());
    for command in ["drift", "history", "plan"] {
        world.holdfast(&[command]).ok();
    }
}

#[test]
fn verify_gives_the_verdict_on_every_commit_of_a_range() {
    let world = world();
    let base = world.repo.head();
    world.repo.change("", 0..1, "omega");
    let good = world.repo.commit("signed").by("dave");
    world.repo.change("", 1..2, "omega");
    let bad = world.repo.commit("not signed").unsigned_by("mallory");
    world.repo.push();
    let ran = world.holdfast(&["verify", "web", "--output", "json"]);
    let text = ran.json().to_string();
    for expected in [good.as_str(), bad.as_str(), "unsigned", &keys::address("dave")] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    world.holdfast(&["verify", "web", &format!("{base}..{bad}")]).says(&[short(&good), short(&bad), "unsigned"]);
    let fine = world.holdfast(&["verify", "web", &format!("{base}..{good}")]).ok();
    assert!(!fine.stdout.contains(short(&bad)), "a commit outside the range is judged:\n{}", fine.stdout);
    world.holdfast(&["verify", "web", "no-such..range"]).refused();
}

#[test]
fn backtest_says_what_would_have_been_held() {
    let mut world = World::new();
    world.repo.fill("", 0..60);
    world.repo.commit("the first").by("alice");
    let mut held = String::new();
    for push in 0..8 {
        // Apart by more than what counts as one push.
        world.clock.advance(3 * 3600);
        if push == 5 {
            world.repo.drop("", 20..40);
            held = world.repo.commit("drop legacy overlays").by("carol");
        } else {
            world.repo.change("", push..push + 1, "omega");
            world.repo.commit(&format!("ordinary {push}")).by("alice");
        }
    }
    world.repo.push();
    // No target is needed: its root is not even there.
    fs::remove_dir_all(world.root("web")).expect("the root is removed");
    let before = world.dir().join("roots/web").exists();
    let ran = world.holdfast(&["backtest", "web", "--output", "json"]).ok();
    let text = ran.json().to_string();
    assert!(text.contains(&held) || text.contains(short(&held)), "the held push is not named:\n{text}");
    assert!(text.contains("delete_halt"), "{text}");
    world.holdfast(&["backtest", "web"]).ok().says(&[short(&held), "drop legacy overlays", "carol", "delete_halt"]);
    let loose = world.holdfast(&[
        "backtest",
        "web",
        "--set",
        "guards.deleteHalt=disabled",
        "--set",
        "guards.changeHalt=disabled",
    ]);
    assert!(!loose.ok().stdout.contains("delete_halt"), "--set has no effect");
    let last = world.holdfast(&["backtest", "web", "--last", "2"]).ok();
    assert!(!last.stdout.contains(short(&held)), "--last has no effect:\n{}", last.stdout);
    world.holdfast(&["backtest", "web", "--set", "guards.noSuchThing=1"]).refused().says(&["noSuchThing"]);
    assert_eq!(before, world.dir().join("roots/web").exists(), "backtest made a target");
    // Where there is nothing to judge, that is said, and not that all is well.
    let origin = world.repo.origin.to_string_lossy().into_owned();
    world.bare(&["backtest", "--repo", &origin, "--path", "no/such"]).ok().says(&["is the path right"]);
    world.bare(&["backtest", "--repo", &origin, "--since", "2099-01-01"]).ok().says(&["nothing was pushed"]);
    let refused = world.bare(&["backtest", "--repo", "/no/such/repository"]).refused();
    assert!(
        refused.says(&["there is no such directory"]).stderr.lines().count() == 2,
        "the library's own words are shown"
    );
    world.config.apps.clear();
}

#[test]
fn doctor_is_content_with_a_good_world_and_says_what_to_do_with_a_bad_one() {
    let mut world = world();
    world.holdfast(&["doctor"]).ok();
    fs::remove_file(world.dir().join("allowed_signers")).expect("the signers are removed");
    world.holdfast(&["doctor"]).refused().says(&["allowed_signers"]);
    fs::write(world.dir().join("allowed_signers"), keys::allowed_signers()).expect("the signers are written");
    world.app("web").url = "/nowhere/at/all.git".to_owned();
    world.holdfast(&["doctor"]).refused().says(&["/nowhere/at/all.git"]);
}

#[test]
fn init_writes_a_configuration_that_is_valid_and_observes() {
    let world = World::new();
    world.repo.fill("", 0..3);
    world.repo.publish("baseline");
    let at = world.dir().join("fresh");
    fs::create_dir(&at).expect("the folder is made");
    let (url, root) = (world.repo.origin.to_string_lossy().into_owned(), world.root("web"));
    let init = || {
        let mut command = world.command(&["init", "--repo", &url, "--root", &root.to_string_lossy()]);
        command.current_dir(&at).output().expect("the binary runs")
    };
    let made = init();
    assert!(
        made.status.success(),
        "{}{}",
        String::from_utf8_lossy(&made.stdout),
        String::from_utf8_lossy(&made.stderr)
    );
    let text = fs::read_to_string(at.join("holdfast.yaml")).expect("the configuration is written");
    assert!(text.lines().any(|line| line.trim_start().starts_with('#')), "it has no comments:\n{text}");
    let loads = world.command(&["status"]).current_dir(&at).output().expect("the binary runs");
    assert!(loads.status.success(), "what init wrote is refused: {}", String::from_utf8_lossy(&loads.stderr));
    assert!(!text.contains("mode: converge") || text.contains("# "), "it converges unasked:\n{text}");
    // A second time it does not overwrite what a person may have edited.
    let again = init();
    assert!(!again.status.success());
    assert_eq!(fs::read_to_string(at.join("holdfast.yaml")).expect("it is still there"), text);
}

#[test]
fn generated_texts_are_printed() {
    let world = World::empty();
    let schema: Value = world.bare(&["schema"]).ok().json();
    assert!(schema.to_string().contains("deleteHalt"), "the schema does not know the guards");
    assert!(world.bare(&["completions", "bash"]).ok().stdout.contains("holdfast"));
    assert!(world.bare(&["man"]).ok().stdout.contains(".TH"));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let world = world();
    let config = world.config_file();
    let mut command = std::process::Command::new("sh");
    let script = format!("{:?} history web -c {config:?} | head -c 1 >/dev/null", env!("CARGO_BIN_EXE_holdfast"));
    let ran = command.arg("-c").arg(script).output().expect("sh runs");
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("panicked"), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn commands_take_effect_in_a_running_controller() {
    let world = world();
    let mut controller = world.controller();
    controller.until_status("the first cycle", "web", |status| status.at("/lastCycle/complete") == true);
    world.holdfast(&["freeze", "web", "--reason", "pager"]).ok();
    controller.until_status("the freeze", "web", |status| status.latch("FREEZE").is_some());
    world.holdfast(&["thaw", "web", "--reason", "over"]).ok();
    controller.until_status("the thaw", "web", |status| status.latch("FREEZE").is_none());
    let ended = controller.stop();
    assert!(ended.success(), "asked to end, it ended with {ended}");
    world.counted_cycle();
    world.assert_converged("web");
}

#[test]
fn a_running_controller_heals_and_promotes_by_itself() {
    let mut world = world();
    world.app("web").interval("1s");
    let mut controller = world.controller();
    world.remove_live("web", "f003.conf");
    let root = world.root("web");
    controller.until("the healing", || root.join("f003.conf").exists().then_some(()));
    world.repo.change("", 5..6, "omega");
    let head = world.repo.publish("an ordinary change");
    controller.until_status("the promotion", "web", |status| status.converged() == Some(&head));
    assert!(world.live("web", "f005.conf").contains("omega"));
}

#[test]
fn two_controllers_do_not_share_a_state_directory() {
    let world = world();
    let mut controller = world.controller();
    controller.until_status("the first cycle", "web", |status| status.at("/lastCycle/complete") == true);
    let second = world.holdfast(&["run", "--once"]);
    let status = world.status("web");
    // Either the second gives way, or it works in turn: never does it damage the ledger.
    assert!(status.latch("STATE").is_none(), "{:#}\n{second:?}", status.0);
}
