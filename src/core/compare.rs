//! The merge join of desired, accepted and observed (`DESIGN.md`, the one resource model).
//!
//! Decides per resource what standing it has; whether anything may be written is judged later, over the whole plan.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::commit::CommitId;
use super::drift::{self, Answer, Class, Drift};
use super::guards::Guards;
use super::leftover::{self, Sorted};
use super::op::{self, Class as OpClass, Effect, Op, Source, Verb};
use super::resource::{Desired, Health, Here, Id, Leftover, Live, Nature, Observed, Want};
use super::state::{About, Abouts, Accepted, Resource, State, Trouble};
use super::weaken::{self, Weakened};

/// What is compared.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the tip renders to, and the tip; absent when it does not render or could not be fetched.
    pub desired: Option<(&'a Desired, &'a CommitId)>,
    /// What was observed.
    pub observed: &'a Observed,
    /// What is remembered.
    pub state: &'a State,
    /// The guards in force.
    pub guards: &'a Guards,
    /// Logical time.
    pub now: Timestamp,
}

/// Why what is in quarantine is left alone by promotions too (`GUARDS.md` 2).
const FOUGHT: &str = "quarantined after a fight: release it, or approve";

/// A resource that a promotion leaves alone, and why (CONFLICT).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Which.
    pub id: Id,
    /// Why.
    pub why: Arc<str>,
    /// What would be written once an approval lets it.
    pub op: Op,
}

/// What comparing found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Comparison {
    /// What leads to the tip.
    pub promote: Vec<Op>,
    /// What leads back to the accepted state, of drift that may be reverted now.
    pub heal: Vec<Op>,
    /// What would lead each drifted resource back, whether or not it may be: to show what differs.
    pub reversals: Vec<Op>,
    /// All drift, ignored drift apart.
    pub drift: Vec<Drift>,
    /// Desired states found already in place.
    pub in_place: Vec<(Id, Arc<Accepted>)>,
    /// Accepted resources that are neither desired nor there, or are desired by another name.
    pub gone: Vec<Id>,
    /// What a promotion leaves alone.
    pub conflicts: Vec<Conflict>,
    /// What could not be read, and why.
    pub unread: Vec<(Id, Arc<str>)>,
    /// What a promotion would do to what could not be read, desired against accepted: counted, never written.
    pub blind: Vec<Op>,
    /// Resources that were marked as drifting and no longer do.
    pub undrifted: Vec<Id>,
    /// What a promotion would settle without a write (`in_place`, `gone`) although it drifts from what was accepted.
    pub settled: BTreeSet<Id>,
    /// What is being deleted by somebody.
    pub leaving: Vec<Id>,
    /// What the target said is no drift although it looked like one: accepted as it is now, whatever is withheld.
    pub confirmed: Vec<(Id, Arc<Accepted>)>,
    /// What is there and does not work.
    pub ill: Vec<Id>,
    /// What the target would not take of a promotion, and why; counted, never written.
    pub refused: Vec<(Id, Arc<str>)>,
    /// Why nothing at all may be written, where whoever asks may not.
    pub unpermitted: Option<Arc<str>>,
    /// Deletions of which nobody can see all that would go with them, and why.
    pub unseen: BTreeMap<Id, Arc<str>>,
    /// What is accepted as before, with other fields to remember: there is nothing to tell of it.
    pub noted: Vec<(Id, Arc<Accepted>)>,
    /// What commits ceased to declare and somebody else declares: his from then on.
    pub handed: Vec<(Id, Vec<Leftover>)>,
}

impl Comparison {
    /// Tells whether all that is there works, and is there to stay.
    pub fn works(&self) -> bool {
        self.ill.is_empty() && self.leaving.is_empty()
    }
}

/// Compares desired, accepted and observed by one pass over all three, which are sorted.
pub fn compare(view: View<'_>) -> Comparison {
    let mut out = Comparison::default();
    let wants: &[Want] = view.desired.map_or(&[], |(desired, _)| desired.wants());
    let mut wants = wants.iter().peekable();
    let mut known = view.state.resources.iter().peekable();
    let mut seen = view.observed.seen.iter().peekable();
    let also = renamed(&view);
    let begun: BTreeSet<&Id> = view.state.to_be_written().collect();
    let abouts = RefCell::new(Abouts::default());
    loop {
        let next = [
            wants.peek().copied().map(|want| &want.id),
            known.peek().map(|(id, _)| *id),
            seen.peek().copied().map(|(id, _)| id),
        ];
        let Some(id) = next.into_iter().flatten().min() else { break };
        let want = wants.next_if(|want| want.id == *id);
        let resource = known.next_if(|(known, _)| *known == id).map(|(_, resource)| resource);
        let live = seen.next_if(|(seen, _)| seen == id).map(|(_, live)| live);
        Row { view, begun: &begun, abouts: &abouts, id, want, resource, live, also: also.get(id).copied() }
            .place(&mut out);
    }
    wait_for_conflicts(&mut out);
    out
}

/// Returns, of resources that have two names, under which other one each is desired.
fn renamed<'a>(view: &View<'a>) -> BTreeMap<&'a Id, &'a Id> {
    let Some((desired, _)) = view.desired else { return BTreeMap::new() };
    let both = view.observed.same.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
    both.filter(|(_, other)| desired.get(other).is_some()).collect()
}

/// Leaves alone what goes in the place of something that is left alone: it could only fail.
fn wait_for_conflicts(out: &mut Comparison) {
    let kept: Vec<Id> =
        out.conflicts.iter().filter(|held| held.op.verb == Verb::Delete).map(|held| held.id.clone()).collect();
    if kept.is_empty() {
        return;
    }
    let conflicts = &mut out.conflicts;
    out.promote.retain(|op| {
        let blocking = kept.iter().find(|kept| op.verb == Verb::Create && super::plan::excludes(kept, &op.id));
        let Some(blocking) = blocking else { return true };
        let why = format!("it takes the place of {blocking}, which is left alone").into();
        conflicts.push(Conflict { id: op.id.clone(), why, op: op.clone() });
        false
    });
}

struct Row<'a> {
    view: View<'a>,
    /// What a rollout under way writes, whatever this comparison is with.
    begun: &'a BTreeSet<&'a Id>,
    abouts: &'a RefCell<Abouts>,
    id: &'a Id,
    want: Option<&'a Want>,
    resource: Option<&'a Resource>,
    live: Option<&'a Live>,
    /// Another name of the same resource, by which it is desired: this one is forgotten, and nothing is deleted.
    also: Option<&'a Id>,
}

impl Row<'_> {
    fn place(&self, out: &mut Comparison) {
        let trouble = self.resource.and_then(|resource| resource.trouble.as_deref());
        let accepted = self.resource.and_then(|resource| resource.accepted.as_deref());
        let live = match self.live {
            Some(Live::Unread(why)) => return self.place_unread(why.clone(), accepted, out),
            Some(Live::Leaving) if !weaken::is(Weakened::Leaving) => return out.leaving.push(self.id.clone()),
            Some(live) => live,
            // Not asked for: nothing is wanted or accepted, only remembered.
            None if self.want.is_none() && accepted.is_none() => return self.undrift(trouble, out),
            None => return self.place_unread("it was not observed".into(), accepted, out),
        };
        if live.here().is_some_and(|here| here.health == Health::Unhealthy) {
            out.ill.push(self.id.clone());
        }
        match accepted {
            Some(accepted) => self.place_accepted(accepted, live, trouble, out),
            None => self.place_new(live, trouble, out),
        }
    }

    /// A resource that could not be read: nothing is written there, but what a commit wants of it is a part of the plan that
    /// the limits judge whole.
    fn place_unread(&self, why: Arc<str>, accepted: Option<&Accepted>, out: &mut Comparison) {
        out.unread.push((self.id.clone(), why));
        let op = match (self.want, accepted) {
            (Some(want), Some(accepted)) if want.digest != accepted.desired => {
                let op = self.promotion(want, None, Some(accepted));
                Op { verb: Verb::Update, effect: op::update_effect(&accepted.about.nature, &want.nature), ..op }
            }
            (Some(want), None) => self.promotion(want, None, None),
            (None, Some(accepted)) if self.view.desired.is_some() && self.also.is_none() => Op {
                verb: Verb::Delete,
                effect: Effect::Delete,
                to: None,
                source: None,
                reverts: false,
                force: false,
                ..self.reversal(accepted, None)
            },
            _ => return,
        };
        out.blind.push(op);
    }

    /// A resource that is not in the inventory.
    fn place_new(&self, live: &Live, trouble: Option<&Trouble>, out: &mut Comparison) {
        let Some(want) = self.want else {
            return self.place_extra(live, trouble, out);
        };
        if let Some(other) = self.also {
            let why = format!("it is the same object as {other}, which is desired too: take one of them out").into();
            out.refused.push((self.id.clone(), why));
            return out.blind.push(self.promotion(want, live.here(), None));
        }
        match live.here() {
            Some(here) if here.digest == want.digest => out.in_place.push(self.in_place(want, here, None)),
            here => {
                let op = self.promotion(want, here, None);
                let held = drift::held(trouble, self.view.now).then_some("a person holds it");
                match held.or(drift::quarantined(trouble).then_some(FOUGHT)) {
                    Some(why) => out.conflicts.push(Conflict { id: self.id.clone(), why: why.into(), op }),
                    None => out.promote.push(op),
                }
            }
        }
    }

    /// Something in an exclusive target that nobody declared.
    fn place_extra(&self, live: &Live, trouble: Option<&Trouble>, out: &mut Comparison) {
        // `exclusive` that still waits for its approval takes nothing away yet.
        let here = live.here().filter(|_| !self.view.guards.spare_undeclared && !self.begun.contains(self.id));
        let Some(here) = here else { return self.undrift(trouble, out) };
        let since = trouble
            .and_then(|trouble| trouble.drift.as_ref())
            .filter(|mark| mark.live == Some(here.digest))
            .map_or(self.view.now, |mark| mark.since);
        let held = drift::held(trouble, self.view.now) || drift::quarantined(trouble);
        let grace = jiff::SignedDuration::try_from(self.view.guards.drift.grace).unwrap_or(jiff::SignedDuration::MAX);
        let at = since.checked_add(grace).unwrap_or(self.view.now);
        let answer = match self.view.guards.drift.routine {
            _ if drift::ignored(self.id, &self.view.guards.drift) => return,
            _ if held => Answer::Leave("a person holds it".into()),
            _ if drift::released(trouble, Some(here), self.view.now) => Answer::Revert,
            super::guards::DriftPolicy::Revert if at <= self.view.now => Answer::Revert,
            super::guards::DriftPolicy::Revert => Answer::RevertAt(at),
            super::guards::DriftPolicy::Escalate { .. } => Answer::Escalate(None),
            super::guards::DriftPolicy::Adopt => Answer::Leave("the policy for this class is adopt".into()),
        };
        if answer == Answer::Revert {
            out.heal.push(self.removal(here, None, true));
        }
        out.drift.push(Drift {
            id: self.id.clone(),
            class: Class::Extra,
            live: Some(here.digest),
            since,
            by: here.touch().by,
            answer,
            leftover: Vec::new(),
        });
    }

    /// A resource of the inventory.
    fn place_accepted(&self, accepted: &Accepted, live: &Live, trouble: Option<&Trouble>, out: &mut Comparison) {
        let here = live.here();
        let drifted = here.is_none_or(|here| here.digest != accepted.live);
        if let (Some(want), Some(here)) = (self.want, here)
            && here.digest == want.digest
            && (drifted || want.digest != accepted.desired)
        {
            // Somebody, or a commit, brought both together: a promotion has nothing left to write. While it is withheld,
            // this is drift from what was accepted like any other (`GUARDS.md` 6).
            out.in_place.push(self.in_place(want, here, accepted.about.created));
            if !drifted {
                return self.undrift(trouble, out);
            }
            out.settled.insert(self.id.clone());
        }
        if !drifted {
            if !here.is_some_and(|here| self.place_leftover(accepted, here, trouble, out)) {
                self.undrift(trouble, out);
            }
            let op = match (self.want, here) {
                (Some(want), Some(here)) if want.digest != accepted.desired => {
                    self.promotion(want, Some(here), Some(accepted))
                }
                (None, Some(_)) if self.also.is_some() => {
                    out.settled.insert(self.id.clone());
                    return out.gone.push(self.id.clone());
                }
                (None, Some(here)) if self.view.desired.is_some() => self.removal(here, Some(accepted), false),
                _ => return,
            };
            if drift::quarantined(trouble) {
                return out.conflicts.push(Conflict { id: self.id.clone(), why: FOUGHT.into(), op });
            }
            return out.promote.push(op);
        }
        if self.want.is_none() && (here.is_none() || self.also.is_some()) && self.view.desired.is_some() {
            out.gone.push(self.id.clone());
            out.settled.insert(self.id.clone());
        }
        if drift::ignored(self.id, &self.view.guards.drift) {
            return;
        }
        let drift = drift::classify(self.id, accepted, live, trouble, &self.view.guards.drift, self.view.now);
        let reversal = self.reversal(accepted, here);
        if drift.answer == Answer::Revert {
            out.heal.push(reversal.clone());
        }
        out.reversals.push(reversal);
        if !out.settled.contains(self.id) {
            self.place_conflict(accepted, here, &drift, trouble, out);
        }
        out.drift.push(drift);
    }

    /// What commits ceased to declare of a resource that is as accepted; tells whether any of it is drift.
    fn place_leftover(
        &self,
        accepted: &Accepted,
        here: &Here,
        trouble: Option<&Trouble>,
        out: &mut Comparison,
    ) -> bool {
        if here.fields() != accepted.about.fields.as_ref() {
            // Not remembered before, or some of it went since.
            out.noted.push((self.id.clone(), Arc::new(accepted.with_fields(here.fields().cloned()))));
        }
        // What is going to be removed takes it along.
        let removed = self.want.is_none() && self.view.desired.is_some();
        if here.leftover().is_empty() || removed || drift::ignored(self.id, &self.view.guards.drift) {
            return false;
        }
        let Sorted { drifts, handed } = leftover::sort(here.leftover());
        if !handed.is_empty() {
            out.handed.push((self.id.clone(), handed));
        }
        if drifts.is_empty() {
            return false;
        }
        let reclaims = drifts.iter().map(|left| left.path.clone()).collect();
        let policies = &self.view.guards.drift;
        let drift = leftover::drift(self.id, accepted, here, drifts, trouble, policies, self.view.now);
        let op = Op { effect: Effect::Update, force: false, reclaims, ..self.reversal(accepted, Some(here)) };
        if drift.answer == Answer::Revert {
            out.heal.push(op.clone());
        }
        out.reversals.push(op);
        out.drift.push(drift);
        true
    }

    /// A promotion of something that somebody changed: it waits while that change may be what saved the night.
    fn place_conflict(
        &self,
        accepted: &Accepted,
        here: Option<&Here>,
        drift: &Drift,
        trouble: Option<&Trouble>,
        out: &mut Comparison,
    ) {
        let op = match (self.want, here) {
            (Some(want), here) if want.digest != accepted.desired => self.promotion(want, here, Some(accepted)),
            (None, Some(here)) if self.view.desired.is_some() => self.removal(here, Some(accepted), false),
            _ => return,
        };
        let why: Option<Arc<str>> = match (&drift.answer, drift.class) {
            (Answer::Revert, _) => None,
            (Answer::RevertAt(at), _) => {
                Some(format!("it was changed by nobody known; routine from {at} on, unless held").into())
            }
            (Answer::Leave(_), _) if drift::quarantined(trouble) => Some(FOUGHT.into()),
            (Answer::Leave(why), Class::Emergency) => Some(why.clone()),
            (Answer::Leave(_), _) => None,
            (Answer::Escalate(_), _) => {
                Some("a person changed it: adopt the change by a commit, release it, or approve".into())
            }
        };
        match why.filter(|_| !weaken::is(Weakened::Conflict)) {
            Some(why) => out.conflicts.push(Conflict { id: self.id.clone(), why, op }),
            None => out.promote.push(op),
        }
    }

    fn ignored(&self) -> Vec<Arc<str>> {
        drift::ignored_paths(self.id, &self.view.guards.drift)
    }

    fn undrift(&self, trouble: Option<&Trouble>, out: &mut Comparison) {
        if trouble.is_some_and(|trouble| trouble.drift.is_some()) {
            out.undrifted.push(self.id.clone());
        }
    }

    fn commit(&self) -> CommitId {
        self.view.desired.map_or_else(|| CommitId::new(""), |(_, commit)| commit.clone())
    }

    fn in_place(&self, want: &Want, here: &Here, created: Option<Timestamp>) -> (Id, Arc<Accepted>) {
        let about = About {
            commit: self.commit(),
            origin: want.origin.clone(),
            nature: marked(&want.nature, Some(here)),
            created,
            rank: want.rank,
            fields: here.fields().cloned(),
        };
        let about = self.abouts.borrow_mut().get(about);
        (self.id.clone(), Arc::new(Accepted { desired: want.digest, live: here.digest, about }))
    }

    fn promotion(&self, want: &Want, here: Option<&Here>, accepted: Option<&Accepted>) -> Op {
        let (verb, effect, class) = match (here, accepted) {
            (None, _) => (Verb::Create, Effect::Create, OpClass::Plain),
            (Some(here), None) => (Verb::Update, op::update_effect(&here.nature, &want.nature), OpClass::Adopt),
            (Some(here), Some(accepted)) => {
                let inert = want.nature.essence.is_some() && want.nature.essence == accepted.about.nature.essence;
                let class = if inert { OpClass::Inert } else { OpClass::Plain };
                (Verb::Update, op::update_effect(&here.nature, &want.nature), class)
            }
        };
        Op {
            id: self.id.clone(),
            verb,
            effect,
            class,
            from: here.map(|here| (here.digest, here.version.clone())),
            to: Some(want.digest),
            was: accepted.map(|accepted| accepted.desired),
            source: Some(Source { commit: self.commit(), origin: want.origin.clone() }),
            nature: self.protected(&want.nature, here),
            force: false,
            weight: 1 + if effect == Effect::Delete { here.map_or(0, |here| here.dependants()) } else { 0 },
            rank: want.rank,
            reverts: false,
            unrehearsed: false,
            reclaims: Vec::new(),
            ignore: self.ignored(),
            shape: None,
        }
    }

    fn removal(&self, here: &Here, accepted: Option<&Accepted>, reverts: bool) -> Op {
        let nature = accepted.map_or(&here.nature, |accepted| &accepted.about.nature);
        Op {
            id: self.id.clone(),
            verb: Verb::Delete,
            effect: Effect::Delete,
            class: OpClass::Plain,
            from: Some((here.digest, here.version.clone())),
            to: None,
            was: accepted.map(|accepted| accepted.desired),
            source: None,
            nature: self.protected(nature, Some(here)),
            force: reverts,
            weight: 1 + here.dependants(),
            rank: accepted.map_or(0, |accepted| accepted.about.rank),
            reverts,
            unrehearsed: false,
            reclaims: Vec::new(),
            ignore: self.ignored(),
            shape: None,
        }
    }

    fn reversal(&self, accepted: &Accepted, here: Option<&Here>) -> Op {
        let effect = here.map_or(Effect::Create, |here| op::update_effect(&here.nature, &accepted.about.nature));
        Op {
            id: self.id.clone(),
            verb: if here.is_some() { Verb::Update } else { Verb::Create },
            effect,
            class: OpClass::Plain,
            from: here.map(|here| (here.digest, here.version.clone())),
            to: Some(accepted.desired),
            was: Some(accepted.desired),
            source: Some(Source { commit: accepted.about.commit.clone(), origin: accepted.about.origin.clone() }),
            nature: self.protected(&accepted.about.nature, here),
            force: true,
            weight: 1,
            rank: accepted.about.rank,
            reverts: true,
            unrehearsed: false,
            reclaims: Vec::new(),
            ignore: self.ignored(),
            shape: None,
        }
    }

    /// Adds what the configuration and the target itself protect to what the kind of target does.
    fn protected(&self, nature: &Arc<Nature>, here: Option<&Here>) -> Arc<Nature> {
        let mut nature = marked(nature, here);
        let protected = self.view.guards.protects(self.id, nature.protected);
        if protected != nature.protected {
            Arc::make_mut(&mut nature).protected = protected;
        }
        nature
    }
}

/// Adds the marks that the target itself sets, which only who observed it knows.
fn marked(nature: &Arc<Nature>, here: Option<&Here>) -> Arc<Nature> {
    let mut nature = nature.clone();
    let marks = here.map_or((false, false), |here| (here.nature.protected, here.nature.access_control));
    let (protected, access_control) = (nature.protected || marks.0, nature.access_control || marks.1);
    if (protected, access_control) != (nature.protected, nature.access_control) {
        let nature = Arc::make_mut(&mut nature);
        (nature.protected, nature.access_control) = (protected, access_control);
    }
    nature
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{World, digest, files};
    use super::*;

    /// Compares with the tip when two of the names are one resource.
    fn compared(world: &World, same: [&str; 2]) -> Comparison {
        let (commit, files) = world.tip();
        let desired = super::super::fixture::desired(files);
        let observed = Observed { same: vec![(Id::new(same[0]), Id::new(same[1]))], ..world.observed() };
        let guards = Guards::default();
        let (state, now) = (&world.state, world.state.now());
        compare(View { desired: Some((&desired, commit)), observed: &observed, state, guards: &guards, now })
    }

    #[test]
    fn a_resource_that_is_desired_by_another_name_is_forgotten_and_never_deleted() {
        let mut world = World::at(files(0..2, 1));
        let mut tip = files(0..1, 1);
        tip.insert("other".to_owned(), 1);
        world.push("tip", tip);
        world.live.insert("other".to_owned(), 1);
        let comparison = compared(&world, ["f001", "other"]);
        assert_eq!((comparison.promote.len(), &comparison.gone[..]), (0, &[Id::new("f001")][..]));
        assert_eq!(comparison.in_place[0].0, Id::new("other"));
        // Changed by hand it still is the same one.
        world.live.extend([("f001".to_owned(), 7), ("other".to_owned(), 7)]);
        let comparison = compared(&world, ["other", "f001"]);
        assert!(comparison.gone == [Id::new("f001")] && comparison.promote.iter().all(|op| op.verb != Verb::Delete));
        world.unread.push("f001".to_owned());
        assert!(compared(&world, ["f001", "other"]).blind.is_empty());
    }

    #[test]
    fn a_resource_that_is_desired_by_two_names_is_refused_by_the_newer_one() {
        let mut world = World::at(files(0..2, 1));
        let mut tip = files(0..2, 1);
        tip.insert("other".to_owned(), 1);
        world.push("tip", tip);
        world.live.insert("other".to_owned(), 1);
        let comparison = compared(&world, ["f001", "other"]);
        let [(id, why)] = &comparison.refused[..] else { panic!("{:?}", comparison.refused) };
        assert!(id.as_str() == "other" && why.contains("f001"), "{why}");
        assert!(comparison.promote.is_empty() && comparison.gone.is_empty());
        assert_eq!(comparison.blind[0].to, Some(digest(1)));
    }
}
