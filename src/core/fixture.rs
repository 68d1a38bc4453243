//! One application without edges, for tests: cycles that compare, plan, judge and write into a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::approval::{Contributor, Wanted, find};
use super::clock::Clock;
use super::commit::CommitId;
use super::compare::{Comparison, View, compare};
use super::culprit::{CommitEffect, WantChange};
use super::guards::{Guards, Mode, TrustPolicy};
use super::judge::{Inputs, Judgement, Prefix, Wanting, judge};
use super::ledger::{Fact, Touched};
use super::op::{Effect, Op, Verb};
use super::pace::{self, Next};
use super::plan::{Details, Plan};
use super::reason::Reason;
use super::rehearse::{self, Rehearsals};
use super::resource::{
    Desired, Digest, Fields, Health, Here, Id, Leftover, Live, More, Nature, Observed, Version, Vitals, Want,
};
use super::state::{About, Accepted, Approval, Purpose, State};

/// Names a digest after a number.
pub(super) fn digest(value: u8) -> Digest {
    Digest::from_bytes([value; 32])
}

/// Desired content, by resource: the digest's number.
pub(super) type Files = BTreeMap<String, u8>;

/// Makes files of one content.
pub(super) fn files(range: std::ops::Range<u32>, value: u8) -> Files {
    range.map(|at| (format!("f{at:03}"), value)).collect()
}

fn nature(id: &str) -> Arc<Nature> {
    let group = id.split_once('/').map(|(group, _)| group.into());
    Arc::new(Nature { vitals: Vitals::CONTENT, group, ..Nature::default() })
}

/// Renders files.
pub(super) fn desired(files: &Files) -> Desired {
    let want = |(id, value): (&String, &u8)| Want {
        id: Id::new(id.as_str()),
        digest: digest(*value),
        nature: nature(id),
        rank: 0,
        origin: None,
    };
    let mut wants: Vec<Want> = files.iter().map(want).collect();
    wants.sort_by(|a, b| a.id.cmp(&b.id));
    Desired::new(digest(0), wants)
}

/// One application.
#[derive(Clone)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) guards: Guards,
    pub(super) policy: TrustPolicy,
    /// What the target holds.
    pub(super) live: Files,
    /// The commits from `converged` to the tip, with what they want.
    pub(super) range: Vec<(CommitId, Files)>,
    pub(super) contributors: Vec<Contributor>,
    pub(super) fleet: Option<(Vec<Reason>, Digest)>,
    /// Resources whose writes fail.
    pub(super) refusing: Vec<String>,
    /// Resources that cannot be read.
    pub(super) unread: Vec<String>,
    /// Resources that do not work.
    pub(super) ill: Vec<String>,
    /// What is left over of resources.
    pub(super) leftover: BTreeMap<String, Vec<Leftover>>,
    /// Whether the target also lists what nobody declared, as an exclusive one does.
    pub(super) lists_all: bool,
    /// What the target says of operations that are only tried.
    pub(super) rehearsals: Rehearsals,
    pub(super) journal: Vec<Fact>,
    /// Identities that were written, in order.
    pub(super) wrote: Vec<String>,
}

impl World {
    /// Makes a world that converged to files, at commit `base`.
    pub(super) fn at(files: Files) -> Self {
        let mut world = Self {
            state: State::default(),
            guards: Guards { mode: Mode::Converge, ..Guards::default() },
            policy: TrustPolicy { approvers: vec!["bob@a".into(), "carol@a".into()], ..TrustPolicy::default() },
            live: files.clone(),
            range: vec![(CommitId::new("base"), files)],
            contributors: Vec::new(),
            fleet: None,
            refusing: Vec::new(),
            unread: Vec::new(),
            ill: Vec::new(),
            leftover: BTreeMap::new(),
            lists_all: false,
            rehearsals: Rehearsals::new(),
            journal: Vec::new(),
            wrote: Vec::new(),
        };
        for _ in 0..3 {
            let _ = world.cycle();
        }
        assert_eq!(world.state.app.converged, Some(CommitId::new("base")));
        world.journal.clear();
        world
    }

    /// Adds a commit that wants these files.
    pub(super) fn push(&mut self, name: &str, files: Files) {
        self.range.push((CommitId::new(name), files));
    }

    pub(super) fn tip(&self) -> &(CommitId, Files) {
        self.range.last().expect("there is a base")
    }

    pub(super) fn fold(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            self.state.fold(&fact, &mut Touched::default());
            self.journal.push(fact);
        }
    }

    pub(super) fn approve(&mut self, digest: Digest, by: &str) {
        let at = self.state.now();
        let approval = Approval { digest, by: by.into(), via: "api".into(), at, used: false, key: None };
        self.fold(vec![Fact::Approved { approval }]);
    }

    /// Moves time on.
    pub(super) fn wait(&mut self, time: SignedDuration) {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let now = self.state.app.clock.as_ref().map_or(start, |clock| clock.now) + time;
        let clock = Clock { now, wall: now, boot: "b".into(), uptime_ms: 0 };
        self.fold(vec![Fact::Cycle { clock, counted: true, complete: true, wanted: true }]);
    }

    pub(super) fn observed(&self) -> Observed {
        let mut seen: BTreeMap<Id, Live> = BTreeMap::new();
        let known = self.state.resources.keys().map(Id::as_str);
        let wanted = self.range.iter().flat_map(|(_, files)| files.keys().map(String::as_str));
        let others = self.live.keys().filter(|_| self.lists_all).map(String::as_str);
        for id in known.chain(wanted).chain(others) {
            let folder = Nature { identity: Some("folder".into()), ..Nature::default() };
            let folder = self.is_folder(id).then_some((200, folder.into()));
            let there = self.live.get(id).map(|value| (*value, nature(id))).or(folder);
            let leftover = self.leftover.get(id).cloned().unwrap_or_default();
            // As a target does: what was noted, as far as it is there; all of it, where nothing was.
            let accepted = self.state.resources.get(&Id::new(id)).and_then(|resource| resource.accepted.as_deref());
            let noted =
                accepted.and_then(|accepted| accepted.about.fields.as_deref()).map(|fields| fields.left.clone());
            let leftover: Vec<Leftover> = leftover
                .into_iter()
                .filter(|left| noted.as_ref().is_none_or(|noted| noted.contains(&left.path)))
                .collect();
            let live = there.map_or(Live::Gone, |(value, nature)| {
                let left = leftover.iter().map(|left| left.path.clone()).collect();
                let fields = self.leftover.contains_key(id).then(|| Arc::new(Fields { owned: "a".into(), left }));
                Live::Here(Here {
                    digest: digest(value),
                    version: Version::new("v"),
                    nature,
                    health: if self.ill.iter().any(|ill| ill == id) { Health::Unhealthy } else { Health::Healthy },
                    more: Some(Box::new(More { fields, leftover, ..More::default() })),
                })
            });
            let unread = self.unread.iter().any(|unread| unread == id);
            let live = if unread { Live::Unread("permission denied".into()) } else { live };
            seen.insert(Id::new(id), live);
        }
        Observed { seen: seen.into_iter().collect(), ..Observed::default() }
    }

    fn is_folder(&self, id: &str) -> bool {
        self.live.keys().any(|other| other.strip_prefix(id).is_some_and(|rest| rest.starts_with('/')))
    }

    pub(super) fn compare(&self, (commit, files): &(CommitId, Files)) -> Comparison {
        let (state, guards, observed) = (&self.state, &self.guards, &self.observed());
        compare(View { desired: Some((&desired(files), commit)), observed, state, guards, now: state.now() })
    }

    /// Compares with the tip, and asks the target.
    pub(super) fn rehearsed(&self) -> Comparison {
        let mut comparison = self.compare(self.tip());
        rehearse::apply(&mut comparison, &self.rehearsals, &self.observed(), &self.state);
        comparison
    }

    pub(super) fn plan(&self, purpose: Purpose, ops: &[Op]) -> Plan {
        let approved = |digest: &Digest| {
            let wanted = Wanted { digest, change: None, seen: self.state.now(), contributors: &self.contributors };
            find(&self.state, &wanted, &self.policy, &self.guards).is_some()
        };
        Plan::new(purpose, ops.to_vec(), &Details::new(), &digest(9), approved)
    }

    fn beside(&self, comparison: &Comparison) -> Plan {
        let left = |op: &&Op| {
            !comparison.promote.iter().any(|other| other.id == op.id) && !comparison.settled.contains(&op.id)
        };
        let ops: Vec<Op> = comparison.heal.iter().filter(left).cloned().collect();
        self.plan(Purpose::Heal, &ops)
    }

    fn fought(&self) -> Vec<Fact> {
        let troubles =
            self.state.resources.iter().filter_map(|(id, resource)| Some((id, resource.trouble.as_deref()?)));
        let fights = troubles.filter(|(_, trouble)| pace::is_fight(&trouble.reverts, &self.guards, self.state.now()));
        fights.map(|(id, _)| Fact::Quarantined { id: id.clone() }).collect()
    }

    /// Measures the commits after the one that was converged to.
    pub(super) fn commits(&self) -> Vec<CommitEffect> {
        let converged = self.state.app.converged.as_ref();
        let from = self.range.iter().position(|(commit, _)| Some(commit) == converged).unwrap_or(0);
        let mut measure = super::culprit::Measure::new(
            self.guards.clone(),
            u32::try_from(self.range[from].1.len()).unwrap(),
            BTreeMap::new(),
        );
        let effect = |pair: &[(CommitId, Files)]| {
            let changes = changes(&pair[0].1, &pair[1].1);
            let commit = super::commit::Commit {
                id: pair[1].0.clone(),
                parents: Vec::new(),
                tree: "".into(),
                author: super::commit::Ident::default(),
                committer: super::commit::Ident::default(),
                committed: Timestamp::UNIX_EPOCH,
                subject: String::new(),
                signature: super::commit::Signature::Unsigned,
            };
            measure.commit(&commit, &changes, &Details::new())
        };
        self.range[from..].windows(2).map(effect).collect()
    }

    /// Runs a counted cycle up to its judgement.
    pub(super) fn judge(&mut self) -> Judgement {
        self.wait(SignedDuration::from_mins(3));
        self.fold(self.fought());
        let (tip, files) = self.tip().clone();
        let comparison = self.rehearsed();
        self.fold(remembered(&comparison, &self.state));
        let promote = self.plan(Purpose::Promote, &comparison.promote);
        let heal = self.plan(Purpose::Heal, &comparison.heal);
        let heal_beside = self.beside(&comparison);
        let commits = self.commits();
        let prefix = super::last_good::candidate(&commits)
            .filter(|_| self.guards.on_poison == super::guards::OnPoison::LastGood)
            .and_then(|effect| self.range.iter().find(|(commit, _)| *commit == effect.commit).cloned())
            .map(|(commit, files)| {
                let comparison = self.compare(&(commit.clone(), files.clone()));
                Prefix {
                    commit,
                    wants: std::sync::Arc::new(desired(&files)),
                    keys: Vec::new(),
                    promote: self.plan(Purpose::Promote, &comparison.promote),
                    heal_beside: self.beside(&comparison),
                    comparison,
                }
            });
        let wants = desired(&files);
        let inputs = Inputs {
            name: "web",
            guards: &self.guards,
            policy: &self.policy,
            guards_digest: digest(9),
            tip: Some(&tip),
            wanting: Wanting::Rendered(&wants),
            history: None,
            signature: Vec::new(),
            accepted_revoked: None,
            keys: Vec::new(),
            freezes: Vec::new(),
            misplaced: None,
            unobserved: None,
            comparison: &comparison,
            promote: &promote,
            heal: &heal,
            heal_beside: &heal_beside,
            prefix: prefix.as_ref(),
            commits: &commits,
            unhealthy: &[],
            contributors: &self.contributors,
            fleet: self.fleet.clone(),
            reconfigured: None,
            counted: true,
        };
        let judgement = judge(&self.state, &inputs);
        self.fold(judgement.facts.clone());
        judgement
    }

    /// Runs a counted cycle, writes included.
    pub(super) fn cycle(&mut self) -> Judgement {
        let judgement = self.judge();
        for purpose in Purpose::ALL {
            if judgement.may(purpose) {
                self.act(purpose);
            } else if judgement.may_probe(purpose)
                && let Some(index) = pace::probe(&self.state, purpose, &self.guards)
            {
                self.fold(vec![Fact::BatchStarted { purpose, size: 1 }]);
                self.write(purpose, index);
                self.fold(vec![Fact::BatchSettled { purpose, unhealthy: Vec::new() }]);
            }
        }
        judgement
    }

    fn act(&mut self, purpose: Purpose) {
        loop {
            let fact = match pace::next(&self.state, purpose, &self.guards) {
                Next::Begin(size) => Fact::BatchStarted { purpose, size },
                Next::Write(index) => {
                    self.write(purpose, index);
                    continue;
                }
                Next::Settle => Fact::BatchSettled { purpose, unhealthy: Vec::new() },
                Next::Wait(_) => return,
                Next::Done => break,
            };
            self.fold(vec![fact]);
        }
        let Some(rollout) = self.state.app.rollouts.get(&purpose).cloned() else { return };
        if purpose == Purpose::Promote {
            let (commit, desired, skipped) = (rollout.commit, rollout.desired, rollout.skipped);
            let left = Vec::new();
            self.fold(vec![Fact::Converged { commit, desired, good: true, seconds: None, skipped, left }]);
        }
        self.fold(vec![Fact::RolloutEnded { purpose, how: "done".into() }]);
    }

    fn write(&mut self, purpose: Purpose, index: u32) {
        let op = self.state.rollout_ops[&(purpose, index)].op.clone();
        self.fold(vec![Fact::Reserved { purpose, index, deletes: op.verb == Verb::Delete }]);
        let id = op.id.as_str().to_owned();
        let inside = |other: &String| super::plan::excludes(&op.id, &Id::new(other.as_str()));
        let blocked = op.verb == Verb::Create && self.live.keys().any(inside);
        if blocked || self.refusing.contains(&id) {
            let known = self.state.trouble(&op.id).and_then(|trouble| trouble.breaker.clone());
            let breaker = pace::failed(known.as_ref(), "refused".into(), &self.guards, self.state.now(), 0.0);
            return self.fold(vec![Fact::Failed { purpose, index, id: op.id, breaker, unknown: false }]);
        }
        self.wrote.push(id.clone());
        let value = op.to.map(|to| to.as_bytes()[0]);
        match value {
            Some(value) => self.live.insert(id, value),
            None => self.live.remove(&id),
        };
        let accepted = op.to.zip(op.source.as_ref()).map(|(to, source)| {
            let about = About {
                commit: source.commit.clone(),
                origin: source.origin.clone(),
                nature: op.nature.clone(),
                created: (op.effect == Effect::Create).then(|| self.state.now()),
                rank: op.rank,
                fields: None,
            };
            Arc::new(Accepted { desired: to, live: to, about: about.into() })
        });
        let (verb, effect, windowed) = (op.verb, op.effect, purpose == Purpose::Promote);
        let cleared = self.state.app.latches.contains_key(&super::state::LatchName::Failure);
        self.fold(vec![Fact::Wrote {
            purpose,
            index,
            id: op.id,
            verb,
            effect,
            accepted,
            windowed,
            healed_after: None,
        }]);
        if cleared {
            self.fold(vec![Fact::Cleared { latch: super::state::LatchName::Failure, by: "a probe".into() }]);
        }
    }

    /// Returns the plan that leads to the tip now.
    pub(super) fn promotion(&self) -> Plan {
        self.plan(Purpose::Promote, &self.compare(self.tip()).promote)
    }
}

/// Returns what a cycle remembers of drift before it judges.
fn remembered(comparison: &Comparison, state: &State) -> Vec<Fact> {
    let marks = comparison.drift.iter().filter_map(|drift| {
        Some(Fact::Drifted { id: drift.id.clone(), mark: super::drift::mark(drift, state.trouble(&drift.id))? })
    });
    let known = comparison.noted.iter().chain(&comparison.confirmed);
    let known = known.map(|(id, accepted)| Fact::Accepted { id: id.clone(), accepted: accepted.clone() });
    let ended = comparison.undrifted.iter().map(|id| Fact::Undrifted { id: id.clone() });
    marks.chain(known).chain(ended).collect()
}

/// Compares two states, desired against desired.
pub(super) fn changes(old: &Files, new: &Files) -> Vec<WantChange> {
    let (old, new) = (desired(old), desired(new));
    let ids: std::collections::BTreeSet<&Id> = old.wants().iter().chain(new.wants()).map(|want| &want.id).collect();
    let change = |id: &Id| WantChange { id: id.clone(), old: old.get(id).cloned(), new: new.get(id).cloned() };
    ids.into_iter().map(change).filter(|change| change.old != change.new).collect()
}
