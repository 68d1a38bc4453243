//! What is read from hosting services and written to them, the same for all of them.

use jiff::Timestamp;

use super::mark::Mark;
use crate::core::commit::CommitId;

/// Something that is read again and again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fresh<T> {
    /// It is as it was when it was last new.
    Same,
    /// It is new.
    New(T),
}

/// Who wrote something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Author {
    /// The account's name, without an `@`; empty where there is none any more.
    pub login: String,
    /// Whether it is a program's, as far as the service says.
    pub bot: bool,
}

/// A pull request, or a merge request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pull {
    /// Its number in the repository.
    pub number: u64,
    /// Its title, as somebody wrote it.
    pub title: String,
    /// Who opened it.
    pub author: Author,
    /// Its page.
    pub url: String,
    /// The commit that would be merged.
    pub head: CommitId,
    /// The branch of that commit, in whichever repository.
    pub head_branch: String,
    /// Whether the head is another repository's, or of one that is gone.
    pub fork: bool,
    /// The branch that it would go into.
    pub base: String,
    /// That branch's commit, as the service last looked; lists of GitLab do not say.
    pub base_commit: Option<CommitId>,
    /// Whether its author is not done.
    pub draft: bool,
    /// Whether it is open.
    pub state: PullState,
    /// When anything about it last changed.
    pub updated: Timestamp,
}

/// Whether a pull request is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PullState {
    /// It is.
    Open,
    /// It was closed without a merge.
    Closed,
    /// It was merged.
    Merged {
        /// The commit that the merge made, if the service says: of a merge, of a squash, or the last of a rebase.
        commit: Option<CommitId>,
    },
}

/// A comment of a pull request or an issue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comment {
    /// Names it in the repository, and on GitLab in its merge request.
    pub id: u64,
    /// Who wrote it.
    pub author: Author,
    /// What they wrote, in Markdown.
    pub body: String,
    /// When.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Its page.
    pub url: String,
}

impl Comment {
    /// Tells whether it is not what was first written (`GUARDS.md` 5.4: such a one approves nothing).
    pub fn edited(&self) -> bool {
        self.updated != self.created
    }

    /// Tells whether it ends in a mark; who wrote it is another question.
    pub fn has(&self, mark: &Mark) -> bool {
        mark.is_on(&self.body)
    }
}

/// What is said about a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Names it among the statuses of its commit, such as `holdfast/web`.
    pub context: String,
    /// How it stands.
    pub state: StatusState,
    /// One line; what is longer than a service takes is cut.
    pub description: String,
    /// Where more is to be read.
    pub url: Option<String>,
    /// Markdown, for services that show such.
    pub summary: String,
}

/// How a status stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusState {
    /// Nobody knows yet.
    Pending,
    /// It passes.
    Success,
    /// It does not pass.
    Failure,
    /// It could not be judged.
    Error,
}

impl StatusState {
    /// Returns the word of GitHub's API, which Gitea's takes over.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

/// How an issue shall be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Issue<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its body, in Markdown.
    pub body: &'a str,
    /// Whether it is open.
    pub open: bool,
}

/// An issue that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssueRef {
    /// Its number in the repository.
    pub number: u64,
    /// Its page.
    pub url: String,
}

/// What somebody may do in a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Permission {
    /// Nothing, or no more than anybody.
    None,
    /// Read, and comment.
    Read,
    /// Push.
    Write,
    /// Say who may push.
    Admin,
}

/// Whom the credentials speak for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whoami {
    /// The account that what we write is by.
    pub login: String,
    /// What they may do, in the service's words; `None` where it does not say.
    pub scopes: Option<Vec<String>>,
    /// When they end, if the service says.
    pub expires: Option<Timestamp>,
}

/// One answer to what the credentials are good for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How it came out.
    pub fits: Fits,
    /// What was looked at, what was found, and what follows.
    pub what: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

/// Whether credentials are good for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fits {
    /// They are.
    Works,
    /// The service does not say.
    Unsure,
    /// They are not.
    Missing,
}
