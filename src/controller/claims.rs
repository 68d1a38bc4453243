//! Who desires and holds what on which target: told by every application once a cycle, asked by those on the same target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::claims::{Claim, Claims};
use crate::core::resource::{Desired, Digest, Id};
use crate::core::state::State;

/// What one application has told.
#[derive(Debug)]
struct Told {
    /// Which target, shared by all applications with the same value.
    place: Digest,
    /// Absent until its tip was read once. What does not render keeps what was desired before, or what is held.
    desires: Option<BTreeSet<Id>>,
    holds: BTreeSet<Id>,
}

/// What the applications of this controller claim of targets that several may write to.
#[derive(Debug, Default)]
pub struct Registry(Mutex<BTreeMap<Arc<str>, Told>>);

impl Registry {
    /// Notes that an application is there, and what it holds; what it desires is not known yet.
    pub fn expect(&self, name: &Arc<str>, place: Digest, state: &State) {
        let told = Told { place, desires: None, holds: held(state) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), told);
    }

    /// Notes what an application holds, and what it desires; `None` where its tip does not render.
    pub fn tell(&self, name: &Arc<str>, place: Digest, state: &State, desired: Option<&Desired>) {
        let holds = held(state);
        let desires = desired.map(|desired| desired.wants().iter().map(|want| want.id.clone()).collect());
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.remove(name).filter(|before| before.place == place).and_then(|before| before.desires);
        let desires = desires.or(before).or_else(|| Some(holds.clone()));
        told.insert(name.clone(), Told { place, desires, holds });
    }

    /// Drops what an application claims that is worked on no longer.
    pub fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Returns what the others on a target claim.
    pub fn claims(&self, name: &str, place: Digest) -> Claims {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut claims = Claims::default();
        for (by, told) in told.iter().filter(|(by, told)| &***by != name && told.place == place) {
            claims.complete &= told.desires.is_some();
            let desires = |id: &Id| told.desires.as_ref().is_some_and(|desires| desires.contains(id));
            for id in told.holds.iter().chain(told.desires.iter().flatten()) {
                claims.add(id, Claim { by: by.clone(), desires: desires(id), holds: told.holds.contains(id) });
            }
        }
        claims
    }
}

fn held(state: &State) -> BTreeSet<Id> {
    let held = state.resources.iter().filter(|(_, resource)| resource.accepted.is_some());
    held.map(|(id, _)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u8) -> Digest {
        Digest::from_bytes([at; 32])
    }

    #[test]
    fn an_application_sees_the_others_on_its_own_target_alone() {
        let registry = Registry::default();
        let desired = Desired::new(place(0), vec![crate::controller::stub::want("a")]);
        registry.tell(&"web".into(), place(1), &State::default(), Some(&desired));
        registry.tell(&"db".into(), place(2), &State::default(), Some(&desired));
        assert_eq!(registry.claims("web", place(1)), Claims::default());
        let claims = registry.claims("db", place(1));
        assert_eq!(claims.by_id.len(), 1);
        assert!(claims.complete && claims.by_id[&Id::new("a")].desires && !claims.by_id[&Id::new("a")].holds);
    }

    #[test]
    fn what_is_desired_is_not_known_until_it_was_told_and_is_kept_while_it_does_not_render() {
        let registry = Registry::default();
        registry.expect(&"web".into(), place(1), &State::default());
        assert!(!registry.claims("db", place(1)).complete);
        let desired = Desired::new(place(0), vec![crate::controller::stub::want("a")]);
        registry.tell(&"web".into(), place(1), &State::default(), Some(&desired));
        registry.tell(&"web".into(), place(1), &State::default(), None);
        let claims = registry.claims("db", place(1));
        assert!(claims.complete && claims.by_id[&Id::new("a")].desires);
    }
}
