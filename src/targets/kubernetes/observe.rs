//! Reads everything that is expected: one labelled list per kind, and by name what that does not show.
//!
//! What could not be read is unread, as narrowly as can be told; nothing is concluded from a list that broke off. An
//! object that did not change since it was last seen, by uid and resourceVersion, is not even parsed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::value::RawValue;

use super::client::{Asks, Request};
use super::discovery::{Found, Kind};
use super::ignore::Ignored;
use super::key::Key;
use super::list::{Head, Listed, Unlisted, Which, list};
use super::object::Object;
use super::retry::read;
use super::status::Meaning;
use super::{Known, Shared};
use crate::core::expect::Expect;
use crate::core::resource::{Digest, Fields, Id, Live};

/// How many requests are under way at the same time.
pub(super) const AT_ONCE: usize = 8;

/// Past so many of one namespace, what the labelled list did not show is read by one more list.
const BY_NAME: usize = 8;

/// What is remembered of an object, as of one version of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) kind: Arc<Kind>,
    pub(super) uid: Arc<str>,
    pub(super) revision: Arc<str>,
    /// The version that our entry is written in; empty without one.
    pub(super) applied_at: Arc<str>,
    pub(super) live: Live,
    /// What a watch compares with.
    pub(super) pulse: Digest,
    /// Whether it has our label.
    pub(super) labelled: bool,
    /// Whether `kubectl apply` owns anything of it.
    pub(super) adoptable: bool,
    /// What was ours of it before, as far as that is known.
    before: Option<Arc<Fields>>,
    /// What of it is ignored.
    ignored: Ignored,
}

impl Seen {
    /// Notes what was seen of an object; `before` says what was ours of it.
    pub(super) fn of(
        shared: &Shared,
        object: &Object,
        kind: &Arc<Kind>,
        before: Option<&Arc<Fields>>,
        ignored: Ignored,
    ) -> Self {
        let applied = object.ours().map_or("", |ours| ours.api_version);
        let applied_at = applied.rsplit_once('/').map_or(applied, |(_, version)| version);
        Self {
            kind: kind.clone(),
            uid: object.uid().into(),
            revision: object.revision().into(),
            applied_at: applied_at.into(),
            live: object.live(before.map(|before| &**before), &ignored, &shared.words),
            pulse: object.pulse(),
            labelled: object.label(super::object::PART_OF) == Some(&*shared.set.id),
            adoptable: object.is_adoptable(),
            before: before.cloned(),
            ignored,
        }
    }
}

impl Seen {
    /// Notes what was seen of the same object, read in another way.
    fn again(&self, shared: &Shared, object: &Object, kind: &Arc<Kind>) -> Self {
        Self::of(shared, object, kind, self.before.as_ref(), self.ignored.clone())
    }
}

/// One kind, and which of its objects are expected.
struct Expected<'a> {
    kind: Arc<Kind>,
    /// By namespace and name.
    objects: BTreeMap<(&'a str, &'a str), &'a Expect<'a>>,
}

/// What was found of some objects.
#[derive(Default)]
struct Rows {
    seen: Vec<(Id, Seen)>,
    rest: Vec<(Id, Live)>,
    /// As of when the kind was listed, and where.
    listed: Vec<Listing>,
}

/// A kind that was listed: what a watch goes on from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listing {
    pub(super) kind: Arc<Kind>,
    /// In which namespace; empty for all at once.
    pub(super) place: Arc<str>,
    /// As of when.
    pub(super) at: String,
}

/// What was seen of all objects.
#[derive(Default)]
pub(super) struct Sights {
    pub(super) live: Vec<(Id, Live)>,
    pub(super) listed: Vec<Listing>,
    /// Identities of one object each.
    pub(super) same: Vec<(Id, Id)>,
}

/// Reads these objects, sorted by identity and each once; what was seen is remembered.
pub(super) async fn observe<'a>(shared: &'a Shared, known: &mut Known, expect: &[&'a Expect<'a>]) -> Sights {
    let mut live: Vec<(Id, Live)> = Vec::new();
    let mut kinds: HashMap<(&str, &str), Expected<'_>> = HashMap::new();
    let mut same: Vec<(&Id, &Id)> = Vec::new();
    for expect in expect {
        let id = expect.id;
        let Some(key) = Key::parse(id) else {
            live.push((id.clone(), Live::Unread(format!("`{id}` is no name of an object").into())));
            continue;
        };
        match known.discovery.find(key.group, key.kind) {
            Found::Absent => live.push((id.clone(), Live::Gone)),
            Found::Stale(why) => live.push((id.clone(), Live::Unread(why))),
            Found::Served(kind) => {
                let kind = known.at_applied_version(kind);
                let expected =
                    kinds.entry((key.group, key.kind)).or_insert_with(|| Expected { kind, objects: BTreeMap::new() });
                let namespace = shared.namespace_of(&expected.kind, key.namespace);
                if let Some(other) = expected.objects.insert((namespace, key.name), expect) {
                    same.push((other.id, id));
                }
            }
        }
    }
    let (shared_known, kinds): (&Known, Vec<Expected<'_>>) = (known, kinds.into_values().collect());
    let read = kinds.iter().map(|expected| expected.read(shared, shared_known));
    let rows: Vec<Rows> = futures::stream::iter(read).buffer_unordered(AT_ONCE).collect().await;
    let mut found = Sights { live, ..Sights::default() };
    let mut remembered = HashMap::with_capacity(expect.len());
    for rows in rows {
        for (id, seen) in rows.seen {
            found.live.push((id.clone(), seen.live.clone()));
            remembered.insert(id, seen);
        }
        found.live.extend(rows.rest);
        found.listed.extend(rows.listed);
    }
    for (other, id) in &same {
        let seen = remembered.get(*id).cloned();
        if let Some(live) = found.live.iter().find(|(known, _)| known == *id).map(|(_, live)| live.clone()) {
            found.live.push(((*other).clone(), live));
        }
        remembered.extend(seen.map(|seen| ((*other).clone(), seen)));
    }
    found.same = same.into_iter().map(|(other, id)| (other.clone(), id.clone())).collect();
    known.remember(remembered);
    found.live.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

impl Expected<'_> {
    async fn read(&self, shared: &Shared, known: &Known) -> Rows {
        let mut rows = Rows::default();
        let selector = format!("{}={}", super::object::PART_OF, shared.set.id);
        let mut missing: BTreeMap<&str, Vec<(&str, &Expect<'_>)>> = BTreeMap::new();
        let mut found: HashMap<Id, Seen> = HashMap::new();
        let everywhere = self.list(shared, known, None, Some(&selector)).await;
        let places: Vec<Option<&str>> = match everywhere {
            Ok(listed) => {
                found.extend(listed.items);
                rows.listed.push(self.listing("", listed.revision));
                Vec::new()
            }
            // Whoever may not look everywhere may look where it belongs.
            Err(Unlisted::Forbidden(_)) if self.kind.namespaced => {
                let mut namespaces: Vec<Option<&str>> = self.objects.keys().map(|(place, _)| Some(*place)).collect();
                namespaces.dedup();
                namespaces
            }
            Err(why) => {
                rows.unread(self.objects.values().map(|expect| expect.id), &self.why(&why));
                return rows;
            }
        };
        let mut closed: HashMap<&str, String> = HashMap::new();
        for place in places.into_iter().flatten() {
            match self.list(shared, known, Some(place), Some(&selector)).await {
                Ok(listed) => {
                    found.extend(listed.items);
                    rows.listed.push(self.listing(place, listed.revision));
                }
                Err(Unlisted::NotThere(_)) => {}
                Err(why) => {
                    closed.insert(place, self.why(&why));
                }
            }
        }
        for ((place, name), expect) in &self.objects {
            match (closed.get(place), found.remove(expect.id)) {
                (Some(why), _) => rows.unread([expect.id].into_iter(), why),
                (None, Some(seen)) => rows.seen.push((expect.id.clone(), seen)),
                (None, None) => missing.entry(*place).or_default().push((*name, *expect)),
            }
        }
        self.look_again(shared, known, missing, &mut rows).await;
        self.reread_other_versions(shared, known, &mut rows).await;
        rows
    }

    fn listing(&self, place: &str, at: String) -> Listing {
        Listing { kind: self.kind.clone(), place: place.into(), at }
    }

    fn why(&self, unlisted: &Unlisted) -> String {
        format!("list {}: {unlisted}", self.kind.plural)
    }

    /// Reads by name what no labelled list shows: it may have lost its label, or never had it.
    async fn look_again(
        &self,
        shared: &Shared,
        known: &Known,
        missing: BTreeMap<&str, Vec<(&str, &Expect<'_>)>>,
        rows: &mut Rows,
    ) {
        let mut names = Vec::new();
        for (place, objects) in missing {
            if objects.len() <= BY_NAME {
                names.extend(objects.into_iter().map(|(name, expect)| (place, name, expect)));
                continue;
            }
            let ids = objects.iter().map(|(_, expect)| expect.id);
            match self.list(shared, known, Some(place), None).await {
                Ok(listed) => {
                    let mut found: HashMap<Id, Seen> = listed.items.into_iter().collect();
                    for (_, Expect { id, .. }) in objects {
                        match found.remove(id) {
                            Some(seen) => rows.seen.push(((*id).clone(), seen)),
                            None => rows.rest.push(((*id).clone(), Live::Gone)),
                        }
                    }
                }
                Err(Unlisted::NotThere(_)) => rows.rest.extend(ids.map(|id| (id.clone(), Live::Gone))),
                Err(why) => rows.unread(ids, &self.why(&why)),
            }
        }
        let gets = names
            .into_iter()
            .map(|(place, name, expect)| async move { (expect, get(shared, &self.kind, place, name).await) });
        let got: Vec<_> = futures::stream::iter(gets).buffer_unordered(AT_ONCE).collect().await;
        for (expect, got) in got {
            let id = expect.id.clone();
            match got {
                Ok(Some(object)) => rows
                    .seen
                    .push((id, Seen::of(shared, &object, &self.kind, expect.fields(), Ignored::of(expect.ignored())))),
                Ok(None) => rows.rest.push((id, Live::Gone)),
                Err(why) => rows.rest.push((id, Live::Unread(why.into()))),
            }
        }
    }

    /// What we applied in another version than the one that is listed is ours in that version only.
    async fn reread_other_versions(&self, shared: &Shared, known: &Known, rows: &mut Rows) {
        for (id, seen) in &mut rows.seen {
            if seen.applied_at.is_empty() || seen.applied_at == self.kind.version {
                continue;
            }
            let Some(kind) = known.discovery.find_at(&self.kind.group, &seen.applied_at, &self.kind.kind) else {
                continue;
            };
            let as_before = |known: &Seen| {
                let of_it = known.before == seen.before && known.ignored == seen.ignored;
                known.kind == kind && known.revision == seen.revision && of_it
            };
            if known.seen(id).is_some_and(as_before) {
                *seen = known.seen(id).expect("it was just found").clone();
                continue;
            }
            let Some(key) = Key::parse(id) else { continue };
            let place = shared.namespace_of(&kind, key.namespace);
            match get(shared, &kind, place, key.name).await {
                Ok(Some(object)) => *seen = seen.again(shared, &object, &kind),
                Ok(None) => seen.live = Live::Gone,
                Err(why) => seen.live = Live::Unread(why.into()),
            }
        }
    }

    /// Lists what is expected of a namespace, or of all.
    async fn list(
        &self,
        shared: &Shared,
        known: &Known,
        place: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Listed<(Id, Seen)>, Unlisted> {
        let which = Which { path: self.kind.collection(place), selector, metadata_only: false };
        list(&shared.client, &which, |item| self.take(shared, known, item)).await
    }

    fn take(&self, shared: &Shared, known: &Known, item: &RawValue) -> Result<Option<(Id, Seen)>, String> {
        let Head { metadata } = Head::parse(item.get().as_bytes())?;
        let Some(expect) = self.objects.get(&(&*metadata.namespace, &*metadata.name)) else {
            return Ok(None);
        };
        let (id, fields, ignored) = (expect.id, expect.fields(), Ignored::of(expect.ignored()));
        let as_before = |seen: &&Seen| {
            *seen.uid == *metadata.uid
                && *seen.revision == *metadata.resource_version
                && seen.kind == self.kind
                && seen.before.as_ref() == fields
                && seen.ignored == ignored
        };
        let seen = match known.seen(id).filter(as_before) {
            Some(seen) => seen.clone(),
            None => Seen::of(shared, &Object::parse(item.get().as_bytes(), &self.kind)?, &self.kind, fields, ignored),
        };
        Ok(Some(((*id).clone(), seen)))
    }
}

impl Rows {
    fn unread<'a>(&mut self, ids: impl Iterator<Item = &'a Id>, why: &str) {
        let why: Arc<str> = why.into();
        self.rest.extend(ids.map(|id| (id.clone(), Live::Unread(why.clone()))));
    }
}

/// Reads one object; `None` is that it is not there.
///
/// # Errors
/// Why it could not be read, for people.
pub(super) async fn get(shared: &Shared, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Object>, String> {
    let request = Request::get(Asks::Get, kind.object(namespace, name));
    let fail = |why: String| format!("read {} {name}: {why}", kind.plural);
    let answer = read(&shared.client, &request).await.map_err(|lost| fail(lost.to_string()))?;
    match answer.ok() {
        Ok(bytes) => Ok(Some(Object::parse(&bytes, kind).map_err(fail)?)),
        Err(status) if status.meaning() == Meaning::NotThere => Ok(None),
        Err(status) => Err(fail(status.said())),
    }
}
