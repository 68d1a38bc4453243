//! What the controller needs of the world, as traits: the real edges and the simulation implement them.
//!
//! Calls block; the controller runs on threads of its own. Reading and writing are apart: `plan`, `drift`, `backtest` and
//! frozen cycles hold no [`Write`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::approval::Contributor;
use crate::core::clock::Reading;
use crate::core::commit::{Commit, CommitId};
use crate::core::culprit::WantChange;
use crate::core::expect::Expect;
use crate::core::freeze::FreezeState;
use crate::core::guards::{Guards, TrustPolicy};
use crate::core::ledger::Fact;
use crate::core::op::Op;
use crate::core::plan::Details;
use crate::core::reason::Reason;
use crate::core::rehearse::Rehearsals;
use crate::core::resource::{Anchor, AnchorSeen, Desired, Health, Id, Observed};
use crate::core::state::{Approval, State};
use crate::core::write::Outcome;

/// What a commit renders to.
#[derive(Clone, Debug)]
pub enum Rendered {
    /// Something, possibly nothing.
    Desired(Arc<Desired>),
    /// The source path does not exist there.
    Missing(Arc<str>),
    /// It is not complete, and why.
    Broken(Arc<str>),
}

/// One commit of a range with its verdict, for reports.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The commit's facts.
    pub commit: Commit,
    /// Whether it is on the first-parent chain.
    pub first_parent: bool,
    /// The principal that signed it, where it verifies.
    pub signer: Option<Arc<str>>,
    /// `verified`, `vouched`, `merged`, `exempt`, or the code of what failed.
    pub verdict: Arc<str>,
    /// What failed, for people.
    pub why: Option<String>,
    /// Whoever has a part in what the hosting service made it of.
    pub brought: Vec<Contributor>,
}

impl Judged {
    /// Returns everybody who has a part in the commit.
    pub fn contributor(&self) -> Contributor {
        let mut names: Vec<Arc<str>> =
            vec![self.commit.author.email.as_str().into(), self.commit.committer.email.as_str().into()];
        names.extend(self.signer.clone());
        if let crate::core::commit::Signature::Good { key, .. } = &self.commit.signature {
            names.push(key.clone());
        }
        names.extend(self.brought.iter().flat_map(|contributor| contributor.names.iter().cloned()));
        Contributor { names }
    }
}

/// What was found of the range that leads to a tip.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// Every commit of it, parents before children.
    pub commits: Vec<Judged>,
    /// Why the tip does not go on from what was verified, if so.
    pub history: Option<Reason>,
    /// Why it does not verify; empty when it does.
    pub signature: Vec<Reason>,
    /// Why healing stops too.
    pub accepted_revoked: Option<Reason>,
    /// The keys that vouch for it.
    pub keys: Vec<Arc<str>>,
    /// Commits that the hosting service made some of it of: first seen now, if they were not before.
    pub heads: Vec<CommitId>,
    /// Approvals found as signed tags.
    pub approvals: Vec<Approval>,
}

/// Reads everything a cycle acts on.
pub trait Read {
    /// Reads the machine's clocks.
    fn clock(&mut self) -> Reading;
    /// Fetches, and returns the tip.
    fn fetch(&mut self) -> Result<CommitId, Arc<str>>;
    /// Returns the uptime in milliseconds at which the last fetch began, where that was before the cycle.
    fn fetched_at(&self) -> Option<i64> {
        None
    }
    /// Judges the range from what was verified to the tip, by the policy in force.
    fn trust(&mut self, state: &State, tip: &CommitId, policy: &TrustPolicy) -> Result<Trusted, Arc<str>>;
    /// Judges what freezes at the tip and here; returns the new freezes and what changed, if anything did.
    fn freeze(
        &mut self,
        state: &State,
        tip: Option<&CommitId>,
        trusted: Option<&Trusted>,
    ) -> Option<(FreezeState, String)>;
    /// Renders a commit.
    fn render(&mut self, commit: &CommitId) -> Rendered;
    /// Tells what a commit changes, desired against desired.
    fn changes(&mut self, old: &CommitId, new: &CommitId) -> Result<Vec<WantChange>, Arc<str>>;
    /// Tells what changes inside the resources that are updated from one commit to another.
    fn change_details(&mut self, old: &CommitId, new: &CommitId, changes: &[WantChange]) -> Details;
    /// Tells who has a part in what becomes of one resource between two commits.
    fn contributors(&mut self, base: &CommitId, tip: &CommitId, id: &Id) -> Result<Vec<Contributor>, Arc<str>>;
    /// Tells what operations change inside their resources.
    fn details(&mut self, state: &State, ops: &[Op]) -> Details;
    /// Asks the target what operations would do, without doing them; what it cannot rehearse is left out.
    fn rehearse(&mut self, _state: &State, _ops: &[&Op]) -> Rehearsals {
        Rehearsals::new()
    }
    /// Observes what is asked for, with the live digest that was accepted.
    fn observe(&mut self, expect: &[Expect<'_>]) -> Observed;
    /// Tells which of these resources do not work, by looking again.
    fn unhealthy(&mut self, ids: &[Id]) -> Vec<Id>;
    /// Reads the tip again, cheaply, while acting; returns whether it still is what was judged, and nothing new freezes. Where
    /// it could not be read then, that is over once it can be.
    fn still(&mut self, tip: Option<&CommitId>) -> bool;
    /// Tells whether somebody asked, since this was last asked, to look at the tip again: a webhook does.
    fn nudged(&mut self) -> bool {
        false
    }
    /// Returns what freezes without the repository: the configuration, and a `FREEZE` in the state directory. Cheap: asked
    /// before every write, and measured in the ledger's time.
    fn local_freezes(&mut self, state: &State) -> Vec<Reason>;
}

/// Why the target could not be claimed for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed(pub Arc<str>);

/// Writes to the target.
pub trait Write {
    /// Swaps the anchor under the target's lock, which is held until [`Write::release`].
    fn claim(&mut self, expected: &AnchorSeen, new: &Anchor) -> Result<(), Unclaimed>;
    /// Gives the lock back.
    fn release(&mut self);
    /// Waits until the rate lets one more write through; tells whether it does: not while the controller ends.
    fn admit(&mut self, _guards: &Guards) -> bool {
        true
    }
    /// Writes one resource, the precondition inside.
    fn write(&mut self, op: &Op) -> Outcome;
    /// Runs what makes programs notice, and tells which of what was written does not work (or not yet).
    fn settle(&mut self, wrote: &[Id]) -> Vec<(Id, Health, Option<String>)>;
    /// Waits, and tells whether the controller still runs.
    fn wait(&mut self, time: Duration) -> bool;
    /// Returns a number in `0.0..1.0` and text that does not repeat.
    fn random(&mut self) -> (f64, Arc<str>);
}

/// Why facts were not made durable.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process wrote meanwhile; the state was brought up to date, and nothing of ours was written: decide again.
    #[error("the ledger moved on")]
    Moved,
    /// The ledger failed.
    #[error("{0}")]
    Failed(String),
}

/// Makes facts durable.
pub trait Ledger {
    /// Journals facts and folds them into the state, all or nothing.
    ///
    /// # Errors
    /// [`LedgerError::Moved`] when another process wrote since the state was read.
    fn commit(&mut self, state: &mut State, facts: &[Fact]) -> Result<(), LedgerError>;
    /// Returns the freezes of all applications (`freeze --all`) that hold for this one, as of the last commit or refresh.
    fn freezes(&self, now: Timestamp) -> Vec<Reason>;
    /// Names this ledger.
    fn id(&self) -> Arc<str>;
    /// Counts this ledger's writers' starts.
    fn epoch(&self) -> u64;
}
