//! The commits between two: those of the first-parent chain, and all that came with them.
//!
//! Dates order nothing here but the work: they are whatever a committer wrote. Whether a commit belongs to the range is
//! decided by reachability alone.

use std::collections::{BinaryHeap, HashMap, HashSet};

use jiff::Timestamp;

use super::object::{RawCommit, SignatureCheck};
use super::snapshot::{ReadError, Snapshot, facts};
use crate::core::commit::{Commit, CommitId};

/// What lies between two commits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// The first-parent chain down to the base, oldest first, without the base.
    pub first_parent: Vec<Commit>,
    /// Every commit reachable from the tip and not from the base, each once, parents before children.
    pub all: Vec<Commit>,
    /// Whether the base is on the tip's first-parent chain (`GUARDS.md` 2, HISTORY).
    pub base_on_first_parent: bool,
}

/// More commits than anybody pushes at once; bounds memory against a hostile history.
const RANGE_MAX: usize = 200_000;

/// Past so many commits the base may not be on the chain at all, and painting finds out sooner.
const CHAIN_MAX: usize = 2_000;

/// Histories with wrong clocks are common, by hours; further off costs a longer walk, never a wrong answer in the
/// direction of trusting: a commit counted that the base already had is verified once more.
const CLOCK_SLOP: i64 = 7 * 24 * 3600;

const VISIBLE: u8 = 1;
const HIDDEN: u8 = 2;

impl Snapshot {
    /// Returns what lies between `base` and `tip`, with each commit's facts.
    ///
    /// An object that is missing on the way is [`ReadError::AncestryUnproven`], never an end.
    pub fn range(&self, base: &CommitId, tip: &CommitId, check: &dyn SignatureCheck) -> Result<Range, ReadError> {
        for commit in [base, tip] {
            if self.raw(commit)?.is_none() {
                let why = "it was rewritten away or never fetched; reanchor to a commit of the branch".into();
                return Err(ReadError::AncestryUnproven { missing: commit.clone(), why });
            }
        }
        let mut between = match self.chain(base, tip)? {
            Some(chain) => chain,
            None => self.paint(base, tip)?,
        };
        let order = topological(&between, tip);
        let mut first = Vec::new();
        let mut at = Some(tip.clone());
        while let Some(id) = at.take_if(|id| between.contains_key(id)) {
            at = between.get(&id).and_then(|raw| raw.parents.first().cloned());
            first.push(id);
        }
        let base_on_first_parent = at.as_ref() == Some(base);
        let all: Vec<Commit> =
            order.into_iter().filter_map(|id| Some(facts(id.clone(), between.remove(&id)?, check))).collect();
        let by_id: HashMap<&CommitId, &Commit> = all.iter().map(|commit| (&commit.id, commit)).collect();
        let first_parent = first.iter().rev().filter_map(|id| by_id.get(id).copied().cloned()).collect();
        Ok(Range { first_parent, all, base_on_first_parent })
    }

    /// Walks a history without merges, which most are, without looking behind the base.
    fn chain(&self, base: &CommitId, tip: &CommitId) -> Result<Option<HashMap<CommitId, RawCommit>>, ReadError> {
        let mut between = HashMap::new();
        let mut at = tip.clone();
        while at != *base {
            let raw = self.raw(&at)?.ok_or_else(|| self.unproven(&at))?;
            let [parent] = raw.parents.as_slice() else { return Ok(None) };
            let parent = parent.clone();
            between.insert(at, raw);
            at = parent;
            if between.len() > CHAIN_MAX {
                return Ok(None);
            }
        }
        Ok(Some(between))
    }

    /// Marks what each side reaches, newest first, until the base's side is past everything that was only the tip's.
    fn paint(&self, base: &CommitId, tip: &CommitId) -> Result<HashMap<CommitId, RawCommit>, ReadError> {
        let mut marks: HashMap<CommitId, u8> = HashMap::new();
        let mut between: HashMap<CommitId, RawCommit> = HashMap::new();
        let mut queue: BinaryHeap<(Timestamp, CommitId)> = BinaryHeap::new();
        // Commits that are only the tip's and still in the queue: as long as there are any, the range may grow.
        let mut open = HashSet::new();
        let mut oldest = Timestamp::MAX;
        let mut reach = |id: &CommitId, mark: u8, queue: &mut BinaryHeap<_>, open: &mut HashSet<CommitId>| {
            let marks = marks.entry(id.clone()).or_default();
            if *marks | mark == *marks {
                return Ok(*marks);
            }
            *marks |= mark;
            match self.raw(id)? {
                Some(raw) => queue.push((raw.committed, id.clone())),
                None if *marks & HIDDEN == 0 => return Err(self.unproven(id)),
                // What the base's side lacks can only make the range larger, and is verified then.
                None => {}
            }
            if *marks & HIDDEN == 0 {
                open.insert(id.clone());
            } else {
                open.remove(id);
            }
            Ok(*marks)
        };
        reach(tip, VISIBLE, &mut queue, &mut open)?;
        reach(base, HIDDEN, &mut queue, &mut open)?;
        while let Some((time, id)) = queue.pop() {
            let past = Timestamp::from_second(oldest.as_second().saturating_sub(CLOCK_SLOP)).unwrap_or(Timestamp::MIN);
            if open.is_empty() && time < past {
                break;
            }
            let mark = reach(&id, 0, &mut queue, &mut open)?;
            open.remove(&id);
            let Some(raw) = self.raw(&id)? else { continue };
            for parent in &raw.parents {
                reach(parent, mark, &mut queue, &mut open)?;
            }
            if mark & HIDDEN == 0 {
                oldest = oldest.min(time);
                between.insert(id, raw);
                if between.len() > RANGE_MAX {
                    return Err(ReadError::TooMany(RANGE_MAX));
                }
            }
        }
        between.retain(|id, _| marks.get(id).is_some_and(|mark| mark & HIDDEN == 0));
        Ok(between)
    }

    /// Walks the first-parent chain from `tip` to its beginning, newest first, reading as it goes.
    pub fn first_parents<'a>(&'a self, tip: &CommitId, check: &'a dyn SignatureCheck) -> FirstParents<'a> {
        FirstParents { snapshot: self, check, next: Some(tip.clone()) }
    }
}

/// Orders a range so that parents come before children, first parents first.
fn topological(between: &HashMap<CommitId, RawCommit>, tip: &CommitId) -> Vec<CommitId> {
    let mut order = Vec::with_capacity(between.len());
    let mut seen = HashSet::new();
    // A commit is met twice: before its parents, and after them.
    let mut stack = vec![(tip, false)];
    while let Some((id, after)) = stack.pop() {
        if after {
            order.push(id.clone());
        } else if let Some(raw) = between.get(id)
            && seen.insert(id)
        {
            stack.push((id, true));
            stack.extend(raw.parents.iter().rev().map(|parent| (parent, false)));
        }
    }
    order
}

/// The first-parent chain, newest first. After an error there is nothing more.
pub struct FirstParents<'a> {
    snapshot: &'a Snapshot,
    check: &'a dyn SignatureCheck,
    next: Option<CommitId>,
}

impl Iterator for FirstParents<'_> {
    type Item = Result<Commit, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.next.take()?;
        Some(match self.snapshot.raw(&id) {
            Ok(Some(raw)) => {
                self.next = raw.parents.first().cloned();
                Ok(facts(id, raw, self.check))
            }
            Ok(None) => Err(self.snapshot.unproven(&id)),
            Err(error) => Err(error),
        })
    }
}
