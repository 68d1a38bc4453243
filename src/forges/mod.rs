//! Asks hosting services, and tells them: pull requests, comments, statuses, issues, and who may do what.
//!
//! One [`Client`] for each configured service speaks GitHub's API, GitLab's, or that of Gitea and Forgejo. It carries out; what is
//! said, and when it is tried again, others decide. It sends nothing twice by itself: a failure is returned with what is known about
//! it ([`ForgeError`]), and a notice is looked for before it is made ([`Mark`]).
//!
//! - `ask`, `wire`: one request; `gate`: limits; `credential`: files with secrets; `pages`, `reach`: lists and what is remembered of them.
//! - `github`, `gitlab`, `gitea`: the services.
//! - `put`: notices of which there is one each.
//! - `check`: what the credentials are good for.

mod ask;
mod check;
mod credential;
mod error;
mod gate;
mod gitea;
mod github;
mod gitlab;
mod mark;
mod model;
mod pages;
mod put;
mod reach;
mod repo;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use error::{ForgeError, SetupError};
pub use mark::Mark;
pub use model::{
    Author, Comment, Finding, Fits, Fresh, Issue, IssueRef, Permission, Pull, PullState, Status, StatusState, Whoami,
};
pub use repo::Repo;
pub use wire::Network;

use crate::config::{Forge, ForgeAuth, ForgeKind};
use crate::core::commit::CommitId;
use gitea::Gitea;
use github::Github;
use gitlab::Gitlab;
use put::{Notices, Ours};
use repo::Site;
use wire::{Carrier, Pace, Wire};

/// The longest line that every service shows with a status.
const DESCRIPTION: usize = 140;

/// One hosting service. It remembers what it read, what it was told about limits, and its notices: keep it.
#[derive(Debug)]
pub struct Client {
    url: String,
    site: Site,
    service: Service,
    notices: Notices,
    /// Whether comments may approve.
    approvals: bool,
    /// The open pull requests of each branch, as they were last returned.
    last: Mutex<BTreeMap<(Repo, String), Vec<Pull>>>,
}

#[derive(Debug)]
enum Service {
    Github(Github),
    Gitlab(Gitlab),
    Gitea(Gitea),
}

/// Calls the same method of whichever service it is.
macro_rules! ask {
    ($self:ident, $name:ident ( $($argument:expr),* )) => {
        match &$self.service {
            Service::Github(service) => service.$name($($argument),*).await,
            Service::Gitlab(service) => service.$name($($argument),*).await,
            Service::Gitea(service) => service.$name($($argument),*).await,
        }
    };
}

impl Client {
    /// Makes a client of a service; nothing is asked or read yet.
    ///
    /// # Errors
    /// That no client of HTTP can be made.
    pub fn new(forge: &Forge, network: &Network) -> Result<Self, SetupError> {
        // GitHub asks for a second between requests that write, and counts those that come at once against us.
        let between = if forge.kind == ForgeKind::Github { Duration::from_secs(1) } else { Duration::ZERO };
        Self::with(forge, network, Pace { between, ..Pace::default() })
    }

    fn with(forge: &Forge, network: &Network, pace: Pace) -> Result<Self, SetupError> {
        let bad = |why: &str| SetupError::Client { url: forge.url.clone(), why: why.to_owned() };
        let site = Site::of(forge.kind, &forge.url).ok_or_else(|| bad("it is no web address"))?;
        let client = wire::http(&forge.url, network, pace)?;
        let plain = |client, below: &str, scheme| {
            Wire::new(Carrier::Plain { client, base: format!("{}{below}", forge.url), scheme }, pace)
        };
        let service = match (forge.kind, &forge.auth) {
            (ForgeKind::Github, auth) => {
                let octocrab = github::carrier(&forge.url, client).map_err(|why| bad(&why))?;
                let wire = Wire::new(Carrier::Octocrab(octocrab), pace);
                Service::Github(match auth {
                    ForgeAuth::Token(file) => Github::by_token(wire, file.clone()),
                    ForgeAuth::App { id, key_file } => Github::by_app(wire, *id, key_file.clone()),
                })
            }
            (ForgeKind::Gitlab, ForgeAuth::Token(file)) => {
                Service::Gitlab(Gitlab::new(plain(client, "/api/v4", "Bearer"), file.clone(), site.url.clone()))
            }
            (ForgeKind::Gitea, ForgeAuth::Token(file)) => {
                Service::Gitea(Gitea::new(plain(client, "/api/v1", "token"), file.clone()))
            }
            (ForgeKind::Gitlab | ForgeKind::Gitea, ForgeAuth::App { .. }) => return Err(bad("Apps are GitHub's")),
        };
        Ok(Self {
            url: forge.url.clone(),
            site,
            service,
            notices: Notices::default(),
            approvals: forge.comment_approvals,
            last: Mutex::default(),
        })
    }

    /// Returns which API it speaks.
    pub const fn kind(&self) -> ForgeKind {
        self.site.kind
    }

    /// Returns the API's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the repository of a clone address; `None` if that is not on this service.
    pub fn repo(&self, clone_url: &str) -> Option<Repo> {
        self.site.repo(clone_url)
    }

    /// Returns how many characters a comment or an issue may have; what is longer is cut.
    pub const fn body_limit(&self) -> usize {
        match self.kind() {
            ForgeKind::Github => 65_536,
            ForgeKind::Gitlab => 1_000_000,
            // It sets none; nobody reads more than this.
            ForgeKind::Gitea => 250_000,
        }
    }

    /// Tells whether a status is shown with its summary: as a check run, which is a GitHub App's alone.
    pub const fn has_summaries(&self) -> bool {
        matches!(&self.service, Service::Github(github) if github.reach.app().is_some())
    }

    /// Returns the ref by which Git fetches the head of a pull request.
    pub fn head_ref(&self, number: u64) -> String {
        match self.kind() {
            ForgeKind::Github | ForgeKind::Gitea => format!("refs/pull/{number}/head"),
            ForgeKind::Gitlab => format!("refs/merge-requests/{number}/head"),
        }
    }

    /// Returns the page of a commit.
    pub fn commit_url(&self, repo: &Repo, commit: &CommitId) -> String {
        let between = if self.kind() == ForgeKind::Gitlab { "/-" } else { "" };
        format!("{}/{}{between}/commit/{commit}", self.site.url, repo.path)
    }

    /// Returns the open pull requests onto a branch, the oldest first, if anything about them changed since they were last returned.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn open_pulls(&self, repo: &Repo, branch: &str) -> Result<Fresh<Vec<Pull>>, ForgeError> {
        let mut pulls = ask!(self, open_pulls(repo, branch))?;
        // What comes or goes while pages are read may stand on two of them.
        pulls.sort_by_key(|pull| pull.number);
        pulls.dedup_by_key(|pull| pull.number);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repo.clone(), branch.to_owned());
        if last.get(&key) == Some(&pulls) {
            return Ok(Fresh::Same);
        }
        last.insert(key, pulls.clone());
        Ok(Fresh::New(pulls))
    }

    /// Returns one pull request.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn pull(&self, repo: &Repo, number: u64) -> Result<Pull, ForgeError> {
        ask!(self, pull(repo, number))
    }

    /// Returns the pull requests that brought a commit, merged ones first.
    ///
    /// # Errors
    /// Why they cannot be looked for.
    pub async fn pulls_of(&self, repo: &Repo, commit: &CommitId) -> Result<Vec<Pull>, ForgeError> {
        let mut pulls = ask!(self, pulls_of(repo, commit))?;
        pulls.sort_by_key(|pull| (!matches!(pull.state, PullState::Merged { .. }), pull.number));
        pulls.dedup_by_key(|pull| pull.number);
        Ok(pulls)
    }

    /// Returns the account of a commit's author, if the service knows it: claimed by the commit, proved by nothing.
    ///
    /// # Errors
    /// Why it cannot be asked for.
    pub async fn commit_author(&self, repo: &Repo, commit: &CommitId) -> Result<Option<Author>, ForgeError> {
        ask!(self, commit_author(repo, commit))
    }

    /// Returns the comments of a pull request that changed at that time or later, the oldest first.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn comments(
        &self,
        repo: &Repo,
        number: u64,
        since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, ForgeError> {
        let mut comments = ask!(self, comments(repo, number, since))?;
        comments.retain(|comment| since.is_none_or(|since| comment.updated >= since));
        comments.sort_by_key(|comment| (comment.created, comment.id));
        comments.dedup_by_key(|comment| comment.id);
        Ok(comments)
    }

    /// Says how a commit stands. The last one of a context counts.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_status(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        let line = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let mut description = line(&status.description);
        if description.chars().count() > DESCRIPTION {
            description = description.chars().take(DESCRIPTION - 1).chain(['…']).collect();
        }
        let status = Status { description, ..status.clone() };
        ask!(self, set_status(repo, commit, &status))
    }

    /// Returns what somebody may do in a repository, as it is now.
    ///
    /// # Errors
    /// Why it cannot be asked for: then nobody knows, and nothing may follow from it.
    pub async fn permission(&self, repo: &Repo, login: &str) -> Result<Permission, ForgeError> {
        ask!(self, permission(repo, login))
    }

    /// Returns whom the credentials speak for.
    ///
    /// # Errors
    /// Why it cannot be asked for.
    pub async fn whoami(&self, repo: &Repo) -> Result<Whoami, ForgeError> {
        ask!(self, whoami(repo))
    }

    async fn create_comment(&self, repo: &Repo, number: u64, body: &str) -> Result<u64, ForgeError> {
        ask!(self, create_comment(repo, number, body))
    }

    async fn update_comment(&self, repo: &Repo, number: u64, id: u64, body: &str) -> Result<(), ForgeError> {
        ask!(self, update_comment(repo, number, id, body))
    }

    async fn delete_comment(&self, repo: &Repo, number: u64, id: u64) -> Result<(), ForgeError> {
        ask!(self, delete_comment(repo, number, id))
    }

    async fn open_issues(&self, repo: &Repo) -> Result<Vec<Ours>, ForgeError> {
        ask!(self, open_issues(repo))
    }

    async fn create_issue(&self, repo: &Repo, title: &str, body: &str) -> Result<IssueRef, ForgeError> {
        ask!(self, create_issue(repo, title, body))
    }

    async fn update_issue(&self, repo: &Repo, number: u64, issue: &Issue<'_>) -> Result<IssueRef, ForgeError> {
        ask!(self, update_issue(repo, number, issue))
    }
}

#[cfg(test)]
mod tests;
