//! What leads to one guard: chosen more often than anything else where that guard is looked at. What comes of it, the seed and the
//! onlooker say.

use super::commits::{Change, id};
use super::repository::Signed;
use super::world::{Faults, World};
use crate::core::guards::{Guards, Limit, OnPoison};
use crate::core::weaken::Weakened;

/// Makes guards under which one of them decides.
pub fn guards(guards: &mut Guards, focus: Weakened) {
    match focus {
        // What holds a whole plan must not stand before what holds a part of it.
        Weakened::Fleet | Weakened::Window | Weakened::DeleteCap | Weakened::WriteCap | Weakened::Batch => {
            guards.change_halt = Limit::Relative { over: 30, percent: 60, at_most: None };
            guards.group_halt = None;
        }
        Weakened::Groups | Weakened::EmptyDesired | Weakened::Growth | Weakened::Protected | Weakened::LastGood => {
            guards.change_halt = Limit::Disabled;
            guards.delete_halt = Limit::Disabled;
        }
        _ => {}
    }
    match focus {
        Weakened::LastGood => {
            guards.on_poison = OnPoison::LastGood;
            guards.change_halt = Limit::Relative { over: 8, percent: 30, at_most: None };
        }
        Weakened::EmptyDesired => {
            guards.group_halt = None;
            guards.empty_desired_halts = true;
        }
        // Shorter than what passes after an approval.
        Weakened::ApprovalTtl => guards.approval_ttl = std::time::Duration::from_secs(20 * 60),
        Weakened::Return => guards.drift.grace = std::time::Duration::from_secs(60),
        Weakened::Fight | Weakened::Quarantine => {
            guards.drift.grace = std::time::Duration::from_secs(1);
            guards.drift_halt = Limit::Disabled;
        }
        // Nothing else is to stop what fails.
        Weakened::Breaker | Weakened::Failure => {
            guards.backoff_max = std::time::Duration::from_secs(60);
            (guards.change_halt, guards.drift_halt, guards.write_cap) =
                (Limit::Disabled, Limit::Disabled, Limit::Disabled);
            guards.window_changes.clear();
        }
        _ => {}
    }
}

/// Tells whether a guard is about what only clusters do.
pub const fn is_of_clusters(focus: Weakened) -> bool {
    matches!(focus, Weakened::Ownership | Weakened::Leaving | Weakened::Suspects | Weakened::Dependants)
}

/// Tells whether a guard is about writes that fail again and again: until it is quiet.
pub const fn stays_jammed(focus: Weakened) -> bool {
    matches!(focus, Weakened::Breaker | Weakened::Failure)
}

/// Turns the faults to what a guard is about.
pub fn faults(faults: &mut Faults, focus: Weakened) {
    match focus {
        Weakened::Observation => (faults.unread, faults.observe) = (20, 50),
        Weakened::Observe => (faults.unread, faults.observe) = (20, 300),
        Weakened::TipWhileActing | Weakened::FreezeBeforeWrite => (faults.meanwhile, faults.slow) = (25, 700),
        Weakened::Precondition | Weakened::RolloutMoves => faults.meanwhile = 60,
        Weakened::Batch | Weakened::Health => faults.slow = 300,
        Weakened::Anchor => faults.rival = 3,
        // A batch whose health is not read goes on later; what fails is to fail soon.
        Weakened::Failure => faults.unread = 0,
        _ => {}
    }
}

/// Something happens that leads to a guard.
pub fn happen(world: &mut World, store: usize, app: usize, focus: Weakened) {
    let good = Signed::By(0);
    match focus {
        Weakened::ChangeHalt | Weakened::WriteCap | Weakened::Batch | Weakened::TipWhileActing => {
            world.push_change(Change::Sweep, good);
        }
        Weakened::Precondition | Weakened::Reservation | Weakened::Observe => world.push_change(Change::Sweep, good),
        Weakened::DeleteHalt | Weakened::Groups | Weakened::Protected => world.push_change(Change::Purge, good),
        Weakened::DeletionsLast => world.push_change(Change::Small, good),
        Weakened::DeleteCap | Weakened::Window | Weakened::Fleet => world.push_change(Change::Drip, good),
        Weakened::Growth => world.push_change(Change::Growth, good),
        Weakened::EmptyDesired => world.push_change(Change::Empty, good),
        Weakened::Render => world.push_change(Change::Broken, good),
        Weakened::Signature => world.push_change(Change::Small, Signed::Unsigned),
        Weakened::History => world.rewrite(),
        Weakened::FreezeAtTip => match world.number(3) {
            0 => world.push_freeze(),
            _ => world.push_change(Change::Small, good),
        },
        Weakened::FreezeBeforeWrite => match world.number(3) {
            0 => world.local_freeze(app),
            1 => world.local = vec![None; world.settings.len()],
            _ => world.push_change(Change::Sweep, good),
        },
        Weakened::Health => world.push_change(Change::Sick, good),
        Weakened::Observation => world.push_change(Change::Sweep, good),
        Weakened::DriftHalt => {
            for _ in 0..6 {
                world.drift(app);
            }
        }
        Weakened::Emergency | Weakened::Conflict | Weakened::RolloutMoves => match world.number(2) {
            0 => world.drift(app),
            _ => world.push_change(Change::Sweep, good),
        },
        Weakened::Fight | Weakened::Quarantine => match world.number(4) {
            0 => world.push_change(Change::Small, good),
            _ => world.meddle(app, &id(1)),
        },
        Weakened::ApprovalTtl => match world.number(3) {
            0 => world.push_change(Change::Sweep, good),
            _ => {
                world.approve_something(store, app);
                world.pass(25 * 60);
            }
        },
        Weakened::ApprovalBinding | Weakened::ApprovalOnce | Weakened::ApprovalOwn => match world.number(3) {
            0 => world.push_change(Change::Sweep, good),
            1 => world.push_change(Change::Back, good),
            _ => world.approve_something(store, app),
        },
        Weakened::Anchor => match world.number(3) {
            0 => world.mount(app, false),
            1 => world.mount(app, true),
            _ => world.push_change(Change::Small, good),
        },
        Weakened::Clock => match world.number(2) {
            0 => world.jump(),
            _ => world.push_change(Change::Small, good),
        },
        Weakened::Return => match world.number(3) {
            0 => world.push_change(Change::Back, good),
            1 => world.push_change(Change::Small, good),
            _ => {}
        },
        Weakened::Breaker | Weakened::Failure => match world.number(3) {
            // Ten failures in a row take their time.
            0 if world.jammed.is_empty() => world.jam(app),
            0 => {}
            1 => world.push_change(Change::Sweep, good),
            _ => world.drift(app),
        },
        Weakened::Ownership | Weakened::Suspects => match world.number(3) {
            0 => world.push_change(Change::Small, good),
            _ => world.stir(app),
        },
        Weakened::Leaving => match world.number(2) {
            0 => world.push_change(Change::Sweep, good),
            _ => world.drift(app),
        },
        Weakened::Dependants => world.push_change(Change::Drip, good),
        Weakened::LastGood => {
            let first = [Change::Small, Change::Drip, Change::Growth][world.number(3)];
            world.push_change(first, good);
            let poison = [Change::Sweep, Change::Purge][world.number(2)];
            world.push_change(poison, good);
        }
        Weakened::Loosened => match world.number(2) {
            0 => world.loosen(app),
            _ => world.push_change(Change::Small, good),
        },
    }
}
