//! Promotion: which rollouts begin, go on or are cancelled, to the tip or to the last good commit (`GUARDS.md` 1, *rollout*).

use std::sync::Arc;

use super::super::commit::CommitId;
use super::super::culprit;
use super::super::ledger::Fact;
use super::super::op::Op;
use super::super::state::{LatchName, Purpose, Standing};
use super::{Goal, Judge};

impl Judge<'_> {
    /// PLAN, and the rollout of a promotion.
    pub(super) fn promotion(&mut self) {
        let Some(tip) = self.goal() else { return self.keep_plan_latch() };
        let mut following = false;
        if let Some(rollout) = self.state.app.rollouts.get(&Purpose::Promote) {
            following = self.inputs.prefix.is_some_and(|prefix| prefix.wants.digest() == rollout.desired);
            if rollout.desired == tip.desired {
                match self.cancelled(tip) {
                    Some(why) => self.end(why),
                    None => return self.go_on(),
                }
                following = false;
            } else if !following {
                self.end("another desired state".into());
            }
        }
        self.judge_plan(tip.desired, following);
        if following && !self.goes_on_to_prefix() {
            return;
        }
        if self.state.app.rollouts.contains_key(&Purpose::Promote) && following && self.out.to_prefix {
            return self.finish_found(Purpose::Promote);
        }
        if !self.out.may_begin(Purpose::Promote) {
            return;
        }
        let Some(goal) = self.goal() else { return };
        self.settle_in_place(goal);
        if goal.promote.is_empty() {
            return self.converged(goal);
        }
        self.start_promotion(goal);
    }

    /// Ends a rollout to the last good commit that may not go on; tells whether this cycle may begin or go on with one.
    fn goes_on_to_prefix(&mut self) -> bool {
        if !self.out.to_prefix {
            // The whole range passes now, or was approved; or nothing of it may be followed any longer.
            self.end("the rest of the range was judged anew".into());
            return true;
        }
        match self.goal().and_then(|goal| self.cancelled(goal)) {
            Some(why) => {
                self.end(why);
                false
            }
            None => true,
        }
    }

    fn end(&mut self, how: Arc<str>) {
        self.out.facts.push(Fact::RolloutEnded { purpose: Purpose::Promote, how });
    }

    /// Takes over what was found already in place, and drops what is neither desired nor there.
    fn settle_in_place(&mut self, goal: Goal<'_>) {
        for (id, accepted) in &goal.comparison.in_place {
            self.out.facts.push(Fact::Accepted { id: id.clone(), accepted: accepted.clone() });
        }
        for id in &goal.comparison.gone {
            self.out.facts.push(Fact::Forgotten { id: id.clone() });
        }
    }

    fn start_promotion(&mut self, goal: Goal<'_>) {
        let mut standing = Standing::Passed;
        if !self.out.to_prefix {
            // Not spent: it lets all applications go, of which some may not be ready yet.
            if let Some((_, digest)) = &self.inputs.fleet
                && let Some((by, digest)) = self.approved(digest, None)
            {
                standing = Standing::Approved { by, digest };
            }
            // What exempts it from its own limits, whatever the fleet needed: once in a day, so it must be told.
            if self.returns().is_some() {
                standing = Standing::Return;
            }
            if let Some(Standing::Approved { by, digest }) = self.standing_of_plan() {
                self.out.facts.push(Fact::ApprovalSpent { digest, how: "used".into() });
                standing = Standing::Approved { by, digest };
            }
        }
        // What had an approval of its own is in the plan because of it.
        for digest in goal.promote.ops.iter().map(Op::digest) {
            if self.state.app.approvals.iter().any(|approval| approval.digest == digest && !approval.used) {
                self.out.facts.push(Fact::ApprovalSpent { digest, how: "used".into() });
            }
        }
        let skipped =
            if matches!(standing, Standing::Approved { .. }) { Vec::new() } else { self.skipped(goal.commit) };
        self.out.facts.push(Fact::Verified { commit: goal.commit.clone(), keys: goal.keys.to_vec() });
        self.start(goal.promote, goal.commit.clone(), goal.desired, standing, skipped);
    }

    /// Returns the poisoned commits up to a goal that later ones took back before anything of them was written.
    fn skipped(&self, goal: &CommitId) -> Vec<CommitId> {
        culprit::skipped(self.inputs.commits, self.state.app.last_verified.as_ref(), goal)
    }

    /// Nothing is left to write for a goal.
    fn converged(&mut self, goal: Goal<'_>) {
        if !self.complete() {
            return;
        }
        let parked = !goal.promote.parked.is_empty() || !goal.comparison.conflicts.is_empty();
        let drifted = goal.comparison.drift.iter().any(|drift| !goal.comparison.settled.contains(&drift.id));
        let good = !parked && !drifted && goal.comparison.works();
        let app = &self.state.app;
        let known = app.good.iter().any(|known| {
            let age = self.state.now().duration_since(known.at);
            known.desired == goal.desired && age < jiff::SignedDuration::from_mins(10)
        });
        let there = app.converged.as_ref() == Some(goal.commit);
        if there && (known || !good) {
            return;
        }
        let skipped = if there { Vec::new() } else { self.skipped(goal.commit) };
        if app.last_verified.as_ref() != Some(goal.commit) {
            self.out.facts.push(Fact::Verified { commit: goal.commit.clone(), keys: goal.keys.to_vec() });
        }
        let seen = app.sights.get(goal.commit).filter(|_| !there);
        let seconds = seen.map(|at| self.state.now().duration_since(*at).as_secs().try_into().unwrap_or(0));
        let (commit, desired) = (goal.commit.clone(), goal.desired);
        let left = match goal.wants {
            Some(wants) => self.state.left_by(wants),
            None => self.state.resources.keys().cloned().collect(),
        };
        self.out.facts.push(Fact::Converged { commit, desired, good, seconds, skipped, left });
    }

    /// A rollout to the tip goes on; what it wrote without the ledger knowing is found done.
    fn go_on(&mut self) {
        self.finish_found(Purpose::Promote);
        // A plan latch beside it can only be a leftover of what it was approved for.
        self.clear(LatchName::Plan, "its rollout is under way");
    }
}
