//! Where a repository is fetched from, as whom, and within which bounds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Names the remote side of a [`super::Mirror`].
#[derive(Clone, Debug)]
pub struct Remote {
    /// `https`, `http`, `ssh` (also `user@host:path`), `file`, or a path. Userinfo is never shown.
    pub url: Url,
    /// The tracked branch, without `refs/heads/`.
    pub branch: String,
    /// As whom it is fetched; files are read anew at each fetch.
    pub credentials: Credentials,
    /// How it is reached.
    pub network: Network,
    /// What a fetch may cost.
    pub limits: Limits,
}

impl Remote {
    /// Names a remote without credentials, with the default limits.
    pub fn new(url: impl Into<Url>, branch: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            branch: branch.into(),
            credentials: Credentials::None,
            network: Network::default(),
            limits: Limits::default(),
        }
    }
}

/// A URL that shows itself without userinfo, query and fragment: those may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(pub(super) String);

impl<T: Into<String>> From<T> for Url {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

impl Url {
    /// Returns the URL as it was configured, secrets included: for hashing, never for showing.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // `user@host:path` and paths: the user of ssh is no secret.
            return f.write_str(&self.0);
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = match authority.rsplit_once('@') {
            Some((user, _)) if scheme == "ssh" && !user.contains(':') => authority,
            Some((_, host)) => host,
            None => authority,
        };
        write!(f, "{scheme}://{host}{path}")
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// As whom a repository is fetched. Files only: a secret in memory would outlive its rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing; ssh still uses what its user has.
    #[default]
    None,
    /// A token for https, as GitHub, GitLab and Gitea take it.
    Token {
        /// Holds the token.
        file: PathBuf,
    },
    /// A name and a password for https.
    Password {
        /// Holds the name.
        username: PathBuf,
        /// Holds the password.
        password: PathBuf,
    },
    /// A key for ssh, which refuses hosts that the known hosts do not name.
    Ssh {
        /// Holds the private key; ssh wants it readable by its owner alone.
        key: PathBuf,
        /// Holds the hosts' public keys.
        known_hosts: PathBuf,
    },
}

/// How a remote is reached, as the process was told (`HTTPS_PROXY` and its like are read by the caller).
#[derive(Clone, Debug)]
pub struct Network {
    /// A proxy for https and http; may carry userinfo, which is never shown.
    pub proxy: Option<Url>,
    /// Hosts that go past the proxy, as `NO_PROXY` lists them.
    pub no_proxy: Option<String>,
    /// Certificates (PEM) trusted besides the system's.
    pub ca: Option<Arc<[u8]>>,
    /// The ssh program.
    pub ssh: PathBuf,
    /// The git program: for `file` and paths, and to repack where it is installed.
    pub git: PathBuf,
}

impl Network {
    /// Names a proxy.
    #[must_use]
    pub fn with_proxy(mut self, proxy: impl Into<Url>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }
}

impl Default for Network {
    fn default() -> Self {
        Self { proxy: None, no_proxy: None, ca: None, ssh: "ssh".into(), git: "git".into() }
    }
}

/// What a fetch may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long connecting may take.
    pub connect: Duration,
    /// How long the other side may say nothing.
    pub idle: Duration,
    /// How long all of it may take.
    pub total: Duration,
    /// How many bytes a pack may have.
    pub pack: u64,
    /// How many bytes one object may have, unpacked.
    pub object: u64,
}

impl Default for Limits {
    /// Returns bounds that a large repository's first clone stays within on a slow line.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            pack: 4 << 30,
            object: 256 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_and_queries_are_never_shown() {
        for (url, shown) in [
            ("https://u:sekret@host:8443/a.git", "https://host:8443/a.git"),
            ("https://sekret@host/a.git?private_token=sekret#sekret", "https://host/a.git"),
            ("https://a@b:sekret@host", "https://host"),
            ("ssh://git@host:22/a.git", "ssh://git@host:22/a.git"),
            ("ssh://git:sekret@host/a.git", "ssh://host/a.git"),
            ("git@host:a.git", "git@host:a.git"),
            ("/srv/a@b.git", "/srv/a@b.git"),
        ] {
            assert_eq!(Url(url.into()).to_string(), shown);
            assert!(!format!("{:?}", Remote::new(url, "main")).contains("sekret"), "{url}");
        }
    }
}
