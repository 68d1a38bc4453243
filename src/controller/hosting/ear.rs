//! Hears comments: an approval by whoever may give one, an answer to whatever only looks like one (`GUARDS.md` 5.4).

use jiff::Timestamp;

use super::letter::{Letter, PREFIX, queue};
use super::markdown::code;
use super::place::Place;
use super::pulls::{LookError, followed, keep};
use crate::clock::MachineClock;
use crate::controller::operate::{Actor, Desk, OperateError};
use crate::core::comment::{self, Heard, Said};
use crate::core::notice::Spot;
use crate::core::resource::Digest;
use crate::forges::{Comment, ForgeError, Permission, Pull};
use crate::store::StoreError;

/// How often a pull request is heard again that did not change: two comments of one second are told apart by nothing.
const LOOKS: u8 = 3;

/// Hears the comments of one place.
pub struct Ear<'a> {
    /// What takes approvals.
    pub desk: Desk<'a>,
    /// Where.
    pub place: &'a Place<'a>,
}

impl Ear<'_> {
    /// Hears what was said since, on pull requests that changed and where a halt is told.
    ///
    /// # Errors
    /// Those of the service and the ledger; what was not heard is heard the next time.
    pub async fn listen(&self, open: &[Pull]) -> Result<(), LookError> {
        if !self.place.service.comments {
            return Ok(());
        }
        let key = &self.place.key;
        let mut heard: Vec<u64> = Vec::new();
        for (number, mut known) in followed(self.desk.ledger, key)? {
            if known.branch != self.place.branch {
                continue;
            }
            let pull = open.iter().find(|pull| pull.number == number);
            // Whatever is said on a pull request changes it; a merged one is not listed any more.
            let changed = pull.is_none_or(|pull| pull.updated != known.updated);
            if !changed && known.looks >= LOOKS {
                continue;
            }
            known.heard = self.hear(number, known.heard).await?.or(known.heard);
            heard.push(number);
            known.looks = if changed { 0 } else { known.looks + 1 };
            known.updated = pull.map_or(known.updated, |pull| pull.updated);
            keep(self.desk.ledger, key, number, &known)?;
        }
        for number in self.told()? {
            if !heard.contains(&number) {
                self.hear(number, None).await?;
            }
        }
        Ok(())
    }

    /// Returns where a halt is told that holds.
    fn told(&self) -> Result<Vec<u64>, StoreError> {
        let mut numbers = Vec::new();
        for delivered in self.desk.ledger.delivered_under(&format!("{PREFIX}/{}/halt/", self.place.key))? {
            let open = matches!(serde_json::from_str(&delivered.json), Ok(Letter::Halt { open: true, .. }));
            let spot = delivered.reference.as_deref().and_then(Spot::parse);
            if let (true, Some(Spot::Comment { number, .. } | Spot::Issue { number })) = (open, spot)
                && !numbers.contains(&number)
            {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Hears what was written or changed since then; returns when the newest was.
    async fn hear(&self, number: u64, since: Option<Timestamp>) -> Result<Option<Timestamp>, LookError> {
        let (client, repo) = (&self.place.service.client, &self.place.repo);
        let comments = match client.comments(repo, number, since).await {
            Err(ForgeError::NotFound { .. }) => return Ok(None),
            comments => comments?,
        };
        let me = client.whoami(repo).await?.login;
        for comment in comments.iter().filter(|comment| !comment.author.login.eq_ignore_ascii_case(&me)) {
            self.one(number, comment).await?;
        }
        Ok(comments.iter().map(|comment| comment.updated).max())
    }

    async fn one(&self, number: u64, comment: &Comment) -> Result<(), LookError> {
        let said = Said { body: comment.body.clone(), bot: comment.author.bot, edited: comment.edited() };
        let heard = comment::hear(&said);
        if heard == Heard::Nothing {
            return Ok(());
        }
        // Each version of a comment is answered once, also after a restart.
        let ledger = self.desk.ledger;
        let reply = Letter::Reply { number, comment: comment.id, body: String::new() };
        let answered = super::letter::notice(&self.place.key, &reply).ok();
        let answered = answered.map(|notice| ledger.last_notice(&notice.key)).transpose()?.flatten();
        if answered.is_some() {
            return Ok(());
        }
        let body = match heard {
            Heard::Nothing => return Ok(()),
            Heard::Refused(why) => format!("**Not approved:** {why}."),
            Heard::Approve(digest) => self.approve(&comment.author.login, digest).await?,
        };
        let login = &comment.author.login;
        tracing::info!(repository = %self.place.repo, number, comment = comment.id, by = %login, answer = %body, "a comment was heard");
        let body = format!(
            "{body}\n\n<sub>in answer to the comment of {} at {}</sub>",
            code(login),
            comment.created.strftime("%F %H:%M UTC")
        );
        queue(ledger, &self.place.key, &Letter::Reply { number, comment: comment.id, body }, MachineClock::wall())?;
        Ok(())
    }

    /// Takes an approval, and says what became of it.
    async fn approve(&self, login: &str, digest: Digest) -> Result<String, LookError> {
        let (client, repo) = (&self.place.service.client, &self.place.repo);
        let permission = match client.permission(repo, login).await {
            Err(ForgeError::NotFound { .. }) => Permission::None,
            Err(ForgeError::Forbidden { message }) => {
                let why = code(&message);
                return Ok(format!(
                    "**Not approved:** the service does not tell this account what you may do here: {why}"
                ));
            }
            permission => permission?,
        };
        if permission < Permission::Write {
            return Ok(
                "**Not approved:** the service does not confirm that you may write to this repository.".to_owned()
            );
        }
        let host = self.place.service.with_host.then_some(repo.host.as_str());
        let by = comment::name(client.kind().as_str(), host, login);
        let actor = Actor { by: by.clone(), via: "comment" };
        let mut refused: Option<String> = None;
        for app in &self.place.apps {
            match self.desk.approve(app, digest, &actor) {
                Ok(what) => {
                    let what = what.unwrap_or_else(|| "this change, whenever it is merged".to_owned());
                    let (by, digest, app) = (code(&by), code(&digest.to_string()), code(&app.name));
                    return Ok(format!(
                        "**Approved** by {by} for {app}: {what}. It serves once, for {digest} and nothing else."
                    ));
                }
                Err(OperateError::NothingHeld { .. }) => {}
                Err(error @ (OperateError::Store(_) | OperateError::Commit(_) | OperateError::Busy)) => {
                    return Err(LookError::Git(error.to_string()));
                }
                Err(OperateError::NotAnApprover(why)) => {
                    refused.get_or_insert(why);
                }
                Err(error) => {
                    refused.get_or_insert(error.to_string());
                }
            }
        }
        Ok(match refused {
            Some(why) => format!("**Not approved:** {}", code(&why)),
            None => {
                "**Not approved:** nothing that is held, parked or shown here has this digest (any more).".to_owned()
            }
        })
    }
}
