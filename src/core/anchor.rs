//! The target's anchor against the ledger (`GUARDS.md` 9): a restored backup, a second controller or an unmounted root is
//! STATE, not a revival.

use super::reason::Reason;
use super::resource::{Anchor, AnchorSeen};
use super::state::AnchorState;
use super::weaken::{self, Weakened};

/// Says why the anchor and the ledger do not belong together, if so.
pub fn misplaced(known: &AnchorState, seen: &AnchorSeen, application: &str, ledger: &str) -> Option<Reason> {
    if weaken::is(Weakened::Anchor) {
        return None;
    }
    let reason = |message: String| Some(Reason::new("anchor", message));
    match seen {
        AnchorSeen::Foreign(why) => reason(format!("the target's anchor is none: {why}")),
        // Whose the target is, is not known: nothing is observed then, and nothing is out of place.
        AnchorSeen::Unread(_) => None,
        AnchorSeen::Absent if known.known.is_some() => reason(
            "the target's anchor is gone: the root is not mounted, was replaced or was emptied; nothing is written until somebody looked".to_owned(),
        ),
        // An intended first anchor that never arrived: the crash was before the swap.
        AnchorSeen::Absent => None,
        AnchorSeen::Present(anchor) => {
            if known.known.as_ref() == Some(anchor) || known.intended.as_ref() == Some(anchor) {
                return None;
            }
            reason(stranger(known, anchor, application, ledger))
        }
    }
}

fn stranger(known: &AnchorState, anchor: &Anchor, application: &str, ledger: &str) -> String {
    if &*anchor.application != application {
        return format!("the target belongs to application {:?}, not to {application:?}", &*anchor.application);
    }
    if &*anchor.ledger != ledger {
        return "the target was converged by another ledger: this one is new, lost or another controller's".to_owned();
    }
    let ours = known.known.as_ref().map_or(0, |known| known.seq);
    if anchor.seq > ours {
        return format!(
            "the ledger is older than the target (sequence {ours}, the target says {}): it was restored from a backup",
            anchor.seq
        );
    }
    "the target was written by a second controller with a copy of this ledger".to_owned()
}
