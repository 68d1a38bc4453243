//! What happens to ledgers and targets from outside: another controller on the same targets, backups that are restored, ledgers
//! that are lost, roots that are not mounted.

use std::panic::resume_unwind;

use super::ledger::Store;
use super::oracle::Eye;
use super::process::{Controller, Ended};
use super::world::{Shared, Stop, World};

/// A copy of a ledger, with what was known of it then.
#[derive(Clone, Debug)]
pub struct Backup {
    store: Store,
    eyes: Vec<Eye>,
}

/// Lets another controller run a whole cycle between two calls of this one, if it so happens.
pub fn interrupt(world: &Shared, pid: usize) {
    let rival = {
        let mut inner = world.borrow_mut();
        let rate = inner.faults.rival;
        if inner.rival.as_ref().is_none_or(|rival| rival.pid == pid) || !inner.random.chance(rate) {
            return;
        }
        inner.count("another controller's cycle inside of ours");
        inner.rival.take()
    };
    // Taken out while it runs, so that nobody interrupts it in turn.
    if let Some(rival) = rival {
        turn(world, rival);
    }
}

/// Runs one cycle of another controller.
fn turn(world: &Shared, mut rival: Controller) {
    world.borrow_mut().note(|| "another controller's cycle".to_owned());
    let ended = rival.cycle();
    if matches!(ended, Ended::Crashed) {
        rival.restart();
    }
    world.borrow_mut().rival = Some(rival);
    if matches!(ended, Ended::Broken) {
        resume_unwind(Box::new(Stop));
    }
}

/// Starts another controller: with a ledger of its own, or with a copy of ours.
pub fn arrive(world: &Shared) {
    let store = {
        let mut inner = world.borrow_mut();
        let copies = inner.random.chance(500);
        let backup = inner.backup();
        let store = inner.stores.len();
        inner.count(if copies { "a second controller with a copy of the ledger" } else { "a second controller" });
        inner.note(|| format!("a second controller, with a copy of the ledger: {copies}"));
        let apps = inner.settings.len();
        if copies {
            inner.stores.push(backup.store);
            for (app, eye) in backup.eyes.into_iter().enumerate() {
                inner.eyes.insert((store, app), eye);
            }
        } else {
            inner.stores.push(Store::new(format!("ledger-{store}"), apps));
        }
        store
    };
    let rival = Controller::start(world, store);
    world.borrow_mut().rival = Some(rival);
}

/// Lets the other controller have its turn between two cycles of ours.
pub fn between(world: &Shared) {
    let rival = world.borrow_mut().rival.take();
    if let Some(rival) = rival {
        world.borrow_mut().count("another controller's cycle");
        turn(world, rival);
    }
}

/// Ends the other controller.
pub fn dismiss(world: &Shared) {
    let rival = world.borrow_mut().rival.take();
    if let Some(rival) = rival {
        world.borrow_mut().kill(rival.pid);
    }
}

impl World {
    /// Copies the first ledger.
    pub fn backup(&self) -> Backup {
        let eye = |app| {
            let mut eye = self.eyes.get(&(0, app)).cloned().unwrap_or_default();
            eye.credits.clear();
            eye
        };
        Backup { store: self.stores[0].clone(), eyes: (0..self.settings.len()).map(eye).collect() }
    }

    /// Puts a copy in the place of the first ledger, while nobody has it open.
    pub fn restore(&mut self) {
        let Some(backup) = self.random.pick(&self.backups).cloned() else { return };
        self.count("the ledger is restored from a backup");
        self.note(|| "the ledger is restored from a backup".to_owned());
        // Starts are counted outside of it: no two writers share an epoch.
        let starts = self.stores[0].starts;
        self.stores[0] = Store { starts, ..backup.store };
        self.fleets.remove(&0);
        for (app, eye) in backup.eyes.into_iter().enumerate() {
            self.eyes.insert((0, app), eye);
        }
    }

    /// Takes the first ledger away, while nobody has it open.
    pub fn lose(&mut self) {
        self.count("the ledger is lost");
        self.note(|| "the ledger is lost".to_owned());
        // What was too much together is measured by what the new one accepts.
        self.fleets.remove(&0);
        let (apps, steps) = (self.settings.len(), self.steps);
        self.stores[0] = Store::new(format!("ledger-{steps}-anew"), apps);
        for app in 0..apps {
            self.eyes.remove(&(0, app));
        }
    }

    /// Takes a target's root away, or gives it back.
    pub fn mount(&mut self, app: usize, mounted: bool) {
        match (self.unmounted[app].take(), mounted) {
            (Some(there), true) => {
                self.note(|| format!("the root of {app} is mounted again"));
                self.targets[app] = there;
            }
            (None, false) => {
                self.count("the root is not mounted");
                self.note(|| format!("the root of {app} is not mounted"));
                self.unmounted[app] = Some(std::mem::take(&mut self.targets[app]));
            }
            (known, _) => self.unmounted[app] = known,
        }
    }
}
