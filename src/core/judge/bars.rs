//! Bars: what this cycle's inputs alone decide (OBSERVE, HISTORY, SIGNATURE, RENDER, FREEZE), and since when they hold.

use super::super::guards::{Mode, ObserveFor};
use super::super::ledger::Fact;
use super::super::reason::{self, Reason};
use super::super::state::LatchName;
use super::super::weaken::{self, Weakened};
use super::{Judge, Scope, Wanting};

/// The latches that are bars: computed anew each cycle.
const BARS: [LatchName; 5] =
    [LatchName::Freeze, LatchName::Observe, LatchName::History, LatchName::Signature, LatchName::Render];

/// So many refused resources are told one by one.
const REFUSED_TOLD: usize = 5;

impl Judge<'_> {
    pub(super) fn freeze(&mut self) {
        if !self.inputs.freezes.is_empty() {
            self.bar(LatchName::Freeze, Scope::All, self.inputs.freezes.clone());
        }
    }

    /// OBSERVE: the mode, the first whole cycles (`GUARDS.md` 2), and whoever may only look (`KUBERNETES.md` 16).
    pub(super) fn observe(&mut self) {
        let watched = &self.state.app.watched;
        if self.inputs.guards.mode == Mode::Observe {
            let reason =
                Reason::new("mode", "mode is observe: nothing is written until the configuration says converge");
            self.bar(LatchName::Observe, Scope::All, vec![reason]);
        } else if let Some(why) = &self.inputs.comparison.unpermitted {
            let message = format!("nothing can be confirmed or written without the permission to: {why}");
            self.bar(LatchName::Observe, Scope::All, vec![Reason::new("permission", message)]);
        } else if !watched.passed && !weaken::is(Weakened::Observe) {
            let reason = Reason::new("observe_for", "the first whole cycle only observes; its report is kept");
            self.bar(LatchName::Observe, Scope::All, vec![reason]);
        } else if !self.state.app.ever_converged {
            self.out.facts.push(Fact::Converging);
        }
        let enough = match self.inputs.guards.observe_for {
            ObserveFor::Cycles(cycles) => watched.cycles >= cycles.max(1),
            ObserveFor::Time(time) => {
                let time = jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX);
                watched.cycles >= 1 && watched.since.is_some_and(|since| self.state.now().duration_since(since) >= time)
            }
        };
        let shown = matches!(self.inputs.wanting, Wanting::Rendered(_) | Wanting::Missing(_));
        if enough && shown && !watched.passed && self.complete() && self.inputs.misplaced.is_none() {
            self.out.facts.push(Fact::ObservedEnough);
        }
    }

    pub(super) fn trust(&mut self) {
        if let Some(reason) = self.inputs.history.clone() {
            self.bar(LatchName::History, Scope::Promotion, vec![reason]);
        }
        if let Some(revoked) = self.inputs.accepted_revoked.clone() {
            let mut reasons = self.inputs.signature.clone();
            reasons.push(revoked);
            self.bar(LatchName::Signature, Scope::All, reasons);
        } else if !self.inputs.signature.is_empty() {
            self.bar(LatchName::Signature, Scope::Promotion, self.inputs.signature.clone());
        }
    }

    pub(super) fn render(&mut self) {
        match &self.inputs.wanting {
            Wanting::Broken(_) if weaken::is(Weakened::Render) => {}
            Wanting::Broken(why) => {
                self.bar(LatchName::Render, Scope::Promotion, vec![Reason::new("render", why.to_string())]);
            }
            Wanting::Unknown(why) => {
                let message = format!("the repository could not be read: {why}");
                self.bar(LatchName::Render, Scope::Promotion, vec![Reason::new("fetch", message)]);
            }
            Wanting::Rendered(_) | Wanting::Missing(_) => {
                // What the target would not take is as incomplete as what does not parse, and found as early.
                let refused = &self.inputs.comparison.refused;
                let reasons = refused
                    .iter()
                    .take(REFUSED_TOLD)
                    .map(|(id, why)| Reason::new("refused", format!("the target would not take {id}: {why}")));
                let mut reasons: Vec<Reason> = reasons.collect();
                if let Some(more) = refused.len().checked_sub(REFUSED_TOLD).filter(|more| *more > 0) {
                    reasons.push(Reason::new("refused", format!("and {more} more")));
                }
                if !reasons.is_empty() {
                    self.bar(LatchName::Render, Scope::Promotion, reasons);
                }
            }
        }
    }

    /// Notes since when bars hold, and for which reasons: they are computed anew each cycle, but people want to know.
    pub(super) fn bars(&mut self) {
        let app = &self.state.app;
        for held in &mut self.out.standing {
            match app.bars.get(&held.name) {
                Some(since) => held.latch.since = *since,
                None if !BARS.contains(&held.name) || app.latches.contains_key(&held.name) => continue,
                None => {}
            }
            if app.barred_for.get(&held.name) != Some(&reason::codes(&held.latch.reasons)) {
                let reasons = held.latch.reasons.clone();
                self.out.facts.push(Fact::Barred { bar: held.name, reasons });
            }
        }
        for bar in self.state.app.bars.keys() {
            if !self.out.standing.iter().any(|held| held.name == *bar) {
                self.out.facts.push(Fact::Unbarred { bar: *bar });
            }
        }
    }
}
