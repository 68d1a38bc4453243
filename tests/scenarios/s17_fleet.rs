//! 17. One commit that changes every one of two hundred applications by a little.

use std::collections::BTreeSet;

use crate::harness::{World, changes, content, name};

/// Makes applications of so many resources each, at their baseline.
fn fleet(applications: usize, resources: usize) -> (World, Vec<String>) {
    let mut world = World::empty();
    let names: Vec<_> = (0..applications).map(|number| format!("app-{number:03}")).collect();
    for name in &names {
        world.add_app(name).path(&format!("apps/{name}"));
        world.repo.fill(&format!("apps/{name}"), 0..resources);
    }
    world.repo.publish("baseline");
    for name in &names {
        world.preplace(name);
    }
    world.counted_cycles(3);
    let document = world.holdfast(&["status", "--output", "json"]).ok().json();
    for application in document["applications"].as_array().expect("a list") {
        assert_eq!(application["source"]["converged"], world.repo.head(), "{application:#}");
    }
    (world, names)
}

/// Changes one resource of every application with one commit.
fn change_all(world: &World, names: &[String], value: &str) {
    for application in names {
        world.repo.write(&format!("apps/{application}/{}", name(2)), &content(2, value));
    }
    world.repo.publish("a little everywhere");
}

/// Returns how many applications hold the new value.
fn changed(world: &World, names: &[String], value: &str) -> usize {
    names.iter().filter(|application| world.live(application, &name(2)) == content(2, value)).count()
}

#[test]
fn s17_the_fleet_guard_holds_two_hundred_and_one_approval_lets_all_go() {
    let (world, names) = fleet(200, 6);
    change_all(&world, &names, "omega");
    world.counted_cycles(2);
    assert_eq!(changed(&world, &names, "omega"), 0, "some were written before the fleet was judged");

    let document = world.holdfast(&["status", "--output", "json"]).ok().json();
    let mut digests = BTreeSet::new();
    for application in document["applications"].as_array().expect("a list") {
        let status = crate::harness::Status(application.clone());
        let codes = status.latches().remove("PLAN").unwrap_or_default();
        assert!(codes.contains("fleet_change"), "{}: {codes:?}", application["name"]);
        assert!(!status.writes("promotion") && status.writes("healing"));
        digests.extend(status.digests_to_approve("PLAN"));
    }
    assert_eq!(digests.len(), 1, "one digest is to be approved, not {}", digests.len());
    world.assert_printed(&["PLAN", "200"]);
    for application in ["app-000", "app-107", "app-199"] {
        world.assert_latch(application, "PLAN", &["fleet_change"]);
    }
    world.assert_heals("app-007", &name(3));
    assert_eq!(changed(&world, &names, "omega"), 0);

    world.approve("app-000", digests.first().expect("there is one")).ok();
    world.counted_cycles(2);
    assert_eq!(changed(&world, &names, "omega"), 200, "one approval does not let all go");
    for application in ["app-000", "app-107", "app-199"] {
        world.assert_free(application);
    }
}

#[test]
fn s17_less_than_half_of_the_applications_pass() {
    let (world, names) = fleet(12, 20);
    change_all(&world, &names[..6], "omega");
    world.counted_cycles(2);
    assert_eq!(changed(&world, &names, "omega"), 6, "half of twelve is not more than half");
    change_all(&world, &names[..7], "sigma");
    world.counted_cycles(2);
    assert_eq!(changed(&world, &names, "sigma"), 0, "seven of twelve is more than half");
    world.assert_latch("app-003", "PLAN", &["fleet_change"]);
}

#[test]
fn s17_deletions_over_the_fleet_have_a_limit_of_their_own() {
    let (world, names) = fleet(6, 12);
    let before: Vec<_> = names.iter().map(|name| world.tree(name)).collect();
    // Two of twelve each pass alone; twelve of seventy-two do not pass together.
    for application in &names {
        world.repo.drop(&format!("apps/{application}"), 0..2);
    }
    world.repo.publish("two everywhere");
    world.counted_cycles(2);
    for (application, before) in names.iter().zip(&before) {
        assert_eq!(changes(before, &world.tree(application)).total(), 0, "{application} was written to");
        world.assert_latch(application, "PLAN", &["fleet_delete"]);
    }
}

#[test]
fn s17_an_unreachable_target_delays_nobody_s_judgement() {
    let (world, names) = fleet(4, 6);
    std::fs::rename(world.root("app-000"), world.dir().join("away")).expect("a root is moved");
    change_all(&world, &names[1..2], "omega");
    world.counted_cycles(2);
    assert_eq!(world.live("app-001", &name(2)), content(2, "omega"), "one unreachable target stopped another");
    world.assert_latch("app-000", "OBSERVATION", &["observation"]);
    world.assert_free("app-001");
}
