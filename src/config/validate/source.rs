//! Where desired state comes from: repository, branch, path, credentials.

use std::path::PathBuf;
use std::time::Duration;

use super::{Scope, absolute, host_of, is_loopback, without_password};
use crate::config::raw::{RawCredentials, RawHelm, RawKustomize, RawRender, RawSops, RawSource};
use crate::config::validated::{Credentials, Helm, Render, Sops, Source, Transport};

/// Two minutes: a fetch of a large range over a slow line takes tens of seconds, and a hung one must end within an interval.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn source(scope: &Scope<'_>, raw: &RawSource) -> Option<Source> {
    let RawSource { url, branch, path, credentials, render, proxy, ca_file, timeout } = raw;
    let branch = branch.as_deref().unwrap_or("main");
    check_branch(&scope.key("branch"), branch);
    let path = clean_path(&scope.key("path"), path.as_deref().unwrap_or("."));
    let (render, sops) = render.as_ref().map(|raw| check_render(&scope.key("render"), raw)).unwrap_or_default();
    let timeout = scope.nonzero_or("timeout", timeout.as_ref(), FETCH_TIMEOUT);
    let ca_file = scope.path_of("caFile", ca_file.as_ref());
    let (url, transport) = repository(&scope.key("url"), url.as_deref()?);
    for (name, given) in [("proxy", proxy.is_some()), ("caFile", ca_file.is_some())] {
        if given && transport != Transport::Http {
            scope.key(name).error("is for repositories on `https`", "take it out");
        }
    }
    if let Some(proxy) = proxy {
        check_proxy(&scope.key("proxy"), proxy);
    }
    let credentials =
        credentials.as_ref().map(|raw| check_credentials(&scope.key("credentials"), raw, &url, transport));
    Some(Source {
        url,
        transport,
        branch: branch.to_owned(),
        path,
        credentials: credentials.unwrap_or_default(),
        proxy: proxy.clone(),
        ca_file,
        timeout,
        render,
        sops,
    })
}

/// Tells how a repository is reached, and makes a local path absolute.
fn repository(scope: &Scope<'_>, url: &str) -> (String, Transport) {
    if url.is_empty() || url.starts_with('-') || url.contains(char::is_control) {
        scope.error(format!("{url:?} is no repository"), "write `https://…`, `ssh://…`, `user@host:path` or a path");
        return (url.to_owned(), Transport::Local);
    }
    if let Some(path) = url.strip_prefix("file://") {
        return (absolute(scope.base, path).to_string_lossy().into_owned(), Transport::Local);
    }
    match url.split_once("://") {
        Some(("https" | "http", _)) => (scope.web_address(url, false), Transport::Http),
        Some(("ssh" | "git+ssh" | "ssh+git", rest)) => {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            check_ssh(scope, url, authority, path);
            (url.to_owned(), Transport::Ssh)
        }
        Some((scheme, _)) => {
            scope.error(
                format!("`{}`: repositories are not read over `{scheme}`", without_password(url)),
                "write `https://…`, `ssh://…` or a path",
            );
            (url.to_owned(), Transport::Local)
        }
        None => match url.split_once(':') {
            // As Git has it: a colon before the first slash makes it a host.
            Some((authority, path)) if !authority.contains('/') => {
                check_ssh(scope, url, authority, path);
                (url.to_owned(), Transport::Ssh)
            }
            _ => (scope.path(url).to_string_lossy().into_owned(), Transport::Local),
        },
    }
}

fn check_ssh(scope: &Scope<'_>, url: &str, authority: &str, path: &str) {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        scope.error("holds a password", "take it out, and name a key with `credentials.sshKeyFile`");
    // A host that begins with a hyphen would be an option of the ssh program.
    } else if host.is_empty() || host.starts_with('-') || user.starts_with('-') || path.is_empty() {
        scope.error(format!("`{url}` is no repository"), "write `ssh://user@host/path` or `user@host:path`");
    }
}

fn check_proxy(scope: &Scope<'_>, proxy: &str) {
    let known = ["http://", "https://", "socks5://", "socks5h://"].iter().any(|scheme| proxy.starts_with(scheme));
    if !known {
        scope.error(format!("`{}` is no proxy", without_password(proxy)), "write `http://host:port`");
    }
}

/// Checks a branch's name by Git's own rules (`git check-ref-format`).
fn check_branch(scope: &Scope<'_>, branch: &str) {
    if let Some(short) = branch.strip_prefix("refs/heads/") {
        scope.error("is a full reference", format!("write `{short}`"));
        return;
    }
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let part_wrong = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if branch.starts_with('-')
        || branch.contains("..")
        || branch.contains("@{")
        || branch.ends_with('.')
        || branch.contains(forbidden)
        || branch.split('/').any(part_wrong)
    {
        scope.error(format!("`{branch}` is no branch's name"), "write it as `git branch` shows it");
    }
}

/// Cleans a path below the repository's root; empty is the root.
fn clean_path(scope: &Scope<'_>, path: &str) -> String {
    if path.starts_with('/') {
        scope.error(format!("`{path}` is absolute"), "write a path below the repository's root, such as `hosts/web`");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        scope
            .error(format!("`{path}` leaves the repository"), "write a path below the repository's root, without `..`");
    } else if parts.first().is_some_and(|part| part.eq_ignore_ascii_case(".git")) {
        scope.error(format!("`{path}` is Git's own"), "write a path that is part of the tree");
    }
    parts.join("/")
}

fn check_render(scope: &Scope<'_>, raw: &RawRender) -> (Render, Option<Sops>) {
    let RawRender { plain, kustomize, helm, sops } = raw;
    let given = [plain.is_some(), kustomize.is_some(), helm.is_some()].into_iter().filter(|given| *given).count();
    if given != 1 {
        scope.error(
            "says not one renderer",
            "write exactly one of `plain: {}`, `kustomize: {}` and `helm: {}`, or take it out",
        );
    }
    let render = match (kustomize, helm) {
        (Some(RawKustomize { program, unconfined }), _) => {
            let program = scope.key("kustomize").path_of("program", program.as_ref());
            Render::Kustomize { program, unconfined: unconfined.unwrap_or(false) }
        }
        (None, Some(raw)) => Render::Helm(check_helm(&scope.key("helm"), raw)),
        (None, None) => Render::Plain,
    };
    let sops = sops.as_ref().and_then(|RawSops { program, unconfined, age_key_file }| {
        let scope = scope.key("sops");
        let program = scope.path_of("program", program.as_ref());
        Some(Sops {
            program,
            unconfined: unconfined.unwrap_or(false),
            age_key_file: scope.path_of("ageKeyFile", age_key_file.as_ref())?,
        })
    });
    (render, sops)
}

fn check_helm(scope: &Scope<'_>, raw: &RawHelm) -> Helm {
    let RawHelm { program, unconfined, release_name, values_files, include_crds, kube_version } = raw;
    for file in values_files.iter().flatten() {
        if file.starts_with('/') || file.contains("://") {
            let scope = scope.key("valuesFiles");
            scope.error(format!("{file:?} is not in the repository"), "write paths relative to the chart");
        }
    }
    let option = |text: &Option<String>| text.as_deref().is_some_and(|text| text.starts_with('-') || text.is_empty());
    if option(release_name) {
        scope.key("releaseName").error("is no name", "write lower case letters, digits and hyphens");
    }
    if option(kube_version) {
        scope.key("kubeVersion").error("is no version", "write one such as `1.36.0`");
    }
    Helm {
        program: scope.path_of("program", program.as_ref()),
        unconfined: unconfined.unwrap_or(false),
        release: release_name.clone(),
        values_files: values_files.clone().unwrap_or_default(),
        include_crds: include_crds.unwrap_or(false),
        kube_version: kube_version.clone(),
    }
}

fn check_credentials(scope: &Scope<'_>, raw: &RawCredentials, url: &str, transport: Transport) -> Credentials {
    let RawCredentials { token_file, username_file, password_file, ssh_key_file, known_hosts_file } = raw;
    let path = |name: &str, text: &Option<String>| scope.path_of(name, text.as_ref());
    let files: [Option<PathBuf>; 5] = [
        path("tokenFile", token_file),
        path("usernameFile", username_file),
        path("passwordFile", password_file),
        path("sshKeyFile", ssh_key_file),
        path("knownHostsFile", known_hosts_file),
    ];
    let credentials = match files {
        [Some(token), None, None, None, None] => Credentials::Token(token),
        [None, Some(username_file), Some(password_file), None, None] => {
            Credentials::Basic { username_file, password_file }
        }
        [None, None, None, Some(key_file), Some(known_hosts_file)] => Credentials::Ssh { key_file, known_hosts_file },
        _ => {
            scope.error(
                "are not one way to prove who asks",
                "write `tokenFile`; or `usernameFile` and `passwordFile`; or `sshKeyFile` and `knownHostsFile`",
            );
            return Credentials::None;
        }
    };
    let fits = match (&credentials, transport) {
        // A path asks for nothing; what is written for a server is not in the way of trying a local copy.
        (Credentials::None, _) | (_, Transport::Local) | (Credentials::Ssh { .. }, Transport::Ssh) => true,
        (Credentials::Token(_) | Credentials::Basic { .. }, Transport::Http) => {
            let authority = url.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or(rest));
            if url.starts_with("http://") && !is_loopback(host_of(authority)) {
                scope.error("would be sent unencrypted", "write `https://…` as the source's address");
            }
            true
        }
        (Credentials::Token(_) | Credentials::Basic { .. }, Transport::Ssh)
        | (Credentials::Ssh { .. }, Transport::Http) => false,
    };
    if !fits {
        let (is, wants) = if transport == Transport::Ssh {
            ("reached over ssh", "`sshKeyFile` and `knownHostsFile`")
        } else {
            ("on https", "`tokenFile`, or `usernameFile` and `passwordFile`")
        };
        scope.error(format!("are of another kind than the repository, which is {is}"), format!("write {wants}"));
    }
    credentials
}
