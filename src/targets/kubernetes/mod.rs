//! A cluster as a target, through its API server alone.
//!
//! What holds is what a real server was seen to do: objects are compared by the projection on what is ours of them, never
//! by what was declared; agreement is what the server answers to an apply, or to a dry-run that changes nothing.
//!
//! - `client`, `retry`, `status`: requests as bytes, what is asked again, and what a failure means.
//! - `discovery`, `key`, `list`: which kinds there are, how objects are named and listed.
//! - `object`, `project`, `fields`, `health`: one object: who owns what, its live digest, what is left over, whether it works.
//! - `ignore`: what of one object is no drift, and is left to whoever else owns it.
//! - `observe`: everything that is expected; `rehearse`, `dependants` and `owned`: what operations would do.
//! - `apply`, `adopt`, `write`: one write with its precondition.
//! - `set`, `anchor`: the set that our objects form, and the anchor in its parent.
//! - `watch`: wakes when something of it changes; carries no data.
//! - `examine`: what can be told without writing.

mod adopt;
mod anchor;
mod apply;
mod client;
mod dependants;
mod discovery;
mod examine;
mod fields;
mod health;
mod ignore;
mod key;
mod list;
mod object;
mod observe;
mod owned;
mod project;
mod rehearse;
mod retry;
mod set;
mod status;
#[cfg(test)]
mod tests;
mod watch;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::StreamExt as _;

pub use client::{Access, VERBS};
pub use examine::{Examination, Permission};
pub use watch::{Watch, Watcher};

use self::client::{Client, runtime};
use self::discovery::{Discovery, Found, Kind, KindName};
use self::key::Key;
use self::observe::{AT_ONCE, Seen, get};
use self::rehearse::Asked;
use self::set::{Contents, Set};
use super::{Expect, Healthy, Tried};
use crate::config::KubernetesTarget;
use crate::core::op::Op;
use crate::core::rehearse::Rehearsals;
use crate::core::resource::{Anchor, AnchorSeen, Health, Id, Observed};
use crate::core::write::{Outcome, WriteOp};

/// Where objects go that name no namespace, and our own, unless the configuration says otherwise.
pub const NAMESPACE: &str = "default";

/// A cluster as a target; cheap to clone.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    shared: Arc<Shared>,
}

/// What is the same for all requests of one target.
#[derive(Debug)]
struct Shared {
    client: Client,
    set: Set,
    board: watch::Board,
    words: Words,
    /// Which ledger converges it; objects of its other applications may be taken over.
    ledger: OnceLock<Arc<str>>,
    known: tokio::sync::Mutex<Known>,
}

/// What is remembered between calls; losing it costs requests, never correctness.
#[derive(Debug, Default)]
struct Known {
    discovery: Discovery,
    seen: HashMap<Id, Seen>,
    answers: rehearse::Answers,
    /// In which version the objects of a kind are read, where that is not the preferred one.
    read_at: HashMap<KindName, Arc<str>>,
    /// What the parent says that the set contains.
    said: Contents,
    /// What was written since everything was last observed.
    wrote: Contents,
}

/// Says why the anchor was not swapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// What stands there is not what was expected; nothing was changed.
    #[error("swap the anchor: {0}")]
    Moved(Arc<str>),
    /// The server would not; nothing was changed.
    #[error("swap the anchor: {0}")]
    Refused(Arc<str>),
    /// There was no answer: read it again.
    #[error("swap the anchor: {0}")]
    Unknown(Arc<str>),
}

/// Keeps equal texts once: what is ours of ten thousand objects is a few texts.
#[derive(Debug, Default)]
struct Words(Mutex<HashSet<Arc<str>>>);

impl Words {
    fn get(&self, text: String) -> Arc<str> {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = words.get(text.as_str()) {
            return known.clone();
        }
        let word: Arc<str> = text.into();
        words.insert(word.clone());
        word
    }

    /// Forgets what nobody else holds.
    fn tidy(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|word| Arc::strong_count(word) > 1);
    }
}

impl Shared {
    /// Returns the namespace that an object of a kind is in.
    fn namespace_of<'a>(&'a self, kind: &Kind, named: &'a str) -> &'a str {
        match (kind.namespaced, named) {
            (false, _) => "",
            (true, "") => &self.set.namespace,
            (true, named) => named,
        }
    }
}

impl Known {
    /// Returns a kind in the version in which most of its objects are ours.
    fn at_applied_version(&self, kind: Arc<Kind>) -> Arc<Kind> {
        let at = self.read_at.get(&kind.kind_name());
        at.and_then(|version| self.discovery.find_at(&kind.group, version, &kind.kind)).unwrap_or(kind)
    }

    fn seen(&self, id: &Id) -> Option<&Seen> {
        self.seen.get(id)
    }

    fn forget(&mut self, id: &Id) {
        self.seen.remove(id);
    }

    /// Remembers what was just seen, and in which version to look next time.
    fn remember(&mut self, seen: HashMap<Id, Seen>) {
        let mut versions: HashMap<KindName, HashMap<Arc<str>, usize>> = HashMap::new();
        for seen in seen.values().filter(|seen| !seen.applied_at.is_empty()) {
            let of = versions.entry(seen.kind.kind_name()).or_default();
            *of.entry(seen.applied_at.clone()).or_default() += 1;
        }
        let most = |counts: HashMap<Arc<str>, usize>| counts.into_iter().max_by_key(|(_, count)| *count);
        self.read_at = versions.into_iter().filter_map(|(of, counts)| Some((of, most(counts)?.0))).collect();
        self.seen = seen;
    }

    /// Returns what the set contains, by what was seen and written since.
    fn contents(&self, set: &Set) -> Contents {
        let mut contents = self.wrote.clone();
        for (id, seen) in self.seen.iter().filter(|(_, seen)| seen.labelled) {
            let namespace = Key::parse(id).map_or("", |key| key.namespace);
            let namespace = if seen.kind.namespaced { namespace } else { "" };
            contents.add(set, &seen.kind.group, &seen.kind.kind, namespace);
        }
        contents
    }
}

impl Kubernetes {
    /// Prepares a cluster as an application's target. Nothing is read or sent.
    pub fn open(target: &KubernetesTarget, application: &str) -> Self {
        let KubernetesTarget { kubeconfig, context, namespace, service_account } = target;
        let namespace = namespace.as_deref().unwrap_or(NAMESPACE);
        let impersonate = service_account.as_deref().map(|account| user(account, namespace));
        let access = Access { kubeconfig: kubeconfig.clone(), context: context.clone(), impersonate };
        let shared = Shared {
            client: Client::new(access),
            set: Set::of(application, namespace),
            board: watch::Board::default(),
            words: Words::default(),
            ledger: OnceLock::new(),
            known: tokio::sync::Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says which ledger converges it, once.
    pub fn belong_to(&self, ledger: &Arc<str>) {
        self.shared.ledger.get_or_init(|| ledger.clone());
    }

    /// Returns how many requests of each kind were sent since this was last asked.
    pub fn take_requests(&self) -> Vec<(&'static str, u64)> {
        self.shared.client.take_counts()
    }

    /// Reads everything that is expected, and the anchor, fresh.
    ///
    /// Never fails: what could not be read says so, per object, per kind and namespace, or whole.
    pub fn observe(&self, expect: &[Expect<'_>]) -> Observed {
        let mut expect: Vec<&Expect<'_>> = expect.iter().collect();
        expect.sort_by_key(|expect| expect.id);
        expect.dedup_by_key(|expect| expect.id);
        runtime().block_on(async {
            let shared = &*self.shared;
            let mut known = shared.known.lock().await;
            if let Err(why) = known.discovery.refresh(&shared.client).await {
                return Observed { failure: Some(why.into()), ..Observed::default() };
            }
            let (parent, found) = futures::join!(anchor::look(shared), observe::observe(shared, &mut known, &expect));
            known.said = parent.contents();
            known.wrote = Contents::default();
            shared.words.tidy();
            shared.board.observed(found.listed, known.seen.values());
            Observed { seen: found.live, failure: None, anchor: parent.seen, same: found.same }
        })
    }

    /// Reads the anchor alone.
    pub fn read_anchor(&self) -> AnchorSeen {
        runtime().block_on(anchor::look(&self.shared)).seen
    }

    /// Asks the server what operations would do.
    pub fn rehearse(&self, tried: &[Tried<'_>]) -> Rehearsals {
        if tried.is_empty() {
            return Rehearsals::new();
        }
        runtime().block_on(async {
            let mut known = self.shared.known.lock().await;
            rehearse::rehearse(&self.shared, &mut known, tried).await
        })
    }

    /// Replaces the anchor if it still is the expected one (`GUARDS.md` 9).
    ///
    /// # Errors
    /// See [`SwapError`]. An anchor that could not be read is never replaced.
    pub fn swap(&self, expected: &AnchorSeen, new: &Anchor) -> Result<(), SwapError> {
        runtime().block_on(async {
            let mut known = self.shared.known.lock().await;
            let contents = known.contents(&self.shared.set);
            anchor::swap(&self.shared, &contents, expected, new).await?;
            known.said = contents;
            Ok(())
        })
    }

    /// Writes one object, the precondition inside.
    pub fn write(&self, op: &WriteOp) -> Outcome {
        runtime().block_on(async {
            let shared = &*self.shared;
            let mut known = shared.known.lock().await;
            if op.content.is_some()
                && let Some(key) = Key::parse(&op.id)
            {
                let mut contents = known.said.clone();
                let mut wrote = std::mem::take(&mut known.wrote);
                let namespace = match known.discovery.find(key.group, key.kind) {
                    Found::Served(kind) => shared.namespace_of(&kind, key.namespace),
                    Found::Absent | Found::Stale(_) => key.namespace,
                };
                wrote.add(&shared.set, key.group, key.kind, namespace);
                let news = contents.add(&shared.set, key.group, key.kind, namespace);
                known.wrote = wrote;
                if news {
                    if let Err(error) = anchor::announce(shared, &contents).await {
                        return Outcome::Refused(format!("`{}`: {error}", op.id).into());
                    }
                    known.said = contents;
                }
            }
            write::write(shared, &mut known, op).await
        })
    }

    /// Tells whether objects work, by reading them. What is gone is nobody's health.
    pub fn health(&self, ids: &[Id]) -> Vec<Healthy> {
        runtime().block_on(async {
            let shared = &*self.shared;
            let known = shared.known.lock().await;
            let looks = ids.iter().map(|id| {
                let known = &*known;
                async move {
                    let key = Key::parse(id)?;
                    let Found::Served(kind) = known.discovery.find(key.group, key.kind) else { return None };
                    let place = shared.namespace_of(&kind, key.namespace);
                    match get(shared, &kind, place, key.name).await {
                        Ok(Some(object)) => {
                            let (health, why) = health::of(&object.0);
                            let waits = health == Health::Progressing && claims_at_need(shared, known, &object).await;
                            let said = if waits { (Health::Healthy, None) } else { (health, why) };
                            Some((id.clone(), said.0, said.1))
                        }
                        Ok(None) => None,
                        Err(why) => Some((id.clone(), Health::Unread, Some(why))),
                    }
                }
            });
            let said: Vec<Option<Healthy>> = futures::stream::iter(looks).buffered(AT_ONCE).collect().await;
            said.into_iter().flatten().collect()
        })
    }

    /// Returns what an operation that was just rehearsed would change of what is ours: JSON before and after, for people.
    pub fn rehearsed(&self, op: &Op) -> Option<(Vec<u8>, Vec<u8>)> {
        let known = runtime().block_on(self.shared.known.lock());
        known.answers.shown(&Asked::of(op))
    }

    /// Returns what makes watches over the cluster.
    pub fn watcher(&self) -> Watcher {
        Watcher::new(self.shared.clone())
    }
}

/// Tells whether an object is a claim that is bound only once a pod needs it: until then it works as it should.
async fn claims_at_need(shared: &Shared, known: &Known, object: &object::Object) -> bool {
    let text = |pointer: &str| object.0.pointer(pointer).and_then(serde_json::Value::as_str);
    let (Some("PersistentVolumeClaim"), Some("Pending")) = (text("/kind"), text("/status/phase")) else { return false };
    let Some(class) = text("/spec/storageClassName").filter(|class| !class.is_empty()) else { return false };
    let Found::Served(kind) = known.discovery.find("storage.k8s.io", "StorageClass") else { return false };
    let Ok(Some(class)) = get(shared, &kind, "", class).await else { return false };
    class.0.get("volumeBindingMode").is_some_and(|mode| mode == "WaitForFirstConsumer")
}

/// Spells the user that a service account is: `NAMESPACE/NAME`, or a name in the target's namespace.
fn user(account: &str, namespace: &str) -> String {
    if account.starts_with("system:") {
        return account.to_owned();
    }
    let (namespace, name) = account.split_once(['/', ':']).unwrap_or((namespace, account));
    format!("system:serviceaccount:{namespace}:{name}")
}
