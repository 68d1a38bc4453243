//! What Gitea and Forgejo write, as far as it is read.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::ask::Answer;
use super::super::error::ForgeError;
use super::super::model::{Author, Comment, Pull, PullState};
use super::super::put::Ours;
use super::super::reach::{commit, readable};

#[derive(Deserialize)]
pub struct RawUser {
    id: i64,
    pub login: String,
}

/// Gitea's own accounts, such as that of its actions and of who is gone, have no number above zero.
pub fn author(user: Option<RawUser>) -> Author {
    match user {
        Some(user) => Author { bot: user.id <= 0, login: user.login },
        None => Author { login: String::new(), bot: true },
    }
}

#[derive(Deserialize)]
pub struct RawPull {
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

pub fn pulls(answer: &Answer) -> Result<Vec<Pull>, ForgeError> {
    Ok(readable(answer.json::<Vec<RawPull>>()?.into_iter().map(Pull::try_from)))
}

#[derive(Deserialize)]
pub struct RawComment {
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
pub struct Numbered {
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
pub struct Id {
    pub id: u64,
}

#[derive(Deserialize)]
pub struct Level {
    pub permission: String,
}

#[derive(Deserialize)]
pub struct Commit {
    pub sha: String,
    pub author: Option<RawUser>,
}
