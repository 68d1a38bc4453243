//! A FREEZE that is pushed in the middle of an apply on a cluster stops it at the next object (`GUARDS.md` 4).

use std::fs;

use crate::harness::Place;
use crate::harness::http::{free_port, github_push, request};
use crate::s07_replay::accepted;

/// Makes a world with forty ConfigMaps, written twice a second from now on.
fn forty() -> Place {
    let mut place = Place::new();
    place.app("web").guard("writeCap: disabled");
    place.config_maps(0..40, "one").publish("forty");
    place.app("web").guard("rate: { perSecond: 2, burst: 1 }");
    place.counted_cycle();
    place
}

fn changed(place: &Place) -> usize {
    place.held().values().filter(|value| *value == "two").count()
}

/// Pushes a freeze, signed or not, once some are written.
fn push_freeze(place: &Place, signed: bool) {
    place.cluster.until("some are written", |_| (changed(place) >= 2).then_some(()));
    place.repo.write("FREEZE", "reason: an incident\nowner: alice\n");
    let commit = place.repo.commit("stop");
    if signed {
        commit.by("alice")
    } else {
        commit.unsigned_by("mallory")
    };
    place.repo.push();
}

#[test]
fn k8s_s10_an_unsigned_freeze_that_is_pushed_is_seen_by_the_next_look_at_the_tip() {
    let place = forty();
    place.config_maps(0..12, "two").repo.publish("a dozen changes");
    std::thread::scope(|scope| {
        let cycle = scope.spawn(|| place.counted_cycle());
        push_freeze(&place, false);
        // The tip is read again every ten seconds.
        place.clock.advance(11);
        cycle.join().expect("the cycle ends");
    });
    let written = changed(&place);
    assert!((2..12).contains(&written), "{written} of twelve");
    place.counted_cycles(2);
    assert_eq!(changed(&place), written, "written while frozen");
    let status = place.assert_latch("web", "FREEZE", &["freeze"]);
    assert!(status.latch("FREEZE").unwrap().to_string().contains("an incident"), "{:#}", status.0);
    assert!(place.status_text().contains("FREEZE"));
}

#[test]
fn k8s_s10_a_signed_freeze_that_a_webhook_tells_of_stops_a_running_controller_at_the_next_object() {
    let mut place = forty();
    let port = free_port();
    fs::write(place.dir().join("hook"), "a secret of the webhook").expect("the secret is written");
    let hooks = format!("webhooks: {{ github: {{ secretFile: {:?} }} }}", place.dir().join("hook"));
    place.config.controller.extend([format!("listen: 127.0.0.1:{port}"), hooks]);
    let mut controller = place.controller();
    controller.until("it is ready", || request(port, "GET", "/readyz", &[], "").filter(|answer| answer.status == 200));
    let tell = |delivery: &str| {
        accepted(github_push(port, "a secret of the webhook", delivery, r#"{"ref":"refs/heads/main"}"#));
    };
    place.config_maps(0..12, "two").repo.publish("a dozen changes");
    tell("one");
    push_freeze(&place, true);
    tell("two");
    controller.until_status("it is frozen", "web", |status| status.latch("FREEZE").is_some());
    let written = changed(&place);
    assert!((2..12).contains(&written), "{written} of twelve");
    let before = place.status("web").at("/lastCycle/started").clone();
    tell("three");
    controller.until_status("one more cycle", "web", |status| *status.at("/lastCycle/started") != before);
    assert_eq!(changed(&place), written, "written while frozen");
    assert!(controller.stop().success());
}
