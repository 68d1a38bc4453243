//! What is told on the hosting service: one notice per application and latch, opened, kept up to date and closed
//! (`GUARDS.md` 5.9).
//!
//! A notice that does not arrive neither causes nor clears a latch.

use std::fmt;

use super::state::LatchName;

/// Tells whether a latch is told where the commits come from.
///
/// A freeze and observing are somebody's wish; a target that cannot be read for a while is no commit's doing, and alerts tell of it.
pub const fn is_told(latch: LatchName) -> bool {
    !matches!(latch, LatchName::Freeze | LatchName::Observe | LatchName::Observation)
}

/// What is to be done about one notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// It is told, or what it says is brought up to date.
    Tell,
    /// It is said to be over.
    Close,
}

/// A notice that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open {
    /// Whether the same application told it: what holds all of a repository together is told by one of them.
    pub own: bool,
    /// Whether it is about the very same plan.
    pub same: bool,
}

/// Returns what an application has to do about a notice, given whether its latch holds.
pub const fn step(holds: bool, open: Option<Open>) -> Step {
    match (holds, open) {
        (true, Some(Open { own: false, same: true })) => Step::Nothing,
        (true, _) => Step::Tell,
        (false, Some(Open { own: true, .. })) => Step::Close,
        (false, _) => Step::Nothing,
    }
}

/// Where a notice is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spot {
    /// A comment on a pull request.
    Comment {
        /// Which pull request.
        number: u64,
        /// Which comment.
        id: u64,
    },
    /// An issue.
    Issue {
        /// Which.
        number: u64,
    },
}

impl Spot {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('/');
        let place = match (words.next()?, words.next()?.parse().ok()?) {
            ("pull", number) => Self::Comment { number, id: words.next()?.parse().ok()? },
            ("issue", number) => Self::Issue { number },
            _ => return None,
        };
        words.next().is_none().then_some(place)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Comment { number, id } => write!(f, "pull/{number}/{id}"),
            Self::Issue { number } => write!(f, "issue/{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_notice_is_is_written_and_read() {
        for place in [Spot::Comment { number: 12, id: 345 }, Spot::Issue { number: 7 }] {
            assert_eq!(Spot::parse(&place.to_string()), Some(place));
        }
        for wrong in ["", "pull", "pull/1", "pull/1/2/3", "issue/x", "issue/1/2", "tag/1"] {
            assert_eq!(Spot::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_holds_is_told_and_what_holds_no_longer_is_closed_by_whoever_told_it() {
        let open = |own, same| Some(Open { own, same });
        assert_eq!(step(true, None), Step::Tell);
        assert_eq!(step(true, open(true, true)), Step::Tell);
        assert_eq!(step(true, open(false, true)), Step::Nothing);
        assert_eq!(step(true, open(false, false)), Step::Tell);
        assert_eq!(step(false, open(true, false)), Step::Close);
        assert_eq!(step(false, open(false, true)), Step::Nothing);
        assert_eq!(step(false, None), Step::Nothing);
        assert!(is_told(LatchName::Plan) && !is_told(LatchName::Freeze) && !is_told(LatchName::Observe));
    }
}
