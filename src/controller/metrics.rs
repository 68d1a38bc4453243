//! The metrics (`INTERFACE.md`): counted from facts as they become durable, and read from each cycle's report.
//!
//! No label takes a resource's name, a commit or a message: every series is one of a fixed set per application.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::report::Status;
use crate::core::drift::Class;
use crate::core::failing;
use crate::core::ledger::Fact;
use crate::core::op::{Effect, Verb};
use crate::core::state::{LatchName, State};

/// Seconds that a cycle takes: files in milliseconds, a large repository over a slow line in a minute.
const CYCLE_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// Seconds until something is as it should be: at once, an interval, an approval the next day.
const SETTLING_BUCKETS: [f64; 10] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 604_800.0];

/// Every class of drift, as the label spells it.
const CLASSES: [Class; 6] =
    [Class::Missing, Class::Tamper, Class::Emergency, Class::Fresh, Class::Routine, Class::Extra];

/// What becomes of an attempted write.
const OUTCOMES: [&str; 3] = ["done", "failed", "moved"];

/// What is asked of a target whose kind does not count its requests by itself.
const VERBS: [&str; 4] = ["observe", "create", "update", "delete"];

/// The kind of target that counts its requests by itself.
const KUBERNETES: &str = "kubernetes";

/// One metric's description: name without the suffix of its kind, kind, labels, help.
struct Described {
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
}

const fn described(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Described {
    Described { name, kind, labels, help }
}

const DRIFTED: Described = described(
    "holdfast_drifted_resources",
    "gauge",
    &["application", "class"],
    "Resources that differ from the accepted state without a commit, by class of drift",
);
const LATCH: Described =
    described("holdfast_latch", "gauge", &["application", "latch"], "1 while a latch or bar holds, 0 otherwise");
const CYCLE: Described =
    described("holdfast_cycle_seconds", "histogram", &[], "How long a cycle of one application took, acting included");
const CONVERGENCE: Described = described(
    "holdfast_convergence_seconds",
    "histogram",
    &[],
    "Time from when a commit was first seen to when everything was converged to it",
);
const HEAL: Described = described(
    "holdfast_heal_seconds",
    "histogram",
    &[],
    "Time from when a resource's drift was first seen to when it was reverted",
);
const ACTIONS: Described = described(
    "holdfast_actions",
    "counter",
    &["application", "effect", "outcome"],
    "Attempted writes by effect (create, update, delete) and outcome (done, failed, moved: the precondition did not hold)",
);
const FAILING: Described = described(
    "holdfast_failing_resources",
    "gauge",
    &["application", "reason"],
    "Resources that have not converged for as many counted cycles as guards.failures says, or whose writes fail, by reason",
);
const COMPLETE: Described = described(
    "holdfast_last_complete_cycle_timestamp_seconds",
    "gauge",
    &[],
    "When the application whose last complete cycle is the longest ago began it; 0 until each has had one",
);
const FETCH: Described = described(
    "holdfast_last_fetch_timestamp_seconds",
    "gauge",
    &[],
    "When the application whose last successful fetch is the longest ago made it; 0 until each has had one",
);
const POISONED: Described = described(
    "holdfast_poisoned_commits",
    "counter",
    &[],
    "Commits that were named as the culprit of a plan that was held",
);
const REQUESTS: Described = described(
    "holdfast_api_requests",
    "counter",
    &["target", "verb"],
    "Requests to targets, by the target's kind and by verb: observe, create, update, delete; of a cluster those of its API, with discover and rehearse (a dry-run)",
);

/// Every metric, in the order of the reference.
const METRICS: [&Described; 11] =
    [&DRIFTED, &LATCH, &CYCLE, &CONVERGENCE, &HEAL, &ACTIONS, &FAILING, &COMPLETE, &FETCH, &POISONED, &REQUESTS];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DriftLabels {
    application: String,
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LatchLabels {
    application: String,
    latch: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ActionLabels {
    application: String,
    effect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailingLabels {
    application: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    target: &'static str,
    verb: &'static str,
}

/// What a fact counts for.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A write was attempted.
    Action(Effect, &'static str),
    /// Everything was converged, so many seconds after the commit was first seen.
    Converged(u64),
    /// Drift was reverted, so many seconds after it was first seen.
    Healed(Effect, u64),
    /// A poisoned commit was named.
    Poisoned,
    /// Something was asked of a target of this kind.
    Request(&'static str, &'static str),
}

impl Event {
    /// Returns what a fact counts for, given the state before it.
    pub fn of(target: &'static str, before: &State, fact: &Fact) -> Option<Self> {
        let op = |purpose, index| before.rollout_ops.get(&(purpose, index)).map(|slot| &slot.op);
        // A cluster's requests are counted one by one, where they are sent.
        let counts = target != KUBERNETES;
        match fact {
            Fact::Cycle { .. } if counts => Some(Self::Request(target, "observe")),
            // The reservation is the last thing that is durable before the request.
            Fact::Reserved { purpose, index, .. } if counts => op(*purpose, *index).map(|op| {
                let verb = match op.verb {
                    Verb::Create => "create",
                    Verb::Update => "update",
                    Verb::Delete => "delete",
                };
                Self::Request(target, verb)
            }),
            Fact::Wrote { effect, healed_after: Some(seconds), .. } => Some(Self::Healed(*effect, *seconds)),
            Fact::Wrote { effect, healed_after: None, .. } => Some(Self::Action(*effect, "done")),
            Fact::Failed { purpose, index, .. } => op(*purpose, *index).map(|op| Self::Action(op.effect, "failed")),
            Fact::Moved { purpose, index, .. } => op(*purpose, *index).map(|op| Self::Action(op.effect, "moved")),
            Fact::Converged { seconds, .. } => seconds.map(Self::Converged),
            Fact::Poisoned { .. } => Some(Self::Poisoned),
            _ => None,
        }
    }
}

/// When an application was last looked at as a whole, in seconds since the epoch; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    complete: f64,
    fetch: f64,
}

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    drifted: Family<DriftLabels, Gauge>,
    latch: Family<LatchLabels, Gauge>,
    cycle: Histogram,
    convergence: Histogram,
    heal: Histogram,
    actions: Family<ActionLabels, Counter>,
    failing: Family<FailingLabels, Gauge>,
    complete: Gauge<f64, AtomicU64>,
    fetch: Gauge<f64, AtomicU64>,
    poisoned: Counter,
    requests: Family<RequestLabels, Counter>,
    stamps: Mutex<BTreeMap<Arc<str>, Stamps>>,
}

impl Metrics {
    /// Makes the metrics of these applications, with the kinds of their targets. Every series is there from the start, so
    /// that a rate over one that counts its first event is right.
    pub fn new<'a>(apps: impl IntoIterator<Item = (&'a Arc<str>, &'static str)>) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            drifted: Family::default(),
            latch: Family::default(),
            cycle: Histogram::new(CYCLE_BUCKETS),
            convergence: Histogram::new(SETTLING_BUCKETS),
            heal: Histogram::new(SETTLING_BUCKETS),
            actions: Family::default(),
            failing: Family::default(),
            complete: Gauge::default(),
            fetch: Gauge::default(),
            poisoned: Counter::default(),
            requests: Family::default(),
            stamps: Mutex::default(),
        };
        metrics.register();
        for (app, target) in apps {
            metrics.begin(app, target);
        }
        metrics
    }

    fn register(&mut self) {
        let Self { registry, .. } = self;
        registry.register(DRIFTED.name, DRIFTED.help, self.drifted.clone());
        registry.register(LATCH.name, LATCH.help, self.latch.clone());
        registry.register(CYCLE.name, CYCLE.help, self.cycle.clone());
        registry.register(CONVERGENCE.name, CONVERGENCE.help, self.convergence.clone());
        registry.register(HEAL.name, HEAL.help, self.heal.clone());
        registry.register(ACTIONS.name, ACTIONS.help, self.actions.clone());
        registry.register(FAILING.name, FAILING.help, self.failing.clone());
        registry.register(COMPLETE.name, COMPLETE.help, self.complete.clone());
        registry.register(FETCH.name, FETCH.help, self.fetch.clone());
        registry.register(POISONED.name, POISONED.help, self.poisoned.clone());
        registry.register(REQUESTS.name, REQUESTS.help, self.requests.clone());
    }

    /// Drops the series that say how an application stands, once it is worked on no longer.
    pub fn end(&self, app: &Arc<str>) {
        let application = || app.to_string();
        for class in CLASSES {
            self.drifted.remove(&DriftLabels { application: application(), class: class.as_str() });
        }
        for latch in LatchName::ALL {
            self.latch.remove(&LatchLabels { application: application(), latch: latch.as_str() });
        }
        for reason in failing::WHYS {
            self.failing.remove(&FailingLabels { application: application(), reason });
        }
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
    }

    /// Begins the series of an application.
    pub fn begin(&self, app: &Arc<str>, target: &'static str) {
        let application = || app.to_string();
        for class in CLASSES {
            self.drifted.get_or_create(&DriftLabels { application: application(), class: class.as_str() }).set(0);
        }
        for latch in LatchName::ALL {
            self.latch.get_or_create(&LatchLabels { application: application(), latch: latch.as_str() }).set(0);
        }
        for effect in ["create", "update", "delete"] {
            for outcome in OUTCOMES {
                self.actions.get_or_create(&ActionLabels { application: application(), effect, outcome }).inc_by(0);
            }
        }
        for reason in failing::WHYS {
            self.failing.get_or_create(&FailingLabels { application: application(), reason }).set(0);
        }
        for verb in if target == KUBERNETES { &crate::targets::kubernetes::VERBS[..] } else { &VERBS[..] } {
            self.requests.get_or_create(&RequestLabels { target, verb }).inc_by(0);
        }
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner).entry(app.clone()).or_default();
    }

    /// Counts requests that were sent to a target.
    pub fn requested(&self, target: &'static str, requests: &[(&'static str, u64)]) {
        for (verb, count) in requests {
            self.requests.get_or_create(&RequestLabels { target, verb }).inc_by(*count);
        }
    }

    /// Counts what a fact counts for.
    pub fn count(&self, app: &str, event: &Event) {
        let action = |effect: &Effect, outcome| {
            let effect = match effect {
                Effect::Create => "create",
                Effect::Update => "update",
                Effect::Delete => "delete",
            };
            self.actions.get_or_create(&ActionLabels { application: app.to_owned(), effect, outcome }).inc();
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds of a histogram")]
        match event {
            Event::Action(effect, outcome) => action(effect, outcome),
            Event::Healed(effect, seconds) => {
                action(effect, "done");
                self.heal.observe(*seconds as f64);
            }
            Event::Converged(seconds) => self.convergence.observe(*seconds as f64),
            Event::Poisoned => {
                self.poisoned.inc();
            }
            Event::Request(target, verb) => {
                self.requests.get_or_create(&RequestLabels { target, verb }).inc();
            }
        }
    }

    /// Counts a cycle, by how many seconds it took.
    pub fn took(&self, seconds: f64) {
        self.cycle.observe(seconds);
    }

    /// Shows what a cycle found: its report, and what does not converge by reason.
    pub fn found(&self, status: &Status, failing: &BTreeMap<&str, u32>) {
        let application = || status.name.to_string();
        for class in CLASSES.map(Class::as_str) {
            let count = status.drift.by_class.get(class).copied().unwrap_or(0);
            self.drifted.get_or_create(&DriftLabels { application: application(), class }).set(count.into());
        }
        for name in LatchName::ALL {
            let holds = status.latches.iter().any(|latch| latch.name == name);
            let labels = LatchLabels { application: application(), latch: name.as_str() };
            self.latch.get_or_create(&labels).set(holds.into());
        }
        for reason in failing::WHYS {
            let count = failing.get(reason).copied().unwrap_or(0);
            self.failing.get_or_create(&FailingLabels { application: application(), reason }).set(count.into());
        }
        self.stamp(status);
    }

    fn stamp(&self, status: &Status) {
        let at = seconds(status.last_cycle.started);
        let mut all = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = all.entry(status.name.clone()).or_default();
        if status.last_cycle.complete {
            stamps.complete = at;
        }
        if status.source.tip.is_some() {
            stamps.fetch = at;
        }
        let oldest = |of: fn(&Stamps) -> f64| all.values().map(of).fold(f64::INFINITY, f64::min);
        self.complete.set(oldest(|stamps| stamps.complete));
        self.fetch.set(oldest(|stamps| stamps.fetch));
    }

    /// Returns all metrics in the text format of OpenMetrics.
    ///
    /// # Errors
    /// Those of formatting.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

fn seconds(at: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch are exact in 53 bits")]
    let milliseconds = at.as_millisecond() as f64;
    milliseconds / 1000.0
}

/// Returns the reference of all metrics, as the documentation has it.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\nServed at `/metrics` where `listen` is set, in the text format of OpenMetrics. Counters begin at zero with the \
         process. No label takes a resource's name.\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for Described { name, kind, labels, help } in METRICS {
        let suffix = if *kind == "counter" { "_total" } else { "" };
        let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "| `{name}{suffix}` | {kind} | {labels} | {help} |");
    }
    let list = |out: &mut String, label: &str, values: &[&str]| {
        let values = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(out, "- `{label}`: {values}");
    };
    out.push_str("\nWhat the labels can be, besides an application's name:\n\n");
    list(&mut out, "class", &CLASSES.map(Class::as_str));
    list(&mut out, "latch", &LatchName::ALL.map(LatchName::as_str));
    list(&mut out, "effect", &["create", "update", "delete"]);
    list(&mut out, "outcome", &OUTCOMES);
    list(&mut out, "reason", &failing::WHYS);
    list(&mut out, "target", &["directory", "exec", "kubernetes"]);
    list(&mut out, "verb", &VERBS);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics, start: &str) -> Vec<String> {
        let text = metrics.text().unwrap();
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    #[test]
    fn every_metric_is_served_from_the_start_under_its_name_and_labels() {
        let web: Arc<str> = "web".into();
        let metrics = Metrics::new([(&web, "directory")]);
        let text = metrics.text().unwrap();
        for Described { name, kind, labels, .. } in METRICS {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}:\n{text}");
            let suffix = if *kind == "counter" { "_total" } else { "" };
            let first = lines(&metrics, &format!("{name}{suffix}"));
            let all = |line: &String| labels.iter().all(|label| line.contains(&format!("{label}=\"")));
            assert!(!first.is_empty() && first.iter().all(all), "{name}: {first:?}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn facts_are_counted() {
        let web: Arc<str> = "web".into();
        let metrics = Metrics::new([(&web, "directory")]);
        for event in [
            Event::Healed(Effect::Update, 3),
            Event::Action(Effect::Delete, "failed"),
            Event::Poisoned,
            Event::Request("directory", "observe"),
        ] {
            metrics.count("web", &event);
        }
        let text = metrics.text().unwrap();
        for line in [
            "holdfast_actions_total{application=\"web\",effect=\"update\",outcome=\"done\"} 1",
            "holdfast_actions_total{application=\"web\",effect=\"delete\",outcome=\"failed\"} 1",
            "holdfast_actions_total{application=\"web\",effect=\"create\",outcome=\"done\"} 0",
            "holdfast_heal_seconds_count 1",
            "holdfast_poisoned_commits_total 1",
            "holdfast_api_requests_total{target=\"directory\",verb=\"observe\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}:\n{text}");
        }
    }
}
