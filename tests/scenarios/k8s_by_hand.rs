//! What people and controllers do to an object by hand, derived from what is ours of it, whatever its kind.

use serde_json::{Map, Value, json};

use crate::harness::api::Api;

/// How many places are tried until the server takes a change.
const TRIES: usize = 12;

/// Who changes things here: no person, and not us.
const OTHER: &str = "some-operator";

/// The label of our set.
const SET: &str = "applyset.kubernetes.io/part-of";

/// One way to change an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A declared scalar has another value.
    Changed,
    /// A declared scalar was changed and changed back: it is somebody else's now.
    TakenOver,
    /// Another manager applied the same: it shares what is ours.
    Shared,
    /// A declared field is gone.
    Removed,
    /// A list has one item more.
    ItemAdded,
    /// A list has one item less.
    ItemRemoved,
    /// A list is in another order.
    Reordered,
    /// A map has one key more.
    KeyAdded,
    /// The label of our set is gone.
    Stripped,
    /// The label of our set names another one.
    Relabelled,
    /// The whole object was replaced by one without labels.
    Replaced,
    /// Another manager applied the label of another set, by force.
    Seized,
    /// Nobody is recorded as the owner of anything any more.
    Disowned,
    /// A declared annotation or label has another value; where none is declared, there is one more.
    Annotated,
    /// The object is gone.
    Deleted,
    /// The object is another one of the same content.
    Recreated,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Changed,
        Self::TakenOver,
        Self::Shared,
        Self::Removed,
        Self::ItemAdded,
        Self::ItemRemoved,
        Self::Reordered,
        Self::KeyAdded,
        Self::Stripped,
        Self::Relabelled,
        Self::Replaced,
        Self::Seized,
        Self::Disowned,
        Self::Annotated,
        Self::Deleted,
        Self::Recreated,
    ];
}

/// One object under test.
pub struct Object {
    /// Its identity, as holdfast spells it.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its path.
    pub path: String,
    /// What is declared, with the label of our set.
    pub wanted: Value,
}

/// A value that is ours.
struct Owned<'a> {
    at: String,
    value: &'a Value,
    /// Whether it is ours as a whole.
    whole: bool,
}

/// Returns what we applied of an object, as the server recorded it; `None` if nothing.
pub fn ours(object: &Value) -> Option<&Value> {
    let entries = object["metadata"]["managedFields"].as_array()?.iter();
    let mut ours = entries.filter(|entry| entry["manager"] == "holdfast" && entry["operation"] == "Apply");
    ours.next().map(|entry| &entry["fieldsV1"])
}

fn owned<'a>(object: &'a Value) -> Vec<Owned<'a>> {
    let mut found = Vec::new();
    if let Some(fields) = ours(object) {
        walk(fields, object, "", &mut found);
    }
    found.retain(|owned| !owned.at.contains("applyset.kubernetes.io"));
    // What a kind is about before what is said about everything.
    found.sort_by_key(|owned| owned.at.starts_with("/metadata"));
    found
}

fn walk<'a>(fields: &Value, value: &'a Value, at: &str, found: &mut Vec<Owned<'a>>) {
    for (name, below) in fields.as_object().into_iter().flatten() {
        let child = match name.split_at_checked(2) {
            Some(("f:", name)) => value.get(name).map(|child| (escaped(name), child)),
            Some(("k:", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).expect("the server writes JSON");
                let is = |item: &Value| keys.iter().all(|(name, value)| item.get(name) == Some(value));
                item(value, is)
            }
            Some(("v:", of)) => {
                let of: Value = serde_json::from_str(of).expect("the server writes JSON");
                item(value, |item| *item == of)
            }
            _ => None,
        };
        let Some((name, child)) = child else { continue };
        let at = format!("{at}/{name}");
        let whole = below.as_object().is_none_or(|below| below.keys().all(|name| name == "."));
        found.push(Owned { at: at.clone(), value: child, whole });
        walk(below, child, &at, found);
    }
}

fn item(list: &Value, is: impl Fn(&Value) -> bool) -> Option<(String, &Value)> {
    let (index, item) = list.as_array()?.iter().enumerate().find(|(_, item)| is(item))?;
    Some((index.to_string(), item))
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Returns another value of the same type.
fn other(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) if text.parse::<i64>().is_ok() => Some(json!("7")),
        Value::String(text) => Some(json!(format!("{text}x"))),
        Value::Number(number) => number.as_i64().map(|number| json!(number + 1)),
        Value::Bool(value) => Some(json!(!value)),
        Value::Array(_) | Value::Object(_) | Value::Null => None,
    }
}

/// Returns an item like this one that does not collide with it.
fn another(item: &Value) -> Value {
    let Some(map) = item.as_object() else { return other(item).unwrap_or_else(|| item.clone()) };
    let vary = |(name, value): (&String, &Value)| (name.clone(), other(value).unwrap_or_else(|| value.clone()));
    Value::Object(map.iter().map(vary).collect())
}

type Patches = Vec<Vec<Value>>;

fn one(op: &str, at: &str, value: Option<Value>) -> Value {
    let mut patch = json!({"op": op, "path": at});
    if let Some(value) = value {
        patch["value"] = value;
    }
    json!([patch])
}

/// Lists the patches that would change an object in a way, the likeliest first; each a few requests.
fn patches(way: Way, live: &Value) -> Patches {
    let ours = owned(live);
    let lists = || ours.iter().filter_map(|owned| Some((&owned.at, owned.value.as_array()?)));
    let scalars = || ours.iter().filter_map(|owned| Some((&owned.at, owned.value, other(owned.value)?)));
    let about = |at: &str| at.starts_with("/metadata/annotations/") || at.starts_with("/metadata/labels/");
    // The label of our set is there on every object, also on those of which no other scalar can be changed.
    let (label, set) = (format!("/metadata/labels/{}", escaped(SET)), &live["metadata"]["labels"][SET]);
    let or_label = || scalars().take(TRIES - 1).chain(other(set).map(|other| (&label, set, other)));
    match way {
        Way::Changed => or_label().map(|(at, _, other)| vec![one("replace", at, Some(other))]).collect(),
        Way::TakenOver => {
            let twice = |at: &str, was: &Value, other| {
                vec![one("replace", at, Some(other)), one("replace", at, Some(was.clone()))]
            };
            or_label().map(|(at, was, other)| twice(at, was, other)).collect()
        }
        Way::Removed => ours.iter().map(|owned| vec![one("remove", &owned.at, None)]).collect(),
        Way::ItemAdded => {
            let added = |(at, items): (&String, &Vec<Value>)| {
                Some(vec![one("add", &format!("{at}/-"), Some(another(items.last()?)))])
            };
            lists().filter_map(added).collect()
        }
        Way::ItemRemoved => {
            let removed = |(at, items): (&String, &Vec<Value>)| {
                Some(vec![one("remove", &format!("{at}/{}", items.len().checked_sub(1)?), None)])
            };
            lists().filter_map(removed).collect()
        }
        Way::Reordered => {
            let turned = |(at, items): (&String, &Vec<Value>)| {
                let mut turned = items.clone();
                turned.rotate_left(1.min(items.len()));
                (turned != *items).then(|| vec![one("replace", at, Some(Value::Array(turned)))])
            };
            lists().filter_map(turned).collect()
        }
        Way::KeyAdded => {
            // A map that is ours as a whole before one of which only keys are.
            let mut maps: Vec<&Owned<'_>> =
                ours.iter().filter(|owned| owned.value.is_object() && !owned.at.starts_with("/metadata")).collect();
            maps.sort_by_key(|owned| !owned.whole);
            let maps = maps.iter().map(|owned| owned.at.as_str()).take(TRIES - 1).chain(["/metadata/labels"]);
            maps.map(|at| vec![one("add", &format!("{at}/added"), Some(json!("1")))]).collect()
        }
        Way::Stripped => vec![vec![one("remove", &label, None)]],
        Way::Disowned => vec![vec![one("replace", "/metadata/managedFields", Some(json!([{}])))]],
        Way::Annotated => {
            let declared = scalars().filter(|(at, ..)| about(at));
            let changed = declared.map(|(at, _, other)| vec![one("replace", at, Some(other))]);
            let at = "/metadata/annotations";
            let more = match live.pointer(at) {
                Some(_) => one("add", &format!("{at}/by-hand"), Some(json!("1"))),
                None => one("add", at, Some(json!({"by-hand": "1"}))),
            };
            changed.chain([vec![more]]).collect()
        }
        Way::Shared | Way::Relabelled | Way::Replaced | Way::Seized | Way::Deleted | Way::Recreated => Vec::new(),
    }
}

/// What came of a change.
pub struct Changed {
    /// Whether it could be done.
    pub done: bool,
    /// What was there before.
    before: Value,
    /// What is there now, if anything is.
    now: Option<Value>,
}

impl Object {
    /// Changes the object, if that can be done.
    pub fn change(&self, api: &Api, way: Way) -> Changed {
        let before = api.get(&self.path).expect("it is there before it is changed");
        let changed = match way {
            Way::Shared => self.ask(api, &before, "PATCH", "", "application/apply-patch+yaml", &self.wanted),
            Way::Seized => {
                let metadata = json!({"name": self.wanted["metadata"]["name"], "labels": {SET: "another"}});
                let less = json!({"apiVersion": self.wanted["apiVersion"], "kind": self.kind, "metadata": metadata});
                self.ask(api, &before, "PATCH", "&force=true", "application/apply-patch+yaml", &less)
            }
            Way::Relabelled => {
                let patch = json!({"metadata": {"labels": {SET: "another"}}});
                self.ask(api, &before, "PATCH", "", "application/merge-patch+json", &patch)
            }
            Way::Replaced => {
                let mut bare = before.clone();
                let metadata = bare["metadata"].as_object_mut().expect("it has metadata");
                for name in ["labels", "managedFields"] {
                    metadata.remove(name);
                }
                self.ask(api, &before, "PUT", "", "application/json", &bare)
            }
            Way::Deleted | Way::Recreated => self.delete(api, way == Way::Recreated),
            _ => patches(way, &before).iter().take(TRIES).find_map(|steps| self.patch(api, &before, steps)).map(Some),
        };
        Changed { done: changed.is_some(), now: changed.unwrap_or_else(|| Some(before.clone())), before }
    }

    /// Sends one request as somebody else; nothing if it is refused, or changes nothing.
    fn ask(
        &self,
        api: &Api,
        before: &Value,
        verb: &str,
        more: &str,
        format: &str,
        body: &Value,
    ) -> Option<Option<Value>> {
        let path = format!("{}?fieldManager={OTHER}{more}", self.path);
        let (code, now) = api.ask(verb, &path, format, Some(body));
        (code == 200 && is_new(before, &now)).then_some(Some(now))
    }

    fn patch(&self, api: &Api, before: &Value, steps: &[Value]) -> Option<Value> {
        let path = format!("{}?fieldManager={OTHER}&fieldValidation=Ignore", self.path);
        let mut now = before.clone();
        for step in steps {
            let (code, next) = api.ask("PATCH", &path, "application/json-patch+json", Some(step));
            if code != 200 || !is_new(&now, &next) {
                return None;
            }
            now = next;
        }
        Some(now)
    }

    fn delete(&self, api: &Api, again: bool) -> Option<Option<Value>> {
        // What holds other things, or is held by a controller, goes in its own time.
        if ["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"].contains(&self.kind.as_str()) {
            return None;
        }
        let now = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        let (code, said) = api.ask("DELETE", &self.path, "application/json", Some(&now));
        assert!(matches!(code, 200 | 202), "{}: {said}", self.id);
        assert!(api.get(&self.path).is_none(), "{} is held", self.id);
        let collection = self.path.rsplit_once('/').expect("it is in a collection").0;
        Some(again.then(|| api.create(&format!("{collection}?fieldManager={OTHER}"), &self.wanted)))
    }

    /// Says whether a forced apply would make something else of what is there now: the truth.
    pub fn differs(&self, api: &Api, changed: &Changed, but: impl Fn(&mut Value)) -> bool {
        let Some(now) = &changed.now else { return true };
        let path = format!("{}?fieldManager=holdfast&force=true&dryRun=All", self.path);
        let (code, after) = api.ask("PATCH", &path, "application/apply-patch+yaml", Some(&self.wanted));
        let same = |one: &Value| {
            let mut one = crate::k8s_contract::stripped(one);
            but(&mut one);
            one
        };
        code >= 400 || same(&after) != same(now) || ours(&after) != ours(now)
    }

    /// Brings the object back to what it was, and makes it ours again.
    pub fn restore(&self, api: &Api, changed: &Changed) {
        let Changed { done: true, before, now } = changed else { return };
        // What others share is theirs until they apply less.
        let applies = |entry: &Value| entry["manager"] == OTHER && entry["operation"] == "Apply";
        let now = now.as_ref().map(|now| &now["metadata"]);
        let shared = now.and_then(|now| now["managedFields"].as_array()).is_some_and(|all| all.iter().any(applies));
        if shared {
            let mut nothing = json!({"apiVersion": self.wanted["apiVersion"], "kind": self.kind});
            nothing["metadata"] = json!({"name": self.wanted["metadata"]["name"]});
            api.apply(&self.path, OTHER, &nothing);
        } else if now.is_some_and(|now| now["uid"] == before["metadata"]["uid"]) {
            self.put_back(api, before);
        }
        api.apply(&self.path, "holdfast", &self.wanted);
    }

    /// Takes away what was added: nobody who applies would.
    fn put_back(&self, api: &Api, before: &Value) {
        let mut before = before.clone();
        let metadata = before["metadata"].as_object_mut().expect("it has metadata");
        metadata.remove("managedFields");
        let path = format!("{}?fieldManager={OTHER}", self.path);
        // The server itself writes the status of a definition meanwhile.
        for _ in 0..20 {
            let now = api.get(&self.path).expect("it is there");
            before["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
            let (code, said) = api.ask("PUT", &path, "application/json", Some(&before));
            match code {
                200 => return,
                409 => {}
                _ => panic!("{}: {said}", self.id),
            }
        }
        panic!("{} changes all the time", self.id);
    }
}

fn is_new(before: &Value, after: &Value) -> bool {
    before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]
}
