//! PLAN: the limits that a whole plan crosses, what exempts it, and how far a poisoned range may be followed
//! (`GUARDS.md` 3.5 and 5).

use std::sync::Arc;

use super::super::approval::{self, Wanted};
use super::super::fleet::is_fleet;
use super::super::last_good;
use super::super::ledger::Fact;
use super::super::limits::{self, Scale};
use super::super::op::Verb;
use super::super::reason::Reason;
use super::super::resource::{Digest, Id};
use super::super::state::{Good, Latch, LatchName, Standing};
use super::super::weaken::{self, Weakened};
use super::{Judge, Prefix, Scope, Wanting};

/// How long a good state may be returned to, and how often (`GUARDS.md` 5.5).
const RETURN_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// Reasons that only explain: they neither set PLAN nor keep it.
const NOTES: [&str; 2] = ["approval", "on_poison"];

impl<'a> Judge<'a> {
    pub(super) fn keep_plan_latch(&mut self) {
        if let Some(known) = self.known(LatchName::Plan).cloned() {
            self.hold(LatchName::Plan, Scope::Promotion, known);
        }
    }

    /// Sets or clears PLAN for what leads to the tip. `following` tells that a rollout to the last good commit is under way.
    pub(super) fn judge_plan(&mut self, desired: Digest, following: bool) {
        let plan = self.inputs.promote;
        let judged: Arc<str> = desired.to_string().into();
        let fleet = self.fleet_reasons();
        let mut own = self.plan_reasons();
        if plan.is_empty() && own.is_empty() && fleet.is_none() {
            if self.complete() {
                return self.clear(LatchName::Plan, "nothing is left to change");
            }
            return self.keep_plan_latch();
        }
        if own.is_empty() {
            own = self.kept_reasons(&judged);
        }
        if self.standing_of_plan().is_some() {
            own.clear();
        }
        if own.is_empty() && fleet.is_none() {
            let approved = self.known(LatchName::Plan).is_some_and(|latch| latch.judged.as_ref() == Some(&judged));
            return self.clear(LatchName::Plan, if approved { "approved" } else { "the plan of the new tip passes" });
        }
        // One digest lets all applications of the repository go; what this one crosses alone comes after.
        let digest = fleet.as_ref().map_or(plan.digest, |(_, digest)| *digest);
        if self.state.app.plan_seen.as_ref().is_none_or(|(seen, _)| *seen != digest) {
            self.out.facts.push(Fact::PlanSeen { digest });
        }
        let mut reasons = own;
        reasons.extend(self.refusals(&digest, fleet.is_none().then_some(&plan.change)));
        let scope = match &fleet {
            None => self.follow(following, &mut reasons),
            Some(_) => Scope::Promotion,
        };
        reasons.splice(0..0, fleet.into_iter().flat_map(|(fleet, _)| fleet));
        let latch = Latch { judged: Some(judged), digest: Some(digest), ..self.fresh(reasons) };
        self.hold(LatchName::Plan, scope, latch);
    }

    /// Returns what is too much of what all applications would change together, unless that is approved.
    ///
    /// Held until it is approved or all of them together desire something else: never by time, nor because some of them
    /// are through already.
    fn fleet_reasons(&self) -> Option<(Vec<Reason>, Digest)> {
        let (mut reasons, digest) = self.inputs.fleet.clone()?;
        if reasons.is_empty() && !self.inputs.promote.is_empty() {
            let known = self.known(LatchName::Plan).filter(|latch| latch.digest == Some(digest));
            let known = known.into_iter().flat_map(|latch| &latch.reasons);
            reasons = known.filter(|reason| is_fleet(reason)).cloned().collect();
        }
        (!reasons.is_empty() && self.approved(&digest, None).is_none()).then_some((reasons, digest))
    }

    /// Returns the reasons of a latch on the same desired state: never time, never a restart lets it go, only an approval or
    /// another desired state. The fleet's are kept by the fleet's digest.
    fn kept_reasons(&self, judged: &Arc<str>) -> Vec<Reason> {
        let latch = self.known(LatchName::Plan).filter(|latch| latch.judged.as_ref() == Some(judged));
        let known = latch.into_iter().flat_map(|latch| &latch.reasons);
        known.filter(|reason| !NOTES.contains(&&*reason.code) && !is_fleet(reason)).cloned().collect()
    }

    /// Decides whether the good commits before the culprit are followed while the rest is held (`GUARDS.md` 3.5).
    fn follow(&mut self, following: bool, reasons: &mut Vec<Reason>) -> Scope {
        let Some(prefix) = self.inputs.prefix else { return Scope::Promotion };
        let crossed = if following { Vec::new() } else { self.reached(prefix) };
        let to = prefix.commit.short();
        let message = match crossed.first() {
            Some(reason) => {
                format!("the commits before the culprit wait too: {} (half of it holds them)", reason.message)
            }
            None => format!("the commits up to {to} are converged to; the culprit and what follows wait"),
        };
        reasons.push(Reason::new("on_poison", message));
        if !crossed.is_empty() {
            return Scope::Promotion;
        }
        self.out.to_prefix = true;
        Scope::Beyond
    }

    /// Returns why a prefix is not followed: it reaches half of a limit, or leaves nothing.
    fn reached(&self, prefix: &Prefix) -> Vec<Reason> {
        let guards = self.inputs.guards;
        if weaken::is(Weakened::LastGood) {
            return Vec::new();
        }
        if prefix.wants.wants().is_empty() && guards.empty_desired_halts {
            return vec![Reason::new("empty_desired", "nothing would be left")];
        }
        let mut reasons: Vec<Reason> = self.inputs.reconfigured.iter().cloned().collect();
        reasons.extend(last_good::reaches_half(
            &prefix.promote.counting(&prefix.comparison.blind),
            self.state,
            self.scale(u32::try_from(prefix.wants.wants().len()).unwrap_or(u32::MAX)),
            guards,
        ));
        reasons
    }

    /// Says which approvals of a plan or a fleet do not count, and why.
    fn refusals(&self, digest: &Digest, change: Option<&Digest>) -> Vec<Reason> {
        let seen = self.state.app.plan_seen.as_ref().map_or(self.state.now(), |(_, at)| *at);
        let (inputs, now) = (self.inputs, self.state.now());
        let wanted = Wanted { digest, change, seen, contributors: inputs.contributors };
        let given = self.state.app.approvals.iter();
        let given = given.filter(|approval| approval.digest == *digest || Some(&approval.digest) == change);
        let refused = given.filter_map(|approval| {
            let why = approval::why_not(approval, &wanted, inputs.policy, inputs.guards, now)?;
            Some(Reason::new("approval", format!("the approval by {} is refused: {why}", approval.by)))
        });
        refused.collect()
    }

    fn scale(&self, desired: u32) -> Scale {
        let guards = self.inputs.guards;
        let shortest = guards.window_deletes.keys().chain(guards.window_changes.keys()).min().copied();
        let now = self.state.inventory();
        let begun = self.state.app.begun;
        Scale { now, begun, n: shortest.map_or(now, |window| self.state.largest(window)), desired }
    }

    /// Returns every limit that the plan crosses, exemptions of a return apart.
    fn plan_reasons(&self) -> Vec<Reason> {
        let guards = self.inputs.guards;
        let plan = self.inputs.promote;
        let mut reasons = Vec::new();
        let (count, empty) = match &self.inputs.wanting {
            Wanting::Rendered(desired) if desired.wants().is_empty() => {
                (0, Some("the source path renders nothing".to_owned()))
            }
            Wanting::Missing(why) => (0, Some(why.to_string())),
            Wanting::Rendered(desired) => (desired.wants().len(), None),
            Wanting::Broken(_) | Wanting::Unknown(_) => (0, None),
        };
        if let Some(why) = empty.filter(|_| guards.empty_desired_halts && !weaken::is(Weakened::EmptyDesired)) {
            reasons.push(Reason::new("empty_desired", format!("{why}: nothing would be left")));
        }
        if let Some(reason) = self.inputs.reconfigured.clone().filter(|_| !plan.is_empty()) {
            reasons.push(reason);
        }
        if self.returns().is_some() {
            return reasons;
        }
        let scale = self.scale(u32::try_from(count).unwrap_or(u32::MAX));
        // The whole plan is judged: what cannot be read now would be written later.
        let whole = plan.counting(&self.inputs.comparison.blind);
        reasons.extend(limits::of_magnitude(&whole.magnitude, scale, guards));
        reasons.extend(limits::of_groups(&whole.ops, self.state, guards));
        reasons.extend(limits::of_windows(&whole.ops, self.state, guards));
        reasons
    }

    /// Finds the good state that the plan returns to, if it may (`GUARDS.md` 5.5).
    pub(super) fn returns(&self) -> Option<&'a Good> {
        let desired = self.desired_digest()?;
        let now = self.state.now();
        let lately = |at: jiff::Timestamp| now.duration_since(at) < RETURN_WITHIN;
        if !weaken::is(Weakened::Return) && self.state.app.returned.is_some_and(lately) {
            return None;
        }
        let good = self.state.app.good.iter().find(|good| good.desired == desired && lately(good.at))?;
        let created_since = |id: &Id| {
            let accepted = self.state.resources.get(id).and_then(|resource| resource.accepted.as_deref());
            accepted.and_then(|accepted| accepted.about.created).is_some_and(|created| created >= good.at)
        };
        let ops = self.inputs.promote.ops.iter().chain(&self.inputs.comparison.blind);
        let mut removed = ops.filter(|op| op.verb == Verb::Delete);
        (weaken::is(Weakened::Return) || removed.all(|op| created_since(&op.id))).then_some(good)
    }

    /// Returns the approval of the plan that leads to the tip, if somebody gave one.
    pub(super) fn standing_of_plan(&self) -> Option<Standing> {
        let plan = self.inputs.promote;
        let (by, digest) = self.approved(&plan.digest, Some(&plan.change))?;
        Some(Standing::Approved { by, digest })
    }
}
