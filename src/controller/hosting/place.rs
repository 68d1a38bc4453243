//! Which repositories are on which hosting service: those of the applications whose address a configured service knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Application, Config, Forge};
use crate::forges::{Client, Network, Repo, SetupError};

/// One hosting service.
pub struct Service {
    /// What asks it.
    pub client: Client,
    /// Whether comments approve (`GUARDS.md` 5.4: opt-in).
    pub comments: bool,
    /// Whether accounts are named with its host, since there is another service of its kind.
    pub with_host: bool,
}

/// All configured hosting services.
pub type Services = Arc<[Service]>;

/// Makes what asks these services; nothing is asked yet.
///
/// # Errors
/// That no HTTP client can be made.
pub fn services(forges: &[Forge]) -> Result<Services, SetupError> {
    let service = |forge: &Forge| {
        let client = Client::new(forge, &Network::default())?;
        let with_host = forges.iter().filter(|other| other.kind == forge.kind).count() > 1;
        Ok(Service { client, comments: forge.comment_approvals, with_host })
    };
    forges.iter().map(service).collect()
}

/// A branch of a repository on a service, and the applications that track it.
pub struct Place<'a> {
    /// Where it is.
    pub service: &'a Service,
    /// The repository there.
    pub repo: Repo,
    /// Names the repository in queues.
    pub key: String,
    /// The clone address that the applications have.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// The applications.
    pub apps: Vec<Application>,
}

/// Names a repository in queues.
pub fn key(service: &Service, repo: &Repo) -> String {
    format!("{}:{}/{}", service.client.kind().as_str(), repo.host, repo.path)
}

/// Finds a repository on one of the services.
pub fn find<'a>(services: &'a [Service], url: &str) -> Option<(&'a Service, Repo)> {
    services.iter().find_map(|service| Some((service, service.client.repo(url)?)))
}

/// Returns the places of all applications.
pub fn all<'a>(services: &'a [Service], config: &Config) -> Vec<Place<'a>> {
    let mut by_branch: BTreeMap<(String, String), Vec<Application>> = BTreeMap::new();
    for app in &config.applications {
        by_branch.entry((app.source.url.clone(), app.source.branch.clone())).or_default().push(app.clone());
    }
    let place = |((url, branch), apps): ((String, String), Vec<Application>)| {
        let (service, repo) = find(services, &url)?;
        Some(Place { key: key(service, &repo), service, repo, url, branch, apps })
    };
    by_branch.into_iter().filter_map(place).collect()
}
