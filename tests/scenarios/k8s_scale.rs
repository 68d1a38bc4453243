//! Ten thousand objects: what a steady cycle costs. Takes minutes; run it by name with `--ignored`.

use std::time::Instant;

use crate::harness::cluster::Cluster;
use crate::harness::{Place, http};

#[test]
#[ignore = "it takes minutes: ten thousand objects are written"]
fn k8s_ten_thousand_objects_cost_a_few_requests_in_a_steady_cycle() {
    let mut place = Place::on(Cluster::own());
    let port = http::free_port();
    place.app("web").interval("1s").guard("writeCap: disabled").guard("settle: 1s");
    for file in 0..10 {
        let one = |number: usize| {
            let name = format!("c{:05}", file * 1000 + number);
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {} }}\ndata: {{ value: one, other: {name} }}\n",
                place.namespace
            )
        };
        place.repo.write(&format!("f{file}.yaml"), &(0..1000).map(one).collect::<String>());
    }
    place.repo.publish("ten thousand");
    let begun = Instant::now();
    place.settle();
    eprintln!("applied in {:?}", begun.elapsed());
    place.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    let mut controller = place.controller();
    let metrics = || {
        let text = http::request(port, "GET", "/metrics", &[], "")?.body;
        let sum = |name: &str, not: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name) && (not.is_empty() || !line.contains(not)));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Some((
            sum("holdfast_cycle_seconds_count", ""),
            sum("holdfast_api_requests_total{target=\"kubernetes\"", "watch"),
            sum("holdfast_cycle_seconds_sum", ""),
        ))
    };
    let (cycles, requests, seconds) =
        controller.until("two cycles", || metrics().filter(|(cycles, ..)| *cycles >= 2.0));
    for more in 1..=3 {
        place.clock.advance(2);
        controller.until("another cycle", || metrics().filter(|(now, ..)| *now >= cycles + f64::from(more)));
    }
    let (last, after, took) = metrics().expect("it answers");
    let each = |from: f64, to: f64| (to - from) / (last - cycles);
    eprintln!("a steady cycle: {:.1} requests, {:.2} s", each(requests, after), each(seconds, took));
    assert!(each(requests, after) < 60.0);
    assert!(controller.stop().success());
}
