//! Gitea and Forgejo, by their API of version 1.

mod json;
mod rights;

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use super::ask::{Answer, Ask};
use super::error::ForgeError;
use super::model::{Author, Comment, Issue, IssueRef, Permission, Pull, PullState, Status, Whoami};
use super::put::Ours;
use super::reach::{Reach, plain};
use super::repo::Repo;
use super::wire::Wire;
use crate::core::commit::CommitId;
use json::{Commit, Id, Level, Numbered, RawComment, RawPull, RawUser, author, pulls};

/// As many as a page has unless its administrator allows more.
const PAGE: usize = 50;

/// How many of the pull requests that were merged last are looked into for a commit: a culprit is a recent one.
const LOOKED_INTO: usize = 10;

/// A Gitea or Forgejo.
#[derive(Debug)]
pub(super) struct Gitea {
    pub(super) reach: Reach,
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
        let state = status.state.as_str();
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

fn at(repo: &Repo) -> String {
    format!("/repos/{}", repo.path)
}
