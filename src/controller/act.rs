//! Carries out a rollout: claim, reserve, write with precondition, record; batch, settle, next batch (`GUARDS.md` 5.7, 5.8).
//!
//! Every write is preceded by a durable reservation. A commit to the ledger fails when another process wrote to it since,
//! so a freeze by command stops the rollout at the next resource; the tip is read again meanwhile, so that a `FREEZE` that
//! is pushed does too.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::assess::Assessment;
use super::edges::{Ledger, LedgerError, Read, Write};
use crate::core::guards::Guards;
use crate::core::ledger::Fact;
use crate::core::op::{Op, Verb};
use crate::core::pace::{self, Next, Settled};
use crate::core::reason::Reason;
use crate::core::rehearse::{Key, Rehearsal};
use crate::core::resource::{Anchor, AnchorSeen, Id, Live};
use crate::core::state::{About, Accepted, Latch, LatchName, Purpose, Rollout, Standing, State};
use crate::core::weaken::{self, Weakened};
use crate::core::write::Outcome;

/// How often the tip is read again while acting, in milliseconds (`GUARDS.md` 4).
const REREAD_EVERY_MS: i64 = 10_000;

/// How often a batch that settles is looked at.
const SETTLE_POLL: Duration = Duration::from_millis(500);

/// Why acting stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// Everything is done.
    Done,
    /// The rest waits for another interval, or a back-off: `write_cap`, `delete_cap`, `backoff`.
    Paced(&'static str),
    /// Something changed: observe again.
    Again(Arc<str>),
    /// The controller is shutting down.
    Shutdown,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Paced(by) => write!(f, "waits for {by}"),
            Self::Again(why) => write!(f, "again: {why}"),
            Self::Shutdown => f.write_str("shutting down"),
        }
    }
}

/// Carries out what was let through, for both purposes.
///
/// # Errors
/// Only if the ledger fails; then nothing more is written.
pub fn act<E: Read + Write>(
    name: &Arc<str>,
    assessment: &Assessment,
    edges: &mut E,
    ledger: &mut impl Ledger,
    state: &mut State,
) -> Result<Vec<(Purpose, Stopped)>, LedgerError> {
    let mut stops = Vec::new();
    // One look for both purposes, counted by the clock that does not jump, from the fetch on: observing and judging may
    // have taken longer than the tip is good for.
    let mut reread = assessment.fetched_at;
    for purpose in Purpose::ALL {
        let (judgement, guards) = (&assessment.judgement, &assessment.guards);
        let probe = pace::probe(state, purpose, guards).filter(|_| judgement.may_probe(purpose));
        if !state.app.rollouts.contains_key(&purpose) || !(judgement.may(purpose) || probe.is_some()) {
            continue;
        }
        let mut actor = Actor { name, assessment, purpose, reread, edges, ledger, state };
        let stopped = match probe {
            Some(index) => actor.probe(index),
            None => actor.run(),
        };
        reread = actor.reread;
        actor.edges.release();
        let stopped = stopped?;
        let again = !matches!(stopped, Stopped::Done | Stopped::Paced(_));
        stops.push((purpose, stopped));
        if again {
            break;
        }
    }
    Ok(stops)
}

struct Actor<'a, E, L> {
    name: &'a Arc<str>,
    assessment: &'a Assessment,
    purpose: Purpose,
    reread: i64,
    edges: &'a mut E,
    ledger: &'a mut L,
    state: &'a mut State,
}

impl<E: Read + Write, L: Ledger> Actor<'_, E, L> {
    fn guards(&self) -> &Guards {
        &self.assessment.guards
    }

    fn run(&mut self) -> Result<Stopped, LedgerError> {
        // A batch that a crash cut short is over: its claim on the target died with the process.
        let cut_short = self.state.app.rollouts.get(&self.purpose).is_some_and(|rollout| rollout.batch.is_some());
        if cut_short && let Some(stopped) = self.settle()? {
            return Ok(stopped);
        }
        self.steps()
    }

    fn steps(&mut self) -> Result<Stopped, LedgerError> {
        loop {
            let next = pace::next(self.state, self.purpose, &self.assessment.guards);
            let step = match next {
                Next::Begin(size) => self.begin(size),
                Next::Write(index) => self.write(index),
                Next::Settle => self.settle(),
                Next::Wait(why) => return Ok(Stopped::Paced(why)),
                Next::Done => return self.done(),
            };
            match step {
                Ok(None) => {}
                Ok(Some(stopped)) => return Ok(stopped),
                // Another process wrote: whatever it was, everything is judged again before the next write.
                Err(LedgerError::Moved) => return Ok(Stopped::Again("the ledger moved on".into())),
                Err(error) => return Err(error),
            }
        }
    }

    /// Attempts the one operation that FAILURE lets through; if it succeeds, the latch is cleared (`GUARDS.md` 2).
    fn probe(&mut self, index: u32) -> Result<Stopped, LedgerError> {
        let cut_short = self.state.app.rollouts.get(&self.purpose).is_some_and(|rollout| rollout.batch.is_some());
        if cut_short && let Some(stopped) = self.settle()? {
            return Ok(stopped);
        }
        let attempt = |actor: &mut Self| -> Result<Option<Stopped>, LedgerError> {
            if let Some(stopped) = actor.begin(1)? {
                return Ok(Some(stopped));
            }
            if let Some(stopped) = actor.write(index)? {
                return Ok(Some(stopped));
            }
            actor.settle()
        };
        match attempt(self) {
            Ok(stopped) => Ok(stopped.unwrap_or(Stopped::Paced("probe"))),
            Err(LedgerError::Moved) => Ok(Stopped::Again("the ledger moved on".into())),
            Err(error) => Err(error),
        }
    }

    /// Claims the target for a batch: the anchor is swapped under the target's lock.
    fn begin(&mut self, size: u32) -> Result<Option<Stopped>, LedgerError> {
        if let Some(stopped) = self.rehearse(size)? {
            return Ok(Some(stopped));
        }
        let (_, token) = self.edges.random();
        let known = self.state.app.anchor.known.clone();
        // Swapped before a crash that kept it from being recorded: ours, and to be recorded before the next intention, or
        // a second crash would make it a stranger's.
        let swapped = match &self.assessment.observed.anchor {
            AnchorSeen::Present(seen) if self.state.app.anchor.intended.as_ref() == Some(seen) => Some(seen.clone()),
            _ => None,
        };
        let expected = swapped.clone().or_else(|| known.clone()).map_or(AnchorSeen::Absent, AnchorSeen::Present);
        let mut facts: Vec<Fact> = swapped.iter().map(|_| Fact::AnchorKnown).collect();
        let anchor = Anchor {
            target: known.as_ref().or(swapped.as_ref()).map_or_else(|| token.clone(), |known| known.target.clone()),
            application: self.name.clone(),
            ledger: self.ledger.id(),
            epoch: self.ledger.epoch(),
            token,
            last_verified: self.state.app.last_verified.clone(),
            // The row that records the intention itself.
            seq: self.state.seq + 1 + facts.len() as u64,
        };
        facts.push(Fact::AnchorIntended { anchor: Box::new(anchor.clone()) });
        self.ledger.commit(self.state, &facts)?;
        if let Err(unclaimed) = self.edges.claim(&expected, &anchor) {
            return Ok(Some(Stopped::Again(unclaimed.0)));
        }
        self.ledger.commit(self.state, &[Fact::AnchorKnown, Fact::BatchStarted { purpose: self.purpose, size }])?;
        Ok(None)
    }

    /// Tries what could not be tried when it was planned; what the target would not take now counts as attempted and failed.
    fn rehearse(&mut self, size: u32) -> Result<Option<Stopped>, LedgerError> {
        let ops: Vec<(u32, Op)> = pace::unrehearsed(self.state, self.purpose, size)
            .into_iter()
            .map(|(index, op)| (index, op.clone()))
            .collect();
        if ops.is_empty() {
            return Ok(None);
        }
        let said = self.edges.rehearse(self.state, &ops.iter().map(|(_, op)| op).collect::<Vec<_>>());
        let mut facts = Vec::new();
        for (index, op) in &ops {
            let why = match said.get(&Key::of(op)) {
                None
                | Some(
                    Rehearsal::Fits
                    | Rehearsal::Agrees
                    | Rehearsal::Joins
                    | Rehearsal::Takes(_)
                    | Rehearsal::Reclaims { .. },
                ) => continue,
                // A plan that was judged as an update is no replacement, and takes over nothing by stealth.
                Some(
                    Rehearsal::Replaces { why, .. }
                    | Rehearsal::Owned { why, .. }
                    | Rehearsal::Refused(why)
                    | Rehearsal::Forbidden(why)
                    | Rehearsal::Unrehearsed(why)
                    | Rehearsal::Unread(why),
                ) => why.clone(),
            };
            facts.push(self.failed(*index, &op.id, why, false));
        }
        if facts.is_empty() {
            return Ok(None);
        }
        self.ledger.commit(self.state, &facts)?;
        Ok(Some(Stopped::Again("what was rehearsed before its batch was refused".into())))
    }

    /// Reserves the budget of one operation, looks at the freeze and the tip again, writes, and records what came of it.
    fn write(&mut self, index: u32) -> Result<Option<Stopped>, LedgerError> {
        let Some(slot) = self.state.rollout_ops.get(&(self.purpose, index)) else {
            return Ok(Some(Stopped::Again("the rollout is gone".into())));
        };
        let mut op = slot.op.clone();
        let deletes = op.verb == Verb::Delete;
        if let Some((_, version)) = op.from.as_mut()
            && let Some(seen) = self.assessment.observed.get(&op.id).and_then(Live::here)
        {
            // A rollout that goes on writes against what was observed in this cycle, not against what was at its start.
            *version = seen.version.clone();
        }
        // The wait comes first: what freezes meanwhile is seen before the write.
        if !self.edges.admit(&self.assessment.guards) {
            return Ok(Some(Stopped::Shutdown));
        }
        if !weaken::is(Weakened::Reservation) {
            self.ledger.commit(self.state, &[Fact::Reserved { purpose: self.purpose, index, deletes }])?;
        }
        if let Some(stopped) = self.look_again() {
            // The budget stays spent.
            let why = "what withholds it came just before".into();
            let fact = Fact::Moved { purpose: self.purpose, index, id: op.id, why };
            self.ledger.commit(self.state, &[fact])?;
            return Ok(Some(stopped));
        }
        let outcome = self.edges.write(&op);
        let (fact, again) = self.outcome(index, &op, outcome);
        let probed = self.state.app.latches.contains_key(&LatchName::Failure) && matches!(fact, Fact::Wrote { .. });
        let by = || format!("a probe of {} that succeeded", op.id).into();
        let cleared = probed.then(|| Fact::Cleared { latch: LatchName::Failure, by: by() });
        // What was written must be remembered whatever other processes wrote meanwhile.
        let facts: Vec<Fact> = [fact].into_iter().chain(cleared).collect();
        let moved = super::assess::commit(self.ledger, self.state, &facts)?;
        Ok(again.or_else(|| moved.then(|| "the ledger moved on".into())).map(Stopped::Again))
    }

    fn look_again(&mut self) -> Option<Stopped> {
        if !self.edges.local_freezes(self.state).is_empty() && !weaken::is(Weakened::FreezeBeforeWrite) {
            return Some(Stopped::Again("a freeze".into()));
        }
        let now = self.edges.clock().uptime_ms;
        let due = now - self.reread >= REREAD_EVERY_MS;
        let nudged = self.edges.nudged();
        if !due && !nudged {
            return None;
        }
        self.reread = now;
        let tip = self.assessment.tip.as_ref().ok();
        if !self.edges.still(tip) && !weaken::is(Weakened::TipWhileActing) {
            return Some(Stopped::Again("the branch moved on".into()));
        }
        None
    }

    fn outcome(&mut self, index: u32, op: &Op, outcome: Outcome) -> (Fact, Option<Arc<str>>) {
        let (purpose, id) = (self.purpose, op.id.clone());
        let unknown = matches!(outcome, Outcome::Unknown(_));
        match outcome {
            Outcome::Done(live) => (self.wrote(index, op, &live), None),
            Outcome::Moved(why) => {
                (Fact::Moved { purpose, index, id: id.clone(), why: why.clone() }, Some(format!("{id}: {why}").into()))
            }
            Outcome::Refused(reason) | Outcome::Unknown(reason) => {
                // What may have landed is looked for before the batch goes on: it may be what does not work.
                let again = unknown.then(|| format!("{id}: {reason}").into());
                (self.failed(index, &id, reason, unknown), again)
            }
        }
    }

    fn failed(&mut self, index: u32, id: &Id, reason: Arc<str>, unknown: bool) -> Fact {
        let (jitter, _) = self.edges.random();
        let known = self.state.trouble(id).and_then(|trouble| trouble.breaker.as_ref());
        let breaker = pace::failed(known, reason, self.guards(), self.state.now(), jitter);
        Fact::Failed { purpose: self.purpose, index, id: id.clone(), breaker, unknown }
    }

    fn wrote(&self, index: u32, op: &Op, live: &Live) -> Fact {
        let now = self.state.now();
        let before = self.state.resources.get(&op.id).and_then(|resource| resource.accepted.as_deref());
        let created = match op.verb {
            Verb::Create if !op.reverts => Some(now),
            _ => before.and_then(|accepted| accepted.about.created),
        };
        let accepted = match (live, &op.source, op.to) {
            (Live::Here(here), Some(source), Some(to)) => {
                let about = About {
                    commit: source.commit.clone(),
                    origin: source.origin.clone(),
                    nature: op.nature.clone(),
                    created,
                    rank: op.rank,
                    fields: here.fields().cloned(),
                };
                Some(Arc::new(Accepted { desired: to, live: here.digest, about: about.into() }))
            }
            _ => None,
        };
        let rollout = self.state.app.rollouts.get(&self.purpose);
        let passed = rollout.is_some_and(|rollout| rollout.standing == Standing::Passed);
        let drift = self.state.trouble(&op.id).and_then(|trouble| trouble.drift.as_ref());
        let healed_after = drift
            .filter(|_| self.purpose == Purpose::Heal)
            .and_then(|mark| u64::try_from(now.duration_since(mark.first).as_secs()).ok());
        Fact::Wrote {
            purpose: self.purpose,
            index,
            id: op.id.clone(),
            verb: op.verb,
            effect: op.effect,
            accepted,
            windowed: self.purpose == Purpose::Promote && passed,
            healed_after,
        }
    }

    /// Lets a batch settle: until it is healthy, or `settle` is over.
    fn settle(&mut self) -> Result<Option<Stopped>, LedgerError> {
        let wrote = self.state.app.rollouts.get(&self.purpose).and_then(|rollout| rollout.batch.as_ref());
        let wrote: Vec<Id> = wrote.map(|batch| batch.wrote.clone()).unwrap_or_default();
        let started = self.edges.clock().uptime_ms;
        let mut bad: Vec<(Id, Option<String>)> = Vec::new();
        if !wrote.is_empty() {
            loop {
                let health = self.edges.settle(&wrote);
                let limit = i64::try_from(self.guards().settle.as_millis()).unwrap_or(i64::MAX);
                let over = self.edges.clock().uptime_ms - started >= limit;
                match pace::settled(wrote.len(), health, over) {
                    Settled::Not => {}
                    Settled::With(known) => {
                        bad = known;
                        break;
                    }
                    // The batch stays open: once everything can be observed again, its health is looked at first.
                    Settled::Unread(why) => {
                        let why = format!("whether what was written works could not be read: {why}");
                        return Ok(Some(Stopped::Again(why.into())));
                    }
                }
                if !self.edges.wait(SETTLE_POLL) {
                    return Ok(Some(Stopped::Shutdown));
                }
            }
        }
        self.edges.release();
        let unhealthy: Vec<Id> = bad.iter().map(|(id, _)| id.clone()).collect();
        let turned = pace::turned_bad(wrote.len(), unhealthy.len());
        let mut facts = vec![Fact::BatchSettled { purpose: self.purpose, unhealthy }];
        if turned && self.purpose == Purpose::Promote {
            facts.push(self.unhealthy(wrote.len(), &bad));
            facts.push(Fact::RolloutEnded { purpose: self.purpose, how: "what it wrote turned unhealthy".into() });
        }
        let moved = super::assess::commit(self.ledger, self.state, &facts)?;
        if turned {
            return Ok(Some(Stopped::Again("what was written does not work".into())));
        }
        Ok(moved.then(|| Stopped::Again("the ledger moved on".into())))
    }

    fn unhealthy(&self, wrote: usize, bad: &[(Id, Option<String>)]) -> Fact {
        let count = u32::try_from(bad.len()).unwrap_or(u32::MAX);
        let wrote = u32::try_from(wrote).unwrap_or(u32::MAX);
        let names = bad.iter().take(3).map(|(id, why)| match why {
            Some(why) => format!("{id} ({})", why.lines().last().unwrap_or_default()),
            None => id.to_string(),
        });
        let message = format!(
            "{count} of the {wrote} resources just written do not work: {}",
            names.collect::<Vec<_>>().join(", ")
        );
        let rollout = self.state.app.rollouts.get(&self.purpose);
        let state = Latch {
            since: self.state.now(),
            reasons: vec![Reason::crossed("health", count, 0, wrote, message)],
            judged: self.assessment.tip_desired().map(|desired| desired.to_string().into()),
            digest: rollout.map(|rollout| rollout.digest),
            wrote: rollout
                .map(|rollout| rollout.desired)
                .filter(|desired| Some(*desired) != self.assessment.tip_desired()),
            clean: 0,
            clean_at: 0,
            only: bad.iter().map(|(id, _)| id.clone()).collect(),
        };
        Fact::Latched { latch: LatchName::Health, state: Box::new(state) }
    }

    /// Tells whether a rollout that is done left nothing to do: what could not be read, or was held when it began, may be. A
    /// later cycle says then when all of it is there.
    fn is_all(&self, rollout: &Rollout) -> bool {
        let (_, plan) = self.assessment.toward(&rollout.commit);
        let written: BTreeSet<&Id> = self.state.slots(self.purpose).map(|slot| &slot.op.id).collect();
        self.assessment.complete && plan.ops.iter().all(|op| written.contains(&op.id))
    }

    fn done(&mut self) -> Result<Stopped, LedgerError> {
        if let Some(rollout) = self.state.app.rollouts.get(&self.purpose) {
            let mut facts = Vec::new();
            if self.purpose == Purpose::Promote && rollout.unhealthy.is_empty() && self.is_all(rollout) {
                let seen = self.state.app.sights.get(&rollout.commit);
                let seconds = seen.and_then(|at| u64::try_from(self.state.now().duration_since(*at).as_secs()).ok());
                let (comparison, plan) = self.assessment.toward(&rollout.commit);
                let parked = !plan.parked.is_empty() || !comparison.conflicts.is_empty();
                facts.push(Fact::Converged {
                    commit: rollout.commit.clone(),
                    desired: rollout.desired,
                    good: !parked && comparison.drift.is_empty() && comparison.works(),
                    seconds,
                    skipped: rollout.skipped.clone(),
                    left: match self.assessment.wanted(&rollout.commit) {
                        Some(wants) => self.state.left_by(wants),
                        None => self.state.resources.keys().cloned().collect(),
                    },
                });
            }
            let how = match &rollout.standing {
                Standing::Approved { by, .. } => format!("done, approved by {by}"),
                Standing::Return => "done, a return to a good state".to_owned(),
                Standing::Passed => "done".to_owned(),
            };
            facts.push(Fact::RolloutEnded { purpose: self.purpose, how: how.into() });
            // Not tried again if another process wrote: what is left to do may go on only after it was judged anew.
            self.ledger.commit(self.state, &facts)?;
        }
        Ok(Stopped::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{Bench, files};
    use super::*;

    #[test]
    fn what_was_fetched_too_long_ago_is_looked_at_again_before_the_first_write() {
        let mut bench = Bench::at(files(3, 1));
        bench.push("tip", files(3, 2));
        bench.stub.observing_ms = 60_000;
        bench.stub.still = false;
        let stops = bench.cycle();
        assert_eq!(stops, [(Purpose::Promote, Stopped::Again("the branch moved on".into()))]);
        assert!(bench.stub.wrote.is_empty(), "{:?} was written", bench.stub.wrote);

        bench.stub.observing_ms = 0;
        bench.stub.looks = 0;
        assert_eq!(bench.cycle().len(), 1);
        assert_eq!((bench.stub.looks, bench.stub.wrote.len()), (0, 3), "a fresh one is not read twice");
    }

    #[test]
    fn a_branch_that_can_be_read_again_ends_what_began_without_it() {
        let mut bench = Bench::at(files(3, 1));
        bench.stub.live.remove("f000");
        bench.stub.fetches = false;
        bench.stub.observing_ms = 60_000;
        // Nothing was judged that the branch could still be: it is looked at as soon as it can be.
        bench.stub.still = false;
        assert_eq!(bench.cycle(), [(Purpose::Heal, Stopped::Again("the branch moved on".into()))]);
        assert!(bench.stub.wrote.is_empty(), "{:?} was written", bench.stub.wrote);
        bench.stub.still = true;
        assert_eq!(bench.cycle(), [(Purpose::Heal, Stopped::Done)], "while nobody can read it, healing goes on");
    }

    #[test]
    fn health_that_cannot_be_read_concludes_nothing_and_is_looked_at_first_next_time() {
        let mut bench = Bench::at(files(3, 1));
        bench.push("tip", files(3, 2));
        bench.stub.silent = true;
        for _ in 0..2 {
            let stops = bench.cycle();
            assert!(
                matches!(&stops[..], [(Purpose::Promote, Stopped::Again(why))] if why.contains("could not be read"))
            );
            assert_eq!(bench.stub.wrote.len(), 1, "no batch begins before the last one is known to work");
            assert!(bench.state.app.latches.is_empty(), "{:?}", bench.state.app.latches);
        }
        bench.stub.silent = false;
        let before = bench.stub.settled.len();
        assert_eq!(bench.cycle(), [(Purpose::Promote, Stopped::Done)]);
        assert_eq!(bench.stub.settled[before], bench.stub.wrote[..1], "the first batch is looked at again");
        assert_eq!(bench.stub.wrote.len(), 3);
    }
}
