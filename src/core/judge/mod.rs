//! Judges: which latches hold, what they withhold, which rollouts begin, go on or are cancelled (`GUARDS.md` 2, 5 and 6).
//!
//! Called once a cycle, after everything was read and compared, in every state. Returns facts; changes nothing itself.

mod bars;
mod drift;
mod plan;
mod promotion;
mod rollout;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::approval::{self, Contributor, Wanted};
use super::commit::CommitId;
use super::compare::Comparison;
use super::culprit::CommitEffect;
use super::guards::{Guards, TrustPolicy};
use super::ledger::Fact;
use super::plan::Plan;
use super::reason::Reason;
use super::resource::{Desired, Digest, Id};
use super::state::{Latch, LatchName, Purpose, State};

/// How many complete counted observations clear OBSERVATION, and counted cycles without drift DRIFT (`GUARDS.md` 2).
const CLEAN_CYCLES: u32 = 3;

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

/// A commit before the culprit that may be promoted to while the rest of the range is held (`GUARDS.md` 3.5).
#[derive(Clone, PartialEq, Debug)]
pub struct Prefix {
    /// The commit.
    pub commit: CommitId,
    /// Everything that it desires.
    pub wants: Arc<Desired>,
    /// Whoever vouches for the range up to it.
    pub keys: Vec<Arc<str>>,
    /// What comparing with it found.
    pub comparison: Comparison,
    /// What would promote to it.
    pub promote: Plan,
    /// What would heal beside that.
    pub heal_beside: Plan,
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
    /// The newest commit before the culprit, where the guards let it be followed.
    pub prefix: Option<&'a Prefix>,
    /// What each commit of the range does by itself, oldest first.
    pub commits: &'a [CommitEffect],
    /// What of the last batch that turned bad still does not work.
    pub unhealthy: &'a [Id],
    /// Whoever has a part in the range.
    pub contributors: &'a [Contributor],
    /// What is too much of what the applications of the repository would change together, and the digest of it all; none
    /// where there is only one application.
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
    /// Promotion beyond the last good commit.
    Beyond,
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
            Self::Promotion | Self::Beyond => "promotion",
            Self::Healing => "healing",
        }
    }

    /// Tells whether a purpose is withheld as a whole.
    pub const fn withholds(self, purpose: Purpose) -> bool {
        match self {
            Self::All | Self::AllButProbe => true,
            Self::Listed | Self::Beyond => false,
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
    /// Whether promotion leads to the last good commit instead of to the tip.
    pub to_prefix: bool,
}

impl Judgement {
    /// Tells whether a purpose may write.
    pub fn may(&self, purpose: Purpose) -> bool {
        !self.standing.iter().any(|standing| standing.scope.withholds(purpose))
    }

    /// Tells whether a rollout of a purpose may begin: FAILURE leaves it to a probe, and withholds nothing but the writes.
    pub fn may_begin(&self, purpose: Purpose) -> bool {
        let withholds = |held: &Held| held.scope != Scope::AllButProbe && held.scope.withholds(purpose);
        !self.standing.iter().any(withholds)
    }

    /// Tells whether a purpose may only probe (FAILURE, `GUARDS.md` 2).
    pub fn may_probe(&self, purpose: Purpose) -> bool {
        !self.may(purpose) && self.may_begin(purpose)
    }

    /// Tells whether promotion is free and has nothing left to do.
    pub fn is_settled(&self, inputs: &Inputs<'_>) -> bool {
        let whole = inputs.unobserved.is_none() && inputs.comparison.unread.is_empty();
        whole && inputs.tip.is_some() && self.may(Purpose::Promote) && inputs.promote.is_empty()
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
    judge.parts();
    judge.bars();
    judge.out
}

struct Judge<'a> {
    state: &'a State,
    inputs: &'a Inputs<'a>,
    out: Judgement,
}

/// Where promotion leads, and what that takes.
#[derive(Clone, Copy)]
struct Goal<'a> {
    commit: &'a CommitId,
    /// Absent where the source path is missing: nothing is desired.
    wants: Option<&'a Desired>,
    desired: Digest,
    keys: &'a [Arc<str>],
    comparison: &'a Comparison,
    promote: &'a Plan,
    heal_beside: &'a Plan,
}

impl<'a> Judge<'a> {
    fn known(&self, name: LatchName) -> Option<&'a Latch> {
        self.state.app.latches.get(&name)
    }

    fn complete(&self) -> bool {
        self.inputs.unobserved.is_none() && self.inputs.comparison.unread.is_empty()
    }

    /// Holds a bar: computed anew each cycle, never stored.
    fn bar(&mut self, name: LatchName, scope: Scope, reasons: Vec<Reason>) {
        let latch = self.fresh(reasons);
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
        Latch {
            since: self.state.now(),
            reasons,
            judged: None,
            digest: None,
            wrote: None,
            clean: 0,
            clean_at: 0,
            only: Vec::new(),
        }
    }

    fn count_clean(&self, latch: &mut Latch) {
        if self.inputs.counted && latch.clean_at != self.state.app.counted {
            latch.clean += 1;
            latch.clean_at = self.state.app.counted;
        }
    }

    /// Finds the approval that lets a part of a promotion go: by nobody who has a part in the range.
    fn approved(&self, digest: &Digest, change: Option<&Digest>) -> Option<(Arc<str>, Digest)> {
        self.approved_by(digest, change, self.inputs.contributors)
    }

    /// Finds the approval that lets drift be reverted: nobody wrote that.
    fn approved_drift(&self, digest: &Digest) -> Option<(Arc<str>, Digest)> {
        self.approved_by(digest, None, &[])
    }

    fn approved_by(
        &self,
        digest: &Digest,
        change: Option<&Digest>,
        contributors: &[Contributor],
    ) -> Option<(Arc<str>, Digest)> {
        let seen = self.state.app.plan_seen.as_ref().filter(|(seen, _)| seen == digest);
        let seen = seen.map_or(self.state.now(), |(_, at)| *at);
        let wanted = Wanted { digest, change, seen, contributors };
        approval::find(self.state, &wanted, self.inputs.policy, self.inputs.guards)
            .map(|approval| (approval.by.clone(), approval.digest))
    }

    /// Remembers who may not approve what is held, so that they are refused at once.
    fn parts(&mut self) {
        let plan = self.inputs.promote;
        let held =
            self.out.latch(LatchName::Plan).map(|held| [held.latch.digest, Some(plan.digest), Some(plan.change)]);
        let digests = held.into_iter().flatten().flatten().collect();
        let parts = approval::parts(self.state, digests, self.inputs.contributors);
        if parts != self.state.app.parts {
            self.out.facts.push(Fact::Contributed { parts });
        }
    }

    /// Returns where promotion leads, if the tip is known.
    fn goal(&self) -> Option<Goal<'a>> {
        let inputs = self.inputs;
        if let Some(prefix) = inputs.prefix.filter(|_| self.out.to_prefix) {
            return Some(Goal {
                commit: &prefix.commit,
                wants: Some(&*prefix.wants),
                desired: prefix.wants.digest(),
                keys: &prefix.keys,
                comparison: &prefix.comparison,
                promote: &prefix.promote,
                heal_beside: &prefix.heal_beside,
            });
        }
        Some(Goal {
            commit: inputs.tip?,
            wants: match &inputs.wanting {
                Wanting::Rendered(wants) => Some(*wants),
                _ => None,
            },
            desired: self.desired_digest()?,
            keys: &inputs.keys,
            comparison: inputs.comparison,
            promote: inputs.promote,
            heal_beside: inputs.heal_beside,
        })
    }

    /// Returns what comparing found with where promotion leads.
    fn comparison(&self) -> &'a Comparison {
        self.inputs.prefix.filter(|_| self.out.to_prefix).map_or(self.inputs.comparison, |prefix| &prefix.comparison)
    }

    fn desired_digest(&self) -> Option<Digest> {
        match &self.inputs.wanting {
            Wanting::Rendered(desired) => Some(desired.digest()),
            Wanting::Missing(_) => Some(Desired::missing().digest()),
            Wanting::Broken(_) | Wanting::Unknown(_) => None,
        }
    }
}
