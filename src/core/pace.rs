//! Pace: what of a rollout may be written next, and when (`GUARDS.md` 5.2, 5.8, 7 and 8).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::guards::{Guards, Limit, Rate};
use super::op::{Class, Op, Verb};
use super::resource::{Health, Id};
use super::state::{Breaker, OpState, Purpose, RolloutOp, Standing, State, Trouble};
use super::weaken::{self, Weakened};

/// A breaker opens after so many failed attempts in a row (`GUARDS.md` 7).
const BREAKER_OPENS: u32 = 10;

/// An open breaker lets one attempt through this often (`GUARDS.md` 7).
const PROBE_EVERY: SignedDuration = SignedDuration::from_mins(30);

/// The rate of targets that are written through an API, unless another is configured (`GUARDS.md` 8).
pub const TARGET_RATE: Rate = Rate { per_second: 5, burst: 10 };

/// Returns how many writes a second a target of this kind takes, `None` for as many as there are.
pub fn rate(guards: &Guards, kind: &str) -> Option<Rate> {
    guards.rate.unwrap_or_else(|| (kind != "directory").then_some(TARGET_RATE))
}

/// Tells whether the rate lets nothing through: zero means zero (`GUARDS.md` 8).
fn rate_is_zero(guards: &Guards) -> bool {
    guards.rate.flatten().is_some_and(|rate| rate.per_second == 0 || rate.burst == 0)
}

/// What a rollout does next.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    /// Begin a batch of at most so many.
    Begin(u32),
    /// Reserve and write this operation.
    Write(u32),
    /// The batch is complete: look whether it works.
    Settle,
    /// Nothing more in this cycle, and why: `rate`, `write_cap`, `delete_cap`, `backoff`.
    Wait(&'static str),
    /// Every operation is done.
    Done,
}

/// Decides what a rollout does next.
pub fn next(state: &State, purpose: Purpose, guards: &Guards) -> Next {
    let Some(rollout) = state.app.rollouts.get(&purpose) else { return Next::Done };
    if rollout.done >= rollout.total {
        return if rollout.batch.is_some() { Next::Settle } else { Next::Done };
    }
    let cut_short = rollout.batch.as_ref().is_some_and(|batch| batch.settling.is_some() || wrote(batch) > 0);
    if rate_is_zero(guards) && !cut_short {
        return Next::Wait("rate");
    }
    let left = remaining(state, purpose, guards);
    if let Some(batch) = &rollout.batch {
        let full = wrote(batch) >= batch.size && !weaken::is(Weakened::Batch);
        if batch.settling.is_some() || full {
            return Next::Settle;
        }
        return match candidate(state, purpose) {
            _ if rate_is_zero(guards) => Next::Settle,
            Candidate::Write(index) if left.writes > 0 => Next::Write(index),
            Candidate::Delete(index) if left.writes > 0 && left.deletes > 0 => Next::Write(index),
            // What can be written is written; deletions begin in a batch of their own.
            _ if wrote(batch) > 0 => Next::Settle,
            Candidate::Write(_) => Next::Wait("write_cap"),
            Candidate::Delete(_) if left.writes == 0 => Next::Wait("write_cap"),
            Candidate::Delete(_) => Next::Wait("delete_cap"),
            Candidate::None => Next::Wait("backoff"),
        };
    }
    match candidate(state, purpose) {
        Candidate::Write(_) if left.writes == 0 => Next::Wait("write_cap"),
        Candidate::Delete(_) if left.writes == 0 => Next::Wait("write_cap"),
        Candidate::Delete(_) if left.deletes == 0 => Next::Wait("delete_cap"),
        Candidate::None => Next::Wait("backoff"),
        Candidate::Write(_) | Candidate::Delete(_) => Next::Begin(rollout.next_batch.clamp(1, left.writes)),
    }
}

fn wrote(batch: &super::state::Batch) -> u32 {
    u32::try_from(batch.wrote.len()).unwrap_or(u32::MAX)
}

/// What is left of this interval's budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// Writes, deletions included.
    pub writes: u32,
    /// Deletions.
    pub deletes: u32,
}

/// Returns what is left of this interval's budget for a purpose. A return is exempt from the caps, not from the rate.
pub fn remaining(state: &State, purpose: Purpose, guards: &Guards) -> Left {
    let Some(rollout) = state.app.rollouts.get(&purpose) else { return Left { writes: 0, deletes: 0 } };
    let spent =
        state.app.spent.get(&purpose).filter(|spent| spent.cycle == state.app.counted).copied().unwrap_or_default();
    let zero = |limit: Limit| limit.at(u32::MAX) == Some(0);
    if rollout.standing == Standing::Return && !zero(guards.write_cap) {
        return Left { writes: u32::MAX, deletes: u32::MAX };
    }
    let cap = |limit: Limit, n, guard| limit.at(n).filter(|_| !weaken::is(guard)).unwrap_or(u32::MAX);
    let writes = cap(guards.write_cap, rollout.n.max(rollout.total), Weakened::WriteCap);
    let deletes = cap(guards.delete_cap, rollout.total, Weakened::DeleteCap);
    Left { writes: writes.saturating_sub(spent.writes), deletes: deletes.saturating_sub(spent.deletes) }
}

enum Candidate {
    Write(u32),
    Delete(u32),
    None,
}

/// Finds the next operation that may be attempted.
fn candidate(state: &State, purpose: Purpose) -> Candidate {
    match attemptable(state, purpose).next() {
        Some((index, slot)) if slot.op.verb == Verb::Delete => Candidate::Delete(index),
        Some((index, _)) => Candidate::Write(index),
        None => Candidate::None,
    }
}

/// Returns the operations that may be attempted, in order. Deletions, and what goes in their place, come once nothing else is
/// left and nothing is unhealthy (`GUARDS.md` 5.2).
fn attemptable(state: &State, purpose: Purpose) -> impl Iterator<Item = (u32, &RolloutOp)> {
    let rollout = state.app.rollouts.get(&purpose);
    let late = rollout.is_some_and(|rollout| rollout.writes_left == 0 && rollout.unhealthy.is_empty())
        || weaken::is(Weakened::DeletionsLast);
    let now = state.now();
    let unread = state.app.latches.get(&super::state::LatchName::Observation);
    let unread = unread.map_or(&[][..], |latch| &latch.only);
    let mut waiting: Vec<&Id> = Vec::new();
    let slots = state.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX));
    let open = slots.filter(|(_, slot)| slot.state != OpState::Done);
    open.take_while(move |(_, slot)| late || !slot.op.is_late()).filter_map(move |((_, index), slot)| {
        let Op { id, verb, class, reverts, .. } = &slot.op;
        let trouble = state.trouble(id);
        let left = super::drift::held(trouble, now) || super::drift::quarantined(trouble);
        let held = left && !reverts && !let_go(state, &slot.op, trouble);
        let blocked = *class == Class::Replace
            && *verb != Verb::Delete
            && waiting.iter().any(|gone| super::plan::excludes(gone, id));
        if !may_attempt(trouble, now) || held || unread.contains(id) || blocked {
            if *class == Class::Replace {
                waiting.push(id);
            }
            return None;
        }
        Some((*index, slot))
    })
}

/// Tells whether an approval of one operation alone, given since a person held its resource or it was fought over, lets it go
/// (`GUARDS.md` 6).
fn let_go(state: &State, op: &Op, trouble: Option<&Trouble>) -> bool {
    let digest = op.digest();
    let hold = trouble.and_then(|trouble| trouble.hold.as_ref()).map(|hold| hold.since);
    let left_since = hold.max(trouble.and_then(|trouble| trouble.quarantined));
    let mut given = state.app.approvals.iter().filter(|known| known.digest == digest && known.used);
    given.any(|approval| left_since.is_none_or(|since| approval.at >= since))
}

/// Returns what a batch of this size would begin with and what could not be rehearsed so far (`GUARDS.md` 5.8).
pub fn unrehearsed(state: &State, purpose: Purpose, size: u32) -> Vec<(u32, &Op)> {
    let next = attemptable(state, purpose).take(size as usize);
    next.filter(|(_, slot)| slot.op.unrehearsed).map(|(index, slot)| (index, &slot.op)).collect()
}

/// Finds the operation that FAILURE lets through: of a resource whose open breaker is due, one in a counted cycle over both
/// purposes (`GUARDS.md` 2 and 7).
pub fn probe(state: &State, purpose: Purpose, guards: &Guards) -> Option<u32> {
    let spent = |purpose| state.app.spent.get(&purpose).is_some_and(|spent| spent.cycle == state.app.counted);
    if Purpose::ALL.into_iter().any(spent) {
        return None;
    }
    let left = remaining(state, purpose, guards);
    let open = |id: &Id| {
        let breaker = state.trouble(id).and_then(|trouble| trouble.breaker.as_ref());
        breaker.is_some_and(|breaker| breaker.open)
    };
    let affordable =
        |op: &Op| !rate_is_zero(guards) && left.writes > 0 && (op.verb != Verb::Delete || left.deletes > 0);
    attemptable(state, purpose).find(|(_, slot)| open(&slot.op.id) && affordable(&slot.op)).map(|(index, _)| index)
}

/// Tells whether a resource's back-off is over.
pub fn may_attempt(trouble: Option<&Trouble>, now: Timestamp) -> bool {
    let breaker = trouble.and_then(|trouble| trouble.breaker.as_ref());
    weaken::is(Weakened::Breaker) || breaker.is_none_or(|breaker| breaker.next <= now)
}

/// Counts a failed attempt: exponential back-off with full jitter, and the breaker.
///
/// `jitter` is a random number in `0.0..1.0`.
pub fn failed(before: Option<&Breaker>, reason: Arc<str>, guards: &Guards, now: Timestamp, jitter: f64) -> Breaker {
    let attempts = before.map_or(0, |breaker| breaker.attempts).saturating_add(1);
    let open = attempts >= BREAKER_OPENS;
    let wait = if open {
        PROBE_EVERY
    } else {
        let doubled = guards.backoff_initial.saturating_mul(1 << (attempts - 1).min(20)).min(guards.backoff_max);
        let jittered = doubled.mul_f64(jitter.clamp(0.0, 1.0)).max(Duration::from_millis(100));
        SignedDuration::try_from(jittered).unwrap_or(PROBE_EVERY)
    };
    Breaker { attempts, next: now.checked_add(wait).unwrap_or(now), open, reason }
}

/// Lets one attempt through at once; if it fails, the breaker is open again.
pub fn half_open(breaker: &mut Breaker, now: Timestamp) {
    if breaker.open {
        breaker.open = false;
        breaker.attempts = BREAKER_OPENS - 1;
        breaker.next = now;
    }
}

/// What has become of a batch that settles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Some of it is on its way.
    Not,
    /// Whether all of it works cannot be read, for this reason: look again after observing, and conclude nothing.
    Unread(Arc<str>),
    /// It is over; these do not work.
    With(Vec<(Id, Option<String>)>),
}

/// Judges what is known of a batch; `over` once `settle` is. What could not be read is neither healthy nor not.
pub fn settled(wrote: usize, health: Vec<(Id, Health, Option<String>)>, over: bool) -> Settled {
    let waits = |(_, health, _): &(Id, Health, Option<String>)| matches!(health, Health::Progressing | Health::Unread);
    let unread = health.iter().find(|(_, health, _)| *health == Health::Unread);
    let unread = unread.map(|(id, _, why)| why.as_deref().unwrap_or(id.as_str()).into());
    let waits = health.iter().any(waits);
    let is_bad = |health: Health| health == Health::Unhealthy || (over && health == Health::Progressing);
    let bad: Vec<_> =
        health.into_iter().filter(|(_, health, _)| is_bad(*health)).map(|(id, _, why)| (id, why)).collect();
    match unread {
        None if !over && waits && bad.is_empty() => Settled::Not,
        Some(why) if !turned_bad(wrote, bad.len()) => {
            if over {
                Settled::Unread(why)
            } else {
                Settled::Not
            }
        }
        _ => Settled::With(bad),
    }
}

/// Tells whether a batch turned bad: two, or a tenth of what it wrote (`GUARDS.md` 2, HEALTH).
pub fn turned_bad(wrote: usize, unhealthy: usize) -> bool {
    (unhealthy >= 2 || (unhealthy > 0 && unhealthy * 10 >= wrote)) && !weaken::is(Weakened::Health)
}

/// Tells whether reverts of one resource are a fight (`GUARDS.md` 6).
pub fn is_fight(reverts: &[Timestamp], guards: &Guards, now: Timestamp) -> bool {
    guards.fight.iter().any(|(window, times)| {
        let window = SignedDuration::try_from(*window).unwrap_or(SignedDuration::MAX);
        let count = reverts.iter().filter(|at| now.duration_since(**at) < window).count();
        // Zero is refused where it is written; were it kept, it would be the strictest and not none.
        count >= (*times).max(1) as usize && !weaken::is(Weakened::Fight)
    })
}
