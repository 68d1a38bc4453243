//! What the target takes for granted of an API server, against a real one: the live digest tells every drift and invents none.
//!
//! The truth is a forced dry-run: it says what would change if what was applied were applied again.

use std::path::Path;

use holdfast::config::{KubernetesTarget, Target as Config};
use holdfast::core::op::{Class, Effect, Op};
use holdfast::core::rehearse::Rehearsal;
use holdfast::core::resource::{Anchor, AnchorSeen, Here, Id, Live, Nature};
use holdfast::core::write::{Content, Outcome, Verb, WriteOp};
use holdfast::targets::{Expect, Target, Tried};
use serde_json::{Value, json};

use crate::harness::cluster::Cluster;

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.next(100) < percent
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.next(of.len())]
    }
}

/// One object under test.
struct Bench {
    cluster: Cluster,
    target: Target,
    id: Id,
    path: &'static str,
    wanted: Value,
}

impl Bench {
    fn new(id: &str, path: &'static str, wanted: Value) -> Self {
        let cluster = Cluster::shared();
        let config = KubernetesTarget { kubeconfig: Some(cluster.kubeconfig()), ..KubernetesTarget::default() };
        let name = wanted["kind"].as_str().unwrap().to_lowercase();
        let mut target =
            Target::open(&Config::Kubernetes(config), &format!("fuzz-{name}"), Path::new("/nonexistent")).unwrap();
        let anchor = target.read_anchor();
        // The same mutations of the same object, whatever ran before.
        let _ = cluster.api().ask("DELETE", path, "application/json", Some(&json!({})));
        let new = Anchor {
            target: "t".into(),
            application: "fuzz".into(),
            ledger: "l".into(),
            epoch: 1,
            token: "x".into(),
            last_verified: None,
            seq: 1,
        };
        target.lock().unwrap().swap(&anchor, &new).unwrap();
        assert_eq!(target.read_anchor(), AnchorSeen::Present(new));
        Self { cluster, target, id: Id::new(id), path, wanted }
    }

    fn look(&mut self) -> Live {
        let expect = [Expect::new(&self.id)];
        let observed = self.target.observe(&expect, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(observed.failure, None);
        observed.get(&self.id).unwrap().clone()
    }

    fn here(&mut self) -> Here {
        match self.look() {
            Live::Here(here) => here,
            other => panic!("{other:?}"),
        }
    }

    /// Brings the object to what is wanted, as the controller would.
    fn apply(&mut self) -> Here {
        for _ in 0..20 {
            let before = self.look().here().cloned();
            match self.write(before) {
                Outcome::Done(Live::Here(here)) => return here,
                // Its controllers write too, some more often than a write is tried: look, and write again.
                Outcome::Moved(_) => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("{} is never left alone", self.id)
    }

    /// Writes what is wanted over what was seen.
    fn write(&mut self, before: Option<Here>) -> Outcome {
        let op = WriteOp {
            id: self.id.clone(),
            verb: if before.is_some() { Verb::Update } else { Verb::Create },
            expected: before.map(|here| (here.digest, here.version)),
            content: Some(Content::File { bytes: self.wanted.to_string().into_bytes().into(), executable: false }),
            force: true,
            replace: false,
            reclaims: Vec::new(),
            ignore: Vec::new(),
        };
        self.target.lock().unwrap().write(&op)
    }

    fn rehearse(&mut self, here: &Here) -> Option<Rehearsal> {
        let op = Op {
            id: self.id.clone(),
            verb: Verb::Update,
            effect: Effect::Update,
            class: Class::Plain,
            from: Some((here.digest, here.version.clone())),
            to: Some(here.digest),
            was: None,
            source: None,
            nature: Nature::default().into(),
            force: true,
            weight: 1,
            rank: 0,
            reverts: true,
            unrehearsed: false,
            reclaims: Vec::new(),
            ignore: Vec::new(),
            shape: None,
        };
        let tried = [Tried { op: &op, content: Some(self.wanted.to_string().into_bytes()) }];
        self.target.rehearse(&tried).into_values().next()
    }

    /// Says what a forced apply would make of the object now.
    fn truth(&self, now: &Value) -> bool {
        let mut wanted = self.wanted.clone();
        let label = &now["metadata"]["labels"]["applyset.kubernetes.io/part-of"];
        let label = if label.is_null() { &self.label() } else { label };
        wanted["metadata"]["labels"]["applyset.kubernetes.io/part-of"] = label.clone();
        let path = format!("{}?fieldManager=holdfast&force=true&dryRun=All", self.path);
        let (code, after) = self.cluster.api().ask("PATCH", &path, "application/apply-patch+yaml", Some(&wanted));
        code >= 400 || stripped(&after) != stripped(now) || ours(&after) != ours(now)
    }

    fn label(&self) -> Value {
        let parent = format!(
            "/api/v1/namespaces/default/configmaps/holdfast-fuzz-{}",
            self.wanted["kind"].as_str().unwrap().to_lowercase()
        );
        self.cluster.api().get(&parent).unwrap()["metadata"]["labels"]["applyset.kubernetes.io/id"].clone()
    }
}

fn ours(object: &Value) -> Vec<&Value> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    entries
        .filter(|entry| entry["manager"] == "holdfast" && entry["operation"] == "Apply")
        .map(|entry| &entry["fieldsV1"])
        .collect()
}

pub fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for name in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
        metadata.remove(name);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    object
}

/// Lists every place below the fields that people change.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                places(below, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter().enumerate() {
                places(below, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

/// Makes one change of the kinds that people and controllers make.
fn mutation(random: &mut Random, object: &Value) -> Value {
    let mut all = Vec::new();
    for (name, below) in object.as_object().unwrap() {
        if !["status", "kind", "apiVersion", "metadata"].contains(&name.as_str()) {
            places(below, &format!("/{name}"), &mut all);
        }
    }
    all.extend(["/metadata/labels".to_owned(), "/metadata/annotations".to_owned()]);
    let at = random.pick(&all).clone();
    let value = object.pointer(&at).cloned().unwrap_or(Value::Null);
    if at.starts_with("/metadata/") {
        let name = *random.pick(&["l1", "zz", "l2"]);
        return match value.as_object() {
            None => json!({"op": "add", "path": at, "value": {name: "q1"}}),
            Some(map) if map.contains_key(name) && random.chance(40) => {
                json!({"op": "remove", "path": format!("{at}/{name}")})
            }
            Some(_) => json!({"op": "add", "path": format!("{at}/{name}"), "value": format!("q{}", random.next(9))}),
        };
    }
    let kind = random.next(100);
    match value {
        Value::Array(mut items) if kind < 35 && items.len() > 1 => {
            items.rotate_left(1);
            json!({"op": "replace", "path": at, "value": items})
        }
        Value::Array(mut items) if kind < 60 && !items.is_empty() => {
            items.remove(random.next(items.len()));
            json!({"op": "replace", "path": at, "value": items})
        }
        Value::Array(items) if !items.is_empty() => {
            let mut item = random.pick(&items).clone();
            if let Some(map) = item.as_object_mut() {
                for (name, value) in map.iter_mut() {
                    match name.as_str() {
                        "name" => *value = format!("n{}", random.next(99)).into(),
                        "containerPort" | "port" => *value = (random.next(60000) + 1).into(),
                        _ => {}
                    }
                }
            } else if item.is_string() {
                item = format!("s{}", random.next(99)).into();
            }
            json!({"op": "add", "path": format!("{at}/{}", random.next(items.len() + 1)), "value": item})
        }
        Value::Object(_) if kind >= 30 => {
            let name = *random.pick(&["a", "b", "nn", "v", "hostname", "zz"]);
            let value = random.pick(&[json!("1"), json!("x"), json!(3)]).clone();
            json!({"op": "add", "path": format!("{at}/{name}"), "value": value})
        }
        Value::Array(_) | Value::Object(_) | Value::Null => json!({"op": "remove", "path": at}),
        _ if kind < 25 => json!({"op": "remove", "path": at}),
        Value::Bool(value) => json!({"op": "replace", "path": at, "value": !value}),
        Value::Number(number) if number.is_i64() => {
            json!({"op": "replace", "path": at, "value": number.as_i64().unwrap() + 1 + i64::try_from(random.next(2)).unwrap()})
        }
        value => {
            let other = [
                json!(format!("{}x", value.as_str().unwrap_or("1"))),
                json!("512Mi"),
                json!("80"),
                json!(80),
                json!("0.2"),
                json!("200m"),
            ];
            json!({"op": "replace", "path": at, "value": random.pick(&other).clone()})
        }
    }
}

/// What became of all mutations.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    tried: usize,
    rejected: usize,
    idle: usize,
    drifts: usize,
    kept: usize,
}

fn fuzz(bench: &mut Bench, seed: u64, times: usize) -> Count {
    let mut random = Random(seed);
    let mut count = Count::default();
    for _ in 0..times {
        let before = bench.apply();
        let settled = bench.here();
        let live = bench.cluster.api().get(bench.path).unwrap();
        assert_eq!(settled.digest, before.digest, "what was written and what is read differ");
        assert!(!bench.truth(&live), "the truth says that nothing agrees, ever");
        let patch: Vec<Value> = (0..=usize::from(random.chance(30))).map(|_| mutation(&mut random, &live)).collect();
        let manager = *random.pick(&["kubectl-edit", "ctl", "holdfast"]);
        let path = format!("{}?fieldManager={manager}&fieldValidation=Ignore", bench.path);
        count.tried += 1;
        let (code, now) =
            bench.cluster.api().ask("PATCH", &path, "application/json-patch+json", Some(&Value::Array(patch.clone())));
        if code >= 400 {
            count.rejected += 1;
            continue;
        }
        if now["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"] {
            count.idle += 1;
            continue;
        }
        let here = bench.here();
        let (suspect, drift) = (here.digest != before.digest, bench.truth(&now));
        assert!(suspect || !drift, "missed by seed {seed}: {manager} {}", json!(patch));
        assert!(drift || !suspect, "invented by seed {seed}: {manager} {}", json!(patch));
        let said = bench.rehearse(&here);
        let agrees = said == Some(Rehearsal::Agrees);
        assert_eq!(agrees, !drift, "seed {seed}: {manager} {}: {said:?}", json!(patch));
        if drift {
            count.drifts += 1;
        } else {
            count.kept += 1;
        }
    }
    count
}

fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fz", "namespace": "fuzz", "labels": {"l1": "1"}, "annotations": {"l2": "2"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"rollingUpdate": {"maxSurge": "10%"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "k", "operator": "Exists"}],
        "initContainers": [{"name": "i1", "image": "a"}, {"name": "i2", "image": "b"}],
        "containers": [{"name": "c", "image": "nginx", "args": ["a", "b"], "env": [{"name": "A", "value": "1"}, {"name": "E", "value": ""}],
        "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}], "resources": {"limits": {"cpu": "0.5", "memory": "0.5Gi"}},
        "securityContext": {"capabilities": {"drop": ["ALL"]}}}], "volumes": [{"name": "t", "emptyDir": {}}]}}}})
}

fn thing() -> Value {
    json!({"apiVersion": "rev.dev/v1", "kind": "Thing", "metadata": {"name": "fz", "namespace": "fuzz", "labels": {"l1": "1"}},
        "spec": {"atom": [{"name": "x"}, {"name": "y", "v": "1"}], "map": [{"name": "x"}, {"name": "y", "v": "2"}],
        "mapd": [{"port": 1}, {"port": 1, "proto": "UDP"}], "set": ["a", "b", "c"], "free": {"m": {"x": 1, "y": [{"name": "a", "v": 1}]}, "n": 1},
        "ios": "80", "gran": {"a": "1", "b": "2"}, "atomobj": {"a": "1"}, "num": 2, "int": 5, "b": true, "q": "0.5", "nullable": null, "nn": "z"}})
}

/// A definition with every way in which lists and maps may be owned.
fn definition() -> Value {
    let text = json!({"type": "string"});
    let named = json!({"type": "object", "properties": {"name": text, "v": text}, "required": ["name"]});
    let atom = json!({"type": "array", "items": named, "x-kubernetes-list-type": "atomic"});
    let map = json!({"type": "array", "items": named, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]});
    let port = json!({"type": "object", "properties": {"port": {"type": "integer"}, "proto": {"type": "string", "default": "TCP"}, "v": text}, "required": ["port"]});
    let mapd = json!({"type": "array", "items": port, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "proto"]});
    let strings = json!({"type": "object", "additionalProperties": text});
    let mut atomobj = strings.clone();
    atomobj["x-kubernetes-map-type"] = json!("atomic");
    let spec = json!({"type": "object", "properties": {
        "atom": atom, "map": map, "mapd": mapd,
        "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "ios": {"x-kubernetes-int-or-string": true}, "gran": strings, "atomobj": atomobj,
        "num": {"type": "number"}, "int": {"type": "integer"}, "b": {"type": "boolean"}, "q": text,
        "nullable": {"type": "string", "nullable": true}, "nn": text, "def": {"type": "string", "default": "d"}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.rev.dev"},
        "spec": {"group": "rev.dev", "names": {"kind": "Thing", "plural": "things"}, "scope": "Namespaced", "versions": [version]}})
}

fn namespace(cluster: &Cluster) {
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fuzz"}});
    cluster.api().apply("/api/v1/namespaces/fuzz", "test", &made);
}

#[test]
fn k8s_the_live_digest_of_a_built_in_kind_tells_every_drift_and_invents_none() {
    namespace(&Cluster::shared());
    let mut bench = Bench::new("apps/Deployment/fuzz/fz", "/apis/apps/v1/namespaces/fuzz/deployments/fz", deployment());
    let count = fuzz(&mut bench, 0x9e37_79b9, 250);
    assert!(count.drifts > 40 && count.kept > 20, "{count:?}");
}

#[test]
fn k8s_the_live_digest_of_a_custom_kind_tells_every_drift_and_invents_none() {
    let cluster = Cluster::shared();
    namespace(&cluster);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.rev.dev";
    cluster.api().apply(path, "test", &definition());
    cluster.until("the kind is served", |api| {
        let conditions = api.get(path)?["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True").then_some(())?;
        api.ask("GET", "/apis/rev.dev/v1/namespaces/fuzz/things", "", None).0.eq(&200).then_some(())
    });
    let mut bench = Bench::new("rev.dev/Thing/fuzz/fz", "/apis/rev.dev/v1/namespaces/fuzz/things/fz", thing());
    let count = fuzz(&mut bench, 0x2545_f491, 250);
    assert!(count.drifts > 40 && count.kept > 10, "{count:?}");
}

#[test]
fn k8s_a_creation_changes_nothing_of_what_somebody_made_since_it_was_looked_for() {
    let cluster = Cluster::shared();
    namespace(&cluster);
    let collections = "/api/v1/namespaces/fuzz/configmaps";
    let path = "/api/v1/namespaces/fuzz/configmaps/raced";
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "raced", "namespace": "fuzz"}, "data": data});
    let mut bench = Bench::new("/ConfigMap/fuzz/raced", path, map(json!({"value": "ours"})));
    // Something else, the same value, and another one.
    for theirs in [json!({"other": "theirs"}), json!({"value": "ours"}), json!({"value": "theirs"})] {
        assert_eq!(bench.look(), Live::Gone);
        cluster.api().create(&format!("{collections}?fieldManager=somebody"), &map(theirs));
        let before = cluster.api().get(path);
        let outcome = bench.write(None);
        assert!(matches!(&outcome, Outcome::Moved(why) if why.contains("somebody made it")), "{outcome:?}");
        assert_eq!(cluster.api().get(path), before);
        cluster.api().delete(path);
    }
    assert!(matches!(bench.write(None), Outcome::Done(Live::Here(_))), "where nothing is, it is created");
    cluster.api().delete(path);
}
