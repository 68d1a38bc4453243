//! Pushes as lists of what is desired before and after, and what becomes of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::guards::Limit;
use crate::core::resource::{FieldChange, Nature, Vitals};

/// What is desired: names and contents.
type Tree = BTreeMap<String, u32>;

fn want(name: &str, content: u32) -> Want {
    let nature = Nature {
        identity: Some("file".into()),
        vitals: Vitals::CONTENT,
        group: name.split_once('/').map(|(group, _)| group.into()),
        protected: name.contains("sudoers"),
        ..Nature::default()
    };
    let digest = Digest::of_parts([content.to_le_bytes()]);
    Want { id: Id::new(name), digest, nature: nature.into(), rank: 0, origin: None }
}

fn changes(old: &Tree, new: &Tree) -> Vec<WantChange> {
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let side = |tree: &Tree, name: &String| tree.get(name).map(|content| want(name, *content));
    let change = |name: &String| WantChange { id: Id::new(name.as_str()), old: side(old, name), new: side(new, name) };
    names.into_iter().map(change).filter(|change| change.old != change.new).collect()
}

/// A backtest, the tree, and the time in minutes.
struct Story {
    backtest: Backtest,
    tree: Tree,
    minute: i64,
    judged: Vec<(Timestamp, Judged)>,
}

impl Story {
    fn new(guards: Guards, files: u32) -> Self {
        let tree: Tree = (0..files).map(|file| (format!("d{}/f{file:03}.conf", file / 20), 10_000 + file)).collect();
        let base: Vec<Want> = tree.iter().map(|(name, content)| want(name, *content)).collect();
        Self { backtest: Backtest::new(guards, &base), tree, minute: 0, judged: Vec::new() }
    }

    fn push(&mut self, after_minutes: i64, edit: impl FnOnce(&mut Tree)) -> Judged {
        self.push_with(after_minutes, edit, &Details::new())
    }

    fn push_with(&mut self, after_minutes: i64, edit: impl FnOnce(&mut Tree), details: &Details) -> Judged {
        self.minute += after_minutes;
        let at = Timestamp::from_second(1_700_000_000 + self.minute * 60).unwrap();
        let old = self.tree.clone();
        edit(&mut self.tree);
        let judged = self.backtest.push(at, &changes(&old, &self.tree), details);
        self.judged.push((at, judged.clone()));
        judged
    }

    fn drop_files(&mut self, after_minutes: i64, files: std::ops::Range<u32>) -> Judged {
        self.push(after_minutes, |tree| {
            tree.retain(|name, _| !files.clone().any(|file| name.ends_with(&format!("f{file:03}.conf"))))
        })
    }
}

fn codes(judged: &Judged) -> Vec<&str> {
    judged.reasons.iter().map(|reason| &*reason.code).collect()
}

/// The limits that a push crosses, the windows apart: what crosses a limit alone crosses that of the hour too.
fn limits_of(judged: &Judged) -> Vec<&str> {
    codes(judged).into_iter().filter(|code| *code != "window").collect()
}

#[test]
fn limits_are_those_of_a_plan() {
    let mut story = Story::new(Guards::default(), 100);
    let ordinary = story.push(60, |tree| tree.values_mut().take(30).for_each(|content| *content += 1));
    assert_eq!((codes(&ordinary), ordinary.magnitude.updates, ordinary.n), (vec![], 30, 100));
    let mut story = Story::new(Guards::default(), 100);
    let poison = story.push(60, |tree| tree.values_mut().take(31).for_each(|content| *content += 1));
    assert_eq!(limits_of(&poison), ["change_halt"]);
    let mut story = Story::new(Guards::default(), 100);
    assert_eq!(limits_of(&story.drop_files(60, 0..11)), ["delete_halt"]);
    let mut story = Story::new(Guards::default(), 600);
    assert_eq!(codes(&story.drop_files(60, 0..40)), ["group_halt"], "two directories of twenty files");
    let mut story = Story::new(Guards::default(), 100);
    assert!(codes(&story.push(60, Tree::clear)).contains(&"empty_desired"));
    let mut story = Story::new(Guards::default(), 100);
    let grown = story.push(60, |tree| tree.extend((0..100).map(|file| (format!("new/{file}"), 90_000 + file))));
    assert_eq!(codes(&grown), ["growth_halt"]);
}

#[test]
fn a_first_sync_passes_and_so_does_what_changes_nothing() {
    let mut story = Story::new(Guards::default(), 0);
    let first = story.push(0, |tree| tree.extend((0..500).map(|file| (format!("a/{file}"), file))));
    assert_eq!((codes(&first), first.magnitude.creates, first.n), (vec![], 500, 0));
    let nothing = story.push(60, |_| {});
    assert!(!nothing.is_held() && !nothing.returns && nothing.magnitude.is_zero(), "{nothing:?}");
    assert_eq!(nothing.after, Some(nothing.before));
}

#[test]
fn taking_a_poison_back_is_no_poison() {
    let mut story = Story::new(Guards::default(), 100);
    let good = story.tree.clone();
    assert!(!story.push(60, |_| {}).is_held());
    assert!(story.push(60, |tree| tree.values_mut().for_each(|content| *content += 1)).is_held());
    let revert = story.push(60, |tree| *tree = good.clone());
    assert!(!revert.is_held() && revert.returns && revert.magnitude.updates == 100, "{revert:?}");
    // Nothing was written for what was held, so the return is not used up.
    assert!(story.push(60, |tree| tree.values_mut().for_each(|content| *content += 2)).is_held());
    assert!(!story.push(60, |tree| *tree = good.clone()).is_held());
    assert_eq!(taken_back(&story.judged), [false, true, false, true, false]);
}

#[test]
fn a_return_is_one_within_a_day_and_once() {
    let bulk = |tree: &mut Tree| tree.extend((0..20).map(|file| (format!("new/{file}"), 80_000 + file)));
    let undo = |tree: &mut Tree| tree.retain(|name, _| !name.starts_with("new/"));
    let mut story = Story::new(Guards::default(), 100);
    story.push(0, |_| {});
    assert!(!story.push(60, bulk).is_held(), "twenty creations pass");
    let revert = story.push(60, undo);
    assert!(revert.returns && !revert.is_held(), "what was created since may be deleted: {revert:?}");
    assert!(!story.push(60, bulk).is_held());
    let again = story.push(60, undo);
    assert!(!again.returns && codes(&again).contains(&"delete_halt"), "once in a day: {again:?}");

    let mut story = Story::new(Guards::default(), 100);
    story.push(0, |_| {});
    story.push(60, bulk);
    let late = story.push(25 * 60, undo);
    assert!(!late.returns && codes(&late).contains(&"delete_halt"), "a day later: {late:?}");
    assert_eq!(taken_back(&story.judged), [false, false, false]);
}

#[test]
fn a_return_deletes_only_what_was_created_since() {
    let mut story = Story::new(Guards::default(), 100);
    let without: Tree = story.tree.iter().skip(20).map(|(name, content)| (name.clone(), *content)).collect();
    let with = story.tree.clone();
    story.tree = without.clone();
    story.backtest = Backtest::new(
        Guards::default(),
        &changes(&Tree::new(), &without).into_iter().filter_map(|c| c.new).collect::<Vec<_>>(),
    );
    story.push(0, |_| {});
    story.push(60, |tree| *tree = with.clone());
    // The state without them is younger than they are only after they were deleted; here they are younger than it.
    assert!(story.push(60, |tree| *tree = without.clone()).returns);
    // And now back to the state with them: nothing is deleted, but the day's return is used.
    let back = story.push(60, |tree| *tree = with.clone());
    assert!(!back.returns && !back.is_held(), "{back:?}");
}

#[test]
fn a_slow_drip_crosses_the_window() {
    // One file of a hundred every five minutes: the hour's limit is ten.
    let mut story = Story::new(Guards::default(), 100);
    let held: Vec<u32> = (0..20).filter(|file| story.drop_files(5, *file..*file + 1).is_held()).collect();
    assert_eq!(held.first(), Some(&10), "ten within the hour pass: {held:?}");
    // The same within four hours each passes the hour, and crosses the day at twenty.
    let mut story = Story::new(Guards::default(), 200);
    let drip = (0..8).map(|step| story.drop_files(90, step * 6..step * 6 + 6)).collect::<Vec<_>>();
    let first = drip.iter().position(Judged::is_held);
    assert_eq!(first, Some(6), "{:?}", drip.iter().map(|judged| codes(judged).join(",")).collect::<Vec<_>>());
    assert_eq!(codes(&drip[6]), ["window"]);
}

#[test]
fn what_was_held_does_not_fill_the_window() {
    let mut story = Story::new(Guards::default(), 200);
    assert_eq!(limits_of(&story.drop_files(60, 0..30)), ["delete_halt"]);
    assert!(!story.drop_files(5, 30..35).is_held(), "five of what is left pass");
}

#[test]
fn protected_deletions_are_parked_and_not_counted() {
    let mut story = Story::new(Guards::default(), 20);
    story.push(0, |tree| tree.extend((0..9).map(|file| (format!("sudoers.d/{file}"), 70_000 + file))));
    let judged = story.push(24 * 60 * 8, |tree| tree.retain(|name, _| !name.starts_with("sudoers")));
    assert_eq!((codes(&judged), judged.parked, judged.magnitude.deletes), (vec![], 9, 0));
    let guards = Guards { protected: vec!["d0/*".into()], protected_defaults: false, ..Guards::default() };
    let mut story = Story::new(guards, 60);
    let judged = story.drop_files(60, 0..20);
    assert_eq!((codes(&judged), judged.parked), (vec![], 20), "what the configuration protects is parked too");
}

#[test]
fn a_moved_directory_deletes_nothing() {
    let mut story = Story::new(Guards::default(), 100);
    let judged = story.push(60, |tree| {
        *tree =
            std::mem::take(tree).into_iter().map(|(name, content)| (name.replace("d0/", "moved/"), content)).collect();
    });
    assert_eq!((judged.magnitude.deletes, judged.magnitude.updates, judged.magnitude.creates), (0, 20, 0));
    assert!(!judged.is_held(), "{judged:?}");
}

#[test]
fn bumps_are_counted_apart_and_share_a_shape() {
    let bump = |old: &str, new: &str| {
        vec![FieldChange { path: "/image".into(), old: Some(format!("a/b:{old}")), new: Some(format!("a/b:{new}")) }]
    };
    let mut story = Story::new(Guards::default(), 100);
    let details: Details = story.tree.keys().take(60).map(|name| (Id::new(name.as_str()), bump("1", "2"))).collect();
    let judged = story.push_with(60, |tree| tree.values_mut().take(60).for_each(|content| *content += 1), &details);
    assert_eq!((codes(&judged), judged.magnitude.bumps, judged.magnitude.updates), (vec![], 60, 0));
    assert!(judged.shape.as_ref().is_some_and(|shape| shape.contains("a/b:1 -> a/b:2")), "{:?}", judged.shape);
}

#[test]
fn what_does_not_render_is_held_and_changes_nothing() {
    let mut story = Story::new(Guards::default(), 100);
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let broken = story.backtest.broken(at, "a submodule");
    assert_eq!((codes(&broken), broken.n, broken.after), (vec!["render"], 100, None));
    let next = story.push(60, |tree| tree.values_mut().take(1).for_each(|content| *content += 1));
    assert_eq!((next.n, next.is_held(), next.before), (100, false, broken.before));
}

/// Guards that hold nothing.
fn disabled() -> Guards {
    Guards {
        empty_desired_halts: false,
        delete_halt: Limit::Disabled,
        change_halt: Limit::Disabled,
        bump_halt: Limit::Disabled,
        growth_halt: None,
        group_halt: None,
        window_deletes: BTreeMap::new(),
        window_changes: BTreeMap::new(),
        ..Guards::default()
    }
}

/// One push: minutes since the last, and which files get which content, `None` deleting them.
type Step = (i64, BTreeMap<u8, Option<u32>>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let edits = proptest::collection::btree_map(0_u8..40, proptest::option::of(0_u32..4), 0..40);
    proptest::collection::vec((0_i64..3000, edits), 0..20)
}

fn play(guards: Guards, steps: &[Step]) -> Vec<Judged> {
    let mut story = Story::new(guards, 0);
    let play = |(minutes, edits): &Step| {
        story.push(*minutes, |tree| {
            for (file, content) in edits {
                let name = format!("d{}/f{file}", file / 4);
                match content {
                    Some(content) => drop(tree.insert(name, *content)),
                    None => drop(tree.remove(&name)),
                }
            }
        })
    };
    steps.iter().map(play).collect()
}

proptest! {
    #[test]
    fn disabled_guards_hold_nothing(steps in steps()) {
        for judged in play(disabled(), &steps) {
            prop_assert!(!judged.is_held(), "{judged:?}");
        }
    }

    #[test]
    fn a_disabled_limit_is_never_the_reason(steps in steps()) {
        let guards = Guards { delete_halt: Limit::Disabled, change_halt: Limit::Disabled, ..Guards::default() };
        for judged in play(guards, &steps) {
            prop_assert!(!judged.reasons.iter().any(|r| ["delete_halt", "change_halt", "window"].contains(&&*r.code)));
        }
    }

    #[test]
    fn states_compare_as_their_content_does(steps in steps()) {
        let mut tree = Tree::new();
        let mut states = vec![tree.clone()];
        for (_, edits) in &steps {
            for (file, content) in edits {
                let name = format!("d{}/f{file}", file / 4);
                match content {
                    Some(content) => drop(tree.insert(name, *content)),
                    None => drop(tree.remove(&name)),
                }
            }
            states.push(tree.clone());
        }
        let judged = play(Guards::default(), &steps);
        for (at, one) in judged.iter().enumerate() {
            prop_assert_eq!(one.n as usize, states[at].len());
            for (other, two) in judged.iter().enumerate() {
                prop_assert_eq!(one.after == two.after, states[at + 1] == states[other + 1]);
            }
        }
    }
}
