//! Tells the cluster: statuses are written when they change, the newest alone; events as hints. Nothing waits for either.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::super::report::Status;
use super::projection::{self, About};
use super::right::Right;
use super::tidings;
use crate::clock::MachineClock;
use crate::cluster::applications::{Applications, Found, Place};
use crate::cluster::client::{ApiError, Client};
use crate::cluster::events::{self, Happening};
use crate::cluster::status::{ApplicationStatus, SpecError};
use crate::core::ledger::Fact;

/// How many events wait at most: they are hints, and the journal has everything.
const MOST_EVENTS: usize = 500;

/// How soon what could not be written is tried again, at first and at last.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often the herald looks whether it shall end.
const LOOK: Duration = Duration::from_millis(200);

/// What waits to be told.
#[derive(Default)]
struct Desk {
    /// Where each application that runs is.
    places: BTreeMap<Arc<str>, Place>,
    subjects: BTreeMap<Place, Subject>,
    events: VecDeque<(Place, Happening, Timestamp)>,
    healed: BTreeMap<Arc<str>, tidings::Healed>,
    told: u64,
}

/// One Application's status.
struct Subject {
    generation: i64,
    written: Option<ApplicationStatus>,
    pending: Option<ApplicationStatus>,
    again: Option<(Instant, Duration)>,
}

/// Tells the cluster what happens.
pub struct Herald {
    client: Client,
    applications: Applications,
    instance: Arc<str>,
    replica: Arc<str>,
    right: Right,
    desk: Mutex<Desk>,
    changed: Condvar,
}

impl Herald {
    /// Makes a herald of one replica; it tells nothing while the replica may not write.
    pub fn new(
        client: Client,
        applications: Applications,
        instance: Arc<str>,
        replica: Arc<str>,
        right: Right,
    ) -> Self {
        Self { client, applications, instance, replica, right, desk: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes up the Applications that are worked on, by the generation that is, and lets all others go.
    pub fn follow(&self, followed: &[&Found]) {
        let mut desk = self.desk();
        let mut before = std::mem::take(&mut desk.subjects);
        desk.places.clear();
        for found in followed {
            let subject = before.remove(&found.place).map(|known| Subject { generation: found.generation, ..known });
            let subject = subject.unwrap_or_else(|| Subject {
                generation: found.generation,
                written: found.status.clone(),
                pending: None,
                again: None,
            });
            desk.places.insert(found.place.name.clone(), found.place.clone());
            desk.subjects.insert(found.place.clone(), subject);
        }
    }

    /// Says what is wrong with an Application that cannot be worked on.
    pub fn invalid(&self, found: &Found, errors: &[SpecError]) {
        let mut desk = self.desk();
        let written = found.status.clone();
        let subject = desk.subjects.entry(found.place.clone());
        let subject =
            subject.or_insert_with(|| Subject { generation: found.generation, written, pending: None, again: None });
        subject.generation = found.generation;
        let before = subject.pending.as_ref().or(subject.written.as_ref());
        let about = self.about(found.generation, before);
        let status = projection::invalid(errors, &about);
        let news = before.is_none_or(|before| before.errors != status.errors);
        subject.pending = Some(status);
        if news {
            let note =
                errors.iter().map(|error| format!("{}: {}", error.field, error.what)).collect::<Vec<_>>().join("; ");
            let what = Happening { reason: "Invalid".to_owned(), note, warning: true };
            desk.events.push_back((found.place.clone(), what, MachineClock::wall()));
        }
        drop(desk);
        self.changed.notify_all();
    }

    /// Takes up what a cycle found, unless another process tells it by now.
    pub fn reported(&self, status: &Status) {
        if !self.right.held() {
            return;
        }
        let mut desk = self.desk();
        let Some(place) = desk.places.get(&status.name).cloned() else { return };
        let Some(subject) = desk.subjects.get_mut(&place) else { return };
        let before = subject.pending.as_ref().or(subject.written.as_ref());
        let about = self.about(subject.generation, before);
        subject.pending = Some(projection::project(status, &about));
        drop(desk);
        self.changed.notify_all();
    }

    /// Takes up what happened, once it is durable.
    pub fn happened(&self, app: &Arc<str>, facts: &[Fact]) {
        let mut desk = self.desk();
        let Some(place) = desk.places.get(app).cloned() else { return };
        let now = MachineClock::wall();
        let told = tidings::of(facts, desk.healed.entry(app.clone()).or_default());
        desk.events.extend(told.into_iter().map(|what| (place.clone(), what, now)));
        let many = desk.events.len().saturating_sub(MOST_EVENTS);
        desk.events.drain(..many);
        drop(desk);
        self.changed.notify_all();
    }

    fn about<'a>(&'a self, generation: i64, before: Option<&'a ApplicationStatus>) -> About<'a> {
        About { generation, replica: &self.replica, before, now: MachineClock::wall() }
    }

    /// Tells until the controller ends, and the last of it then.
    pub fn run(&self, stopped: impl Fn() -> bool) {
        loop {
            let ending = stopped();
            self.pass();
            if ending {
                return;
            }
            let desk = self.desk();
            let waits = |desk: &mut Desk| !self.is_due(desk) && !stopped();
            let _ = self.changed.wait_timeout_while(desk, LOOK, waits);
        }
    }

    fn is_due(&self, desk: &Desk) -> bool {
        self.right.held() && (!desk.events.is_empty() || desk.subjects.values().any(Subject::is_due))
    }

    /// Tells everything that is due once.
    pub fn pass(&self) {
        while self.right.held() {
            let mut desk = self.desk();
            for subject in desk.subjects.values_mut() {
                subject.drop_what_is_known();
            }
            let due = desk.subjects.iter().find(|(_, subject)| subject.is_due());
            let due = due.and_then(|(place, subject)| Some((place.clone(), subject.pending.clone()?)));
            let event = if due.is_none() { desk.events.pop_front() } else { None };
            desk.told += u64::from(event.is_some());
            let id = format!("{:x}{:x}", MachineClock::wall().as_microsecond(), desk.told);
            drop(desk);
            match (due, event) {
                (Some((place, status)), _) => {
                    let wrote = self.applications.write_status(&place, &status);
                    self.wrote(&place, status, wrote);
                }
                (None, Some((place, what, at))) => {
                    if let Err(error) = events::write(&self.client, &place, &what, at, &id, &self.instance) {
                        tracing::debug!(app = %place.name, %error, reason = what.reason, "an event was not written");
                    }
                }
                (None, None) => return,
            }
        }
    }

    fn wrote(&self, place: &Place, status: ApplicationStatus, wrote: Result<(), ApiError>) {
        let mut desk = self.desk();
        let Some(subject) = desk.subjects.get_mut(place) else { return };
        match wrote {
            Ok(()) => {
                subject.written = Some(status);
                subject.again = None;
            }
            // Gone, or another one has its name: the next list says what is there.
            Err(error) if error.is_missing() || error.is_conflict() => {
                desk.subjects.remove(place);
            }
            Err(error) => {
                let wait = subject.again.map_or(AGAIN.0, |(_, wait)| (wait * 2).min(AGAIN.1));
                subject.again = Some((Instant::now() + wait, wait));
                tracing::warn!(app = %place.name, %error, "the status was not written; it is tried again");
            }
        }
    }

    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subject {
    fn is_due(&self) -> bool {
        self.pending.is_some() && self.again.is_none_or(|(at, _)| Instant::now() >= at)
    }

    fn drop_what_is_known(&mut self) {
        if self.pending == self.written {
            self.pending = None;
        }
    }
}
