//! One cycle up to its judgement: fetch, verify, render, observe, compare, plan, measure, judge.
//!
//! No step before the judgement ends the cycle: what failed is a value that the judgement sees, so that "every state still
//! reports" is structure, not discipline.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::edges::{Ledger, LedgerError, Read, Rendered, Trusted};
use crate::core::approval::{Contributor, Wanted, find};
use crate::core::clock::Clock;
use crate::core::commit::CommitId;
use crate::core::compare::{Comparison, View, compare};
use crate::core::culprit::{self, CommitEffect};
use crate::core::drift;
use crate::core::guards::{Guards, TrustPolicy};
use crate::core::judge::{Inputs, Judgement, Wanting, judge};
use crate::core::ledger::Fact;
use crate::core::limits;
use crate::core::plan::{Details, Plan};
use crate::core::reason::Reason;
use crate::core::resource::{Digest, Observed};
use crate::core::state::{Governing, Identity, Purpose, State};
use crate::core::weaken::{self, Weakened};
use crate::core::{anchor, pace};

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
    /// What the applications of the repository would change together, if that is too much, and its digest.
    pub fleet: Option<(Vec<Reason>, Digest)>,
    /// Why the ledger cannot be relied on, if so.
    pub unreliable: Option<Reason>,
}

/// Everything one cycle found and decided.
#[derive(Debug)]
pub struct Assessment {
    /// When it began, in wall time.
    pub started: Timestamp,
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

/// What was read before anything is decided.
struct Reads {
    started: Timestamp,
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
    let clock = state.app.clock.as_ref().map_or_else(|| Clock::start(&reading), |clock| clock.advance(&reading));
    let behind = state.app.clock.as_ref().and_then(|clock| clock.behind(&reading));
    let interval = SignedDuration::try_from(settings.guards.interval).unwrap_or(SignedDuration::MAX);
    let counted = state.app.counted_at.is_none_or(|at| clock.now.duration_since(at) >= interval);
    let tip = read.fetch();
    let mut trusted = tip.clone().and_then(|tip| read.trust(state, &tip));
    if let Ok(trusted) = &mut trusted {
        if weaken::is(Weakened::Signature) {
            trusted.signature.clear();
        }
        trusted.history = trusted.history.take().filter(|_| !weaken::is(Weakened::History));
    }
    let freezes = read.freeze(state, tip.as_ref().ok(), trusted.as_ref().ok());
    let freezes = freezes.filter(|_| !weaken::is(Weakened::FreezeAtTip));
    let rendered = match &tip {
        Ok(tip) => read.render(tip),
        Err(why) => Rendered::Broken(why.clone()),
    };
    let observed = observe(read, state, &rendered);
    let complete = observed.failure.is_none()
        && !observed.seen.iter().any(|(_, live)| matches!(live, crate::core::resource::Live::Unread(_)));
    let mut facts = vec![Fact::Cycle { clock, counted, complete }];
    if let Some((freeze, change)) = freezes {
        facts.push(Fact::Freezes { state: freeze, change });
    }
    let sights = trusted.iter().flat_map(|trusted| &trusted.commits).map(|judged| judged.commit.id.clone());
    let new: Vec<CommitId> =
        sights.chain(tip.iter().cloned()).filter(|commit| !state.app.sights.contains_key(commit)).collect();
    if !new.is_empty() {
        facts.push(Fact::Sighted { commits: new });
    }
    for approval in trusted.iter().flat_map(|trusted| &trusted.approvals) {
        if !state.app.approvals.iter().any(|known| known.digest == approval.digest && known.by == approval.by) {
            facts.push(Fact::Approved { approval: approval.clone() });
        }
    }
    commit(ledger, state, &facts)?;
    Ok(Reads { started: reading.wall, counted, tip, trusted, rendered, observed, behind })
}

/// Commits facts that hold whatever other processes wrote meanwhile.
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

fn observe(read: &mut impl Read, state: &State, rendered: &Rendered) -> Observed {
    let mut expect: BTreeMap<&crate::core::resource::Id, Option<Digest>> = BTreeMap::new();
    for (id, resource) in &state.resources {
        if let Some(accepted) = &resource.accepted {
            expect.insert(id, Some(accepted.live));
        }
    }
    if let Rendered::Desired(desired) = rendered {
        for want in &desired.wants {
            expect.entry(&want.id).or_default();
        }
    }
    let expect: Vec<_> = expect.into_iter().collect();
    read.observe(&expect)
}

struct Decided {
    comparison: Comparison,
    promote: Plan,
    heal: Plan,
    details: Details,
    commits: Vec<CommitEffect>,
    guards: Guards,
    loosened: Option<(Vec<String>, Digest)>,
    judgement: Judgement,
}

impl Decided {
    fn into_assessment(self, reads: Reads) -> Assessment {
        Assessment {
            started: reads.started,
            counted: reads.counted,
            complete: reads.observed.failure.is_none() && self.comparison.unread.is_empty(),
            tip: reads.tip,
            trusted: reads.trusted,
            rendered: reads.rendered,
            observed: reads.observed,
            comparison: self.comparison,
            promote: self.promote,
            heal: self.heal,
            details: self.details,
            commits: self.commits,
            guards: self.guards,
            loosened: self.loosened,
            judgement: self.judgement,
        }
    }
}

fn decide(
    settings: &Settings,
    read: &mut impl Read,
    ledger: &mut impl Ledger,
    state: &mut State,
    reads: &Reads,
) -> Result<Decided, LedgerError> {
    let (guards, loosened) = govern(settings, ledger, state)?;
    let tip = reads.tip.as_ref().ok();
    let desired = match (&reads.rendered, tip) {
        (Rendered::Desired(desired), Some(tip)) => Some((desired.as_ref().clone(), tip)),
        // A path that is missing desires nothing: the plan shows what that would take away.
        (Rendered::Missing(_), Some(tip)) => {
            Some((crate::core::resource::Desired { inputs: Digest::of_parts([b"missing"]), wants: Vec::new() }, tip))
        }
        _ => None,
    };
    let comparison = if reads.observed.failure.is_some() {
        Comparison::default()
    } else {
        let desired = desired.as_ref().map(|(desired, tip)| (desired, *tip));
        compare(View { desired, observed: &reads.observed, state, guards: &guards, now: state.now() })
    };
    commit(ledger, state, &remember(&comparison, state, &guards, reads.counted))?;
    let (promote, heal, heal_beside, details) = plans(settings, read, state, &comparison, &guards);
    let commits = range_effects(read, state, reads, &guards);
    let contributors = contributors(reads, &commits);
    let trusted = reads.trusted.as_ref();
    let unverified = |why: &Arc<str>| {
        let message = format!("ancestry could not be proved: {why}");
        vec![Reason::new("ancestry_unproven", message)]
    };
    let wanting = match (&reads.tip, &reads.rendered) {
        (Err(why), _) => Wanting::Unknown(why.clone()),
        (_, Rendered::Desired(desired)) => Wanting::Rendered(desired),
        (_, Rendered::Missing(why)) => Wanting::Missing(why.clone()),
        (_, Rendered::Broken(why)) => Wanting::Broken(why.clone()),
    };
    let unhealthy = match state.app.latches.get(&crate::core::state::LatchName::Health) {
        Some(latch) => read.unhealthy(&latch.only.clone()),
        None => Vec::new(),
    };
    let (history, reconfigured) = identity_reasons(settings, state);
    let mut freezes = read.local_freezes();
    freezes.extend(ledger.freezes(state.now()));
    let active = state.app.freeze.active(&settings.name, state.now());
    freezes.extend(active.into_iter().map(crate::core::freeze::reason));
    let inputs = Inputs {
        name: &settings.name,
        guards: &guards,
        policy: &settings.policy,
        guards_digest: settings.guards_digest,
        tip,
        wanting,
        history: history.or_else(|| trusted.ok().and_then(|trusted| trusted.history.clone())),
        signature: match trusted {
            Ok(trusted) => trusted.signature.clone(),
            Err(why) if reads.tip.is_ok() => unverified(why),
            Err(_) => Vec::new(),
        },
        accepted_revoked: trusted.ok().and_then(|trusted| trusted.accepted_revoked.clone()),
        keys: trusted.map(|trusted| trusted.keys.clone()).unwrap_or_default(),
        freezes,
        misplaced: misplaced(settings, ledger, state, reads),
        unobserved: reads.observed.failure.clone(),
        comparison: &comparison,
        promote: &promote,
        heal: &heal,
        heal_beside: &heal_beside,
        unhealthy: &unhealthy,
        contributors: &contributors,
        fleet: settings.fleet.clone(),
        reconfigured,
        counted: reads.counted,
    };
    let mut judgement = judge(state, &inputs);
    if state.app.identity.is_none() {
        judgement.facts.push(Fact::Identified { identity: settings.identity.clone() });
    }
    name_poison(&mut judgement, state, &commits);
    ledger.commit(state, &judgement.facts)?;
    let heal = if judgement.may(Purpose::Promote) { heal_beside } else { heal };
    Ok(Decided { comparison, promote, heal, details, commits, guards, loosened, judgement })
}

/// Decides which configuration governs: a loosened one waits for an approval (`GUARDS.md` 3.6).
fn govern(
    settings: &Settings,
    ledger: &mut impl Ledger,
    state: &mut State,
) -> Result<(Guards, Option<(Vec<String>, Digest)>), LedgerError> {
    let new =
        Governing { guards: settings.guards.clone(), trust: settings.policy.clone(), digest: settings.guards_digest };
    let Some(old) = state.app.governing.clone().filter(|_| state.app.ever_converged) else {
        if state.app.governing.as_ref() != Some(&new) {
            commit(ledger, state, &[Fact::Governed { governing: Box::new(new), loosened: Vec::new() }])?;
        }
        return Ok((settings.guards.clone(), None));
    };
    if old == new {
        return Ok((settings.guards.clone(), None));
    }
    let loosened = crate::core::stricter::loosened(&old.guards, &new.guards, &old.trust, &new.trust);
    let wanted = Wanted { digest: &new.digest, change: None, seen: state.now(), contributors: &[] };
    let approved = find(state, &wanted, &old.trust, &old.guards).map(|approval| approval.digest);
    if loosened.is_empty() || approved.is_some() {
        let mut facts = vec![Fact::Governed { governing: Box::new(new), loosened }];
        facts.extend(approved.map(|digest| Fact::ApprovalSpent { digest, how: "used".into() }));
        commit(ledger, state, &facts)?;
        return Ok((settings.guards.clone(), None));
    }
    Ok((old.guards.stricter(&new.guards), Some((loosened, new.digest))))
}

/// Says why another source or target than the ledger's is a halt (`GUARDS.md` 3.6).
fn identity_reasons(settings: &Settings, state: &State) -> (Option<Reason>, Option<Reason>) {
    let Some(known) = &state.app.identity else { return (None, None) };
    let now = &settings.identity;
    let history = (known.url != now.url || known.branch != now.branch).then(|| {
        let message = format!(
            "the configuration names {} branch {:?}; the ledger is about {} branch {:?}",
            now.url, &*now.branch, known.url, &*known.branch
        );
        Reason::new("configuration", message)
    });
    let path = (known.path != now.path).then(|| format!("path {:?} instead of {:?}", &*now.path, &*known.path));
    let renderer =
        (known.renderer != now.renderer).then(|| format!("renderer {} instead of {}", now.renderer, known.renderer));
    let changed = path.map(|what| ("configuration", what)).or_else(|| renderer.map(|what| ("renderer", what)));
    (history, changed.map(|(code, what)| Reason::new(code, format!("the configuration changed: {what}"))))
}

fn misplaced(settings: &Settings, ledger: &impl Ledger, state: &State, reads: &Reads) -> Option<Reason> {
    if let Some(reason) = &settings.unreliable {
        return Some(reason.clone());
    }
    if let Some(behind) = reads.behind {
        let message = format!("the wall clock is {} s behind what this ledger has seen", behind.as_secs());
        return Some(Reason::new("clock", message));
    }
    let known = state.app.identity.as_ref();
    if let Some(known) = known.filter(|known| known.target != settings.identity.target) {
        let message = format!(
            "the configuration names the target {}, the ledger is about {}",
            settings.identity.target, known.target
        );
        return Some(Reason::new("configuration", message));
    }
    if reads.observed.failure.is_some() {
        return None;
    }
    anchor::misplaced(&state.app.anchor, &reads.observed.anchor, &settings.name, &ledger.id())
}

/// Returns what must be remembered of drift and of what does not converge, before anything is judged.
fn remember(comparison: &Comparison, state: &State, guards: &Guards, counted: bool) -> Vec<Fact> {
    let mut facts = Vec::new();
    for drift in &comparison.drift {
        if let Some(mark) = drift::mark(drift, state.trouble(&drift.id)) {
            facts.push(Fact::Drifted { id: drift.id.clone(), mark });
        }
    }
    facts.extend(comparison.undrifted.iter().map(|id| Fact::Undrifted { id: id.clone() }));
    let now = state.now();
    for (id, resource) in &state.resources {
        let Some(trouble) = resource.trouble.as_deref() else { continue };
        if trouble.hold.as_ref().and_then(|hold| hold.until).is_some_and(|until| until <= now) {
            facts.push(Fact::Released { id: id.clone(), by: "expired".into() });
        }
        if trouble.quarantined.is_none() && pace::is_fight(&trouble.reverts, guards, now) {
            facts.push(Fact::Quarantined { id: id.clone() });
        }
    }
    facts.extend(crate::core::failing::count(comparison, state, guards.failures, counted));
    facts
}

fn plans(
    settings: &Settings,
    read: &mut impl Read,
    state: &State,
    comparison: &Comparison,
    guards: &Guards,
) -> (Plan, Plan, Plan, Details) {
    let promoted: std::collections::BTreeSet<_> = comparison.promote.iter().map(|op| &op.id).collect();
    let mut ops = comparison.promote.clone();
    let conflicts = comparison.conflicts.iter().map(|conflict| &conflict.op);
    let is_approved = |digest: &Digest| {
        let wanted = Wanted { digest, change: None, seen: state.now(), contributors: &[] };
        find(state, &wanted, &settings.policy, guards).is_some()
    };
    ops.extend(conflicts.filter(|op| is_approved(&op.digest())).cloned());
    let mut details = read.details(state, &ops);
    details.extend(read.details(state, &comparison.reversals));
    let left = |op: &&crate::core::op::Op| !promoted.contains(&op.id) && !comparison.settled.contains(&op.id);
    let beside = comparison.heal.iter().filter(left).cloned().collect();
    let plan = |purpose, ops| Plan::new(purpose, ops, &details, &settings.guards_digest, is_approved);
    let promote = plan(Purpose::Promote, ops);
    let (heal, beside) = (plan(Purpose::Heal, comparison.heal.clone()), plan(Purpose::Heal, beside));
    (promote, heal, beside, details)
}

/// Measures each first-parent commit that is not yet converged to, desired against desired (`GUARDS.md` 3.5).
fn range_effects(read: &mut impl Read, state: &State, reads: &Reads, guards: &Guards) -> Vec<CommitEffect> {
    let Ok(trusted) = &reads.trusted else { return Vec::new() };
    let Some(mut before) = state.app.last_verified.clone() else { return Vec::new() };
    let mut groups = BTreeMap::new();
    let mut count = None;
    if let Rendered::Desired(desired) = read.render(&before) {
        groups = limits::group_counts(desired.wants.iter().map(|want| want.nature.group.as_ref()));
        count = u32::try_from(desired.wants.len()).ok();
    }
    let mut had = count.unwrap_or(0);
    let mut effects = Vec::new();
    for judged in trusted.commits.iter().filter(|judged| judged.first_parent) {
        let commit = &judged.commit;
        let mut effect = CommitEffect {
            commit: commit.id.clone(),
            author: commit.author.name.clone(),
            subject: commit.subject.clone(),
            magnitude: crate::core::plan::Magnitude::default(),
            desired: had,
            crosses: Vec::new(),
            broken: None,
        };
        match read.changes(&before, &commit.id) {
            Ok(changes) => {
                let details = read.change_details(&before, &commit.id, &changes);
                let (magnitude, ops) = culprit::magnitude(&changes, &details, guards);
                let after = culprit::after(had, &changes);
                effect.magnitude = magnitude;
                effect.desired = after;
                effect.crosses = culprit::crosses(&magnitude, &ops, had, after, &groups, guards);
                culprit::regroup(&mut groups, &changes);
                had = after;
                before = commit.id.clone();
            }
            // The next commit is measured against the last one that could be rendered.
            Err(why) => effect.broken = Some(why.to_string()),
        }
        effects.push(effect);
    }
    effects
}

/// Returns whoever has a part in the commits that change anything; all of the range where that is not known.
fn contributors(reads: &Reads, commits: &[CommitEffect]) -> Vec<Contributor> {
    let Ok(trusted) = &reads.trusted else { return Vec::new() };
    let idle = |id: &CommitId| {
        commits.iter().any(|effect| effect.commit == *id && effect.magnitude.is_zero() && effect.broken.is_none())
    };
    trusted.commits.iter().filter(|judged| !idle(&judged.commit.id)).map(super::edges::Judged::contributor).collect()
}

/// Names the poisoned commit of a plan that is held, once.
fn name_poison(judgement: &mut Judgement, state: &State, commits: &[CommitEffect]) {
    if judgement.latch(crate::core::state::LatchName::Plan).is_none() {
        return;
    }
    if let culprit::Verdict::Culprit(at) = culprit::verdict(commits)
        && let Some(effect) = commits.get(at)
        && state.app.poisoned.as_ref() != Some(&effect.commit)
    {
        judgement.facts.push(Fact::Poisoned { commit: effect.commit.clone() });
    }
}
