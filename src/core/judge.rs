//! Judges: which latches hold, what they withhold, which rollouts begin, go on or are cancelled (`GUARDS.md` 2, 5 and 6).
//!
//! Called once a cycle, after everything was read and compared, in every state. Returns facts; changes nothing itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::approval::{self, Contributor, Wanted};
use super::commit::CommitId;
use super::compare::Comparison;
use super::drift::Answer;
use super::guards::{Guards, Mode, TrustPolicy};
use super::ledger::Fact;
use super::limits::{self, Scale};
use super::plan::Plan;
use super::reason::Reason;
use super::resource::{Desired, Digest, Id};
use super::state::{Good, Latch, LatchName, Purpose, Rollout, Standing, State};
use super::weaken::{self, Weakened};

/// How long a good state may be returned to, and how often (`GUARDS.md` 5.5).
const RETURN_WITHIN: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// How many complete counted observations clear OBSERVATION, and counted cycles without drift DRIFT (`GUARDS.md` 2).
const CLEAN_CYCLES: u32 = 3;

/// Past so many unread resources the whole target counts as unread.
const UNREAD_LISTED: usize = 100;

/// The latches that are bars: decided by this cycle's inputs alone.
const BARS: [LatchName; 5] =
    [LatchName::Freeze, LatchName::Observe, LatchName::History, LatchName::Signature, LatchName::Render];

/// What was read of the tip's desired state.
#[derive(Clone, Debug)]
pub enum Wanting<'a> {
    /// It renders.
    Rendered(&'a Desired),
    /// The source path is missing: nothing is desired.
    Missing(Arc<str>),
    /// It is not complete, and why.
    Broken(Arc<str>),
    /// The tip could not be read; nothing is known, and why.
    Unknown(Arc<str>),
}

/// Everything a judgement depends on besides the state.
pub struct Inputs<'a> {
    /// The application's name.
    pub name: &'a str,
    /// The guards in force.
    pub guards: &'a Guards,
    /// The trust policy in force.
    pub policy: &'a TrustPolicy,
    /// The digest of both.
    pub guards_digest: Digest,
    /// The tip, if it could be read.
    pub tip: Option<&'a CommitId>,
    /// What the tip desires.
    pub wanting: Wanting<'a>,
    /// Why the tip does not go on from what was verified, if so.
    pub history: Option<Reason>,
    /// Why the range to the tip does not verify; empty when it does.
    pub signature: Vec<Reason>,
    /// Why healing stops too: a key that vouched for the accepted state is revoked.
    pub accepted_revoked: Option<Reason>,
    /// Whoever signed the range.
    pub keys: Vec<Arc<str>>,
    /// Freezes in force for this application.
    pub freezes: Vec<Reason>,
    /// Why the ledger and the target do not belong together, if so.
    pub misplaced: Option<Reason>,
    /// Why the target could not be read at all, if so.
    pub unobserved: Option<Arc<str>>,
    /// What comparing found.
    pub comparison: &'a Comparison,
    /// What would promote.
    pub promote: &'a Plan,
    /// What would heal while promotion is withheld.
    pub heal: &'a Plan,
    /// What would heal beside a promotion, which settles or overwrites the rest.
    pub heal_beside: &'a Plan,
    /// What of the last batch that turned bad still does not work.
    pub unhealthy: &'a [Id],
    /// Whoever has a part in the range.
    pub contributors: &'a [Contributor],
    /// What the applications of the repository would change together, if that is too much, and its digest.
    pub fleet: Option<(Vec<Reason>, Digest)>,
    /// Why the source configuration changed (`configuration`, `renderer`), if so.
    pub reconfigured: Option<Reason>,
    /// Whether this cycle counts.
    pub counted: bool,
}

/// A latch or bar as it stands now.
#[derive(Clone, PartialEq, Debug)]
pub struct Held {
    /// Which.
    pub name: LatchName,
    /// Its state.
    pub latch: Latch,
    /// What it withholds.
    pub scope: Scope,
}

/// What a latch withholds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All writes.
    All,
    /// Promotion.
    Promotion,
    /// Healing.
    Healing,
    /// All writes of the resources that it lists.
    Listed,
    /// All but a probe.
    AllButProbe,
}

impl Scope {
    /// Returns the scope as JSON and text spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All | Self::AllButProbe | Self::Listed => "all",
            Self::Promotion => "promotion",
            Self::Healing => "healing",
        }
    }

    /// Tells whether a purpose is withheld as a whole.
    pub const fn withholds(self, purpose: Purpose) -> bool {
        match self {
            Self::All | Self::AllButProbe => true,
            Self::Listed => false,
            Self::Promotion => matches!(purpose, Purpose::Promote),
            Self::Healing => matches!(purpose, Purpose::Heal),
        }
    }
}

/// What was judged.
#[derive(Clone, PartialEq, Debug, Default)]
#[must_use]
pub struct Judgement {
    /// What changes, in order.
    pub facts: Vec<Fact>,
    /// Every latch and bar that holds after these facts.
    pub standing: Vec<Held>,
    /// The resources that may not be written although nothing withholds their purpose.
    pub withheld: BTreeSet<Id>,
}

impl Judgement {
    /// Tells whether a purpose may write.
    pub fn may(&self, purpose: Purpose) -> bool {
        !self.standing.iter().any(|standing| standing.scope.withholds(purpose))
    }

    /// Finds a latch that holds.
    pub fn latch(&self, name: LatchName) -> Option<&Held> {
        self.standing.iter().find(|standing| standing.name == name)
    }
}

/// Judges one application.
pub fn judge(state: &State, inputs: &Inputs<'_>) -> Judgement {
    let mut judge = Judge { state, inputs, out: Judgement::default() };
    judge.misplaced();
    judge.freeze();
    judge.observation();
    judge.observe();
    judge.trust();
    judge.render();
    judge.failure();
    judge.health();
    judge.promotion();
    judge.drift();
    judge.healing();
    judge.bars();
    judge.out
}

struct Judge<'a> {
    state: &'a State,
    inputs: &'a Inputs<'a>,
    out: Judgement,
}

impl Judge<'_> {
    fn known(&self, name: LatchName) -> Option<&Latch> {
        self.state.app.latches.get(&name)
    }

    fn complete(&self) -> bool {
        self.inputs.unobserved.is_none() && self.inputs.comparison.unread.is_empty()
    }

    /// Holds a bar: computed anew each cycle, never stored.
    fn bar(&mut self, name: LatchName, scope: Scope, reasons: Vec<Reason>) {
        let latch = Latch {
            since: self.state.now(),
            reasons,
            judged: None,
            digest: None,
            clean: 0,
            clean_at: 0,
            only: Vec::new(),
        };
        self.out.standing.push(Held { name, latch, scope });
    }

    /// Holds a durable latch, and journals it when it is new or its content changed.
    fn hold(&mut self, name: LatchName, scope: Scope, mut latch: Latch) {
        if let Some(known) = self.known(name) {
            latch.since = known.since;
        }
        if self.known(name) != Some(&latch) {
            self.out.facts.push(Fact::Latched { latch: name, state: Box::new(latch.clone()) });
        }
        self.out.standing.push(Held { name, latch, scope });
    }

    fn clear(&mut self, name: LatchName, by: &str) {
        if self.known(name).is_some() {
            self.out.facts.push(Fact::Cleared { latch: name, by: by.into() });
        }
    }

    fn fresh(&self, reasons: Vec<Reason>) -> Latch {
        Latch { since: self.state.now(), reasons, judged: None, digest: None, clean: 0, clean_at: 0, only: Vec::new() }
    }

    /// STATE: set here, cleared only by `reanchor`. An anchor that is gone keeps it.
    fn misplaced(&mut self) {
        let scope = Scope::All;
        if let Some(reason) = self.inputs.misplaced.clone() {
            let latch = self.fresh(vec![reason]);
            self.hold(LatchName::State, scope, latch);
        } else if let Some(known) = self.known(LatchName::State).cloned() {
            self.hold(LatchName::State, scope, known);
        }
    }

    fn freeze(&mut self) {
        if !self.inputs.freezes.is_empty() {
            self.bar(LatchName::Freeze, Scope::All, self.inputs.freezes.clone());
        }
    }

    /// OBSERVATION: three complete counted observations clear it (`GUARDS.md` 2).
    fn observation(&mut self) {
        if weaken::is(Weakened::Observation) {
            return;
        }
        let unread = &self.inputs.comparison.unread;
        if let Some(why) = &self.inputs.unobserved {
            let latch = self.fresh(vec![Reason::new("observation", format!("the target could not be read: {why}"))]);
            return self.hold(LatchName::Observation, Scope::All, latch);
        }
        if !unread.is_empty() {
            let whole = unread.len() > UNREAD_LISTED
                || self.known(LatchName::Observation).is_some_and(|known| known.only.is_empty());
            let first = unread.iter().take(3).map(|(id, why)| format!("{id}: {why}")).collect::<Vec<_>>().join("; ");
            let count = u32::try_from(unread.len()).unwrap_or(u32::MAX);
            let mut reason = Reason::new("observation", format!("{count} resources could not be read: {first}"));
            reason.observed = Some(count);
            let mut latch = self.fresh(vec![reason]);
            if !whole {
                let known = self.known(LatchName::Observation).map(|known| known.only.clone()).unwrap_or_default();
                let only: BTreeSet<Id> = known.into_iter().chain(unread.iter().map(|(id, _)| id.clone())).collect();
                latch.only = only.into_iter().collect();
                self.out.withheld.extend(latch.only.iter().cloned());
            }
            let scope = if whole { Scope::All } else { Scope::Listed };
            return self.hold(LatchName::Observation, scope, latch);
        }
        let Some(mut latch) = self.known(LatchName::Observation).cloned() else { return };
        self.count_clean(&mut latch);
        if latch.clean >= CLEAN_CYCLES {
            return self.clear(LatchName::Observation, "three complete observations");
        }
        let scope = if latch.only.is_empty() { Scope::All } else { Scope::Listed };
        self.out.withheld.extend(latch.only.iter().cloned());
        self.hold(LatchName::Observation, scope, latch);
    }

    fn count_clean(&self, latch: &mut Latch) {
        if self.inputs.counted && latch.clean_at != self.state.app.counted {
            latch.clean += 1;
            latch.clean_at = self.state.app.counted;
        }
    }

    /// OBSERVE: the mode, and the first whole cycles (`GUARDS.md` 2).
    fn observe(&mut self) {
        let watched = &self.state.app.watched;
        if self.inputs.guards.mode == Mode::Observe {
            let reason =
                Reason::new("mode", "mode is observe: nothing is written until the configuration says converge");
            self.bar(LatchName::Observe, Scope::All, vec![reason]);
        } else if !watched.passed && !weaken::is(Weakened::Observe) {
            let reason = Reason::new("observe_for", "the first whole cycle only observes; its report is kept");
            self.bar(LatchName::Observe, Scope::All, vec![reason]);
        } else if !self.state.app.ever_converged {
            self.out.facts.push(Fact::Converging);
        }
        let enough = match self.inputs.guards.observe_for {
            super::guards::ObserveFor::Cycles(cycles) => watched.cycles >= cycles.max(1),
            super::guards::ObserveFor::Time(time) => {
                let time = jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX);
                watched.cycles >= 1 && watched.since.is_some_and(|since| self.state.now().duration_since(since) >= time)
            }
        };
        if enough && !watched.passed && self.complete() && self.inputs.misplaced.is_none() {
            self.out.facts.push(Fact::ObservedEnough);
        }
    }

    fn trust(&mut self) {
        if let Some(reason) = self.inputs.history.clone() {
            self.bar(LatchName::History, Scope::Promotion, vec![reason]);
        }
        if let Some(revoked) = self.inputs.accepted_revoked.clone() {
            let mut reasons = self.inputs.signature.clone();
            reasons.push(revoked);
            self.bar(LatchName::Signature, Scope::All, reasons);
        } else if !self.inputs.signature.is_empty() {
            self.bar(LatchName::Signature, Scope::Promotion, self.inputs.signature.clone());
        }
    }

    fn render(&mut self) {
        match &self.inputs.wanting {
            Wanting::Broken(why) => {
                self.bar(LatchName::Render, Scope::Promotion, vec![Reason::new("render", why.to_string())]);
            }
            Wanting::Unknown(why) => {
                let message = format!("the repository could not be read: {why}");
                self.bar(LatchName::Render, Scope::Promotion, vec![Reason::new("fetch", message)]);
            }
            Wanting::Rendered(_) | Wanting::Missing(_) => {}
        }
    }

    /// FAILURE: at least 3 and 25 % of the resources have open breakers (`GUARDS.md` 2).
    fn failure(&mut self) {
        let tip = self.inputs.tip.map(|tip| tip.as_str().into());
        let open = |resource: &super::state::Resource| {
            resource.trouble.as_deref().and_then(|trouble| trouble.breaker.as_ref()).is_some_and(|breaker| breaker.open)
        };
        let count =
            u32::try_from(self.state.resources.values().filter(|resource| open(resource)).count()).unwrap_or(u32::MAX);
        let n = self.state.inventory();
        let broken = count >= 3 && u64::from(count) * 4 >= u64::from(n);
        match self.known(LatchName::Failure).cloned() {
            Some(known) if known.judged != tip => self.clear(LatchName::Failure, "a new tip"),
            Some(_) if count == 0 || !broken => self.clear(LatchName::Failure, "a probe that succeeded"),
            Some(known) => self.hold(LatchName::Failure, Scope::AllButProbe, known),
            None if broken => {
                let message = format!("{count} of {n} resources failed ten times in a row");
                let mut latch = self.fresh(vec![Reason::crossed("failures", count, 2, n, message)]);
                latch.judged = tip;
                self.hold(LatchName::Failure, Scope::AllButProbe, latch);
            }
            None => {}
        }
    }

    /// HEALTH: set while acting; cleared by another tip, or by an approval once everything is healthy (`GUARDS.md` 2).
    fn health(&mut self) {
        let Some(known) = self.known(LatchName::Health).cloned() else { return };
        if known.judged.as_deref() != self.inputs.tip.map(CommitId::as_str) && self.inputs.tip.is_some() {
            return self.clear(LatchName::Health, "a new tip");
        }
        if let Some(digest) = known.digest
            && self.inputs.unhealthy.is_empty()
            && let Some((by, named)) = self.approved(&digest, None)
        {
            self.out.facts.push(Fact::ApprovalSpent { digest: named, how: "used".into() });
            return self.clear(LatchName::Health, &format!("approved by {by}"));
        }
        self.hold(LatchName::Health, Scope::Promotion, known);
    }

    fn approved(&self, digest: &Digest, change: Option<&Digest>) -> Option<(Arc<str>, Digest)> {
        let seen = self
            .state
            .app
            .plan_seen
            .as_ref()
            .filter(|(seen, _)| seen == digest)
            .map_or(self.state.now(), |(_, at)| *at);
        let wanted = Wanted { digest, change, seen, contributors: self.inputs.contributors };
        approval::find(self.state, &wanted, self.inputs.policy, self.inputs.guards)
            .map(|approval| (approval.by.clone(), approval.digest))
    }

    /// DRIFT: too much changed without a commit (`GUARDS.md` 6).
    fn drift(&mut self) {
        let drifted = &self.inputs.comparison.drift;
        let promotes = self.out.may(Purpose::Promote);
        let settled = |id: &Id| promotes && self.inputs.comparison.settled.contains(id);
        let adopted = |answer: &Answer| matches!(answer, Answer::Leave(_));
        let counts = |drift: &&super::drift::Drift| !adopted(&drift.answer) && !settled(&drift.id);
        let counted = drifted.iter().filter(counts).count();
        let missing = drifted.iter().filter(counts).filter(|drift| drift.live.is_none()).count();
        let (counted, missing) =
            (u32::try_from(counted).unwrap_or(u32::MAX), u32::try_from(missing).unwrap_or(u32::MAX));
        let n = self.state.inventory();
        if let Some(rollout) = self.state.app.rollouts.get(&Purpose::Heal)
            && matches!(rollout.standing, Standing::Approved { .. })
        {
            return self.clear(LatchName::Drift, "approved");
        }
        let reason = limits::of_drift(counted, missing, n, self.inputs.guards);
        let plan = self.heal_plan();
        let digest = (!plan.is_empty()).then_some(plan.digest);
        if let Some(digest) = digest
            && (reason.is_some() || self.known(LatchName::Drift).is_some())
            && self.approved(&digest, None).is_some()
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
                let adopts = !self.inputs.comparison.in_place.is_empty();
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

    fn desired_digest(&self) -> Option<Digest> {
        match &self.inputs.wanting {
            Wanting::Rendered(desired) => Some(desired.digest()),
            Wanting::Missing(_) => Some(Desired { inputs: Digest::of_parts([b"missing"]), wants: Vec::new() }.digest()),
            Wanting::Broken(_) | Wanting::Unknown(_) => None,
        }
    }

    /// PLAN, and the rollout of a promotion.
    fn promotion(&mut self) {
        let (Some(desired), Some(tip)) = (self.desired_digest(), self.inputs.tip.cloned()) else {
            return self.keep_plan_latch();
        };
        let trusted =
            self.inputs.signature.is_empty() && self.inputs.history.is_none() && self.inputs.accepted_revoked.is_none();
        if self.state.app.rollouts.contains_key(&Purpose::Promote) {
            match self.cancelled(desired, trusted) {
                Some(why) => self.out.facts.push(Fact::RolloutEnded { purpose: Purpose::Promote, how: why }),
                None => return self.go_on(),
            }
        }
        self.judge_plan(desired, &tip);
        if !self.out.may(Purpose::Promote) {
            return;
        }
        self.settle_in_place();
        if self.inputs.promote.is_empty() {
            return self.converged(&tip, desired);
        }
        self.start_promotion(&tip, desired);
    }

    fn keep_plan_latch(&mut self) {
        if let Some(known) = self.known(LatchName::Plan).cloned() {
            self.hold(LatchName::Plan, Scope::Promotion, known);
        }
    }

    /// Says why a promotion under way is cancelled, if it is (`GUARDS.md` 1, *rollout*).
    fn cancelled(&self, desired: Digest, trusted: bool) -> Option<Arc<str>> {
        let rollout = self.state.app.rollouts.get(&Purpose::Promote)?;
        if !trusted {
            return Some("the range no longer verifies".into());
        }
        if rollout.desired != desired {
            return Some("another desired state".into());
        }
        self.moved_on(Purpose::Promote, self.inputs.promote)
            .map(|id| format!("{id} changed while it was still unwritten").into())
    }

    /// Finds an unwritten operation of a rollout that is no longer what the world needs.
    fn moved_on(&self, purpose: Purpose, plan: &Plan) -> Option<&Id> {
        let parked = plan.parked.iter().map(|parked| &parked.op);
        let held = self.inputs.comparison.conflicts.iter().map(|conflict| &conflict.op);
        let now: std::collections::BTreeMap<&Id, &super::op::Op> =
            plan.ops.iter().chain(parked).chain(held).map(|op| (&op.id, op)).collect();
        let unread: BTreeSet<&Id> = self.inputs.comparison.unread.iter().map(|(id, _)| id).collect();
        let unobserved = self.inputs.unobserved.is_some();
        let slots = self.state.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX)).map(|(_, slot)| slot);
        slots
            .filter(|slot| slot.state != super::state::OpState::Done)
            .map(|slot| &slot.op)
            .find(|op| {
                let same = now.get(&op.id).is_some_and(|current| {
                    current.verb == op.verb
                        && current.to == op.to
                        && current.from.as_ref().map(|(digest, _)| digest) == op.from.as_ref().map(|(digest, _)| digest)
                });
                !same && !unobserved && !unread.contains(&op.id) && !self.already_done(op)
            })
            .map(|op| &op.id)
    }

    fn already_done(&self, op: &super::op::Op) -> bool {
        let comparison = self.inputs.comparison;
        comparison.in_place.iter().any(|(id, accepted)| *id == op.id && Some(accepted.desired) == op.to)
            || (op.to.is_none() && comparison.gone.contains(&op.id))
    }

    /// A rollout goes on; what it wrote without the ledger knowing is found done.
    fn go_on(&mut self) {
        self.finish_found(Purpose::Promote);
        if let Some(known) = self.known(LatchName::Plan).cloned() {
            // A plan latch beside a rollout can only be a leftover of what the rollout was approved for.
            let _ = known;
            self.clear(LatchName::Plan, "its rollout is under way");
        }
    }

    fn finish_found(&mut self, purpose: Purpose) {
        let comparison = self.inputs.comparison;
        let slots = self.state.rollout_ops.range((purpose, 0)..=(purpose, u32::MAX));
        for ((_, index), slot) in slots.filter(|(_, slot)| slot.state != super::state::OpState::Done) {
            if !self.already_done(&slot.op) {
                continue;
            }
            let accepted = comparison
                .in_place
                .iter()
                .find(|(id, _)| *id == slot.op.id)
                .map(|(_, accepted)| Box::new(accepted.clone()));
            self.out.facts.push(Fact::FoundDone { purpose, index: *index, accepted, id: slot.op.id.clone() });
        }
    }

    fn judge_plan(&mut self, desired: Digest, tip: &CommitId) {
        let plan = self.inputs.promote;
        let judged: Arc<str> = desired.to_string().into();
        let latched = self.known(LatchName::Plan).cloned();
        let mut reasons = self.plan_reasons();
        if plan.is_empty() && reasons.is_empty() {
            if self.complete() {
                self.clear(LatchName::Plan, "nothing is left to change");
                return;
            }
            return self.keep_plan_latch();
        }
        if let Some((fleet, digest)) = self.inputs.fleet.clone() {
            if self.approved(&digest, None).is_none() {
                let mut latch = self.fresh(fleet);
                latch.judged = Some(judged);
                latch.digest = Some(digest);
                return self.hold(LatchName::Plan, Scope::Promotion, latch);
            }
        }
        let same_desired = latched.as_ref().is_some_and(|latch| latch.judged.as_ref() == Some(&judged));
        if reasons.is_empty() && same_desired {
            // Never time, never a restart: only an approval or another desired state lets it go.
            let known = latched.iter().flat_map(|latch| &latch.reasons);
            reasons = known.filter(|reason| &*reason.code != "approval").cloned().collect();
        }
        if reasons.is_empty() {
            return self.clear(LatchName::Plan, "the plan of the new tip passes");
        }
        if self.standing_of_plan(desired).is_some() {
            return self.clear(LatchName::Plan, "approved");
        }
        if self.state.app.plan_seen.as_ref().is_none_or(|(digest, _)| *digest != plan.digest) {
            self.out.facts.push(Fact::PlanSeen { digest: plan.digest });
        }
        let _ = tip;
        reasons.extend(self.refusals(plan));
        let mut latch = self.fresh(reasons);
        latch.judged = Some(judged);
        latch.digest = Some(plan.digest);
        self.hold(LatchName::Plan, Scope::Promotion, latch);
    }

    /// Says which approvals of a plan do not count, and why.
    fn refusals(&self, plan: &Plan) -> Vec<Reason> {
        let seen = self.state.app.plan_seen.as_ref().map_or(self.state.now(), |(_, at)| *at);
        let wanted =
            Wanted { digest: &plan.digest, change: Some(&plan.change), seen, contributors: self.inputs.contributors };
        let given = self.state.app.approvals.iter();
        let given = given.filter(|approval| approval.digest == plan.digest || approval.digest == plan.change);
        let refused = given.filter_map(|approval| {
            let why = if approval.used {
                Some("it was used before; an approval serves once".to_owned())
            } else {
                approval::refusal(&approval.by, &wanted, self.inputs.policy, self.inputs.guards, self.state.now())
            };
            why.map(|why| Reason::new("approval", format!("the approval by {} is refused: {why}", approval.by)))
        });
        refused.collect()
    }

    /// Returns every limit that the plan crosses, exemptions of a return apart.
    fn plan_reasons(&self) -> Vec<Reason> {
        let guards = self.inputs.guards;
        let plan = self.inputs.promote;
        let mut reasons = Vec::new();
        let (count, empty) = match &self.inputs.wanting {
            Wanting::Rendered(desired) if desired.wants.is_empty() => {
                (0, Some("the source path renders nothing".to_owned()))
            }
            Wanting::Missing(why) => (0, Some(why.to_string())),
            Wanting::Rendered(desired) => (desired.wants.len(), None),
            Wanting::Broken(_) | Wanting::Unknown(_) => (0, None),
        };
        if let Some(why) = empty.filter(|_| guards.empty_desired_halts && !weaken::is(Weakened::EmptyDesired)) {
            reasons.push(Reason::new("empty_desired", format!("{why}: nothing would be left")));
        }
        if let Some(reason) = self.inputs.reconfigured.clone().filter(|_| !plan.is_empty()) {
            reasons.push(reason);
        }
        let shortest = guards.window_deletes.keys().chain(guards.window_changes.keys()).min().copied();
        let now = self.state.inventory();
        let n = shortest.map_or(now, |window| self.state.largest(window));
        let scale = Scale { now, n, desired: u32::try_from(count).unwrap_or(u32::MAX) };
        if self.returns().is_some() {
            return reasons;
        }
        reasons.extend(limits::of_magnitude(&plan.magnitude, scale, guards));
        reasons.extend(limits::of_groups(&plan.ops, self.state, guards));
        reasons.extend(limits::of_windows(&plan.ops, self.state, guards));
        reasons
    }

    /// Finds the good state that the plan returns to, if it may (`GUARDS.md` 5.5).
    fn returns(&self) -> Option<&Good> {
        let desired = self.desired_digest()?;
        let now = self.state.now();
        let lately = |at: jiff::Timestamp| now.duration_since(at) < RETURN_WITHIN;
        if self.state.app.returned.is_some_and(lately) && !weaken::is(Weakened::Return) {
            return None;
        }
        let good = self.state.app.good.iter().find(|good| good.desired == desired && lately(good.at))?;
        let created_since = |id: &Id| {
            let accepted = self.state.resources.get(id).and_then(|resource| resource.accepted.as_ref());
            accepted.and_then(|accepted| accepted.created).is_some_and(|created| created >= good.at)
        };
        let removes = |op: &&super::op::Op| op.verb == super::op::Verb::Delete;
        self.inputs.promote.ops.iter().filter(removes).all(|op| created_since(&op.id)).then_some(good)
    }

    fn standing_of_plan(&self, _desired: Digest) -> Option<Standing> {
        let plan = self.inputs.promote;
        let (by, digest) = self.approved(&plan.digest, Some(&plan.change))?;
        Some(Standing::Approved { by, digest })
    }

    /// Takes over what was found already in place, and drops what is neither desired nor there.
    fn settle_in_place(&mut self) {
        let comparison = self.inputs.comparison;
        for (id, accepted) in &comparison.in_place {
            self.out.facts.push(Fact::Accepted { id: id.clone(), accepted: Box::new(accepted.clone()) });
        }
        for id in &comparison.gone {
            self.out.facts.push(Fact::Forgotten { id: id.clone() });
        }
    }

    fn start_promotion(&mut self, tip: &CommitId, desired: Digest) {
        let plan = self.inputs.promote;
        let mut standing = Standing::Passed;
        if self.returns().is_some() {
            standing = Standing::Return;
        }
        if let Some(approved) = self.standing_of_plan(desired) {
            standing = approved;
        }
        if let Some((_, digest)) = &self.inputs.fleet
            && let Some((by, digest)) = self.approved(digest, None)
        {
            standing = Standing::Approved { by, digest };
        } else if let Standing::Approved { digest, .. } = &standing {
            self.out.facts.push(Fact::ApprovalSpent { digest: *digest, how: "used".into() });
        }
        for op in &plan.ops {
            if op.nature.protected
                && let Some((_, digest)) = self.approved(&op.digest(), None)
            {
                self.out.facts.push(Fact::ApprovalSpent { digest, how: "used".into() });
            }
        }
        self.out.facts.push(Fact::Verified { commit: tip.clone(), keys: self.inputs.keys.clone() });
        self.start(plan, tip.clone(), desired, standing);
    }

    fn start(&mut self, plan: &Plan, commit: CommitId, desired: Digest, standing: Standing) {
        let total = u32::try_from(plan.ops.len()).unwrap_or(u32::MAX);
        let deletes = plan.ops.iter().filter(|op| op.verb == super::op::Verb::Delete).count();
        let deletes = u32::try_from(deletes).unwrap_or(u32::MAX);
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
            total,
            done: 0,
            writes_left: total - deletes,
            batch: None,
            unhealthy: Vec::new(),
        };
        self.out.facts.push(Fact::RolloutStarted {
            purpose: plan.purpose,
            rollout: Box::new(rollout),
            ops: plan.ops.clone(),
        });
    }

    /// Nothing is left to write for the tip.
    fn converged(&mut self, tip: &CommitId, desired: Digest) {
        if !self.complete() {
            return;
        }
        let parked = !self.inputs.promote.parked.is_empty() || !self.inputs.comparison.conflicts.is_empty();
        let drifted =
            self.inputs.comparison.drift.iter().any(|drift| !self.inputs.comparison.settled.contains(&drift.id));
        let good = !parked && !drifted;
        let known = self.state.app.good.iter().any(|known| {
            known.desired == desired && self.state.now().duration_since(known.at) < jiff::SignedDuration::from_mins(10)
        });
        let there = self.state.app.converged.as_ref() == Some(tip);
        if there && (known || !good) {
            return;
        }
        if self.state.app.last_verified.as_ref() != Some(tip) {
            self.out.facts.push(Fact::Verified { commit: tip.clone(), keys: self.inputs.keys.clone() });
        }
        let seen = self.state.app.sights.get(tip).filter(|_| !there);
        let seconds = seen.map(|at| self.state.now().duration_since(*at).as_secs().try_into().unwrap_or(0));
        self.out.facts.push(Fact::Converged { commit: tip.clone(), desired, good, seconds, skipped: Vec::new() });
    }

    /// Returns what would heal now: all drift while promotion is withheld, otherwise what promotion leaves.
    fn heal_plan(&self) -> &'_ Plan {
        if self.out.may(Purpose::Promote) { self.inputs.heal_beside } else { self.inputs.heal }
    }

    /// Notes since when bars hold: they are computed anew each cycle, but people want to know.
    fn bars(&mut self) {
        let stored = |name: LatchName| self.state.app.latches.contains_key(&name);
        for held in &mut self.out.standing {
            match self.state.app.bars.get(&held.name) {
                Some(since) => held.latch.since = *since,
                None if !BARS.contains(&held.name) || stored(held.name) => {}
                None => self.out.facts.push(Fact::Barred { bar: held.name }),
            }
        }
        for bar in self.state.app.bars.keys() {
            if !self.out.standing.iter().any(|held| held.name == *bar) {
                self.out.facts.push(Fact::Unbarred { bar: *bar });
            }
        }
    }

    /// The rollout of healing: begun, gone on with, or begun anew when the drift is another.
    fn healing(&mut self) {
        let plan = if self.out.may(Purpose::Promote) { self.inputs.heal_beside } else { self.inputs.heal };
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
        if !self.out.may(Purpose::Heal) || plan.is_empty() {
            return;
        }
        let approved = self.approved(&plan.digest, None);
        let standing = approved.map_or(Standing::Passed, |(by, digest)| {
            self.out.facts.push(Fact::ApprovalSpent { digest, how: "used".into() });
            Standing::Approved { by, digest }
        });
        let commit = self.state.app.converged.clone().unwrap_or_else(|| CommitId::new(""));
        self.start(plan, commit, plan.digest, standing);
    }
}
