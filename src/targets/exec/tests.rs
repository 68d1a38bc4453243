//! The protocol against real programs, most of them misbehaving.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::core::resource::{Digest, Health, Version, Vitals};
use crate::core::write::Content;
use crate::targets::content_digest;

const DIGEST: &str = "sha256:0101010101010101010101010101010101010101010101010101010101010101";

/// A target that is one shell script; what it reads is in `$1`'s request, its state in its directory.
struct Program {
    temp: tempfile::TempDir,
    exec: Exec,
}

impl Program {
    fn new(script: &str) -> Self {
        Self::with(script, Duration::from_secs(60))
    }

    fn with(script: &str, timeout: Duration) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let script = script.replace("DIGEST", DIGEST);
        let config = Config {
            run: ["sh", "-c", &script, "target"].map(str::to_owned).to_vec(),
            dir: Some(temp.path().to_owned()),
            timeout,
        };
        Self { temp, exec: Exec::open(config).unwrap() }
    }

    fn observe(&self, ids: &[&str]) -> Observed {
        let ids: Vec<Id> = ids.iter().map(|id| Id::new(*id)).collect();
        let expect: Vec<Expect<'_>> = ids.iter().map(Expect::new).collect();
        self.exec.observe(&expect)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.temp.path().join(name)).unwrap()
    }
}

fn file(content: &[u8]) -> Option<Content> {
    Some(Content::File { bytes: content.into(), executable: false })
}

fn digest() -> Digest {
    DIGEST.parse().unwrap()
}

fn update() -> WriteOp {
    let expected = Some((digest(), Version::new("v1")));
    WriteOp {
        id: Id::new("a"),
        verb: Verb::Update,
        expected,
        content: file(b"text"),
        force: false,
        replace: false,
        reclaims: Vec::new(),
        ignore: Vec::new(),
    }
}

fn anchor() -> Anchor {
    serde_json::from_str(r#"{"target":"t","application":"a","ledger":"l","epoch":1,"token":"x","seq":2}"#).unwrap()
}

#[test]
fn a_complete_observation_is_taken_whole() {
    let program = Program::new(
        r#"cat > request
        echo '{"id":"c","digest":"DIGEST","version":"v1","health":"unhealthy","vitals":["running"],"group":"g","by":"x","interactive":true,"at":"2026-01-02T03:04:05Z","dependants":3,"protected":true}'
        echo '{"id":"a","leaving":true}'
        echo '{"id":"b","unread":"forbidden"}'
        echo '{"id":"unasked","digest":"DIGEST","version":"v1"}'
        echo '{"anchor":{"target":"t","application":"a","ledger":"l","epoch":1,"token":"x","seq":2}}'
        echo '{"end":true,"count":4}'"#,
    );
    let observed = program.observe(&["a", "b", "c", "d", "a"]);
    assert_eq!(observed.failure, None);
    assert_eq!(observed.anchor, AnchorSeen::Present(anchor()));
    let seen: BTreeMap<&str, &Live> = observed.seen.iter().map(|(id, live)| (id.as_str(), live)).collect();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!((seen["a"], seen["d"]), (&Live::Leaving, &Live::Gone));
    assert!(matches!(seen["b"], Live::Unread(why) if why.contains("forbidden")));
    let here = seen["c"].here().unwrap();
    assert_eq!((here.digest, here.health, here.dependants()), (digest(), Health::Unhealthy, 3));
    assert_eq!((here.nature.vitals, here.nature.protected), (Vitals::RUNNING, true));
    assert_eq!((here.touch().interactive, here.touch().by.as_deref()), (true, Some("x")));
    let request = program.read("request");
    assert_eq!(
        request.lines().collect::<Vec<_>>(),
        [
            r#"{"protocol":1,"op":"observe"}"#,
            r#"{"id":"a"}"#,
            r#"{"id":"b"}"#,
            r#"{"id":"c"}"#,
            r#"{"id":"d"}"#,
            r#"{"end":true,"count":4}"#
        ]
    );
}

#[test]
fn an_observation_that_is_not_complete_is_a_failure() {
    let good = r#"echo '{"id":"a","digest":"DIGEST","version":"v1"}'"#;
    for (script, part) in [
        ("", "has no end"),
        (good, "has no end"),
        (r#"printf '{"end":true,"count":0}'"#, "last line has no end"),
        (&format!(r#"{good}; echo '{{"end":true,"count":0}}'"#), "count of 0 after 1"),
        (r#"echo '{"end":true,"count":1}'"#, "count of 1 after 0"),
        (r#"echo '{"end":false,"count":0}'"#, "must be true"),
        (r#"echo '{"end":true,"count":0}'; exit 3"#, "exit status: 3"),
        (r#"echo '{"end":true,"count":0}'; kill -9 $$"#, "signal: 9"),
        (&format!(r#"echo '{{"end":true,"count":0}}'; {good}"#), "more after the end"),
        (&format!("{good}; {good}; echo '{{\"end\":true,\"count\":2}}'"), "twice"),
        ("echo garbage; echo broken >&2; sleep 1000", "`garbage`"),
        (r#"echo '{"id":"a"}'; echo '{"end":true,"count":1}'"#, "needs either"),
        (r#"echo '{"id":"a","digest":"sha256:12","version":"v"}'; echo '{"end":true,"count":1}'"#, "protocol"),
        ("head -c 2000000 /dev/zero | tr '\\0' x", "longer than"),
        ("echo oops >&2; exit 1", "oops"),
        (r#"echo '{"other":1}'; echo '{"end":true,"count":0}'"#, "anchor"),
        (r#"echo '{"anchor":{}}'; echo '{"end":true,"count":0}'"#, "target"),
        (r#"echo '{"id":"a","end":true,"count":0}'"#, "neither"),
    ] {
        let observed = Program::new(script).observe(&["a"]);
        let why = observed.failure.as_deref().unwrap_or_else(|| panic!("{script} was taken"));
        assert!(why.contains(part), "{script}: {why}");
        assert!(observed.seen.is_empty());
    }
}

#[test]
fn a_program_that_takes_too_long_or_does_not_exist_is_a_failure() {
    let slow = Program::with(r#"echo '{"end":true,"count":0}'; sleep 1000"#, Duration::from_millis(300));
    assert!(slow.observe(&[]).failure.unwrap().contains("killed after"));
    let config = Config { run: vec!["/no/such/program".to_owned()], dir: None, timeout: Duration::from_secs(1) };
    let missing = Exec::open(config).unwrap();
    assert!(missing.observe(&[]).failure.unwrap().contains("could not be started"));
    assert!(matches!(missing.write(&update()), Outcome::Refused(_)));
    assert!(matches!(missing.swap(&AnchorSeen::Absent, &anchor()), Err(SwapError::Refused(_))));
}

#[test]
fn a_program_that_does_not_read_its_request_is_heard_all_the_same() {
    let ids: Vec<String> = (0..50_000).map(|n| format!("resource-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let observed = Program::new(r#"echo '{"end":true,"count":0}'"#).observe(&ids);
    assert_eq!(observed.failure, None);
    assert_eq!(observed.seen.len(), ids.len());
}

#[test]
fn a_large_answer_to_a_large_request_does_not_block() {
    let script = r#"while read -r line; do case $line in
        *'"op"'*) ;;
        *'"end"'*) echo "$line";;
        *) echo "${line%\}},\"digest\":\"DIGEST\",\"version\":\"v\"}";;
        esac; done"#;
    let ids: Vec<String> = (0..20_000).map(|n| format!("resource-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let observed = Program::new(script).observe(&ids);
    assert_eq!(observed.failure, None);
    assert!(observed.seen.len() == ids.len() && observed.seen.iter().all(|(_, live)| live.here().is_some()));
}

#[test]
fn a_write_says_what_to_write_and_hears_what_came_of_it() {
    let program = Program::new(r#"cat > request; echo '{"done":{"digest":"DIGEST","version":"v2"}}'"#);
    let outcome = program.exec.write(&update());
    assert!(matches!(&outcome, Outcome::Done(Live::Here(here)) if here.version.text() == Some("v2")), "{outcome:?}");
    let request: serde_json::Value = serde_json::from_str(&program.read("request")).unwrap();
    let want = serde_json::json!({
        "protocol": 1, "op": "write", "id": "a",
        "digest": content_digest(b"text", false).unwrap(),
        "content": {"kind": "file", "text": "text"},
        "expected": {"digest": DIGEST, "version": "v1"},
    });
    assert_eq!(request, want);
    let binary = WriteOp { verb: Verb::Create, expected: None, content: file(b"\xff\x00"), ..update() };
    program.exec.write(&binary);
    let request: serde_json::Value = serde_json::from_str(&program.read("request")).unwrap();
    assert_eq!(request["content"], serde_json::json!({"kind": "file", "hex": "ff00"}));
    assert_eq!(request["expected"], serde_json::Value::Null);
}

#[test]
fn each_answer_to_a_write_is_taken_for_what_it_is() {
    let delete = WriteOp { verb: Verb::Delete, content: None, ..update() };
    let done = r#"{"done":{"digest":"DIGEST","version":"v2"}}"#;
    type Check = fn(&Outcome) -> bool;
    let unknown: Check = |outcome| matches!(outcome, Outcome::Unknown(_));
    let cases: [(&str, &WriteOp, Check); 14] = [
        (r#"{"moved":"why"}"#, &update(), |outcome| matches!(outcome, Outcome::Moved(why) if why.contains("why"))),
        (r#"{"refused":"why"}"#, &delete, |outcome| matches!(outcome, Outcome::Refused(why) if why.contains("why"))),
        (r#"{"gone":true}"#, &delete, |outcome| *outcome == Outcome::Done(Live::Gone)),
        (r#"{"leaving":true}"#, &delete, |outcome| *outcome == Outcome::Done(Live::Leaving)),
        (r#"{"gone":true}"#, &update(), unknown),
        (r#"{"gone":false}"#, &delete, unknown),
        (done, &delete, unknown),
        (r#"{"done":{}}"#, &update(), unknown),
        (r#"{"swapped":true}"#, &update(), unknown),
        ("", &update(), unknown),
        ("garbage", &update(), unknown),
        (&format!("{done}\n{done}"), &update(), unknown),
        (r#"{"other":1}"#, &update(), unknown),
        (r#"{"done":{"digest":"DIGEST","version":"v2"},"moved":"x"}"#, &update(), unknown),
    ];
    for (answer, op, check) in cases {
        let outcome = Program::new(&format!("cat > request; printf '%s\\n' '{answer}'")).exec.write(op);
        assert!(check(&outcome), "{answer}: {outcome:?}");
    }
    // Whatever it said: if it failed, nobody knows.
    let failed = Program::new(&format!("echo '{done}'; exit 1")).exec.write(&update());
    assert!(matches!(failed, Outcome::Unknown(_)));
    let slow = Program::with("sleep 1000", Duration::from_millis(200)).exec.write(&update());
    assert!(matches!(slow, Outcome::Unknown(_)));
}

#[test]
fn an_anchor_is_swapped_by_the_program() {
    let program = Program::new(r#"cat > request; echo '{"swapped":true}'"#);
    program.exec.swap(&AnchorSeen::Present(anchor()), &anchor()).unwrap();
    let request: serde_json::Value = serde_json::from_str(&program.read("request")).unwrap();
    assert_eq!(request["expected"], request["new"]);
    program.exec.swap(&AnchorSeen::Absent, &anchor()).unwrap();
    assert!(program.read("request").contains(r#""expected":null"#));
    let unread = program.exec.swap(&AnchorSeen::Unread("why".into()), &anchor());
    assert!(matches!(unread, Err(SwapError::Refused(_))));
    let moved = Program::new(r#"echo '{"moved":"other"}'"#).exec.swap(&AnchorSeen::Absent, &anchor());
    assert_eq!(moved, Err(SwapError::Moved("other".into())));
    let dead = Program::new("exit 1").exec.swap(&AnchorSeen::Absent, &anchor());
    assert!(matches!(dead, Err(SwapError::Unknown(_))));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let config = Config { run: vec![], dir: None, timeout: Duration::from_secs(1) };
    assert!(Exec::open(config.clone()).is_err());
    assert!(Exec::open(Config { run: vec![String::new()], ..config.clone() }).is_err());
    assert!(Exec::open(Config { run: vec!["x".to_owned()], timeout: Duration::ZERO, ..config }).is_err());
}

/// The program of `docs/exec-target.md` is a whole target: it is taken from there and run.
#[test]
fn the_documented_example_works() {
    let page = include_str!("../../../docs/exec-target.md");
    let script = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("my-target");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = vec!["python3".to_owned(), path.to_str().unwrap().to_owned()];
    let dir = Some(temp.path().to_owned());
    let exec = Exec::open(Config { run, dir, timeout: Duration::from_secs(60) }).unwrap();
    let id = Id::new("a");
    let live = || {
        let observed = exec.observe(&[Expect::new(&id)]);
        assert_eq!(observed.failure, None);
        (observed.get(&id).unwrap().clone(), observed.anchor)
    };
    assert_eq!(live(), (Live::Gone, AnchorSeen::Absent));
    exec.swap(&AnchorSeen::Absent, &anchor()).unwrap();
    assert!(matches!(exec.swap(&AnchorSeen::Absent, &anchor()), Err(SwapError::Moved(_))));
    let create = WriteOp {
        id: id.clone(),
        verb: Verb::Create,
        expected: None,
        content: file(b"one"),
        force: false,
        replace: false,
        reclaims: Vec::new(),
        ignore: Vec::new(),
    };
    let Outcome::Done(Live::Here(one)) = exec.write(&create) else { panic!("it was not created") };
    assert_eq!(Some(one.digest), content_digest(b"one", false));
    assert_eq!(live(), (Live::Here(one.clone()), AnchorSeen::Present(anchor())));
    assert!(matches!(exec.write(&create), Outcome::Moved(_)));
    let expected = Some((one.digest, one.version));
    let update = WriteOp { verb: Verb::Update, expected: expected.clone(), content: file(b"\xff"), ..create };
    let Outcome::Done(Live::Here(two)) = exec.write(&update) else { panic!("it was not updated") };
    let stale = WriteOp { verb: Verb::Delete, content: None, ..update };
    assert!(matches!(exec.write(&stale), Outcome::Moved(_)));
    let delete = WriteOp { expected: Some((two.digest, two.version)), ..stale };
    assert_eq!(exec.write(&delete), Outcome::Done(Live::Gone));
    assert_eq!(live().0, Live::Gone);
}
