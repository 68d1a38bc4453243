//! Backtesting: what the guards would have done on each past push (`INTERFACE.md`, `backtest`).
//!
//! [`pushes`] says what landed together; a [`Backtest`] is fed what each push changes, oldest first, and judges it by the
//! very functions that judge a plan. History tells neither who approved nor what was observed, so two things are assumed:
//! that the target had what was desired before, and that a push that would have been held was let go or taken back, so that
//! the next one is judged against it.

mod pushes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

pub use self::pushes::{Push, pushes};
use super::clock::Clock;
use super::culprit::{self, WantChange};
use super::guards::Guards;
use super::limits::{self, Scale};
use super::op::{Effect, Op, Verb};
use super::plan::{Details, Magnitude, Plan};
use super::reason::Reason;
use super::resource::{Digest, Id, Want};
use super::state::{State, Trouble};

/// How long a good state may be returned to, and how often (`GUARDS.md` 5.5).
const RETURN_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A shape is worth telling when it covers nine tenths of a plan.
const SHAPED_TENTHS: usize = 9;

/// What the guards would have done on one push.
#[derive(Clone, PartialEq, Debug)]
pub struct Judged {
    /// Why it would have been held; empty when it passes.
    pub reasons: Vec<Reason>,
    /// How much it changes.
    pub magnitude: Magnitude,
    /// How many resources there were.
    pub n: u32,
    /// How many deletions would have been parked.
    pub parked: u32,
    /// Whether it is a return to a good state, and so exempt from most limits.
    pub returns: bool,
    /// What nearly all of its operations have in common.
    pub shape: Option<Arc<str>>,
    /// What was desired before; compared with other states of the same backtest only.
    pub before: Digest,
    /// What is desired after it; absent when it cannot be rendered.
    pub after: Option<Digest>,
}

impl Judged {
    /// Tells whether it would have been held.
    pub fn is_held(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// A state that was recorded as converged.
struct Good {
    desired: Digest,
    /// When it last was the present one.
    at: Timestamp,
}

/// Judges pushes one after the other.
pub struct Backtest {
    guards: Guards,
    /// Only what the windows look at: the time, the sizes, and what was changed and deleted lately.
    state: State,
    longest: Duration,
    had: u32,
    groups: BTreeMap<Arc<str>, u32>,
    desired: Digest,
    /// The last state that no push that would have been held led to.
    accepted: Digest,
    good: Vec<Good>,
    returned: Option<Timestamp>,
    /// What was created within the last day.
    created: BTreeMap<Id, Timestamp>,
}

impl Backtest {
    /// Begins with what was desired before the first push.
    pub fn new(guards: Guards, base: &[Want]) -> Self {
        let mut desired = Digest::from_bytes([0; 32]);
        for want in base {
            toggle(&mut desired, want);
        }
        let windows = guards.window_deletes.keys().chain(guards.window_changes.keys());
        Self {
            longest: windows.max().copied().unwrap_or_default(),
            guards,
            state: State::default(),
            had: u32::try_from(base.len()).unwrap_or(u32::MAX),
            groups: limits::group_counts(base.iter().map(|want| want.nature.group.as_ref())),
            desired,
            accepted: desired,
            good: Vec::new(),
            returned: None,
            created: BTreeMap::new(),
        }
    }

    /// Returns a way to measure the commits of the push that comes next, each by itself.
    pub fn measure(&self) -> culprit::Measure {
        culprit::Measure::new(self.guards.clone(), self.had, self.groups.clone())
    }

    /// Judges a push that cannot be rendered: it is held, and changes nothing (RENDER, `GUARDS.md` 2).
    pub fn broken(&mut self, at: Timestamp, why: &str) -> Judged {
        self.advance(at);
        Judged {
            reasons: vec![Reason::new("render", why)],
            magnitude: Magnitude::default(),
            n: self.had,
            parked: 0,
            returns: false,
            shape: None,
            before: self.desired,
            after: None,
        }
    }

    /// Judges what a push changes, and makes it the state that the next one is judged against.
    pub fn push(&mut self, at: Timestamp, changes: &[WantChange], details: &Details) -> Judged {
        self.advance(at);
        let plan = culprit::plan(changes, details, &self.guards);
        let before = self.desired;
        let n = self.had;
        let mut after = before;
        for want in changes.iter().flat_map(|change| change.old.iter().chain(&change.new)) {
            toggle(&mut after, want);
        }
        let count = culprit::after(n, changes);
        let mut reasons = Vec::new();
        if count == 0 && n > 0 && self.guards.empty_desired_halts {
            reasons.push(Reason::new("empty_desired", "the source path is missing or renders nothing"));
        }
        // Nothing was written for a push that was held and taken back: that is no return yet.
        let never_left = after == self.accepted && self.good(after, at).is_some();
        let returns = after != before && (never_left || self.returns(after, at, &plan));
        if !returns {
            reasons.extend(self.crossed(&plan, count));
        }
        let held = !reasons.is_empty();
        if !held {
            self.accepted = after;
            if returns && !never_left && !plan.ops.is_empty() {
                self.returned = Some(at);
            }
            if !returns {
                self.remember(at, &plan.ops);
            }
        }
        self.apply(at, changes, count, after, held);
        let parked = u32::try_from(plan.parked.len()).unwrap_or(u32::MAX);
        let (magnitude, shape) = (plan.magnitude, shape(&plan.ops));
        Judged { reasons, magnitude, n, parked, returns, shape, before, after: Some(after) }
    }

    /// Brings the clock up to date, and forgets what no window sees any longer.
    fn advance(&mut self, at: Timestamp) {
        self.state.app.clock = Some(Clock { now: at, wall: at, boot: "".into(), uptime_ms: 0 });
        self.high(at);
        let longest = SignedDuration::try_from(self.longest).unwrap_or(SignedDuration::MAX);
        let seen = |then: &Option<Timestamp>| then.is_some_and(|then| at.duration_since(then) < longest);
        self.state.resources.retain(|_, resource| {
            resource.trouble.as_deref().is_some_and(|trouble| seen(&trouble.changed) || seen(&trouble.deleted))
        });
        self.state.app.highs.forget(longest.as_secs(), at);
        if let Some(good) = self.good.iter_mut().find(|good| good.desired == self.desired) {
            good.at = at;
        }
        self.good.retain(|good| at.duration_since(good.at) < RETURN_WITHIN);
        self.created.retain(|_, then| at.duration_since(*then) < RETURN_WITHIN);
    }

    fn high(&mut self, at: Timestamp) {
        self.state.app.highs.measure(at, self.had);
    }

    fn good(&self, desired: Digest, at: Timestamp) -> Option<&Good> {
        self.good.iter().find(|good| good.desired == desired && at.duration_since(good.at) < RETURN_WITHIN)
    }

    /// Tells whether a push leads back to a good state, deleting only what was created since, once in a day.
    fn returns(&self, after: Digest, at: Timestamp, plan: &Plan) -> bool {
        if self.returned.is_some_and(|then| at.duration_since(then) < RETURN_WITHIN) {
            return false;
        }
        let Some(good) = self.good(after, at) else { return false };
        let since = |id: &Id| self.created.get(id).is_some_and(|created| *created >= good.at);
        plan.ops.iter().filter(|op| op.verb == Verb::Delete).all(|op| since(&op.id))
    }

    fn crossed(&self, plan: &Plan, count: u32) -> Vec<Reason> {
        let guards = &self.guards;
        let shortest = guards.window_deletes.keys().chain(guards.window_changes.keys()).min();
        let n = shortest.map_or(self.had, |window| self.state.largest(*window));
        let scale = Scale { now: self.had, begun: 0, n, desired: count };
        let mut reasons = limits::of_magnitude(&plan.magnitude, scale, guards);
        reasons.extend(limits::of_group_counts(&plan.ops, &self.groups, guards));
        reasons.extend(limits::of_windows(&plan.ops, &self.state, guards));
        reasons
    }

    /// Counts what a push that passes changes in the windows.
    fn remember(&mut self, at: Timestamp, ops: &[Op]) {
        for op in ops.iter().filter(|op| Magnitude::of([*op]).changes() > 0) {
            let resource = self.state.resources.entry(op.id.clone()).or_default();
            let trouble: &mut Trouble = resource.trouble.get_or_insert_default();
            match op.effect {
                Effect::Delete => trouble.deleted = Some(at),
                Effect::Update | Effect::Create => trouble.changed = Some(at),
            }
        }
    }

    fn apply(&mut self, at: Timestamp, changes: &[WantChange], count: u32, after: Digest, held: bool) {
        for change in changes {
            match (&change.old, &change.new) {
                (None, Some(_)) => drop(self.created.insert(change.id.clone(), at)),
                (Some(_), None) => drop(self.created.remove(&change.id)),
                _ => {}
            }
        }
        culprit::regroup(&mut self.groups, changes);
        self.groups.retain(|_, count| *count > 0);
        self.had = count;
        self.high(at);
        self.desired = after;
        if !held {
            self.good.retain(|good| good.desired != after);
            self.good.push(Good { desired: after, at });
        }
    }
}

/// Adds a resource to the digest of a set of resources, or takes it out: so a state's digest costs what changes.
///
/// Unlike [`super::resource::Desired::digest`] an attacker could forge it; it is only compared within one backtest.
fn toggle(set: &mut Digest, want: &Want) {
    let mut one = Sha256::new();
    one.update((want.id.as_str().len() as u64).to_le_bytes());
    one.update(want.id.as_str().as_bytes());
    one.update(want.digest.as_bytes());
    let one: [u8; 32] = one.finalize().into();
    let mut bytes = *set.as_bytes();
    for (byte, other) in bytes.iter_mut().zip(one) {
        *byte ^= other;
    }
    *set = Digest::from_bytes(bytes);
}

/// Returns the shape that nearly all operations of a plan have, if there is one.
fn shape(ops: &[Op]) -> Option<Arc<str>> {
    let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for shape in ops.iter().filter_map(|op| op.shape.as_ref()) {
        *counts.entry(shape).or_default() += 1;
    }
    let (shape, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count > 1 && count * 10 >= ops.len() * SHAPED_TENTHS).then(|| shape.clone())
}

/// Tells for each push whether a later one within a day led back to what was desired before it.
pub fn taken_back(pushes: &[(Timestamp, Judged)]) -> Vec<bool> {
    let back = |at: usize| {
        let (time, judged) = &pushes[at];
        let within = |later: &&(Timestamp, Judged)| later.0.duration_since(*time) < RETURN_WITHIN;
        let changes = judged.after != Some(judged.before);
        changes && pushes[at + 1..].iter().take_while(within).any(|(_, later)| later.after == Some(judged.before))
    };
    (0..pushes.len()).map(back).collect()
}

#[cfg(test)]
mod tests;
