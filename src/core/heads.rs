//! Heads that a hosting service keeps for its pull requests, and the hints that lead to them.
//!
//! A hint carries no trust: whatever it leads to is verified as if somebody had guessed it.

use std::fmt;

/// What a pull request proposes, by the name that the hosting service keeps it under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Head {
    /// Of a pull request (GitHub, Gitea, Forgejo): `refs/pull/7/head`.
    Pull(u64),
    /// Of a merge request (GitLab): `refs/merge-requests/7/head`.
    Request(u64),
}

impl Head {
    /// Returns the name that the hosting service has for it.
    pub fn remote(self) -> String {
        match self {
            Self::Pull(number) => format!("refs/pull/{number}/head"),
            Self::Request(number) => format!("refs/merge-requests/{number}/head"),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull(number) => write!(f, "#{number}"),
            Self::Request(number) => write!(f, "!{number}"),
        }
    }
}
