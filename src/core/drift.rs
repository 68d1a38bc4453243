//! Live drift: its classes, and what becomes of each (`GUARDS.md` 6).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::effect::is_of_kind;
use super::glob;
use super::guards::{DriftPolicies, DriftPolicy, Ignore};
use super::ledger::Fact;
use super::resource::{Digest, Here, Id, Leftover, Live};
use super::state::{Accepted, DriftMark, Trouble};
use super::weaken::{self, Weakened};

/// Why a resource drifts, as far as it can be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// An accepted resource is gone.
    Missing,
    /// Access control was changed.
    Tamper,
    /// A person changed it: held, or by an interactive writer.
    Emergency,
    /// Nobody knows who changed it, and it was less than `grace` ago.
    Fresh,
    /// Anything else.
    Routine,
    /// An exclusive target holds what nobody declared.
    Extra,
}

impl Class {
    /// Returns the class as JSON, text and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Tamper => "tamper",
            Self::Emergency => "emergency",
            Self::Fresh => "fresh",
            Self::Routine => "routine",
            Self::Extra => "extra",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What becomes of a drifted resource now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is reverted.
    Revert,
    /// It is announced, and reverted from then on.
    RevertAt(Timestamp),
    /// People are told and nothing is written, until then if a time is given.
    Escalate(Option<Timestamp>),
    /// It is left alone.
    Leave(Arc<str>),
}

/// One drifted resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drift {
    /// Which.
    pub id: Id,
    /// Why, as far as it can be told.
    pub class: Class,
    /// What is there instead; absent when it is gone.
    pub live: Option<Digest>,
    /// When it was first seen so.
    pub since: Timestamp,
    /// Who changed it, where the target records it.
    pub by: Option<Arc<str>>,
    /// What becomes of it.
    pub answer: Answer,
    /// What no commit declares any longer and is still there; empty for what differs from what was accepted.
    pub leftover: Vec<Leftover>,
}

/// Tells whether a hold is in force.
pub fn held(trouble: Option<&Trouble>, now: Timestamp) -> bool {
    !weaken::is(Weakened::Emergency)
        && trouble
            .and_then(|trouble| trouble.hold.as_ref())
            .is_some_and(|hold| hold.until.is_none_or(|until| now < until))
}

/// Tells whether a resource was fought over and is left alone.
pub fn quarantined(trouble: Option<&Trouble>) -> bool {
    !weaken::is(Weakened::Quarantine) && trouble.is_some_and(|trouble| trouble.quarantined.is_some())
}

/// Tells whether a person said that what is there now may be taken back. What was changed since is another matter, also where the
/// digest is the same because the place is somebody else's now; and a hold comes first.
pub fn released(trouble: Option<&Trouble>, here: Option<&Here>, now: Timestamp) -> bool {
    let mark = trouble.and_then(|trouble| trouble.drift.as_ref());
    let mark = mark.filter(|mark| mark.live == here.map(|here| here.digest));
    let since = |at: Timestamp| here.and_then(|here| here.touch().at).is_some_and(|touched| touched > at);
    mark.and_then(|mark| mark.released).is_some_and(|at| !since(at)) && !held(trouble, now)
}

fn matches(ignore: &Ignore, id: &Id) -> bool {
    ignore.kind.as_ref().is_none_or(|kind| is_of_kind(id, kind))
        && ignore.resource.as_ref().is_none_or(|pattern| glob::matches(pattern, id.as_str()))
}

/// Tells whether drift of a resource is ignored as a whole.
pub fn ignored(id: &Id, policies: &DriftPolicies) -> bool {
    policies.ignore.iter().any(|ignore| ignore.paths.is_empty() && matches(ignore, id))
}

/// Returns where inside a resource drift is ignored: as JSON pointers, sorted. What somebody else owns there is left to him
/// by whatever is written, too.
pub fn ignored_paths(id: &Id, policies: &DriftPolicies) -> Vec<Arc<str>> {
    let matching = policies.ignore.iter().filter(|ignore| !ignore.paths.is_empty() && matches(ignore, id));
    let paths: BTreeSet<Arc<str>> = matching.flat_map(|ignore| ignore.paths.iter().cloned()).collect();
    paths.into_iter().collect()
}

/// Classes the drift of one accepted resource and says what becomes of it.
pub fn classify(
    id: &Id,
    accepted: &Accepted,
    live: &Live,
    trouble: Option<&Trouble>,
    policies: &DriftPolicies,
    now: Timestamp,
) -> Drift {
    let here = live.here();
    let digest = here.map(|here| here.digest);
    // A value that was seen before keeps its first sight; another value starts anew.
    let since = trouble
        .and_then(|trouble| trouble.drift.as_ref())
        .filter(|mark| mark.live == digest)
        .map_or(now, |mark| mark.since);
    let hold = held(trouble, now);
    let released = released(trouble, here, now);
    let changed = changed_at(here, since, now);
    let routine_at = changed.checked_add(signed(policies.grace)).unwrap_or(now);
    let class = if hold {
        Class::Emergency
    } else if accepted.about.nature.access_control {
        Class::Tamper
    } else {
        match here {
            None => Class::Missing,
            Some(_) if released => Class::Routine,
            Some(here) if here.touch().interactive && !weaken::is(Weakened::Emergency) => Class::Emergency,
            Some(_) if now < routine_at => Class::Fresh,
            Some(_) => Class::Routine,
        }
    };
    let policy = match class {
        _ if released => DriftPolicy::Revert,
        Class::Missing => policies.missing,
        Class::Tamper => policies.tamper,
        Class::Emergency => policies.emergency,
        Class::Fresh | Class::Routine | Class::Extra => policies.routine,
    };
    let answer = if quarantined(trouble) {
        Answer::Leave("quarantined after a fight: holdfast reverted it and something changed it back, too often".into())
    } else {
        match policy {
            // A held resource is reverted only where the policy for emergencies says when (`GUARDS.md` 6).
            DriftPolicy::Revert | DriftPolicy::Adopt if hold => Answer::Escalate(None),
            DriftPolicy::Adopt => Answer::Leave("the policy for this class is adopt".into()),
            DriftPolicy::Escalate { revert_after } => {
                let at = revert_after.and_then(|after| since.checked_add(signed(after)).ok());
                if at.is_some_and(|at| at <= now) { Answer::Revert } else { Answer::Escalate(at) }
            }
            DriftPolicy::Revert if class == Class::Fresh => Answer::RevertAt(routine_at),
            DriftPolicy::Revert => Answer::Revert,
        }
    };
    let by = here.and_then(|here| here.touch().by);
    Drift { id: id.clone(), class, live: digest, since, by, answer, leftover: Vec::new() }
}

/// Returns when a resource was changed, or first seen changed where that is not recorded or lies in the future.
fn changed_at(here: Option<&Here>, since: Timestamp, now: Timestamp) -> Timestamp {
    here.and_then(|here| here.touch().at).filter(|at| *at <= now).unwrap_or(since)
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Says whether a mark must be written: drift is new, or is another value than before.
pub fn mark(drift: &Drift, trouble: Option<&Trouble>) -> Option<DriftMark> {
    let known = trouble.and_then(|trouble| trouble.drift.as_ref());
    if known.is_some_and(|mark| mark.live == drift.live) {
        return None;
    }
    let first = known.map_or(drift.since, |mark| mark.first);
    Some(DriftMark { live: drift.live, since: drift.since, first, told: None, released: None })
}

/// How often people are told again of an emergency (`GUARDS.md` 6).
const TELL_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// Says what people are told of drift now, if anything: what is escalated and what will be reverted unless it is kept,
/// once; tamper, once; an emergency every hour (`GUARDS.md` 6).
pub fn announce(drift: &Drift, trouble: Option<&Trouble>, now: Timestamp) -> Option<Fact> {
    let mark = trouble.and_then(|trouble| trouble.drift.as_ref()).filter(|mark| mark.live == drift.live);
    let told = mark.and_then(|mark| mark.told);
    let worth = drift.class == Class::Tamper || matches!(drift.answer, Answer::Escalate(_) | Answer::RevertAt(_));
    let hourly = drift.class == Class::Emergency && matches!(drift.answer, Answer::Escalate(_));
    let due = told.is_none_or(|at| hourly && now.duration_since(at) >= TELL_AGAIN);
    (worth && due).then(|| Fact::Announced { id: drift.id.clone(), class: drift.class, answer: becomes(drift) })
}

/// Says what becomes of a drifted resource, and what of it is left over.
pub fn becomes(drift: &Drift) -> String {
    let answer = answer_text(&drift.id, &drift.answer);
    if drift.leftover.is_empty() {
        return answer;
    }
    let paths: Vec<&str> = drift.leftover.iter().take(3).map(|left| &*left.path).collect();
    let more = drift.leftover.len() - paths.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("no longer declared and still there: {}{more}; {answer}", paths.join(", "))
}

/// Says what becomes of a drifted resource, with the command that keeps it.
pub fn answer_text(id: &Id, answer: &Answer) -> String {
    let seconds = |at: &Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match answer {
        Answer::Revert => "reverted".to_owned(),
        Answer::RevertAt(at) => {
            format!("routine from {} on; keep it: holdfast hold {id} --for 4h --reason \"…\"", seconds(at))
        }
        Answer::Escalate(Some(at)) => format!("escalated; reverted from {} on", seconds(at)),
        Answer::Escalate(None) => {
            format!("escalated: adopt it by a commit, or have it taken back: holdfast release {id}")
        }
        Answer::Leave(why) => format!("left alone: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::commit::CommitId;
    use super::super::fixture::digest;
    use super::super::resource::{Health, More, Nature, Touch, Version};
    use super::super::state::About;
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1_000 + minute)
    }

    /// What a person's tool left at a minute, in a place that is not ours any longer: its digest says nothing of the value.
    fn edited(minute: i64) -> Live {
        let touch = Touch { by: Some("kubectl-edit".into()), interactive: true, at: Some(at(minute)) };
        Live::Here(Here {
            digest: digest(3),
            version: Version::new("7"),
            nature: Arc::new(Nature::default()),
            health: Health::default(),
            more: Some(Box::new(More { touch, ..More::default() })),
        })
    }

    fn answer(trouble: &Trouble, live: &Live, now: i64) -> (Class, Answer) {
        let accepted = Accepted {
            desired: digest(1),
            live: digest(2),
            about: Arc::new(About {
                commit: CommitId::new(""),
                origin: None,
                nature: Arc::new(Nature::default()),
                created: None,
                rank: 0,
                fields: None,
            }),
        };
        let drift = classify(&Id::new("a"), &accepted, live, Some(trouble), &DriftPolicies::default(), at(now));
        (drift.class, drift.answer)
    }

    #[test]
    fn a_release_is_of_what_was_there_then_and_a_hold_comes_first() {
        let mark = DriftMark { live: Some(digest(3)), since: at(0), first: at(0), told: None, released: None };
        let mut trouble = Trouble { drift: Some(mark), ..Trouble::default() };
        let escalated = (Class::Emergency, Answer::Escalate(None));
        assert_eq!(answer(&trouble, &edited(0), 500), escalated);
        trouble.drift.as_mut().unwrap().released = Some(at(5));
        assert_eq!(answer(&trouble, &edited(0), 6), (Class::Routine, Answer::Revert));
        // Edited anew after it: the next incident.
        assert_eq!(answer(&trouble, &edited(6), 7), escalated);
        trouble.hold =
            Some(super::super::state::Hold { by: "bob".into(), reason: "look".into(), since: at(6), until: None });
        assert_eq!(answer(&trouble, &edited(0), 7), escalated);
    }
}
