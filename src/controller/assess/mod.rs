//! One cycle up to its judgement: fetch, verify, render, observe, compare, plan, measure, judge.
//!
//! No step before the judgement ends the cycle: what failed is a value that the judgement sees, so that "every state still
//! reports" is structure, not discipline.

mod plans;
mod range;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::plans::{Plans, plans, prefix};
pub use self::range::along;
use super::edges::{Ledger, LedgerError, Read, Rendered, Trusted};
use crate::core::claims::{self, Claims};
use crate::core::clock::Clock;
use crate::core::commit::CommitId;
use crate::core::compare::{Comparison, View, compare};
use crate::core::culprit::CommitEffect;
use crate::core::drift::ignored_paths;
use crate::core::expect::Expect;
use crate::core::freeze::FreezeState;
use crate::core::govern::{InForce, govern};
use crate::core::guards::{DriftPolicies, Guards, TrustPolicy};
use crate::core::judge::{Inputs, Judgement, Prefix, Wanting, judge};
use crate::core::ledger::Fact;
use crate::core::plan::{Details, Plan};
use crate::core::reason::Reason;
use crate::core::rehearse;
use crate::core::resource::{Desired, Digest, Live, Observed};
use crate::core::state::{Governing, Identity, LatchName, Purpose, State};
use crate::core::weaken::{self, Weakened};

/// How many times a judgement is made anew because another process wrote to the ledger meanwhile.
const TRIES: usize = 5;

/// What is configured of an application, as the loop needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: Arc<str>,
    /// Its guards.
    pub guards: Guards,
    /// Its trust policy.
    pub policy: TrustPolicy,
    /// The digest of both and the target.
    pub guards_digest: Digest,
    /// Which source and target it is about.
    pub identity: Identity,
    /// What is too much of what the applications of the repository would change together, and the digest of it all.
    pub fleet: Option<(Vec<Reason>, Digest)>,
    /// What other applications on the same target claim.
    pub claims: Claims,
    /// Why the ledger cannot be relied on, if so.
    pub unreliable: Option<Reason>,
}

impl Settings {
    /// Returns the configuration as it would govern.
    fn governing(&self) -> Governing {
        Governing { guards: self.guards.clone(), trust: self.policy.clone(), digest: self.guards_digest }
    }
}

/// Everything one cycle found and decided.
#[derive(Debug)]
pub struct Assessment {
    /// When it began, in wall time.
    pub started: Timestamp,
    /// The uptime in milliseconds as of which the tip is known.
    pub fetched_at: i64,
    /// Whether it counted.
    pub counted: bool,
    /// Whether everything was read.
    pub complete: bool,
    /// The tip, or why there is none.
    pub tip: Result<CommitId, Arc<str>>,
    /// The range's verdict, or why there is none.
    pub trusted: Result<Trusted, Arc<str>>,
    /// What the tip desires.
    pub rendered: Rendered,
    /// What was observed.
    pub observed: Observed,
    /// What comparing found.
    pub comparison: Comparison,
    /// What would promote.
    pub promote: Plan,
    /// What would heal now.
    pub heal: Plan,
    /// The newest commit before the culprit, where the guards let it be followed.
    pub prefix: Option<Prefix>,
    /// What changes inside the resources of both.
    pub details: Details,
    /// The first-parent commits that are not yet converged to, oldest first.
    pub commits: Vec<CommitEffect>,
    /// The guards that were in force.
    pub guards: Guards,
    /// What the configuration loosens and is held for an approval: the parameters and the digest to approve.
    pub loosened: Option<(Vec<String>, Digest)>,
    /// The judgement.
    pub judgement: Judgement,
}

impl Assessment {
    /// Returns what comparing found with a commit that promotion leads to, and the plan.
    pub fn toward(&self, commit: &CommitId) -> (&Comparison, &Plan) {
        match self.prefix.as_ref().filter(|prefix| prefix.commit == *commit) {
            Some(prefix) => (&prefix.comparison, &prefix.promote),
            None => (&self.comparison, &self.promote),
        }
    }

    /// Returns what a commit that promotion leads to desires; none where its source path is missing.
    pub fn wanted(&self, commit: &CommitId) -> Option<&Desired> {
        match (self.prefix.as_ref().filter(|prefix| prefix.commit == *commit), &self.rendered) {
            (Some(prefix), _) => Some(&prefix.wants),
            (None, Rendered::Desired(desired)) => Some(desired),
            (None, _) => None,
        }
    }

    /// Returns the digest of what the tip desires, if that is known.
    pub fn tip_desired(&self) -> Option<Digest> {
        match &self.rendered {
            Rendered::Desired(desired) => Some(desired.digest()),
            Rendered::Missing(_) => Some(Desired::missing().digest()),
            Rendered::Broken(_) => None,
        }
    }

    /// Returns what comparing found with the commit that promotion leads to now.
    pub fn leading(&self) -> &Comparison {
        self.prefix.as_ref().filter(|_| self.judgement.to_prefix).map_or(&self.comparison, |prefix| &prefix.comparison)
    }
}

/// What was read before anything is decided.
struct Reads {
    started: Timestamp,
    fetched_at: i64,
    counted: bool,
    tip: Result<CommitId, Arc<str>>,
    trusted: Result<Trusted, Arc<str>>,
    rendered: Rendered,
    observed: Observed,
    behind: Option<SignedDuration>,
}

/// Runs one cycle up to its judgement, and makes the judgement durable.
///
/// # Errors
/// Only if the ledger fails: everything else is part of the assessment.
pub fn assess(
    settings: &Settings,
    read: &mut impl Read,
    ledger: &mut impl Ledger,
    state: &mut State,
) -> Result<Assessment, LedgerError> {
    let reads = read_all(settings, read, ledger, state)?;
    for _ in 0..TRIES {
        match decide(settings, read, ledger, state, &reads) {
            Err(LedgerError::Moved) => {}
            Err(error) => return Err(error),
            Ok(decided) => return Ok(decided.into_assessment(reads)),
        }
    }
    Err(LedgerError::Failed("make the judgement durable: other processes kept writing to the ledger".to_owned()))
}

/// Reads everything, and makes durable that it was read.
fn read_all(
    settings: &Settings,
    read: &mut impl Read,
    ledger: &mut impl Ledger,
    state: &mut State,
) -> Result<Reads, LedgerError> {
    let reading = read.clock();
    let tip = read.fetch();
    let fetched_at = read.fetched_at().unwrap_or(reading.uptime_ms);
    let mut branch = Branch::read(settings, read, state, &tip);
    let rendered = match &tip {
        Ok(tip) => read.render(tip),
        Err(why) => Rendered::Broken(why.clone()),
    };
    let drift = govern(state, &settings.governing()).guards.drift;
    let observed = observe(read, state, &rendered, &drift);
    let complete = observed.failure.is_none() && !observed.seen.iter().any(|(_, live)| matches!(live, Live::Unread(_)));
    let wanted = !matches!(rendered, Rendered::Broken(_));
    for _ in 0..TRIES {
        let known = state.app.clock.as_ref();
        let clock = known.map_or_else(|| Clock::start(&reading), |clock| clock.advance(&reading));
        let behind = known.and_then(|clock| clock.behind(&reading));
        let interval = SignedDuration::try_from(settings.guards.interval).unwrap_or(SignedDuration::MAX);
        let counted = state.app.counted_at.is_none_or(|at| clock.now.duration_since(at) >= interval);
        let mut facts = vec![Fact::Cycle { clock, counted, complete, wanted }];
        facts.extend(branch.facts(state, &tip));
        match ledger.commit(state, &facts) {
            Ok(()) => {
                let Branch { trusted, .. } = branch;
                let started = reading.wall;
                return Ok(Reads { started, fetched_at, counted, tip, trusted, rendered, observed, behind });
            }
            // What a command wrote meanwhile, a freeze among it, would be lost to facts that do not know of it.
            Err(LedgerError::Moved) => branch = Branch::read(settings, read, state, &tip),
            Err(error) => return Err(error),
        }
    }
    Err(LedgerError::Failed("make the cycle durable: other processes kept writing to the ledger".to_owned()))
}

/// What the branch says, as far as it depends on what the ledger knows.
struct Branch {
    trusted: Result<Trusted, Arc<str>>,
    freezes: Option<(FreezeState, String)>,
}

impl Branch {
    fn read(settings: &Settings, read: &mut impl Read, state: &State, tip: &Result<CommitId, Arc<str>>) -> Self {
        let in_force = govern(state, &settings.governing());
        let mut trusted = tip.clone().and_then(|tip| read.trust(state, &tip, &in_force.policy));
        if let Ok(trusted) = &mut trusted {
            if weaken::is(Weakened::Signature) {
                trusted.signature.clear();
            }
            trusted.history = trusted.history.take().filter(|_| !weaken::is(Weakened::History));
        }
        let freezes = read.freeze(state, tip.as_ref().ok(), trusted.as_ref().ok());
        Self { trusted, freezes: freezes.filter(|_| !weaken::is(Weakened::FreezeAtTip)) }
    }

    fn facts(&self, state: &State, tip: &Result<CommitId, Arc<str>>) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some((state, change)) = self.freezes.clone() {
            facts.push(Fact::Freezes { state, change });
        }
        let commits = self.trusted.iter().flat_map(|trusted| &trusted.commits);
        let sights = commits.map(|judged| judged.commit.id.clone());
        let heads = self.trusted.iter().flat_map(|trusted| trusted.heads.iter().cloned());
        let pending: BTreeSet<CommitId> = sights.chain(heads).chain(tip.iter().cloned()).collect();
        facts.extend(standing::sightings(state, &pending, self.trusted.is_ok()));
        for approval in self.trusted.iter().flat_map(|trusted| &trusted.approvals) {
            if !state.app.approvals.iter().any(|known| known.digest == approval.digest && known.by == approval.by) {
                facts.push(Fact::Approved { approval: approval.clone() });
            }
        }
        facts
    }
}

/// Commits facts that hold whatever other processes wrote meanwhile.
///
/// For nothing else: a fact that says what is left of something undoes what a command changed of it in between.
///
/// Returns whether they wrote: then whatever was decided before must be decided again.
pub(super) fn commit(ledger: &mut impl Ledger, state: &mut State, facts: &[Fact]) -> Result<bool, LedgerError> {
    for tried in 0..TRIES {
        match ledger.commit(state, facts) {
            Err(LedgerError::Moved) => {}
            other => return other.map(|()| tried > 0),
        }
    }
    Err(LedgerError::Failed("write to the ledger: other processes kept writing to it".to_owned()))
}

fn observe(read: &mut impl Read, state: &State, rendered: &Rendered, drift: &DriftPolicies) -> Observed {
    let wants = match rendered {
        Rendered::Desired(desired) => desired.wants(),
        Rendered::Missing(_) | Rendered::Broken(_) => &[],
    };
    let mut expect = Vec::with_capacity(wants.len().max(state.resources.len()));
    let mut wants = wants.iter().map(|want| &want.id).peekable();
    for (id, resource) in &state.resources {
        let Some(accepted) = resource.accepted.as_deref() else { continue };
        while let Some(want) = wants.next_if(|want| *want < id) {
            expect.push(Expect::new(want));
        }
        wants.next_if_eq(&id);
        expect.push(Expect { accepted: Some(accepted), ..Expect::new(id) });
    }
    expect.extend(wants.map(Expect::new));
    // What a rollout that leads elsewhere is still to write is looked at all the same.
    let asked = expect.len();
    for id in state.to_be_written() {
        if expect[..asked].binary_search_by(|expect| expect.id.cmp(id)).is_err() {
            expect.push(Expect::new(id));
        }
    }
    if expect.len() > asked {
        expect.sort_by_key(|expect| expect.id);
        expect.dedup_by_key(|expect| expect.id);
    }
    // Nearly nobody has any.
    let ignored: Vec<Vec<Arc<str>>> = match drift.ignore.iter().any(|ignore| !ignore.paths.is_empty()) {
        true => expect.iter().map(|expect| ignored_paths(expect.id, drift)).collect(),
        false => Vec::new(),
    };
    for (expect, ignored) in expect.iter_mut().zip(&ignored) {
        expect.ignore = Some(ignored);
    }
    read.observe(&expect)
}

/// What was decided from what was read.
struct Decided {
    comparison: Comparison,
    plans: Plans,
    prefix: Option<Prefix>,
    commits: Vec<CommitEffect>,
    in_force: InForce,
    judgement: Judgement,
}

impl Decided {
    fn into_assessment(self, reads: Reads) -> Assessment {
        let Plans { promote, heal, heal_beside, details } = self.plans;
        let to_prefix = self.prefix.as_ref().filter(|_| self.judgement.to_prefix);
        let heal = match to_prefix {
            Some(prefix) => prefix.heal_beside.clone(),
            None if self.judgement.may_begin(Purpose::Promote) => heal_beside,
            None => heal,
        };
        Assessment {
            started: reads.started,
            fetched_at: reads.fetched_at,
            counted: reads.counted,
            complete: reads.observed.failure.is_none() && self.comparison.unread.is_empty(),
            tip: reads.tip,
            trusted: reads.trusted,
            rendered: reads.rendered,
            observed: reads.observed,
            comparison: self.comparison,
            promote,
            heal,
            prefix: self.prefix,
            details,
            commits: self.commits,
            guards: self.in_force.guards,
            loosened: self.in_force.waiting,
            judgement: self.judgement,
        }
    }
}

/// Compares, plans, measures and judges what was read, and makes the judgement durable.
fn decide(
    settings: &Settings,
    read: &mut impl Read,
    ledger: &mut impl Ledger,
    state: &mut State,
    reads: &Reads,
) -> Result<Decided, LedgerError> {
    let in_force = govern(state, &settings.governing());
    let guards = &in_force.guards;
    let before: Vec<Fact> = in_force.facts.iter().cloned().chain(standing::fought(state, guards)).collect();
    ledger.commit(state, &before)?;
    let comparison = rehearsed(settings, read, state, &reads.observed, compare_tip(state, reads, guards));
    let wanted = !matches!(wanting(reads), Wanting::Broken(_) | Wanting::Unknown(_));
    let seen = standing::remember(&comparison, &reads.observed, state, guards, reads.counted, wanted);
    ledger.commit(state, &seen)?;
    let commits = range::effects(read, state, reads, guards);
    let contributors = range::contributors(reads, &commits);
    let plans = plans(settings, &in_force, read, state, reads, &comparison);
    let prefix = prefix(settings, &in_force, read, state, reads, &commits);
    let unhealthy = match state.app.latches.get(&LatchName::Health) {
        Some(latch) => read.unhealthy(&latch.only.clone()),
        None => Vec::new(),
    };
    let (history, reconfigured) = standing::identity_reasons(settings, state);
    let mut freezes = read.local_freezes(state);
    freezes.extend(ledger.freezes(state.now()));
    // Those of this machine were read just now.
    let active = state.app.freeze.active(&settings.name, state.now()).into_iter().filter(|frozen| !frozen.is_local());
    freezes.extend(active.map(crate::core::freeze::reason));
    let trusted = reads.trusted.as_ref();
    let inputs = Inputs {
        name: &settings.name,
        guards,
        policy: &in_force.policy,
        guards_digest: settings.guards_digest,
        tip: reads.tip.as_ref().ok(),
        wanting: wanting(reads),
        history: history.or_else(|| trusted.ok().and_then(|trusted| trusted.history.clone())),
        signature: range::signature(reads),
        accepted_revoked: trusted.ok().and_then(|trusted| trusted.accepted_revoked.clone()),
        keys: trusted.map(|trusted| trusted.keys.clone()).unwrap_or_default(),
        freezes,
        misplaced: standing::misplaced(settings, ledger, state, reads),
        unobserved: reads.observed.failed(),
        comparison: &comparison,
        promote: &plans.promote,
        heal: &plans.heal,
        heal_beside: &plans.heal_beside,
        prefix: prefix.as_ref(),
        commits: &commits,
        unhealthy: &unhealthy,
        contributors: &contributors,
        fleet: settings.fleet.clone(),
        reconfigured,
        counted: reads.counted,
    };
    let mut judgement = judge(state, &inputs);
    // Another path or renderer is what the ledger is about once everything is as it wants it, and not before: what is left of
    // a rollout that was cancelled is held again.
    let moved_in = inputs.reconfigured.is_some() && judgement.is_settled(&inputs);
    // What renders is not known while its program is missing.
    let first = state.app.identity.is_none() && !settings.identity.renderer.is_empty();
    if first || moved_in {
        judgement.facts.push(Fact::Identified { identity: settings.identity.clone() });
    }
    range::name_poison(&mut judgement, state, &commits);
    ledger.commit(state, &judgement.facts)?;
    Ok(Decided { comparison, plans, prefix, commits, in_force, judgement })
}

/// Asks the other applications and the target about what comparing found before anything is concluded from it.
fn rehearsed(
    settings: &Settings,
    read: &mut impl Read,
    state: &State,
    observed: &Observed,
    mut comparison: Comparison,
) -> Comparison {
    claims::apply(&mut comparison, &settings.claims, &settings.name, state);
    let said = read.rehearse(state, &rehearse::suspects(&comparison));
    rehearse::apply(&mut comparison, &said, observed, state);
    comparison
}

/// Compares with what the tip wants. A path that is missing wants nothing: the plan shows what that would take away.
fn compare_tip(state: &State, reads: &Reads, guards: &Guards) -> Comparison {
    if reads.observed.failure.is_some() {
        return Comparison::default();
    }
    let nothing = Desired::missing();
    let desired = match (&reads.rendered, &reads.tip) {
        (Rendered::Desired(desired), Ok(tip)) => Some((desired.as_ref(), tip)),
        (Rendered::Missing(_), Ok(tip)) => Some((&nothing, tip)),
        _ => None,
    };
    compare(View { desired, observed: &reads.observed, state, guards, now: state.now() })
}

fn wanting(reads: &Reads) -> Wanting<'_> {
    match (&reads.tip, &reads.rendered) {
        (Err(why), _) => Wanting::Unknown(why.clone()),
        (_, Rendered::Desired(desired)) => Wanting::Rendered(desired),
        (_, Rendered::Missing(why)) => Wanting::Missing(why.clone()),
        (_, Rendered::Broken(why)) => Wanting::Broken(why.clone()),
    }
}
