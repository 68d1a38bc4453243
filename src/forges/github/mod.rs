//! GitHub, hosted or Enterprise Server, by its API of 2022-11-28.
//!
//! octocrab carries the requests and signs as an App. It neither retries, which would post comments twice, nor reads answers.

mod app;
mod checks;
mod json;
mod rights;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use jiff::Timestamp;
use octocrab::service::middleware::retry::RetryConfig;
use serde_json::json;

use super::ask::{Answer, Ask};
use super::error::ForgeError;
use super::model::{Author, Comment, Issue, IssueRef, Permission, Pull, Status, Whoami};
use super::put::Ours;
use super::reach::{Reach, encode, plain, readable};
use super::repo::Repo;
use super::wire::Wire;
use crate::core::commit::CommitId;
pub(super) use app::App;
use json::{Id, Level, RawComment, RawCommit, RawIssue, RawPull, RawUser, author};

/// As many as a page has at most.
const PAGE: usize = 100;

/// Makes what carries requests.
pub(super) fn carrier(base: &str, client: reqwest::Client) -> Result<octocrab::Octocrab, String> {
    let builder = octocrab::Octocrab::builder().base_uri(base).map_err(|error| error.to_string())?;
    builder.add_retry_config(RetryConfig::None).build_with_reqwest(client).map_err(|error| error.to_string())
}

/// A GitHub.
#[derive(Debug)]
pub(super) struct Github {
    pub(super) reach: Reach,
    /// The numbers of check runs, by where they are.
    runs: Mutex<BTreeMap<(Repo, CommitId, String), u64>>,
}

fn pulls(answer: &Answer) -> Result<Vec<Pull>, ForgeError> {
    Ok(readable(answer.json::<Vec<RawPull>>()?.into_iter().map(Pull::try_from)))
}

impl Github {
    pub(super) fn by_token(wire: Wire, token_file: PathBuf) -> Self {
        Self { reach: Reach::by_token(wire, token_file), runs: Mutex::default() }
    }

    pub(super) fn by_app(wire: Wire, id: u64, key_file: PathBuf) -> Self {
        Self { reach: Reach::by_app(wire, App::new(id, key_file)), runs: Mutex::default() }
    }

    pub(super) async fn open_pulls(&self, repo: &Repo, branch: &str) -> Result<Vec<Pull>, ForgeError> {
        let base = encode(branch);
        let path = format!("{}/pulls?state=open&base={base}&sort=created&direction=asc&per_page={PAGE}", at(repo));
        let mut all = self.reach.all(repo, Some(&self.reach.pulls), &path, "the open pull requests", pulls).await?;
        all.retain(|pull| pull.base == branch);
        Ok(all)
    }

    pub(super) async fn pull(&self, repo: &Repo, number: u64) -> Result<Pull, ForgeError> {
        let path = format!("{}/pulls/{number}", at(repo));
        self.reach.get::<RawPull>(repo, path, &format!("pull request {number}")).await?.try_into()
    }

    pub(super) async fn pulls_of(&self, repo: &Repo, commit: &CommitId) -> Result<Vec<Pull>, ForgeError> {
        let path = format!("{}/commits/{commit}/pulls?per_page={PAGE}", at(repo));
        match self.reach.all(repo, None, &path, "the pull requests of a commit", pulls).await {
            // It does not know the commit.
            Err(ForgeError::Rejected { status: 422, .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Asks for a list of one, since a commit alone comes with its changes.
    pub(super) async fn commit_author(&self, repo: &Repo, commit: &CommitId) -> Result<Option<Author>, ForgeError> {
        let path = format!("{}/commits?sha={commit}&per_page=1", at(repo));
        let commits: Vec<RawCommit> = self.reach.get(repo, path, "a commit").await?;
        let user = commits.into_iter().next().and_then(|commit| commit.author);
        Ok(user.filter(|user| !user.login.is_empty()).map(|user| author(Some(user))))
    }

    pub(super) async fn comments(
        &self,
        repo: &Repo,
        number: u64,
        since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, ForgeError> {
        let since = since.map_or(String::new(), |since| format!("&since={}", since.strftime("%Y-%m-%dT%H:%M:%SZ")));
        let path = format!("{}/issues/{number}/comments?per_page={PAGE}{since}", at(repo));
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
        match self.reach.app() {
            None => self.set_commit_status(repo, commit, status).await,
            Some(app) => self.set_check_run(app.id, repo, commit, status).await,
        }
    }

    async fn set_commit_status(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        let state = status.state.as_str();
        let mut body = json!({ "state": state, "context": status.context, "description": status.description });
        if let Some(url) = &status.url {
            body["target_url"] = json!(url);
        }
        let ask = Ask::post(format!("{}/statuses/{commit}", at(repo)), body, format!("commit {}", commit.short()));
        self.reach.ask(repo, ask).await.map(|_| ())
    }

    pub(super) async fn open_issues(&self, repo: &Repo) -> Result<Vec<Ours>, ForgeError> {
        let login = encode(&self.whoami(repo).await?.login);
        let path = format!("{}/issues?state=open&creator={login}&per_page={PAGE}", at(repo));
        let read = |answer: &Answer| {
            let all = answer.json::<Vec<RawIssue>>()?.into_iter();
            Ok(all.filter(|issue| issue.pull_request.is_none()).map(Ours::from).collect())
        };
        self.reach.all(repo, None, &path, "the open issues", read).await
    }

    pub(super) async fn create_issue(&self, repo: &Repo, title: &str, body: &str) -> Result<IssueRef, ForgeError> {
        let ask =
            Ask::create(format!("{}/issues", at(repo)), json!({ "title": title, "body": body }), "the repository");
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<RawIssue>()?).reference())
    }

    pub(super) async fn update_issue(
        &self,
        repo: &Repo,
        number: u64,
        issue: &Issue<'_>,
    ) -> Result<IssueRef, ForgeError> {
        let mut body = json!({ "title": issue.title, "body": issue.body, "state": "open" });
        if !issue.open {
            body["state"] = json!("closed");
            body["state_reason"] = json!("completed");
        }
        let ask = Ask::patch(format!("{}/issues/{number}", at(repo)), body, format!("issue {number}"));
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<RawIssue>()?).reference())
    }

    pub(super) async fn permission(&self, repo: &Repo, login: &str) -> Result<Permission, ForgeError> {
        let Some(login) = plain(login) else { return Ok(Permission::None) };
        let path = format!("{}/collaborators/{login}/permission", at(repo));
        let level: Level = match self.reach.get(repo, path, "a permission").await {
            Err(ForgeError::NotFound { .. }) => return Ok(Permission::None),
            other => other?,
        };
        // `maintain` is told as `write` here, and `triage` as `read`.
        Ok(match level.permission.as_str() {
            "admin" => Permission::Admin,
            "write" => Permission::Write,
            "read" => Permission::Read,
            _ => Permission::None,
        })
    }

    pub(super) async fn whoami(&self, repo: &Repo) -> Result<Whoami, ForgeError> {
        if let Some(app) = self.reach.app() {
            let given = app.given(&self.reach.wire, repo).await?;
            let scopes = given.rights.iter().map(|(what, level)| format!("{what}={level}")).collect();
            return Ok(Whoami { login: format!("{}[bot]", given.slug), scopes: Some(scopes), expires: None });
        }
        let ask = async || {
            let answer = self.reach.ask(repo, Ask::get("/user", "the token's user")).await?;
            let user: RawUser = answer.json()?;
            // Of fine-grained tokens it does not say.
            let scopes = answer.text("x-oauth-scopes").map(|scopes| {
                scopes.split(',').map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect()
            });
            let expires = answer.text("github-authentication-token-expiration").and_then(json::ends);
            Ok(Whoami { login: user.login, scopes, expires })
        };
        self.reach.me(ask).await
    }
}

fn at(repo: &Repo) -> String {
    format!("/repos/{}", repo.path)
}
