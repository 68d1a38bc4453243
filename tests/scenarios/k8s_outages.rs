//! etcd stopped or hanging under an API server that answers, and answers that break off on the way: nothing is concluded from
//! it, nothing is written twice, and afterwards it goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::cluster::{Cluster, Part};
use crate::harness::place::unique;
use crate::harness::relay::{Fate, Relay};
use crate::harness::{Place, http};

/// How etcd fails, and comes back.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Outage {
    Stops,
    Hangs,
}

impl Outage {
    fn begin(self, cluster: &Cluster) {
        match self {
            Self::Stops => cluster.kill(Part::Etcd),
            Self::Hangs => cluster.pause(Part::Etcd),
        }
    }

    fn end(self, cluster: &Cluster) {
        match self {
            Self::Stops => cluster.start(Part::Etcd),
            Self::Hangs => cluster.go_on(Part::Etcd),
        }
        cluster.until_ready();
    }
}

/// Returns how often each ConfigMap of the application was written.
fn writes(place: &Place) -> Vec<u64> {
    let all = place.cluster.writes("configmaps", &place.namespace);
    all.into_iter().filter(|(name, _)| name.starts_with('c')).map(|(_, times)| times).collect()
}

/// While nothing can be read, nothing is missing, changed or written; then what was missed is caught up with, once.
#[track_caller]
fn assert_no_observation(outage: Outage) {
    let place = Place::on(Cluster::own());
    place.config_maps(0..6, "one").publish("six");
    place.api().delete(&place.path("c003"));
    place.config_map("c000", "two").repo.publish("a change");
    outage.begin(&place.cluster);
    place.counted_cycle();
    let status = place.assert_latch("web", "OBSERVATION", &["observation"]);
    assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing");
    assert!(!status.writes("promotion") && !status.writes("healing"));
    outage.end(&place.cluster);
    place.settle();
    place.assert_steady(2);
    assert_eq!((place.held()["c000"].as_str(), place.held()["c003"].as_str()), ("two", "one"));
    assert_eq!(writes(&place), [2, 1, 1, 1, 1, 1], "written twice, or not at all");
}

#[test]
fn k8s_etcd_that_stops_is_no_observation_and_is_caught_up_with() {
    assert_no_observation(Outage::Stops);
}

#[test]
fn k8s_etcd_that_hangs_is_no_observation_and_is_caught_up_with() {
    assert_no_observation(Outage::Hangs);
}

/// An apply that loses its etcd ends, sets nothing but what cannot be read, and goes on where it was.
#[track_caller]
fn assert_apply_goes_on(outage: Outage) {
    let mut place = Place::on(Cluster::own());
    place.app("web").guard("writeCap: disabled").guard("changeHalt: disabled");
    place.config_maps(0..24, "one").publish("two dozen");
    place.app("web").guard("rate: { perSecond: 10, burst: 1 }");
    place.config_maps(0..24, "two").repo.publish("all of them");
    std::thread::scope(|scope| {
        let cycle = scope.spawn(|| place.counted_cycle());
        let changed = || writes(&place).into_iter().filter(|times| *times == 2).count();
        place.cluster.until("some are written", |_| (changed() >= 3).then_some(()));
        outage.begin(&place.cluster);
        cycle.join().expect("the cycle ends");
    });
    place.counted_cycle();
    let status = place.assert_latch("web", "OBSERVATION", &[]);
    for latch in ["HEALTH", "FAILURE", "DRIFT", "PLAN", "STATE"] {
        assert!(status.latch(latch).is_none(), "{latch} of an outage: {:#}", status.0);
    }
    outage.end(&place.cluster);
    assert!(writes(&place).contains(&1), "it was too late to be in the middle");
    place.settle();
    place.assert_steady(2);
    assert!(place.held().values().all(|value| value == "two"), "{:?}", place.held());
    assert_eq!(writes(&place), [2; 24], "made, and changed once");
}

#[test]
fn k8s_etcd_that_stops_in_the_middle_of_an_apply_is_waited_for_and_nothing_is_written_twice() {
    assert_apply_goes_on(Outage::Stops);
}

#[test]
fn k8s_etcd_that_hangs_in_the_middle_of_an_apply_is_waited_for_and_nothing_is_written_twice() {
    assert_apply_goes_on(Outage::Hangs);
}

#[test]
fn k8s_health_that_cannot_be_read_is_not_bad_health() {
    let mut place = Place::on(Cluster::own());
    place.app("web").guard("writeCap: disabled").guard("settle: 10m");
    let group = format!("{}.example.org", unique("g"));
    place.cluster.define(&group, "Widget", "widgets");
    let publish = |size: usize| {
        for number in 0..6 {
            let text = format!(
                "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: w{number}, namespace: {} }}\nspec: {{ size: {size} }}\n",
                place.namespace
            );
            place.repo.write(&format!("w{number}.yaml"), &text);
        }
        place.repo.publish("all of them");
    };
    publish(1);
    place.settle();
    // Its controller takes its time.
    let path = |number: usize| format!("/apis/{group}/v1/namespaces/{}/widgets/w{number}", place.namespace);
    let busy = json!({"status": {"conditions": [{"type": "Reconciling", "status": "True"}]}});
    (0..6).for_each(|number| drop(place.api().merge(&path(number), "controller", &busy)));
    publish(2);
    let grown = || (0..6).filter(|number| place.api().get(&path(*number)).unwrap()["spec"]["size"] == 2).count();
    std::thread::scope(|scope| {
        let cycle = scope.spawn(|| place.counted_cycle());
        place.cluster.until("the first batch is written", |_| (grown() == 1).then_some(()));
        place.cluster.pause(Part::Etcd);
        place.advance(11);
        cycle.join().expect("the cycle ends");
    });
    place.assert_no_latch("web", "HEALTH");
    place.cluster.go_on(Part::Etcd);
    place.cluster.until_ready();
    (0..6).for_each(|number| drop(place.api().merge(&path(number), "controller", &json!({"status": null}))));
    place.settle();
    assert_eq!(grown(), 6);
    place.assert_free("web");
}

/// Makes a world that reaches its cluster through a relay, and lists three objects a page.
fn relayed() -> (Place, Relay) {
    let mut place = Place::on(Cluster::own());
    let relay = Relay::to(&place.cluster.url());
    let kubeconfig = relay.kubeconfig(place.dir());
    let kubernetes = format!("{{ kubeconfig: {kubeconfig:?}, namespace: {} }}", place.namespace);
    place.app("web").kubernetes = Some(kubernetes);
    place.config_maps(0..8, "one").publish("eight");
    (place, relay)
}

/// Returns the path with three objects a page, if it is a list of ConfigMaps; and whether it is not the first page.
fn paged(path: &str) -> Option<(String, bool)> {
    let lists = path.contains("/configmaps?limit=2000");
    lists.then(|| (path.replace("limit=2000", "limit=3"), path.contains("continue=")))
}

#[test]
fn k8s_a_list_whose_token_expires_on_the_way_is_begun_anew_and_one_that_is_cut_is_no_list() {
    let (place, relay) = relayed();
    let ((ask, asked), (done, go_on)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let pages = Arc::new(AtomicUsize::new(0));
    let (counted, mut expired) = (pages.clone(), false);
    relay.decide(move |_, path| {
        let Some((path, goes_on)) = paged(path) else { return Fate::Passes };
        counted.fetch_add(1, Ordering::Relaxed);
        if goes_on && !expired {
            expired = true;
            ask.send(()).expect("the test listens");
            go_on.recv().expect("the test answers");
        }
        Fate::As(path)
    });
    std::thread::scope(|scope| {
        let cycle = scope.spawn(|| place.counted_cycle());
        asked.recv().expect("there is a second page");
        // What the token leads back to is gone: etcd forgot it, and the server starts anew.
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "between"}});
        place.api().create(&format!("/api/v1/namespaces/{}/configmaps", place.namespace), &other);
        place.cluster.forget_history();
        place.cluster.kill(Part::Api);
        place.cluster.start(Part::Api);
        place.cluster.until_ready();
        done.send(()).expect("the relay waits");
        cycle.join().expect("the cycle ends");
    });
    place.assert_no_latch("web", "OBSERVATION");
    assert_eq!(place.status("web").number("/drift/missing"), 0);
    let pages = pages.load(Ordering::Relaxed);
    assert!(pages > 3, "{pages} pages: it was not begun anew");

    let versions = place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace));
    relay.decide(|_, path| match paged(path) {
        Some((path, true)) => Fate::CutAs(path),
        Some((path, false)) => Fate::As(path),
        None => Fate::Passes,
    });
    place.config_map("c001", "two").drop_maps(7..8).repo.publish("a change and a deletion");
    place.counted_cycle();
    let status = place.assert_latch("web", "OBSERVATION", &["observation"]);
    assert!(status.latch("OBSERVATION").unwrap().to_string().contains("broke off"), "{:#}", status.0);
    assert_eq!(status.number("/drift/missing"), 0, "what was not read is not missing");
    assert_eq!(place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace)), versions);
    relay.decide(|_, _| Fate::Passes);
    place.settle();
    assert_eq!((place.held().len(), place.held()["c001"].as_str()), (7, "two"));
}

#[test]
fn k8s_one_group_that_fails_is_unread_and_the_others_are_healed() {
    let (place, relay) = relayed();
    place.repo.write(
        "lease.yaml",
        &format!(
            "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{ name: l, namespace: {} }}\nspec: {{ holderIdentity: me }}\n",
            place.namespace
        ),
    );
    place.publish("another group");
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/l", place.namespace);
    for code in [429, 500, 503] {
        relay.decide(move |_, path| if path.contains("/leases") { Fate::Fails(code) } else { Fate::Passes });
        place.api().delete(&lease);
        place.api().delete(&place.path("c003"));
        place.counted_cycle();
        let status = place.assert_latch("web", "OBSERVATION", &["observation"]);
        assert!(status.latch("OBSERVATION").unwrap().to_string().contains(&code.to_string()), "{:#}", status.0);
        assert_eq!(place.held()["c003"], "one", "what can be read is healed");
        assert!(place.api().get(&lease).is_none(), "written unread");
        relay.decide(|_, _| Fate::Passes);
        place.settle();
        place.counted_cycles(3);
        assert!(place.api().get(&lease).is_some(), "{code}: not healed afterwards");
    }
}

#[test]
fn k8s_a_watch_that_broke_off_and_whose_version_is_too_old_goes_on_by_itself() {
    let (mut place, relay) = relayed();
    let port = http::free_port();
    place.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    let mut controller = place.controller();
    // The interval is three minutes: nothing but a watch tells within it.
    let drifted = |number: i64| move |status: &crate::harness::Status| status.number("/drift/changed") == number;
    controller.until("it watches", || (relay.watches() > 0).then_some(()));
    place.api().merge(&place.path("c001"), "some-operator", &json!({"data": {"value": "theirs"}}));
    controller.until_status("the drift is told", "web", drifted(1));
    relay.decide(|_, path| if path.contains("watch=true") { Fate::Fails(503) } else { Fate::Passes });
    assert!(relay.cut_watches() > 0);
    place.api().merge(&place.path("c002"), "some-operator", &json!({"data": {"value": "theirs"}}));
    place.cluster.forget_history();
    place.cluster.kill(Part::Api);
    place.cluster.start(Part::Api);
    place.cluster.until_ready();
    relay.decide(|_, _| Fate::Passes);
    controller.until_status("what happened meanwhile is told", "web", drifted(2));
    place.api().merge(&place.path("c003"), "some-operator", &json!({"data": {"value": "theirs"}}));
    controller.until_status("what happens afterwards is told", "web", drifted(3));
    assert!(controller.stop().success());
}
