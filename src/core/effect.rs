//! One table of rules per kind of target: what the kind itself says about an identity, before anything is read.

use super::effect_directory as directory;

/// Which rules hold for what a tree renders to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rules {
    /// Names of files mean what they mean on a machine.
    #[default]
    Directory,
    /// Names are those of a cluster's objects, which say by themselves what they are (`crate::manifest`).
    Kubernetes,
    /// Only the program knows what its names mean: it says of each resource what it is (`docs/exec-target.md`).
    Exec,
}

impl Rules {
    /// Tells whether a resource is never deleted or replaced without an approval (`GUARDS.md` 8, `protected`).
    pub fn is_protected(self, id: &str) -> bool {
        match self {
            Self::Directory => directory::is_protected(id),
            Self::Kubernetes | Self::Exec => false,
        }
    }

    /// Tells whether drift of a resource is classed as tampering (`GUARDS.md` 6).
    pub fn is_access_control(self, id: &str) -> bool {
        match self {
            Self::Directory => directory::is_access_control(id),
            Self::Kubernetes | Self::Exec => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_something_only_where_its_kind_says_so() {
        assert!(Rules::Directory.is_protected("etc/passwd") && Rules::Directory.is_access_control("etc/passwd"));
        assert!(!Rules::Exec.is_protected("etc/passwd") && !Rules::Exec.is_access_control("etc/passwd"));
    }
}
