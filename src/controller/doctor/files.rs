//! Files that the configuration names: there, readable, and nobody else's.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Notes;
use crate::config::{Application, Config, Credentials, ForgeAuth};

/// What a file is for, which says who else may have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whoever reads it can act as us.
    Secret,
    /// A private key of ssh, which refuses one that anybody else may read.
    SshKey,
    /// Whoever writes it decides whom we trust.
    Trusted,
}

/// Checks the files of the controller.
pub(super) fn controller(config: &Config, notes: &mut Notes<'_>) {
    let controller = &config.controller;
    let hooks = [
        ("webhooks.github.secretFile", &controller.webhooks.github),
        ("webhooks.gitlab.secretFile", &controller.webhooks.gitlab),
        ("webhooks.gitea.secretFile", &controller.webhooks.gitea),
        ("api.tokenFile", &controller.api.token_file),
        ("api.freezeSecretFile", &controller.api.freeze_secret_file),
    ];
    let hooks = hooks.into_iter().filter_map(|(field, path)| path.as_deref().map(|path| (field, path)));
    let forges = controller.forges.iter().map(|forge| match &forge.auth {
        ForgeAuth::Token(file) => ("forges.tokenFile", file.as_path()),
        ForgeAuth::App { key_file, .. } => ("forges.app.keyFile", key_file.as_path()),
    });
    let alerts = controller.notify.iter().filter_map(|to| to.secret_file.as_deref());
    for (field, path) in hooks.chain(forges).chain(alerts.map(|path| ("notify.webhook.secretFile", path))) {
        file(field, path, Kind::Secret, notes);
    }
}

/// Checks the files that an application's repository is reached with.
pub(super) fn source(app: &Application, notes: &mut Notes<'_>) {
    match &app.source.credentials {
        Credentials::None => {}
        Credentials::Token(path) => file("source.credentials.tokenFile", path, Kind::Secret, notes),
        Credentials::Basic { username_file, password_file } => {
            file("source.credentials.usernameFile", username_file, Kind::Trusted, notes);
            file("source.credentials.passwordFile", password_file, Kind::Secret, notes);
        }
        Credentials::Ssh { key_file, known_hosts_file } => {
            file("source.credentials.sshKeyFile", key_file, Kind::SshKey, notes);
            file("source.credentials.knownHostsFile", known_hosts_file, Kind::Trusted, notes);
        }
    }
    if let Some(path) = &app.source.ca_file {
        file("source.caFile", path, Kind::Trusted, notes);
    }
}

/// Checks a file that says whom we trust.
pub(super) fn trusted(field: &str, path: &Path, notes: &mut Notes<'_>) {
    file(field, path, Kind::Trusted, notes);
}

fn file(field: &str, path: &Path, kind: Kind, notes: &mut Notes<'_>) {
    let place = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return notes.problem(place, format!("{field}: {error}"), format!("make it, or correct `{field}`"));
        }
    };
    if !metadata.is_file() {
        return notes.problem(place, format!("{field}: it is no file"), format!("correct `{field}`"));
    }
    let mut some = [0; 1];
    match File::open(path).and_then(|mut file| file.read(&mut some)) {
        Err(error) => notes.problem(
            place,
            format!("{field}: {error}"),
            format!("let the user of holdfast read it: {}", as_whom()),
        ),
        Ok(0) => notes.problem(place, format!("{field}: it is empty"), "write what it is for into it"),
        Ok(_) => match exposed(path, &metadata, kind) {
            Some((message, advice)) => notes.problem(place, format!("{field}: {message}"), advice),
            None => notes.ok(place, format!("{field}: readable, mode {:04o}", metadata.mode() & 0o7777)),
        },
    }
}

/// Says who else may have a file who should not.
fn exposed(path: &Path, metadata: &Metadata, kind: Kind) -> Option<(String, String)> {
    let mode = metadata.mode();
    let bits = match kind {
        Kind::Secret => 0o006,
        Kind::SshKey if metadata.uid() == rustix::process::geteuid().as_raw() => 0o077,
        Kind::SshKey => 0o006,
        Kind::Trusted => 0o002,
    };
    if mode & bits == 0 {
        return None;
    }
    let shown = path.display();
    let (what, mend) = match kind {
        Kind::Secret => ("everybody on this machine may read it", format!("chmod o-rwx {shown}")),
        Kind::SshKey => ("others may read it, and ssh refuses such a key", format!("chmod 600 {shown}")),
        Kind::Trusted => {
            ("everybody on this machine may write it, and so decide whom holdfast trusts", format!("chmod o-w {shown}"))
        }
    };
    Some((format!("{what} (mode {:04o})", mode & 0o7777), mend))
}

/// Names the user that this runs as, since that is whom permissions are about.
pub(super) fn as_whom() -> String {
    format!("this runs as user {}", rustix::process::geteuid().as_raw())
}
