//! Secrets on their way from files to requests: read anew for each, so that one that was replaced holds at once.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::error::ForgeError;

/// 64 KiB: far more than any token or key, and a bound for a path that names something else.
const LARGEST: u64 = 64 * 1024;

/// A secret that shows itself as `(redacted)`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Redacted(String);

impl Redacted {
    pub(super) const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Returns the secret, for a header alone.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Takes the secret out of a message that somebody else wrote.
    pub(super) fn scrub(&self, text: &str) -> String {
        text.replace(&self.0, "(redacted)")
    }
}

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// Reads a token: one line.
pub(super) fn token(path: &Path) -> Result<Redacted, ForgeError> {
    let text = whole(path)?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(unreadable(path, "it is empty"));
    }
    // It becomes a header; where it is wrong does not belong into a message.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unreadable(path, "it has more than one line, or characters that no token has"));
    }
    Ok(Redacted(text.to_owned()))
}

/// Reads a private key, PEM.
pub(super) fn key(path: &Path) -> Result<Redacted, ForgeError> {
    whole(path).map(Redacted)
}

fn whole(path: &Path) -> Result<String, ForgeError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable(path, "it is larger than any secret"));
    }
    String::from_utf8(bytes).map_err(|_| unreadable(path, "it is not UTF-8"))
}

pub(super) fn unreadable(path: &Path, why: &str) -> ForgeError {
    ForgeError::Credentials { path: path.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "sekret-token\n").unwrap();
        let secret = token(&file).unwrap();
        assert_eq!((secret.expose(), format!("{secret:?}")), ("sekret-token", "(redacted)".to_owned()));
        assert_eq!(secret.scrub("bad sekret-token!"), "bad (redacted)!");
        let huge = "x".repeat(70_000);
        for (content, why) in [("", "empty"), ("sekret\nb", "one line"), ("sek ret", "one line"), (&huge, "larger")] {
            std::fs::write(&file, content).unwrap();
            let error = token(&file).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("sekret"), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(token(&file), Err(ForgeError::Credentials { .. })));
    }
}
