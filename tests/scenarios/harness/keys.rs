//! The keys of named people, made once and shared by every world.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Everybody who appears. `alice`, `bob`, `carol` and `dave` are trusted, `erin`'s key has expired, nobody knows `mallory`.
pub const PEOPLE: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "mallory"];

/// Returns the folder of the private keys, which are made by ssh-keygen when they are first asked for.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let done = base.join("scenario-keys");
        if done.is_dir() {
            return done;
        }
        // Made beside and renamed, so that a second test process finds either nothing or all of them.
        let fresh = tempfile::tempdir_in(base).expect("the build's temporary folder is writable");
        for who in PEOPLE {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", &address(who), "-f"])
                .arg(fresh.path().join(who))
                .status()
                .expect("ssh-keygen runs");
            assert!(made.success(), "ssh-keygen failed for {who}");
        }
        if fs::rename(fresh.path(), &done).is_ok() {
            let _ = fresh.keep();
        }
        assert!(done.join("mallory.pub").exists(), "no keys at {}", done.display());
        done
    })
}

/// Returns somebody's address, which is also their principal.
pub fn address(who: &str) -> String {
    format!("{who}@example.org")
}

/// Returns the private key's file.
pub fn private(who: &str) -> PathBuf {
    folder().join(who)
}

/// Returns the public key as `ssh-ed25519 AAAA…`, without a comment.
pub fn public(who: &str) -> String {
    let line = fs::read_to_string(folder().join(format!("{who}.pub"))).expect("the public key is readable");
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns the allowed_signers text that every world starts with.
pub fn allowed_signers() -> String {
    let mut text = String::from("# who may sign\n");
    for who in ["alice", "bob", "carol", "dave"] {
        text += &format!("{} namespaces=\"git\" {}\n", address(who), public(who));
    }
    text += &format!("{} valid-before=\"20240101\" {}\n", address("erin"), public("erin"));
    text
}
