//! One application's document.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::guards::{RATE, drift, guards};
use super::source::source;
use super::{Scope, is_label};
use crate::config::raw::{
    ApplicationDocument, ApplicationSpec, Metadata, RawDirectory, RawExec, RawFreeze, RawFreezeFields, RawKubernetes,
    RawMatch, RawMode, RawOpenpgpTrust, RawReload, RawSshTrust, RawTarget, RawTrust, RawVerify,
};
use crate::config::validated::{
    Application, DirectoryTarget, ExecTarget, Freeze, KubernetesTarget, Origin, Reload, Target, Trust, TrustFiles,
};
use crate::core::commit::CommitId;
use crate::core::guards::{Guards, Match, Mode, TrustPolicy, Verify};

/// Half a minute: a reload that takes longer is stuck more often than slow, and it holds up the batch.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A minute: an observation of a large target takes seconds.
const EXEC_TIMEOUT: Duration = Duration::from_secs(60);

/// Validates an application's document; `None` if something that it needs was found missing or wrong.
pub(in crate::config) fn application(
    scope: &Scope<'_>,
    raw: &ApplicationDocument,
    origin: Origin,
) -> Option<Application> {
    let ApplicationDocument { api_version: _, kind: _, metadata, spec } = raw;
    let name = metadata.as_ref().and_then(|raw| name(&scope.key("metadata"), raw));
    let scope = scope.key("spec");
    let ApplicationSpec {
        mode,
        interval,
        freeze,
        source: from,
        trust: who,
        target: to,
        guards: raw_guards,
        drift: raw_drift,
    } = spec.as_ref()?;
    let defaults = Guards::default();
    let base = Guards {
        mode: mode.map_or(defaults.mode, |mode| match mode {
            RawMode::Observe => Mode::Observe,
            RawMode::Converge => Mode::Converge,
        }),
        interval: scope.nonzero_or("interval", interval.as_ref(), defaults.interval),
        drift: raw_drift.as_ref().map_or_else(Default::default, |raw| drift(&scope.key("drift"), raw)),
        ..defaults
    };
    let mut guards = match raw_guards {
        Some(raw) => guards(&scope.key("guards"), raw, base),
        None => base,
    };
    let trust = who.as_ref().map(|raw| trust(&scope.key("trust"), raw)).unwrap_or_default();
    if guards.mode == Mode::Converge && trust.files.allowed_signers.is_none() && trust.files.keyring.is_none() {
        scope.key("trust").error(
            "names no keys, so no commit could ever verify and nothing would converge",
            "write `trust: {ssh: {allowedSigners: FILE}}` or `trust: {openpgp: {keyring: FILE}}`",
        );
    }
    let freeze = freeze.as_ref().and_then(freeze_of);
    let source = from.as_ref().and_then(|raw| source(&scope.key("source"), raw));
    let objects = to.as_ref().is_some_and(|to| to.kubernetes.is_some());
    if let Some(source) =
        source.as_ref().filter(|source| !objects && (source.render.as_str() != "plain" || source.sops.is_some()))
    {
        let what = format!(
            "{} renders objects of a cluster",
            if source.sops.is_some() { "sops" } else { source.render.as_str() }
        );
        scope.key("source").key("render").error(what, "write `plain: {}` alone for this target");
    }
    let target = to.as_ref().and_then(|raw| target(&scope.key("target"), raw));
    match &target {
        Some(Target::Directory(directory)) => {
            guards.spare_undeclared = !directory.exclusive;
            identities_of_a_directory(&scope, &guards);
        }
        Some(Target::Kubernetes(_) | Target::Exec(_)) => guards.rate = guards.rate.or(Some(Some(RATE))),
        None => {}
    }
    Some(Application { name: name?, source: source?, trust, target: target?, guards, freeze, origin })
}

fn name(scope: &Scope<'_>, raw: &Metadata) -> Option<Arc<str>> {
    let Metadata { name, namespace: _, labels: _, annotations: _ } = raw;
    let name = name.as_deref()?;
    if !is_label(name) {
        scope.key("name").error(
            format!("`{name}` is no DNS label"),
            "write lower case letters, digits and hyphens, at most 63, beginning and ending with a letter or digit",
        );
        return None;
    }
    Some(name.into())
}

/// What an identity in a directory cannot look like is a mistake, not a pattern that never matches.
fn identities_of_a_directory(scope: &Scope<'_>, guards: &Guards) {
    let protected = scope.key("guards").key("protected");
    for (at, glob) in guards.protected.iter().enumerate().filter(|(_, glob)| glob.starts_with('/')) {
        let below = glob.trim_start_matches('/');
        protected.index(at).error(
            format!("`{glob}` would never match: a file is named by its path below the target's root"),
            format!("write it without the root and the slash, such as `{below}`"),
        );
    }
    let ignore = scope.key("drift").key("ignore");
    for (at, ignored) in guards.drift.ignore.iter().enumerate() {
        if ignored.kind.is_some() {
            ignore
                .index(at)
                .key("kind")
                .error("files have no kind", "write `resource` with a glob over paths below the root");
        }
        if ignored.resource.as_ref().is_some_and(|glob| glob.starts_with('/')) {
            ignore.index(at).key("resource").error(
                "would never match: a file is named by its path below the target's root",
                "write it without the root and the slash",
            );
        }
    }
}

/// Reads a freeze. What cannot be read of its end freezes without one, saying why (`GUARDS.md` 4): a mistake in it must
/// not keep the freeze from taking effect.
fn freeze_of(raw: &RawFreeze) -> Option<Freeze> {
    let RawFreezeFields { reason, owner, until } = match raw {
        RawFreeze::Flag(false) => return None,
        RawFreeze::Flag(true) => return Some(Freeze::default()),
        RawFreeze::Told(fields) => fields,
    };
    let (until, note) = match until.as_deref().map(|text| (text, text.parse::<Timestamp>())) {
        None => (None, None),
        Some((_, Ok(until))) => (Some(until), None),
        Some((text, Err(_))) => {
            (None, Some(format!("`until: {text}` is no RFC 3339 time with an offset, so this does not expire")))
        }
    };
    let reason = match (reason.clone(), note) {
        (Some(reason), Some(note)) => Some(format!("{reason} ({note})")),
        (reason, note) => reason.or(note),
    };
    Some(Freeze { reason, owner: owner.clone(), until })
}

fn trust(scope: &Scope<'_>, raw: &RawTrust) -> Trust {
    let RawTrust { verify, matches, anchor, ssh, openpgp, signers, approvers, people, service_merges } = raw;
    let ssh_scope = scope.key("ssh");
    let (allowed_signers, revocations) = match ssh {
        Some(RawSshTrust { allowed_signers, revocations }) => (
            ssh_scope.path_of("allowedSigners", allowed_signers.as_ref()),
            ssh_scope.path_of("revocations", revocations.as_ref()),
        ),
        None => (None, None),
    };
    let keyring = openpgp
        .as_ref()
        .and_then(|RawOpenpgpTrust { keyring }| scope.key("openpgp").path_of("keyring", keyring.as_ref()));
    if signers.as_ref().is_some_and(Vec::is_empty) {
        scope.key("signers").error(
            "is an empty list, which could mean nobody or everybody",
            "list who may sign, or take the line out to let every principal of the files sign",
        );
    }
    if service_merges == &Some(true) && matches!(verify, Some(RawVerify::Path)) {
        scope.key("serviceMerges").error(
            "covers only what was merged onto commits that all verify, and with `verify: path` not all do",
            "write `verify: repository`, or take the line out",
        );
    }
    let policy = TrustPolicy {
        verify: verify.map_or_else(Default::default, |raw| match raw {
            RawVerify::Repository => Verify::Repository,
            RawVerify::Path => Verify::Path,
        }),
        match_: matches.map_or_else(Default::default, |raw| match raw {
            RawMatch::Signer => Match::Signer,
            RawMatch::Committer => Match::Committer,
        }),
        signers: principals(&scope.key("signers"), signers.as_deref().unwrap_or_default()),
        approvers: principals(&scope.key("approvers"), approvers.as_deref().unwrap_or_default()),
        people: people_of(&scope.key("people"), people.as_ref()),
        service_merges: service_merges.unwrap_or(false),
        anchor: anchor.as_ref().and_then(|text| commit(&scope.key("anchor"), text)),
    };
    Trust { policy, files: TrustFiles { allowed_signers, revocations, keyring } }
}

fn principals(scope: &Scope<'_>, written: &[String]) -> Vec<Arc<str>> {
    for (at, principal) in written.iter().enumerate() {
        if principal.is_empty() || principal.contains(|c: char| c.is_whitespace() || c == ',') {
            scope
                .index(at)
                .error(format!("{principal:?} is no principal"), "write one address, such as `alice@acme.example`");
        } else if principal.contains(['*', '?']) {
            scope.index(at).error(
                format!("`{principal}` is a pattern, and people are listed one by one"),
                "write whole addresses; patterns belong into the allowed signers file",
            );
        }
    }
    written.iter().map(|principal| principal.as_str().into()).collect()
}

fn people_of(scope: &Scope<'_>, raw: Option<&BTreeMap<String, Vec<String>>>) -> BTreeMap<Arc<str>, Vec<Arc<str>>> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let mut people = BTreeMap::new();
    for (person, names) in raw.into_iter().flatten() {
        let scope = scope.key(person);
        for (at, name) in names.iter().enumerate() {
            if let Some(other) = owners.insert(name, person).filter(|other| other != person) {
                scope.index(at).error(
                    format!("`{name}` is `{other}` already"),
                    "write each address and key under one person: approvals compare people",
                );
            }
        }
        people.insert(person.as_str().into(), principals(&scope, names));
    }
    people
}

fn commit(scope: &Scope<'_>, text: &str) -> Option<CommitId> {
    let full = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !full {
        scope.error(format!("`{text}` is no full commit id"), "write all 40 digits, as `git rev-parse` prints them");
        return None;
    }
    Some(CommitId::new(text.to_ascii_lowercase()))
}

fn target(scope: &Scope<'_>, raw: &RawTarget) -> Option<Target> {
    match raw {
        RawTarget { directory: Some(raw), kubernetes: None, exec: None } => directory(&scope.key("directory"), raw),
        RawTarget { directory: None, kubernetes: Some(raw), exec: None } => {
            Some(kubernetes(&scope.key("kubernetes"), raw))
        }
        RawTarget { directory: None, kubernetes: None, exec: Some(RawExec { run, timeout }) } => {
            let scope = scope.key("exec");
            let run = run.as_ref().map(|words| scope.key("run").command(words));
            let timeout = scope.nonzero_or("timeout", timeout.as_ref(), EXEC_TIMEOUT);
            Some(Target::Exec(ExecTarget { run: run?, timeout }))
        }
        RawTarget { directory, kubernetes, exec } => {
            let named =
                [directory.is_some(), kubernetes.is_some(), exec.is_some()].into_iter().filter(|named| *named).count();
            let what =
                if named == 0 { "names nothing to keep in sync" } else { "names more than one thing to keep in sync" };
            scope.error(what, "write exactly one of `directory`, `kubernetes` and `exec`");
            None
        }
    }
}

fn directory(scope: &Scope<'_>, raw: &RawDirectory) -> Option<Target> {
    let RawDirectory { root, exclusive, reload } = raw;
    let reload_scope = scope.key("reload");
    let reload = reload.iter().flatten().enumerate().map(|(at, raw)| reload_of(&reload_scope.index(at), raw)).collect();
    let root = scope.path_of("root", root.as_ref())?;
    if root.parent().is_none() {
        scope.key("root").error("is the whole file system", "write the directory that is to be kept in sync");
    }
    Some(Target::Directory(DirectoryTarget { root, exclusive: exclusive.unwrap_or(false), reload }))
}

fn reload_of(scope: &Scope<'_>, raw: &RawReload) -> Reload {
    let RawReload { matches, run, check, timeout } = raw;
    let command = |name: &str, words: &Option<Vec<String>>| {
        words.as_ref().map(|words| scope.key(name).command(words)).unwrap_or_default()
    };
    let matches = matches.as_deref().unwrap_or("**");
    if matches.trim().is_empty() {
        scope.key("match").error("matches nothing", "write a glob such as `*.conf`, or take the line out");
    }
    Reload {
        matches: matches.into(),
        run: command("run", run),
        check: command("check", check),
        timeout: scope.nonzero_or("timeout", timeout.as_ref(), RELOAD_TIMEOUT),
    }
}

fn kubernetes(scope: &Scope<'_>, raw: &RawKubernetes) -> Target {
    let RawKubernetes { kubeconfig, context, namespace, service_account } = raw;
    if context.is_some() && kubeconfig.is_none() {
        scope
            .key("context")
            .error("names a context of no kubeconfig", "write `kubeconfig` too, or neither: the pod's own");
    }
    let label = |name: &str| {
        let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with('-') && !name.ends_with('-')
    };
    if let Some(name) = namespace.as_deref().filter(|name| !label(name)) {
        scope.key("namespace").error(
            format!("`{name}` is no name of a namespace"),
            "write lower-case letters, digits and `-`, at most 63",
        );
    }
    if let Some(name) = service_account.as_deref() {
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            scope
                .key("serviceAccount")
                .error(format!("`{name}` is no service account"), "write its name, or `NAMESPACE/NAME`");
        }
    }
    Target::Kubernetes(KubernetesTarget {
        kubeconfig: scope.path_of("kubeconfig", kubeconfig.as_ref()),
        context: context.clone(),
        namespace: namespace.clone(),
        service_account: service_account.clone(),
    })
}
