//! 1. The source path is emptied, renamed or missing; a tree that does not render.

use crate::harness::{INTERVAL, World, short};

/// Makes a world whose application reads `hosts/web` of a repository that holds more.
fn fleet() -> World {
    let mut world = World::new();
    world.app("web").path("hosts/web");
    world.repo.fill("hosts/web", 0..12).fill("hosts/db", 20..24);
    world.baseline();
    world
}

/// Asserts that nothing is deleted however long it lasts, and that a revert needs nobody's leave.
#[track_caller]
fn assert_held_until_reverted(world: &World, poison: &str) {
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["empty_desired"]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    assert_eq!(status.number("/inventory"), 12);
    assert_eq!(status.at("/source/tip"), poison);
    assert_ne!(status.converged(), Some(poison));
    world.assert_printed(&["web", "PLAN", short(poison)]);
    world.assert_heals("web", "f003.conf");

    world.repo.revert(poison, "alice");
    world.repo.push();
    world.counted_cycle();
    world.assert_no_latch("web", "PLAN");
    world.assert_converged("web");
    world.assert_unchanged("web", &before);
}

#[test]
fn s01_an_emptied_source_path_deletes_nothing() {
    let world = fleet();
    world.repo.remove("hosts/web");
    let poison = world.repo.publish("tidy up");
    assert_held_until_reverted(&world, &poison);
}

#[test]
fn s01_a_path_that_keeps_a_placeholder_deletes_nothing_either() {
    let world = fleet();
    world.repo.drop("hosts/web", 0..12).write("hosts/web/.gitkeep", "");
    world.repo.publish("tidy up");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    assert_eq!((status.number("/plan/deletes"), status.number("/inventory")), (12, 12));
    assert_eq!(status.at("/plan/culprit/commit"), &*world.repo.head());
    world.assert_printed(&["12", short(&world.repo.head()), "git revert"]);
    world.assert_heals("web", "f003.conf");
}

#[test]
fn s01_a_renamed_source_path_deletes_nothing() {
    let world = fleet();
    world.repo.git(&["mv", "hosts/web", "hosts/www"]);
    let poison = world.repo.publish("call it www");
    assert_held_until_reverted(&world, &poison);
}

#[test]
fn s01_a_source_path_that_became_a_file_deletes_nothing() {
    let world = fleet();
    world.repo.remove("hosts/web").write("hosts/web", "moved elsewhere\n");
    let poison = world.repo.publish("leave a note");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "RENDER", &["render"]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    assert_eq!(status.at("/source/tip"), &*poison);
    world.assert_printed(&["hosts/web", "is not a directory", "source.path"]);
    world.assert_heals("web", "f003.conf");
}

#[test]
fn s01_a_whole_repository_that_is_emptied_deletes_nothing() {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    world.repo.drop("", 0..12);
    let poison = world.repo.publish("start over");
    assert_held_until_reverted(&world, &poison);
}

#[test]
fn s01_an_emptied_path_halts_even_for_a_single_resource() {
    // Of one resource a deletion crosses no other limit (`deleteHalt` needs two): emptiness alone must hold it.
    let world = World::new();
    world.repo.write("only.conf", "upstream = alpha\n");
    world.baseline();
    world.repo.remove("only.conf");
    world.repo.publish("drop it");
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    assert!(world.exists("web", "only.conf"));
    world.assert_latch("web", "PLAN", &["empty_desired"]);
    world.assert_heals("web", "only.conf");
}

#[test]
fn s01_a_path_that_never_existed_writes_nothing() {
    let mut world = World::new();
    world.app("web").path("hosts/wbe");
    world.repo.fill("hosts/web", 0..3);
    world.repo.publish("baseline");
    world.edit_live("web", "f000.conf", "somebody's own\n");
    let before = world.tree("web");
    world.counted_cycles(3);
    world.assert_unchanged("web", &before);
    world.assert_latch("web", "PLAN", &["empty_desired"]);
    world.assert_printed(&["hosts/wbe"]);
}

#[test]
fn s01_an_emptied_path_may_be_approved() {
    let world = fleet();
    world.repo.remove("hosts/web");
    world.repo.publish("retire web");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["empty_desired"]).digest();
    world.approve("web", &digest).ok();
    // Deletions are paced: three an interval.
    world.counted_cycle();
    assert!(world.tree("web").len() >= 9, "more was deleted at once than the cap allows");
    world.counted_cycles(5);
    assert!(world.tree("web").is_empty(), "left: {:?}", world.tree("web").keys());
    world.assert_journal("web", &[&digest, "local:"]);
}

/// Asserts RENDER for the tip, with healing going on, until it is taken back.
#[track_caller]
fn assert_render_held(world: &World, broken: &str, named: &str) {
    let before = world.tree("web");
    world.counted_cycles(2);
    world.assert_unchanged("web", &before);
    let status = world.assert_latch("web", "RENDER", &["render"]);
    assert!(!status.writes("promotion") && status.writes("healing"));
    assert!(status.latch("RENDER").is_some_and(|latch| latch.to_string().contains(named)), "{named} is not named");
    assert!(status.latch("PLAN").is_none(), "what does not render must not be judged as a deletion");
    assert_eq!(status.at("/source/tip"), broken);
    world.assert_heals("web", "f005.conf");

    world.repo.revert(broken, "alice");
    world.repo.push();
    world.counted_cycle();
    world.assert_no_latch("web", "RENDER");
    world.assert_converged("web");
}

// A document that no longer parses belongs to the renderers of manifests, hence to a cluster; for a directory, whose
// files are opaque, what cannot be rendered is what the tree only points at.

#[test]
fn s01_a_pointer_to_a_large_file_is_not_rendered_as_its_content() {
    let world = fleet();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "ab".repeat(32));
    world.repo.write("hosts/web/f000.conf", &pointer);
    let broken = world.repo.publish("keep it in large file storage");
    assert_render_held(&world, &broken, "f000.conf");
}

#[test]
fn s01_a_submodule_that_is_not_there_is_not_rendered_as_nothing() {
    let world = fleet();
    world.repo.git(&["rm", "-q", "-r", "hosts/web"]);
    world.repo.git(&["checkout", "HEAD", "--", "hosts/web/f001.conf", "hosts/web/f005.conf"]);
    let head = world.repo.head();
    world.repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},hosts/web/base")]);
    world.repo.git_as("alice", &["commit", "-q", "-m", "take the base from elsewhere"]);
    world.repo.push();
    let broken = world.repo.head();
    assert_render_held(&world, &broken, "base");
}

#[test]
fn s01_detection_stays_as_fresh_while_nothing_renders() {
    let world = fleet();
    world.repo.remove("hosts/web");
    world.repo.publish("tidy up");
    world.counted_cycle();
    let first = world.status("web").text("/lastCycle/started").to_owned();
    world.clock.advance(INTERVAL);
    world.edit_live("web", "f001.conf", "edited while halted\n");
    world.cycle();
    let status = world.status("web");
    assert!(status.text("/lastCycle/started") > first.as_str(), "the cycle's start does not move: {first}");
    assert_eq!(status.number("/drift/changed"), 1);
    assert_eq!(status.at("/lastCycle/complete"), true);
}
