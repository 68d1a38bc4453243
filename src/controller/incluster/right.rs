//! The right to write, where a Lease gives it: asked for before every write.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::MachineClock;
use crate::core::reason::Reason;
use crate::core::tenure;

/// Who may write, as far as is known.
#[derive(Debug, Default)]
struct Known {
    /// The uptime in milliseconds before the request that last renewed the Lease; `None` while it is not ours.
    renewed: Option<i64>,
    /// Who holds it, while it is not ours.
    holder: Arc<str>,
}

/// The right to write. Without a Lease to hold, it is always there.
#[derive(Clone, Debug, Default)]
pub struct Right(Option<Arc<Mutex<Known>>>);

impl Right {
    /// Makes a right that must be given first.
    pub fn by_lease() -> Self {
        Self(Some(Arc::default()))
    }

    /// Notes that the Lease is ours, as of an uptime.
    pub(super) fn renewed(&self, uptime_ms: i64) {
        self.set(|known| known.renewed = Some(uptime_ms));
    }

    /// Notes that another process holds it.
    pub(super) fn lost(&self, holder: Arc<str>) {
        self.set(|known| *known = Known { renewed: None, holder });
    }

    fn set(&self, change: impl FnOnce(&mut Known)) {
        if let Some(known) = &self.0 {
            change(&mut known.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Returns why nothing may be written now, if so. A process that was paused finds that its Lease is over.
    pub fn withheld(&self) -> Option<Reason> {
        let known = self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let message = match known.renewed {
            Some(at) if tenure::trusted(at, MachineClock::read().uptime_ms) => return None,
            Some(_) => "the Lease was not renewed in time: another replica may write by now".to_owned(),
            None if known.holder.is_empty() => "the Lease is not held yet".to_owned(),
            None => format!("the Lease is held by {}", known.holder),
        };
        Some(Reason::new("lease", message))
    }

    /// Tells whether writes may be made now.
    pub fn held(&self) -> bool {
        self.withheld().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_lease_everything_goes_and_with_one_only_while_it_is_renewed() {
        assert!(Right::default().held());
        let right = Right::by_lease();
        assert!(right.withheld().unwrap().message.contains("not held yet"));
        right.renewed(MachineClock::read().uptime_ms);
        assert!(right.held());
        right.renewed(MachineClock::read().uptime_ms - tenure::TRUST_MS);
        assert!(right.withheld().unwrap().message.contains("not renewed in time"));
        right.lost("holdfast-0_x".into());
        assert!(right.withheld().unwrap().message.contains("holdfast-0_x"));
    }
}
