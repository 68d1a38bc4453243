//! Against real ssh-keygen, gpg and git.

#[cfg(feature = "openpgp")]
mod gnupg;
mod openssh;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;
use crate::core::commit::{Grant, Scheme};

/// A directory with keys in it.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns a command that sees nothing of whoever runs the tests.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.dir.path()).env("GNUPGHOME", self.dir.path()).env("TZ", "UTC");
        command.env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Vec<u8> {
        let done = self.command(program).args(args).output().unwrap();
        assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    /// Loads `allowed_signers`, `revocations` and `keyring`, where they are there.
    fn keys(&self) -> Keys {
        self.load().unwrap()
    }

    fn load(&self) -> Result<Keys, KeysError> {
        let there = |name: &str| Some(self.path(name)).filter(|path| path.exists());
        Keys::load(&KeyFiles {
            allowed_signers: there("allowed_signers"),
            revocations: there("revocations"),
            keyring: there("keyring"),
        })
    }

    /// Makes a signed commit, and returns what was signed and the signature.
    fn commit(&self, config: &[&str]) -> (Vec<u8>, Vec<u8>) {
        self.run("git", &["init", "-q", "repo"]);
        let config: Vec<&str> = config.iter().flat_map(|set| ["-c", set]).collect();
        let identity = ["-c", "user.name=Alice", "-c", "user.email=alice@x"];
        let commit = ["-C", "repo", "commit", "-q", "--allow-empty", "-S", "-m", "subject"];
        self.run("git", &[&identity[..], &config, &commit].concat());
        taken_apart(&self.run("git", &["-C", "repo", "cat-file", "commit", "HEAD"]))
    }
}

fn taken_apart(raw: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let text = std::str::from_utf8(raw).unwrap();
    let from = text.find("gpgsig ").unwrap();
    let to = text[from..].match_indices('\n').find(|(at, _)| text.as_bytes()[from + at + 1] != b' ').unwrap().0;
    let signature = text[from + "gpgsig ".len()..=from + to].replace("\n ", "\n");
    ([&text[..from], &text[from + to + 1..]].concat().into_bytes(), signature.into_bytes())
}

fn why(signature: Signature) -> String {
    match signature {
        Signature::Bad { why } => why.to_string(),
        other => panic!("not bad: {other:?}"),
    }
}

fn grants(signature: Signature) -> Vec<Grant> {
    match signature {
        Signature::Good { grants, revocation: Revocation::None, .. } => grants,
        other => panic!("not good: {other:?}"),
    }
}

fn revocation(signature: Signature) -> Revocation {
    match signature {
        Signature::Good { revocation, .. } => revocation,
        other => panic!("not good: {other:?}"),
    }
}

#[test]
fn what_is_no_known_kind_of_signature_is_bad() {
    let keys = Keys::default();
    assert!(why(keys.check(b"x", b"-----BEGIN SIGNED MESSAGE-----\n")).contains("X.509"));
    assert!(why(keys.check(b"x", b"")).contains("neither"));
    assert!(why(keys.check(b"x", b"-----BEGIN SSH SIGNATURE-----\nAAAA\n")).contains("cannot be read"));
    assert!(why(keys.check(b"x", b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n")).contains("OpenPGP"));
}

#[test]
fn a_configured_file_that_is_not_there_is_an_error() {
    let lab = Lab::new();
    for files in [
        KeyFiles { allowed_signers: Some(lab.path("none")), ..KeyFiles::default() },
        KeyFiles { keyring: Some(lab.path("none")), ..KeyFiles::default() },
    ] {
        assert!(matches!(Keys::load(&files), Err(KeysError::Read { .. })));
    }
    // A list of revocations is not: nothing may be concluded, and the rest goes on.
    let files = KeyFiles { revocations: Some(lab.path("none")), ..KeyFiles::default() };
    assert!(Keys::load(&files).unwrap().revocations_unreadable().unwrap().contains("none"));
}
