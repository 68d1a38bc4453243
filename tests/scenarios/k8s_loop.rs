//! The loop on a real API server: what was committed is there, what is steady stays untouched, what was changed is seen.

use serde_json::json;

use crate::harness::{Place, http};

#[test]
fn k8s_what_was_committed_is_created_updated_and_deleted() {
    let place = Place::new();
    place.config_maps(0..12, "one").publish("twelve");
    assert_eq!(place.held().len(), 12);
    place
        .config_maps(0..2, "two")
        .drop_maps(11..12)
        .config_map("new", "n")
        .publish("two updates, a deletion, a creation");
    let held = place.held();
    assert_eq!((held["c001"].as_str(), held["c002"].as_str(), held["new"].as_str()), ("two", "one", "n"));
    assert!(!held.contains_key("c011"));
    let before = place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace));
    place.assert_steady(3);
    let mut after = place.versions(&format!("/api/v1/namespaces/{}/configmaps", place.namespace));
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before, "written although nothing was left to do");
    place.assert_free("web");
}

#[test]
fn k8s_a_change_in_the_cluster_wakes_a_running_controller_and_what_a_status_says_does_not() {
    let mut place = Place::new();
    let port = http::free_port();
    place.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    place.config_maps(0..6, "one").publish("six");
    let mut controller = place.controller();
    controller
        .until("it is ready", || http::request(port, "GET", "/readyz", &[], "").filter(|answer| answer.status == 200));
    let watches = |log: &str| log.contains("not watched");
    controller.until("every kind is watched", || {
        let metrics = http::request(port, "GET", "/metrics", &[], "")?.body;
        let counted = |verb: &str| {
            metrics.contains(&format!("holdfast_api_requests_total{{target=\"kubernetes\",verb=\"{verb}\"}} 0"))
        };
        // The watch begins once the first cycle listed; its request is counted with the next one's.
        (!counted("list")).then_some(())
    });
    assert!(!watches(&controller.log()), "{}", controller.log());
    let before = place.status("web").at("/lastCycle/started").clone();
    place.api().merge(&place.path("c003"), "some-operator", &json!({"data": {"value": "theirs"}}));
    // The interval is three minutes, and nothing but the watch tells.
    controller.until_status("the drift is told", "web", |status| status.number("/drift/changed") == 1);
    assert_ne!(*place.status("web").at("/lastCycle/started"), before);
    assert!(controller.stop().success());
}

#[test]
fn k8s_a_steady_cycle_costs_a_few_requests_and_a_held_plan_no_more() {
    let mut place = Place::new();
    let port = http::free_port();
    place.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    place.app("web").interval("1s").guard("writeCap: disabled").guard("deleteHalt: 0");
    place.config_maps(0..30, "one").publish("thirty");
    place.drop_maps(0..1).config_maps(1..9, "two").repo.publish("a plan that is held");
    let mut controller = place.controller();
    let sum = || {
        let metrics = http::request(port, "GET", "/metrics", &[], "")?.body;
        let of = |name: &str| -> Option<u64> {
            let lines = metrics.lines().filter(|line| line.starts_with(name) && !line.contains("watch"));
            Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
        };
        Some((of("holdfast_cycle_seconds_count")?, of("holdfast_api_requests_total{target=\"kubernetes\"")?))
    };
    controller.until("it is up", || sum().filter(|(cycles, _)| *cycles >= 3));
    place.clock.advance(2);
    let (first, before) = sum().expect("it answers");
    for _ in 0..3 {
        place.clock.advance(2);
        place.repo.push();
        let (now, _) = sum().expect("it answers");
        // A wake-up that nothing changed for: the interval is over.
        controller.until("another cycle", || sum().filter(|(cycles, _)| *cycles > now));
    }
    let (last, after) = sum().expect("it answers");
    let each = (after - before).div_ceil(last - first);
    assert!(each <= 6, "{each} requests in a cycle: two for the kinds, one for the anchor, one list");
    assert!(controller.stop().success());
}
