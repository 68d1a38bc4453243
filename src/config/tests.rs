//! Whole documents in, values or messages out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::core::guards::{
    DriftPolicy, FleetGuards, Guards, Ignore, Limit, Match, Mode, ObserveFor, OnPoison, Rate, Verify,
};

const MINIMAL: &str = "
apiVersion: holdfast.dev/v1alpha1
kind: Application
metadata: { name: web }
spec:
  source: { url: https://git.example.com/acme/fleet.git }
  target: { directory: { root: /srv/web } }
";

fn read(text: &str) -> Result<Config, ConfigErrors> {
    load_text(Path::new("/etc/holdfast/holdfast.yaml"), text)
}

fn errors(text: &str) -> String {
    read(text).expect_err("the text is meant to be wrong").to_string()
}

/// An application with the given lines in its `spec`, and a valid rest for what they do not say.
fn spec(lines: &str) -> String {
    let mut text =
        String::from("apiVersion: holdfast.dev/v1alpha1\nkind: Application\nmetadata: { name: web }\nspec:\n");
    for line in lines.lines() {
        writeln!(text, "  {line}").unwrap();
    }
    for (name, valid) in
        [("source", "{ url: https://git.example.com/acme/fleet.git }"), ("target", "{ directory: { root: /srv/web } }")]
    {
        if !lines.lines().any(|line| line.starts_with(&format!("{name}:"))) {
            writeln!(text, "  {name}: {valid}").unwrap();
        }
    }
    text
}

fn application(lines: &str) -> Application {
    read(&spec(lines)).unwrap().applications.remove(0)
}

fn controller(lines: &str) -> String {
    let mut text = String::from("apiVersion: holdfast.dev/v1alpha1\nkind: Controller\nspec:\n");
    for line in lines.lines() {
        writeln!(text, "  {line}").unwrap();
    }
    text
}

/// Several texts and what is said about each, for one snapshot.
fn said(texts: &[&str], wrap: fn(&str) -> String) -> String {
    let mut report = String::new();
    for text in texts {
        writeln!(report, "{}\n{}\n", text.trim_end(), errors(&wrap(text))).unwrap();
    }
    report
}

#[test]
fn the_least_configuration_takes_every_default() {
    let config = read(MINIMAL).unwrap();
    assert_eq!(config.controller.state_dir, Path::new("/etc/holdfast/.holdfast-state"));
    assert_eq!(config.controller.listen, None);
    assert_eq!(config.controller.fleet, FleetGuards::default());
    let web = config.application("web").unwrap();
    assert_eq!(web.guards, Guards { spare_undeclared: true, ..Guards::default() });
    assert_eq!((web.source.branch.as_str(), web.source.path.as_str()), ("main", ""));
    assert_eq!((web.source.transport, &web.source.credentials), (Transport::Http, &Credentials::None));
    assert_eq!(web.trust, Trust::default());
    assert_eq!(web.freeze, None);
    assert_eq!(web.target.root(), Some(Path::new("/srv/web")));
    assert_eq!(web.origin.line, 2);
}

#[test]
fn everything_that_can_be_written_is_read() {
    let config = read(include_str!("fixtures/everything.yaml")).unwrap();
    insta::assert_debug_snapshot!(config);
}

#[test]
fn parts_that_are_not_written_keep_their_default() {
    let guards = application("guards:\n  changeHalt: { percent: 20 }\n  deleteHalt: { over: 3 }\n  growthHalt: { from: 5 }\n  rate: { burst: 1 }\n  backoff: { max: 1h }\n  fight: { 1h: 2 }\n  window: { deletes: { 24h: disabled, 30d: 4 } }").guards;
    assert_eq!(guards.change_halt, Limit::Relative { over: 15, percent: 20, at_most: None });
    assert_eq!(guards.delete_halt, Limit::Relative { over: 3, percent: 10, at_most: Some(50) });
    assert_eq!(guards.growth_halt.map(|growth| (growth.factor, growth.from, growth.creates)), Some((2, 5, 20)));
    assert_eq!(guards.rate, Some(Some(Rate { per_second: 5, burst: 1 })));
    assert_eq!((guards.backoff_initial, guards.backoff_max), (Duration::from_secs(30), Duration::from_secs(3600)));
    let hour = Duration::from_secs(3600);
    assert_eq!(guards.fight, [(hour, 2), (168 * hour, 5)].into());
    assert_eq!(guards.window_deletes, [(hour, 1), (168 * hour, 3), (720 * hour, 4)].into());
    assert_eq!(guards.window_changes, Guards::default().window_changes);
}

#[test]
fn a_number_is_that_limit_and_zero_is_zero() {
    let guards =
        application("guards: { deleteHalt: 7, changeHalt: 0, writeCap: { over: 0 }, rate: { perSecond: 0 } }").guards;
    assert_eq!(guards.delete_halt, Limit::Fixed(7));
    assert_eq!(guards.change_halt, Limit::Fixed(0));
    assert_eq!(guards.write_cap.at(1000), Some(0));
    assert_eq!(guards.rate, Some(Some(Rate { per_second: 0, burst: 10 })));
}

#[test]
fn a_target_s_own_rate_is_the_default_of_that_target_alone() {
    let text =
        |target: &str, guards: &str| spec("").replace("target: { directory: { root: /srv/web } }", target) + guards;
    let rate = |target: &str, guards: &str| read(&text(target, guards)).unwrap().applications[0].guards.rate;
    assert_eq!(rate("target: { directory: { root: /srv/web } }", ""), None);
    let exec = "target: { exec: { run: [x] } }";
    assert_eq!(rate(exec, ""), Some(Some(Rate { per_second: 5, burst: 10 })));
    assert_eq!(rate(exec, "  guards: { rate: disabled }\n"), Some(None));
    assert_eq!(rate(exec, "  guards: { rate: { perSecond: 1 } }\n"), Some(Some(Rate { per_second: 1, burst: 10 })));
}

#[test]
fn disabled_turns_off() {
    let guards = application("guards:\n  deleteHalt: disabled\n  growthHalt: disabled\n  groupHalt: disabled\n  window: disabled\n  fight: disabled\n  rate: disabled\n  changeHalt: { atMost: disabled }").guards;
    assert_eq!(guards.delete_halt, Limit::Disabled);
    assert_eq!((guards.growth_halt, guards.group_halt, guards.rate), (None, None, Some(None)));
    assert!(guards.window_deletes.is_empty() && guards.window_changes.is_empty() && guards.fight.is_empty());
    assert_eq!(guards.change_halt, Guards::default().change_halt);
}

#[test]
fn the_other_guards_are_read() {
    let guards = application("mode: observe\ninterval: 1h30m\nguards: { emptyDesired: allow, onPoison: last_good, observeFor: 2 cycles, localApproval: false, solo: true, protectedDefaults: false, protected: ['ssh/**'] }").guards;
    assert_eq!((guards.mode, guards.interval), (Mode::Observe, Duration::from_secs(5400)));
    assert!(!guards.empty_desired_halts && !guards.local_approval && guards.solo && !guards.protected_defaults);
    assert_eq!((guards.on_poison, guards.observe_for), (OnPoison::LastGood, ObserveFor::Cycles(2)));
    assert_eq!(&*guards.protected[0], "ssh/**");
    let guards = application("guards: { observeFor: 1h }").guards;
    assert_eq!(guards.observe_for, ObserveFor::Time(Duration::from_secs(3600)));
}

#[test]
fn answers_to_drift_are_read() {
    let drift = application("drift:\n  tamper: escalate\n  emergency: { escalate: { revertAfter: 8h } }\n  routine: adopt\n  grace: 0s\n  ignore: [ { resource: 'cache/**', paths: [/a] } ]").guards.drift;
    assert_eq!(drift.missing, DriftPolicy::Revert);
    assert_eq!(drift.tamper, DriftPolicy::Escalate { revert_after: None });
    assert_eq!(drift.emergency, DriftPolicy::Escalate { revert_after: Some(Duration::from_secs(8 * 3600)) });
    assert_eq!((drift.routine, drift.grace), (DriftPolicy::Adopt, Duration::ZERO));
    assert_eq!(drift.ignore, [Ignore { kind: None, resource: Some("cache/**".into()), paths: vec!["/a".into()] }]);
}

#[test]
fn trust_is_read() {
    let trust = application("trust: { verify: path, match: committer, anchor: 0123456789ABCDEF0123456789abcdef01234567, ssh: { allowedSigners: ../signers }, approvers: [bob@acme.example] }").trust;
    assert_eq!((trust.policy.verify, trust.policy.match_), (Verify::Path, Match::Committer));
    assert_eq!(trust.policy.anchor.unwrap().as_str(), "0123456789abcdef0123456789abcdef01234567");
    assert_eq!(trust.files.allowed_signers.unwrap(), Path::new("/etc/signers"));
    assert_eq!(trust.files.revocations, None);
}

#[test]
fn a_freeze_takes_effect_whatever_is_wrong_with_its_end() {
    assert_eq!(application("freeze: false").freeze, None);
    assert_eq!(application("freeze: true").freeze, Some(Freeze::default()));
    let told =
        application("freeze: { reason: incident, owner: carol, until: 2030-01-01T00:00:00+02:00 }").freeze.unwrap();
    assert_eq!((told.reason.as_deref(), told.owner.as_deref()), (Some("incident"), Some("carol")));
    assert_eq!(told.until.unwrap().to_string(), "2029-12-31T22:00:00Z");
    let local = application("freeze: { reason: incident, until: 2030-01-01T00:00:00 }").freeze.unwrap();
    assert_eq!(local.until, None);
    assert!(local.reason.unwrap().starts_with("incident (`until: 2030-01-01T00:00:00` is no RFC 3339 time"));
}

#[test]
fn repositories_are_told_apart() {
    for (url, transport, read_as) in [
        ("https://git.example.com/a.git", Transport::Http, "https://git.example.com/a.git"),
        ("ssh://git@git.example.com:2222/a.git", Transport::Ssh, "ssh://git@git.example.com:2222/a.git"),
        ("git@git.example.com:acme/a.git", Transport::Ssh, "git@git.example.com:acme/a.git"),
        ("file:///srv/git/a.git", Transport::Local, "/srv/git/a.git"),
        ("../a.git", Transport::Local, "/etc/a.git"),
        ("./with:colon", Transport::Local, "/etc/holdfast/with:colon"),
    ] {
        let source = application(&format!("source: {{ url: {url:?} }}")).source;
        assert_eq!((source.transport, source.url.as_str()), (transport, read_as), "{url}");
    }
}

#[test]
fn the_digest_of_the_guards_follows_what_they_mean() {
    let base = application("guards: {}").guards_digest();
    assert_eq!(base, application("guards: { changeHalt: { percent: 30 } }").guards_digest(), "a default written out");
    assert_ne!(base, application("guards: { changeHalt: { percent: 31 } }").guards_digest());
    assert_ne!(base, application("trust: { approvers: [bob@acme.example] }").guards_digest());
    assert_ne!(base, application("target: { directory: { root: /srv/other } }").guards_digest());
}

#[test]
fn overrides_replace_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdfast.yaml");
    std::fs::write(&path, spec("guards: { changeHalt: 9 }")).unwrap();
    let sets: Vec<Override> =
        ["guards.changeHalt.percent=20", "spec.drift.grace=1m"].iter().map(|set| set.parse().unwrap()).collect();
    let guards = load_with(Some(&path), &sets).unwrap().applications.remove(0).guards;
    assert_eq!(guards.change_halt, Limit::Relative { over: 15, percent: 20, at_most: None });
    assert_eq!(guards.drift.grace, Duration::from_secs(60));
    assert!("guards.changeHalt".parse::<Override>().is_err());
    let wrong = load_with(Some(&path), &["guards.chnageHalt=1".parse().unwrap()]).unwrap_err().to_string();
    assert!(wrong.contains("did you mean `changeHalt`?"), "{wrong}");
}

#[test]
fn a_directory_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.yaml", &controller("stateDir: /var/lib/holdfast"));
    write("b.yml", MINIMAL);
    write(".hidden.yaml", "nonsense: [");
    write("notes.txt", "nonsense: [");
    let config = load(Some(dir.path())).unwrap();
    assert_eq!(config.controller.state_dir, Path::new("/var/lib/holdfast"));
    assert_eq!(config.applications.len(), 1);
    write("c.yaml", MINIMAL);
    let twice = load(Some(dir.path())).unwrap_err();
    let first = &twice.0[0];
    assert!(first.file.ends_with("c.yaml") && first.line == Some(4), "{first}");
    let fields: Vec<&str> = twice.0.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["metadata.name", "spec.target.directory.root"]);
}

#[test]
fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    assert!(load(Some(dir.path())).unwrap_err().to_string().contains("holds no file that ends in .yaml"));
    let missing = load(Some(&dir.path().join("missing.yaml"))).unwrap_err().to_string();
    assert!(missing.contains("missing.yaml: cannot be read: No such file"), "{missing}");
}

#[test]
fn roots_that_are_one_directory_by_a_link_are_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
    let root = |name: &str, root: &str| {
        let root = dir.path().join(root);
        MINIMAL.replace("name: web", &format!("name: {name}")).replace("/srv/web", root.to_str().unwrap())
    };
    let text = format!("{}---{}", root("one", "real"), root("two", "link/not/yet"));
    let error = errors(&text);
    assert!(error.contains("the root of application `one` lie in one another"), "{error}");
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = "
apiVersion: holdfast.dev/v1alpha1
kind: Controller
spec: { lisen: 127.0.0.1:8686, stateDir: /var/lib/holdfast }
---
apiVersion: holdfast.dev/v1alpha1
kind: Application
metadata: { name: Web_1 }
spec:
  mode: convrge
  interval: 0s
  source: { branch: refs/heads/main, path: ../x }
  target: { directory: { root: /var/lib/holdfast/web, exclusive: 'yes' } }
  guards:
    delete_halt: 5
    changeHalt: { percent: 120, ovr: 3 }
    settle: 2
    fight: { 1h: three, 0s: 1 }
---
apiVersion: holdfast.dev/v1
kind: Application
metadata: {}
---
kind: Aplication
---
- a list
---
key: [unclosed
";
    insta::assert_snapshot!(errors(text));
}

#[test]
fn messages_about_structure() {
    let report = said(
        &[
            "mode:",
            "mode: Converge",
            "interval: 180",
            "guards: { deleteHalt: -1 }",
            "guards: { fight: { 1h: 0 } }",
            "guards: { deleteHalt: 1.5 }",
            "guards: { deleteHalt: 99999999999 }",
            "guards: { deleteHalt: off }",
            "guards: { deleteHalt: '5' }",
            "guards: { deleteHalt: [5] }",
            "guards: { solo: yes }",
            "guards: 5",
            "guards: { window: { deletes: { 1h: many } } }",
            "drift: { emergency: { escalate: { revert_after: 8h } } }",
            "drift: { routine: ignore }",
            "trust: { anchor: 1234567, ssh: {} }",
            "trust: { signers: alice@acme.example }",
            "<<: { mode: observe }",
            "mode: observe\nmode: converge",
            "target: { directory: {} }",
            "colour: blue",
        ],
        spec,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn messages_about_sources() {
    let report = said(
        &[
            "source: { url: 'https://alice:secret@git.example.com/a.git' }",
            "source: { url: 'git://git.example.com/a.git' }",
            "source: { url: 'ssh://-oProxyCommand=x/a.git' }",
            "source: { url: '--upload-pack=x' }",
            "source: { url: 'https://' }",
            "source: { url: '~/a.git' }",
            "source: { url: a.git, branch: 'a..b' }",
            "source: { url: a.git, path: /abs }",
            "source: { url: a.git, path: .git/hooks }",
            "source: { url: 'git@git.example.com:a.git', credentials: { tokenFile: t } }",
            "source: { url: 'http://git.example.com/a.git', credentials: { tokenFile: t } }",
            "source: { url: 'https://git.example.com/a.git', credentials: { sshKeyFile: k, knownHostsFile: h } }",
            "source: { url: 'git@git.example.com:a.git', credentials: { sshKeyFile: k } }",
            "source: { url: 'git@git.example.com:a.git', proxy: 'http://p:1' }",
            "source: { url: 'https://git.example.com/a.git', proxy: 'p:1' }",
            "source: { url: a.git, render: { plain: {}, helm: {} } }",
            "source: { url: a.git, render: {} }",
            "source: { url: a.git, timeout: 0s }",
        ],
        spec,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn messages_about_targets_trust_and_guards() {
    let report = said(
        &[
            "target: {}",
            "target: { directory: { root: /srv/a }, exec: { run: [x] } }",
            "target: { kubernetes: { namespace: We_b, context: c, serviceAccount: a/b/c } }",
            "target: { directory: { root: / } }",
            "target: { directory: { root: /etc } }",
            "target: { directory: { root: /srv/web, reload: [ { match: '*.conf', run: [systemctl reload nginx], check: [] } ] } }",
            "target: { exec: { run: [] } }",
            "mode: converge",
            "trust: { signers: [], approvers: ['*@acme.example', 'a b'] }",
            "trust: { people: { alice: [a@x], bob: [b@x, a@x] } }",
            "trust: { anchor: 3f2c9d1 }",
            "trust: { ssh: { allowedSigners: /srv/web/signers } }",
            "guards: { deleteHalt: { over: 60 } }",
            "guards: { protected: ['/sudoers*', ''] }",
            "guards: { backoff: { initial: 1h }, approvalTtl: 4 hours }",
            "guards: { backoff: { initial: 0s } }",
            "guards: { window: { changes: { 0h: 1, 1week: 2 } } }",
            "guards: { observeFor: 0 cycles }",
            "guards: { observeFor: a while }",
            "drift: { ignore: [ {}, { kind: Deployment, paths: [spec] } ] }",
        ],
        spec,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn messages_about_the_controller() {
    let report = said(
        &[
            "listen: ':8686'",
            "listen: 8686",
            "listen: everywhere",
            "webhooks: { github: {}, bitbucket: { secretFile: x } }",
            "api: { tokenFile: a, freezeSecretFile: ./a }",
            "forges: [ { kind: gitea, tokenFile: t }, { kind: github }, { kind: gitlab, url: 'http://git.example.com', tokenFile: t } ]",
            "forges: [ { kind: gitea, url: 'https://g', app: { id: 1, keyFile: k } }, { kind: gitub, tokenFile: t } ]",
            "notify: [ { webhook: { url: 'ftp://x' }, on: [] }, { on: [halts] } ]",
            "fleet: { change: { percent: 300 } }",
            "stateDir: ''",
        ],
        controller,
    );
    insta::assert_snapshot!(report);
}

#[test]
fn the_published_schema_describes_the_documents() {
    let schema = schema();
    assert_eq!(schema["oneOf"].as_array().unwrap().len(), 2);
    let guards = &schema["$defs"]["Guards"]["properties"];
    assert!(guards["deleteHalt"]["description"].is_string());
    let text = schema.to_string();
    assert!(!text.contains("\"null\""), "nothing may be written as null");
    for reference in text.split("\"$ref\":\"#/$defs/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schema["$defs"].get(name).is_some(), "{name} is referred to and not defined");
    }
}
