//! A program of the user's as the target: the complete example of `docs/exec-target.md`, made to misbehave.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{World, content, name};

/// The example as it is published, able to report more of a resource than what was written.
fn program() -> String {
    let page = include_str!("../../docs/exec-target.md");
    let example = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let plain = r#"say({"id": id, **report(held)})"#;
    let more = r#"say({"id": id, **report(held), **state.get("more", {}).get(id, {})})"#;
    let example = example.expect("the page has an example");
    assert!(example.contains(plain), "the example reports otherwise:\n{example}");
    example.replace(plain, more)
}

/// A program that goes wrong in the way that the file `fault` names, at the request that it names.
const WRAPPER: &str = r#"
cd "$(dirname "$0")"
read -r at how < fault 2>/dev/null
for op; do :; done
[ "$at" = "$op" ] || exec ./example.py "$op"
case $how in
  partial) ./example.py "$op" | sed '$d' ;;
  short) ./example.py "$op" | sed 2d ;;
  dies) ./example.py "$op"; kill -9 $$ ;;
  refused) echo '{"refused":"the mailbox is read-only"}' ;;
  fails) echo 'cannot reach the server' >&2; exit 7 ;;
  hangs) sleep 600 ;;
  empty) echo '{"end":true,"count":0}' ;;
esac
"#;

/// Makes a world whose application is a program in a folder of its own.
fn world() -> World {
    let mut world = World::new();
    let dir = folder(&world);
    fs::create_dir(&dir).expect("the folder is made");
    for (file, text) in [("example.py", program()), ("target.sh", format!("#!/bin/sh{WRAPPER}"))] {
        fs::write(dir.join(file), text).expect("the program is written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(dir.join(file), mode).expect("the program may be run");
    }
    let run = format!("{{ run: [{:?}, north], timeout: 60s }}", dir.join("target.sh"));
    // Its own pace is told apart from everything else here.
    world.app("web").guard("rate: disabled").exec = Some(run);
    world
}

/// Makes a world whose program holds a dozen resources.
fn converged() -> World {
    let world = world();
    world.repo.fill("mail", 0..12);
    world.repo.publish("baseline");
    converge(&world);
    world
}

fn folder(world: &World) -> PathBuf {
    world.dir().join("program")
}

/// Everything that the program keeps.
fn state(world: &World) -> Value {
    let text = fs::read_to_string(folder(world).join("state.json")).unwrap_or_else(|_| "{}".to_owned());
    serde_json::from_str(&text).expect("the program keeps JSON")
}

fn change_state(world: &World, change: impl FnOnce(&mut Value)) {
    let mut all = state(world);
    change(&mut all);
    fs::write(folder(world).join("state.json"), all.to_string()).expect("the state is written");
}

/// What the program holds, by its identity.
fn held(world: &World) -> BTreeMap<String, String> {
    let text = |held: &Value| held["content"]["text"].as_str().unwrap_or_default().to_owned();
    let state = state(world);
    let resources = state["resources"].as_object();
    resources.into_iter().flatten().map(|(id, held)| (id.clone(), text(held))).collect()
}

/// How often anything was written.
fn writes(world: &World) -> i64 {
    state(world)["writes"].as_i64().unwrap_or(0)
}

fn fault(world: &World, at: &str, how: &str) {
    fs::write(folder(world).join("fault"), format!("{at} {how}\n")).expect("the fault is written");
}

fn mend(world: &World) {
    fs::remove_file(folder(world).join("fault")).expect("the fault is removed");
}

fn id(number: usize) -> String {
    format!("mail/{}", name(number))
}

/// Runs counted cycles until the application is said to be converged to HEAD.
#[track_caller]
fn converge(world: &World) {
    let tip = world.repo.head();
    for _ in 0..20 {
        world.counted_cycle();
        if world.status("web").converged() == Some(&tip) {
            return;
        }
    }
    world.fail(&format!("it did not converge to {tip}"));
}

/// Asserts OBSERVATION with this among its reasons, and that nothing at all was written; then all is well again.
#[track_caller]
fn assert_unread(world: &World, why: &str) {
    assert_nothing_read(world, why);
    assert_goes_on(world);
}

#[track_caller]
fn assert_nothing_read(world: &World, why: &str) {
    let before = state(world);
    world.repo.change("mail", 0..1, "delta");
    world.repo.publish("something to write");
    world.counted_cycles(2);
    assert_eq!(state(world), before, "written unread");
    let status = world.assert_latch("web", "OBSERVATION", &["observation"]);
    let latch = status.latch("OBSERVATION").expect("it was just asserted").to_string();
    assert!(latch.contains(why), "{why:?} is not told: {latch}");
    assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing: {:#}", status.at("/drift"));
}

#[track_caller]
fn assert_goes_on(world: &World) {
    mend(world);
    converge(world);
    assert_eq!(held(world)[&id(0)], content(0, "delta"));
}

#[test]
fn exec_creates_updates_and_deletes_what_was_committed_and_keeps_its_anchor() {
    let world = converged();
    let wanted: BTreeMap<String, String> = (0..12).map(|number| (id(number), content(number, "alpha"))).collect();
    assert_eq!(held(&world), wanted);
    let anchor = &state(&world)["anchor"];
    assert_eq!(anchor["application"], "web");
    assert!(anchor["token"].as_str().is_some_and(|token| !token.is_empty()), "{anchor}");
    world.repo.change("mail", 0..2, "omega").drop("mail", 11..12).write("mail/new", "a new one\n");
    world.repo.publish("two updates, a deletion, a creation");
    let before = writes(&world);
    converge(&world);
    assert_eq!(writes(&world) - before, 4);
    let now = held(&world);
    assert_eq!((now[&id(1)].as_str(), now["mail/new"].as_str()), (content(1, "omega").as_str(), "a new one\n"));
    assert!(!now.contains_key(&id(11)));
    world.counted_cycles(2);
    assert_eq!(writes(&world) - before, 4, "written although nothing was left to do");
    world.assert_free("web");
}

#[test]
fn exec_heals_what_is_missing_at_once_and_what_was_changed_after_the_grace() {
    let world = converged();
    change_state(&world, |state| {
        let resources = state["resources"].as_object_mut().expect("it is a mapping");
        resources.remove(&id(3));
        resources[&id(4)] = json!({ "digest": format!("sha256:{}", "ab".repeat(32)), "version": "by hand", "content": { "text": "x" } });
    });
    world.counted_cycle();
    assert_eq!(held(&world).get(&id(3)), Some(&content(3, "alpha")));
    assert_eq!(held(&world)[&id(4)], "x", "reverted before it was announced for long");
    assert_eq!(world.status("web").number("/drift/changed"), 1);
    world.advance(31);
    world.counted_cycle();
    assert_eq!(held(&world)[&id(4)], content(4, "alpha"));
    world.counted_cycle();
    world.assert_free("web");
}

#[test]
fn exec_s_answer_without_its_end_is_no_observation() {
    let world = converged();
    fault(&world, "observe", "partial");
    assert_unread(&world, "has no end");
}

#[test]
fn exec_s_answer_that_lacks_a_line_is_no_observation() {
    let world = converged();
    fault(&world, "observe", "short");
    assert_unread(&world, "count of 12 after 11");
}

#[test]
fn exec_s_program_that_dies_after_its_answer_has_observed_nothing() {
    let world = converged();
    fault(&world, "observe", "dies");
    assert_unread(&world, "signal");
}

#[test]
fn exec_s_program_that_fails_is_told_with_its_own_words() {
    let world = converged();
    fault(&world, "observe", "fails");
    assert_unread(&world, "cannot reach the server");
}

#[test]
fn exec_s_program_that_hangs_is_killed_and_has_observed_nothing() {
    let mut world = converged();
    fault(&world, "observe", "hangs");
    let run = world.app("web").exec.clone().expect("it is a program");
    world.app("web").exec = Some(run.replace("60s", "1s"));
    assert_nothing_read(&world, "was killed after 1s");
    world.app("web").exec = Some(run);
    assert_goes_on(&world);
}

#[test]
fn exec_s_program_that_suddenly_knows_nothing_is_not_filled_again() {
    let world = converged();
    let before = state(&world);
    fault(&world, "observe", "empty");
    world.counted_cycles(2);
    assert_eq!(state(&world), before, "everything was created again");
    // Neither its resources nor its anchor were reported: it is another target, or not there.
    world.assert_latch("web", "STATE", &["anchor"]);
}

#[test]
fn exec_s_write_without_an_answer_is_observed_before_anything_else() {
    let world = converged();
    world.repo.change("mail", 0..1, "omega");
    world.repo.publish("one change");
    fault(&world, "write", "dies");
    let before = writes(&world);
    world.counted_cycle();
    // It was carried out, and its outcome is unknown.
    assert_eq!((writes(&world) - before, held(&world)[&id(0)].clone()), (1, content(0, "omega")));
    mend(&world);
    converge(&world);
    assert_eq!(writes(&world) - before, 1, "written twice");
    assert_eq!(held(&world)[&id(0)], content(0, "omega"));
}

#[test]
fn exec_s_refusal_is_told_and_the_others_go_on_later() {
    let world = converged();
    world.repo.change("mail", 0..1, "omega");
    world.repo.publish("one change");
    fault(&world, "write", "refused");
    world.counted_cycles(4);
    let said = world.everything_said("web");
    assert!(said.contains("the mailbox is read-only"), "{said}");
    assert_eq!(held(&world)[&id(0)], content(0, "alpha"));
    mend(&world);
    world.advance(31);
    converge(&world);
    assert_eq!(held(&world)[&id(0)], content(0, "omega"));
}

#[test]
fn exec_s_deletions_keep_their_cap() {
    let world = converged();
    world.repo.drop("mail", 0..5);
    world.repo.publish("five deletions");
    world.counted_cycle();
    assert_eq!(held(&world).len(), 9, "not three deletions in an interval");
    // Wakes within the interval have no budget of their own.
    world.cycle();
    world.cycle();
    assert_eq!(held(&world).len(), 9);
    world.counted_cycle();
    assert_eq!(held(&world).len(), 7);
    converge(&world);
    world.assert_free("web");
}

#[test]
fn exec_s_many_deletions_are_held_whole() {
    let world = converged();
    world.repo.drop("mail", 0..8).change("mail", 8..9, "omega");
    world.repo.publish("eight of twelve");
    let before = state(&world);
    world.counted_cycles(3);
    assert_eq!(state(&world), before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
}

#[test]
fn exec_s_word_on_dependants_protection_and_replacement_counts() {
    let world = converged();
    change_state(&world, |state| {
        state["more"] = json!({
            id(0): { "protected": true },
            id(1): { "dependants": 100 },
            id(2): { "vitals": ["content", "running"] },
        });
    });
    // An update that stops what it touches is a deletion by its effect.
    world.repo.change("mail", 2..4, "omega");
    world.repo.publish("two updates");
    let plan = world.plan("web");
    let effect = |number: usize| {
        let of = |op: &&Value| op["resource"] == id(number) || op["id"] == id(number);
        plan.operations().iter().find(of).unwrap_or_else(|| panic!("no {number} in {:#}", plan.0))["effect"].clone()
    };
    assert_eq!((effect(2), effect(3)), (json!("delete"), json!("update")));
    converge(&world);
    // What is protected is parked; the other goes on.
    world.repo.drop("mail", 0..1).change("mail", 3..4, "delta");
    world.repo.publish("a protected deletion and an update");
    world.counted_cycles(3);
    assert_eq!(held(&world)[&id(3)], content(3, "delta"));
    assert!(held(&world).contains_key(&id(0)), "deleted although it is protected");
    let before = state(&world);
    world.repo.drop("mail", 1..2);
    world.repo.publish("one deletion that takes a hundred along");
    world.counted_cycles(3);
    assert_eq!(state(&world), before);
    world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert!(world.status_text().contains("101"), "{}", world.status_text());
}

#[test]
fn exec_s_resources_that_turn_unhealthy_stop_the_rollout() {
    let world = converged();
    change_state(&world, |state| state["more"] = json!({ id(0): { "health": "unhealthy" } }));
    world.repo.change("mail", 0..6, "omega");
    world.repo.publish("six changes, the first does not work");
    world.counted_cycle();
    let changed = held(&world).values().filter(|text| text.contains("omega")).count();
    assert_eq!(changed, 1, "it went on");
    world.assert_latch("web", "HEALTH", &["health"]);
}

#[test]
fn exec_s_anchor_tells_a_lost_ledger_and_a_lost_target() {
    let world = converged();
    let ledger = world.dir().join("state");
    fs::rename(&ledger, world.dir().join("away")).expect("the ledger is moved");
    world.repo.change("mail", 0..1, "omega");
    world.repo.publish("one change");
    let before = state(&world);
    world.counted_cycles(3);
    assert_eq!(state(&world), before);
    world.assert_latch("web", "STATE", &["anchor"]);
    fs::remove_dir_all(&ledger).expect("the new ledger is removed");
    fs::rename(world.dir().join("away"), &ledger).expect("the ledger is back");
    change_state(&world, |state| state["anchor"] = Value::Null);
    let before = state(&world);
    world.counted_cycles(2);
    assert_eq!(state(&world), before);
    world.assert_latch("web", "STATE", &["anchor"]);
    let head = world.repo.head();
    world.holdfast(&["reanchor", "web", &head, "--reason", "looked at it"]).ok();
    world.counted_cycles(4);
    assert_eq!(held(&world)[&id(0)], content(0, "omega"));
}

#[test]
fn exec_s_program_that_is_not_there_is_told() {
    let world = converged();
    fs::remove_file(folder(&world).join("target.sh")).expect("the program is removed");
    let before = state(&world);
    world.counted_cycle();
    assert_eq!(state(&world), before);
    let status = world.assert_latch("web", "OBSERVATION", &["observation"]);
    assert!(status.latch("OBSERVATION").is_some_and(|latch| latch.to_string().contains("could not be started")));
}
