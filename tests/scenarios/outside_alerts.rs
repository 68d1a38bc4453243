//! Alerts: told to real receivers, signed, once each, however long a receiver was away.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::http::{free_port, github_push, hmac};
use crate::harness::receiver::{Alert, Receiver};
use crate::harness::{Controller, World};
use crate::s07_replay::{listening, quiet, ready};

const SECRET: &str = "what alerts are signed with";

/// Has a world tell a receiver of these events.
fn tell(world: &mut World, port: u16, on: &str) {
    let secret = world.dir().join("alerts");
    fs::write(&secret, format!("{SECRET}\n")).expect("the secret is written");
    let webhook = format!("webhook: {{ url: \"http://127.0.0.1:{port}/hook\", secretFile: {secret:?} }}");
    world.config.controller.push(format!("notify: [ {{ {webhook}, on: [{on}] }} ]"));
}

/// Asserts that an alert is signed, and new.
#[track_caller]
fn assert_signed(alert: &Alert) {
    let timestamp = &alert.headers["x-holdfast-timestamp"];
    let signature = format!("sha256={}", hmac(SECRET, &format!("{timestamp}.{}", alert.body)));
    assert_eq!(alert.headers["x-holdfast-signature"], signature);
    let at: jiff::Timestamp = alert.json()["at"].as_str().unwrap_or_default().parse().expect("it is a time");
    let late = timestamp.parse::<i64>().expect("it is a number") - at.as_second();
    assert!((0..300).contains(&late), "it is dated {late} s after what it tells");
    assert_eq!(alert.headers["x-holdfast-event"], alert.json()["event"].as_str().unwrap_or_default());
    assert_eq!(alert.json()["application"], "web");
}

/// Asserts that no alert came twice.
#[track_caller]
fn assert_once(receiver: &Receiver) {
    let ids: Vec<String> = receiver.alerts().iter().map(|alert| alert.headers["x-holdfast-delivery"].clone()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "something came twice: {ids:?}");
}

fn arrives(controller: &mut Controller<'_>, receiver: &Receiver, subject: &str, state: &str) -> Alert {
    let what = format!("{subject} {state}");
    controller.until(&what, || receiver.of(subject, state).into_iter().next())
}

#[test]
fn a_halt_and_its_end_are_told_once_each_and_signed() {
    let (mut world, port) = listening();
    let to = free_port();
    let receiver = Receiver::listen(to);
    tell(&mut world, to, "halt");
    world.repo.drop("", 0..8);
    world.repo.publish("eight of twelve go");
    let mut controller = world.controller();
    ready(&mut controller, port);
    let alert = arrives(&mut controller, &receiver, "PLAN", "set");
    assert_signed(&alert);
    assert_eq!(alert.json()["reasons"][0]["code"], "delete_halt");
    assert!(alert.json()["text"].as_str().is_some_and(|text| text.starts_with("web: PLAN")), "{}", alert.body);
    for wake in ["one", "two", "three"] {
        world.advance(4);
        github_push(port, "a secret of the hosting service", wake, "{}");
        quiet(&mut controller, port);
    }
    let status = world.status("web");
    world.approve("web", &status.digest()).ok();
    arrives(&mut controller, &receiver, "PLAN", "cleared");
    assert_eq!(receiver.of("PLAN", "set").len(), 1);
    assert!(receiver.alerts().iter().all(|alert| alert.json()["event"] == "halt"), "only halts were asked for");
    assert_once(&receiver);
}

#[test]
fn a_freeze_reaches_a_receiver_that_was_down_even_after_a_restart() {
    let (mut world, port) = listening();
    let to = free_port();
    tell(&mut world, to, "halt, freeze");
    let mut controller = world.controller();
    ready(&mut controller, port);
    world.holdfast(&["freeze", "web", "--reason", "incident 4711"]).ok();
    controller.until("the first attempt", || controller_says(&world, "an alert did not arrive"));
    controller.kill();
    let receiver = Receiver::listen(to);
    let mut controller = world.controller();
    ready(&mut controller, port);
    let alert = arrives(&mut controller, &receiver, "FREEZE", "set");
    assert_signed(&alert);
    assert!(alert.body.contains("incident 4711"), "{}", alert.body);
    world.holdfast(&["thaw", "web"]).ok();
    arrives(&mut controller, &receiver, "FREEZE", "cleared");
    assert_eq!(receiver.alerts().len(), 2, "{:?}", receiver.alerts());
    assert_once(&receiver);
}

fn controller_says(world: &World, phrase: &str) -> Option<()> {
    let log = fs::read_to_string(world.dir().join("controller.log")).unwrap_or_default();
    log.contains(phrase).then_some(())
}

#[test]
fn a_receiver_that_is_down_changes_nothing() {
    let mut world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    tell(&mut world, free_port(), "halt, freeze, failing");
    world.edit_live("web", "f003.conf", "by hand\n");
    world.repo.change("", 5..8, "omega");
    world.repo.publish("three updates");
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn what_does_not_converge_is_told_after_three_cycles_with_its_reason_and_when_it_does_again() {
    let mut world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    let to = free_port();
    let receiver = Receiver::listen(to);
    tell(&mut world, to, "failing");
    world.repo.drop("", 0..8);
    let bad = world.repo.publish("eight of twelve go");
    world.counted_cycles(2);
    assert!(receiver.of("failing", "set").is_empty(), "two cycles are too few: {:?}", receiver.alerts());
    world.counted_cycles(3);
    let told = receiver.of("failing", "set");
    assert_eq!(told.len(), 1, "one alert for all: {:?}", receiver.alerts());
    assert_signed(&told[0]);
    let json = told[0].json();
    assert_eq!((&json["count"], &json["resources"][0]["reason"]), (&8.into(), &"pending".into()));
    world.repo.revert(&bad, "alice");
    world.repo.push();
    world.counted_cycles(2);
    assert_eq!(receiver.of("failing", "cleared").len(), 1, "{:?}", receiver.alerts());
    assert_once(&receiver);
}

#[test]
fn an_emergency_is_told_every_hour_and_a_fresh_change_once() {
    let mut world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    let to = free_port();
    let receiver = Receiver::listen(to);
    tell(&mut world, to, "failing");
    world.edit_live("web", "f003.conf", "by hand\n");
    world.counted_cycles(2);
    let fresh = receiver.of("fresh", "set");
    assert_eq!(fresh.len(), 1, "{:?}", receiver.alerts());
    assert!(fresh[0].body.contains("holdfast hold f003.conf"), "how is it kept? {}", fresh[0].body);
    world.holdfast(&["hold", "f003.conf", "--reason", "incident", "--for", "8h"]).ok();
    world.advance(61);
    world.counted_cycles(2);
    assert_eq!(receiver.of("emergency", "set").len(), 1, "{:?}", receiver.alerts());
    world.advance(61);
    world.counted_cycles(2);
    assert_eq!(receiver.of("emergency", "set").len(), 2, "an hour later nobody is told again");
    assert_eq!(world.live("web", "f003.conf"), "by hand\n");
    assert_once(&receiver);
}
