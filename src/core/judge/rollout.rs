//! Rollouts of either purpose: begun, found done, or no longer what the world needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::commit::CommitId;
use super::super::ledger::Fact;
use super::super::op::Op;
use super::super::plan::{Plan, removes};
use super::super::resource::{Digest, Id};
use super::super::state::{OpState, Purpose, Rollout, Standing};
use super::super::weaken::{self, Weakened};
use super::{Goal, Judge};

impl Judge<'_> {
    pub(super) fn start(
        &mut self,
        plan: &Plan,
        commit: CommitId,
        desired: Digest,
        standing: Standing,
        skipped: Vec<CommitId>,
    ) {
        let count = |late: bool| {
            let ops = plan.ops.iter().filter(|op| op.is_late() == late);
            u32::try_from(ops.count()).unwrap_or(u32::MAX)
        };
        let shortest = self.inputs.guards.window_deletes.keys().min().copied().unwrap_or_default();
        let rollout = Rollout {
            digest: plan.digest,
            commit,
            desired,
            n: self.state.largest(shortest),
            // A return is not a rollout of something new: its batches need not feel their way.
            next_batch: if standing == Standing::Return { u32::MAX } else { 1 },
            standing,
            started: self.state.now(),
            total: count(false).saturating_add(count(true)),
            done: 0,
            writes_left: count(false),
            batch: None,
            unhealthy: Vec::new(),
            skipped,
        };
        let rollout = Box::new(rollout);
        self.out.facts.push(Fact::RolloutStarted { purpose: plan.purpose, rollout, ops: plan.ops.clone() });
    }

    /// Says why a promotion under way to a goal is cancelled, if it is (`GUARDS.md` 1, *rollout*).
    pub(super) fn cancelled(&self, goal: Goal<'_>) -> Option<Arc<str>> {
        let inputs = self.inputs;
        if !inputs.signature.is_empty() || inputs.history.is_some() || inputs.accepted_revoked.is_some() {
            return Some("the range no longer verifies".into());
        }
        self.moved_on(Purpose::Promote, goal.promote)
            .map(|id| format!("{id} changed while it was still unwritten").into())
    }

    /// Finds an unwritten operation of a rollout that is no longer what the world needs.
    pub(super) fn moved_on(&self, purpose: Purpose, plan: &Plan) -> Option<&Id> {
        if weaken::is(Weakened::RolloutMoves) {
            return None;
        }
        let comparison = self.comparison();
        let parked = plan.parked.iter().map(|parked| &parked.op);
        // What had an approval of its own is parked again once that is used. What became protected since had none.
        // Beside a conflict nothing is parked, and once that is over it would be.
        let held = comparison.conflicts.iter().map(|conflict| &conflict.op);
        let waits = parked.clone().chain(held.clone().filter(|op| removes(op)));
        let protected: BTreeSet<&Id> = waits.filter(|op| op.nature.protected).map(|op| &op.id).collect();
        let now: BTreeMap<&Id, &Op> = plan.ops.iter().chain(parked).chain(held).map(|op| (&op.id, op)).collect();
        let unread: BTreeSet<&Id> = comparison.unread.iter().map(|(id, _)| id).collect();
        let unobserved = self.inputs.unobserved.is_some();
        let live = |op: &Op| op.from.as_ref().map(|(digest, _)| *digest);
        let slots = self.state.slots(purpose);
        slots
            .filter(|slot| slot.state != OpState::Done)
            .map(|slot| &slot.op)
            .find(|op| {
                let same = now
                    .get(&op.id)
                    .is_some_and(|current| current.verb == op.verb && current.to == op.to && live(current) == live(op));
                let same = same && (op.nature.protected || !protected.contains(&op.id));
                !same && !unobserved && !unread.contains(&op.id) && !self.already_done(op)
            })
            .map(|op| &op.id)
    }

    fn already_done(&self, op: &Op) -> bool {
        let comparison = self.comparison();
        comparison.in_place.iter().any(|(id, accepted)| *id == op.id && Some(accepted.desired) == op.to)
            || (op.to.is_none() && comparison.gone.contains(&op.id))
    }

    /// Notes what a rollout wrote without the ledger knowing.
    pub(super) fn finish_found(&mut self, purpose: Purpose) {
        let comparison = self.comparison();
        let slots = self.state.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX));
        for ((_, index), slot) in slots.filter(|(_, slot)| slot.state != OpState::Done) {
            if !self.already_done(&slot.op) {
                continue;
            }
            let found = comparison.in_place.iter().find(|(id, _)| *id == slot.op.id);
            let accepted = found.map(|(_, accepted)| accepted.clone());
            self.out.facts.push(Fact::FoundDone { purpose, index: *index, accepted, id: slot.op.id.clone() });
        }
    }
}
