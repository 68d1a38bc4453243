//! Runs the guards over a repository's past pushes: reads, and lets [`crate::core::backtest`] judge.

mod report;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::core::backtest::{Backtest, Judged, Push, pushes, taken_back};
use crate::core::commit::{Commit, CommitId, Signature};
use crate::core::culprit::{self, CommitEffect, Measure, WantChange};
use crate::core::guards::Guards;
use crate::core::plan::Details;
use crate::core::resource::Want;
use crate::core::tree::{Oid, TreeError, Trees};
use crate::git::{ReadError, Snapshot};
use crate::render::{Look, Problem, RenderError, Renderer};
use report::report;
pub use report::{Other, Part, PushReport, Report, Summary};

/// As much as a cycle looks into: of a larger push nothing counts as a version bump.
const LOOK: Look = Look { files: 5_000, bytes: 256 * 1024 };

/// How long a return looks back; windows may look further.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What a backtest is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The newest commit.
    pub tip: CommitId,
    /// The guards.
    pub guards: Guards,
    /// Other guards to compare with, and what to call them.
    pub other: Option<(String, Guards)>,
    /// Only the newest so many pushes.
    pub last: Option<usize>,
    /// Only pushes since then.
    pub since: Option<Timestamp>,
    /// Whether the clone may lack the content of files (`git clone --filter=blob:none`): their ids tell what changes.
    pub partial: bool,
}

/// Why a backtest could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The history cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An object is missing: a fault of the clone, not of a commit.
    #[error(transparent)]
    Render(RenderError),
}

/// Judges the past pushes of a repository. `progress` is told after each how many of how many are done.
///
/// # Errors
/// If the history or an object of it cannot be read; a commit that does not render is a verdict, not an error.
pub fn backtest(
    snapshot: &Snapshot,
    renderer: &Renderer,
    ask: &Ask,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, BacktestError> {
    let (pushes, mut base, cut_off) = history(snapshot, &ask.tip)?;
    let first = chosen(&pushes, ask);
    let trees = Partial { trees: snapshot, allowed: ask.partial, missing: RefCell::default() };
    let history = Reading { trees: &trees, renderer };
    let (start, wants) = history.start(&pushes, first, &mut base, &ask.guards)?;
    let mut judging = Judging {
        history,
        base,
        main: Backtest::new(ask.guards.clone(), &wants),
        other: ask.other.as_ref().map(|(_, guards)| Backtest::new(guards.clone(), &wants)),
    };
    drop(wants);
    let (mut judged, mut blames, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (done, push) in pushes[start..].iter().enumerate() {
        let (verdict, blame, other) = judging.push(push)?;
        judged.push((push.at, verdict));
        blames.push(blame);
        others.push(other);
        progress(done + 1, pushes.len() - start);
    }
    let back = taken_back(&judged);
    let mut reports = Vec::new();
    let mut summary = Summary { other: ask.other.as_ref().map(|(with, _)| Other::new(with)), ..Summary::default() };
    let all = pushes[start..].iter().zip(judged).zip(blames).zip(back).zip(others);
    for ((((push, (_, judged)), blame), back), other) in all.skip(first - start) {
        let unchanged = judged.after == Some(judged.before);
        let report = report(push, judged, blame, back);
        summary.count(&report, unchanged, other);
        reports.push(report);
    }
    let without_content = trees.missing.borrow().len();
    Ok(Report { tip: ask.tip.clone(), cut_off, without_content, summary, pushes: reports })
}

/// Reads the pushes that lead to a tip, and what they begin from; says whether a shallow clone cut them off.
fn history(snapshot: &Snapshot, tip: &CommitId) -> Result<(Vec<Push>, Option<CommitId>, bool), ReadError> {
    // Who signed what is another command's business.
    let check = |_: &[u8], _: &[u8]| Signature::Unsigned;
    let mut chain = Vec::new();
    let mut cut_off = false;
    for commit in snapshot.first_parents(tip, &check) {
        match commit {
            Ok(commit) => chain.push(commit),
            Err(ReadError::AncestryUnproven { .. }) if snapshot.is_shallow() && !chain.is_empty() => cut_off = true,
            Err(error) => return Err(error),
        }
    }
    // What the oldest commit of a shallow clone changes is not known: the others begin from it.
    let base = if cut_off { chain.pop().map(|commit| commit.id) } else { None };
    chain.reverse();
    Ok((pushes(chain), base, cut_off))
}

/// Returns where the pushes begin that are asked for.
fn chosen(pushes: &[Push], ask: &Ask) -> usize {
    let last = ask.last.map_or(0, |last| pushes.len().saturating_sub(last));
    let since = ask.since.map_or(0, |since| pushes.partition_point(|push| push.at < since));
    last.max(since)
}

/// Reads what pushes change.
#[derive(Clone, Copy)]
struct Reading<'a> {
    trees: &'a dyn Trees,
    renderer: &'a Renderer,
}

/// A repository that may lack the content of files.
struct Partial<'a> {
    trees: &'a dyn Trees,
    allowed: bool,
    missing: RefCell<BTreeSet<Oid>>,
}

impl Partial<'_> {
    fn note(&self, blob: Oid) {
        self.missing.borrow_mut().insert(blob);
    }
}

impl Trees for Partial<'_> {
    fn tree_of(&self, commit: &CommitId) -> Result<Oid, TreeError> {
        self.trees.tree_of(commit)
    }

    fn tree(&self, tree: Oid) -> Result<Arc<[u8]>, TreeError> {
        self.trees.tree(tree)
    }

    fn blob_size(&self, blob: Oid) -> Result<u64, TreeError> {
        match self.trees.blob_size(blob) {
            // A file that is not empty, since that is what nearly all are.
            Err(TreeError::Missing(_)) if self.allowed => {
                self.note(blob);
                Ok(1)
            }
            other => other,
        }
    }

    fn blob(&self, blob: Oid, cap: u64) -> Result<Vec<u8>, TreeError> {
        match self.trees.blob(blob, cap) {
            // As different as the contents are.
            Err(TreeError::Missing(_)) if self.allowed => {
                self.note(blob);
                Ok(blob.to_string().into_bytes())
            }
            other => other,
        }
    }
}

/// What leads from one commit to another, or why that cannot be rendered.
type Change = Result<(Vec<WantChange>, Details), Arc<str>>;

impl Reading<'_> {
    /// Finds where to begin, so that windows and returns see what was before the pushes that are asked for.
    ///
    /// `base` becomes the commit before it.
    fn start(
        &self,
        pushes: &[Push],
        first: usize,
        base: &mut Option<CommitId>,
        guards: &Guards,
    ) -> Result<(usize, Vec<Want>), BacktestError> {
        let windows = guards.window_deletes.keys().chain(guards.window_changes.keys());
        let back = windows.filter_map(|window| SignedDuration::try_from(*window).ok()).fold(DAY, Ord::max);
        let from = pushes.get(first).and_then(|push| push.at.checked_sub(back).ok());
        let mut start = from.map_or(first, |from| pushes.partition_point(|push| push.at < from).min(first));
        // Beginning in the middle needs a commit that renders.
        while start > 0 {
            let before = pushes[start - 1].tip();
            if let Ok(wants) = self.wants(&before.id)? {
                *base = Some(before.id.clone());
                return Ok((start, wants));
            }
            start -= 1;
        }
        let wants = base.as_ref().map(|base| self.wants(base)).transpose()?;
        match wants {
            Some(Ok(wants)) => Ok((0, wants)),
            Some(Err(_)) | None => {
                *base = None;
                Ok((0, Vec::new()))
            }
        }
    }

    fn wants(&self, commit: &CommitId) -> Result<Result<Vec<Want>, Arc<str>>, BacktestError> {
        match self.renderer.render(self.trees, commit) {
            Ok(desired) => Ok(Ok(desired.wants().to_vec())),
            Err(error) if error.is_path_missing() => Ok(Ok(Vec::new())),
            Err(error) => broken(error).map(Err),
        }
    }

    fn change(&self, old: Option<&CommitId>, new: &CommitId) -> Result<Change, BacktestError> {
        let Some(old) = old else {
            let wants = self.wants(new)?;
            let create = |want: Want| WantChange { id: want.id.clone(), old: None, new: Some(want) };
            return Ok(wants.map(|wants| (wants.into_iter().map(create).collect(), Details::new())));
        };
        match self.renderer.changes_with_details(self.trees, old, new, LOOK) {
            Ok(change) => Ok(Ok(change)),
            Err(error) => broken(error).map(Err),
        }
    }
}

/// Tells a commit that does not render from a clone that lacks objects.
fn broken(error: RenderError) -> Result<Arc<str>, BacktestError> {
    match error.problem {
        Problem::Tree(TreeError::Missing(_) | TreeError::NoCommit(_)) => Err(BacktestError::Render(error)),
        _ => Ok(error.to_string().into()),
    }
}

/// Who is to blame for a push that would have been held.
#[derive(Default)]
struct Blame {
    culprit: Option<Part>,
    contributors: Vec<Part>,
}

struct Judging<'a> {
    history: Reading<'a>,
    /// The last commit that could be rendered; none before the first.
    base: Option<CommitId>,
    main: Backtest,
    other: Option<Backtest>,
}

impl Judging<'_> {
    /// Judges a push; also tells whether the other guards would have held it.
    fn push(&mut self, push: &Push) -> Result<(Judged, Blame, bool), BacktestError> {
        let tip = push.tip();
        let change = self.history.change(self.base.as_ref(), &tip.id)?;
        // Only several commits need to be told apart.
        let measure = (push.commits.len() > 1).then(|| self.main.measure());
        let judge = |backtest: &mut Backtest| match &change {
            Ok((changes, details)) => backtest.push(push.at, changes, details),
            Err(why) => backtest.broken(push.at, why),
        };
        let other = self.other.as_mut().is_some_and(|other| judge(other).is_held());
        let judged = judge(&mut self.main);
        let mut blame = Blame::default();
        if judged.is_held() {
            blame = match measure {
                Some(measure) => self.blame(push, measure)?,
                None => alone(tip, &judged),
            };
        }
        if change.is_ok() {
            self.base = Some(tip.id.clone());
        }
        Ok((judged, blame, other))
    }

    /// Measures each commit of a push that would have been held (`GUARDS.md` 3.5).
    fn blame(&self, push: &Push, mut measure: Measure) -> Result<Blame, BacktestError> {
        let mut before = self.base.clone();
        let mut effects: Vec<CommitEffect> = Vec::new();
        for commit in &push.commits {
            effects.push(match self.history.change(before.as_ref(), &commit.id)? {
                Ok((changes, details)) => {
                    before = Some(commit.id.clone());
                    measure.commit(commit, &changes, &details)
                }
                Err(why) => measure.broken(commit, &why),
            });
        }
        // Of a push that does not render, the commit since which it does not.
        let unbroken = effects.iter().rposition(|effect| effect.broken.is_none()).map_or(0, |at| at + 1);
        if let Some(first) = effects.get(unbroken) {
            return Ok(Blame { culprit: Some(first.into()), contributors: Vec::new() });
        }
        Ok(match culprit::verdict(&effects) {
            culprit::Verdict::Culprit(at) => Blame { culprit: effects.get(at).map(Part::from), ..Blame::default() },
            culprit::Verdict::Accumulation(all) => {
                let contributors = all.into_iter().filter_map(|at| effects.get(at)).map(Part::from).collect();
                Blame { culprit: None, contributors }
            }
        })
    }
}

/// Blames the only commit of a push, unless it only was the last drop of a window.
fn alone(commit: &Commit, judged: &Judged) -> Blame {
    let part = Part {
        commit: commit.id.clone(),
        author: commit.author.name.clone(),
        subject: commit.subject.clone(),
        magnitude: judged.magnitude.rank(),
    };
    if judged.reasons.iter().any(|reason| &*reason.code != "window") {
        Blame { culprit: Some(part), contributors: Vec::new() }
    } else {
        Blame { culprit: None, contributors: vec![part] }
    }
}
