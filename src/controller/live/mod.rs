//! The real edges of one application: its clone, its renderer, its keys, its target, the machine's clock.
//!
//! - `open`: what must be right before anything can be read.
//! - `source`: fetching and pinning, and what freezes.
//! - `local`: what freezes without the repository.
//! - `merges`: what the hosting service made of what others signed.
//! - `trust`: who signed, and what the policy makes of it.
//! - `content`: what commits want, and their bytes.
//! - `target`: observing and writing, whatever the kind of target.

mod content;
mod local;
mod merges;
mod open;
mod source;
mod target;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use local::{Local, local_freezes};
pub use merges::Hints;
pub use open::OpenError;
pub use source::{Proposed, remote_of};

use self::merges::Merges;
use super::edges::{Read, Rendered, Trusted, Unclaimed, Write};
use super::incluster::right::Right;
use super::rate::Pacer;
use crate::clock::MachineClock;
use crate::config::Application;
use crate::core::approval::Contributor;
use crate::core::clock::Reading;
use crate::core::commit::CommitId;
use crate::core::culprit::WantChange;
use crate::core::expect::Expect;
use crate::core::freeze::FreezeState;
use crate::core::guards::{Guards, TrustPolicy};
use crate::core::op::Op;
use crate::core::pace;
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::rehearse::Rehearsals;
use crate::core::resource::{Anchor, AnchorSeen, Id, Observed};
use crate::core::state::State;
use crate::core::write::Outcome;
use crate::git::{Mirror, Remote, Snapshot};
use crate::render::Renderer;
use crate::signatures::Keys;
use crate::targets::{Healthy, Session, Target};

/// What a fetch for all applications of a repository brought.
#[derive(Clone, Debug)]
pub struct Fetched {
    tip: Result<CommitId, Arc<str>>,
    /// The uptime in milliseconds at which it began.
    at: Option<i64>,
}

/// The real edges of one application.
pub struct Live {
    app: Application,
    state_dir: PathBuf,
    mirror: Mirror,
    remote: Remote,
    renderer: Renderer,
    target: Target,
    /// The right to write, while a batch is under way.
    session: Option<Session>,
    keys: Option<Keys>,
    keys_error: Option<Arc<str>>,
    snapshot: Option<Snapshot>,
    /// Another revision than the tracked branch's tip, for `plan --rev`.
    rev: Option<String>,
    /// A merge that is only proposed, judged as if it were the tip.
    proposed: Option<Proposed>,
    /// What a fetch for all applications of the repository brought: used once instead of a fetch.
    fetched: Option<Fetched>,
    /// The uptime in milliseconds at which the last fetch began, whoever's it was.
    fetched_at: Option<i64>,
    merges: Merges,
    pacer: Pacer,
    stop: Arc<AtomicBool>,
    right: Right,
    random: u64,
}

impl Live {
    /// Looks at the tip again, while acting, whenever this counts on.
    pub fn listen(&mut self, nudges: Arc<AtomicU64>) {
        self.pacer.listen(nudges);
    }

    /// Writes only while this right holds.
    pub fn under(&mut self, right: Right) {
        self.right = right;
    }

    /// Returns the application's configuration.
    pub fn application(&self) -> &Application {
        &self.app
    }
}

impl Read for Live {
    fn clock(&mut self) -> Reading {
        MachineClock::read()
    }

    fn fetch(&mut self) -> Result<CommitId, Arc<str>> {
        self.load_keys();
        self.fetch_tip()
    }

    fn fetched_at(&self) -> Option<i64> {
        self.fetched_at
    }

    fn trust(&mut self, state: &State, tip: &CommitId, policy: &TrustPolicy) -> Result<Trusted, Arc<str>> {
        self.trust_range(policy, state, tip)
    }

    fn freeze(
        &mut self,
        state: &State,
        tip: Option<&CommitId>,
        trusted: Option<&Trusted>,
    ) -> Option<(FreezeState, String)> {
        self.freezes(state, tip, trusted)
    }

    fn render(&mut self, commit: &CommitId) -> Rendered {
        self.rendered(commit)
    }

    fn changes(&mut self, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, Arc<str>> {
        self.wants_changed(old, new)
    }

    fn change_details(&mut self, old: &CommitId, new: &CommitId, changes: &[WantChange]) -> Details {
        self.inside_changes(old, new, changes)
    }

    fn contributors(&mut self, base: &CommitId, tip: &CommitId, id: &Id) -> Result<Vec<Contributor>, Arc<str>> {
        self.contributors_to(&self.app.trust.policy, base, tip, id)
    }

    fn details(&mut self, state: &State, ops: &[Op]) -> Details {
        self.inside_ops(state, ops)
    }

    fn rehearse(&mut self, _state: &State, ops: &[&Op]) -> Rehearsals {
        self.rehearse_ops(ops)
    }

    fn observe(&mut self, expect: &[Expect<'_>]) -> Observed {
        self.observe_target(expect)
    }

    fn unhealthy(&mut self, ids: &[Id]) -> Vec<Id> {
        self.not_working(ids)
    }

    fn still(&mut self, tip: Option<&CommitId>) -> bool {
        self.is_still(tip)
    }

    fn nudged(&mut self) -> bool {
        self.pacer.nudged()
    }

    fn local_freezes(&mut self, state: &State) -> Vec<Reason> {
        local_freezes(&self.app, &self.state_dir, &state.app.freeze, state.now())
    }
}

impl Write for Live {
    fn claim(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed> {
        self.claim_target(expected, new)
    }

    fn release(&mut self) {
        self.unlock();
    }

    fn admit(&mut self, guards: &Guards) -> bool {
        self.pacer.admit(pace::rate(guards, self.app.target.kind()), &self.stop) && self.right.held()
    }

    fn write(&mut self, op: &Op) -> Outcome {
        self.write_one(op)
    }

    fn settle(&mut self, wrote: &[Id]) -> Vec<Healthy> {
        self.settle_target(wrote)
    }

    fn wait(&mut self, time: Duration) -> bool {
        let end = std::time::Instant::now() + time;
        while std::time::Instant::now() < end {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
        !self.stop.load(Ordering::Relaxed)
    }

    fn random(&mut self) -> (f64, Arc<str>) {
        // xorshift64*: for jitter and for names that must differ, not for secrets.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let value = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let fraction = (value >> 11) as f64 / (1_u64 << 53) as f64;
        (fraction, format!("{value:016x}{:08x}", std::process::id()).into())
    }
}
