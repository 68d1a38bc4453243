//! Gitea and Forgejo, by their API of version 1.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::check::{Feature, Right};
use super::error::ForgeError;
use super::model::{Author, Comment, Issue, IssueRef, Permission, Pull, PullState, Status, StatusState, Whoami};
use super::put::Ours;
use super::reach::{Reach, commit, plain};
use super::repo::Repo;
use super::wire::{Answer, Ask, Wire};
use crate::core::commit::CommitId;

/// As many as a page has unless its administrator allows more.
const PAGE: usize = 50;

/// How many of the pull requests that were merged last are looked into for a commit: a culprit is a recent one.
const LOOKED_INTO: usize = 10;

/// A Gitea or Forgejo.
#[derive(Debug)]
pub(super) struct Gitea {
    pub(super) reach: Reach,
}

#[derive(Deserialize)]
struct RawUser {
    id: i64,
    login: String,
}

/// Gitea's own accounts, such as that of its actions and of who is gone, have no number above zero.
fn author(user: Option<RawUser>) -> Author {
    match user {
        Some(user) => Author { bot: user.id <= 0, login: user.login },
        None => Author { login: String::new(), bot: true },
    }
}

#[derive(Deserialize)]
struct RawPull {
    number: u64,
    title: String,
    user: Option<RawUser>,
    html_url: String,
    head: RawBranch,
    base: RawBranch,
    #[serde(default)]
    draft: bool,
    state: String,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<String>,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct RawBranch {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    repo_id: i64,
}

impl TryFrom<RawPull> for Pull {
    type Error = ForgeError;

    fn try_from(raw: RawPull) -> Result<Self, ForgeError> {
        let state = match (raw.merged, raw.state.as_str()) {
            (true, _) => PullState::Merged { commit: raw.merge_commit_sha.as_deref().map(commit).transpose()? },
            (false, "open") => PullState::Open,
            (false, _) => PullState::Closed,
        };
        Ok(Self {
            number: raw.number,
            title: raw.title,
            author: author(raw.user),
            url: raw.html_url,
            head: commit(&raw.head.sha)?,
            head_branch: raw.head.name,
            fork: raw.head.repo_id != raw.base.repo_id,
            base: raw.base.name,
            base_commit: commit(&raw.base.sha).ok(),
            draft: raw.draft,
            state,
            updated: raw.updated_at,
        })
    }
}

fn pulls(answer: &Answer) -> Result<Vec<Pull>, ForgeError> {
    answer.json::<Vec<RawPull>>()?.into_iter().map(Pull::try_from).collect()
}

#[derive(Deserialize)]
struct RawComment {
    id: u64,
    user: Option<RawUser>,
    /// Who wrote it on the service that it was brought over from; the account is then of whoever brought it.
    #[serde(default)]
    original_author: String,
    body: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    html_url: String,
}

impl From<RawComment> for Comment {
    fn from(raw: RawComment) -> Self {
        let author =
            if raw.original_author.is_empty() { author(raw.user) } else { Author { login: String::new(), bot: true } };
        Self { id: raw.id, author, body: raw.body, created: raw.created_at, updated: raw.updated_at, url: raw.html_url }
    }
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
    html_url: String,
    #[serde(default)]
    body: String,
}

impl From<Numbered> for Ours {
    fn from(raw: Numbered) -> Self {
        Self { number: raw.number, url: raw.html_url, body: raw.body }
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
}

impl Gitea {
    pub(super) fn new(wire: Wire, token_file: PathBuf) -> Self {
        Self { reach: Reach::by_token(wire, token_file) }
    }

    pub(super) async fn open_pulls(&self, repo: &Repo, branch: &str) -> Result<Vec<Pull>, ForgeError> {
        // Not all versions choose by branch.
        let path = format!("{}/pulls?state=open&sort=oldest&limit={PAGE}", at(repo));
        let mut all = self.reach.all(repo, Some(&self.reach.pulls), &path, "the open pull requests", pulls).await?;
        all.retain(|pull| pull.base == branch);
        Ok(all)
    }

    pub(super) async fn pull(&self, repo: &Repo, number: u64) -> Result<Pull, ForgeError> {
        let path = format!("{}/pulls/{number}", at(repo));
        self.reach.get::<RawPull>(repo, path, &format!("pull request {number}")).await?.try_into()
    }

    /// Asks for the pull request whose merge made a commit; otherwise looks at the last ones, for their head and their commits.
    pub(super) async fn pulls_of(&self, repo: &Repo, wanted: &CommitId) -> Result<Vec<Pull>, ForgeError> {
        let what = "the pull request of a commit";
        match self.reach.get::<RawPull>(repo, format!("{}/commits/{wanted}/pull", at(repo)), what).await {
            Ok(raw) => return Ok(vec![raw.try_into()?]),
            Err(ForgeError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let path = format!("{}/pulls?state=closed&sort=recentupdate&limit={PAGE}&page=1", at(repo));
        let last = pulls(&self.reach.ask(repo, Ask::get(path, "the closed pull requests")).await?)?;
        let merged: Vec<Pull> =
            last.into_iter().filter(|pull| matches!(pull.state, PullState::Merged { .. })).collect();
        let is_head =
            |pull: &&Pull| pull.head == *wanted || pull.state == PullState::Merged { commit: Some(wanted.clone()) };
        if let Some(pull) = merged.iter().find(is_head) {
            return Ok(vec![pull.clone()]);
        }
        for pull in merged.into_iter().take(LOOKED_INTO) {
            let path = format!(
                "{}/pulls/{}/commits?verification=false&files=false&limit={PAGE}&page=1",
                at(repo),
                pull.number
            );
            let commits: Vec<Commit> = self.reach.get(repo, path, "the commits of a pull request").await?;
            if commits.iter().any(|commit| commit.sha == wanted.as_str()) {
                return Ok(vec![pull]);
            }
        }
        Ok(Vec::new())
    }

    pub(super) async fn commit_author(&self, repo: &Repo, commit: &CommitId) -> Result<Option<Author>, ForgeError> {
        let path = format!("{}/git/commits/{commit}?stat=false&verification=false&files=false", at(repo));
        let raw: Commit = self.reach.get(repo, path, "a commit").await?;
        Ok(raw.author.map(|user| author(Some(user))))
    }

    pub(super) async fn comments(
        &self,
        repo: &Repo,
        number: u64,
        since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, ForgeError> {
        let since = since.map_or(String::new(), |since| format!("&since={since}"));
        let path = format!("{}/issues/{number}/comments?limit={PAGE}{since}", at(repo));
        let read = |answer: &Answer| Ok(answer.json::<Vec<RawComment>>()?.into_iter().map(Comment::from).collect());
        self.reach.all(repo, Some(&self.reach.comments), &path, &format!("the comments of {number}"), read).await
    }

    pub(super) async fn create_comment(&self, repo: &Repo, number: u64, body: &str) -> Result<u64, ForgeError> {
        let path = format!("{}/issues/{number}/comments", at(repo));
        let ask = Ask::create(path, json!({ "body": body }), format!("pull request {number}"));
        Ok(self.reach.ask(repo, ask).await?.json::<Id>()?.id)
    }

    pub(super) async fn update_comment(
        &self,
        repo: &Repo,
        _number: u64,
        id: u64,
        body: &str,
    ) -> Result<(), ForgeError> {
        let path = format!("{}/issues/comments/{id}", at(repo));
        self.reach.ask(repo, Ask::patch(path, json!({ "body": body }), format!("comment {id}"))).await.map(|_| ())
    }

    pub(super) async fn delete_comment(&self, repo: &Repo, _number: u64, id: u64) -> Result<(), ForgeError> {
        let path = format!("{}/issues/comments/{id}", at(repo));
        self.reach.ask(repo, Ask::delete(path, format!("comment {id}"))).await.map(|_| ())
    }

    pub(super) async fn set_status(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        let state = match status.state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure => "failure",
            StatusState::Error => "error",
        };
        let body = json!({
            "state": state, "context": status.context, "description": status.description,
            "target_url": status.url.as_deref().unwrap_or_default(),
        });
        let ask = Ask::post(format!("{}/statuses/{commit}", at(repo)), body, format!("commit {}", commit.short()));
        self.reach.ask(repo, ask).await.map(|_| ())
    }

    pub(super) async fn open_issues(&self, repo: &Repo) -> Result<Vec<Ours>, ForgeError> {
        let login = self.whoami(repo).await?.login;
        let path = format!("{}/issues?state=open&type=issues&created_by={login}&limit={PAGE}", at(repo));
        let read = |answer: &Answer| Ok(answer.json::<Vec<Numbered>>()?.into_iter().map(Ours::from).collect());
        self.reach.all(repo, None, &path, "the open issues", read).await
    }

    pub(super) async fn create_issue(&self, repo: &Repo, title: &str, body: &str) -> Result<IssueRef, ForgeError> {
        let ask =
            Ask::create(format!("{}/issues", at(repo)), json!({ "title": title, "body": body }), "the repository");
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<Numbered>()?).reference())
    }

    pub(super) async fn update_issue(
        &self,
        repo: &Repo,
        number: u64,
        issue: &Issue<'_>,
    ) -> Result<IssueRef, ForgeError> {
        let state = if issue.open { "open" } else { "closed" };
        let body = json!({ "title": issue.title, "body": issue.body, "state": state });
        let ask = Ask::patch(format!("{}/issues/{number}", at(repo)), body, format!("issue {number}"));
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<Numbered>()?).reference())
    }

    pub(super) async fn permission(&self, repo: &Repo, login: &str) -> Result<Permission, ForgeError> {
        let Some(login) = plain(login) else { return Ok(Permission::None) };
        let path = format!("{}/collaborators/{login}/permission", at(repo));
        let level: Level = match self.reach.get(repo, path, "a permission").await {
            Err(ForgeError::NotFound { .. }) => return Ok(Permission::None),
            other => other?,
        };
        Ok(match level.permission.as_str() {
            "owner" | "admin" => Permission::Admin,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => Permission::None,
        })
    }

    pub(super) async fn whoami(&self, repo: &Repo) -> Result<Whoami, ForgeError> {
        let ask = async || {
            let user: RawUser = self.reach.get(repo, "/user".to_owned(), "the token's user").await?;
            let login = plain(&user.login).ok_or_else(|| ForgeError::unexpected("a user without a name"))?;
            Ok(Whoami { login: login.to_owned(), scopes: None, expires: None })
        };
        self.reach.me(ask).await
    }
}

impl Gitea {
    /// Says what works, from what the user may; of a token's scopes nobody says anything.
    pub(super) async fn rights(&self, repo: &Repo) -> Result<Vec<Right>, ForgeError> {
        let about: About = self.reach.get(repo, at(repo), &repo.path).await?;
        let may = about.permissions;
        let unless = |missing: bool| if missing { Some(false) } else { None };
        Ok(vec![
            Right::new(
                Feature::Pulls,
                Some(may.pull && about.has_pull_requests),
                "pull requests turned on, and the scope `read:repository`",
            ),
            Right::new(Feature::Comments, unless(!may.pull), "the scope `write:issue`"),
            Right::new(
                Feature::Statuses,
                unless(!may.push),
                "write access to the repository, and the scope `write:repository`",
            ),
            Right::new(Feature::Issues, unless(!about.has_issues), "issues turned on, and the scope `write:issue`"),
            Right::new(Feature::Approvals, Some(may.admin), "administration of the repository: nobody else is told"),
        ])
    }
}

#[derive(Deserialize)]
struct About {
    permissions: May,
    #[serde(default)]
    has_issues: bool,
    #[serde(default)]
    has_pull_requests: bool,
}

#[derive(Deserialize)]
struct May {
    admin: bool,
    push: bool,
    pull: bool,
}

#[derive(Deserialize)]
struct Level {
    permission: String,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
    author: Option<RawUser>,
}

fn at(repo: &Repo) -> String {
    format!("/repos/{}", repo.path)
}
