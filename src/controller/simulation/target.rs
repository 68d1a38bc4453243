//! The target: a map with versions, health and an anchor under a lock. What goes wrong is chosen by the adversary.
//!
//! Some behave as directories do, where what a commit wants is what is found there; others as a cluster, see [`super::cluster`].

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::cluster::{Cluster, Owner};
use super::repository::Thing;
use crate::core::op::Verb;
use crate::core::resource::{Anchor, AnchorSeen, Digest, Health, Here, Id, Live, More, Nature, Touch, Version};

/// One object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The live digest.
    pub digest: Digest,
    /// What it holds, as a commit that wants it spells it; the live digest of a file.
    pub holds: Digest,
    /// Differs from that of every other object of its name.
    pub uid: u64,
    /// Who owns what is ours there.
    pub owner: Owner,
    /// A value that cannot be changed in place.
    pub fixed: bool,
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
    /// What only a cluster does, where it is one.
    pub cluster: Option<Cluster>,
    version: u64,
}

impl Target {
    /// Returns the anchor as it is observed.
    pub fn seen(&self) -> AnchorSeen {
        self.anchor.clone().map_or(AnchorSeen::Absent, AnchorSeen::Present)
    }

    /// Puts something there, whoever does.
    pub fn put(&mut self, id: &Id, thing: &Thing, touch: Touch, ready_at: i64, owner: Owner) -> Live {
        self.version += 1;
        let before = self.objects.get(id);
        let holds = thing.digest();
        let mut object = Object {
            digest: holds,
            holds,
            uid: before.map_or(self.version, |object| object.uid),
            owner,
            fixed: thing.fixed(),
            version: self.version,
            nature: thing.nature.clone(),
            touch,
            sick: thing.sick,
            ready_at,
            dependants: before.map_or(0, |object| object.dependants),
        };
        if let Some(cluster) = &self.cluster {
            object.digest = cluster.projection(&object);
        }
        let live = self.live(&object, ready_at);
        self.objects.insert(id.clone(), object);
        live
    }

    /// Returns an object as it is observed.
    pub fn live(&self, object: &Object, now: i64) -> Live {
        Live::Here(Here {
            digest: object.digest,
            version: object.spelt(),
            nature: object.nature.clone(),
            health: object.health(now),
            more: Some(Box::new(More {
                touch: object.touch.clone(),
                // A cluster tells them when it is asked what a deletion would take along.
                dependants: if self.cluster.is_some() { 0 } else { object.dependants },
                ..More::default()
            })),
        })
    }

    /// Returns what is observed under a name.
    pub fn look(&self, id: &Id, now: i64) -> Live {
        match self.objects.get(id) {
            None => Live::Gone,
            Some(_) if self.is_leaving(id) => Live::Leaving,
            Some(object) => self.live(object, now),
        }
    }

    /// Says why a write's precondition does not hold, if so.
    pub fn moved(&self, id: &Id, verb: Verb, from: Option<&(Digest, Version)>) -> Option<Arc<str>> {
        match (verb, self.objects.get(id)) {
            (Verb::Create, None) => None,
            (Verb::Create, Some(_)) => Some("something is there".into()),
            (Verb::Update | Verb::Delete, None) => Some("it is gone".into()),
            (Verb::Update | Verb::Delete, Some(_)) if self.is_leaving(id) => Some("it is being deleted".into()),
            (Verb::Update | Verb::Delete, Some(object)) => {
                // A status moves the version of an object, and nothing of what is ours.
                let same = from.is_some_and(|(digest, version)| {
                    *digest == object.digest && (self.cluster.is_some() || *version == object.spelt())
                });
                (!same).then(|| "it was changed meanwhile".into())
            }
        }
    }
}

/// Says that somebody changed something by hand.
pub fn by_hand(interactive: bool, at: Option<Timestamp>) -> Touch {
    Touch { by: interactive.then(|| "kubectl".into()), interactive, at }
}
