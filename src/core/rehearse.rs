//! What a rehearsal changes in what comparing found: the target is asked what its operations would do, before any is judged.
//!
//! A target that can rehearse (a dry-run by a server) is asked of three things. Suspects: is what differs in digest really a
//! drift, or does the target already hold what was accepted? Changes: would the target take them, must it replace what it
//! holds, does somebody else own what they write? Deletions: what would go with them (`GUARDS.md` 5.2)? Targets that cannot
//! rehearse answer nothing, and nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compare::{Comparison, Conflict};
use super::drift::Answer;
use super::op::{Class, Effect, Op, Verb};
use super::resource::{Fields, Id, Live, Observed, Vitals};
use super::state::{About, Accepted, State};
use super::weaken::{self, Weakened};

/// What the target says of one operation that was only tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rehearsal {
    /// It would do what it says.
    Fits,
    /// It would change nothing: the target holds what the operation leads to.
    Agrees,
    /// It would change no value, only who owns them: the target holds what is wanted, by somebody else's hand.
    Joins,
    /// What it changes cannot be changed in place, and why: only a replacement leads there.
    Replaces {
        /// What the target says.
        why: Arc<str>,
        /// What would go with what is replaced.
        takes: Takes,
    },
    /// Another writer owns fields that it writes.
    Owned {
        /// Who, and which fields, for people.
        why: Arc<str>,
        /// Whether that is only the tool that an adoption takes over from (`kubectl apply`).
        adoptable: bool,
    },
    /// A deletion, and what would go with it.
    Takes(Takes),
    /// It would take away what is left over.
    Reclaims {
        /// What of it would really go, of [`Op::reclaims`]; the rest comes back as it is: it is a default, or is put there.
        paths: Vec<Arc<str>>,
        /// What the resource has now that an update could lose.
        from: Vitals,
        /// What it would have then.
        to: Vitals,
    },
    /// The target would not take it, and why.
    Refused(Arc<str>),
    /// Whoever asks may neither try nor do it, and why.
    Forbidden(Arc<str>),
    /// It cannot be tried before something else of the plan is there, and why; tried before its own batch.
    Unrehearsed(Arc<str>),
    /// The target could not be asked, and why: nothing may be concluded.
    Unread(Arc<str>),
}

/// What would go with something that is removed, apart from itself (`GUARDS.md` 5.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Takes {
    /// What would go. Those that the target could not name are `unnamed`.
    pub with: Vec<Id>,
    /// How many more would go.
    pub unnamed: u32,
    /// Whether the resource is protected when something outside the plan goes with it (`GUARDS.md` 8, *protected*).
    pub protects: bool,
    /// What could not be looked at, and why: it may be anything, so that the resource is protected.
    pub unseen: Option<Arc<str>>,
}

impl Rehearsal {
    /// Returns what would go with the resource, if that is what was found.
    const fn takes(&self) -> Option<&Takes> {
        match self {
            Self::Takes(takes) | Self::Replaces { takes, .. } => Some(takes),
            _ => None,
        }
    }
}

/// What a target says of operations; what it does not mention fits.
pub type Rehearsals = BTreeMap<Key, Rehearsal>;

/// Tells apart the operations that one resource may have: what promotes, and what takes drift back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Which resource.
    pub id: Id,
    /// Whether it is the operation that takes drift back.
    pub reverts: bool,
}

impl Key {
    /// Names an operation.
    pub fn of(op: &Op) -> Self {
        Self { id: op.id.clone(), reverts: op.reverts }
    }
}

/// Returns what is to be rehearsed: everything that would be written, and what would take suspected drift back.
pub fn suspects(comparison: &Comparison) -> Vec<&Op> {
    let conflicts = comparison.conflicts.iter().map(|conflict| &conflict.op);
    let ops = comparison.promote.iter().chain(conflicts).chain(&comparison.reversals);
    // An extra has no reversal: what heals it is its removal.
    let extras = comparison.heal.iter().filter(|op| op.verb == Verb::Delete);
    ops.chain(extras).collect()
}

/// Changes what comparing found by what the target said.
pub fn apply(comparison: &mut Comparison, said: &Rehearsals, observed: &Observed, state: &State) {
    if said.is_empty() {
        return;
    }
    comparison.unpermitted = unpermitted(comparison, said);
    confirm(comparison, said, observed, state);
    let unseen = |answer: &Rehearsal| answer.takes().and_then(|takes| takes.unseen.clone());
    comparison.unseen.extend(said.iter().filter_map(|(key, answer)| Some((key.id.clone(), unseen(answer)?))));
    let deleted: BTreeSet<Id> =
        comparison.promote.iter().filter(|op| op.verb == Verb::Delete).map(|op| op.id.clone()).collect();
    for op in comparison.heal.iter_mut().chain(&mut comparison.reversals) {
        if let Some(answer) = said.get(&Key::of(op)) {
            mark(op, answer, &deleted);
        }
    }
    for mut conflict in std::mem::take(&mut comparison.conflicts) {
        let writes = conflict.op.verb != Verb::Delete;
        match said.get(&Key::of(&conflict.op)) {
            // The commit wants what somebody made of it: that ends the conflict (`GUARDS.md` 6).
            Some(Rehearsal::Agrees) if writes => settle(comparison, conflict.op, observed, state),
            Some(Rehearsal::Joins) if writes => comparison.promote.push(conflict.op),
            Some(answer) => {
                mark(&mut conflict.op, answer, &deleted);
                // Whoever approves it takes over what the others own.
                conflict.op.force |= matches!(answer, Rehearsal::Owned { .. });
                comparison.conflicts.push(conflict);
            }
            None => comparison.conflicts.push(conflict),
        }
    }
    for mut op in std::mem::take(&mut comparison.promote) {
        let Some(answer) = said.get(&Key::of(&op)) else {
            comparison.promote.push(op);
            continue;
        };
        mark(&mut op, answer, &deleted);
        match answer {
            Rehearsal::Agrees if op.verb != Verb::Delete => settle(comparison, op, observed, state),
            // Who may look on only sees the plan all the same.
            Rehearsal::Forbidden(_) if comparison.unpermitted.is_some() => {
                op.unrehearsed = true;
                comparison.promote.push(op);
            }
            Rehearsal::Refused(why) | Rehearsal::Forbidden(why) => {
                comparison.refused.push((op.id.clone(), why.clone()));
                comparison.blind.push(op);
            }
            Rehearsal::Unread(why) => {
                comparison.unread.push((op.id.clone(), why.clone()));
                comparison.blind.push(op);
            }
            Rehearsal::Owned { adoptable: true, .. } if op.class == Class::Adopt => {
                op.force = true;
                comparison.promote.push(op);
            }
            Rehearsal::Owned { .. } if weaken::is(Weakened::Ownership) => {
                op.force = true;
                comparison.promote.push(op);
            }
            Rehearsal::Owned { why, .. } => {
                op.force = true;
                comparison.conflicts.push(Conflict { id: op.id.clone(), why: why.clone(), op });
            }
            _ => comparison.promote.push(op),
        }
    }
}

/// Says why nothing at all may be tried, where that is so: then nothing is confirmed, and nothing is written
/// (`KUBERNETES.md` 16). Where only some may not, those are refused, or unread, by themselves.
fn unpermitted(comparison: &Comparison, said: &Rehearsals) -> Option<Arc<str>> {
    let mut first = None;
    for op in suspects(comparison).into_iter().filter(|op| op.verb != Verb::Delete) {
        match said.get(&Key::of(op)) {
            Some(Rehearsal::Forbidden(why)) => drop(first.get_or_insert(why)),
            // Nothing was said of what is permitted.
            Some(Rehearsal::Unread(_)) => {}
            _ => return None,
        }
    }
    first.cloned()
}

/// Takes out of the drift what the target says is none, and what could not be told.
fn confirm(comparison: &mut Comparison, said: &Rehearsals, observed: &Observed, state: &State) {
    let mut agreeing: BTreeSet<Id> = BTreeSet::new();
    for op in comparison.reversals.clone().iter().filter(|op| op.verb == Verb::Update) {
        match said.get(&Key::of(op)) {
            Some(Rehearsal::Unread(why)) => {
                agreeing.insert(op.id.clone());
                comparison.unread.push((op.id.clone(), why.clone()));
            }
            // What cannot be confirmed is no drift, and not none.
            Some(Rehearsal::Forbidden(why)) => {
                agreeing.insert(op.id.clone());
                comparison.unread.push((op.id.clone(), format!("unconfirmed, it cannot be tried: {why}").into()));
            }
            Some(Rehearsal::Refused(why)) if !op.reclaims.is_empty() => leave(comparison, &op.id, why),
            Some(answer) if !op.reclaims.is_empty() => {
                let goes: &[Arc<str>] = if let Rehearsal::Reclaims { paths, .. } = answer { paths } else { &[] };
                if goes.is_empty() {
                    agreeing.insert(op.id.clone());
                }
                forget(comparison, op, goes, state);
            }
            Some(Rehearsal::Agrees) if !weaken::is(Weakened::Suspects) => {
                if let (Some(accepted), Some((live, _))) = (accepted(state, &op.id), &op.from) {
                    agreeing.insert(op.id.clone());
                    let now = Accepted { live: *live, ..accepted.with_fields(fields(observed, &op.id)) };
                    comparison.confirmed.push((op.id.clone(), Arc::new(now)));
                }
            }
            _ => {}
        }
    }
    let drifts = |id: &Id| !agreeing.contains(id);
    comparison.drift.retain(|drift| drifts(&drift.id));
    comparison.heal.retain(|op| drifts(&op.id));
    comparison.reversals.retain(|op| drifts(&op.id));
    for conflict in std::mem::take(&mut comparison.conflicts) {
        // What only a change by somebody else stood against goes on once there was none; a hold is no such change.
        if drifts(&conflict.id) || state.trouble(&conflict.id).is_some_and(|trouble| trouble.hold.is_some()) {
            comparison.conflicts.push(conflict);
        } else {
            comparison.promote.push(conflict.op);
        }
    }
    comparison.promote.sort_by(|a, b| a.id.cmp(&b.id));
    let marked = |id: &Id| state.trouble(id).is_some_and(|trouble| trouble.drift.is_some());
    let confirmed = comparison.confirmed.iter().map(|(id, _)| id);
    comparison.undrifted.extend(confirmed.filter(|id| marked(id)).cloned());
}

/// Leaves alone what is left over and the target does not let go.
fn leave(comparison: &mut Comparison, id: &Id, why: &Arc<str>) {
    for drift in comparison.drift.iter_mut().filter(|drift| drift.id == *id) {
        drift.answer = Answer::Leave(format!("it cannot be taken away: {why}").into());
    }
    comparison.heal.retain(|op| op.id != *id);
}

/// Forgets of what is left over what would not go: it is there whether or not it was declared once.
fn forget(comparison: &mut Comparison, op: &Op, goes: &[Arc<str>], state: &State) {
    for drift in comparison.drift.iter_mut().filter(|drift| drift.id == op.id) {
        drift.leftover.retain(|left| goes.contains(&left.path));
    }
    let noted = comparison.noted.iter().position(|(id, _)| *id == op.id);
    let now = noted.map(|at| &*comparison.noted[at].1).or_else(|| accepted(state, &op.id));
    let Some((now, fields)) = now.and_then(|now| Some((now, now.about.fields.as_deref()?))) else { return };
    let stays = |path: &Arc<str>| goes.contains(path) || !op.reclaims.contains(path);
    let left: Vec<Arc<str>> = fields.left.iter().filter(|path| stays(path)).cloned().collect();
    if left == fields.left {
        return;
    }
    let fields = Fields { owned: fields.owned.clone(), left };
    let now = Arc::new(now.with_fields(Some(Arc::new(fields))));
    match (goes.is_empty(), noted) {
        (true, _) => comparison.confirmed.push((op.id.clone(), now)),
        (false, Some(at)) => comparison.noted[at].1 = now,
        (false, None) => comparison.noted.push((op.id.clone(), now)),
    }
}

fn accepted<'a>(state: &'a State, id: &Id) -> Option<&'a Accepted> {
    state.resources.get(id)?.accepted.as_deref()
}

/// Returns which parts of a resource are ours as it was observed.
fn fields(observed: &Observed, id: &Id) -> Option<Arc<Fields>> {
    observed.get(id).and_then(Live::here).and_then(|here| here.fields().cloned())
}

/// Takes over what the target already holds.
fn settle(comparison: &mut Comparison, op: Op, observed: &Observed, state: &State) {
    let (Some((live, _)), Some(to), Some(source)) = (&op.from, op.to, &op.source) else {
        return comparison.promote.push(op);
    };
    let before = accepted(state, &op.id);
    let about = About {
        commit: source.commit.clone(),
        origin: source.origin.clone(),
        nature: op.nature,
        created: before.and_then(|accepted| accepted.about.created),
        rank: op.rank,
        fields: fields(observed, &op.id),
    };
    let accepted = Accepted { desired: to, live: *live, about: about.into() };
    // What leads back from it would undo what was just taken over.
    if comparison.drift.iter().any(|drift| drift.id == op.id) {
        comparison.settled.insert(op.id.clone());
    }
    comparison.in_place.push((op.id, Arc::new(accepted)));
}

/// Notes what an answer makes of an operation.
fn mark(op: &mut Op, answer: &Rehearsal, deleted: &BTreeSet<Id>) {
    match answer {
        Rehearsal::Replaces { .. } => {
            op.effect = Effect::Delete;
            op.class = Class::Replace;
        }
        Rehearsal::Reclaims { paths, from, to } => {
            op.reclaims.clone_from(paths);
            if from.lost_by(*to) {
                op.effect = Effect::Delete;
            }
        }
        Rehearsal::Unrehearsed(_) => op.unrehearsed = true,
        _ => {}
    }
    if let Some(Takes { with, unnamed, protects, unseen }) = answer.takes()
        && !weaken::is(Weakened::Dependants)
    {
        let outside = with.iter().filter(|id| !deleted.contains(id)).count();
        let outside = u32::try_from(outside).unwrap_or(u32::MAX).saturating_add(*unnamed);
        op.weight = outside.saturating_add(1);
        if (*protects && outside > 0 || unseen.is_some()) && !op.nature.protected {
            Arc::make_mut(&mut op.nature).protected = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, digest, files};
    use super::super::judge::Judgement;
    use super::super::plan::Plan;
    use super::super::resource::Digest;
    use super::super::state::{LatchName, Purpose};
    use super::*;
    use jiff::SignedDuration;

    /// Three files, of which a commit changes one, removes one, and adds one; a second one drifted long ago.
    fn world() -> World {
        let mut world = World::at(files(0..3, 1));
        let mut tip = files(0..2, 1);
        tip.insert("f000".to_owned(), 2);
        tip.insert("new".to_owned(), 3);
        world.push("tip", tip);
        world.live.insert("f001".to_owned(), 7);
        world
    }

    fn said(answers: &[(&str, bool, Rehearsal)]) -> Rehearsals {
        let key = |id: &str, reverts| Key { id: Id::new(id), reverts };
        answers.iter().map(|(id, reverts, answer)| (key(id, *reverts), answer.clone())).collect()
    }

    fn rehearsed(world: &World, answers: &[(&str, bool, Rehearsal)]) -> Comparison {
        let mut comparison = world.compare(world.tip());
        let asked: Vec<Key> = suspects(&comparison).into_iter().map(Key::of).collect();
        for (id, reverts, _) in answers {
            assert!(asked.contains(&Key { id: Id::new(*id), reverts: *reverts }), "{id} is asked about");
        }
        apply(&mut comparison, &said(answers), &world.observed(), &world.state);
        comparison
    }

    fn promoted(comparison: &Comparison) -> Vec<&str> {
        comparison.promote.iter().map(|op| op.id.as_str()).collect()
    }

    #[test]
    fn a_target_that_says_nothing_changes_nothing() {
        let world = world();
        assert_eq!(rehearsed(&world, &[]), world.compare(world.tip()));
    }

    #[test]
    fn a_suspect_that_agrees_is_no_drift_and_is_accepted_as_it_is() {
        let world = world();
        let before = world.compare(world.tip());
        assert_eq!(before.drift.len(), 1);
        let comparison = rehearsed(&world, &[("f001", true, Rehearsal::Agrees)]);
        assert!(comparison.drift.is_empty() && comparison.heal.is_empty() && comparison.reversals.is_empty());
        let [(id, accepted)] = &comparison.confirmed[..] else { panic!("{:?}", comparison.confirmed) };
        assert_eq!((id.as_str(), accepted.live, accepted.desired), ("f001", digest(7), digest(1)));
    }

    #[test]
    fn a_suspect_that_cannot_be_asked_about_is_unread() {
        let comparison = rehearsed(&world(), &[("f001", true, Rehearsal::Unread("timed out".into()))]);
        assert!(comparison.drift.is_empty() && comparison.confirmed.is_empty());
        assert_eq!(comparison.unread, [(Id::new("f001"), "timed out".into())]);
    }

    #[test]
    fn what_the_target_holds_already_is_taken_over_without_a_write() {
        let mut world = world();
        world.live.insert("f001".to_owned(), 1);
        let comparison = rehearsed(&world, &[("f000", false, Rehearsal::Agrees)]);
        assert_eq!(promoted(&comparison), ["f002", "new"]);
        let [(id, accepted)] = &comparison.in_place[..] else { panic!("{:?}", comparison.in_place) };
        assert_eq!((id.as_str(), accepted.desired, accepted.live), ("f000", digest(2), digest(1)));
    }

    #[test]
    fn what_is_taken_over_although_it_drifts_is_not_taken_back_beside_it() {
        let mut world = world();
        // The tip wants of what drifted what is there by now, which the target spells in its own way.
        let mut tip = files(0..3, 1);
        tip.insert("f001".to_owned(), 8);
        world.push("wants it", tip);
        world.wait(SignedDuration::from_hours(1));
        let before = world.compare(world.tip());
        assert!(before.drift.iter().any(|drift| drift.id.as_str() == "f001"), "{:?}", before.drift);
        let comparison = rehearsed(&world, &[("f001", false, Rehearsal::Agrees)]);
        assert!(comparison.settled.contains(&Id::new("f001")), "{:?}", comparison.settled);
    }

    #[test]
    fn what_can_only_be_replaced_is_a_deletion_by_effect_and_goes_last() {
        let world = world();
        let comparison = rehearsed(
            &world,
            &[("f000", false, Rehearsal::Replaces { why: "immutable".into(), takes: Takes::default() })],
        );
        let plan = world.plan(Purpose::Promote, &comparison.promote);
        let names: Vec<&str> = plan.ops.iter().map(|op| op.id.as_str()).collect();
        assert_eq!(names, ["new", "f002", "f000"]);
        assert_eq!((plan.magnitude.updates, plan.magnitude.deletes), (0, 2));
        assert!(plan.ops[2].is_late());
    }

    #[test]
    fn what_goes_with_something_that_is_replaced_counts_too() {
        let world = world();
        let takes = Takes { with: vec![Id::new("a")], unnamed: 99, protects: true, unseen: None };
        let replaces = Rehearsal::Replaces { why: "immutable".into(), takes };
        let comparison = rehearsed(&world, &[("f000", false, replaces)]);
        let plan = world.plan(Purpose::Promote, &comparison.promote);
        assert_eq!((plan.parked.len(), plan.parked[0].op.weight), (1, 101));
    }

    fn deletion(world: &World, with: &[&str], unnamed: u32) -> Plan {
        let with = with.iter().map(|id| Id::new(*id)).collect();
        let takes = Rehearsal::Takes(Takes { with, unnamed, protects: true, unseen: None });
        let comparison = rehearsed(world, &[("f002", false, takes)]);
        world.plan(Purpose::Promote, &comparison.promote)
    }

    #[test]
    fn a_deletion_counts_what_goes_with_it_and_is_protected_by_what_is_outside_of_the_plan() {
        let world = world();
        let plan = deletion(&world, &[], 0);
        assert_eq!((plan.magnitude.deletes, plan.parked.len()), (1, 0));
        // It goes with itself: nothing else does.
        let plan = deletion(&world, &["f002"], 0);
        assert_eq!((plan.magnitude.deletes, plan.parked.len()), (1, 0));
        let plan = deletion(&world, &["a", "b"], 98);
        assert_eq!((plan.magnitude.deletes, plan.parked.len()), (0, 1));
        assert_eq!(plan.parked[0].op.weight, 101);
    }

    #[test]
    fn a_deletion_that_takes_what_nobody_may_see_is_protected() {
        let world = world();
        let unseen = Some("list secrets: forbidden".into());
        let takes = Rehearsal::Takes(Takes { with: Vec::new(), unnamed: 0, protects: false, unseen });
        let comparison = rehearsed(&world, &[("f002", false, takes)]);
        assert_eq!(comparison.unseen[&Id::new("f002")].as_ref(), "list secrets: forbidden");
        assert_eq!(world.plan(Purpose::Promote, &comparison.promote).parked.len(), 1);
        // What it takes along and is seen is counted, and does not protect it by itself.
        let takes = Rehearsal::Takes(Takes { with: vec![Id::new("a")], unnamed: 99, protects: false, unseen: None });
        let plan = world.plan(Purpose::Promote, &rehearsed(&world, &[("f002", false, takes)]).promote);
        assert_eq!((plan.magnitude.deletes, plan.parked.len()), (101, 0));
    }

    fn judged(world: &mut World, answers: &[(&str, bool, Rehearsal)]) -> Judgement {
        world.rehearsals = said(answers);
        world.judge()
    }

    #[test]
    fn one_refusal_holds_the_promotion_and_healing_goes_on() {
        let mut world = world();
        let judgement = judged(&mut world, &[("new", false, Rehearsal::Refused("no such field".into()))]);
        let held = judgement.latch(LatchName::Render).expect("RENDER");
        assert_eq!(held.latch.reasons[0].code.as_ref(), "refused");
        assert!(!judgement.may(Purpose::Promote) && judgement.may(Purpose::Heal));
        let judgement = judged(&mut world, &[]);
        assert!(judgement.latch(LatchName::Render).is_none() && judgement.may(Purpose::Promote));
    }

    #[test]
    fn who_may_try_nothing_only_observes_and_who_may_not_try_some_is_refused_these() {
        let mut world = world();
        let forbidden = || Rehearsal::Forbidden("deployer cannot patch".into());
        let all = [("f000", false, forbidden()), ("new", false, forbidden()), ("f001", true, forbidden())];
        let judgement = judged(&mut world, &all);
        let held = judgement.latch(LatchName::Observe).expect("OBSERVE");
        assert_eq!(held.latch.reasons[0].code.as_ref(), "permission");
        assert!(!judgement.may(Purpose::Promote) && !judgement.may(Purpose::Heal));
        let comparison = rehearsed(&world, &all);
        assert_eq!(promoted(&comparison), ["f000", "f002", "new"]);
        assert!(comparison.drift.is_empty() && comparison.unread[0].1.starts_with("unconfirmed"));

        let judgement = judged(&mut world, &all[..1]);
        assert!(judgement.latch(LatchName::Observe).is_none());
        assert_eq!(judgement.latch(LatchName::Render).expect("RENDER").latch.reasons[0].code.as_ref(), "refused");
        assert!(!judgement.may(Purpose::Promote) && judgement.may(Purpose::Heal));
    }

    #[test]
    fn what_somebody_else_owns_is_left_alone_until_it_is_approved_and_then_taken_over() {
        let world = world();
        let owned = Rehearsal::Owned { why: "kubectl-edit owns /spec".into(), adoptable: false };
        let comparison = rehearsed(&world, &[("f000", false, owned)]);
        assert_eq!(promoted(&comparison), ["f002", "new"]);
        assert!(comparison.conflicts[0].op.force && &*comparison.conflicts[0].why == "kubectl-edit owns /spec");
        let plain: Digest = world.compare(world.tip()).promote[0].digest();
        assert_ne!(comparison.conflicts[0].op.digest(), plain, "an approval of it is an approval of the take-over");
    }

    #[test]
    fn a_commit_that_wants_what_a_person_made_of_it_ends_the_conflict() {
        let mut world = world();
        // The tip wants another value of what drifted.
        let mut tip = files(0..3, 1);
        tip.insert("f001".to_owned(), 8);
        world.push("adopts", tip);
        let before = world.compare(world.tip());
        assert_eq!(before.conflicts.len(), 1, "{:?}", before.conflicts);
        let comparison = rehearsed(&world, &[("f001", false, Rehearsal::Joins)]);
        assert!(comparison.conflicts.is_empty() && promoted(&comparison).contains(&"f001"));
        let comparison = rehearsed(&world, &[("f001", false, Rehearsal::Agrees)]);
        assert!(comparison.conflicts.is_empty() && comparison.in_place.len() == 1);
    }

    #[test]
    fn what_is_created_by_the_plan_itself_is_marked() {
        let comparison = rehearsed(&world(), &[("new", false, Rehearsal::Unrehearsed("no namespace yet".into()))]);
        let marked: Vec<bool> = comparison.promote.iter().map(|op| op.unrehearsed).collect();
        assert_eq!((promoted(&comparison), marked), (vec!["f000", "f002", "new"], vec![false, false, true]));
    }
}
