//! Secrets in files, read again when they change; several lines are several secrets, while one is being replaced.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

/// 64 KiB: far more than any list of secrets, and a bound for a path that names something else.
const LARGEST: u64 = 64 * 1024;

/// A file with one secret a line.
///
/// It is read on use, and kept until the file is another one: what a person replaces holds at the next request, and what cannot be
/// read matches nothing.
pub struct SecretFile {
    path: PathBuf,
    /// Reads one line.
    line: fn(&str) -> Option<Secret>,
    kept: Mutex<Option<(Stamp, Arc<[Secret]>)>>,
}

/// One line of a file: a secret, and whom it was given to.
#[derive(Clone)]
pub struct Secret {
    /// The principal before the token, if the line has two words.
    pub owner: Option<String>,
    value: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 6]);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let whole = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
        Self([
            whole(metadata.dev()),
            whole(metadata.ino()),
            whole(metadata.size()),
            metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec()),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ])
    }
}

impl SecretFile {
    /// Names a file of secrets, each a whole line; it is read when it is first used.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), line: secret, kept: Mutex::new(None) }
    }

    /// Names a file of tokens, each after the principal that it was given to, or alone.
    pub fn tokens(path: &Path) -> Self {
        Self { line: token, ..Self::new(path) }
    }

    /// Returns the secrets as they are now.
    ///
    /// # Errors
    /// Those of reading, and a file without a secret.
    pub fn read(&self) -> io::Result<Arc<[Secret]>> {
        let file = File::open(&self.path)?;
        let stamp = Stamp::of(&file.metadata()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, secrets)) = &*kept
            && *known == stamp
        {
            return Ok(secrets.clone());
        }
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text)?;
        let secrets: Arc<[Secret]> = text.lines().filter_map(self.line).collect();
        if secrets.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file holds no secret"));
        }
        *kept = Some((stamp, secrets.clone()));
        Ok(secrets)
    }

    /// Returns the secrets, none where they cannot be read; why not goes to the log.
    pub fn current(&self) -> Arc<[Secret]> {
        self.read().unwrap_or_else(|error| {
            tracing::error!(file = %self.path.display(), %error, "a secret cannot be read: what needs it is refused");
            Arc::from([])
        })
    }
}

/// Reads a line that is a secret as a whole; hosting services let people write what they like.
fn secret(text: &str) -> Option<Secret> {
    let text = text.trim();
    (!text.is_empty()).then(|| Secret { owner: None, value: text.to_owned() })
}

/// Reads a line that is a token, or a principal and a token.
fn token(text: &str) -> Option<Secret> {
    match text.trim().split_once(char::is_whitespace) {
        None => secret(text),
        Some((owner, value)) => Some(Secret { owner: Some(owner.to_owned()), value: value.trim_start().to_owned() }),
    }
}

impl Secret {
    /// Compares in constant time; only the length may be told.
    pub fn equals(&self, given: &str) -> Choice {
        self.value.as_bytes().ct_eq(given.as_bytes())
    }

    /// Checks an HMAC-SHA256 in constant time.
    pub fn signed(&self, parts: &[&[u8]], signature: &[u8]) -> Choice {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.value.as_bytes()) else { return Choice::from(0) };
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().ct_eq(signature)
    }
}

/// Returns the secret that a check holds for, having checked all of them.
pub fn matching(secrets: &[Secret], check: impl Fn(&Secret) -> Choice) -> Option<&Secret> {
    let mut found = None;
    for secret in secrets {
        if bool::from(check(secret)) {
            found = Some(secret);
        }
    }
    found
}

/// Reads `sha256=` and 64 hexadecimal digits; the prefix may be missing where a service leaves it out.
pub fn signature(header: &str) -> Option<[u8; 32]> {
    let digits = header.trim();
    let digits = digits.strip_prefix("sha256=").unwrap_or(digits);
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let file = SecretFile::tokens(&path);
        assert!(file.read().is_err(), "it is not there");
        std::fs::write(&path, "old\n\n  new  \nbob@acme.example   token-of-bob\r\n").unwrap();
        let secrets = file.read().unwrap();
        let owners: Vec<Option<&str>> = secrets.iter().map(|secret| secret.owner.as_deref()).collect();
        assert_eq!(owners, [None, None, Some("bob@acme.example")]);
        for given in ["old", "new", "token-of-bob"] {
            assert!(matching(&secrets, |secret| secret.equals(given)).is_some(), "{given}");
        }
        for given in ["", "ol", "bob@acme.example   token-of-bob", "bob@acme.example"] {
            assert!(matching(&secrets, |secret| secret.equals(given)).is_none(), "{given}");
        }
        // Replaced as secrets are: by a rename.
        std::fs::write(dir.path().join("next"), "new\n").unwrap();
        std::fs::rename(dir.path().join("next"), &path).unwrap();
        assert!(matching(&file.read().unwrap(), |secret| secret.equals("old")).is_none());
        std::fs::write(dir.path().join("next"), "\n").unwrap();
        std::fs::rename(dir.path().join("next"), &path).unwrap();
        assert!(file.read().is_err() && file.current().is_empty(), "an empty file lets nobody in");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = token("owner hunter2").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret { owner: Some(\"owner\"), .. }");
    }

    #[test]
    fn only_tokens_have_owners() {
        assert_eq!(token(" bob  t ").map(|token| (token.owner, token.value)), Some((Some("bob".into()), "t".into())));
        assert_eq!(
            secret(" a few words ").map(|secret| (secret.owner, secret.value)),
            Some((None, "a few words".into()))
        );
        assert!(token(" ").is_none() && secret("").is_none());
    }

    #[test]
    fn signatures_are_those_of_the_rfc() {
        // RFC 4231, test case 2, with the data split as `timestamp + "." + body` is.
        let secret = Secret { owner: None, value: "Jefe".to_owned() };
        let known = signature("sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843").unwrap();
        assert!(bool::from(secret.signed(&[b"what do ya want ", b"for nothing?"], &known)));
        assert!(!bool::from(secret.signed(&[b"what do ya want ", b"for something?"], &known)));
        assert!(!bool::from(secret.signed(&[b"what do ya want ", b"for nothing?"], &known[..31])));
        for wrong in ["", "sha256=", "sha1=5bdcc146", "sha256=zz", &format!("sha256={}", "0".repeat(66))] {
            assert_eq!(signature(wrong), None, "{wrong}");
        }
    }
}
