//! GitLab, by its API of version 4: merge requests, whose comments are notes.

mod json;
mod rights;

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use super::ask::{Answer, Ask};
use super::error::ForgeError;
use super::model::{Author, Comment, Issue, IssueRef, Permission, Pull, Status, StatusState, Whoami};
use super::put::Ours;
use super::reach::{Reach, encode, plain};
use super::repo::Repo;
use super::wire::Wire;
use crate::core::commit::CommitId;
use json::{Id, Member, RawIssue, RawMerge, RawNote, RawStatus, RawUser, Token, author, ends, merges};

/// As many as a page has at most.
const PAGE: usize = 100;

/// A GitLab.
#[derive(Debug)]
pub(super) struct Gitlab {
    pub(super) reach: Reach,
    /// Where its pages are, for the addresses of comments, which it does not tell.
    site: String,
}

impl Gitlab {
    pub(super) fn new(wire: Wire, token_file: PathBuf, site: String) -> Self {
        Self { reach: Reach::by_token(wire, token_file), site }
    }

    pub(super) async fn open_pulls(&self, repo: &Repo, branch: &str) -> Result<Vec<Pull>, ForgeError> {
        let target = encode(branch);
        let order = "order_by=created_at&sort=asc";
        let path = format!("{}/merge_requests?state=opened&target_branch={target}&{order}&per_page={PAGE}", at(repo));
        let mut all = self.reach.all(repo, Some(&self.reach.pulls), &path, "the open merge requests", merges).await?;
        all.retain(|pull| pull.base == branch);
        Ok(all)
    }

    pub(super) async fn pull(&self, repo: &Repo, number: u64) -> Result<Pull, ForgeError> {
        let path = format!("{}/merge_requests/{number}", at(repo));
        self.reach.get::<RawMerge>(repo, path, &format!("merge request {number}")).await?.try_into()
    }

    pub(super) async fn pulls_of(&self, repo: &Repo, commit: &CommitId) -> Result<Vec<Pull>, ForgeError> {
        let path = format!("{}/repository/commits/{commit}/merge_requests?per_page={PAGE}", at(repo));
        self.reach.all(repo, None, &path, "the merge requests of a commit", merges).await
    }

    /// It tells nobody which account an address belongs to.
    #[expect(clippy::unused_async, reason = "the others ask")]
    pub(super) async fn commit_author(&self, _repo: &Repo, _commit: &CommitId) -> Result<Option<Author>, ForgeError> {
        Ok(None)
    }

    /// Reads all, since it cannot be asked for those from a time on.
    pub(super) async fn comments(
        &self,
        repo: &Repo,
        number: u64,
        _since: Option<Timestamp>,
    ) -> Result<Vec<Comment>, ForgeError> {
        let page = format!("{}/{}/-/merge_requests/{number}", self.site, repo.path);
        let path = format!("{}/merge_requests/{number}/notes?order_by=created_at&sort=asc&per_page={PAGE}", at(repo));
        let read = |answer: &Answer| {
            let notes = answer.json::<Vec<RawNote>>()?.into_iter().filter(|note| !note.system);
            Ok(notes
                .map(|note| Comment {
                    id: note.id,
                    author: author(note.author),
                    body: note.body,
                    created: note.created_at,
                    updated: note.updated_at,
                    url: format!("{page}#note_{}", note.id),
                })
                .collect())
        };
        self.reach.all(repo, Some(&self.reach.comments), &path, &format!("the comments of {number}"), read).await
    }

    pub(super) async fn create_comment(&self, repo: &Repo, number: u64, body: &str) -> Result<u64, ForgeError> {
        let path = format!("{}/merge_requests/{number}/notes", at(repo));
        let ask = Ask::create(path, json!({ "body": inert(body) }), format!("merge request {number}"));
        Ok(self.reach.ask(repo, ask).await?.json::<Id>()?.id)
    }

    pub(super) async fn update_comment(&self, repo: &Repo, number: u64, id: u64, body: &str) -> Result<(), ForgeError> {
        let path = format!("{}/merge_requests/{number}/notes/{id}", at(repo));
        let ask = Ask::put(path, json!({ "body": inert(body) }), format!("comment {id}"));
        self.reach.ask(repo, ask).await.map(|_| ())
    }

    pub(super) async fn delete_comment(&self, repo: &Repo, number: u64, id: u64) -> Result<(), ForgeError> {
        let path = format!("{}/merge_requests/{number}/notes/{id}", at(repo));
        self.reach.ask(repo, Ask::delete(path, format!("comment {id}"))).await.map(|_| ())
    }

    /// Says how a commit stands. GitLab refuses to be told a state again; that it is so already is what was wanted.
    pub(super) async fn set_status(&self, repo: &Repo, commit: &CommitId, status: &Status) -> Result<(), ForgeError> {
        let state = match status.state {
            StatusState::Pending => "pending",
            StatusState::Success => "success",
            StatusState::Failure | StatusState::Error => "failed",
        };
        let mut body = json!({ "state": state, "name": status.context, "description": status.description });
        if let Some(url) = &status.url {
            body["target_url"] = json!(url);
        }
        let ask = Ask::post(format!("{}/statuses/{commit}", at(repo)), body, format!("commit {}", commit.short()));
        match self.reach.ask(repo, ask).await {
            Err(ForgeError::Rejected { status: 400, message }) if message.contains("Cannot transition status") => {
                let name = encode(&status.context);
                let path = format!("{}/repository/commits/{commit}/statuses?name={name}&per_page=1", at(repo));
                let known: Vec<RawStatus> = self.reach.get(repo, path, "the statuses of a commit").await?;
                if known.first().is_some_and(|known| known.status == state) {
                    return Ok(());
                }
                Err(ForgeError::Rejected { status: 400, message })
            }
            other => other.map(|_| ()),
        }
    }

    pub(super) async fn open_issues(&self, repo: &Repo) -> Result<Vec<Ours>, ForgeError> {
        let path = format!("{}/issues?state=opened&scope=created_by_me&per_page={PAGE}", at(repo));
        let read = |answer: &Answer| Ok(answer.json::<Vec<RawIssue>>()?.into_iter().map(Ours::from).collect());
        self.reach.all(repo, None, &path, "the open issues", read).await
    }

    pub(super) async fn create_issue(&self, repo: &Repo, title: &str, body: &str) -> Result<IssueRef, ForgeError> {
        let body = json!({ "title": title, "description": inert(body) });
        let ask = Ask::create(format!("{}/issues", at(repo)), body, "the repository");
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<RawIssue>()?).reference())
    }

    pub(super) async fn update_issue(
        &self,
        repo: &Repo,
        number: u64,
        issue: &Issue<'_>,
    ) -> Result<IssueRef, ForgeError> {
        let event = if issue.open { "reopen" } else { "close" };
        let body = json!({ "title": issue.title, "description": inert(issue.body), "state_event": event });
        let ask = Ask::put(format!("{}/issues/{number}", at(repo)), body, format!("issue {number}"));
        Ok(Ours::from(self.reach.ask(repo, ask).await?.json::<RawIssue>()?).reference())
    }

    pub(super) async fn permission(&self, repo: &Repo, login: &str) -> Result<Permission, ForgeError> {
        let Some(login) = plain(login) else { return Ok(Permission::None) };
        let users: Vec<RawUser> = self.reach.get(repo, format!("/users?username={login}"), "a user").await?;
        let Some(user) = users.into_iter().find(|user| user.username.eq_ignore_ascii_case(login)) else {
            return Ok(Permission::None);
        };
        let path = format!("{}/members/all/{}", at(repo), user.id);
        let member: Member = match self.reach.get(repo, path, "a permission").await {
            Err(ForgeError::NotFound { .. }) => return Ok(Permission::None),
            other => other?,
        };
        // Guest is 10, planner 15, reporter 20, developer 30, maintainer 40, owner 50.
        Ok(match (member.state.as_str(), member.access_level) {
            ("active", 40..) => Permission::Admin,
            ("active", 30..) => Permission::Write,
            ("active", 10..) => Permission::Read,
            _ => Permission::None,
        })
    }

    pub(super) async fn whoami(&self, repo: &Repo) -> Result<Whoami, ForgeError> {
        let ask = async || {
            let user: RawUser = self.reach.get(repo, "/user".to_owned(), "the token's user").await?;
            let path = "/personal_access_tokens/self".to_owned();
            // Only access tokens are told about themselves.
            let token: Option<Token> = match self.reach.get(repo, path, "the token").await {
                Ok(token) => Some(token),
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => None,
            };
            let expires = token.as_ref().and_then(|token| token.expires_at.as_deref()).and_then(ends);
            Ok(Whoami { login: user.username, scopes: token.map(|token| token.scopes), expires })
        };
        self.reach.me(ask).await
    }
}

/// Makes a text obey nobody: GitLab carries out lines that begin with a slash, and ours quote what others wrote.
///
/// Our own command stays as it is, so that people can copy it; GitLab has none of that name.
fn inert(text: &str) -> String {
    let line = |line: &str| {
        let command = line.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let indent = &line[..line.len() - command.len()];
        if command.starts_with('/') && !command.starts_with("/holdfast ") {
            format!("{indent}\\{command}")
        } else {
            line.to_owned()
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn at(repo: &Repo) -> String {
    format!("/projects/{}", encode(&repo.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_commands_nobody() {
        let text = "plan\n/merge\n  /approve\n/holdfast approve sha256:1\na /close b\n\n<!-- mark -->";
        assert_eq!(
            inert(text),
            "plan\n\\/merge\n  \\/approve\n/holdfast approve sha256:1\na /close b\n\n<!-- mark -->"
        );
        assert_eq!(inert("/holdfastclose"), "\\/holdfastclose");
        assert_eq!(inert("x\r\n/merge\r\n"), "x\r\n\\/merge\r\n");
    }
}
