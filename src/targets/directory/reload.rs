//! The commands that make programs notice what was written, and those that say whether they work (`GUARDS.md` 2, HEALTH).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gix::glob::wildmatch;

use super::Directory;
use crate::core::resource::{Health, Id};
use crate::process::{Bounds, Command, Finish};

/// What runs after something that matches was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reload {
    /// A glob over paths below the root: `*` and `?` stay within a part, `**` crosses parts. Without a slash it is
    /// matched against the last part alone.
    pub matches: String,
    /// Runs once per batch, program and arguments; empty runs nothing.
    pub run: Vec<String>,
    /// Runs after that, and tells by its exit status whether what was written works; empty asks nothing.
    pub check: Vec<String>,
    /// How long either may take; then its process group is killed and it counts as failed.
    pub timeout: Duration,
}

/// Says why a reload entry makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// There is nothing to match.
    #[error("`match` is empty")]
    NoGlob,
    /// There is nothing to run.
    #[error("neither `run` nor `check` says what to run")]
    NoCommand,
    /// The first word of a command is empty.
    #[error("the program of `run` or `check` is empty")]
    NoProgram,
    /// It would be killed at once.
    #[error("the time-out is zero")]
    NoTime,
}

impl Reload {
    pub(super) fn check_config(&self) -> Result<(), ReloadError> {
        let unnamed = |argv: &[String]| argv.first().is_some_and(String::is_empty);
        match self {
            Self { matches, .. } if matches.is_empty() => Err(ReloadError::NoGlob),
            Self { run, check, .. } if run.is_empty() && check.is_empty() => Err(ReloadError::NoCommand),
            Self { run, check, .. } if unnamed(run) || unnamed(check) => Err(ReloadError::NoProgram),
            Self { timeout, .. } if timeout.is_zero() => Err(ReloadError::NoTime),
            _ => Ok(()),
        }
    }

    fn concerns(&self, id: &Id) -> bool {
        let path = id.as_str();
        let text = if self.matches.contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
        let pattern = self.matches.strip_prefix('/').unwrap_or(&self.matches);
        wildmatch(pattern.into(), text.into(), wildmatch::Mode::NO_MATCH_SLASH_LITERAL)
    }
}

/// Which of an entry's commands runs.
#[derive(Clone, Copy)]
enum Which {
    Run,
    Check,
}

impl Directory {
    /// Runs what makes programs notice, then what tells whether they work: the worst of both for each resource.
    pub fn settle(&self, written: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        let mut worst: BTreeMap<Id, (Health, Option<String>)> = BTreeMap::new();
        for (id, health, why) in self.reload(written).into_iter().chain(self.settle_health(written)) {
            let known = worst.entry(id).or_insert((Health::Healthy, None));
            if known.0 == Health::Healthy {
                *known = (health, why);
            }
        }
        worst.into_iter().map(|(id, (health, why))| (id, health, why)).collect()
    }

    /// Runs the `run` command of every entry that matches something written, once each, in the configured order.
    ///
    /// Returns, for each written resource that an entry matches, whether all its commands succeeded, and the end of the
    /// output of the first that did not.
    pub fn reload(&self, written: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        self.run_all(written, Which::Run)
    }

    /// Runs the `check` command of every entry that matches one of `ids`, once each; answers like [`Self::reload`].
    ///
    /// What no entry checks is left out: the directory has no notion of its health.
    pub fn settle_health(&self, ids: &[Id]) -> Vec<(Id, Health, Option<String>)> {
        self.run_all(ids, Which::Check)
    }

    fn run_all(&self, ids: &[Id], which: Which) -> Vec<(Id, Health, Option<String>)> {
        let mut results: BTreeMap<&Id, Option<Arc<str>>> = BTreeMap::new();
        for entry in &self.config.reload {
            let argv = match which {
                Which::Run => &entry.run,
                Which::Check => &entry.check,
            };
            let concerned: Vec<&Id> = ids.iter().filter(|id| entry.concerns(id)).collect();
            if argv.is_empty() || concerned.is_empty() {
                continue;
            }
            let failure = self.run_one(argv, entry.timeout).err().map(Arc::<str>::from);
            for id in concerned {
                let first = results.entry(id).or_default();
                *first = first.take().or_else(|| failure.clone());
            }
        }
        let answer = |(id, failure): (&Id, Option<Arc<str>>)| match failure {
            None => (id.clone(), Health::Healthy, None),
            Some(why) => (id.clone(), Health::Unhealthy, Some(why.to_string())),
        };
        results.into_iter().map(answer).collect()
    }

    fn run_one(&self, argv: &[String], timeout: Duration) -> Result<(), String> {
        let (dir, environment, bounds) = (Some(self.root()), None, Bounds::default());
        let finished = Command { argv, dir, timeout, environment, bounds }.run();
        let line = argv.join(" ");
        match finished {
            Ok((Finish::Success, _)) => Ok(()),
            Ok((finish, output)) => Err(format!("`{line}` {finish}: {output}")),
            Err(error) => Err(format!("`{line}` could not be started: {error}")),
        }
    }
}
