//! What the target holds, and writing to it: whatever its kind, through [`crate::targets::Target`] alone.

use std::time::Duration;

use super::Live;
use crate::clock::MachineClock;
use crate::controller::edges::Unclaimed;
use crate::core::effect::Rules;
use crate::core::op::Op;
use crate::core::resource::{Anchor, AnchorSeen, Digest, Health, Id, Live as Seen, Observed};
use crate::core::spelling::link_digest;
use crate::core::write::{Content, Outcome};
use crate::crash;
use crate::manifest;
use crate::targets::{Expect, Healthy, Watch, content_digest, rules};

impl Live {
    /// Reads the target's anchor alone, fresh.
    pub fn read_anchor(&mut self) -> AnchorSeen {
        self.target.read_anchor()
    }

    /// Calls `on_change` when something in the target changed: at once, then at most once every `quiet`.
    ///
    /// `None` where the kind of target cannot tell: then only the interval does. A watch whose state is no longer
    /// [`WatchState::Watching`](crate::targets::WatchState) is to be made anew.
    pub fn watch(&self, quiet: Duration, on_change: impl Fn() + Send + 'static) -> Option<Watch> {
        self.target.watch(quiet, on_change)
    }

    /// Observes what is asked for, with the live digest that was accepted.
    pub(super) fn observe_target(&mut self, expect: &[(&Id, Option<Digest>)]) -> Observed {
        let expect: Vec<Expect<'_>> = expect.iter().map(|(id, digest)| Expect { id, digest: *digest }).collect();
        let mut observed = self.target.observe(&expect, MachineClock::wall());
        if MachineClock::is_shifted() {
            // The kernel stamps changes by its own clock, which a shifted one cannot be compared with.
            for (_, live) in &mut observed.seen {
                if let Seen::Here(here) = live {
                    here.touch.at = None;
                }
            }
        }
        observed
    }

    /// Tells which of these resources do not work, by looking again.
    pub(super) fn not_working(&mut self, ids: &[Id]) -> Vec<Id> {
        let health = self.target.health(ids).into_iter();
        health.filter(|(_, health, _)| *health != Health::Healthy).map(|(id, _, _)| id).collect()
    }

    /// Swaps the anchor under the target's lock, and holds that until [`Self::unlock`].
    pub(super) fn claim_target(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed> {
        let mut session = self.target.lock().map_err(|error| Unclaimed(error.to_string().into()))?;
        if let Some(recovery) = session.recovery() {
            for (of, kept) in &recovery.saved {
                tracing::warn!(
                    app = %self.app.name, resource = %of, kept_as = %kept,
                    "an interrupted write left content that is neither ours nor what was observed: it was put aside"
                );
            }
        }
        crash::step("anchor.swap");
        session.swap(expected, new).map_err(|error| Unclaimed(error.to_string().into()))?;
        crash::step("anchor.swapped");
        self.session = Some(session);
        Ok(())
    }

    /// Gives the target's lock back.
    pub(super) fn unlock(&mut self) {
        self.session = None;
    }

    /// Writes one resource, the precondition inside.
    pub(super) fn write_one(&mut self, op: &Op) -> Outcome {
        let write = match self.write_op(op) {
            Ok(write) => write,
            Err(why) => return Outcome::Refused(why),
        };
        // What was judged is a digest: the bytes must be the ones that have it.
        let made = match &write.content {
            None => None,
            Some(Content::File { bytes, .. }) if rules(&self.app.target) == Rules::Kubernetes => {
                Some(manifest::digest(bytes))
            }
            Some(Content::File { bytes, executable }) => content_digest(bytes, *executable),
            Some(Content::Link(target)) => Some(link_digest(target)),
        };
        if made != op.to {
            return Outcome::Refused("its commit does not render what was judged".into());
        }
        let Some(session) = self.session.as_mut() else {
            return Outcome::Refused("the target is not claimed".into());
        };
        // Asked last: a process that was paused until here writes nothing any more.
        if let Some(reason) = self.right.withheld() {
            return Outcome::Moved(reason.message.into());
        }
        crash::step("target.write");
        let outcome = session.write(&write);
        crash::step("target.written");
        outcome
    }

    /// Has programs notice what was written, and tells whether it works.
    pub(super) fn settle_target(&mut self, wrote: &[Id]) -> Vec<Healthy> {
        self.target.settle(wrote)
    }
}
