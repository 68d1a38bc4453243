//! Commits that the hosting service may have made: of what, found by merging again. Judged in `core::trust`.

mod search;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use self::search::Search;
use super::Live;
use crate::core::commit::{Commit, CommitId, Tag};
use crate::core::guards::TrustPolicy;
use crate::core::heads::Head;
use crate::core::trust::{CommitVerdict, Compared, Own};
use crate::git::{FetchError, Range, SignatureCheck, Snapshot};

/// Which pull requests may have brought a commit, besides those that its message names. A forge's answer is one such, and
/// carries no more trust than a message.
pub type Hints = BTreeMap<CommitId, Vec<Head>>;

/// What outlives a cycle: comparing two trees gives the same each time.
#[derive(Default)]
pub(super) struct Merges {
    hints: Hints,
    compared: RefCell<HashMap<Comparison, Compared>>,
    asked: RefCell<BTreeSet<Head>>,
    refused: RefCell<BTreeMap<Head, Arc<str>>>,
}

/// What was compared.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Comparison {
    /// The merge of a head onto a commit, with a commit.
    Merge { onto: CommitId, head: CommitId, made: CommitId },
    /// The change of one commit made onto another, with a third.
    Pick { change: CommitId, onto: CommitId, made: CommitId },
}

impl Merges {
    /// Begins a cycle: each head may be asked for once more.
    pub(super) fn begin(&mut self) {
        self.asked.get_mut().clear();
        self.refused.get_mut().clear();
    }
}

/// A commit that failed, with its verdict by its own signature.
pub(super) struct Failing {
    pub(super) commit: Commit,
    pub(super) verdict: CommitVerdict,
}

/// What is found of a commit that the hosting service made.
pub(super) struct Found {
    pub(super) verdict: CommitVerdict,
    /// Whatever its head brought; empty where it is not covered.
    pub(super) own: Vec<Own>,
}

/// By what commits are judged.
pub(super) struct By<'a> {
    pub(super) policy: &'a TrustPolicy,
    pub(super) vouches: &'a [(Tag, Timestamp)],
    pub(super) sights: &'a dyn Fn(&CommitId) -> Timestamp,
    pub(super) check: &'a dyn SignatureCheck,
}

impl Live {
    /// Gives what a forge knows of which pull requests brought which commits.
    pub fn hint(&mut self, hints: Hints) {
        self.merges.hints = hints;
    }

    /// Judges anew, as made by the hosting service, what has no signature that counts. Fetches heads only if what is here does
    /// not do.
    pub(super) fn judge_merges(&self, range: &Range, failing: &[Failing], by: &By<'_>) -> BTreeMap<CommitId, Found> {
        // Opened anew each time: the second finds what was fetched for it.
        let look = || {
            let snapshot = self.mirror.snapshot().ok()?;
            let search = Search::new(&snapshot, &self.merges, range, failing, by);
            let found = search.all(failing);
            Some((search.wanted(failing, &found), found))
        };
        let Some((mut wanted, found)) = look() else { return BTreeMap::new() };
        wanted.retain(|head| !self.merges.asked.borrow().contains(head));
        if wanted.is_empty() {
            return found;
        }
        self.fetch_heads(&wanted);
        look().map_or(found, |(_, found)| found)
    }

    fn fetch_heads(&self, heads: &[Head]) {
        self.merges.asked.borrow_mut().extend(heads);
        let refuse = |head: &Head, error: &FetchError| {
            self.merges.refused.borrow_mut().insert(*head, error.to_string().into());
        };
        let all = self.mirror.fetch_heads(&self.remote, heads, &self.stop);
        match &all {
            // One that is too large must not hide the others.
            Err(FetchError::TooLarge { .. }) if heads.len() > 1 => {
                for head in heads {
                    if let Err(error) = self.mirror.fetch_heads(&self.remote, &[*head], &self.stop) {
                        refuse(head, &error);
                    }
                }
            }
            Err(error) => heads.iter().for_each(|head| refuse(head, error)),
            Ok(_) => {}
        }
    }

    /// Looks for what commits of a range bring besides themselves, with the heads that are here.
    pub(super) fn search<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        range: &'a Range,
        failing: &[Failing],
        by: &'a By<'a>,
    ) -> Search<'a> {
        Search::new(snapshot, &self.merges, range, failing, by)
    }
}
