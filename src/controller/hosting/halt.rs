//! A halt as it is told on the hosting service: what was held and why, what was not written, what goes on, the ways out.

use serde::{Deserialize, Serialize};

use super::markdown::{code, cut, details, fenced, tag};
use crate::controller::report::{CommitStatus, LatchStatus, Status, operations};
use crate::core::commit::CommitId;
use crate::core::fleet;
use crate::core::notice;
use crate::core::resource::Digest;
use crate::core::state::LatchName;

/// How many lines of operations are told.
const LINES: usize = 60;

/// How many reasons and commits are told.
const SHOWN: usize = 10;

/// In the place of an application's name, all of a repository together; no application is called so.
pub const FLEET: &str = "(fleet)";

/// What is told of one latch of one application: made anew by every cycle, and told where it changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Halt {
    /// The application.
    pub app: String,
    /// The latch.
    pub latch: LatchName,
    /// Whether it holds all applications of the repository together (`GUARDS.md` 5.6).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleet: bool,
    /// Why it holds, in sentences.
    pub why: Vec<String>,
    /// What lets it go when approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What clears it.
    pub clear: String,
    /// The poisoned commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub culprit: Option<CommitStatus>,
    /// Who contributes, where no commit is to blame alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<CommitStatus>,
    /// The commit that the range ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tip: Option<CommitId>,
    /// Whether healing goes on, and to which commit.
    pub healing: bool,
    /// What it still is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<CommitId>,
    /// How many first-parent commits wait.
    pub behind: u32,
    /// What would have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
}

impl Halt {
    /// Returns what is to be told of a cycle's report.
    pub fn of(status: &Status) -> Vec<Self> {
        status
            .latches
            .iter()
            .filter(|latch| notice::is_told(latch.name))
            .map(|latch| Self::new(status, latch))
            .collect()
    }

    fn new(status: &Status, latch: &LatchStatus) -> Self {
        let plan = status.plan.as_ref().filter(|_| latch.name == LatchName::Plan);
        let failed =
            |commit: &&CommitStatus| !matches!(&*commit.verdict, "verified" | "vouched" | "exempt" | "unknown");
        // Of a range that does not verify, the first commit that fails is to blame.
        let culprit = match latch.name {
            LatchName::Plan => plan.and_then(|plan| plan.culprit.clone()),
            LatchName::Signature => status.plan.iter().flat_map(|plan| &plan.commits).find(failed).cloned(),
            _ => None,
        };
        let contributors = plan.map(|plan| plan.contributors.iter().take(SHOWN).cloned().collect());
        Self {
            app: status.name.to_string(),
            latch: latch.name,
            fleet: latch.reasons.iter().any(fleet::is_fleet),
            why: latch.reasons.iter().take(SHOWN).map(|reason| reason.message.clone()).collect(),
            digest: latch.digest,
            clear: latch.clear.clone(),
            culprit,
            contributors: contributors.unwrap_or_default(),
            tip: status.source.tip.clone(),
            healing: status.writes.healing,
            converged: status.source.converged.clone(),
            behind: status.source.behind,
            operations: plan.map(|plan| operations::lines(&plan.operations, true, LINES)).unwrap_or_default(),
        }
    }

    /// Returns the commit whose pull request is told, and which gets a failed status.
    pub fn blamed(&self) -> Option<&CommitId> {
        let promotion =
            matches!(self.latch, LatchName::Plan | LatchName::Signature | LatchName::Render | LatchName::Health);
        let culprit = self.culprit.as_ref().map(|culprit| &culprit.commit);
        culprit.or(self.tip.as_ref().filter(|_| promotion && self.contributors.is_empty()))
    }

    /// Names whom it holds, where notices are told apart: one for all that are judged together.
    pub fn whom(&self) -> &str {
        if self.fleet { FLEET } else { &self.app }
    }

    /// Writes the heading of an issue.
    pub fn title(&self) -> String {
        let why = self.why.first().map_or("", String::as_str);
        let whom = if self.fleet { "every application" } else { &self.app };
        cut(&format!("holdfast halted {whom}: {}: {why}", self.latch.as_str()), 200)
    }

    /// Writes the text.
    ///
    /// `author` is who wrote the culprit, as the service mentions people; `comments` says whether comments approve there.
    pub fn body(&self, author: Option<&str>, comments: bool) -> String {
        let app = match self.fleet {
            true => "every application of this repository".to_owned(),
            false => code(&self.app),
        };
        let mut out = match self.latch {
            LatchName::Plan => format!("**holdfast halted {app} before writing anything.**"),
            latch => format!("**holdfast halted {app} ({}).**", latch.as_str()),
        };
        if let Some(culprit) = &self.culprit {
            let by = author.map_or_else(|| code(&culprit.author), |login| format!("@{login}"));
            out += &format!(" Commit {} {} by {by} is to blame. ", culprit.commit.short(), code(&culprit.subject));
        }
        out += "\n\n";
        for why in &self.why {
            out += &format!("- {}\n", code(why));
        }
        if self.culprit.is_none() && !self.contributors.is_empty() {
            out += "\nNo commit crosses a limit alone; these contribute, the largest first:\n\n";
            for commit in &self.contributors {
                let (subject, author) = (code(&commit.subject), code(&commit.author));
                out += &format!("- {} {subject} by {author}: {} resources\n", commit.commit.short(), commit.magnitude);
            }
        }
        out += &self.goes_on();
        out += &self.ways_out(comments);
        if !self.operations.is_empty() {
            out.push('\n');
            let of = if self.fleet { format!(" of {}", tag(&self.app)) } else { String::new() };
            out += &details(&format!("What would have changed{of}"), &fenced(&self.operations.join("\n")));
        }
        out
    }

    fn goes_on(&self) -> String {
        let written = if self.latch == LatchName::Plan { "Written: nothing. " } else { "" };
        let healing = match (&self.converged, self.healing) {
            (Some(commit), true) => format!(", and healing to {}", commit.short()),
            (None, true) => ", and healing".to_owned(),
            (_, false) => "; healing is stopped too".to_owned(),
        };
        let behind = match self.behind {
            0 | 1 => String::new(),
            commits => format!(" Waiting: {commits} commits."),
        };
        format!("\n{written}Still running: detection{healing}.{behind}\n\n")
    }

    fn ways_out(&self, comments: bool) -> String {
        let mut out = String::new();
        if self.latch == LatchName::Plan {
            if let Some(culprit) = &self.culprit {
                let revert = format!("{} && git push", culprit.revert());
                out += &format!("**Take it back:** {}; a return to a good state is not held.\n", code(&revert));
            } else if let Some(converged) = &self.converged {
                let restore = format!(
                    "git restore --source={} --staged --worktree :/ && git commit && git push",
                    converged.short()
                );
                out += &format!("**Take all of it back:** {}; a return to a good state is not held.\n", code(&restore));
            }
        } else {
            out += &format!("**To clear it:** {}\n", code(&self.clear));
        }
        if let Some(digest) = &self.digest {
            let command = code(&format!("holdfast approve {} {digest}", self.app));
            let here = if comments {
                format!("{} as a comment here, or ", code(&format!("/holdfast approve {digest}")))
            } else {
                String::new()
            };
            out += &format!("**Let it go:** somebody listed who has no part in it: {here}{command}.\n");
        }
        out += &format!("**More:** {}\n", code(&format!("holdfast status {}", self.app)));
        out
    }
}

/// Writes what becomes of a notice once its latch is cleared; what it said is kept below.
pub fn over(halt: &Halt, body: &str) -> String {
    let whom = if halt.fleet { "every application".to_owned() } else { code(&halt.app) };
    let head = format!("**Over:** {} of {whom} holds no longer.\n\n", halt.latch.as_str());
    head + &details("What it said while it held", body)
}
