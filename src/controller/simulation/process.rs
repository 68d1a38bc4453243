//! One process of the controller: the loop over the applications of a repository, as the real one runs it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::edges::{Fetched, SimEdges};
use super::ledger::SimBook;
use super::world::{Crash, Shared, Stop, Violation};
use crate::controller::act::{Stopped, act};
use crate::controller::assess::{Settings, assess};
use crate::controller::edges::{LedgerError, Rendered};
use crate::core::commit::CommitId;
use crate::core::fleet::{self, Member};
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::resource::{Desired, Digest};
use crate::core::state::State;

/// How a cycle ended.
pub enum Ended {
    /// As it should.
    Done {
        /// Whether another one is asked for at once.
        again: bool,
    },
    /// The process is gone.
    Crashed,
    /// A promise was broken.
    Broken,
}

/// One process of the controller with what it keeps in memory.
pub struct Controller {
    world: Shared,
    /// Which process.
    pub pid: usize,
    /// Its ledger.
    pub store: usize,
    parts: Vec<(SimBook, State)>,
    fleet: Vec<Option<(Vec<Reason>, Digest)>>,
}

impl Controller {
    /// Starts a process on a ledger.
    pub fn start(world: &Shared, store: usize) -> Self {
        let pid = world.borrow_mut().start(store);
        let apps = world.borrow().settings.len();
        let parts = (0..apps).map(|app| SimBook::open(world, pid, app)).collect();
        Self { world: world.clone(), pid, store, parts, fleet: vec![None; apps] }
    }

    /// Ends the process and starts another one: all that is left is what was durable.
    pub fn restart(&mut self) {
        self.world.borrow_mut().kill(self.pid);
        *self = Self::start(&self.world, self.store);
    }

    /// Judges the applications of the repository together, as the group of the real loop does.
    fn judge_fleet(&mut self, tip: &Result<CommitId, Arc<str>>) {
        let mut members = Vec::new();
        for (app, (book, state)) in self.parts.iter_mut().enumerate() {
            book.refresh(state);
            let world = self.world.borrow();
            let rendered = tip.as_ref().ok().map(|tip| world.repository.render(tip, app));
            let missing = Desired::missing();
            let desired = match &rendered {
                Some(Rendered::Desired(desired)) => Some(desired.as_ref()),
                Some(Rendered::Missing(_)) => Some(&missing),
                Some(Rendered::Broken(_)) | None => None,
            };
            let settings = &world.settings[app];
            members.push(Member::new(&settings.name, state, desired, &settings.guards, |_| Details::new()));
        }
        let mut world = self.world.borrow_mut();
        let judged = fleet::judge(&members, &world.fleet);
        self.fleet = members.iter().map(|member| fleet::holds(judged.as_ref(), member)).collect();
        drop(members);
        world.check_fleet(self.store, tip.as_ref().ok(), judged.map(|(_, digest)| digest));
    }

    /// Runs one cycle of each application.
    pub fn cycle(&mut self) -> Ended {
        let fetched = {
            let mut world = self.world.borrow_mut();
            let at = world.reading().uptime_ms;
            Fetched { tip: world.fetch(), at }
        };
        if self.parts.len() > 1 {
            self.judge_fleet(&fetched.tip);
        }
        let mut again = false;
        for app in 0..self.parts.len() {
            let ended = catch_unwind(AssertUnwindSafe(|| self.cycle_of(app, fetched.clone())));
            match ended {
                Ok(Ok(more)) => again |= more,
                Ok(Err(_)) => {}
                Err(payload) => return self.unwound(payload.as_ref()),
            }
        }
        Ended::Done { again }
    }

    fn unwound(&self, payload: &(dyn Any + Send)) -> Ended {
        if payload.is::<Crash>() {
            return Ended::Crashed;
        }
        if !payload.is::<Stop>() {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let violation = Violation { invariant: "panic", message: text.unwrap_or_default() };
            self.world.borrow_mut().violation.get_or_insert(violation);
        }
        Ended::Broken
    }

    fn cycle_of(&mut self, app: usize, fetched: Fetched) -> Result<bool, LedgerError> {
        let (book, state) = &mut self.parts[app];
        book.refresh(state);
        let mut edges = SimEdges::open(&self.world, self.pid, app, Some(fetched));
        let settings = Settings { fleet: self.fleet[app].clone(), ..self.world.borrow().settings[app].clone() };
        let assessment = assess(&settings, &mut edges, book, state)?;
        self.world.borrow_mut().show(self.pid, app, settings.fleet.as_ref(), &assessment);
        let held: Vec<_> = assessment.judgement.standing.iter().map(|held| held.name.as_str()).collect();
        self.world.borrow_mut().note(|| {
            format!(
                "assessed {app}: {held:?}, {} to promote, {} parked, {} in conflict, {} to heal, {} drift",
                assessment.promote.ops.len(),
                assessment.promote.parked.len(),
                assessment.comparison.conflicts.len(),
                assessment.heal.ops.len(),
                assessment.comparison.drift.len()
            )
        });
        for parked in &assessment.promote.parked {
            self.world.borrow_mut().note(|| format!("parked: {} {}", parked.op.id, parked.digest));
        }
        let stops = act(&settings.name, &assessment, &mut edges, book, state)?;
        self.world.borrow_mut().note(|| format!("acted on {app}: {stops:?}"));
        Ok(stops.iter().any(|(_, stopped)| matches!(stopped, Stopped::Again(_))))
    }
}
