//! The narrower of two trust policies, and what a new one widens.

use std::sync::Arc;

use crate::core::guards::{Match, TrustPolicy, Verify};

/// A principal that no signature can have, for a list that nobody is left on: an empty one would mean everybody.
const NOBODY: &str = "\0nobody";

impl TrustPolicy {
    /// Returns a policy that trusts nobody whom either this or `new` does not, while a change to `new` waits for an approval
    /// (`GUARDS.md` 3.6): who was taken off a list is off at once, who was added is not on it yet.
    ///
    /// People stay as they were. Neither more nor fewer names for a person is stricter: more names are more who may sign and
    /// approve, fewer names are fewer who count as the author.
    #[must_use]
    pub fn narrowed(&self, new: &Self) -> Self {
        let Self { verify, match_, signers, approvers, people, service_merges, anchor } = self;
        let signers = match (signers.is_empty(), new.signers.is_empty()) {
            (true, _) => new.signers.clone(),
            (_, true) => signers.clone(),
            (false, false) => {
                let both = both(signers, &new.signers);
                if both.is_empty() { vec![NOBODY.into()] } else { both }
            }
        };
        Self {
            verify: if [*verify, new.verify].contains(&Verify::Repository) { Verify::Repository } else { Verify::Path },
            match_: if [*match_, new.match_].contains(&Match::Committer) { Match::Committer } else { Match::Signer },
            signers,
            approvers: both(approvers, &new.approvers),
            people: people.clone(),
            service_merges: *service_merges && new.service_merges,
            anchor: anchor.clone().or_else(|| new.anchor.clone()),
        }
    }
}

fn both(a: &[Arc<str>], b: &[Arc<str>]) -> Vec<Arc<str>> {
    a.iter().filter(|name| b.contains(name)).cloned().collect()
}

/// Names what a new policy widens.
pub(super) fn loosened(old: &TrustPolicy, new: &TrustPolicy) -> impl Iterator<Item = String> {
    let TrustPolicy { verify, match_, signers, approvers, people, service_merges, anchor: _ } = old;
    let added = |old: &[Arc<str>], new: &[Arc<str>]| new.iter().any(|name| !old.contains(name));
    let found = [
        ("trust.verify", *verify == Verify::Repository && new.verify == Verify::Path),
        ("trust.match", *match_ == Match::Committer && new.match_ == Match::Signer),
        ("trust.signers", !signers.is_empty() && (new.signers.is_empty() || added(signers, &new.signers))),
        ("trust.approvers", added(approvers, &new.approvers)),
        // Any change can let somebody approve who could not before; see `narrowed`.
        ("trust.people", *people != new.people),
        ("trust.serviceMerges", !service_merges && new.service_merges),
    ];
    found.into_iter().filter(|(_, looser)| *looser).map(|(name, _)| name.to_owned())
}
