//! Tries what would be written, without writing: a dry-run on the server, compared with what is there now.
//!
//! Only what either side owns counts: what admission, defaults or other managers do elsewhere is nobody's drift. An answer
//! is remembered with the version that it was given for, so that a plan that is held costs nothing in the next cycle.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};

use super::apply::{Unfit, Wanted};
use super::client::{Asks, Request, escaped};
use super::fields::{self, Place};
use super::ignore::Ignored;
use super::key::Key;
use super::object::{MANAGER, Object, PART_OF, read_version, shared};
use super::observe::{AT_ONCE, get};
use super::owned::{self, Owned};
use super::project::{cut, cut_if_any, lay_over, projection};
use super::retry::read;
use super::status::{Meaning, Status};
use super::{Known, Shared, anchor, dependants};
use crate::core::op::{Op, Verb};
use crate::core::rehearse::{Key as Of, Rehearsal, Rehearsals, Takes};
use crate::core::resource::{Digest, Version};
use crate::manifest::{self, Side};
use crate::targets::Tried;

/// How long an answer about something that is not there yet holds: nothing tells when policies change.
const HOLDS: Duration = Duration::from_secs(600);

/// After so many rounds in which nobody asked again, an answer is forgotten; acting asks about a few in between.
const ROUNDS: u64 = 8;

/// How much is kept of what people are shown of tried operations.
const SHOWN_BYTES: usize = 64 << 20;

/// What an answer was given for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Asked {
    of: Of,
    force: bool,
    from: Option<(Digest, Version)>,
    to: Option<Digest>,
    /// Of the same version the same is left over.
    reclaims: bool,
    ignore: Vec<Arc<str>>,
}

impl Asked {
    pub(super) fn of(op: &Op) -> Self {
        Self {
            of: Of::of(op),
            force: op.force,
            from: op.from.clone(),
            to: op.to,
            reclaims: !op.reclaims.is_empty(),
            ignore: op.ignore.clone(),
        }
    }
}

/// Answers that hold as long as what they were given for.
#[derive(Debug, Default)]
pub(super) struct Answers {
    round: u64,
    kept: HashMap<Asked, Kept>,
    /// How many bytes are left for what people are shown.
    shown: usize,
}

#[derive(Debug)]
struct Kept {
    answer: Rehearsal,
    at: Instant,
    round: u64,
    shown: Option<Shown>,
}

impl Answers {
    fn get(&self, asked: &Asked) -> Option<&Rehearsal> {
        let Kept { answer, at, .. } = self.kept.get(asked)?;
        let passing = matches!(
            answer,
            Rehearsal::Refused(_) | Rehearsal::Forbidden(_) | Rehearsal::Unrehearsed(_) | Rehearsal::Unread(_)
        );
        // Of a deletion, what would go with it changes without it.
        let holds = asked.from.is_some() && asked.to.is_some() || at.elapsed() < HOLDS;
        (holds && !passing).then_some(answer)
    }

    /// Returns what people are shown of an operation.
    pub(super) fn shown(&self, asked: &Asked) -> Option<Shown> {
        self.kept.get(asked)?.shown.clone()
    }

    /// Keeps what was answered, and of what was asked before what was asked lately.
    fn keep(&mut self, answered: Vec<(Asked, Rehearsal, Option<Shown>)>) {
        self.round += 1;
        let round = self.round;
        for (asked, answer, shown) in answered {
            let kept = self.kept.entry(asked).or_insert_with(|| Kept {
                answer: answer.clone(),
                at: Instant::now(),
                round,
                shown: None,
            });
            kept.round = round;
            if kept.answer != answer {
                (kept.answer, kept.at) = (answer, Instant::now());
            }
            if shown.is_some() {
                kept.shown = shown;
            }
        }
        self.kept.retain(|_, kept| kept.round + ROUNDS > round);
        self.shown = 0;
        for kept in self.kept.values_mut() {
            self.shown += kept.shown.as_ref().map_or(0, |(before, after)| before.len() + after.len());
            if self.shown > SHOWN_BYTES {
                kept.shown = None;
            }
        }
    }
}

/// What the tried operations themselves would bring.
#[derive(Default)]
struct Brings<'a> {
    namespaces: BTreeSet<&'a str>,
    /// By group and kind.
    kinds: BTreeSet<(String, String)>,
}

impl<'a> Brings<'a> {
    fn of(tried: &'a [Tried<'_>]) -> Self {
        let mut brings = Self::default();
        for Tried { op, content } in tried {
            let Some(key) = Key::parse(&op.id) else { continue };
            match (key.group, key.kind, content) {
                ("", "Namespace", Some(_)) => {
                    brings.namespaces.insert(key.name);
                }
                ("apiextensions.k8s.io", "CustomResourceDefinition", Some(content)) => {
                    let definition: Value = serde_json::from_slice(content).unwrap_or_default();
                    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
                    brings.kinds.extend(text("/spec/group").zip(text("/spec/names/kind")));
                }
                _ => {}
            }
        }
        brings
    }
}

/// Tries operations; what is left out fits.
pub(super) async fn rehearse(shared_: &Shared, known: &mut Known, tried: &[Tried<'_>]) -> Rehearsals {
    let brings = Brings::of(tried);
    let leaves: BTreeSet<&str> =
        tried.iter().filter(|tried| tried.op.verb == Verb::Delete).map(|tried| tried.op.id.as_str()).collect();
    let known_now: &Known = known;
    let asked_anew = tried.iter().filter(|tried| known_now.answers.get(&Asked::of(tried.op)).is_none());
    let deletions: Vec<&Op> = asked_anew.map(|tried| tried.op).filter(|op| op.verb == Verb::Delete).collect();
    let owned = owned::look(shared_, known_now, &deletions).await;
    let owned = &owned;
    let asks = tried.iter().map(|tried| async {
        let asked = Asked::of(tried.op);
        match known_now.answers.get(&asked) {
            Some(answer) => (asked, answer.clone(), None),
            None => {
                let (answer, shown) = one(shared_, known_now, &brings, owned, &leaves, tried).await;
                (asked, answer, shown)
            }
        }
    });
    let mut answered: Vec<(Asked, Rehearsal, Option<Shown>)> =
        futures::stream::iter(asks).buffer_unordered(AT_ONCE).collect().await;
    let anew = |op: &Op| known_now.answers.get(&Asked::of(op)).is_none();
    count_replaced(shared_, known_now, tried, &leaves, anew, &mut answered).await;
    let said = answered.iter().map(|(asked, answer, _)| (asked.of.clone(), answer.clone())).collect();
    known.answers.keep(answered);
    said
}

/// Finds what would go with what can only be replaced: it is removed first.
async fn count_replaced(
    shared_: &Shared,
    known: &Known,
    tried: &[Tried<'_>],
    leaves: &BTreeSet<&str>,
    anew: impl Fn(&Op) -> bool,
    answered: &mut [(Asked, Rehearsal, Option<Shown>)],
) {
    let ops: HashMap<Asked, &Op> =
        tried.iter().map(|tried| tried.op).filter(|op| anew(op)).map(|op| (Asked::of(op), op)).collect();
    let replaced: Vec<&Op> = answered
        .iter()
        .filter(|(_, answer, _)| matches!(answer, Rehearsal::Replaces { .. }))
        .filter_map(|(asked, _, _)| ops.get(asked).copied())
        .collect();
    if replaced.is_empty() {
        return;
    }
    let owned = owned::look(shared_, known, &replaced).await;
    for (asked, answer, _) in answered {
        let (Rehearsal::Replaces { takes, .. }, Some(op)) = (&mut *answer, ops.get(asked)) else { continue };
        let Some(key) = Key::parse(&op.id) else { continue };
        match dependants::taken(shared_, known, op, &key, &owned, leaves).await {
            Rehearsal::Takes(went) => *takes = went,
            unread @ Rehearsal::Unread(_) => *answer = unread,
            _ => {}
        }
    }
}

/// What is ours before and after, as JSON for people.
type Shown = (Vec<u8>, Vec<u8>);

async fn one(
    shared_: &Shared,
    known: &Known,
    brings: &Brings<'_>,
    owned: &Owned,
    leaves: &BTreeSet<&str>,
    tried: &Tried<'_>,
) -> (Rehearsal, Option<Shown>) {
    let Tried { op, content } = tried;
    let Some(key) = Key::parse(&op.id) else { return (Rehearsal::Refused("it names no object".into()), None) };
    if shared_.set.is_parent(&key) {
        return (Rehearsal::Refused("it is holdfast's own: the anchor of this application".into()), None);
    }
    let Some(content) = content else {
        return (dependants::taken(shared_, known, op, &key, owned, leaves).await, None);
    };
    let wanted = match Wanted::of(shared_, known, content) {
        Ok(wanted) => wanted,
        Err(unfit) => return (unwanted(unfit, brings, &key), None),
    };
    match &op.from {
        None => (creation(shared_, brings, &wanted).await, None),
        Some((digest, version)) => change(shared_, &wanted, op, digest, version).await,
    }
}

fn unwanted(unfit: Unfit, brings: &Brings<'_>, key: &Key<'_>) -> Rehearsal {
    match unfit {
        Unfit::Invalid(why) => Rehearsal::Refused(shared(why)),
        Unfit::Stale(why) => Rehearsal::Unread(why),
        Unfit::NoKind(why) if brings.kinds.contains(&(key.group.to_owned(), key.kind.to_owned())) => {
            Rehearsal::Unrehearsed(shared(format!("{why}, and is a part of the plan")))
        }
        Unfit::NoKind(why) => Rehearsal::Refused(shared(why)),
    }
}

async fn creation(shared_: &Shared, brings: &Brings<'_>, wanted: &Wanted) -> Rehearsal {
    let answer = match read(&shared_.client, &wanted.request(Asks::Rehearse, None, false)).await {
        Ok(answer) => answer,
        Err(lost) => return Rehearsal::Unread(shared(lost.to_string())),
    };
    let made = || Rehearsal::Unread("it was made since it was looked for".into());
    if answer.code == 200 {
        return made();
    }
    match answer.ok() {
        Ok(_) => Rehearsal::Fits,
        Err(status) if matches!(status.meaning(), Meaning::Moved | Meaning::Owned) => made(),
        Err(status) if status.meaning() == Meaning::NotThere => {
            if brings.namespaces.contains(wanted.namespace.as_str()) {
                let why = format!("its namespace {} is not there yet, and is a part of the plan", wanted.namespace);
                Rehearsal::Unrehearsed(why.into())
            } else {
                Rehearsal::Refused(shared(status.said()))
            }
        }
        Err(status) => refused(&status),
    }
}

async fn change(
    shared_: &Shared,
    wanted: &Wanted,
    op: &Op,
    digest: &Digest,
    version: &Version,
) -> (Rehearsal, Option<Shown>) {
    let before = match get(shared_, &wanted.kind, &wanted.namespace, &wanted.name).await {
        Ok(Some(object)) => object,
        Ok(None) => return (Rehearsal::Unread("it went since it was observed".into()), None),
        Err(why) => return (Rehearsal::Unread(shared(why)), None),
    };
    let ignored = Ignored::of(&op.ignore);
    if !is_as_observed(wanted, &before, &ignored, digest, version) {
        return (Rehearsal::Unread("it changed since it was observed".into()), None);
    }
    if let Some(other) = before.label(PART_OF).filter(|other| *other != &*shared_.set.id)
        && !anchor::is_of_ours(shared_, other).await
    {
        let why = format!("it belongs to another set of objects ({PART_OF}={other}): hand it over there first");
        return (Rehearsal::Refused(why.into()), None);
    }
    if !op.reclaims.is_empty() {
        return reclaim(shared_, wanted, op, &before).await;
    }
    let wanted = &wanted.leaving(&ignored, &before);
    let only = super::object::spell_version(before.uid(), "");
    let answer = match read(&shared_.client, &wanted.request(Asks::Rehearse, Some(&only), op.force)).await {
        Ok(answer) => answer,
        Err(lost) => return (Rehearsal::Unread(shared(lost.to_string())), None),
    };
    let after = match answer.ok().map(|bytes| Object::parse(&bytes, &wanted.kind)) {
        Ok(Ok(after)) => after,
        Ok(Err(why)) => return (Rehearsal::Unread(shared(why)), None),
        Err(status) => {
            let answer = not_taken(&status, &before);
            let shown = match answer {
                Rehearsal::Owned { .. } => forced(shared_, wanted, &only, &before, &ignored).await,
                _ => None,
            };
            return (answer, shown);
        }
    };
    let answer = compared(&before, &after, &ignored);
    (answer, Some(show(&before, &after, &ignored)))
}

/// Tries to take away what is left over. What comes back as it was is a default, or somebody puts it there: it would be there
/// had we never declared it, and is left alone.
async fn reclaim(shared_: &Shared, wanted: &Wanted, op: &Op, before: &Object) -> (Rehearsal, Option<Shown>) {
    let places: Vec<Place> = op.reclaims.iter().filter_map(|path| fields::parse(path, &before.0)).collect();
    if let Err(why) = fields::taken(before, &places) {
        return (Rehearsal::Refused(why), None);
    }
    let mut patch = vec![json!({ "op": "test", "path": "/metadata/uid", "value": before.uid() })];
    patch.push(json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": before.revision() }));
    patch.extend(fields::removal(&before.0, &places));
    let object = wanted.kind.object(&wanted.namespace, &wanted.name);
    let path = format!("{object}?fieldManager={}&dryRun=All", escaped(MANAGER));
    let body = Value::from(patch).to_string().into_bytes();
    let request = Request::with(Asks::Rehearse, Method::PATCH, path, "application/json-patch+json", body);
    let answer = match read(&shared_.client, &request).await {
        Ok(answer) => answer,
        Err(lost) => return (Rehearsal::Unread(shared(lost.to_string())), None),
    };
    let after = match answer.ok().map(|bytes| Object::parse(&bytes, &wanted.kind)) {
        Ok(Ok(after)) => after,
        Ok(Err(why)) => return (Rehearsal::Unread(shared(why)), None),
        Err(status) => return (refused(&status), None),
    };
    let goes: Vec<Place> =
        places.into_iter().filter(|place| fields::at(&before.0, place) != fields::at(&after.0, place)).collect();
    let vitals = |object: &Object| manifest::nature(&object.0, Side::Live { owned: false }).vitals;
    let (from, to) = (vitals(before), vitals(&after));
    let tree = fields::tree(&goes);
    let shown = |object: &Object| serde_json::to_vec(&cut(&object.0, &tree)).expect("a JSON value is JSON");
    let shown = (!goes.is_empty()).then(|| (shown(before), shown(&after)));
    let paths = goes.iter().map(|place| fields::pointer(place).into()).collect();
    (Rehearsal::Reclaims { paths, from, to }, shown)
}

/// Tells whether an object still is the one that was observed.
fn is_as_observed(wanted: &Wanted, before: &Object, ignored: &Ignored, digest: &Digest, version: &Version) -> bool {
    let uid = read_version(version).map_or("", |(uid, _)| uid);
    // In another version than that of our entry the digest is another one; the uid and the dry-run tell enough then.
    let comparable = before.ours().is_none_or(|ours| ours.api_version == wanted.kind.api_version());
    before.uid() == uid && !before.is_leaving() && !(comparable && before.digest(ignored) != *digest)
}

/// Tries what an approval of a conflict would do, to show it.
async fn forced(
    shared_: &Shared,
    wanted: &Wanted,
    only: &Version,
    before: &Object,
    ignored: &Ignored,
) -> Option<Shown> {
    let answer = read(&shared_.client, &wanted.request(Asks::Rehearse, Some(only), true)).await.ok()?;
    let after = Object::parse(&answer.ok().ok()?, &wanted.kind).ok()?;
    Some(show(before, &after, ignored))
}

/// Returns which fields are ours of an object, ignored ones apart; null if nothing is.
fn ours(object: &Object, ignored: &Ignored) -> Value {
    object.ours().map_or(Value::Null, |ours| ignored.cut_out_of(ours.fields, &object.0).into_owned())
}

/// Shows an object before and after, at what is ours on either side.
fn show(before: &Object, after: &Object, ignored: &Ignored) -> Shown {
    let fields = |object: &Object| ours(object, ignored);
    let (old, new) = (fields(before), fields(after));
    let shown = |object: &Object| {
        let mut shown = cut(&object.0, &new);
        lay_over(&mut shown, cut_if_any(&object.0, &old));
        forget_label(&mut shown);
        serde_json::to_vec(&shown).expect("a JSON value is JSON")
    };
    (shown(before), shown(after))
}

/// Says what a dry-run would change, at what is ours before or after it, and of who owns what. What is ignored counts where
/// it was applied: nobody else owns it.
fn compared(before: &Object, after: &Object, ignored: &Ignored) -> Rehearsal {
    let (old, new) = (ours(before, ignored), ours(after, ignored));
    let applied = after.ours().map_or(&Value::Null, |ours| ours.fields);
    let same = |fields: &Value, before: &Value, after: &Value| {
        fields.is_null() || projection(before, fields) == projection(after, fields)
    };
    let held = same(&old, &ignored.cut_out(&before.0), &ignored.cut_out(&after.0));
    match held && same(applied, &before.0, &after.0) {
        true if old == new && !old.is_null() => Rehearsal::Agrees,
        true => Rehearsal::Joins,
        false => Rehearsal::Fits,
    }
}

fn not_taken(status: &Status, before: &Object) -> Rehearsal {
    match status.meaning() {
        Meaning::Owned => owned(status, before),
        Meaning::Immutable => Rehearsal::Replaces { why: shared(status.said()), takes: Takes::default() },
        Meaning::Moved | Meaning::NotThere => Rehearsal::Unread(shared(status.said())),
        _ => refused(status),
    }
}

/// Says what becomes of what the server would not take.
fn refused(status: &Status) -> Rehearsal {
    let said = shared(status.said());
    match status.meaning() {
        Meaning::Failing | Meaning::Moved | Meaning::Expired => Rehearsal::Unread(said),
        Meaning::Forbidden => Rehearsal::Forbidden(said),
        _ => Rehearsal::Refused(said),
    }
}

/// Says who owns what would be written.
fn owned(status: &Status, before: &Object) -> Rehearsal {
    let mut fields: HashMap<&str, Vec<&str>> = HashMap::new();
    for cause in &status.details.causes {
        let manager = cause.message.split('"').nth(1).unwrap_or("somebody");
        fields.entry(manager).or_default().push(&cause.field);
    }
    let ours = |name: &str| {
        let mut entries = before.managers().filter(|manager| manager.name == name && !manager.applies);
        entries.any(|manager| before.is_client_side_apply(&manager))
    };
    let adoptable = !fields.is_empty() && fields.keys().all(|name| ours(name));
    let mut said: Vec<String> = fields
        .into_iter()
        .map(|(manager, fields)| {
            let more = if fields.len() > 5 { format!(" and {} more", fields.len() - 5) } else { String::new() };
            format!("{manager} owns {}{more}", fields[..fields.len().min(5)].join(", "))
        })
        .collect();
    said.sort();
    Rehearsal::Owned { why: Arc::from(said.join("; ")), adoptable }
}

/// Leaves out of what people are shown the label that we add by ourselves.
fn forget_label(shown: &mut Value) {
    if let Some(Value::Object(labels)) = shown.pointer_mut("/metadata/labels") {
        labels.remove(PART_OF);
    }
}
