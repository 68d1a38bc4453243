//! The target: a map with versions, health and an anchor under a lock. What goes wrong is chosen by the adversary.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::repository::Thing;
use crate::core::op::Verb;
use crate::core::resource::{Anchor, AnchorSeen, Digest, Health, Here, Id, Live, Nature, Touch, Version};

/// One object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// What it holds.
    pub digest: Digest,
    /// Differs at every write, whoever writes.
    pub version: u64,
    /// What the rules need to know of it.
    pub nature: Arc<Nature>,
    /// Who changed it last.
    pub touch: Touch,
    /// Whether it does not work.
    pub sick: bool,
    /// When it is known whether it works, in true time.
    pub ready_at: i64,
    /// What would go with it.
    pub dependants: u32,
}

impl Object {
    /// Returns its health at a time.
    pub const fn health(&self, now: i64) -> Health {
        match (now < self.ready_at, self.sick) {
            (true, _) => Health::Progressing,
            (false, true) => Health::Unhealthy,
            (false, false) => Health::Healthy,
        }
    }

    /// Returns it as it is observed.
    pub fn live(&self, now: i64) -> Live {
        Live::Here(Here {
            digest: self.digest,
            version: self.spelt(),
            nature: self.nature.clone(),
            health: self.health(now),
            touch: self.touch.clone(),
            dependants: self.dependants,
        })
    }

    /// Returns its version as a precondition spells it.
    pub fn spelt(&self) -> Version {
        Version::new(format!("v{}", self.version))
    }
}

/// A target.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// What it holds.
    pub objects: BTreeMap<Id, Object>,
    /// Its anchor.
    pub anchor: Option<Anchor>,
    /// Which process holds its lock.
    pub lock: Option<usize>,
    version: u64,
}

impl Target {
    /// Returns the anchor as it is observed.
    pub fn seen(&self) -> AnchorSeen {
        self.anchor.clone().map_or(AnchorSeen::Absent, AnchorSeen::Present)
    }

    /// Puts something there, whoever does.
    pub fn put(&mut self, id: &Id, thing: &Thing, touch: Touch, ready_at: i64) -> Live {
        self.version += 1;
        let dependants = self.objects.get(id).map_or(0, |object| object.dependants);
        let object = Object {
            digest: thing.digest(),
            version: self.version,
            nature: thing.nature.clone(),
            touch,
            sick: thing.sick,
            ready_at,
            dependants,
        };
        let live = object.live(ready_at);
        self.objects.insert(id.clone(), object);
        live
    }

    /// Says why a write's precondition does not hold, if so.
    pub fn moved(&self, id: &Id, verb: Verb, from: Option<&(Digest, Version)>) -> Option<Arc<str>> {
        match (verb, self.objects.get(id)) {
            (Verb::Create, None) => None,
            (Verb::Create, Some(_)) => Some("something is there".into()),
            (Verb::Update | Verb::Delete, None) => Some("it is gone".into()),
            (Verb::Update | Verb::Delete, Some(object)) => {
                let same = from.is_some_and(|(digest, version)| *digest == object.digest && *version == object.spelt());
                (!same).then(|| "it was changed meanwhile".into())
            }
        }
    }
}

/// Says that somebody changed something by hand.
pub fn by_hand(interactive: bool, at: Option<Timestamp>) -> Touch {
    Touch { by: interactive.then(|| "kubectl".into()), interactive, at }
}
