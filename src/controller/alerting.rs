//! Delivers alerts: `core` says what alerts, the ledger keeps it until it arrived, a thread per receiver sends it.
//!
//! An alert is queued in the commit of its fact. One that does not arrive is sent again, for ever, ever more slowly; it is no
//! decision's business (`GUARDS.md` 5.9, 7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::book::Stores;
use super::wake::Wake;
use crate::alerts::{Alert as Letter, AlertError, Sender, SetupError};
use crate::clock::MachineClock;
use crate::config::{Event, Notify};
use crate::core::alert::{self, Alert, Topic};
use crate::core::ledger::Fact;
use crate::core::resource::Digest;
use crate::core::state::State;
use crate::store::{Ledger, Notice, Queued, StoreError};

/// How often the queue is looked at: commands of other processes put alerts there too.
const POLL: Duration = Duration::from_millis(250);

/// How many alerts are taken from the queue at once.
const BATCH: usize = 500;

/// What begins the kind of a queued alert.
const KIND: &str = "alert.";

/// Who is told of what.
#[derive(Clone, Debug, Default)]
pub struct Receivers {
    list: Vec<Receiver>,
}

/// One address.
#[derive(Clone, Debug)]
struct Receiver {
    /// Names it in the queue: the address itself may hold a token.
    id: String,
    url: String,
    on: BTreeSet<Event>,
}

impl Receivers {
    /// Takes up the configured receivers, each address once.
    pub fn of(notify: &[Notify]) -> Self {
        let mut on: BTreeMap<&str, BTreeSet<Event>> = BTreeMap::new();
        for to in notify {
            on.entry(&to.url).or_default().extend(&to.on);
        }
        let receiver = |(url, on): (&str, BTreeSet<Event>)| {
            let digest = Digest::of_parts([url.as_bytes()]).to_string();
            let id = digest.trim_start_matches("sha256:").chars().take(16).collect();
            Receiver { id, url: url.to_owned(), on }
        };
        Self { list: on.into_iter().map(receiver).collect() }
    }

    /// Returns what is to be queued in the commit of these facts.
    pub fn notices(&self, ledger: &str, app: &str, before: &State, facts: &[Fact]) -> Vec<Notice> {
        if self.list.is_empty() {
            return Vec::new();
        }
        let mut notices = Vec::new();
        for (at, alert) in alert::of(app, before, facts).iter().enumerate() {
            let id = format!("{}-{app}-{}-{at}", ledger.get(..8).unwrap_or(ledger), before.seq);
            let json = letter(&id, app, alert, MachineClock::wall()).to_string();
            let event = event(alert.topic);
            for to in self.list.iter().filter(|to| to.on.contains(&event)) {
                let of = if alert.replaces { &*alert.subject } else { id.as_str() };
                notices.push(Notice {
                    kind: format!("{KIND}{}", event.as_str()),
                    key: format!("{}{app}/{of}", to.prefix()),
                    json: json.clone(),
                });
            }
        }
        notices
    }
}

impl Receiver {
    fn prefix(&self) -> String {
        format!("alert/{}/", self.id)
    }
}

const fn event(topic: Topic) -> Event {
    match topic {
        Topic::Halt => Event::Halt,
        Topic::Freeze => Event::Freeze,
        Topic::Failing => Event::Failing,
    }
}

/// Writes an alert as receivers get it.
fn letter(id: &str, app: &str, alert: &Alert, at: Timestamp) -> Value {
    let Alert { topic, subject, replaces: _, set, text, reasons, resources, count } = alert;
    let mut json = json!({
        "id": id, "event": event(*topic).as_str(), "state": if *set { "set" } else { "cleared" }, "application": app,
        "subject": subject, "at": at, "text": text, "next": format!("holdfast status {app}"),
    });
    if !reasons.is_empty() {
        json["reasons"] = json!(reasons);
    }
    if *count > 0 {
        let named = resources.iter().map(|(id, why)| json!({ "resource": id, "reason": why }));
        json["resources"] = named.collect();
        json["count"] = json!(count);
    }
    json
}

/// Sends what is queued.
pub struct Courier {
    stores: Arc<Stores>,
    sender: Sender,
    receivers: Receivers,
}

impl Courier {
    /// Makes a courier; `None` when nobody is to be told anything.
    ///
    /// # Errors
    /// That no HTTP client can be made.
    pub fn new(notify: &[Notify], stores: &Arc<Stores>) -> Result<Option<Self>, SetupError> {
        if notify.is_empty() {
            return Ok(None);
        }
        let (sender, receivers) = (Sender::new(notify)?, Receivers::of(notify));
        Ok(Some(Self { stores: stores.clone(), sender, receivers }))
    }

    /// Delivers until the controller ends: one thread per receiver, so that none waits for another.
    pub fn run<'scope>(&'scope self, scope: &'scope std::thread::Scope<'scope, '_>, wake: &'scope Wake) {
        self.forget_strangers();
        for receiver in &self.receivers.list {
            scope.spawn(move || {
                while !wake.stopped() {
                    self.pass(receiver, &|| wake.stopped());
                    std::thread::sleep(POLL);
                }
            });
        }
    }

    /// Tries everything that is due once, for a controller that ends after one cycle.
    pub fn once(&self) {
        self.forget_strangers();
        for receiver in &self.receivers.list {
            self.pass(receiver, &|| false);
        }
    }

    /// Sends what is due to one receiver. After the first failure the rest waits with it: it is the receiver that is down.
    fn pass(&self, receiver: &Receiver, stopped: &dyn Fn() -> bool) {
        let ledger = self.stores.current();
        let due = match ledger.outbox_due(MachineClock::wall(), BATCH) {
            Ok(due) => due,
            Err(error) => return tracing::debug!(%error, "the queue of alerts cannot be read"),
        };
        let prefix = receiver.prefix();
        let mut failed: Option<(Timestamp, String)> = None;
        for queued in due.iter().filter(|queued| queued.notice.key.starts_with(&prefix)) {
            if stopped() {
                return;
            }
            let kept = match &failed {
                Some((next, why)) => ledger.outbox_fail(queued, *next, why),
                None => match self.send(receiver, queued) {
                    Ok(()) => done(ledger, queued),
                    Err(error) => {
                        let (next, why) = (again(queued.attempts, &error), error.to_string());
                        tracing::warn!(alert = %queued.notice.key, attempts = queued.attempts + 1, %why, %next, "an alert did not arrive");
                        failed = Some((next, why.clone()));
                        ledger.outbox_fail(queued, next, &why)
                    }
                },
            };
            if let Err(error) = kept {
                return tracing::error!(%error, "what became of an alert cannot be kept: it may be sent again");
            }
        }
    }

    fn send(&self, receiver: &Receiver, queued: &Queued) -> Result<(), AlertError> {
        let Some(event) = event_of(queued) else { return Err(AlertError::Unknown(queued.notice.kind.clone())) };
        let id = serde_json::from_str::<Value>(&queued.notice.json).unwrap_or_default();
        let id = id["id"].as_str().unwrap_or(&queued.notice.key);
        let letter = Letter { id, event, json: &queued.notice.json };
        match self.sender.send(&receiver.url, &letter, MachineClock::wall()) {
            // The receiver takes other events by now.
            Err(AlertError::Unknown(_)) => Ok(()),
            sent => sent,
        }
    }

    /// Drops what waits for receivers that are configured no longer.
    fn forget_strangers(&self) {
        let ledger = self.stores.current();
        let Ok(due) = ledger.outbox_due(Timestamp::MAX, BATCH) else { return };
        let known = |queued: &Queued| {
            self.receivers.list.iter().any(|receiver| queued.notice.key.starts_with(&receiver.prefix()))
        };
        for queued in due.iter().filter(|queued| queued.notice.kind.starts_with(KIND) && !known(queued)) {
            tracing::warn!(alert = %queued.notice.key, "dropped: its receiver is configured no longer");
            if let Err(error) = done(ledger, queued) {
                tracing::debug!(%error, "an alert nobody wants could not be dropped");
            }
        }
    }
}

fn done(ledger: &Ledger, queued: &Queued) -> Result<(), StoreError> {
    ledger.outbox_done(queued, None, MachineClock::wall())
}

fn event_of(queued: &Queued) -> Option<Event> {
    let name = queued.notice.kind.strip_prefix(KIND)?;
    Event::ALL.into_iter().find(|event| event.as_str() == name)
}

/// Returns when an alert is sent again: later each time, and not before the receiver asked for.
fn again(attempts: u32, error: &AlertError) -> Timestamp {
    let now = MachineClock::wall();
    // Jitter only: what does not repeat within a second is random enough.
    let jitter = f64::from(now.subsec_nanosecond().unsigned_abs() % 1000) / 1000.0;
    let asked = match error {
        AlertError::Refused { wait: Some(wait), .. } => *wait,
        _ => Duration::ZERO,
    };
    let wait = alert::retry_after(attempts, jitter).max(asked);
    now.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::reason::Reason;
    use crate::core::state::LatchName;

    fn notify(url: &str, on: &[Event]) -> Notify {
        Notify { url: url.to_owned(), secret_file: None, on: on.to_vec() }
    }

    #[test]
    fn each_receiver_gets_what_it_wants_and_no_key_tells_its_address() {
        let receivers = Receivers::of(&[
            notify("http://a/?token=hunter2", &[Event::Halt]),
            notify("http://b/", &[Event::Freeze]),
            notify("http://a/?token=hunter2", &[Event::Failing]),
        ]);
        let facts = [
            Fact::Barred { bar: LatchName::Render, reasons: vec![Reason::new("render", "it does not parse")] },
            Fact::Barred { bar: LatchName::Freeze, reasons: vec![Reason::new("freeze", "pager")] },
        ];
        let notices = receivers.notices("0123456789abcdef", "web", &State::default(), &facts);
        let kinds: Vec<_> = notices.iter().map(|notice| notice.kind.as_str()).collect();
        assert_eq!(kinds, ["alert.halt", "alert.freeze"]);
        assert!(notices.iter().all(|notice| !format!("{notice:?}").contains("hunter2")));
        assert_ne!(notices[0].key.split('/').nth(1), notices[1].key.split('/').nth(1));
        let json: Value = serde_json::from_str(&notices[0].json).unwrap();
        assert_eq!(
            (json["id"].as_str(), json["event"].as_str(), json["state"].as_str(), json["subject"].as_str()),
            (Some("01234567-web-0-0"), Some("halt"), Some("set"), Some("RENDER"))
        );
        assert!(Receivers::default().notices("x", "web", &State::default(), &facts).is_empty());
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it() {
        let refused = |wait| AlertError::Refused { status: reqwest::StatusCode::SERVICE_UNAVAILABLE, wait };
        let now = MachineClock::wall();
        let seconds = |error: &AlertError| again(0, error).duration_since(now).as_secs();
        assert!(seconds(&refused(Some(Duration::from_secs(100)))) >= 99);
        assert!(seconds(&refused(None)) <= 5);
    }
}
