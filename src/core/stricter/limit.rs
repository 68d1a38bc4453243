//! The stricter of two limits.

use crate::core::guards::Limit;

impl Limit {
    /// Tells whether this allows more than `old` at some size, or could if only one of its parts counted.
    pub(super) fn looser_than(self, old: Self) -> bool {
        if self.at(u32::MAX) == Some(0) {
            return false;
        }
        let beyond = |at: u32| self.at(at).unwrap_or(u32::MAX) > old.at(at).unwrap_or(u32::MAX);
        match (self, old) {
            (_, Self::Disabled) => false,
            (Self::Disabled, _) => true,
            // Limits never fall as N grows: against a fixed one only the ends can differ.
            (Self::Fixed(_), _) | (_, Self::Fixed(_)) => beyond(0) || beyond(u32::MAX),
            (
                Self::Relative { over, percent, at_most },
                Self::Relative { over: old_over, percent: old_percent, at_most: old_most },
            ) => {
                beyond(0)
                    || over > old_over
                    || percent > old_percent
                    || at_most.unwrap_or(u32::MAX) > old_most.unwrap_or(u32::MAX)
            }
        }
    }

    /// Returns a limit that allows no more than either at any size: exact beside a fixed one, otherwise the smaller of each
    /// part.
    pub(super) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disabled, limit) | (limit, Self::Disabled) => limit,
            (Self::Fixed(a), Self::Fixed(b)) => Self::Fixed(a.min(b)),
            (Self::Fixed(fixed), Self::Relative { over, percent, at_most })
            | (Self::Relative { over, percent, at_most }, Self::Fixed(fixed)) => Self::Relative {
                over: over.min(fixed),
                percent,
                at_most: Some(at_most.map_or(fixed, |at_most| at_most.min(fixed))),
            },
            (
                Self::Relative { over: a, percent: p, at_most: m },
                Self::Relative { over: b, percent: q, at_most: n },
            ) => Self::Relative { over: a.min(b), percent: p.min(q), at_most: super::either(m, n, u32::min) },
        }
    }
}
