//! A program of the user's as a target, for everything that has no kind of its own.
//!
//! The program is started once per request, says what it has to say in JSON lines, and ends. The protocol is documented
//! for its authors in `docs/exec-target.md`; its messages are in `protocol`. An answer that is not complete is none:
//! of an observation it is a failure, of a write it leaves the outcome unknown.

mod protocol;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Lines, Request, Seen, Written};

use super::Expect;
use crate::core::resource::{Anchor, AnchorSeen, Health, Id, Live, Observed};
use crate::core::write::{Outcome, Verb, WriteOp};
use crate::process::{Bounds, Command, Finish};

/// What is configured of an exec target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The program and its arguments; the request's name is added as the last one.
    pub run: Vec<String>,
    /// Where it runs; ours if absent.
    pub dir: Option<PathBuf>,
    /// How long one request may take; then its process group is killed.
    pub timeout: Duration,
}

/// A program as a target; cheap to clone.
#[derive(Clone, Debug)]
pub struct Exec {
    config: Arc<Config>,
}

/// Says why an exec target cannot be used as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is nothing to run.
    #[error("`run` names no program")]
    NoProgram,
    /// It would be killed at once.
    #[error("the time-out is zero")]
    NoTime,
}

/// Says why the anchor was not swapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// What stands there is not what was expected; nothing was changed.
    #[error("swap the anchor: {0}")]
    Moved(Arc<str>),
    /// The program would not; nothing was changed.
    #[error("swap the anchor: {0}")]
    Refused(Arc<str>),
    /// The program gave no complete answer: read it again.
    #[error("swap the anchor: {0}")]
    Unknown(Arc<str>),
}

impl Exec {
    /// Prepares an exec target. Nothing is run.
    ///
    /// # Errors
    /// If the configuration makes no sense by itself.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        match &config {
            Config { run, .. } if run.first().is_none_or(String::is_empty) => Err(OpenError::NoProgram),
            Config { timeout, .. } if timeout.is_zero() => Err(OpenError::NoTime),
            _ => Ok(Self { config: Arc::new(config) }),
        }
    }

    /// Asks the program for everything that is expected, fresh. What it does not mention is gone; what it mentions
    /// besides is invisible.
    ///
    /// Never fails: an answer that is not complete is the observation's failure.
    pub fn observe(&self, expect: &[Expect<'_>]) -> Observed {
        match self.try_observe(expect) {
            Ok(observed) => observed,
            Err(why) => Observed { failure: Some(why), ..Observed::default() },
        }
    }

    fn try_observe(&self, expect: &[Expect<'_>]) -> Result<Observed, Arc<str>> {
        let mut ids: Vec<&Id> = expect.iter().map(|expect| expect.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut answers: Vec<Option<Live>> = vec![None; ids.len()];
        let mut anchor = AnchorSeen::Absent;
        let (mut count, mut ended, mut twice) = (0, false, None);
        self.ask("observe", &Request::observe(&ids), |line| {
            if ended {
                return Err("it said more after the end".to_owned());
            }
            match Seen::parse(line)? {
                Seen::Resource { id, report } => {
                    count += 1;
                    if let Ok(at) = ids.binary_search_by(|asked| asked.as_str().cmp(&id)) {
                        let live = report.live(ids[at])?;
                        if answers[at].replace(live).is_some() {
                            twice = Some(id);
                        }
                    }
                }
                Seen::Anchor(seen) => anchor = seen.map_or(AnchorSeen::Absent, AnchorSeen::Present),
                Seen::End { end: true, count: said } if said == count => ended = true,
                Seen::End { end: true, count: said } => {
                    return Err(format!("it ended with a count of {said} after {count} resources"));
                }
                Seen::End { end: false, .. } => return Err("`end` must be true".to_owned()),
            }
            match twice.take() {
                Some(id) => Err(format!("it reported {id:?} twice")),
                None => Ok(()),
            }
        })
        .map_err(|unanswered| unanswered.why())?;
        if !ended {
            return Err(self.say("observe", "its answer has no end"));
        }
        let seen = ids.into_iter().cloned().zip(answers.into_iter().map(|live| live.unwrap_or(Live::Gone)));
        Ok(Observed { seen: seen.collect(), failure: None, anchor, same: Vec::new() })
    }

    /// Asks the program for the anchor alone.
    pub fn read_anchor(&self) -> AnchorSeen {
        let Observed { seen: _, failure, anchor, same: _ } = self.observe(&[]);
        failure.map_or(anchor, AnchorSeen::Unread)
    }

    /// Asks the program whether resources work. What is gone is nobody's health.
    pub fn health(&self, ids: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        let expect: Vec<Expect<'_>> = ids.iter().map(Expect::new).collect();
        let Observed { seen, failure, anchor: _, same: _ } = self.observe(&expect);
        if let Some(why) = failure {
            return ids.iter().map(|id| (id.clone(), Health::Unread, Some(why.to_string()))).collect();
        }
        let answer = |(id, live): (Id, Live)| match live {
            Live::Here(here) => Some((id, here.health, None)),
            Live::Unread(why) => Some((id, Health::Unread, Some(why.to_string()))),
            Live::Gone | Live::Leaving => None,
        };
        seen.into_iter().filter_map(answer).collect()
    }

    /// Has the program write one resource, with its precondition.
    pub fn write(&self, op: &WriteOp) -> Outcome {
        let (name, request) = match (op.verb, &op.expected, &op.content) {
            (Verb::Create, None, Some(content)) | (Verb::Update, Some(_), Some(content)) => {
                ("write", Request::write(&op.id, content, op.expected.as_ref()))
            }
            (Verb::Delete, Some(expected), None) => ("delete", Request::delete(&op.id, expected)),
            _ => return Outcome::Refused(format!("`{}`: the write contradicts itself", op.id).into()),
        };
        let written = match self.ask_one(name, &request) {
            Ok(written) => written,
            Err(Unanswered::NotStarted(why)) => return Outcome::Refused(why),
            Err(Unanswered::Incomplete(why)) => return Outcome::Unknown(why),
        };
        match written {
            Written::Done(report) if op.verb != Verb::Delete => match report.live(&op.id) {
                Ok(live) => Outcome::Done(live),
                Err(why) => Outcome::Unknown(self.say(name, &why)),
            },
            Written::Gone(true) if op.verb == Verb::Delete => Outcome::Done(Live::Gone),
            Written::Leaving(true) if op.verb == Verb::Delete => Outcome::Done(Live::Leaving),
            Written::Moved(why) => Outcome::Moved(format!("`{}`: {why}", op.id).into()),
            Written::Refused(why) => Outcome::Refused(format!("`{}`: {why}", op.id).into()),
            Written::Done(_) | Written::Gone(_) | Written::Leaving(_) | Written::Swapped(_) => {
                Outcome::Unknown(self.say(name, "its answer is none to this request"))
            }
        }
    }

    /// Has the program replace the anchor if it still is the expected one (`GUARDS.md` 9).
    ///
    /// # Errors
    /// See [`SwapError`]. An anchor that could not be read is never replaced.
    pub fn swap(&self, expected: &AnchorSeen, new: &Anchor) -> Result<(), SwapError> {
        let expected = match expected {
            AnchorSeen::Absent => None,
            AnchorSeen::Present(anchor) => Some(anchor),
            AnchorSeen::Foreign(why) | AnchorSeen::Unread(why) => return Err(SwapError::Refused(Arc::clone(why))),
        };
        match self.ask_one("swap", &Request::swap(expected, new)) {
            Ok(Written::Swapped(true)) => Ok(()),
            Ok(Written::Moved(why)) => Err(SwapError::Moved(why.into())),
            Ok(Written::Refused(why)) => Err(SwapError::Refused(why.into())),
            Ok(_) => Err(SwapError::Unknown(self.say("swap", "its answer is none to this request"))),
            Err(Unanswered::NotStarted(why)) => Err(SwapError::Refused(why)),
            Err(Unanswered::Incomplete(why)) => Err(SwapError::Unknown(why)),
        }
    }

    /// Asks for an answer of exactly one line.
    fn ask_one(&self, name: &str, request: &[u8]) -> Result<Written, Unanswered> {
        let mut answer = None;
        self.ask(name, request, |line| match answer.replace(protocol::parse::<Written>(line)?) {
            None => Ok(()),
            Some(_) => Err("it answered more than once".to_owned()),
        })?;
        answer.ok_or_else(|| Unanswered::Incomplete(self.say(name, "it did not answer")))
    }

    /// Runs the program, and hands each line that it prints to `hear` until that finds one wrong.
    fn ask(
        &self,
        name: &str,
        request: &[u8],
        mut hear: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Unanswered> {
        let mut argv = self.config.run.clone();
        argv.push(name.to_owned());
        let command = Command {
            argv: &argv,
            dir: self.config.dir.as_deref(),
            timeout: self.config.timeout,
            environment: None,
            bounds: Bounds::default(),
        };
        let mut lines = Lines::default();
        let mut wrong = None;
        let result = command.talk(request, &mut |bytes| {
            if wrong.is_none() {
                wrong = lines.push(bytes, &mut hear).err();
            }
            wrong.is_none()
        });
        let (finish, errors) = result
            .map_err(|error| Unanswered::NotStarted(self.say(name, &format!("could not be started: {error}"))))?;
        let incomplete = |why: &str| {
            let errors = if errors.is_empty() { String::new() } else { format!(": {errors}") };
            Err(Unanswered::Incomplete(self.say(name, &format!("{why}{errors}"))))
        };
        match (wrong, finish) {
            (Some(why), _) => incomplete(&why),
            (None, Finish::Success) => match lines.rest() {
                0 => Ok(()),
                _ => incomplete("its last line has no end"),
            },
            (None, finish) => incomplete(&finish.to_string()),
        }
    }

    fn say(&self, name: &str, why: &str) -> Arc<str> {
        format!("`{} {name}`: {why}", self.config.run.join(" ")).into()
    }
}

/// Why there is no answer.
enum Unanswered {
    /// The program was never started: nothing happened.
    NotStarted(Arc<str>),
    /// It was, and did not answer completely.
    Incomplete(Arc<str>),
}

impl Unanswered {
    fn why(self) -> Arc<str> {
        match self {
            Self::NotStarted(why) | Self::Incomplete(why) => why,
        }
    }
}
