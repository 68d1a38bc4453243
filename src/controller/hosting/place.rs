//! Which repositories are on which hosting service: those of the applications whose address a configured service knows.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The branch.
    pub branch: String,
    /// Names the controller, so that two under one account do not take each other's notices for their own.
    pub controller: Arc<str>,
    /// The applications.
    pub apps: Vec<Application>,
}

impl Place<'_> {
    /// Returns the clone addresses of its applications, each once.
    pub fn urls(&self) -> BTreeSet<&str> {
        self.apps.iter().map(|app| app.source.url.as_str()).collect()
    }
}

/// Names a repository in queues.
pub fn key(service: &Service, repo: &Repo) -> String {
    format!("{}:{}/{}", service.client.kind().as_str(), repo.host, repo.path)
}

/// Finds a repository on one of the services.
pub fn find<'a>(services: &'a [Service], url: &str) -> Option<(&'a Service, Repo)> {
    services.iter().find_map(|service| Some((service, service.client.repo(url)?)))
}

/// Returns the places of all applications: one for each branch, by whatever addresses they reach it.
pub fn all<'a>(services: &'a [Service], config: &Config) -> Vec<Place<'a>> {
    let mut places: BTreeMap<(String, String), Place<'a>> = BTreeMap::new();
    for app in &config.applications {
        let Some((service, repo)) = find(services, &app.source.url) else { continue };
        let (key, branch) = (key(service, &repo), app.source.branch.clone());
        let place = places.entry((key.clone(), branch.clone()));
        let fresh =
            || Place { service, repo, key, branch, controller: config.controller.name.clone(), apps: Vec::new() };
        place.or_insert_with(fresh).apps.push(app.clone());
    }
    places.into_values().collect()
}
