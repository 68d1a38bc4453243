//! Secrets on their way from files to a transport: read anew at each fetch, scrubbed from every message.

use std::path::{Path, PathBuf};

use super::fetch::FetchError;
use super::remote::Credentials;

/// A secret that shows itself as `(redacted)`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Redacted(String);

impl Redacted {
    pub(super) const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Returns the secret, for the transport alone.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

/// What a transport needs, with the files read.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    None,
    Basic { user: String, password: Redacted },
    Key { key: PathBuf, known_hosts: PathBuf },
}

impl Identity {
    /// Reads the files of `credentials`.
    pub(super) fn read(credentials: &Credentials) -> Result<Self, FetchError> {
        Ok(match credentials {
            Credentials::None => Self::None,
            // The name is what GitHub documents; GitLab and Gitea take any.
            Credentials::Token { file } => Self::Basic { user: "x-access-token".into(), password: secret(file)? },
            Credentials::Password { username, password } => {
                Self::Basic { user: secret(username)?.expose().into(), password: secret(password)? }
            }
            Credentials::Ssh { key, known_hosts } => {
                for path in [key, known_hosts] {
                    std::fs::File::open(path).map_err(|e| unreadable(path, &e.to_string()))?;
                }
                Self::Key { key: key.clone(), known_hosts: known_hosts.clone() }
            }
        })
    }

    /// Replaces every secret in a message that somebody else wrote.
    pub(super) fn scrub(&self, text: &str) -> String {
        match self {
            Self::Basic { user, password } => {
                let text = text.replace(password.expose(), "(redacted)");
                // A user's name may be the token itself; short names would only damage the message.
                if user.len() >= 16 { text.replace(user.as_str(), "(redacted)") } else { text }
            }
            Self::None | Self::Key { .. } => text.into(),
        }
    }
}

/// A secret of this size is a wrong file.
const SECRET_MAX: u64 = 64 * 1024;

fn secret(path: &Path) -> Result<Redacted, FetchError> {
    let size = std::fs::metadata(path).map_err(|e| unreadable(path, &e.to_string()))?.len();
    if size > SECRET_MAX {
        return Err(unreadable(path, "it is larger than any secret"));
    }
    // Neither the content nor where it is not UTF-8 belongs into a message.
    let text = std::fs::read(path).map_err(|e| unreadable(path, &e.to_string()))?;
    let text = String::from_utf8(text).map_err(|_| unreadable(path, "it is not UTF-8"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(unreadable(path, "it is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(unreadable(path, "it has more than one line, or control characters"));
    }
    Ok(Redacted(text.into()))
}

fn unreadable(path: &Path, why: &str) -> FetchError {
    FetchError::Credentials { path: path.into(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "sekret-token-value\n").unwrap();
        let identity = Identity::read(&Credentials::Token { file: file.clone() }).unwrap();
        assert!(!format!("{identity:?}").contains("sekret"));
        assert_eq!(identity.scrub("bad: sekret-token-value!"), "bad: (redacted)!");
        for (content, why) in [("", "empty"), ("a\nsekret", "more than one line"), ("\u{7}", "control")] {
            std::fs::write(&file, content).unwrap();
            let error = Identity::read(&Credentials::Token { file: file.clone() }).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("sekret"), "{error}");
        }
    }
}
