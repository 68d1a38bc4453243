//! What is queued for a hosting service, and under which keys: at most one letter of a key waits, and a newer one takes its
//! place, so that a service that was down for a day is told how things stand rather than each step on the way.

use serde::{Deserialize, Serialize};

use super::halt::{FLEET, Halt};
use crate::core::commit::CommitId;
use crate::core::notice::{self, Open, Step};
use crate::core::state::LatchName;
use crate::store::{Ledger, Notice, StoreError};

/// What begins the kind and the key of every letter.
pub const PREFIX: &str = "forge";

/// How a commit status stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mood {
    /// It is not decided yet.
    Pending,
    /// Nothing is in the way.
    Success,
    /// It would halt, or does not verify or render.
    Failure,
    /// It could not be judged.
    Error,
}

/// One letter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "camelCase")]
pub enum Letter {
    /// The status of a commit.
    Status {
        /// Which commit.
        commit: CommitId,
        /// The application.
        app: String,
        /// How it stands.
        mood: Mood,
        /// One line of text.
        text: String,
        /// The same at length, where the service shows that.
        summary: String,
    },
    /// The comment on a pull request about its plan and what became of it.
    Plan {
        /// Which pull request.
        number: u64,
        /// The text.
        body: String,
    },
    /// A latch that holds, or no longer does.
    Halt {
        /// What is told.
        halt: Box<Halt>,
        /// Whether it holds.
        open: bool,
    },
    /// An answer to a comment.
    Reply {
        /// On which pull request or issue.
        number: u64,
        /// To which comment.
        comment: u64,
        /// The text.
        body: String,
    },
}

/// Makes what the queue takes.
pub fn notice(repo: &str, letter: &Letter) -> Result<Notice, serde_json::Error> {
    let (kind, about) = match letter {
        Letter::Status { commit, app, .. } => ("status", format!("{app}/{commit}")),
        Letter::Plan { number, .. } => ("plan", number.to_string()),
        Letter::Halt { halt, .. } => ("halt", about(halt.whom(), halt.latch)),
        Letter::Reply { comment, .. } => ("reply", comment.to_string()),
    };
    let key = key(repo, kind, &about);
    Ok(Notice { kind: format!("{PREFIX}.{kind}"), key, json: serde_json::to_string(letter)? })
}

/// Returns which repository a queued letter is for.
pub fn repo_of(key: &str) -> Option<&str> {
    // A repository's path has slashes of its own; what follows it has a fixed form.
    let rest = key.strip_prefix(PREFIX)?.strip_prefix('/')?;
    let at = ["/status/", "/plan/", "/halt/", "/reply/"].iter().filter_map(|mark| rest.rfind(mark)).max()?;
    rest.get(..at)
}

/// Queues a letter; tells whether that changed anything.
///
/// # Errors
/// Those of the ledger.
pub fn queue(ledger: &Ledger, repo: &str, letter: &Letter, now: jiff::Timestamp) -> Result<bool, StoreError> {
    match notice(repo, letter) {
        Ok(notice) => ledger.outbox_push(&notice, now),
        Err(error) => {
            tracing::error!(%error, "a letter could not be written");
            Ok(false)
        }
    }
}

/// Queues what a cycle's report owes: each latch that holds, and each that is told and holds no longer.
///
/// Made anew in every cycle, so that nothing is owed to a crash in between; what says the same again is not queued.
///
/// # Errors
/// Those of the ledger.
pub fn queue_halts(
    ledger: &Ledger,
    repo: &str,
    app: &str,
    halts: &[Halt],
    now: jiff::Timestamp,
) -> Result<(), StoreError> {
    for latch in LatchName::ALL.into_iter().filter(|latch| notice::is_told(*latch)) {
        for whom in [app, FLEET] {
            let holds = halts.iter().find(|halt| halt.latch == latch && halt.whom() == whom);
            let told = match ledger.last_notice(&key(repo, "halt", &about(whom, latch)))? {
                Some(json) => match serde_json::from_str(&json) {
                    Ok(Letter::Halt { halt, open: true }) => Some(halt),
                    _ => None,
                },
                None => None,
            };
            let open = told
                .as_ref()
                .map(|told| Open { own: told.app == app, same: holds.is_some_and(|halt| halt.digest == told.digest) });
            match (notice::step(holds.is_some(), open), holds, told) {
                (Step::Tell, Some(halt), _) => {
                    queue(ledger, repo, &Letter::Halt { halt: Box::new(halt.clone()), open: true }, now)?;
                    if let Some(status) = blame(halt) {
                        queue(ledger, repo, &status, now)?;
                    }
                }
                (Step::Close, _, Some(halt)) => {
                    queue(ledger, repo, &Letter::Halt { halt, open: false }, now)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn about(whom: &str, latch: LatchName) -> String {
    format!("{whom}/{}", latch.as_str())
}

fn key(repo: &str, kind: &str, about: &str) -> String {
    format!("{PREFIX}/{repo}/{kind}/{about}")
}

/// Makes the failed status of the commit that is to blame.
fn blame(halt: &Halt) -> Option<Letter> {
    let commit = halt.culprit.as_ref()?.commit.clone();
    let why = halt.why.first().map_or("", String::as_str);
    let text = format!("halted ({}): {why}", halt.latch.as_str());
    let summary = halt.body(None, false);
    Some(Letter::Status { commit, app: halt.app.clone(), mood: Mood::Failure, text, summary })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_repository() {
        let letter = Letter::Plan { number: 7, body: String::new() };
        let notice = notice("gitea:git.example.com/acme/plan/halt/fleet", &letter).unwrap();
        assert_eq!(repo_of(&notice.key), Some("gitea:git.example.com/acme/plan/halt/fleet"));
        assert_eq!(notice.kind, "forge.plan");
        assert_eq!(repo_of("alert/abc/web/PLAN"), None);
    }
}
