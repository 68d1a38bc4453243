//! What the target holds, and writing to it: whatever its kind, through [`crate::targets::Target`] alone.

use std::sync::Arc;

use super::Live;
use crate::clock::MachineClock;
use crate::controller::edges::Unclaimed;
use crate::core::expect::Expect;
use crate::core::op::Op;
use crate::core::rehearse::{Key, Rehearsal, Rehearsals};
use crate::core::resource::{Anchor, AnchorSeen, Health, Id, Live as Seen, Observed};
use crate::core::write::Outcome;
use crate::crash;
use crate::targets::{Healthy, Tried, Watcher};

impl Live {
    /// Reads the target's anchor alone, fresh.
    pub fn read_anchor(&mut self) -> AnchorSeen {
        self.target.read_anchor()
    }

    /// Says which ledger converges the target, before it is read.
    pub fn belong_to(&self, ledger: &Arc<str>) {
        self.target.belong_to(ledger);
    }

    /// Returns what makes watches over the target; `None` where its kind cannot tell: then only the interval does.
    pub fn watcher(&self) -> Option<Watcher> {
        self.target.watcher()
    }

    /// Returns how many requests of each kind were sent to the target since this was last asked, where they are counted.
    pub fn take_requests(&self) -> Option<Vec<(&'static str, u64)>> {
        self.target.take_requests()
    }

    /// Asks the target what operations would do, with the bytes that their commits want.
    pub(super) fn rehearse_ops(&mut self, ops: &[&Op]) -> Rehearsals {
        let mut said = Rehearsals::new();
        if !self.target.rehearses() {
            return said;
        }
        let mut tried = Vec::with_capacity(ops.len());
        for op in ops {
            match self.bytes_of(op) {
                Ok(content) => tried.push(Tried { op, content }),
                Err(why) => {
                    said.insert(Key::of(op), Rehearsal::Unread(why));
                }
            }
        }
        said.extend(self.target.rehearse(&tried));
        said
    }

    /// Observes what is asked for, with the live digest that was accepted.
    pub(super) fn observe_target(&mut self, expect: &[Expect<'_>]) -> Observed {
        let mut observed = self.target.observe(expect, MachineClock::wall());
        if MachineClock::is_shifted() {
            // The kernel stamps changes by its own clock, which a shifted one cannot be compared with.
            for (_, live) in &mut observed.seen {
                if let Seen::Here(here) = live {
                    here.more.get_or_insert_default().touch.at = None;
                }
            }
        }
        observed
    }

    /// Tells which of these resources do not work, by looking again.
    pub(super) fn not_working(&mut self, ids: &[Id]) -> Vec<Id> {
        let health = self.target.health(ids).into_iter();
        health.filter(|(_, health, _)| *health != Health::Healthy).map(|(id, _, _)| id).collect()
    }

    /// Swaps the anchor under the target's lock, and holds that until [`Self::unlock`].
    pub(super) fn claim_target(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed> {
        let mut session = self.target.lock().map_err(|error| Unclaimed(error.to_string().into()))?;
        if let Some(recovery) = session.recovery() {
            for (of, kept) in &recovery.saved {
                tracing::warn!(
                    app = %self.app.name, resource = %of, kept_as = %kept,
                    "an interrupted write left content that is neither ours nor what was observed: it was put aside"
                );
            }
        }
        crash::step("anchor.swap");
        session.swap(expected, new).map_err(|error| Unclaimed(error.to_string().into()))?;
        crash::step("anchor.swapped");
        self.session = Some(session);
        Ok(())
    }

    /// Gives the target's lock back.
    pub(super) fn unlock(&mut self) {
        self.session = None;
    }

    /// Writes one resource, the precondition inside.
    pub(super) fn write_one(&mut self, op: &Op) -> Outcome {
        let (write, made) = match self.write_op(op) {
            Ok(made) => made,
            Err(why) => return Outcome::Refused(why),
        };
        // What was judged is a digest: the bytes must be the ones that have it.
        if made != op.to {
            let by = self.renderer.identity().unwrap_or_default();
            let why = format!(
                "{by} does not make of its commit what was accepted: run the release that did, or approve what this one makes"
            );
            return Outcome::Refused(why.into());
        }
        let Some(session) = self.session.as_mut() else {
            return Outcome::Refused("the target is not claimed".into());
        };
        // Asked last: a process that was paused until here writes nothing any more.
        if let Some(reason) = self.right.withheld() {
            return Outcome::Moved(reason.message.into());
        }
        crash::step("target.write");
        let outcome = session.write(&write);
        crash::step("target.written");
        outcome
    }

    /// Has programs notice what was written, and tells whether it works.
    pub(super) fn settle_target(&mut self, wrote: &[Id]) -> Vec<Healthy> {
        self.target.settle(wrote)
    }
}
