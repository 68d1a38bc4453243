//! Which commits of a first-parent chain landed together, and when: Git does not record it.

use jiff::{SignedDuration, Timestamp};

use crate::core::commit::Commit;

/// What lands within so long of each other is one push (the note at the end of `GUARDS.md` 8).
const TOGETHER: SignedDuration = SignedDuration::from_mins(10);

/// Commits that landed together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Push {
    /// The first-parent commits, oldest first; never empty.
    pub commits: Vec<Commit>,
    /// When it landed, as far as the dates of commits tell; never before the push before it.
    pub at: Timestamp,
}

impl Push {
    /// Returns the newest commit.
    pub fn tip(&self) -> &Commit {
        self.commits.last().expect("a push has at least one commit")
    }
}

/// Groups a first-parent chain, oldest first, into pushes: a merge is one push; other commits are one push as long as they
/// were committed within ten minutes of each other.
pub fn pushes(chain: Vec<Commit>) -> Vec<Push> {
    let dates: Vec<Timestamp> = chain.iter().map(|commit| commit.committed).collect();
    let mut pushes: Vec<Push> = Vec::new();
    // When the push that is being put together began; none after a merge, which nothing joins.
    let mut began: Option<Timestamp> = None;
    for (commit, at) in chain.into_iter().zip(steady(&dates)) {
        let merge = commit.parents.len() > 1;
        let joins = !merge && began.is_some_and(|began| at.duration_since(began) <= TOGETHER);
        match pushes.last_mut().filter(|_| joins) {
            Some(push) => {
                push.commits.push(commit);
                push.at = at;
            }
            None => {
                pushes.push(Push { commits: vec![commit], at });
                began = (!merge).then_some(at);
            }
        }
    }
    pushes
}

/// Makes dates never go back: of those that do not fit the order of most, the one before is taken instead.
///
/// Dates are whatever a committer's clock said. One commit of the year 2099 must not make everything after it "within the
/// hour", and one of 1970 must not make everything before it ancient; so the longest run that fits is believed.
fn steady(dates: &[Timestamp]) -> Vec<Timestamp> {
    // ends[k]: where the smallest end of a non-decreasing run of k + 1 dates stands; before[i]: what precedes date i.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(dates.len());
    for (at, date) in dates.iter().enumerate() {
        let length = ends.partition_point(|end| dates[*end] <= *date);
        before.push(length.checked_sub(1).map(|last| ends[last]));
        if length == ends.len() {
            ends.push(at);
        } else {
            ends[length] = at;
        }
    }
    let mut believed = vec![false; dates.len()];
    let mut at = ends.last().copied();
    while let Some(here) = at {
        believed[here] = true;
        at = before[here];
    }
    let first = believed.iter().position(|yes| *yes).map(|at| dates[at]);
    let mut last = first.unwrap_or_default();
    let dates = dates.iter().zip(believed).map(|(date, yes)| {
        if yes {
            last = *date;
        }
        last
    });
    dates.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::commit::{CommitId, Ident, Signature};

    fn times(minutes: &[i64]) -> Vec<Timestamp> {
        minutes.iter().map(|minute| Timestamp::from_second(1_700_000_000 + minute * 60).unwrap()).collect()
    }

    fn chain(commits: &[(i64, usize)]) -> Vec<Commit> {
        let commit = |(minute, parents): &(i64, usize)| Commit {
            id: CommitId::new(format!("{minute:040}")),
            parents: (0..*parents).map(|parent| CommitId::new(format!("{parent:040}"))).collect(),
            tree: "".into(),
            author: Ident::default(),
            committer: Ident::default(),
            committed: times(&[*minute])[0],
            subject: String::new(),
            signature: Signature::Unsigned,
        };
        commits.iter().map(commit).collect()
    }

    fn sizes(commits: &[(i64, usize)]) -> Vec<usize> {
        pushes(chain(commits)).iter().map(|push| push.commits.len()).collect()
    }

    #[test]
    fn what_lands_within_ten_minutes_of_each_other_is_one_push() {
        assert_eq!(sizes(&[(0, 0), (4, 1), (10, 1), (11, 1), (60, 1)]), [3, 1, 1]);
        // A robot that commits every five minutes does not push once a year.
        assert_eq!(sizes(&[(0, 1), (5, 1), (10, 1), (15, 1), (20, 1), (25, 1)]), [3, 3]);
        assert_eq!(sizes(&[]), [0; 0]);
    }

    #[test]
    fn a_merge_is_a_push_of_its_own() {
        assert_eq!(sizes(&[(0, 1), (1, 1), (2, 2), (3, 1), (4, 1), (5, 2), (6, 2)]), [2, 1, 2, 1, 1]);
    }

    #[test]
    fn a_push_lands_with_its_last_commit() {
        let pushes = pushes(chain(&[(0, 1), (7, 1)]));
        assert_eq!((pushes.len(), pushes[0].at), (1, times(&[7])[0]));
        assert_eq!(pushes[0].tip().committed, times(&[7])[0]);
    }

    #[test]
    fn single_wrong_clocks_are_not_believed() {
        let future = 40_000_000;
        assert_eq!(steady(&times(&[0, 20, future, 40, 60])), times(&[0, 20, 20, 40, 60]));
        assert_eq!(steady(&times(&[0, 20, -20_000_000, 40])), times(&[0, 20, 20, 40]));
        assert_eq!(steady(&times(&[future, 0, 20])), times(&[0, 0, 20]));
        assert_eq!(steady(&times(&[5, 5, 5])), times(&[5, 5, 5]));
        assert_eq!(steady(&[]), []);
    }
}
