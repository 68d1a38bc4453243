//! 18. Kill -9 at every durable step of a cycle, restart, and nothing that the other scenarios assert is ever violated.
//!
//! The debug build kills itself at its n-th durable step (a commit of the ledger, a swap of the anchor, a write to the
//! target), before and after each. Every step is tried from the same saved world; shards let the steps run in parallel.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{Saved, Tree, World, changes};

/// The number of test functions that share the steps of the long script.
const SHARDS: usize = 4;

/// A world just before the cycle that is killed.
struct Brink {
    world: World,
    saved: Saved,
    before: Tree,
    steps: usize,
}

impl Brink {
    /// Takes a world whose next cycle does what the script prepared, and counts that cycle's steps.
    fn new(world: World) -> Self {
        world.clock.advance(181);
        let before = world.tree("web");
        let saved = world.save();
        let steps = world.crash_at(1_000_000).ok().steps();
        assert!(steps > 0, "the cycle has no durable step");
        Self { world, saved, before, steps }
    }

    /// Tries every step of a shard: kills at it and hands over the world as the kill left it.
    #[track_caller]
    fn each(&self, shard: usize, of: usize, mut then: impl FnMut(&World, &Tree, usize)) {
        for step in (1..=self.steps).filter(|step| step % of == shard) {
            self.world.restore(&self.saved);
            self.world.receiver.forget();
            let ran = self.world.crash_at(step);
            assert_ne!(ran.code, Some(0), "step {step} of {} was not reached", self.steps);
            then(&self.world, &self.before, step);
        }
    }
}

/// A passing plan with one of everything: creation, updates, deletions, a parked one, and something to heal.
fn mixed() -> Brink {
    let world = World::new();
    world.repo.fill("", 0..60).write("fstab", "none\n");
    world.baseline();
    world.repo.change("", 0..2, "omega").drop("", 2..4).remove("fstab").write("new.conf", "fresh = yes\n");
    world.repo.publish("one of everything");
    world.remove_live("web", "f030.conf");
    Brink::new(world)
}

/// Asserts, after a kill, that the same interval stays within its budget and that the next ones converge.
#[track_caller]
fn assert_recovers(world: &World, before: &Tree, step: usize) {
    let looks_sane = |when: &str| {
        let changed = changes(before, &world.tree("web"));
        assert!(world.exists("web", "fstab"), "step {step}, {when}: a protected file is gone");
        assert!(changed.total() <= 6, "step {step}, {when}: more than the plan was written: {changed:?}");
        assert!(
            changed.deleted.iter().all(|path| ["f002.conf", "f003.conf"].contains(&path.as_str())),
            "step {step}: {changed:?}"
        );
        // Every file is as it was or as it should be, never something between.
        for (path, entry) in &world.tree("web") {
            let whole = before.get(path) == Some(entry) || world.wanted("web").get(path) == Some(entry);
            assert!(whole, "step {step}, {when}: {path} is torn: {entry:?}");
        }
    };
    looks_sane("killed");
    world.cycle();
    looks_sane("restarted");
    for _ in 0..6 {
        world.counted_cycle();
        let left = world.missing_from("web");
        if left.deleted == ["fstab"] && left.total() == 1 {
            break;
        }
    }
    looks_sane("converged");
    let left = world.missing_from("web");
    assert!(left.deleted == ["fstab"] && left.total() == 1, "step {step}: does not converge: {left:?}");
    let status = world.status("web");
    assert!(status.latches().is_empty(), "step {step}: {:?}", status.latches());
    assert_eq!(status.list("/parked").len(), 1, "step {step}");
    let planned = world.plan("web");
    assert!(
        planned.operations().iter().all(|one| one["resource"] == "fstab"),
        "step {step}: left to do: {:#}",
        planned.0
    );
}

fn mixed_shard(shard: usize) {
    mixed().each(shard, SHARDS, assert_recovers);
}

#[test]
fn s18_killed_at_every_step_of_a_mixed_plan_0() {
    mixed_shard(0);
}

#[test]
fn s18_killed_at_every_step_of_a_mixed_plan_1() {
    mixed_shard(1);
}

#[test]
fn s18_killed_at_every_step_of_a_mixed_plan_2() {
    mixed_shard(2);
}

#[test]
fn s18_killed_at_every_step_of_a_mixed_plan_3() {
    mixed_shard(3);
}

#[test]
fn s18_a_halt_holds_through_every_kill() {
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    world.repo.drop("", 0..30);
    world.repo.publish("poison");
    Brink::new(world).each(0, 1, |world, before, step| {
        world.assert_unchanged("web", before);
        world.cycle();
        world.counted_cycles(2);
        world.assert_unchanged("web", before);
        // Told too, whether the kill was before the alert was kept, before it was sent, or after.
        let status = world.assert_latch("web", "PLAN", &["delete_halt"]);
        assert_eq!(status.number("/plan/deletes"), 30, "step {step}");
    });
}

#[test]
fn s18_a_freeze_holds_through_every_kill() {
    let world = World::new();
    world.repo.fill("", 0..20);
    world.baseline();
    world.repo.change("", 0..3, "omega");
    world.repo.commit("a change").by("alice");
    world.repo.write("FREEZE", "");
    world.repo.commit("stop").unsigned_by("mallory");
    world.repo.push();
    world.remove_live("web", "f010.conf");
    Brink::new(world).each(0, 1, |world, before, step| {
        world.cycle();
        world.counted_cycle();
        world.assert_unchanged("web", before);
        let status = world.assert_latch("web", "FREEZE", &["freeze"]);
        assert_eq!(status.number("/drift/missing"), 1, "step {step}: drift is no longer told");
    });
}

#[test]
fn s18_an_approval_is_used_once_through_every_kill() {
    let world = World::new();
    world.repo.fill("", 0..20);
    world.baseline();
    world.repo.drop("", 0..6);
    world.repo.publish("drop six");
    world.counted_cycle();
    let digest = world.assert_latch("web", "PLAN", &["delete_halt"]).digest();
    world.approve("web", &digest).ok();
    Brink::new(world).each(0, 1, |world, before, step| {
        let deleted = |world: &World| changes(before, &world.tree("web")).deleted.len();
        assert!(deleted(world) <= 3, "step {step}");
        world.cycle();
        assert!(deleted(world) <= 3, "step {step}: {} deletions in one interval", deleted(world));
        world.counted_cycles(4);
        // One approval, one rollout: it finishes, and what was approved is not approved again.
        assert_eq!(deleted(world), 6, "step {step}: {:?}", world.status("web").latches());
        let status = world.status("web");
        assert!(status.latches().is_empty(), "step {step}: {:?}", status.latches());
    });
}

#[test]
fn s18_the_very_first_cycles_survive_every_kill() {
    let world = World::new();
    world.repo.fill("", 0..4);
    world.repo.publish("the first commit");
    let observed = Brink::new(world);
    observed.each(0, 1, |world, _, step| {
        assert!(world.tree("web").is_empty(), "step {step}: written while observing");
        world.counted_cycles(5);
        assert_eq!(world.missing_from("web").total(), 0, "step {step}: {:?}", world.status("web").latches());
        assert!(world.status("web").latches().is_empty(), "step {step}");
    });
    // The second cycle claims the target and writes.
    observed.world.restore(&observed.saved);
    let Brink { world, .. } = observed;
    world.cycle();
    Brink::new(world).each(0, 1, |world, _, step| {
        world.counted_cycles(5);
        assert_eq!(world.missing_from("web").total(), 0, "step {step}: {:?}", world.status("web").latches());
        assert!(world.status("web").latches().is_empty(), "step {step}");
    });
}

#[test]
fn s18_reanchoring_survives_a_kill_in_the_cycle_after_it() {
    let world = World::new();
    world.repo.fill("", 0..12);
    world.baseline();
    std::fs::remove_dir_all(world.dir().join("state")).expect("the state is removed");
    world.counted_cycle();
    world.assert_latch("web", "STATE", &["anchor"]);
    world.holdfast(&["reanchor", "web", &world.repo.head(), "--reason", "looked at it"]).ok();
    Brink::new(world).each(0, 1, |world, before, step| {
        world.counted_cycles(4);
        world.assert_unchanged("web", before);
        assert!(world.status("web").latches().is_empty(), "step {step}: {:?}", world.status("web").latches());
    });
}

#[test]
fn s18_killed_by_its_own_hook_it_finishes_later() {
    let mut world = World::new();
    world.on_batch("web", "if [ $call = 2 ]; then kill -9 $PPID; fi");
    world.repo.fill("", 0..40);
    world.baseline();
    std::fs::write(world.dir().join("hook.sh.calls"), "0\n").expect("the counter is reset");
    world.repo.change("", 0..8, "omega");
    world.repo.publish("eight updates");
    let before = world.tree("web");
    world.clock.advance(181);
    let killed = world.crash_at(1_000_000);
    assert_eq!(killed.code, None, "the hook killed something else: {killed:?}");
    assert_eq!(changes(&before, &world.tree("web")).updated.len(), 3);
    world.converge("web");
    world.assert_free("web");
}

#[test]
fn s18_a_running_controller_killed_again_and_again_converges() {
    let mut world = World::new();
    world.app("web").interval("1s");
    world.repo.fill("", 0..30);
    world.baseline();
    for round in 0..5 {
        world.repo.change("", round * 3..round * 3 + 3, "omega");
        let head = world.repo.publish(&format!("round {round}"));
        let mut controller = world.controller();
        // Killed as soon as it has begun to write: at another point in each round.
        let root = world.root("web");
        let first = root.join(crate::harness::name(round * 3));
        controller.until("the first write", || {
            std::fs::read_to_string(&first).is_ok_and(|text| text.contains("omega")).then_some(())
        });
        controller.kill();
        let mut controller = world.controller();
        controller.until_status("convergence", "web", |status| status.converged() == Some(&head));
        controller.kill();
        assert_eq!(world.missing_from("web").total(), 0, "round {round}");
    }
    world.assert_free("web");
}

/// Kills a cycle at the first durable step of that name.
#[track_caller]
fn kill_at(world: &World, name: &str) {
    let saved = world.save();
    for step in 1..200 {
        let ran = world.crash_at(step);
        if ran.stderr.contains(&format!("({name})")) {
            return;
        }
        assert_ne!(ran.code, Some(0), "no step is called {name}");
        world.restore(&saved);
    }
    panic!("no step is called {name}");
}

#[test]
fn s18_killed_twice_around_the_swap_of_the_anchor_the_target_is_still_its_own() {
    for (first, second) in
        [("anchor.swapped", "anchor.swap"), ("anchor.swapped", "anchor.swapped"), ("anchor.swap", "anchor.swap")]
    {
        let world = World::new();
        world.repo.fill("", 0..12);
        world.baseline();
        world.repo.change("", 0..3, "omega");
        world.repo.publish("three updates");
        world.clock.advance(181);
        kill_at(&world, first);
        kill_at(&world, second);
        world.cycle();
        assert!(world.status("web").latch("STATE").is_none(), "{first}, then {second}: its own anchor is a stranger's");
        world.converge("web");
        world.assert_free("web");
    }
}

/// How often the process is killed at a moment that nobody chose.
const KILLS: usize = 120;

/// Small pseudo-random numbers; the seed is in every message, so that a failure can be run again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Kills a cycle after a while that is up to as long as a whole one took lately; returns whether it came to its end.
fn kill_midway(world: &World, chance: &mut Chance, whole: &mut Duration) -> bool {
    let config = world.config_file();
    let begun = Instant::now();
    let mut child = world
        .command(&["run", "--once", "-c"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the controller starts");
    let most = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).max(1);
    let at = begun + Duration::from_micros(chance.below(most));
    while let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
    let _ = child.kill();
    let ended = child.wait().expect("the controller ends");
    if ended.success() {
        *whole = begun.elapsed();
    }
    ended.success()
}

/// Asserts that no row of an application's journal is missing or there twice.
#[track_caller]
fn assert_journal_has_no_gaps(world: &World) {
    let history = world.holdfast(&["history", "web", "--last", "100000", "--output", "json"]).ok().json();
    let rows = history["history"].as_array().expect("the history is a list");
    // What concerns all applications is numbered apart.
    let own = rows.iter().filter(|row| row["application"] == "web");
    let mut numbers: Vec<_> = own.map(|row| row["seq"].as_i64().expect("a row has a number")).collect();
    assert!(!numbers.is_empty(), "there is no journal: {history:#}");
    numbers.sort_unstable();
    let wanted: Vec<i64> = (1..=i64::try_from(numbers.len()).expect("the rows can be counted")).collect();
    assert_eq!(numbers, wanted, "the journal has gaps or doubles");
}

#[test]
fn s18_killed_at_a_hundred_moments_nothing_is_lost_doubled_or_left_behind() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_micros());
    let seed = u64::try_from(seed).unwrap_or(1) | 1;
    let mut chance = Chance(seed);
    let world = World::new();
    world.repo.fill("", 0..60);
    world.baseline();
    let begun = Instant::now();
    world.cycle();
    let mut whole = begun.elapsed();
    let (mut kills, mut round, mut value) = (0, 0, String::from("alpha"));
    while kills < KILLS {
        round += 1;
        let next = format!("value-{}", char::from(b'a' + u8::try_from(round % 26).unwrap_or(0)));
        // Twelve updates of the same resources each time, and two deletions or what brings them back.
        world.repo.change("", 0..12, &next);
        if round % 2 == 1 {
            world.repo.drop("", 20..22)
        } else {
            world.repo.fill("", 20..22)
        };
        world.repo.publish(&format!("round {round}"));
        let begins = world.tree("web");
        for interval in 1..=4 {
            world.clock.advance(181);
            for _ in 0..6 {
                if !kill_midway(&world, &mut chance, &mut whole) {
                    kills += 1;
                }
                let now = world.tree("web");
                let changed = changes(&begins, &now);
                let said = format!("seed {seed}, round {round}, interval {interval}, {kills} kills: {changed:?}");
                assert!(changed.total() <= 10 * interval, "more than the intervals' budgets: {said}");
                assert!(changed.deleted.len() <= 3 * interval, "more than the intervals' deletions: {said}");
                let may = |path: &String, entry: &crate::harness::Entry| {
                    begins.get(path) == Some(entry) || world.wanted("web").get(path) == Some(entry)
                };
                assert!(now.iter().all(|(path, entry)| may(path, entry)), "torn: {said}");
                assert_eq!(now.len().max(58), now.len(), "lost: {said}");
            }
        }
        world.converge("web");
        value = next;
    }
    assert!(kills >= KILLS, "{kills} kills, seed {seed}");
    world.counted_cycle();
    assert_eq!(world.live("web", "f000.conf"), crate::harness::content(0, &value), "seed {seed}");
    world.assert_converged("web");
    world.assert_free("web");
    assert_journal_has_no_gaps(&world);
}
