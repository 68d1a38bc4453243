//! What GitLab writes, as far as it is read.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::ask::Answer;
use super::super::error::ForgeError;
use super::super::model::{Author, Pull, PullState};
use super::super::put::Ours;
use super::super::reach::{commit, readable};

#[derive(Deserialize)]
pub struct RawUser {
    #[serde(default)]
    pub id: u64,
    pub username: String,
}

/// Accounts of access tokens have names of this shape; nothing else tells them from people.
fn is_bot(username: &str) -> bool {
    let rest = username.strip_prefix("project_").or_else(|| username.strip_prefix("group_"));
    let numbered = rest.and_then(|rest| rest.split_once("_bot"));
    numbered.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        || username.starts_with("service_account_")
        || username == "ghost"
}

pub fn author(user: Option<RawUser>) -> Author {
    user.map_or(Author { login: String::new(), bot: true }, |user| Author {
        bot: is_bot(&user.username),
        login: user.username,
    })
}

#[derive(Deserialize)]
pub struct RawMerge {
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
pub fn merges(answer: &Answer) -> Result<Vec<Pull>, ForgeError> {
    let all = answer.json::<Vec<RawMerge>>()?.into_iter();
    Ok(readable(all.filter(|merge| merge.sha.is_some()).map(Pull::try_from)))
}

#[derive(Deserialize)]
pub struct RawNote {
    pub id: u64,
    pub author: Option<RawUser>,
    pub body: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Whether GitLab itself wrote it.
    #[serde(default)]
    pub system: bool,
}

#[derive(Deserialize)]
pub struct RawIssue {
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
pub struct Id {
    pub id: u64,
}

#[derive(Deserialize)]
pub struct RawStatus {
    pub status: String,
}

#[derive(Deserialize)]
pub struct Member {
    pub access_level: u32,
    pub state: String,
}

#[derive(Deserialize)]
pub struct Token {
    pub scopes: Vec<String>,
    pub expires_at: Option<String>,
}

/// Reads the day on which a token ends.
pub fn ends(day: &str) -> Option<Timestamp> {
    format!("{day}T00:00:00Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
