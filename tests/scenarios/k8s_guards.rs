//! The scenarios of `GUARDS.md` 10 on a real API server, where a directory cannot show them or a cluster may differ.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{HOUR, Place, copy, place::unique, short};

/// Makes a world with ConfigMaps `c000` to `c059`, converged at once.
fn sixty() -> Place {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled").guard("deleteCap: { over: 3, percent: 2 }");
    place.config_maps(0..60, "one").publish("sixty");
    assert_eq!(place.held().len(), 60);
    place
}

fn versions(place: &Place) -> std::collections::BTreeMap<String, String> {
    let mut all = place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace));
    all.retain(|name, _| !name.contains("holdfast-web"));
    all
}

/// Asserts that counted cycles write nothing at all.
#[track_caller]
fn assert_untouched(place: &Place, cycles: usize) {
    let before = versions(place);
    place.counted_cycles(cycles);
    assert_eq!(versions(place), before, "something was written");
}

#[test]
fn k8s_s01_a_source_path_that_is_gone_deletes_nothing_and_what_does_not_parse_is_held_while_healing_goes_on() {
    let mut place = Place::new();
    place.app("web").path("apps").guard("writeCap: disabled");
    for number in 0..12 {
        place.repo.write(&format!("apps/c{number}.yaml"), &format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c{number}, namespace: {} }}\ndata: {{ value: one }}\n", place.namespace));
    }
    place.publish("twelve");
    let good = place.repo.head();
    place.repo.git(&["mv", "apps", "elsewhere"]);
    place.repo.publish("rename the folder");
    assert_untouched(&place, 3);
    place.assert_latch("web", "PLAN", &["empty_desired"]);
    place.repo.git(&["mv", "elsewhere", "apps"]);
    place.publish("back again");
    place.repo.write("apps/c3.yaml", "apiVersion: v1\nkind: [ConfigMap\n");
    place.repo.publish("a typing error");
    place.api().delete(&place.path("c5"));
    place.counted_cycles(2);
    place.assert_latch("web", "RENDER", &["render"]);
    assert_eq!(place.held()["c5"], "one", "healing stopped");
    assert_ne!(place.repo.head(), good);
}

#[test]
fn k8s_s02_what_is_protected_is_parked_and_a_deletion_counts_what_goes_with_it() {
    let place = sixty();
    let space = unique("space");
    place.repo.write("space.yaml", &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {space} }}\n"));
    place.repo.write("claim.yaml", &format!("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: claim, namespace: {} }}\nspec: {{ storageClassName: {space}, accessModes: [ ReadWriteOnce ], resources: {{ requests: {{ storage: 1Gi }} }} }}\n", place.namespace));
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": space}, "provisioner": "example.org/x", "volumeBindingMode": "WaitForFirstConsumer"});
    place.api().create("/apis/storage.k8s.io/v1/storageclasses", &class);
    place.publish("a namespace and a claim");
    for number in 0..100 {
        let made = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("x{number}")}});
        place.api().create(&format!("/api/v1/namespaces/{space}/configmaps"), &made);
    }
    place.repo.remove("space.yaml").remove("claim.yaml");
    place.config_maps(0..10, "two").repo.publish("drop both, and change ten");
    place.counted_cycles(4);
    assert_eq!(place.held()["c009"], "two", "one protected deletion held the others");
    let parked = place.status("web").list("/parked").to_vec();
    let names: Vec<String> = parked.iter().map(|one| one["resource"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(names, [format!("/Namespace//{space}"), format!("/PersistentVolumeClaim/{}/claim", place.namespace)]);
    let of =
        |name: &str| parked.iter().find(|one| one["resource"].as_str().is_some_and(|id| id.contains(name))).unwrap();
    assert!(parked.iter().all(|one| one["reason"] == "protected"), "{parked:?}");
    let claim = format!("/api/v1/namespaces/{}/persistentvolumeclaims/claim", place.namespace);
    assert!(place.api().get(&claim).is_some() && place.api().get(&format!("/api/v1/namespaces/{space}")).is_some());
    place.approve("web", of("PersistentVolumeClaim")["digest"].as_str().unwrap()).ok();
    place.counted_cycles(2);
    let claim = place.api().get(&claim);
    assert!(claim.is_none_or(|claim| claim["metadata"]["deletionTimestamp"].is_string()), "approved, and not deleted");
}

#[test]
fn k8s_s03_the_poisoned_one_of_five_commits_is_named_and_nothing_is_written() {
    let place = sixty();
    let mut commits = Vec::new();
    place.config_map("c000", "two");
    commits.push(place.repo.commit("first").by("alice"));
    place.config_map("c001", "two");
    commits.push(place.repo.commit("second").by("dave"));
    place.drop_maps(20..60);
    commits.push(place.repo.commit("tidy up the base").by("carol"));
    place.config_map("c002", "two");
    commits.push(place.repo.commit("fourth").by("alice"));
    place.config_map("c003", "two").repo.publish("fifth");
    assert_untouched(&place, 3);
    let status = place.assert_latch("web", "PLAN", &["delete_halt"]);
    assert_eq!(status.text("/plan/culprit/commit"), commits[2]);
    place.assert_printed(&[short(&commits[2]), "tidy up the base"]);
    // Healing goes on, and a revert lets the rest through.
    place.api().delete(&place.path("c050"));
    place.counted_cycle();
    assert_eq!(place.held().len(), 60);
    place.repo.revert(&commits[2], "alice");
    place.repo.push();
    place.settle();
    let held = place.held();
    assert_eq!((held.len(), held["c002"].as_str()), (60, "two"));
}

#[test]
fn k8s_s04_a_list_that_is_refused_is_no_observation() {
    let mut place = Place::new();
    let (user, token) = place.cluster.user(&place.namespace);
    let rules = |secrets: bool| {
        let all = json!(["get", "list", "watch", "create", "patch", "update", "delete"]);
        let kinds = if secrets { json!(["configmaps", "secrets"]) } else { json!(["configmaps"]) };
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": [{"apiGroups": [""], "resources": kinds, "verbs": all}]})
    };
    let role = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{user}");
    place.api().apply(&role, "test", &rules(true));
    place.api().create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}, "subjects": [{"kind": "User", "name": user}]}));
    let kubeconfig = place.cluster.kubeconfig_of(place.dir(), &token);
    let kubernetes = format!("{{ kubeconfig: {kubeconfig:?}, namespace: {} }}", place.namespace);
    place.app("web").guard("writeCap: disabled").kubernetes = Some(kubernetes);
    place.config_maps(0..6, "one");
    for number in 0..6 {
        place.repo.write(
            &format!("s{number}.yaml"),
            &format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{ name: s{number}, namespace: {} }}\ndata: {{ a: YQ== }}\n",
                place.namespace
            ),
        );
    }
    place.publish("both kinds");
    place.assert_steady(1);
    place.api().apply(&role, "test", &rules(false));
    let secrets = format!("/api/v1/namespaces/{}/secrets", place.namespace);
    let before = place.versions(&secrets);
    place.api().delete(&place.path("c002"));
    place.repo.remove("s0.yaml");
    place.config_map("c003", "two").repo.publish("touch both kinds");
    place.counted_cycles(2);
    let status = place.assert_latch("web", "OBSERVATION", &["observation"]);
    assert!(status.latch("OBSERVATION").unwrap().to_string().contains("forbidden"), "{:#}", status.0);
    assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing: {:#}", status.at("/drift"));
    assert_eq!(place.versions(&secrets), before, "written unread");
    // What can be read is healed.
    assert_eq!(place.held()["c002"], "one");
    place.api().apply(&role, "test", &rules(true));
    place.counted_cycles(4);
    place.settle();
    assert_eq!(place.versions(&secrets).len(), 5);
}

#[test]
fn k8s_s05_deletions_keep_their_cap_and_wakes_have_no_budget_of_their_own() {
    let place = sixty();
    place.drop_maps(0..5).repo.publish("five deletions");
    place.counted_cycle();
    assert_eq!(place.held().len(), 57, "not three deletions in an interval");
    for _ in 0..5 {
        place.cycle();
    }
    assert_eq!(place.held().len(), 57);
    place.counted_cycle();
    assert_eq!(place.held().len(), 55);
}

#[test]
fn k8s_s10_a_freeze_stops_everything_but_looking_and_an_unsigned_removal_does_not_thaw() {
    let place = sixty();
    place.repo.write("FREEZE", "");
    place.config_map("c001", "two");
    place.repo.commit("stop").unsigned_by("mallory");
    place.repo.push();
    place.api().merge(&place.path("c002"), "some-operator", &json!({"data": {"value": "theirs"}}));
    place.advance(40);
    assert_untouched(&place, 2);
    let status = place.assert_latch("web", "FREEZE", &["freeze"]);
    assert_eq!(status.number("/drift/changed"), 1, "drift is not told while frozen");
    place.repo.remove("FREEZE");
    place.repo.commit("go on").unsigned_by("mallory");
    place.repo.push();
    assert_untouched(&place, 2);
    place.assert_latch("web", "FREEZE", &["freeze"]);
}

#[test]
fn k8s_s10_a_freeze_in_the_middle_of_an_apply_stops_it_at_the_next_object() {
    let mut place = sixty();
    place.app("web").guard("rate: { perSecond: 4, burst: 1 }");
    place.counted_cycle();
    place.config_maps(0..12, "two").repo.publish("twelve updates");
    let two = || place.held().values().filter(|value| *value == "two").count();
    std::thread::scope(|scope| {
        let cycle = scope.spawn(|| place.counted_cycle());
        place.cluster.until("some are written", |_| (two() >= 3).then_some(()));
        fs::write(place.dir().join("state/FREEZE"), "reason: by hand\n").expect("the freeze is written");
        cycle.join().expect("the cycle ends");
    });
    let written = two();
    assert!((3..12).contains(&written), "{written} of twelve");
    place.assert_latch("web", "FREEZE", &["freeze"]);
    assert_untouched(&place, 2);
}

#[test]
fn k8s_s11_an_approved_rollout_goes_on_and_is_cancelled_when_something_unwritten_moves() {
    let mut place = sixty();
    place.app("web").guard("writeCap: 6");
    place.counted_cycle();
    place.config_maps(0..60, "two").repo.publish("sixty changes");
    place.counted_cycle();
    let digest = place.assert_latch("web", "PLAN", &["change_halt"]).digest();
    place.repo.approve(&digest, "bob");
    place.counted_cycles(2);
    let two = |place: &Place| place.held().values().filter(|value| *value == "two").count();
    let written = two(&place);
    assert!((1..=12).contains(&written), "{written}");
    place.counted_cycle();
    assert!(two(&place) > written, "the rollout does not go on by its one approval");
    // What a status or another manager does elsewhere moves nothing of ours.
    let rest: Vec<String> =
        place.held().into_iter().filter(|(_, value)| value == "one").map(|(name, _)| name).collect();
    let unwritten = rest.first().expect("something is unwritten");
    place.api().merge(&place.path(unwritten), "somebody", &json!({"data": {"theirs": "x"}}));
    let before = two(&place);
    place.counted_cycle();
    assert!(two(&place) > before, "cancelled although nothing of ours moved");
    let unwritten = place.held().into_iter().rfind(|(_, value)| value == "one").unwrap().0;
    place.api().merge(&place.path(&unwritten), "some-operator", &json!({"data": {"value": "theirs"}}));
    let before = two(&place);
    place.counted_cycles(2);
    assert_eq!(two(&place), before, "it went on although something unwritten moved");
    place.assert_latch("web", "PLAN", &["change_halt"]);
}

#[test]
fn k8s_s12_three_fights_quarantine_and_much_drift_is_held() {
    let place = sixty();
    for _ in 0..3 {
        place.api().delete(&place.path("c003"));
        place.counted_cycles(2);
        assert_eq!(place.held()["c003"], "one");
    }
    place.api().delete(&place.path("c003"));
    place.counted_cycles(3);
    assert!(!place.held().contains_key("c003"), "the fight goes on");
    place.holdfast(&["release", &place.id("c003")]).ok();
    place.clock.advance(2 * HOUR);
    place.counted_cycles(2);
    assert_eq!(place.held()["c003"], "one");
    for number in 0..13 {
        place.api().delete(&place.path(&format!("c{number:03}")));
    }
    assert_untouched(&place, 2);
    place.assert_latch("web", "DRIFT", &["drift_halt"]);
}

#[test]
fn k8s_s14_a_lost_ledger_a_second_one_and_a_lost_anchor_are_state() {
    let place = sixty();
    let state = place.dir().join("state");
    let backup = place.dir().join("backup");
    copy(&state, &backup);
    place.config_map("c001", "two").publish("a later state");
    fs::remove_dir_all(&state).expect("the state is removed");
    copy(&backup, &state);
    place.config_map("c002", "two").repo.publish("one more");
    assert_untouched(&place, 2);
    place.assert_latch("web", "STATE", &["anchor"]);
    fs::remove_dir_all(&state).expect("the state is removed");
    assert_untouched(&place, 2);
    place.assert_latch("web", "STATE", &["anchor"]);
    place.holdfast(&["reanchor", "web", &place.repo.head(), "--reason", "looked at it"]).ok();
    place.counted_cycles(2);
    place.settle();
    assert_eq!(place.held()["c002"], "two");
    place.api().delete(&place.path("holdfast-web"));
    place.config_map("c003", "two").repo.publish("and one more");
    assert_untouched(&place, 2);
    place.assert_latch("web", "STATE", &["anchor"]);
}

#[test]
fn k8s_s15_a_deleted_application_leaves_its_objects() {
    let mut place = sixty();
    let before = versions(&place);
    place.config.apps.clear();
    let _ = place.holdfast(&["run", "--once"]);
    assert_eq!(versions(&place), before);
}

#[test]
fn k8s_s16_what_turns_unhealthy_stops_the_rollout_and_the_revert_returns_at_once() {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled").guard("settle: 1s");
    let group = format!("{}.example.org", unique("g"));
    place.cluster.define(&group, "Widget", "widgets");
    let widget = |number: usize, size: usize| {
        format!(
            "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: w{number:02}, namespace: {} }}\nspec: {{ size: {size} }}\n",
            place.namespace
        )
    };
    for number in 0..20 {
        place.repo.write(&format!("w{number:02}.yaml"), &widget(number, 1));
    }
    place.publish("twenty");
    let path = |number: usize| format!("/apis/{group}/v1/namespaces/{}/widgets/w{number:02}", place.namespace);
    let size = |number: usize| place.api().get(&path(number)).unwrap()["spec"]["size"].clone();
    // Its controller finds fault with the third as soon as it is asked for more.
    place.api().merge(
        &path(2),
        "controller",
        &json!({"status": {"conditions": [{"type": "Stalled", "status": "True", "message": "no room"}]}}),
    );
    for number in 0..10 {
        place.repo.write(&format!("w{number:02}.yaml"), &widget(number, 2));
    }
    place.repo.publish("more of everything");
    place.counted_cycles(2);
    let grown: Vec<Value> = (0..20).map(size).filter(|size| *size == 2).collect();
    assert_eq!(grown.len(), 3, "batches of one and two, then it is stalled");
    let status = place.assert_latch("web", "HEALTH", &["health"]);
    assert!(status.latch("HEALTH").unwrap().to_string().contains("no room"), "{:#}", status.0);
    place.api().merge(&path(2), "controller", &json!({"status": null}));
    let head = place.repo.head();
    place.repo.revert(&head, "alice");
    place.repo.push();
    place.settle();
    assert!((0..20).map(size).all(|size| size == 1));
    place.assert_no_latch("web", "HEALTH");
}

/// Tells how many of the application's ConfigMaps there are.
fn there(place: &Place) -> usize {
    place.held().len()
}

#[test]
fn k8s_s05_killed_after_two_of_three_budgeted_deletions_one_more_is_allowed() {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled");
    place.config_maps(0..60, "one").publish("sixty");
    place.app("web").guard("rate: { perSecond: 1, burst: 1 }");
    place.drop_maps(0..5).repo.publish("drop five");
    place.clock.advance(crate::harness::INTERVAL);
    let mut controller = place.controller();
    controller.until("two are gone", || (there(&place) <= 58).then_some(()));
    controller.kill();
    assert_eq!(there(&place), 58, "the kill came after the third");
    // The same interval: what was reserved stays spent, however often it begins anew.
    for _ in 0..3 {
        place.cycle();
        assert!(there(&place) >= 57, "more than three deletions in one interval after a kill");
    }
    assert_eq!(there(&place), 57, "the third deletion of the budget was lost with the kill");
    let status = place.status("web");
    assert_eq!((status.number("/rollout/done"), status.number("/rollout/total")), (3, 5));
    place.assert_printed(&["rolling out 3 of 5"]);
    place.settle();
    assert_eq!(there(&place), 55);
    place.assert_free("web");
}

#[test]
fn k8s_s06_deletions_that_drip_are_held_by_the_window_of_an_hour() {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled");
    place.config_maps(0..60, "one").publish("sixty");
    for round in 0..3 {
        place.drop_maps(round * 2..round * 2 + 2).publish("two more go");
    }
    place.drop_maps(6..8).config_map("c059", "two").repo.publish("and two, with a change");
    let before = place.held();
    place.counted_cycles(3);
    assert_eq!(place.held(), before, "eight deletions in an hour, the limit is six");
    let status = place.assert_latch("web", "PLAN", &["window"]);
    let reason = status.reason("PLAN", "window");
    assert_eq!((&reason["observed"], &reason["limit"]), (&8.into(), &6.into()), "{reason:#}");
    assert!(!status.writes("promotion") && status.writes("healing"));
    place.api().delete(&place.path("c010"));
    place.counted_cycle();
    assert_eq!(place.held(), before, "healing goes on");
    place.repo.revert(&place.repo.head(), "alice");
    place.repo.push();
    place.settle();
    place.assert_free("web");
}

#[test]
fn k8s_s13_a_first_sync_of_three_hundred_completes_unattended() {
    let place = Place::new();
    place.config_maps(0..300, "one").repo.publish("the first commit");
    place.counted_cycle();
    assert_eq!(there(&place), 0, "the first counted cycle only observes");
    place.assert_latch("web", "OBSERVE", &["observe_for"]);
    let mut before = 0;
    for cycle in 0..12 {
        place.counted_cycle();
        let now = there(&place);
        assert!(now - before <= 30, "{} written in one interval, the cap is thirty", now - before);
        assert!(now > before || now == 300, "it stands still at {now} in cycle {cycle}");
        before = now;
        place.assert_no_latch("web", "PLAN");
    }
    assert_eq!((there(&place), place.status("web").number("/inventory")), (300, 300));
    place.assert_free("web");
    place.assert_steady(2);
}
