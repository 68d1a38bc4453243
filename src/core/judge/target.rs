//! Latches that the target sets: STATE, OBSERVATION, FAILURE, HEALTH (`GUARDS.md` 2).

use std::collections::BTreeSet;

use super::super::ledger::Fact;
use super::super::reason::Reason;
use super::super::resource::Id;
use super::super::state::{LatchName, Resource, Standing};
use super::super::weaken::{self, Weakened};
use super::{CLEAN_CYCLES, Judge, Scope};

/// Past so many unread resources the whole target counts as unread.
const UNREAD_LISTED: usize = 100;

impl Judge<'_> {
    /// STATE: set here, cleared only by `reanchor`. An anchor that is gone keeps it.
    pub(super) fn misplaced(&mut self) {
        let scope = Scope::All;
        if let Some(reason) = self.inputs.misplaced.clone() {
            let latch = self.fresh(vec![reason]);
            self.hold(LatchName::State, scope, latch);
        } else if let Some(known) = self.known(LatchName::State).cloned() {
            self.hold(LatchName::State, scope, known);
        }
    }

    /// OBSERVATION: three complete counted observations clear it (`GUARDS.md` 2).
    pub(super) fn observation(&mut self) {
        if weaken::is(Weakened::Observation) {
            return;
        }
        let unread = &self.inputs.comparison.unread;
        if let Some(why) = &self.inputs.unobserved {
            let latch = self.fresh(vec![Reason::new("observation", format!("the target could not be read: {why}"))]);
            return self.hold(LatchName::Observation, Scope::All, latch);
        }
        if !unread.is_empty() {
            let whole = unread.len() > UNREAD_LISTED
                || self.known(LatchName::Observation).is_some_and(|known| known.only.is_empty());
            let first = unread.iter().take(3).map(|(id, why)| format!("{id}: {why}")).collect::<Vec<_>>().join("; ");
            let count = u32::try_from(unread.len()).unwrap_or(u32::MAX);
            let mut reason = Reason::new("observation", format!("{count} resources could not be read: {first}"));
            reason.observed = Some(count);
            let mut latch = self.fresh(vec![reason]);
            if !whole {
                let known = self.known(LatchName::Observation).map(|known| known.only.clone()).unwrap_or_default();
                let only: BTreeSet<Id> = known.into_iter().chain(unread.iter().map(|(id, _)| id.clone())).collect();
                latch.only = only.into_iter().collect();
                self.out.withheld.extend(latch.only.iter().cloned());
            }
            let scope = if whole { Scope::All } else { Scope::Listed };
            return self.hold(LatchName::Observation, scope, latch);
        }
        let Some(mut latch) = self.known(LatchName::Observation).cloned() else { return };
        self.count_clean(&mut latch);
        if latch.clean >= CLEAN_CYCLES {
            return self.clear(LatchName::Observation, "three complete observations");
        }
        let scope = if latch.only.is_empty() { Scope::All } else { Scope::Listed };
        self.out.withheld.extend(latch.only.iter().cloned());
        self.hold(LatchName::Observation, scope, latch);
    }

    /// FAILURE: at least 3 and 25 % of the resources have open breakers (`GUARDS.md` 2).
    pub(super) fn failure(&mut self) {
        let tip: Option<std::sync::Arc<str>> = self.inputs.tip.map(|tip| tip.as_str().into());
        let open = |resource: &Resource| {
            resource.trouble.as_deref().and_then(|trouble| trouble.breaker.as_ref()).is_some_and(|breaker| breaker.open)
        };
        let count =
            u32::try_from(self.state.resources.values().filter(|resource| open(resource)).count()).unwrap_or(u32::MAX);
        let n = self.state.inventory();
        let broken = !weaken::is(Weakened::Failure) && count >= 3 && u64::from(count) * 4 >= u64::from(n);
        match self.known(LatchName::Failure).cloned() {
            // A repository that cannot be read is no new tip.
            Some(known) if tip.is_some() && known.judged.is_some() && known.judged != tip => {
                self.clear(LatchName::Failure, "a new tip");
            }
            Some(_) if !broken => self.clear(LatchName::Failure, "too few breakers are open"),
            // A probe that succeeds clears it while acting.
            Some(mut known) => {
                known.judged = known.judged.or(tip);
                self.hold(LatchName::Failure, Scope::AllButProbe, known);
            }
            None if broken => {
                let message = format!("{count} of {n} resources failed ten times in a row");
                let mut latch = self.fresh(vec![Reason::crossed("failures", count, 2, n, message)]);
                latch.judged = tip;
                self.hold(LatchName::Failure, Scope::AllButProbe, latch);
            }
            None => {}
        }
    }

    /// HEALTH: set while acting; cleared by a tip that desires something else, by an approval once everything is healthy
    /// (`GUARDS.md` 2), or by an approval of the tip where only what leads up to it was written (3.5).
    pub(super) fn health(&mut self) {
        let Some(known) = self.known(LatchName::Health).cloned() else { return };
        // One that verifies and desires something else: what only touches other paths would go on with what does not work.
        let trusted = self.inputs.signature.is_empty() && self.inputs.history.is_none();
        let desired = self.desired_digest().filter(|_| trusted && self.inputs.tip.is_some());
        if desired.is_some_and(|desired| known.judged.as_deref() != Some(&*desired.to_string())) {
            return self.clear(LatchName::Health, "a new tip");
        }
        if let Some(digest) = known.digest
            && self.inputs.unhealthy.is_empty()
            && let Some((by, named)) = self.approved(&digest, None)
        {
            self.out.facts.push(Fact::ApprovalSpent { digest: named, how: "used".into() });
            return self.clear(LatchName::Health, &format!("approved by {by}"));
        }
        // The commits before a culprit do not work, and the tip that waits behind them desires something else: whoever lets it
        // go lets go what was not tried.
        if known.wrote.is_some()
            && let Some(Standing::Approved { by, .. }) = self.standing_of_plan()
        {
            return self.clear(LatchName::Health, &format!("the plan to the tip was approved by {by}"));
        }
        self.hold(LatchName::Health, Scope::Promotion, known);
    }
}
