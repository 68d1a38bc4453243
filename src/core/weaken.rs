//! Guards that a test can switch off, one at a time, to show that the simulation notices.
//!
//! Outside of tests nothing is ever weakened, and nothing of this is left in the program.

/// A guard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Weakened {
    /// `change_halt`
    ChangeHalt,
    /// `delete_halt`
    DeleteHalt,
    /// `growth_halt`
    Growth,
    /// `group_halt`
    Groups,
    /// `empty_desired`
    EmptyDesired,
    /// `window`
    Window,
    /// `fleet_change` and `fleet_delete`
    Fleet,
    /// `write_cap`
    WriteCap,
    /// `delete_cap`
    DeleteCap,
    /// `protected`
    Protected,
    /// SIGNATURE
    Signature,
    /// HISTORY
    History,
    /// Freezes that are looked for before every write.
    FreezeBeforeWrite,
    /// Freezes on the branch, when a cycle begins.
    FreezeAtTip,
    /// The tip that is read again while acting.
    TipWhileActing,
    /// OBSERVE
    Observe,
    /// OBSERVATION
    Observation,
    /// The reservation before a write.
    Reservation,
    /// The precondition of a write.
    Precondition,
    /// Deletions come last.
    DeletionsLast,
    /// A batch settles before the next one begins.
    Batch,
    /// HEALTH
    Health,
    /// DRIFT
    DriftHalt,
    /// Holds and interactive changes.
    Emergency,
    /// Quarantine after a fight.
    Fight,
    /// An approval is of one plan.
    ApprovalBinding,
    /// An approval is used once.
    ApprovalOnce,
    /// Nobody approves their own change.
    ApprovalOwn,
    /// The target's anchor.
    Anchor,
    /// The wall clock that is behind.
    Clock,
    /// What may be returned to.
    Return,
    /// A rollout is cancelled when what it has not yet written moves.
    RolloutMoves,
    /// A promotion leaves alone what a person changed.
    Conflict,
    /// What was fought over is left alone.
    Quarantine,
    /// Back-off, and the breaker of a resource that always fails.
    Breaker,
    /// FAILURE
    Failure,
    /// How far `on_poison: last_good` follows a range.
    LastGood,
    /// A looser configuration waits for an approval.
    Loosened,
    /// An approval lapses.
    ApprovalTtl,
    /// RENDER
    Render,
    /// What somebody else owns is taken over with an approval only.
    Ownership,
    /// What is being deleted is neither written nor missing.
    Leaving,
    /// What looks like drift is none until the target was asked.
    Suspects,
    /// What goes with a deletion counts.
    Dependants,
}

/// Every guard.
#[cfg(test)]
pub const ALL: &[Weakened] = &[
    Weakened::ChangeHalt,
    Weakened::DeleteHalt,
    Weakened::Growth,
    Weakened::Groups,
    Weakened::EmptyDesired,
    Weakened::Window,
    Weakened::Fleet,
    Weakened::WriteCap,
    Weakened::DeleteCap,
    Weakened::Protected,
    Weakened::Signature,
    Weakened::History,
    Weakened::FreezeBeforeWrite,
    Weakened::FreezeAtTip,
    Weakened::TipWhileActing,
    Weakened::Observe,
    Weakened::Observation,
    Weakened::Reservation,
    Weakened::Precondition,
    Weakened::DeletionsLast,
    Weakened::Batch,
    Weakened::Health,
    Weakened::DriftHalt,
    Weakened::Emergency,
    Weakened::Fight,
    Weakened::ApprovalBinding,
    Weakened::ApprovalOnce,
    Weakened::ApprovalOwn,
    Weakened::Anchor,
    Weakened::Clock,
    Weakened::Return,
    Weakened::RolloutMoves,
    Weakened::Conflict,
    Weakened::Quarantine,
    Weakened::Breaker,
    Weakened::Failure,
    Weakened::LastGood,
    Weakened::Loosened,
    Weakened::ApprovalTtl,
    Weakened::Render,
    Weakened::Ownership,
    Weakened::Leaving,
    Weakened::Suspects,
    Weakened::Dependants,
];

#[cfg(test)]
thread_local! {
    static WEAKENED: std::cell::Cell<Option<Weakened>> = const { std::cell::Cell::new(None) };
}

/// Weakens a guard on this thread, or none.
#[cfg(test)]
pub fn set(guard: Option<Weakened>) {
    WEAKENED.set(guard);
}

/// Tells whether a guard is weakened on this thread.
#[cfg(test)]
pub fn is(guard: Weakened) -> bool {
    WEAKENED.get() == Some(guard)
}

/// Nothing is weakened outside of tests.
#[cfg(not(test))]
#[inline]
pub const fn is(_: Weakened) -> bool {
    false
}
