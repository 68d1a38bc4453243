//! Pace: what of a rollout may be written next, and when (`GUARDS.md` 5.2, 5.8, 7 and 8).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::guards::{Guards, Limit};
use super::op::Verb;
use super::state::{Breaker, OpState, Purpose, Standing, State, Trouble};
use super::weaken::{self, Weakened};

/// A breaker opens after so many failed attempts in a row (`GUARDS.md` 7).
const BREAKER_OPENS: u32 = 10;

/// An open breaker lets one attempt through this often (`GUARDS.md` 7).
const PROBE_EVERY: SignedDuration = SignedDuration::from_mins(30);

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
    /// Nothing more in this cycle, and why: `write_cap`, `delete_cap`, `backoff`.
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
    let left = remaining(state, purpose, guards);
    if let Some(batch) = &rollout.batch {
        let full = wrote(batch) >= batch.size && !weaken::is(Weakened::Batch);
        if batch.settling.is_some() || full {
            return Next::Settle;
        }
        return match candidate(state, purpose) {
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

/// Finds the next operation that may be attempted. Deletions come once nothing else is left and nothing is unhealthy.
fn candidate(state: &State, purpose: Purpose) -> Candidate {
    let Some(rollout) = state.app.rollouts.get(&purpose) else { return Candidate::None };
    let now = state.now();
    let unread = state.app.latches.get(&super::state::LatchName::Observation);
    let unread = unread.map_or(&[][..], |latch| &latch.only);
    for ((_, index), slot) in state.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX)) {
        if slot.state == OpState::Done {
            continue;
        }
        let deletes = slot.op.verb == Verb::Delete;
        let early = rollout.writes_left > 0 || !rollout.unhealthy.is_empty();
        if deletes && early && !weaken::is(Weakened::DeletionsLast) {
            return Candidate::None;
        }
        let trouble = state.trouble(&slot.op.id);
        let held = super::drift::held(trouble, now) && !slot.op.reverts;
        if !may_attempt(trouble, now) || held || unread.contains(&slot.op.id) {
            continue;
        }
        return if deletes { Candidate::Delete(*index) } else { Candidate::Write(*index) };
    }
    Candidate::None
}

/// Tells whether a resource's back-off is over.
pub fn may_attempt(trouble: Option<&Trouble>, now: Timestamp) -> bool {
    trouble.and_then(|trouble| trouble.breaker.as_ref()).is_none_or(|breaker| breaker.next <= now)
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

/// Tells whether a batch turned bad: two, or a tenth of what it wrote (`GUARDS.md` 2, HEALTH).
pub fn turned_bad(wrote: usize, unhealthy: usize) -> bool {
    (unhealthy >= 2 || (unhealthy > 0 && unhealthy * 10 >= wrote)) && !weaken::is(Weakened::Health)
}

/// Tells whether reverts of one resource are a fight (`GUARDS.md` 6).
pub fn is_fight(reverts: &[Timestamp], guards: &Guards, now: Timestamp) -> bool {
    guards.fight.iter().any(|(window, times)| {
        let window = SignedDuration::try_from(*window).unwrap_or(SignedDuration::MAX);
        let count = reverts.iter().filter(|at| now.duration_since(**at) < window).count();
        *times > 0 && count >= *times as usize && !weaken::is(Weakened::Fight)
    })
}
