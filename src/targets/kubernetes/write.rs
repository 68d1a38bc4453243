//! Writes one object, the precondition inside: uid and resourceVersion of an update and a deletion, absence of a creation.
//!
//! The resourceVersion moves with every heartbeat of a status. Where it moved and nothing of what is ours did, the write
//! goes on with the new one: what was judged is the live digest.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::apply::{Unfit, Wanted, send};
use super::client::{Answer, Asks, Lost, Request};
use super::discovery::{Found, Kind};
use super::ignore::Ignored;
use super::key::Key;
use super::object::{Object, read_version, shared, spell_version};
use super::observe::{Seen, get};
use super::status::{Meaning, Status};
use super::{Known, Shared, adopt};
use crate::core::resource::{Digest, Id, Live, Version};
use crate::core::write::{Content, Outcome, Verb, WriteOp};

/// How often a write is tried against a version that moved on without anything of ours.
const TRIES: usize = 4;

/// How long what is replaced may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Undone {
    /// It is not as observed; nothing was changed.
    Moved(Arc<str>),
    /// The server would not; nothing was changed.
    Refused(Arc<str>),
    /// Nobody knows.
    Unknown(Arc<str>),
}

impl Undone {
    /// Returns the outcome, said of a resource.
    fn of(self, id: &Id) -> Outcome {
        let said = |why: Arc<str>| shared(format!("`{id}`: {why}"));
        match self {
            Self::Moved(why) => Outcome::Moved(said(why)),
            Self::Refused(why) => Outcome::Refused(said(why)),
            Self::Unknown(why) => Outcome::Unknown(said(why)),
        }
    }
}

/// Writes one object.
pub(super) async fn write(shared_: &Shared, known: &mut Known, op: &WriteOp) -> Outcome {
    let done = try_write(shared_, known, op).await;
    known.forget(&op.id);
    done.map_or_else(|undone| undone.of(&op.id), Outcome::Done)
}

async fn try_write(shared_: &Shared, known: &mut Known, op: &WriteOp) -> Result<Live, Undone> {
    let Some(key) = Key::parse(&op.id) else { return Err(Undone::Refused("it names no object".into())) };
    if shared_.set.is_parent(&key) {
        return Err(Undone::Refused("it is holdfast's own".into()));
    }
    match (op.verb, &op.expected, &op.content) {
        (Verb::Delete, Some(expected), None) => delete(shared_, known, &key, op, expected).await,
        (Verb::Create, None, Some(Content::File { bytes, .. })) => write_wanted(shared_, known, op, bytes, None).await,
        (Verb::Update, Some(expected), Some(Content::File { bytes, .. })) => {
            write_wanted(shared_, known, op, bytes, Some(expected)).await
        }
        _ => Err(Undone::Refused("the write contradicts itself".into())),
    }
}

async fn write_wanted(
    shared_: &Shared,
    known: &mut Known,
    op: &WriteOp,
    bytes: &[u8],
    expected: Option<&(Digest, Version)>,
) -> Result<Live, Undone> {
    let wanted = wanted(shared_, known, bytes).await?;
    let seen = known.seen(&op.id);
    // All that is or was ours before the write, so that what it lets go of and stays is known.
    let before = seen.and_then(|seen| seen.live.here()).and_then(|here| here.fields().cloned());
    let object = match expected {
        None => create(shared_, &wanted).await?,
        Some((_, version)) if op.replace => {
            replace(shared_, &wanted, version).await?;
            create(shared_, &wanted).await?
        }
        Some(expected) => {
            let adoptable = seen.is_some_and(|seen| seen.adoptable);
            update(shared_, &wanted, expected, op, adoptable).await?
        }
    };
    let seen =
        Seen::of(shared_, &object, &wanted.kind, before.as_ref().filter(|_| !op.replace), Ignored::of(&op.ignore));
    shared_.board.wrote(&seen);
    Ok(seen.live)
}

/// Finds where an object belongs; a kind that nobody knew a moment ago may be served by now.
async fn wanted(shared_: &Shared, known: &mut Known, bytes: &[u8]) -> Result<Wanted, Undone> {
    match Wanted::of(shared_, known, bytes) {
        Err(Unfit::NoKind(_)) => {}
        Err(Unfit::Invalid(why)) => return Err(Undone::Refused(shared(why))),
        Err(Unfit::Stale(why)) => return Err(Undone::Refused(why)),
        Ok(wanted) => return Ok(wanted),
    }
    if let Err(why) = known.discovery.refresh(&shared_.client).await {
        return Err(Undone::Refused(shared(why)));
    }
    Wanted::of(shared_, known, bytes).map_err(|unfit| match unfit {
        Unfit::NoKind(why) | Unfit::Invalid(why) => Undone::Refused(shared(why)),
        Unfit::Stale(why) => Undone::Refused(why),
    })
}

async fn create(shared_: &Shared, wanted: &Wanted) -> Result<Object, Undone> {
    let answer = send(shared_, &wanted.request(Asks::Patch, None, false)).await.map_err(lost)?;
    let created = answer.code == 201;
    match accepted(answer, &wanted.kind) {
        // A server that overlooks what was expected; what it holds is looked at anew before anything is concluded.
        Ok(_) if !created => Err(Undone::Moved("somebody made it meanwhile, and it was applied to".into())),
        Err(Undone::Moved(why)) => Err(Undone::Moved(shared(format!("somebody made it meanwhile: {why}")))),
        other => other,
    }
}

async fn update(
    shared_: &Shared,
    wanted: &Wanted,
    expected: &(Digest, Version),
    op: &WriteOp,
    adoptable: bool,
) -> Result<Object, Undone> {
    let (digest, mut version) = expected.clone();
    for tried in 1..=TRIES {
        match update_at(shared_, wanted, version.clone(), op, adoptable).await {
            Err(Undone::Moved(why)) if tried < TRIES => {
                version = still(shared_, wanted, op, &digest, &version).await.ok_or(Undone::Moved(why))?;
            }
            other => return other,
        }
    }
    Err(Undone::Moved("it changes faster than it can be written".into()))
}

/// Takes over what is to be ours alone, and applies. Between the two what is ours is more than what was accepted: whatever
/// interrupts them, that is drift, and applying again ends it.
async fn update_at(
    shared_: &Shared,
    wanted: &Wanted,
    mut version: Version,
    op: &WriteOp,
    adoptable: bool,
) -> Result<Object, Undone> {
    let ignored = Ignored::of(&op.ignore);
    let left = match op.ignore.is_empty() {
        true => None,
        false => match adopt::as_it_was(shared_, wanted, &version).await {
            Some(there) => Some(wanted.leaving(&ignored, &there)),
            None => return Err(Undone::Moved("it changed since it was observed".into())),
        },
    };
    let wanted = left.as_ref().unwrap_or(wanted);
    if adoptable && let Some(taken) = adopt::take_over(shared_, wanted, &version).await? {
        version = taken;
    }
    if !op.reclaims.is_empty() {
        version = adopt::reclaim(shared_, wanted, &version, &op.reclaims).await?;
    }
    let answer = send(shared_, &wanted.request(Asks::Patch, Some(&version), op.force)).await.map_err(lost)?;
    accepted(answer, &wanted.kind)
}

/// Returns the version at which an object still is what was judged, if it is.
async fn still(shared_: &Shared, wanted: &Wanted, op: &WriteOp, digest: &Digest, version: &Version) -> Option<Version> {
    let now = get(shared_, &wanted.kind, &wanted.namespace, &wanted.name).await.ok()??;
    let (uid, revision) = read_version(version)?;
    let moved = now.uid() == uid && now.revision() != revision && !now.is_leaving();
    let same = moved && now.digest(&Ignored::of(&op.ignore)) == *digest;
    same.then(|| now.version())
}

/// Removes what cannot be changed in place, and waits until it is gone.
async fn replace(shared_: &Shared, wanted: &Wanted, version: &Version) -> Result<(), Undone> {
    let Wanted { kind, namespace, name, .. } = wanted;
    remove(shared_, kind, namespace, name, version).await?;
    let until = tokio::time::Instant::now() + GONE_WITHIN;
    loop {
        match get(shared_, kind, namespace, name).await {
            Ok(None) => return Ok(()),
            Ok(Some(_)) if tokio::time::Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            Ok(Some(_)) => {
                return Err(Undone::Unknown(
                    "it is being deleted, and something still holds it: its successor comes once it is gone".into(),
                ));
            }
            Err(why) => return Err(Undone::Unknown(shared(why))),
        }
    }
}

async fn delete(
    shared_: &Shared,
    known: &mut Known,
    key: &Key<'_>,
    op: &WriteOp,
    expected: &(Digest, Version),
) -> Result<Live, Undone> {
    let kind = match known.discovery.find(key.group, key.kind) {
        Found::Served(kind) => known.at_applied_version(kind),
        Found::Absent => return Err(Undone::Moved("its kind is gone".into())),
        Found::Stale(why) => return Err(Undone::Refused(why)),
    };
    let namespace = shared_.namespace_of(&kind, key.namespace);
    let (digest, mut version) = expected.clone();
    for tried in 1..=TRIES {
        match remove(shared_, &kind, namespace, key.name, &version).await {
            Ok(live) => return Ok(live),
            Err(Undone::Moved(why)) if tried < TRIES => {
                let Ok(Some(now)) = get(shared_, &kind, namespace, key.name).await else {
                    return Err(Undone::Moved(why));
                };
                let uid = read_version(&version).map_or("", |(uid, _)| uid);
                if now.uid() != uid || now.is_leaving() || now.digest(&Ignored::of(&op.ignore)) != digest {
                    return Err(Undone::Moved(why));
                }
                version = now.version();
            }
            Err(undone) => return Err(undone),
        }
    }
    Err(Undone::Moved("it changes faster than it can be deleted".into()))
}

async fn remove(shared_: &Shared, kind: &Kind, namespace: &str, name: &str, version: &Version) -> Result<Live, Undone> {
    let (uid, revision) =
        read_version(version).ok_or_else(|| Undone::Refused("its version is not understood".into()))?;
    let body = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": { "uid": uid, "resourceVersion": revision },
    });
    let path = kind.object(namespace, name);
    let body = body.to_string().into_bytes();
    let request = Request::with(Asks::Delete, Method::DELETE, path, "application/json", body);
    let answer = send(shared_, &request).await.map_err(lost)?;
    match answer.ok() {
        Ok(bytes) => {
            let said: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let leaving = said.pointer("/metadata/deletionTimestamp").is_some();
            Ok(if leaving { Live::Leaving } else { Live::Gone })
        }
        Err(status) if status.meaning() == Meaning::NotThere => Err(Undone::Moved("it is gone already".into())),
        Err(status) => Err(refused(&status)),
    }
}

/// Reads the object that an accepted write led to.
pub(super) fn accepted(answer: Answer, kind: &Arc<Kind>) -> Result<Object, Undone> {
    let bytes = answer.ok().map_err(|status| refused(&status))?;
    Object::parse(&bytes, kind).map_err(|why| Undone::Unknown(shared(format!("it was accepted, but {why}"))))
}

/// Says what came of a write that was not accepted.
pub(super) fn refused(status: &Status) -> Undone {
    let said = shared(status.said());
    match status.meaning() {
        Meaning::Moved | Meaning::Owned => Undone::Moved(said),
        Meaning::Failing if !matches!(status.code, 401 | 429) => Undone::Unknown(said),
        _ => Undone::Refused(said),
    }
}

pub(super) fn lost(lost: Lost) -> Undone {
    match lost {
        Lost::Unsent(why) => Undone::Refused(shared(why)),
        Lost::Unanswered(why) => Undone::Unknown(shared(why)),
    }
}

/// Spells the version at which an object was left.
pub(super) fn version_after(bytes: &[u8]) -> Option<Version> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |name: &str| value.get("metadata")?.get(name)?.as_str();
    Some(spell_version(text("uid")?, text("resourceVersion")?))
}
