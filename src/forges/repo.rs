//! Which repository of a hosting service a clone address means.

use std::fmt;

use reqwest::Url;

use crate::config::{ForgeKind, Transport};

/// A repository of a hosting service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Repo {
    /// The service's host, in lower case.
    pub host: String,
    /// `owner/name`, on GitLab also `group/subgroup/name`.
    pub path: String,
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl Repo {
    /// Returns the name without its owner.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Returns who or what it belongs to.
    pub fn owner(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(owner, _)| owner)
    }
}

/// A hosting service's pages: where its repositories are, as opposed to its API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Site {
    pub(super) kind: ForgeKind,
    /// Without a slash at its end.
    pub(super) url: String,
    host: String,
    port: Option<u16>,
    /// Where the service is below its host; empty, or with a slash before it and none after it.
    below: String,
}

/// Hosts by which services are reached for ssh where port 22 is closed.
const SSH_HOSTS: [(&str, &str); 2] = [("ssh.github.com", "github.com"), ("altssh.gitlab.com", "gitlab.com")];

impl Site {
    /// Reads where a service's pages are from where its API is; `None` for what is no address.
    pub(super) fn of(kind: ForgeKind, base: &str) -> Option<Self> {
        let url: Url = base.parse().ok()?;
        let mut host = url.host_str()?.to_lowercase();
        let mut below = url.path().trim_end_matches('/').to_owned();
        if kind == ForgeKind::Github {
            // `https://HOST/api/v3` is Enterprise Server; elsewhere the API has a host of its own.
            match below.strip_suffix("/api/v3") {
                Some(rest) => below = rest.to_owned(),
                None => host = host.strip_prefix("api.").map_or(host.clone(), str::to_owned),
            }
        }
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let shown = format!("{}://{host}{port}{below}", url.scheme());
        Some(Self { kind, url: shown, host, port: url.port_or_known_default(), below })
    }

    /// Returns the repository of a clone address, if it is one of this service's.
    pub(super) fn repo(&self, address: &str) -> Option<Repo> {
        let (host, port, path) = parts(address)?;
        let host = SSH_HOSTS.iter().find(|(ssh, _)| *ssh == host).map_or(host.as_str(), |(_, host)| host).to_owned();
        if host != self.host || port.is_some_and(|port| Some(port) != self.port) {
            return None;
        }
        let path = path.trim_start_matches('/');
        // Where the service is below its host, addresses of http are too, and those of ssh may not be.
        let path = match path.strip_prefix(self.below.trim_start_matches('/')) {
            Some(rest) if !self.below.is_empty() && rest.starts_with('/') => rest,
            _ if port.is_some() && !self.below.is_empty() => return None,
            _ => path,
        };
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let names: Vec<&str> = path.split('/').collect();
        let deep = match self.kind {
            ForgeKind::Github | ForgeKind::Gitea => names.len() == 2,
            ForgeKind::Gitlab => names.len() >= 2,
        };
        // What is written into a path of the API must not lead anywhere else.
        let plain = |name: &&str| {
            !matches!(*name, "" | "." | "..")
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        (deep && names.iter().all(plain)).then(|| Repo { host: self.host.clone(), path: path.to_owned() })
    }
}

/// Splits an address into host, port and path; the port of http alone, since ssh has another one anyway.
fn parts(address: &str) -> Option<(String, Option<u16>, String)> {
    match Transport::of(address) {
        Transport::Http => {
            let url: Url = address.parse().ok()?;
            Some((url.host_str()?.to_lowercase(), url.port_or_known_default(), url.path().to_owned()))
        }
        Transport::Ssh => {
            let (authority, path) = match address.split_once("://") {
                Some((_, rest)) => rest.split_once('/')?,
                None => address.split_once(':')?,
            };
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let host = host.split_once(':').map_or(host, |(host, _)| host);
            Some((host.to_lowercase(), None, path.to_owned()))
        }
        Transport::Local => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(kind: ForgeKind, base: &str, address: &str) -> Option<String> {
        Site::of(kind, base).unwrap().repo(address).map(|repo| repo.path)
    }

    #[test]
    fn every_clone_address_of_a_repository_names_it() {
        for address in [
            "https://github.com/acme/fleet.git",
            "https://GitHub.com/acme/fleet/",
            "https://user:secret@github.com/acme/fleet",
            "git@github.com:acme/fleet.git",
            "ssh://git@github.com/acme/fleet.git",
            "ssh://git@ssh.github.com:443/acme/fleet.git",
        ] {
            assert_eq!(path(ForgeKind::Github, "https://api.github.com", address).as_deref(), Some("acme/fleet"));
        }
        let below = "https://git.example.com/gitea";
        for address in [
            "https://git.example.com/gitea/acme/fleet.git",
            "ssh://git@git.example.com:2222/acme/fleet.git",
            "ssh://git@git.example.com:2222/gitea/acme/fleet.git",
        ] {
            assert_eq!(path(ForgeKind::Gitea, below, address).as_deref(), Some("acme/fleet"), "{address}");
        }
        let nested = path(ForgeKind::Gitlab, "https://gitlab.com", "git@gitlab.com:acme/infra/fleet.git");
        assert_eq!(nested.as_deref(), Some("acme/infra/fleet"));
    }

    #[test]
    fn the_api_of_github_is_not_where_its_repositories_are() {
        for (base, site) in [
            ("https://api.github.com", "https://github.com"),
            ("https://api.acme.ghe.com", "https://acme.ghe.com"),
            ("https://github.acme.example/api/v3", "https://github.acme.example"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ] {
            assert_eq!(Site::of(ForgeKind::Github, base).unwrap().url, site);
        }
        let enterprise = "https://github.acme.example/api/v3";
        let found = path(ForgeKind::Github, enterprise, "https://github.acme.example/acme/fleet");
        assert_eq!(found.as_deref(), Some("acme/fleet"));
    }

    #[test]
    fn what_is_elsewhere_or_no_repository_is_none() {
        for (kind, base, address) in [
            (ForgeKind::Github, "https://api.github.com", "https://gitlab.com/acme/fleet"),
            (ForgeKind::Github, "https://api.github.com", "https://github.com/acme"),
            (ForgeKind::Github, "https://api.github.com", "https://github.com/acme/infra/fleet"),
            (ForgeKind::Github, "https://api.github.com", "https://github.com/acme/..%2f"),
            (ForgeKind::Github, "https://api.github.com", "git@github.com:acme/../../x.git"),
            (ForgeKind::Github, "https://api.github.com", "/srv/git/acme/fleet.git"),
            (ForgeKind::Gitea, "http://127.0.0.1:3000", "http://127.0.0.1:3001/acme/fleet.git"),
            (ForgeKind::Gitea, "https://git.example.com/gitea", "https://git.example.com/acme/fleet.git"),
            (ForgeKind::Gitlab, "https://gitlab.com", "https://gitlab.com/fleet"),
        ] {
            assert_eq!(path(kind, base, address), None, "{address}");
        }
    }
}
