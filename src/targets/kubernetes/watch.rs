//! Wakes when something of ours changed in the cluster: one watch of metadata per kind, or per kind and namespace where no more
//! may be looked at. Carries no data.
//!
//! What a status says wakes nobody, nor what we wrote ourselves: only another uid, a new generation, a deletion, or a
//! change of who owns what, against what was last observed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Shared;
use super::client::{Asks, Request, escaped, runtime};
use super::discovery::{Kind, KindName};
use super::object::{PART_OF, pulse};
use super::observe::{Listing, Seen};
use super::status::{Meaning, Status};
use crate::core::resource::Digest;
use crate::targets::WatchState;
use crate::targets::wake::debounce;

/// How long the server keeps one watch open.
const OPEN_FOR: u64 = 290;

/// How long it may take until a watch begins.
const BEGINS: Duration = Duration::from_secs(60);

/// How soon a watch that ended is begun again, at first and at most.
const AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// So many watches are kept of kinds that are watched namespace by namespace: each is a connection, on both sides.
const APART_MAX: usize = 100;

/// What was last observed, for watches to compare with.
#[derive(Debug, Default)]
pub(super) struct Board {
    posted: Mutex<Posted>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Posted {
    /// What was listed where, and as of when.
    listed: BTreeMap<Place, Listing>,
    /// By uid.
    pulses: HashMap<Arc<str>, Digest>,
}

/// A kind, and the namespace in which it is watched; none for all at once.
type Place = (KindName, Arc<str>);

impl Board {
    /// Posts what was just observed.
    pub(super) fn observed<'a>(&self, lists: Vec<Listing>, seen: impl Iterator<Item = &'a Seen>) {
        let pulses = seen.map(|seen| (seen.uid.clone(), seen.pulse)).collect();
        let place = |listing: &Listing| (listing.kind.kind_name(), listing.place.clone());
        let listed = lists.into_iter().map(|listing| (place(&listing), listing)).collect();
        *self.lock() = Posted { listed, pulses };
        self.changed.notify_waiters();
    }

    /// Posts what was just written.
    pub(super) fn wrote(&self, seen: &Seen) {
        self.lock().pulses.insert(seen.uid.clone(), seen.pulse);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_news(&self, what: &str, object: &Value) -> bool {
        let uid = object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let posted = self.lock();
        match (what, posted.pulses.get(uid)) {
            ("DELETED", known) => known.is_some(),
            (_, Some(known)) => *known != pulse(object),
            // Something new has our label: we look at it once.
            (_, None) => true,
        }
    }
}

/// What cannot be watched now, and why.
type Refused = Arc<Mutex<BTreeMap<Arc<str>, Arc<str>>>>;

/// Makes watches over one target; cheap to clone.
#[derive(Clone, Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
}

/// A watch, until dropped.
#[derive(Debug)]
pub struct Watch {
    state: Refused,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Returns what the watch is worth now.
    pub fn state(&self) -> WatchState {
        let refused = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.iter().next() {
            None => WatchState::Watching,
            Some((what, why)) => WatchState::Polling(format!("{what} cannot be watched: {why}").into()),
        }
    }
}

impl Watcher {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Calls `on_change` when something of the target changed: at once, then at most once every `quiet`.
    ///
    /// Kinds are watched from when they were first observed, and never fail as a whole: see [`Watch::state`].
    pub fn watch(&self, quiet: Duration, on_change: impl Fn() + Send + 'static) -> Watch {
        let state = Refused::default();
        let (wake, woken) = mpsc::channel::<()>();
        let started = std::thread::Builder::new()
            .name("cluster-watch".to_owned())
            .spawn(move || debounce(&woken, quiet, &on_change));
        if let Err(error) = started {
            let why = format!("start a thread: {error}").into();
            state.lock().unwrap_or_else(PoisonError::into_inner).insert("the target".into(), why);
        }
        let follow = Follow { shared: self.shared.clone(), state: state.clone(), wake };
        let task = runtime().spawn(follow.all());
        Watch { state, task }
    }
}

/// Follows kinds as they are observed.
#[derive(Clone)]
struct Follow {
    shared: Arc<Shared>,
    state: Refused,
    wake: mpsc::Sender<()>,
}

impl Follow {
    async fn all(self) {
        let mut followed: HashMap<Place, tokio::task::AbortHandle> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let changed = self.shared.board.changed.notified();
            let wanted = self.wanted();
            followed.retain(|place, task| {
                let stays = wanted.contains_key(place);
                if !stays {
                    task.abort();
                    self.note(place, None);
                }
                stays
            });
            for (place, kind) in wanted {
                let follow = || tasks.spawn(self.clone().one(place.clone(), kind));
                followed.entry(place.clone()).or_insert_with(follow);
            }
            changed.await;
        }
    }

    /// Returns what is to be watched: every kind that is listed in all namespaces at once, and of the others as many as there
    /// may be.
    fn wanted(&self) -> BTreeMap<Place, Arc<Kind>> {
        let posted = self.shared.board.lock();
        let (whole, apart): (Vec<_>, Vec<_>) = posted.listed.iter().partition(|((_, place), _)| place.is_empty());
        let more = apart.len().checked_sub(APART_MAX).filter(|more| *more > 0);
        let told = more.map(|more| {
            format!("only {APART_MAX} namespaces and kinds are watched one by one, and there are {more} more")
        });
        self.tell("the rest", told);
        let kept = whole.into_iter().chain(apart.into_iter().take(APART_MAX));
        kept.map(|(place, listing)| (place.clone(), listing.kind.clone())).collect()
    }

    /// Follows one kind, from where it was last listed.
    async fn one(self, place: Place, kind: Arc<Kind>) {
        let mut wait = AGAIN[0];
        let mut at = String::new();
        loop {
            let listed = self.listed_at(&place);
            // Whatever happened before a list was seen by it.
            if at.is_empty() || newer(&listed, &at) {
                at = listed;
            }
            match self.follow(&place, &kind, &mut at).await {
                Ok(()) => {
                    self.note(&place, None);
                    wait = AGAIN[0];
                }
                Err(Ended::Expired) => {
                    // What happened meanwhile is looked at, and the list that comes says from where to go on.
                    let changed = self.shared.board.changed.notified();
                    let _ = self.wake.send(());
                    changed.await;
                    at = String::new();
                }
                Err(Ended::Failed(why)) => {
                    self.note(&place, Some(why));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(AGAIN[1]);
                }
            }
        }
    }

    fn listed_at(&self, place: &Place) -> String {
        self.shared.board.lock().listed.get(place).map_or_else(String::new, |listing| listing.at.clone())
    }

    fn note(&self, ((_, kind), namespace): &Place, why: Option<String>) {
        let what = if namespace.is_empty() { kind.to_string() } else { format!("{kind} in {namespace}") };
        self.tell(&what, why);
    }

    fn tell(&self, what: &str, why: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => state.insert(what.into(), why.into()),
            None => state.remove(what),
        };
    }

    async fn follow(&self, place: &Place, kind: &Kind, at: &mut String) -> Result<(), Ended> {
        let selector = format!("{PART_OF}={}", self.shared.set.id);
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={OPEN_FOR}&resourceVersion={}&labelSelector={}",
            kind.collection(Some(&place.1)),
            escaped(at),
            escaped(&selector)
        );
        let mut request = Request::get(Asks::Watch, path);
        request.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let begun = tokio::time::timeout(BEGINS, self.shared.client.start(&request));
        let response = begun.await.map_err(|_| Ended::Failed("the server does not answer".to_owned()))?;
        let response = response.map_err(|lost| Ended::Failed(lost.to_string()))?;
        let code = response.status().as_u16();
        let mut body = response.into_body();
        if code != 200 {
            let bytes = body.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
            return Err(Ended::of(&Status::parse(code, &bytes)));
        }
        self.note(place, None);
        let mut line = Vec::new();
        loop {
            let idle = Duration::from_secs(OPEN_FOR + 30);
            let frame = match tokio::time::timeout(idle, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(Ended::Failed(super::client::chain(&error))),
                Err(_) => return Err(Ended::Failed("the server fell silent".to_owned())),
            };
            let Ok(data) = frame.into_data() else { continue };
            let mut pieces = data.split(|byte| *byte == b'\n');
            let last = pieces.next_back().unwrap_or_default();
            for piece in pieces {
                line.extend_from_slice(piece);
                self.hear(&line, at)?;
                line.clear();
            }
            line.extend_from_slice(last);
        }
    }

    fn hear(&self, line: &[u8], at: &mut String) -> Result<(), Ended> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Event { what, object } = serde_json::from_slice(line)
            .map_err(|error| Ended::Failed(format!("what a watch says is not understood: {error}")))?;
        if what == "ERROR" {
            let code = object.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
            return Err(Ended::of(&Status::parse(code.unwrap_or(500), object.to_string().as_bytes())));
        }
        if let Some(revision) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            revision.clone_into(at);
        }
        if what != "BOOKMARK" && self.shared.board.is_news(&what, &object) {
            // Nobody listens any more only while it is being dropped.
            let _ = self.wake.send(());
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    what: Cow<'a, str>,
    object: Value,
}

/// Why a watch ended before its time.
enum Ended {
    Expired,
    Failed(String),
}

impl Ended {
    fn of(status: &Status) -> Self {
        if status.meaning() == Meaning::Expired { Self::Expired } else { Self::Failed(status.said()) }
    }
}

/// Compares resourceVersions, which are numbers in order (Kubernetes promises so since 1.35, and held it before).
fn newer(a: &str, b: &str) -> bool {
    (a.len(), a) > (b.len(), b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KubernetesTarget;
    use crate::targets::kubernetes::Kubernetes;

    fn listing(kind: &str, place: &str) -> Listing {
        let text = |text: &str| Arc::<str>::from(text);
        let (group, version, plural) = (text(""), text("v1"), text("things"));
        let kind =
            Kind { group, kind: kind.into(), version, plural, namespaced: true, listable: true, deletable: true };
        Listing { kind: Arc::new(kind), place: place.into(), at: "1".to_owned() }
    }

    #[test]
    fn watches_of_single_namespaces_are_bounded_and_what_is_left_out_is_told() {
        let target = KubernetesTarget { kubeconfig: None, context: None, namespace: None, service_account: None };
        let shared = Kubernetes::open(&target, "web").shared;
        let follow = Follow { shared: shared.clone(), state: Refused::default(), wake: mpsc::channel().0 };
        let apart = |count: usize| (0..count).map(|at| listing("ConfigMap", &format!("n{at:03}")));
        let whole = || ["Secret", "Role"].map(|kind| listing(kind, ""));
        shared.board.observed(apart(130).chain(whole()).collect(), std::iter::empty());
        let wanted = follow.wanted();
        assert_eq!(wanted.len(), APART_MAX + 2);
        assert_eq!(wanted.keys().filter(|(_, place)| place.is_empty()).count(), 2);
        let told = |follow: &Follow| follow.state.lock().unwrap().values().next().cloned();
        assert!(told(&follow).is_some_and(|why| why.contains("30 more")), "{:?}", told(&follow));
        shared.board.observed(apart(100).chain(whole()).collect(), std::iter::empty());
        assert_eq!((follow.wanted().len(), told(&follow)), (APART_MAX + 2, None));
    }
}
