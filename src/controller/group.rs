//! The applications that track one branch of one repository: one fetch, one fleet judgement, one cycle each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::act::{Stopped, act};
use super::assess::{Assessment, Settings, assess};
use super::book::{Book, Stores, is_lost};
use super::claims::Registry;
use super::edges::{LedgerError, Read as _, Rendered};
use super::hosting::halt::Halt;
use super::hosting::letter::queue_halts;
use super::hosting::place::{self, Services};
use super::hosting::pulls;
use super::incluster::herald::Herald;
use super::incluster::right::Right;
use super::live::Live;
use super::metrics::Metrics;
use super::report;
use super::run::{RunError, settings};
use super::serve::Readiness;
use super::tell::Teller;
use super::wake::Wake;
use super::watches::Note;
use crate::config::Application;
use crate::core::culprit::WantChange;
use crate::core::fleet::{self, Member};
use crate::core::guards::FleetGuards;
use crate::core::plan::Details;
use crate::core::resource::Desired;
use crate::core::state::State;
use crate::targets::Watcher;

/// The shortest time between two cycles that nobody asked for.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How soon a cycle whose ledger failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What all applications of a controller share.
#[derive(Clone)]
pub struct Common {
    /// The ledger.
    pub stores: Arc<Stores>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Who desires and holds what.
    pub claims: Arc<Registry>,
    /// What was looked at.
    pub readiness: Readiness,
    /// How many starts there were.
    pub epoch: u64,
    /// Whether this process may write.
    pub right: Right,
    /// The hosting services that are told.
    pub services: Services,
    /// Who tells the cluster, in one.
    pub herald: Option<Arc<Herald>>,
}

/// One application under way.
pub struct Running {
    settings: Settings,
    live: Live,
    book: Book,
    state: State,
    common: Common,
    /// Why its target is not watched, if it is not.
    note: Note,
    /// How many resources the state had when what it shares with the desired one was last shared.
    shared: usize,
}

impl Running {
    /// Opens an application.
    ///
    /// # Errors
    /// If its clone, target or ledger cannot be opened.
    pub fn open(
        app: &Application,
        state_dir: &Path,
        common: &Common,
        teller: Teller,
        nudges: Arc<AtomicU64>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, RunError> {
        let mut live = Live::open(app, state_dir, stop.clone())?;
        live.listen(nudges);
        live.under(common.right.clone());
        live.belong_to(common.stores.current().id());
        let (book, state) = Book::open(&common.stores, &app.name, common.epoch, teller)?;
        if let Some(place) = app.target.shared() {
            common.claims.expect(&app.name, place, &state);
        }
        Ok(Self {
            settings: settings(app),
            live,
            book,
            state,
            common: common.clone(),
            note: Note::default(),
            shared: 0,
        })
    }

    /// Returns the application's configuration.
    pub fn application(&self) -> &Application {
        self.live.application()
    }

    /// Returns what makes watches over its target, if it can be watched.
    pub fn watcher(&self) -> Option<Watcher> {
        self.live.watcher()
    }

    /// Returns where is noted why its target is not watched.
    pub fn note(&self) -> Note {
        self.note.clone()
    }

    /// Runs one whole cycle; one that finds the ledger lost is run again without it, so that it still reports.
    fn cycle(&mut self) -> Result<bool, RunError> {
        let lost_before = self.common.stores.lost().is_some();
        let mut ended = self.try_cycle();
        if let Err(RunError::Store(error)) = &ended
            && is_lost(error)
        {
            self.common.stores.lose(error)?;
        }
        if ended.is_err() && !lost_before && self.common.stores.lost().is_some() {
            ended = self.try_cycle();
        }
        let noted = ended.as_ref().map(|_| ()).map_err(ToString::to_string);
        self.common.readiness.note(&self.settings.name, noted);
        ended
    }

    /// Assesses, acts, reports; returns whether another cycle is asked for at once.
    fn try_cycle(&mut self) -> Result<bool, RunError> {
        self.settings.unreliable = self.common.stores.lost().cloned();
        self.book.refresh(&mut self.state)?;
        self.hint()?;
        let started = Instant::now();
        let place = self.application().target.shared();
        self.settings.claims =
            place.map(|place| self.common.claims.claims(&self.settings.name, place)).unwrap_or_default();
        let assessment = assess(&self.settings, &mut self.live, &mut self.book, &mut self.state)?;
        self.claim(match &assessment.rendered {
            Rendered::Desired(desired) => Some(desired),
            Rendered::Missing(_) | Rendered::Broken(_) => None,
        });
        self.live.pin(&self.state);
        self.common.readiness.note(&self.settings.name, Ok(()));
        if !self.state.app.rollouts.is_empty() {
            // Batches settle for minutes: what was found is shown before they do.
            self.report(&assessment, started, Vec::new())?;
        }
        // Detection and reports go on, whoever may write.
        let stops = if self.common.right.held() {
            act(&self.settings.name, &assessment, &mut self.live, &mut self.book, &mut self.state)?
        } else {
            Vec::new()
        };
        let again = stops.iter().any(|(_, stopped)| matches!(stopped, Stopped::Again(_)));
        let acted: Vec<String> =
            stops.iter().map(|(purpose, stopped)| format!("{}: {stopped}", purpose.as_str())).collect();
        if !acted.is_empty() {
            self.live.pin(&self.state);
        }
        self.report(&assessment, started, acted)?;
        if let Rendered::Desired(desired) = &assessment.rendered
            && self.shared != self.state.resources.len()
        {
            self.state.share(desired);
            self.shared = self.state.resources.len();
        }
        self.common.metrics.took(started.elapsed().as_secs_f64());
        Ok(again)
    }

    /// Takes up what the hosting service says of merges, where that is asked for at all.
    fn hint(&mut self) -> Result<(), RunError> {
        if !self.settings.policy.service_merges {
            return Ok(());
        }
        if let Some((service, repo)) = place::find(&self.common.services, &self.application().source.url) {
            let ledger = self.common.stores.current();
            self.live.hint(pulls::hints(ledger, &place::key(service, &repo), service.client.kind())?);
        }
        Ok(())
    }

    /// Keeps what this cycle found, for `status` and for the metrics.
    fn report(&self, assessment: &Assessment, started: Instant, acted: Vec<String>) -> Result<(), RunError> {
        let seconds = started.elapsed().as_secs_f64();
        let mut status = report::status(&self.settings.name, assessment, &self.state, seconds, acted);
        status.unwatched = self.note.get();
        if let Some(reason) = self.common.right.withheld() {
            status.withhold(reason);
        }
        let json = serde_json::to_string(&status).map_err(|error| LedgerError::Failed(error.to_string()))?;
        let (ledger, now) = (self.common.stores.current(), crate::clock::MachineClock::wall());
        ledger.put_report(&self.settings.name, now, &json)?;
        let url = &self.application().source.url;
        if let Some((service, repo)) = place::find(&self.common.services, url).filter(|_| self.common.right.held()) {
            queue_halts(ledger, &place::key(service, &repo), &status.name, &Halt::of(&status), now)?;
        }
        self.common.metrics.found(&status, &report::failing_by_reason(assessment, &self.state));
        if let Some(requests) = self.live.take_requests() {
            self.common.metrics.requested(self.live.application().target.kind(), &requests);
        }
        if let Some(herald) = &self.common.herald {
            herald.reported(&status);
        }
        Ok(())
    }

    /// Tells the other applications on the target what this one desires and holds.
    fn claim(&self, desired: Option<&Desired>) {
        if let Some(place) = self.application().target.shared() {
            self.common.claims.tell(&self.settings.name, place, &self.state, desired);
        }
    }

    fn member(&mut self) -> Member {
        let tip = self.live.fetch();
        let rendered = tip.as_ref().ok().map(|tip| self.live.render(tip));
        let reached = tip.clone();
        let fetched = self.live.share_fetched(tip);
        self.live.use_fetched(fetched);
        let missing = Desired::missing();
        let desired = match &rendered {
            Some(Rendered::Desired(desired)) => Some(desired.as_ref()),
            Some(Rendered::Missing(_)) => Some(&missing),
            Some(Rendered::Broken(_)) | None => None,
        };
        self.claim(desired);
        let (converged, live) = (self.state.app.converged.as_ref(), &mut self.live);
        let inside = |changes: &[WantChange]| match (converged, &reached) {
            (Some(old), Ok(new)) => live.change_details(old, new, changes),
            _ => Details::new(),
        };
        Member::new(&self.settings.name, &self.state, desired, &self.settings.guards, inside)
    }
}

/// The applications that track one branch of one repository.
pub struct Group {
    members: Vec<Running>,
    fleet: FleetGuards,
}

/// How a round over all applications of a group ended.
#[derive(Debug, Default)]
pub struct Round {
    /// Something asks for another one at once.
    pub again: bool,
    /// The first failure; the other applications had their cycles all the same.
    pub failed: Option<RunError>,
}

impl Group {
    /// Makes a group without applications.
    pub const fn new(fleet: FleetGuards) -> Self {
        Self { members: Vec::new(), fleet }
    }

    /// Adds an application.
    pub fn push(&mut self, running: Running) {
        self.members.push(running);
    }

    /// Returns the applications.
    pub fn members(&self) -> &[Running] {
        &self.members
    }

    /// Runs one cycle of each application.
    pub fn cycle(&mut self) -> Round {
        // One fetch for all: the first application's.
        if let Some((first, others)) = self.members.split_first_mut() {
            let tip = first.live.fetch();
            let fetched = first.live.share_fetched(tip);
            for other in others {
                other.live.use_fetched(fetched.clone());
            }
            first.live.use_fetched(fetched);
        }
        if self.members.len() > 1 {
            self.judge_together();
        }
        let mut round = Round::default();
        for running in &mut self.members {
            match running.cycle() {
                Ok(again) => round.again |= again,
                Err(error) => {
                    tracing::error!(app = %running.settings.name, %error, "the cycle failed; nothing more is written in it");
                    round.failed.get_or_insert(error);
                }
            }
        }
        round
    }

    fn judge_together(&mut self) {
        let mut members = Vec::new();
        for running in &mut self.members {
            // What was known before serves: the application's own cycle says that its ledger cannot be read.
            if let Err(error) = running.book.refresh(&mut running.state) {
                tracing::debug!(app = %running.settings.name, %error, "judged together as it was last known");
            }
            members.push(running.member());
        }
        let judged = fleet::judge(&members, &self.fleet);
        for (running, member) in self.members.iter_mut().zip(&members) {
            running.settings.fleet = fleet::holds(judged.as_ref(), member);
        }
    }

    /// Returns how long it is until a cycle counts.
    ///
    /// Measured on the clock that counts, not from one cycle's begin to the next one's: fetching takes longer once and
    /// shorter another time, and a cycle that comes a little early would leave its interval's budget unused.
    fn due(&self) -> Duration {
        let reading = crate::clock::MachineClock::read();
        let due = |running: &Running| {
            let interval = running.settings.guards.interval;
            let (Some(clock), Some(at)) = (&running.state.app.clock, running.state.app.counted_at) else {
                return interval;
            };
            let since = Duration::try_from(clock.advance(&reading).now.duration_since(at)).unwrap_or_default();
            interval.saturating_sub(since)
        };
        self.members.iter().map(due).min().unwrap_or(Duration::from_secs(180))
    }

    /// Runs until the controller ends or the group does. A ledger that fails stops nothing but writing: the next cycle tries again.
    pub fn run(&mut self, at: usize, wake: &Wake, stop: &AtomicBool) {
        let mut seen = 0;
        while !wake.stopped() && !stop.load(Ordering::Relaxed) {
            let round = self.cycle();
            let wait = match (round.failed, round.again) {
                (Some(_), _) => self.due().max(AFTER_FAILURE),
                (None, true) => AGAIN_AFTER,
                (None, false) => self.due().max(AGAIN_AFTER),
            };
            wake.wait(at, &mut seen, wait);
        }
    }
}
