//! What of the journal's facts people read as events of the Application.

use super::projection::condition_of;
use crate::cluster::events::Happening;
use crate::core::commit::CommitId;
use crate::core::ledger::Fact;
use crate::core::resource::Id;
use crate::core::state::{LatchName, Purpose};

/// How many names an event spells.
const NAMED: usize = 5;

/// What was healed since the last event about it.
#[derive(Clone, Debug, Default)]
pub struct Healed {
    names: Vec<Id>,
    count: usize,
}

/// Returns what is told of facts. What is healed one by one is told once, when all of it is.
pub fn of(facts: &[Fact], healed: &mut Healed) -> Vec<Happening> {
    facts.iter().filter_map(|fact| one(fact, healed)).collect()
}

fn one(fact: &Fact, healed: &mut Healed) -> Option<Happening> {
    let tell = |reason: String, note: String, warning: bool| Some(Happening { reason, note, warning });
    let why = |reasons: &[crate::core::reason::Reason]| {
        reasons.iter().take(NAMED).map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
    };
    match fact {
        Fact::Latched { latch, state } => tell(format!("{}Set", condition_of(*latch)), why(&state.reasons), true),
        // To observe only, as asked or at first, is no warning.
        Fact::Barred { bar, reasons } => {
            let asked = *bar == LatchName::Observe && reasons.iter().all(|reason| &*reason.code != "permission");
            tell(format!("{}Set", condition_of(*bar)), why(reasons), !asked)
        }
        Fact::Cleared { latch, by } => {
            tell(format!("{}Cleared", condition_of(*latch)), format!("cleared by {by}"), false)
        }
        Fact::Unbarred { bar } => {
            tell(format!("{}Cleared", condition_of(*bar)), "withholds nothing any longer".to_owned(), false)
        }
        Fact::Freezes { change, .. } => tell("FreezeChanged".to_owned(), change.clone(), true),
        Fact::Poisoned { commit } => {
            tell("Poisoned".to_owned(), format!("commit {} crosses a limit alone", commit.short()), true)
        }
        Fact::RolloutStarted { purpose: Purpose::Promote, rollout, .. } => tell(
            "RolloutStarted".to_owned(),
            format!("{} operations towards commit {}", rollout.total, rollout.commit.short()),
            false,
        ),
        Fact::Converged { commit, skipped, .. } => {
            let skipped = skipped.iter().map(CommitId::short).collect::<Vec<_>>().join(", ");
            let skipped = if skipped.is_empty() { skipped } else { format!("; never written: {skipped}") };
            tell("Converged".to_owned(), format!("the target is as commit {} wants it{skipped}", commit.short()), false)
        }
        Fact::Wrote { purpose: Purpose::Heal, id, .. } => {
            healed.count += 1;
            if healed.names.len() < NAMED {
                healed.names.push(id.clone());
            }
            None
        }
        Fact::RolloutEnded { purpose: Purpose::Heal, .. } if healed.count > 0 => {
            let names = healed.names.iter().map(Id::as_str).collect::<Vec<_>>().join(", ");
            let note = format!("{} drifted resources were brought back: {names}", healed.count);
            *healed = Healed::default();
            tell("Healed".to_owned(), note, false)
        }
        Fact::Announced { id, class, answer } => {
            tell("Drifted".to_owned(), format!("{id} ({}): {answer}", class.as_str()), true)
        }
        Fact::Quarantined { id } => {
            tell("Quarantined".to_owned(), format!("{id} is fought over, and written no longer"), true)
        }
        Fact::Reanchored { commit, by, reason, .. } => {
            tell("Reanchored".to_owned(), format!("at {} by {by}: {reason}", commit.short()), false)
        }
        Fact::Differs { id, differing } if differing.alerted => {
            let note = format!("{id} does not converge for {} counted cycles: {}", differing.cycles, differing.why);
            tell("NotConverging".to_owned(), note, true)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::reason::Reason;

    #[test]
    fn a_latch_is_told_with_its_reason_and_what_is_quiet_is_not() {
        let facts = [
            Fact::Barred { bar: LatchName::Observe, reasons: vec![Reason::new("mode", "mode is observe")] },
            Fact::Barred { bar: LatchName::Observe, reasons: vec![Reason::new("permission", "may write nothing")] },
            Fact::Barred { bar: LatchName::Render, reasons: vec![Reason::new("render", "a.yaml does not parse")] },
            Fact::ObservedEnough,
            Fact::Unbarred { bar: LatchName::Render },
        ];
        let told = of(&facts, &mut Healed::default());
        let spelled: Vec<_> =
            told.iter().map(|what| (what.reason.as_str(), what.note.as_str(), what.warning)).collect();
        assert_eq!(
            spelled,
            [
                ("ObserveSet", "mode is observe", false),
                ("ObserveSet", "may write nothing", true),
                ("RenderSet", "a.yaml does not parse", true),
                ("RenderCleared", "withholds nothing any longer", false)
            ]
        );
    }
}
