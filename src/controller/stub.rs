//! Edges of one application in memory, for tests of the loop: everything works unless a test says otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::act::{Stopped, act};
use super::assess::{Assessment, Settings, assess};
use super::book::Scratch;
use super::edges::{Read, Rendered, Trusted, Unclaimed, Write};
use crate::core::approval::Contributor;
use crate::core::claims::Claims;
use crate::core::clock::Reading;
use crate::core::commit::CommitId;
use crate::core::culprit::WantChange;
use crate::core::expect::Expect;
use crate::core::freeze::FreezeState;
use crate::core::guards::{Guards, Mode, TrustPolicy};
use crate::core::op::Op;
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::resource::{
    Anchor, AnchorSeen, Desired, Digest, Health, Here, Id, Live, Nature, Observed, Version, Vitals, Want,
};
use crate::core::state::{Identity, Purpose, State};
use crate::core::write::Outcome;

/// Content by resource, as a number.
pub type Files = BTreeMap<String, u8>;

/// The edges, and what a test wants of them.
pub struct Stub {
    pub tip: CommitId,
    pub wants: Files,
    pub live: Files,
    pub uptime_ms: i64,
    pub anchor: AnchorSeen,
    /// Whether the repository can be fetched.
    pub fetches: bool,
    /// What cannot be read.
    pub unread: Vec<String>,
    /// How long observing takes.
    pub observing_ms: i64,
    /// Whether the tip still is what it was when it is read again.
    pub still: bool,
    /// How often the tip was read again.
    pub looks: u32,
    /// After so many writes somebody asks to look at the tip again, and it moved on.
    pub moves_after: Option<usize>,
    pub wrote: Vec<String>,
    pub settled: Vec<Vec<String>>,
    /// Does not say whether anything works.
    pub silent: bool,
}

fn nature() -> Arc<Nature> {
    Arc::new(Nature { vitals: Vitals::CONTENT, ..Nature::default() })
}

fn digest(value: u8) -> Digest {
    Digest::from_bytes([value; 32])
}

/// Wants a resource.
pub fn want(id: &str) -> Want {
    Want { id: Id::new(id), digest: digest(1), nature: nature(), rank: 0, origin: None }
}

fn here(value: u8) -> Live {
    Live::Here(Here {
        digest: digest(value),
        version: Version::new("v"),
        nature: nature(),
        health: Health::Healthy,
        more: None,
    })
}

impl Read for Stub {
    fn clock(&mut self) -> Reading {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let wall = start + SignedDuration::from_millis(self.uptime_ms);
        Reading { wall, boot: "b".into(), uptime_ms: self.uptime_ms }
    }

    fn fetch(&mut self) -> Result<CommitId, Arc<str>> {
        if self.fetches { Ok(self.tip.clone()) } else { Err("no route".into()) }
    }

    fn trust(&mut self, _: &State, _: &CommitId, _: &TrustPolicy) -> Result<Trusted, Arc<str>> {
        Ok(Trusted::default())
    }

    fn freeze(&mut self, _: &State, _: Option<&CommitId>, _: Option<&Trusted>) -> Option<(FreezeState, String)> {
        None
    }

    fn render(&mut self, _: &CommitId) -> Rendered {
        let wants = self.wants.iter().map(|(id, value)| Want { digest: digest(*value), ..want(id) }).collect();
        Rendered::Desired(Arc::new(Desired::new(digest(0), wants)))
    }

    fn changes(&mut self, _: &CommitId, _: &CommitId) -> Result<Vec<WantChange>, Arc<str>> {
        Ok(Vec::new())
    }

    fn change_details(&mut self, _: &CommitId, _: &CommitId, _: &[WantChange]) -> Details {
        Details::new()
    }

    fn contributors(&mut self, _: &CommitId, _: &CommitId, _: &Id) -> Result<Vec<Contributor>, Arc<str>> {
        Ok(Vec::new())
    }

    fn details(&mut self, _: &State, _: &[Op]) -> Details {
        Details::new()
    }

    fn observe(&mut self, expect: &[Expect<'_>]) -> Observed {
        self.uptime_ms += self.observing_ms;
        let unread = |id: &Id| self.unread.iter().any(|unread| unread == id.as_str());
        let live = |id: &Id| match self.live.get(id.as_str()) {
            _ if unread(id) => Live::Unread("permission denied".into()),
            Some(value) => here(*value),
            None => Live::Gone,
        };
        let seen = expect.iter().map(|Expect { id, .. }| ((*id).clone(), live(id))).collect();
        Observed { seen, failure: None, anchor: self.anchor.clone(), same: Vec::new() }
    }

    fn unhealthy(&mut self, _: &[Id]) -> Vec<Id> {
        Vec::new()
    }

    fn still(&mut self, _: Option<&CommitId>) -> bool {
        self.looks += 1;
        self.still && self.moves_after.is_none_or(|after| self.wrote.len() < after)
    }

    fn nudged(&mut self) -> bool {
        self.moves_after.is_some_and(|after| self.wrote.len() >= after)
    }

    fn local_freezes(&mut self, _: &State) -> Vec<Reason> {
        Vec::new()
    }
}

impl Write for Stub {
    fn claim(&mut self, _: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed> {
        self.anchor = AnchorSeen::Present(new.clone());
        Ok(())
    }

    fn release(&mut self) {}

    fn write(&mut self, op: &Op) -> Outcome {
        let id = op.id.as_str().to_owned();
        self.wrote.push(id.clone());
        match op.to {
            Some(to) => {
                let value = to.as_bytes()[0];
                self.live.insert(id, value);
                Outcome::Done(here(value))
            }
            None => {
                self.live.remove(&id);
                Outcome::Done(Live::Gone)
            }
        }
    }

    fn settle(&mut self, wrote: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        self.settled.push(wrote.iter().map(ToString::to_string).collect());
        let health = if self.silent { Health::Unread } else { Health::Healthy };
        wrote.iter().map(|id| (id.clone(), health, None)).collect()
    }

    fn wait(&mut self, time: Duration) -> bool {
        self.uptime_ms += i64::try_from(time.as_millis()).unwrap();
        true
    }

    fn random(&mut self) -> (f64, Arc<str>) {
        (0.5, format!("{}", self.uptime_ms).into())
    }
}

/// One application that runs on them.
pub struct Bench {
    pub stub: Stub,
    pub settings: Settings,
    pub book: Scratch,
    pub state: State,
}

impl Bench {
    /// Makes an application that converged to files.
    pub fn at(files: Files) -> Self {
        let mut bench = Self::new(files.clone(), files);
        for _ in 0..3 {
            let _ = bench.cycle();
        }
        assert_eq!(bench.state.app.converged, Some(CommitId::new("base")));
        bench
    }

    /// Makes an application that was never looked at.
    pub fn new(wants: Files, live: Files) -> Self {
        let identity = Identity {
            url: "u".into(),
            branch: "main".into(),
            path: "".into(),
            renderer: "plain 1".into(),
            target: "/t".into(),
        };
        let settings = Settings {
            name: "web".into(),
            guards: Guards { mode: Mode::Converge, ..Guards::default() },
            policy: TrustPolicy::default(),
            guards_digest: digest(9),
            identity,
            fleet: None,
            unreliable: None,
            claims: Claims::default(),
        };
        let stub = Stub {
            tip: CommitId::new("base"),
            wants,
            live,
            uptime_ms: 0,
            anchor: AnchorSeen::Absent,
            fetches: true,
            unread: Vec::new(),
            observing_ms: 0,
            still: true,
            looks: 0,
            moves_after: None,
            wrote: Vec::new(),
            settled: Vec::new(),
            silent: false,
        };
        let book = Scratch::new("ledger".into(), "web".into(), State::default());
        Self { stub, settings, book, state: State::default() }
    }

    /// Puts another commit at the tip.
    pub fn push(&mut self, name: &str, wants: Files) {
        (self.stub.tip, self.stub.wants) = (CommitId::new(name), wants);
    }

    /// Runs a counted cycle up to its judgement.
    pub fn assess(&mut self) -> Assessment {
        self.stub.uptime_ms += 180_000;
        assess(&self.settings, &mut self.stub, &mut self.book, &mut self.state).unwrap()
    }

    /// Runs a counted cycle, writes included.
    pub fn cycle(&mut self) -> Vec<(Purpose, Stopped)> {
        let assessment = self.assess();
        act(&self.settings.name, &assessment, &mut self.stub, &mut self.book, &mut self.state).unwrap()
    }
}

/// Makes files of one content.
pub fn files(count: u32, value: u8) -> Files {
    (0..count).map(|at| (format!("f{at:03}"), value)).collect()
}
