//! How an identity is spelt: `group/Kind/namespace/name`, the core group and no namespace being empty.

use crate::core::resource::Id;

/// The parts of an identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Key<'a> {
    /// Reads an identity.
    pub(super) fn parse(id: &'a Id) -> Option<Self> {
        let mut parts = id.as_str().splitn(4, '/');
        let (group, kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let fine = !kind.is_empty() && !name.is_empty() && !name.contains('/') && !matches!(name, "." | "..");
        (fine && !matches!(namespace, "." | "..")).then_some(Self { group, kind, namespace, name })
    }
}
