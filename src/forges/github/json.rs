//! What GitHub writes, as far as it is read. octocrab's own types refuse some of GitHub's examples.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::error::ForgeError;
use super::super::model::{Author, Comment, Pull, PullState};
use super::super::put::Ours;
use super::super::reach::commit;

/// An account; empty where it is gone, or where an address belongs to none.
#[derive(Deserialize)]
pub struct RawUser {
    #[serde(default)]
    pub login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// Whoever is no user is a program, or gone.
pub fn author(user: Option<RawUser>) -> Author {
    user.map_or(Author { login: String::new(), bot: true }, |user| Author {
        bot: user.kind != "User",
        login: user.login,
    })
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
    draft: Option<bool>,
    state: String,
    #[serde(default)]
    merged_at: Option<Timestamp>,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    updated_at: Timestamp,
}

#[derive(Deserialize)]
struct RawBranch {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
    repo: Option<Id>,
}

/// Something with a number.
#[derive(Deserialize)]
pub struct Id {
    pub id: u64,
}

impl TryFrom<RawPull> for Pull {
    type Error = ForgeError;

    fn try_from(raw: RawPull) -> Result<Self, ForgeError> {
        let state = match (raw.merged_at, raw.state.as_str()) {
            (Some(_), _) => PullState::Merged { commit: raw.merge_commit_sha.as_deref().map(commit).transpose()? },
            (None, "open") => PullState::Open,
            (None, _) => PullState::Closed,
        };
        let same = |(head, base): (Id, Id)| head.id == base.id;
        Ok(Self {
            number: raw.number,
            title: raw.title,
            author: author(raw.user),
            url: raw.html_url,
            head: commit(&raw.head.sha)?,
            head_branch: raw.head.name,
            fork: !raw.head.repo.zip(raw.base.repo).is_some_and(same),
            base: raw.base.name,
            base_commit: commit(&raw.base.sha).ok(),
            draft: raw.draft.unwrap_or(false),
            state,
            updated: raw.updated_at,
        })
    }
}

#[derive(Deserialize)]
pub struct RawComment {
    id: u64,
    user: Option<RawUser>,
    #[serde(default)]
    body: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    html_url: String,
}

impl From<RawComment> for Comment {
    fn from(raw: RawComment) -> Self {
        Self {
            id: raw.id,
            author: author(raw.user),
            body: raw.body.unwrap_or_default(),
            created: raw.created_at,
            updated: raw.updated_at,
            url: raw.html_url,
        }
    }
}

#[derive(Deserialize)]
pub struct RawIssue {
    number: u64,
    html_url: String,
    #[serde(default)]
    body: Option<String>,
    /// There if it is a pull request.
    #[serde(default)]
    pub pull_request: Option<serde::de::IgnoredAny>,
}

impl From<RawIssue> for Ours {
    fn from(raw: RawIssue) -> Self {
        Self { number: raw.number, url: raw.html_url, body: raw.body.unwrap_or_default() }
    }
}

#[derive(Deserialize)]
pub struct RawCommit {
    #[serde(default)]
    pub author: Option<RawUser>,
}

#[derive(Deserialize)]
pub struct Level {
    pub permission: String,
}

#[derive(Deserialize)]
pub struct CheckRuns {
    pub check_runs: Vec<Id>,
}

/// Reads when a token ends, as a header of its answers says it.
pub fn ends(text: &str) -> Option<Timestamp> {
    Timestamp::strptime("%Y-%m-%d %H:%M:%S %z", text.replace("UTC", "+0000")).ok()
}
