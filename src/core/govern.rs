//! Which configuration governs: a loosened one waits for an approval (`GUARDS.md` 3.6).

use super::approval::{Wanted, find};
use super::guards::{Guards, TrustPolicy};
use super::ledger::Fact;
use super::resource::Digest;
use super::state::{Governing, State};
use super::stricter;
use super::weaken::{self, Weakened};

/// The configuration in force.
#[derive(Clone, PartialEq, Debug)]
#[must_use]
pub struct InForce {
    /// The guards: of old and new the stricter, while the new ones wait.
    pub guards: Guards,
    /// The trust policy: whom both old and new trust, while the new one waits.
    pub policy: TrustPolicy,
    /// What is loosened and waits, and the digest to approve.
    pub waiting: Option<(Vec<String>, Digest)>,
    /// What changes.
    pub facts: Vec<Fact>,
}

impl InForce {
    fn of(new: &Governing, facts: Vec<Fact>) -> Self {
        Self { guards: new.guards.clone(), policy: new.trust.clone(), waiting: None, facts }
    }
}

/// Decides which configuration governs, given what governed before and what is configured now.
///
/// Before anything was ever allowed to write there is nothing to loosen. An approval counts by the old configuration.
pub fn govern(state: &State, new: &Governing) -> InForce {
    let governs = |loosened| Fact::Governed { governing: Box::new(new.clone()), loosened };
    let Some(old) = state.app.governing.as_ref().filter(|_| state.app.ever_converged) else {
        let known = state.app.governing.as_ref() == Some(new);
        return InForce::of(new, if known { Vec::new() } else { vec![governs(Vec::new())] });
    };
    if old == new {
        return InForce::of(new, Vec::new());
    }
    let loosened = stricter::loosened(&old.guards, &new.guards, &old.trust, &new.trust);
    let wanted = Wanted { digest: &new.digest, change: None, seen: state.now(), contributors: &[] };
    let approved = find(state, &wanted, &old.trust, &old.guards).map(|approval| approval.digest);
    if loosened.is_empty() || approved.is_some() || weaken::is(Weakened::Loosened) {
        let mut facts = vec![governs(loosened)];
        facts.extend(approved.map(|digest| Fact::ApprovalSpent { digest, how: "used".into() }));
        return InForce::of(new, facts);
    }
    InForce {
        guards: old.guards.stricter(&new.guards),
        policy: old.trust.narrowed(&new.trust),
        waiting: Some((loosened, new.digest)),
        facts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Approval;
    use super::*;

    fn governing(signers: &[&str], digest: u8) -> Governing {
        let list = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let trust =
            TrustPolicy { signers: list(signers), approvers: list(&["bob@a", "carol@a"]), ..TrustPolicy::default() };
        Governing { guards: Guards::default(), trust, digest: Digest::from_bytes([digest; 32]) }
    }

    fn state(old: Governing) -> State {
        let mut state = State::default();
        state.app.governing = Some(old);
        state.app.ever_converged = true;
        state
    }

    #[test]
    fn an_added_signer_does_not_count_until_somebody_approved() {
        let mut state = state(governing(&["alice@a"], 1));
        let new = governing(&["alice@a", "mallory@a"], 2);
        let waiting = govern(&state, &new);
        assert_eq!(waiting.policy.signers, ["alice@a".into()]);
        assert_eq!(waiting.waiting, Some((vec!["trust.signers".to_owned()], new.digest)));
        assert!(waiting.facts.is_empty(), "{:?}", waiting.facts);

        let at = state.now();
        let approval =
            Approval { digest: new.digest, by: "bob@a".into(), via: "tag".into(), at, used: false, key: None };
        state.app.approvals.push(approval);
        let governs = govern(&state, &new);
        assert_eq!((governs.policy, governs.waiting), (new.trust, None));
        assert!(matches!(governs.facts.as_slice(), [Fact::Governed { .. }, Fact::ApprovalSpent { .. }]));
    }

    #[test]
    fn a_removed_signer_is_off_at_once() {
        let state = state(governing(&["alice@a", "dave@a"], 1));
        let now = govern(&state, &governing(&["alice@a"], 2));
        assert_eq!(now.policy.signers, ["alice@a".into()]);
        assert_eq!(now.waiting, None);
        assert!(matches!(now.facts.as_slice(), [Fact::Governed { .. }]));
    }

    #[test]
    fn an_approver_whom_the_loosening_adds_cannot_approve_it() {
        let mut state = state(governing(&["alice@a"], 1));
        let mut new = governing(&["alice@a"], 2);
        new.trust.approvers.push("mallory@a".into());
        let at = state.now();
        let by: std::sync::Arc<str> = "mallory@a".into();
        state.app.approvals.push(Approval { digest: new.digest, by, via: "tag".into(), at, used: false, key: None });
        let waiting = govern(&state, &new);
        assert!(waiting.waiting.is_some());
        assert_eq!(waiting.policy.approvers, ["bob@a".into(), "carol@a".into()]);
    }

    #[test]
    fn before_anything_was_written_the_configuration_may_change_freely() {
        let mut state = state(governing(&["alice@a"], 1));
        state.app.ever_converged = false;
        assert_eq!(govern(&state, &governing(&[], 2)).waiting, None);
    }
}
