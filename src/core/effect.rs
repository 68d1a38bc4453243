//! One table of rules per kind of target: what the kind itself says about an identity, before anything is read.

use super::effect_directory as directory;
use super::resource::Id;

/// Tells whether an identity is of a kind, `KIND` or `KIND.GROUP`; only a cluster's identities have one.
pub fn is_of_kind(id: &Id, wanted: &str) -> bool {
    let mut parts = id.as_str().split('/');
    let (Some(group), Some(kind), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (wanted, of) = wanted.split_once('.').map_or((wanted, None), |(kind, group)| (kind, Some(group)));
    kind == wanted && of.is_none_or(|of| of == group)
}

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
    fn a_kind_is_told_with_or_without_its_group() {
        let id = Id::new("apps/Deployment/web/front");
        assert!(is_of_kind(&id, "Deployment") && is_of_kind(&id, "Deployment.apps"));
        assert!(!is_of_kind(&id, "Deployment.extensions") && !is_of_kind(&id, "apps") && !is_of_kind(&id, "Deploy"));
        assert!(is_of_kind(&Id::new("/Secret/web/s"), "Secret") && !is_of_kind(&Id::new("a/b.conf"), "b.conf"));
    }

    #[test]
    fn a_name_means_something_only_where_its_kind_says_so() {
        assert!(Rules::Directory.is_protected("etc/passwd") && Rules::Directory.is_access_control("etc/passwd"));
        assert!(!Rules::Exec.is_protected("etc/passwd") && !Rules::Exec.is_access_control("etc/passwd"));
    }
}
