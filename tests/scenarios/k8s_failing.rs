//! An API server that fails: what was not read is not concluded from, and what was under way goes on.

use serde_json::json;

use crate::harness::Place;
use crate::harness::cluster::{Cluster, Part};

#[test]
fn k8s_a_server_that_does_not_answer_is_no_observation_and_is_caught_up_with() {
    let place = Place::on(Cluster::own());
    place.config_maps(0..6, "one").publish("six");
    place.config_map("c000", "two").repo.publish("a change");
    place.cluster.kill(Part::Api);
    place.counted_cycles(2);
    let status = place.assert_latch("web", "OBSERVATION", &["observation"]);
    assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing");
    assert!(!status.writes("promotion") && !status.writes("healing"));
    let doctor = place.holdfast(&["doctor"]).exits(1);
    assert!(doctor.stdout.contains("the API server cannot be asked"), "{}", doctor.stdout);
    place.cluster.start(Part::Api);
    place.cluster.until_ready();
    place.settle();
    assert_eq!(place.held()["c000"], "two");
    place.assert_steady(2);
}

#[test]
fn k8s_a_server_that_restarts_in_the_middle_of_an_apply_is_waited_for_and_nothing_is_written_twice() {
    let mut place = Place::on(Cluster::own());
    place.app("web").guard("rate: { perSecond: 20, burst: 1 }").guard("writeCap: disabled");
    place.config_maps(0..40, "one").publish("forty");
    place.app("web").guard("changeHalt: disabled");
    place.counted_cycles(2);
    for digest in place.status("web").digests_to_approve("PLAN") {
        place.approve("web", &digest).ok();
    }
    place.config_maps(0..40, "two").repo.publish("all of them");
    place.counted_cycle();
    if place.status("web").latch("PLAN").is_some() {
        place.approve("web", &place.status("web").digest()).ok();
    }
    std::thread::scope(|scope| {
        let two = || place.held().values().filter(|value| *value == "two").count();
        let cycle = scope.spawn(|| place.counted_cycle());
        // Some are written, and not all.
        place.cluster.until("some are written", |_| (two() >= 3).then_some(()));
        place.cluster.kill(Part::Api);
        place.cluster.start(Part::Api);
        place.cluster.until_ready();
        cycle.join().expect("the cycle ends");
    });
    place.settle();
    assert!(place.held().values().all(|value| value == "two"), "{:?}", place.held());
    place.assert_steady(2);
    let mut writes = place.cluster.writes("configmaps", &place.namespace);
    writes.retain(|name, _| name.starts_with('c'));
    assert!(writes.len() == 40 && writes.values().all(|times| *times == 2), "made, and changed once: {writes:?}");
}

#[test]
fn k8s_doctor_says_what_an_account_may_not_do() {
    let mut place = Place::new();
    let (user, token) = place.cluster.user(&place.namespace);
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]});
    place.api().create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": [rule]}));
    place.api().create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}, "subjects": [{"kind": "User", "name": user}]}));
    let kubeconfig = place.cluster.kubeconfig_of(place.dir(), &token);
    place.app("web").kubernetes = Some(format!("{{ kubeconfig: {kubeconfig:?}, namespace: {} }}", place.namespace));
    place.config_maps(0..3, "one").repo.publish("three");
    place.holdfast(&["doctor"]).exits(1).says(&[
        "may not create, patch, delete configmaps",
        "verbs: [create, patch, delete]",
        "may not create, update, patch configmaps in namespace",
    ]);
    // Who may look on only is not held back from looking.
    place.app("web").mode("observe");
    place.counted_cycle();
    assert_eq!(place.plan("web").number("/plan/creates"), 3);
}

#[test]
fn k8s_a_group_that_does_not_answer_is_unread_and_the_others_go_on() {
    let place = Place::on(Cluster::own());
    place.config_maps(0..6, "one").publish("six");
    let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.away.example.org"},
        "spec": {"group": "away.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100, "service": {"name": "nothing", "namespace": "default"}, "insecureSkipTLSVerify": true}});
    place.api().create("/apis/apiregistration.k8s.io/v1/apiservices", &service);
    place.cluster.until("the group is known not to answer", |api| {
        let status = api.get("/apis/apiregistration.k8s.io/v1/apiservices/v1.away.example.org")?["status"].clone();
        status["conditions"]
            .as_array()?
            .iter()
            .any(|one| one["type"] == "Available" && one["status"] == "False")
            .then_some(())
    });
    place.repo.write(
        "away.yaml",
        &format!(
            "apiVersion: away.example.org/v1\nkind: Thing\nmetadata: {{ name: t, namespace: {} }}\n",
            place.namespace
        ),
    );
    place.repo.publish("an object of the group");
    place.api().delete(&place.path("c003"));
    place.counted_cycles(2);
    let status = place.assert_latch("web", "OBSERVATION", &["observation"]);
    assert!(status.latch("OBSERVATION").unwrap().to_string().contains("not available now"), "{:#}", status.0);
    assert_eq!(place.held()["c003"], "one", "what can be read is healed");
    // Without the group it is a kind that nobody knows, which is another matter.
    place.api().delete("/apis/apiregistration.k8s.io/v1/apiservices/v1.away.example.org");
    place.cluster.until("the group is gone", |api| {
        let groups = api.get("/apis")?;
        let named = groups["groups"].as_array()?.iter().any(|group| group["name"] == "away.example.org");
        (!named).then_some(())
    });
    place.counted_cycles(4);
    let status = place.assert_latch("web", "RENDER", &["refused"]);
    assert!(status.latch("RENDER").unwrap().to_string().contains("its definition is missing"), "{:#}", status.0);
}

#[test]
fn k8s_killed_at_every_step_of_a_write_it_goes_on_and_writes_nothing_twice() {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled").guard("window: disabled");
    place.config_maps(0..8, "0").publish("eight");
    let mut done = 0;
    for step in 1.. {
        place.config_maps(0..3, &step.to_string()).repo.publish("three changes");
        place.clock.advance(crate::harness::INTERVAL);
        let ran = place.crash_at(step);
        place.settle();
        let held = place.held();
        assert!((0..3).all(|number| held[&format!("c{number:03}")] == step.to_string()), "step {step}: {held:?}");
        if ran.code == Some(0) {
            done += 1;
            if done == 2 {
                break;
            }
        }
        assert!(step < 80, "the steps do not end");
    }
    place.assert_steady(2);
    place.assert_free("web");
}
