//! GitLab, by its API of version 4: merge requests, whose comments are notes.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::check::{Feature, Right};
use super::error::ForgeError;
use super::model::{Author, Comment, Issue, IssueRef, Permission, Pull, PullState, Status, StatusState, Whoami};
use super::put::Ours;
use super::reach::{Reach, commit, encode, plain};
use super::repo::Repo;
use super::wire::{Answer, Ask, Wire};
use crate::core::commit::CommitId;

/// As many as a page has at most.
const PAGE: usize = 100;

/// A GitLab.
#[derive(Debug)]
pub(super) struct Gitlab {
    pub(super) reach: Reach,
    /// Where its pages are, for the addresses of comments, which it does not tell.
    site: String,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    id: u64,
    username: String,
}

/// Accounts of access tokens have names of this shape; nothing else tells them from people.
fn is_bot(username: &str) -> bool {
    let rest = username.strip_prefix("project_").or_else(|| username.strip_prefix("group_"));
    let numbered = rest.and_then(|rest| rest.split_once("_bot"));
    numbered.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        || username.starts_with("service_account_")
        || username == "ghost"
}

fn author(user: Option<RawUser>) -> Author {
    user.map_or(Author { login: String::new(), bot: true }, |user| Author {
        bot: is_bot(&user.username),
        login: user.username,
    })
}

#[derive(Deserialize)]
struct RawMerge {
    iid: u64,
    title: String,
    author: Option<RawUser>,
    web_url: String,
    /// None while its branch is gone or empty.
    sha: Option<String>,
    source_branch: String,
    target_branch: String,
    source_project_id: Option<u64>,
    target_project_id: u64,
    #[serde(default)]
    draft: bool,
    state: String,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    #[serde(default)]
    squash_commit_sha: Option<String>,
    updated_at: Timestamp,
    #[serde(default)]
    diff_refs: Option<DiffRefs>,
}

#[derive(Deserialize)]
struct DiffRefs {
    start_sha: Option<String>,
}

impl TryFrom<RawMerge> for Pull {
    type Error = ForgeError;

    fn try_from(raw: RawMerge) -> Result<Self, ForgeError> {
        let head = commit(raw.sha.as_deref().unwrap_or_default())?;
        let made = |sha: Option<&str>| sha.map(commit).transpose();
        let state = match raw.state.as_str() {
            // A fast-forward makes no commit: the head is what the branch has then.
            "merged" => PullState::Merged {
                commit: made(raw.merge_commit_sha.as_deref().or(raw.squash_commit_sha.as_deref()))?
                    .or_else(|| Some(head.clone())),
            },
            // `locked` is while it is being merged.
            "opened" | "locked" => PullState::Open,
            _ => PullState::Closed,
        };
        Ok(Self {
            number: raw.iid,
            title: raw.title,
            author: author(raw.author),
            url: raw.web_url,
            head,
            head_branch: raw.source_branch,
            fork: raw.source_project_id != Some(raw.target_project_id),
            base: raw.target_branch,
            base_commit: raw.diff_refs.and_then(|refs| commit(refs.start_sha.as_deref()?).ok()),
            draft: raw.draft,
            state,
            updated: raw.updated_at,
        })
    }
}

/// Reads a list; a merge request without a head has nothing to judge.
fn merges(answer: &Answer) -> Result<Vec<Pull>, ForgeError> {
    let all = answer.json::<Vec<RawMerge>>()?.into_iter();
    all.filter(|merge| merge.sha.is_some()).map(Pull::try_from).collect()
}

#[derive(Deserialize)]
struct RawNote {
    id: u64,
    author: Option<RawUser>,
    body: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Whether GitLab itself wrote it.
    #[serde(default)]
    system: bool,
}

#[derive(Deserialize)]
struct RawIssue {
    iid: u64,
    web_url: String,
    #[serde(default)]
    description: Option<String>,
}

impl From<RawIssue> for Ours {
    fn from(raw: RawIssue) -> Self {
        Self { number: raw.iid, url: raw.web_url, body: raw.description.unwrap_or_default() }
    }
}

#[derive(Deserialize)]
struct Id {
    id: u64,
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

impl Gitlab {
    /// Says what works, from the token's scopes and what its user may.
    pub(super) async fn rights(&self, repo: &Repo, me: &Whoami) -> Result<Vec<Right>, ForgeError> {
        let about: About = self.reach.get(repo, at(repo), &repo.path).await?;
        let levels = [about.permissions.project_access, about.permissions.group_access];
        let level = levels.into_iter().flatten().map(|access| access.access_level).max().unwrap_or(0);
        let scoped = |names: &[&str]| {
            let scopes = me.scopes.as_deref()?;
            Some(scopes.iter().any(|scope| names.contains(&scope.as_str())))
        };
        let both = |may: bool, scope: Option<bool>| if may { scope } else { Some(false) };
        let on = |access: &str| access != "disabled";
        let (merges, issues) = (on(&about.merge_requests_access_level), on(&about.issues_access_level));
        Ok(vec![
            Right::new(
                Feature::Pulls,
                both(merges, scoped(&["api", "read_api"])),
                "merge requests turned on, and the scope `api`",
            ),
            Right::new(Feature::Comments, both(merges, scoped(&["api"])), "the scope `api`"),
            Right::new(
                Feature::Statuses,
                both(level >= 30, scoped(&["api"])),
                "the role of a developer, and the scope `api`",
            ),
            Right::new(
                Feature::Issues,
                both(issues && level >= 10, scoped(&["api"])),
                "issues turned on, membership, and the scope `api`",
            ),
            Right::new(
                Feature::Approvals,
                both(level >= 10, scoped(&["api", "read_api"])),
                "membership, and the scope `api`",
            ),
        ])
    }
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    permissions: Accesses,
    #[serde(default)]
    issues_access_level: String,
    #[serde(default)]
    merge_requests_access_level: String,
}

#[derive(Deserialize, Default)]
struct Accesses {
    project_access: Option<Access>,
    group_access: Option<Access>,
}

#[derive(Deserialize)]
struct Access {
    access_level: u32,
}

#[derive(Deserialize)]
struct RawStatus {
    status: String,
}

#[derive(Deserialize)]
struct Member {
    access_level: u32,
    state: String,
}

#[derive(Deserialize)]
struct Token {
    scopes: Vec<String>,
    expires_at: Option<String>,
}

/// Reads the day on which a token ends.
fn ends(day: &str) -> Option<Timestamp> {
    format!("{day}T00:00:00Z").parse().ok()
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

    #[test]
    fn accounts_of_tokens_are_known_by_their_names() {
        for (name, expected) in [
            ("project_12_bot", true),
            ("group_7_bot_9f3c", true),
            ("service_account_group_1_ab", true),
            ("ghost", true),
            ("alice", false),
            ("project_bot", false),
            ("project_x_bot", false),
        ] {
            assert_eq!(is_bot(name), expected, "{name}");
        }
    }
}
