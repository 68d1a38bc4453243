//! The ways in which commits may have been made, each followed by merging again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{By, Comparison, Failing, Found, Merges};
use crate::core::commit::{Commit, CommitId, Signature};
use crate::core::heads::{self, Head};
use crate::core::trust::{self, Attempt, Compared, Own, Way};
use crate::git::{Merge, MergeError, Range, Snapshot};

/// How many pull requests' heads are looked at for one range.
const HEADS_MAX: usize = 20;

/// How many merges are made for one range, besides those that are known.
const MERGES_MAX: usize = 500;

/// How many commits a head may bring.
const OWN_MAX: usize = 500;

/// Looks for the ways in which commits of one range may have been made.
pub(in crate::controller::live) struct Search<'a> {
    snapshot: &'a Snapshot,
    merges: &'a Merges,
    by: &'a By<'a>,
    /// Heads that some failing commit of the range names: a rebased commit names none itself.
    pool: Vec<Head>,
    /// Commits of one parent, by that.
    next: HashMap<CommitId, Vec<&'a Commit>>,
    left: Cell<usize>,
    /// What is covered so far, with the keys: parents come before children.
    covered: RefCell<HashMap<CommitId, Vec<Arc<str>>>>,
    /// Commits of rows that were found, with the parent of the row's first.
    rows: RefCell<HashMap<(CommitId, CommitId), CommitId>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        merges: &'a Merges,
        range: &'a Range,
        failing: &[Failing],
        by: &'a By<'a>,
    ) -> Self {
        let mut next: HashMap<CommitId, Vec<&Commit>> = HashMap::new();
        for commit in &range.all {
            if let [parent] = commit.parents.as_slice() {
                next.entry(parent.clone()).or_default().push(commit);
            }
        }
        let mut search = Self {
            snapshot,
            merges,
            by,
            pool: Vec::new(),
            next,
            left: Cell::new(MERGES_MAX),
            covered: RefCell::default(),
            rows: RefCell::default(),
        };
        let failing = failing.iter().map(|failing| &failing.commit);
        let commits: Vec<&Commit> =
            failing.chain(range.all.iter().filter(|commit| merges.hints.contains_key(&commit.id))).collect();
        let mut pool: Vec<Head> = commits.into_iter().flat_map(|commit| search.hints(commit)).collect();
        pool.sort_unstable();
        pool.dedup();
        // The newest are the likeliest to have just been merged.
        pool.reverse();
        pool.truncate(HEADS_MAX);
        search.pool = pool;
        search
    }

    fn hints(&self, commit: &Commit) -> Vec<Head> {
        let mut all = self.merges.hints.get(&commit.id).cloned().unwrap_or_default();
        let message = self.snapshot.message(&commit.id).unwrap_or_default();
        all.extend(heads::hints(&message).into_iter().filter(|head| !all.contains(head)).collect::<Vec<_>>());
        all
    }

    pub(super) fn all(&self, failing: &[Failing]) -> BTreeMap<CommitId, Found> {
        let judge = |failing: &Failing| {
            let attempts = self.attempts(&failing.commit);
            let By { policy, vouches, .. } = *self.by;
            let verdict = trust::merged(&failing.commit, failing.verdict.clone(), &attempts, policy, vouches);
            let own = match &verdict.outcome {
                trust::Outcome::Merged { head, keys } => {
                    self.covered.borrow_mut().insert(failing.commit.id.clone(), keys.clone());
                    let covers =
                        |attempt: &Attempt| attempt.head.as_ref() == Some(head) && attempt.compared == Compared::Same;
                    attempts.into_iter().filter(covers).flat_map(|attempt| attempt.own).collect()
                }
                _ => Vec::new(),
            };
            (failing.commit.id.clone(), Found { verdict, own })
        };
        failing.iter().map(judge).collect()
    }

    /// Returns what a commit brings besides itself, by whichever way it is the same as our own merge.
    pub(in crate::controller::live) fn brought(&self, commit: &Commit) -> Option<Vec<Own>> {
        let same = |attempt: &Attempt| attempt.compared == Compared::Same;
        self.attempts(commit).into_iter().find(same).map(|attempt| attempt.own)
    }

    /// Returns the heads that may help with what is not covered.
    pub(super) fn wanted(&self, failing: &[Failing], found: &BTreeMap<CommitId, Found>) -> Vec<Head> {
        let left = failing.iter().filter(|failing| {
            let failed = |found: &Found| found.verdict.failure().is_some();
            failing.commit.parents.len() == 1 && found.get(&failing.commit.id).is_none_or(failed)
        });
        if left.count() == 0 { Vec::new() } else { self.pool.clone() }
    }

    /// Follows every way in which a commit may have been made.
    fn attempts(&self, commit: &Commit) -> Vec<Attempt> {
        match commit.parents.as_slice() {
            [onto] => self.by_pulls(commit, onto),
            [onto, head] => vec![self.attempt(Way::Merge, commit, onto, head)],
            [] => vec![Attempt::unknown(Way::Merge, "it has no parent, so nothing was merged")],
            more => {
                let why = format!("it has {} parents, and only merges of two are made again", more.len());
                vec![Attempt::unknown(Way::Merge, why)]
            }
        }
    }

    fn by_pulls(&self, commit: &Commit, onto: &CommitId) -> Vec<Attempt> {
        let named = self.hints(commit);
        let mut attempts = Vec::new();
        let others = self.pool.iter().filter(|head| !named.contains(head));
        for head in named.iter().chain(others) {
            let own_hint = named.contains(head);
            let Some(id) = self.snapshot.head(*head) else {
                if own_hint {
                    let why = self.merges.refused.borrow().get(head).map_or_else(
                        || "the repository has no such head".into(),
                        |why| format!("its head could not be fetched: {why}"),
                    );
                    attempts.push(Attempt::unknown(Way::Squash(*head), why));
                }
                continue;
            };
            if own_hint {
                let attempt = self.attempt(Way::Squash(*head), commit, onto, &id);
                let done = attempt.compared == Compared::Same;
                attempts.push(attempt);
                if done {
                    continue;
                }
            }
            attempts.extend(self.rebased(*head, commit, onto, &id));
        }
        attempts
    }

    fn attempt(&self, way: Way, commit: &Commit, onto: &CommitId, head: &CommitId) -> Attempt {
        let compared = self.merge(commit, onto, head);
        self.with_own(way, onto, head, compared)
    }

    /// Adds everything that a head brings, where the commit is the same as what merging it gives.
    fn with_own(&self, way: Way, onto: &CommitId, head: &CommitId, compared: Compared) -> Attempt {
        let attempt = |compared, own| Attempt { way, head: Some(head.clone()), compared, own };
        if compared != Compared::Same {
            return attempt(compared, Vec::new());
        }
        match self.own(onto, head) {
            Ok(own) => attempt(Compared::Same, own),
            Err(why) => attempt(Compared::Unknown(why), Vec::new()),
        }
    }

    fn own(&self, onto: &CommitId, head: &CommitId) -> Result<Vec<Own>, Arc<str>> {
        let range = self.snapshot.range(onto, head, self.by.check).map_err(|error| Arc::from(error.to_string()))?;
        if range.all.len() > OWN_MAX {
            return Err(format!("it brings more than {OWN_MAX} commits").into());
        }
        let own = |commit: Commit| {
            let merge = match commit.parents.as_slice() {
                [onto, head] => Some(self.merge(&commit, onto, head)),
                _ => None,
            };
            let covered = self.covered.borrow().get(&commit.id).cloned();
            Own { first_seen: (self.by.sights)(&commit.id), merge, covered, commit }
        };
        Ok(range.all.into_iter().map(own).collect())
    }

    /// Finds the unbroken row of a head's commits made anew that a commit is one of.
    fn rebased(&self, head: Head, commit: &Commit, onto: &CommitId, id: &CommitId) -> Option<Attempt> {
        let way = Way::Rebase(head);
        if let Some(before) = self.rows.borrow().get(&(commit.id.clone(), id.clone())) {
            return Some(self.with_own(way, before, id, Compared::Same));
        }
        let range = self.spend().then(|| self.snapshot.range(onto, id, &unchecked))?.ok()?;
        let count = range.all.len();
        // Making anew keeps author and subject; and one that the head has itself was not made anew.
        let alike = |one: &Commit| range.all.iter().any(|own| own.subject == one.subject && own.author == one.author);
        if count > OWN_MAX || !alike(commit) || range.all.iter().any(|own| own.id == commit.id) {
            return None;
        }
        let mut row = vec![commit.clone()];
        for _ in 0..count {
            let first = row.first()?;
            let [before] = first.parents.as_slice() else { break };
            if let Some(made) = self.replays(&row, before, id) {
                self.rows.borrow_mut().extend(made.into_iter().map(|made| ((made, id.clone()), before.clone())));
                return Some(self.with_own(way, before, id, Compared::Same));
            }
            match self.snapshot.commit(before, &unchecked) {
                Ok(earlier) if alike(&earlier) => row.insert(0, earlier),
                _ => break,
            }
        }
        Some(Attempt { way, head: Some(id.clone()), compared: Compared::Differs, own: Vec::new() })
    }

    /// Takes from what one range may cost; tells whether there was any left.
    fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Makes all of a head's commits anew, one after the other: returns what they are here, if they begin with these and go on
    /// with some that follow. One that changes nothing any more is left out, as `git rebase` leaves it out.
    fn replays(&self, row: &[Commit], before: &CommitId, head: &CommitId) -> Option<Vec<CommitId>> {
        let range = self.spend().then(|| self.snapshot.range(before, head, &unchecked))?.ok()?;
        let linear = range.all.iter().all(|commit| commit.parents.len() == 1);
        if !linear || range.all.len() < row.len() {
            return None;
        }
        let mut at = self.snapshot.commit(before, &unchecked).ok()?;
        let mut made = Vec::new();
        for commit in &range.all {
            let candidates: Vec<&Commit> = match row.get(made.len()) {
                Some(next) => vec![next],
                None => self.next.get(&at.id).cloned().unwrap_or_default(),
            };
            if let Some(next) = candidates.into_iter().find(|next| self.picks(commit, &at, next)) {
                at = next.clone();
                made.push(at.id.clone());
            } else if !self.picks(commit, &at, &at) {
                return None;
            }
        }
        (made.len() >= row.len()).then_some(made)
    }

    /// Tells whether making a commit's change onto another gives the tree of a third.
    fn picks(&self, commit: &Commit, onto: &Commit, made: &Commit) -> bool {
        let of = Comparison::Pick { change: commit.id.clone(), onto: onto.id.clone(), made: made.id.clone() };
        self.compare(of, &made.tree, || self.snapshot.pick(&commit.id, &onto.id)) == Compared::Same
    }

    fn merge(&self, commit: &Commit, onto: &CommitId, head: &CommitId) -> Compared {
        let of = Comparison::Merge { onto: onto.clone(), head: head.clone(), made: commit.id.clone() };
        self.compare(of, &commit.tree, || self.snapshot.merge(onto, head))
    }

    fn compare(&self, of: Comparison, tree: &str, merge: impl FnOnce() -> Result<Merge, MergeError>) -> Compared {
        if let Some(known) = self.merges.compared.borrow().get(&of) {
            return known.clone();
        }
        if !self.spend() {
            return Compared::Unknown("too many merges would have to be made again".into());
        }
        let compared = match merge() {
            Ok(Merge::Clean(merged)) if merged.tree.to_string() == tree => Compared::Same,
            Ok(Merge::Clean(_)) => Compared::Differs,
            Ok(Merge::Conflict { paths }) => Compared::Conflict(paths),
            // Another time it may go better.
            Err(error) => return Compared::Unknown(error.to_string().into()),
        };
        let mut all = self.merges.compared.borrow_mut();
        if all.len() > 20 * MERGES_MAX {
            all.clear();
        }
        all.insert(of, compared.clone());
        compared
    }
}

/// Where only the commits' order matters.
fn unchecked(_: &[u8], _: &[u8]) -> Signature {
    Signature::Unsigned
}
