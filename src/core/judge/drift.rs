//! DRIFT, and the rollout of healing (`GUARDS.md` 6).

use super::super::commit::CommitId;
use super::super::drift::{Answer, Drift};
use super::super::ledger::Fact;
use super::super::limits;
use super::super::plan::Plan;
use super::super::resource::Id;
use super::super::state::{LatchName, Purpose, Standing};
use super::{CLEAN_CYCLES, Judge, Scope};

impl<'a> Judge<'a> {
    /// DRIFT: too much changed without a commit (`GUARDS.md` 6).
    pub(super) fn drift(&mut self) {
        let comparison = self.comparison();
        let drifted = &comparison.drift;
        let promotes = self.out.may_begin(Purpose::Promote);
        let settled = |id: &Id| promotes && comparison.settled.contains(id);
        let adopted = |answer: &Answer| matches!(answer, Answer::Leave(_));
        let counts = |drift: &&Drift| !adopted(&drift.answer) && !settled(&drift.id);
        let counted = drifted.iter().filter(counts).count();
        let missing = drifted.iter().filter(counts).filter(|drift| drift.live.is_none()).count();
        let (counted, missing) =
            (u32::try_from(counted).unwrap_or(u32::MAX), u32::try_from(missing).unwrap_or(u32::MAX));
        let n = self.state.inventory();
        let plan = self.heal_plan();
        // An approval is of one rollout: what begins in its place, as some of it drifts otherwise now, is judged anew.
        if let Some(rollout) = self.state.app.rollouts.get(&Purpose::Heal)
            && matches!(rollout.standing, Standing::Approved { .. })
            && self.moved_on(Purpose::Heal, plan).is_none()
        {
            return self.clear(LatchName::Drift, "approved");
        }
        let reason = limits::of_drift(counted, missing, n, self.inputs.guards);
        let digest = (!plan.is_empty()).then_some(plan.digest);
        if let Some(digest) = digest
            && (reason.is_some() || self.known(LatchName::Drift).is_some())
            && self.approved_drift(&digest).is_some()
        {
            return self.clear(LatchName::Drift, "approved");
        }
        match (reason, self.known(LatchName::Drift).cloned()) {
            (Some(reason), _) => {
                let mut latch = self.fresh(vec![reason]);
                latch.digest = digest;
                self.hold(LatchName::Drift, Scope::Healing, latch);
            }
            (None, Some(mut latch)) => {
                // By what may be promoted, and all of it: what is left is still nobody's wish.
                let adopts = counted == 0 && promotes && comparison.in_place.iter().any(|(id, _)| settled(id));
                if counted == 0 {
                    self.count_clean(&mut latch);
                } else {
                    latch.clean = 0;
                }
                if adopts || latch.clean >= CLEAN_CYCLES {
                    let by =
                        if adopts { "a commit that adopts the change" } else { "the drift was gone for three cycles" };
                    return self.clear(LatchName::Drift, by);
                }
                latch.digest = digest;
                self.hold(LatchName::Drift, Scope::Healing, latch);
            }
            (None, None) => {}
        }
    }

    /// Returns what would heal now: all drift while promotion is withheld, otherwise what promotion leaves.
    fn heal_plan(&self) -> &'a Plan {
        let goal = self.goal().filter(|_| self.out.may_begin(Purpose::Promote));
        goal.map_or(self.inputs.heal, |goal| goal.heal_beside)
    }

    /// The rollout of healing: begun, gone on with, or begun anew when the drift is another.
    pub(super) fn healing(&mut self) {
        let plan = self.heal_plan();
        if self.state.app.rollouts.contains_key(&Purpose::Heal) {
            self.finish_found(Purpose::Heal);
            match self.moved_on(Purpose::Heal, plan) {
                Some(id) => {
                    let how = format!("{id} drifts otherwise now").into();
                    self.out.facts.push(Fact::RolloutEnded { purpose: Purpose::Heal, how });
                }
                None => return,
            }
        }
        if !self.out.may_begin(Purpose::Heal) || plan.is_empty() {
            return;
        }
        let approved = self.approved_drift(&plan.digest);
        let standing = approved.map_or(Standing::Passed, |(by, digest)| {
            self.out.facts.push(Fact::ApprovalSpent { digest, how: "used".into() });
            Standing::Approved { by, digest }
        });
        let commit = self.state.app.converged.clone().unwrap_or_else(|| CommitId::new(""));
        self.start(plan, commit, plan.digest, standing, Vec::new());
    }
}
