//! What people are alerted of, and in which words: made of the facts of one commit, so that an alert and its fact are
//! durable together (`GUARDS.md` 6 and 7).
//!
//! Nothing here causes or clears a latch, and no decision depends on whether an alert arrives.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::drift::Class;
use super::ledger::Fact;
use super::reason::Reason;
use super::resource::Id;
use super::state::{LatchName, State};

/// How many resources an alert names; all are counted.
const NAMED: usize = 100;

/// How many resources its text names.
const TOLD: usize = 5;

/// The longest wait before an alert that did not arrive is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What an alert is about, as receivers choose (`on: [halt, freeze, failing]`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Topic {
    /// A latch was set that nobody asked for, or was cleared.
    Halt,
    /// Somebody froze or thawed.
    Freeze,
    /// A resource does not converge or was changed by hand, or converges again.
    Failing,
}

/// One alert.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// What it is about.
    pub topic: Topic,
    /// The latch, or what happened to the resources. Of a latch only the newest alert waits.
    pub subject: Arc<str>,
    /// Whether a newer alert of this subject takes the place of one that still waits.
    pub replaces: bool,
    /// Whether something began; otherwise it is over.
    pub set: bool,
    /// All of it in one sentence.
    pub text: String,
    /// Why, in numbers.
    pub reasons: Vec<Reason>,
    /// The first resources that it is about, and why.
    pub resources: Vec<(Id, Arc<str>)>,
    /// How many resources it is about.
    pub count: usize,
}

/// Returns the alerts of facts that are about to be made durable.
pub fn of(app: &str, before: &State, facts: &[Fact]) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = facts.iter().filter_map(|fact| of_latch(app, before, fact)).collect();
    let mut groups = Groups::default();
    for fact in facts {
        groups.add(before, fact);
    }
    alerts.extend(groups.alerts(app));
    alerts
}

/// Returns how long to wait before an alert is sent again, `jitter` being a random number in `0.0..1.0`.
pub fn retry_after(attempts: u32, jitter: f64) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << attempts.min(20)).min(LONGEST_WAIT);
    doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

fn of_latch(app: &str, before: &State, fact: &Fact) -> Option<Alert> {
    match fact {
        Fact::Latched { latch, state } => {
            let news =
                before.app.latches.get(latch).is_none_or(|known| {
                    known.judged != state.judged || codes(&known.reasons).ne(codes(&state.reasons))
                });
            news.then(|| set(app, *latch, &state.reasons))
        }
        Fact::Cleared { latch, by } => Some(cleared(app, *latch, Some(by))),
        Fact::Reanchored { by, reason, .. } => {
            Some(cleared(app, LatchName::State, Some(&format!("reanchored by {by}: {reason}"))))
        }
        // Nobody needs to be told that what only observes observes, unless it was meant to write.
        Fact::Barred { bar: LatchName::Observe, reasons } if codes(reasons).any(|code| &**code == "permission") => {
            Some(set(app, LatchName::Observe, reasons))
        }
        Fact::Barred { bar: LatchName::Observe, .. } | Fact::Unbarred { bar: LatchName::Observe } => None,
        Fact::Barred { bar, reasons } => Some(set(app, *bar, reasons)),
        Fact::Unbarred { bar } => Some(cleared(app, *bar, None)),
        // The first freeze is told when it begins to hold, wherever it comes from, and the last when it ends; this is
        // another one, or one less.
        Fact::Freezes { change, state }
            if before.app.bars.contains_key(&LatchName::Freeze) && !state.freezes.is_empty() =>
        {
            let mut alert = set(app, LatchName::Freeze, &[Reason::new("freeze", change.clone())]);
            alert.text = format!("{app}: {change}");
            Some(alert)
        }
        _ => None,
    }
}

fn codes(reasons: &[Reason]) -> impl Iterator<Item = &Arc<str>> {
    reasons.iter().map(|reason| &reason.code)
}

const fn topic(latch: LatchName) -> Topic {
    match latch {
        LatchName::Freeze => Topic::Freeze,
        _ => Topic::Halt,
    }
}

fn latch_alert(latch: LatchName, set: bool, text: String, reasons: &[Reason]) -> Alert {
    Alert {
        topic: topic(latch),
        subject: latch.as_str().into(),
        replaces: true,
        set,
        text,
        reasons: reasons.to_vec(),
        resources: Vec::new(),
        count: 0,
    }
}

fn set(app: &str, latch: LatchName, reasons: &[Reason]) -> Alert {
    let why: Vec<&str> = reasons.iter().take(3).map(|reason| reason.message.as_str()).collect();
    latch_alert(latch, true, format!("{app}: {} holds: {}", latch.as_str(), why.join("; ")), reasons)
}

fn cleared(app: &str, latch: LatchName, by: Option<&str>) -> Alert {
    let by = by.map(|by| format!(": {by}")).unwrap_or_default();
    latch_alert(latch, false, format!("{app}: {} holds no longer{by}", latch.as_str()), &[])
}

/// Facts about resources, grouped: 400 resources that wait for one approval are one alert.
#[derive(Default)]
struct Groups<'a> {
    failing: Vec<(&'a Id, Arc<str>)>,
    mended: Vec<(&'a Id, Arc<str>)>,
    fought: Vec<(&'a Id, Arc<str>)>,
    drifted: BTreeMap<Class, Vec<(&'a Id, Arc<str>)>>,
    cycles: u32,
}

impl<'a> Groups<'a> {
    fn add(&mut self, before: &State, fact: &'a Fact) {
        let alerted = |id: &Id| {
            let differing = before.trouble(id).and_then(|trouble| trouble.differing.as_ref());
            differing.is_some_and(|differing| differing.alerted)
        };
        match fact {
            Fact::Differs { id, differing } if differing.alerted && !alerted(id) => {
                self.cycles = self.cycles.max(differing.cycles);
                let failed = before.trouble(id).and_then(|trouble| trouble.breaker.as_ref());
                let why = failed.map_or_else(|| differing.why.clone(), |breaker| breaker.reason.clone());
                self.failing.push((id, why));
            }
            Fact::Agrees { id } | Fact::Wrote { id, .. } | Fact::FoundDone { id, .. } if alerted(id) => {
                self.mended.push((id, "converged".into()))
            }
            Fact::Quarantined { id } => self.fought.push((id, "fought".into())),
            Fact::Announced { id, class, answer } => {
                self.drifted.entry(*class).or_default().push((id, answer.as_str().into()));
            }
            _ => {}
        }
    }

    fn alerts(self, app: &str) -> Vec<Alert> {
        let Self { failing, mended, fought, drifted, cycles } = self;
        let mut alerts = Vec::new();
        let counted = format!("not converged for {cycles} counted cycles");
        alerts.extend(group(app, "failing", true, &counted, &failing));
        alerts.extend(group(app, "failing", false, "converged again", &mended));
        let left = "quarantined: reverted too often, changed back each time; holdfast release lets it be written again";
        alerts.extend(group(app, "fight", true, left, &fought));
        for (class, drifts) in &drifted {
            let what = match class {
                Class::Tamper => "tampered with (access control)",
                Class::Emergency => "changed by hand in an emergency, and left alone",
                _ => "changed outside Git",
            };
            alerts.extend(group(app, class.as_str(), true, what, drifts));
        }
        alerts
    }
}

fn group(app: &str, subject: &str, set: bool, what: &str, resources: &[(&Id, Arc<str>)]) -> Option<Alert> {
    let (count, first) = (resources.len(), resources.get(..TOLD.min(resources.len()))?);
    if first.is_empty() {
        return None;
    }
    let noun = if count == 1 { "resource" } else { "resources" };
    let mut text = format!("{app}: {count} {noun} {what}: ");
    let named = first.iter().map(|(id, why)| if set { format!("{id} ({why})") } else { id.to_string() });
    text.push_str(&named.collect::<Vec<_>>().join(", "));
    if count > first.len() {
        let _ = write!(text, ", and {} more", count - first.len());
    }
    let resources = resources.iter().take(NAMED).map(|(id, why)| ((*id).clone(), why.clone())).collect();
    let (topic, reasons) = (Topic::Failing, Vec::new());
    Some(Alert { topic, subject: subject.into(), replaces: false, set, text, reasons, resources, count })
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Touched;
    use super::super::state::{Differing, Latch};
    use super::*;

    fn latch(code: &str, clean: u32) -> Fact {
        let state = Latch {
            since: jiff::Timestamp::UNIX_EPOCH,
            reasons: vec![Reason::new(code, format!("{code} was crossed"))],
            judged: Some("d".into()),
            digest: None,
            clean,
            clean_at: 0,
            wrote: None,
            only: Vec::new(),
        };
        Fact::Latched { latch: LatchName::Plan, state: Box::new(state) }
    }

    fn folded(facts: &[Fact]) -> State {
        let mut state = State::default();
        facts.iter().for_each(|fact| state.fold(fact, &mut Touched::default()));
        state
    }

    fn differs(id: &str, alerted: bool) -> Fact {
        let since = jiff::Timestamp::UNIX_EPOCH;
        let differing = Differing { since, cycles: 3, at: 3, alerted, why: "pending".into() };
        Fact::Differs { id: Id::new(id), differing }
    }

    #[test]
    fn a_latch_alerts_when_it_is_set_or_says_something_else_and_when_it_is_cleared() {
        let facts = [latch("delete_halt", 0)];
        let alerts = of("web", &State::default(), &facts);
        assert_eq!(alerts.len(), 1);
        assert_eq!((alerts[0].topic, &*alerts[0].subject, alerts[0].set), (Topic::Halt, "PLAN", true));
        assert_eq!(alerts[0].text, "web: PLAN holds: delete_halt was crossed");
        let held = folded(&facts);
        assert!(of("web", &held, &[latch("delete_halt", 1)]).is_empty(), "it is counting, no news");
        assert_eq!(of("web", &held, &[latch("change_halt", 0)]).len(), 1);
        let alerts = of("web", &held, &[Fact::Cleared { latch: LatchName::Plan, by: "approved by bob".into() }]);
        assert_eq!((alerts[0].set, alerts[0].text.as_str()), (false, "web: PLAN holds no longer: approved by bob"));
    }

    #[test]
    fn a_freeze_alerts_once_when_it_begins_and_once_for_each_further_change() {
        let reasons = vec![Reason::new("freeze", "frozen by carol (api): pager")];
        let barred = Fact::Barred { bar: LatchName::Freeze, reasons };
        let none = crate::core::freeze::FreezeState::default();
        let (frozen, change) =
            none.with_operator("carol", "api", Default::default(), jiff::Timestamp::UNIX_EPOCH).unwrap();
        let freezes = Fact::Freezes { state: frozen, change };
        let thawed = Fact::Freezes { state: none, change: "lifted".into() };
        let alerts = of("web", &State::default(), &[freezes.clone(), barred.clone()]);
        assert_eq!(alerts.len(), 1);
        assert_eq!((alerts[0].topic, alerts[0].set), (Topic::Freeze, true));
        let held = folded(&[barred]);
        assert_eq!(of("web", &held, &[freezes]).len(), 1);
        assert_eq!(of("web", &held, &[thawed]).len(), 0, "told when it holds no longer");
        assert!(of("web", &State::default(), &[Fact::Barred { bar: LatchName::Observe, reasons: vec![] }]).is_empty());
        let reasons = vec![Reason::new("permission", "may not patch")];
        assert_eq!(of("web", &State::default(), &[Fact::Barred { bar: LatchName::Observe, reasons }]).len(), 1);
    }

    #[test]
    fn what_fails_alerts_once_grouped_with_its_reasons_and_once_when_it_is_mended() {
        let ids: Vec<String> = (0..7).map(|n| format!("f{n}")).collect();
        let facts: Vec<Fact> = ids.iter().map(|id| differs(id, true)).collect();
        let alerts = of("web", &State::default(), &facts);
        assert_eq!((alerts.len(), alerts[0].count, alerts[0].topic), (1, 7, Topic::Failing));
        assert!(
            alerts[0].text.contains("f0 (pending)") && alerts[0].text.ends_with("and 2 more"),
            "{}",
            alerts[0].text
        );
        assert!(of("web", &State::default(), &[differs("f0", false)]).is_empty(), "not for long enough");
        let told = folded(&facts);
        assert!(of("web", &told, &facts).is_empty(), "told before");
        let mended = of("web", &told, &[Fact::Agrees { id: Id::new("f0") }]);
        assert_eq!((mended.len(), mended[0].set), (1, false));
        assert!(of("web", &State::default(), &[Fact::Agrees { id: Id::new("f0") }]).is_empty());
    }

    #[test]
    fn retries_wait_longer_each_time_up_to_a_cap() {
        let waits: Vec<u64> = [0, 1, 5, 40].map(|attempts| retry_after(attempts, 1.0).as_secs()).into();
        assert_eq!(waits, [1, 2, 32, 900]);
        assert_eq!(retry_after(0, 0.0), Duration::from_millis(500));
    }
}
