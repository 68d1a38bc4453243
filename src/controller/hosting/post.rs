//! Delivers letters: whatever waits is tried until it arrives, and nothing is told twice (`GUARDS.md` 5.9).

use jiff::{SignedDuration, Timestamp};

use super::halt::{self, Halt};
use super::letter::{Letter, Mood, PREFIX, repo_of};
use super::markdown::code;
use super::place::{Place, Service};
use crate::clock::MachineClock;
use crate::core::alert;
use crate::core::commit::CommitId;
use crate::core::notice::Spot;
use crate::forges::{ForgeError, Issue, Mark, Pull, PullState, Repo, Status, StatusState};
use crate::store::{Ledger, Queued, StoreError};

/// How many letters are taken from the queue at once.
const BATCH: usize = 500;

/// How long a letter that a person has to look after waits at most.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// How many hours a letter for nobody is kept.
const HOMELESS: u32 = 24 * 14;

/// Delivers what is due to the services of these places. One that is down holds up no other.
pub async fn pass(ledger: &Ledger, places: &[Place<'_>], stopped: &(dyn Fn() -> bool + Sync)) {
    let due = match ledger.outbox_due(MachineClock::wall(), BATCH) {
        Ok(due) => due,
        Err(error) => return tracing::debug!(%error, "the queue of letters cannot be read"),
    };
    let mut down: Vec<(&str, Timestamp, String)> = Vec::new();
    for queued in due.iter().filter(|queued| queued.notice.kind.starts_with(PREFIX)) {
        if stopped() {
            return;
        }
        let repo = repo_of(&queued.notice.key).unwrap_or_default();
        let Some(place) = places.iter().find(|place| place.key == repo) else {
            keep(homeless(ledger, queued));
            continue;
        };
        let service = place.service.client.url();
        if let Some((_, next, why)) = down.iter().find(|(url, ..)| *url == service) {
            keep(ledger.outbox_fail(queued, *next, why));
            continue;
        }
        match deliver(ledger, place, queued).await {
            Ok(reference) => keep(ledger.outbox_done(queued, reference.as_deref(), MachineClock::wall())),
            Err(error) => {
                let next = again(queued.attempts, &error);
                let why = error.to_string();
                tracing::warn!(letter = %queued.notice.key, attempts = queued.attempts + 1, %why, %next, "a letter did not arrive");
                keep(ledger.outbox_fail(queued, next, &why));
                if error.is_transient() {
                    down.push((service, next, why));
                }
            }
        }
    }
}

/// Keeps a letter for what is not configured (any more): applications of a cluster are not known at once, and come back.
fn homeless(ledger: &Ledger, queued: &Queued) -> Result<(), StoreError> {
    let now = MachineClock::wall();
    if queued.attempts >= HOMELESS {
        tracing::warn!(letter = %queued.notice.key, "dropped: nothing that is configured is there any longer");
        return ledger.outbox_done(queued, None, now);
    }
    ledger.outbox_fail(queued, now.checked_add(LONGEST).unwrap_or(now), "nothing that is configured is there")
}

fn keep(kept: Result<(), StoreError>) {
    if let Err(error) = kept {
        tracing::error!(%error, "what became of a letter cannot be kept: it is looked for before it is sent again");
    }
}

/// Returns when a letter is tried again: later each time, and not before the service asked for.
fn again(attempts: u32, error: &ForgeError) -> Timestamp {
    let now = MachineClock::wall();
    // Jitter only: what does not repeat within a second is random enough.
    let jitter = f64::from(now.subsec_nanosecond().unsigned_abs() % 1000) / 1000.0;
    let wait = SignedDuration::try_from(alert::retry_after(attempts, jitter)).unwrap_or(LONGEST);
    // What a person has to mend is no hurry.
    let wait = if error.is_transient() { wait } else { (wait * 60).min(LONGEST) };
    let next = now.checked_add(wait).unwrap_or(now);
    error.retry_at().map_or(next, |at| at.max(next))
}

/// Delivers one letter; returns where it is, if it can be brought up to date.
async fn deliver(ledger: &Ledger, place: &Place<'_>, queued: &Queued) -> Result<Option<String>, ForgeError> {
    let Ok(letter) = serde_json::from_str::<Letter>(&queued.notice.json) else {
        tracing::error!(letter = %queued.notice.key, "dropped: it is not what this version writes");
        return Ok(None);
    };
    let before = ledger.delivered(&queued.notice.key).ok().flatten();
    let (client, repo) = (&place.service.client, &place.repo);
    match letter {
        Letter::Status { commit, app, mood, text, summary } => {
            let status = Status {
                context: format!("holdfast/{app}"),
                state: state(mood),
                description: text,
                url: None,
                summary,
            };
            client.set_status(repo, &commit, &status).await?;
            Ok(None)
        }
        Letter::Plan { number, body } => {
            let known = before.and_then(|before| Spot::parse(&before.reference?));
            comment(place.service, repo, known, number, &mark(place, "plan", &place.branch), &body).await.map(Some)
        }
        Letter::Reply { number, comment, body } => {
            client.put_comment(repo, number, &mark(place, "reply", &comment.to_string()), &body).await?;
            Ok(None)
        }
        Letter::Halt { halt, open } => {
            let known = before.and_then(|before| {
                let spot = Spot::parse(&before.reference?)?;
                match serde_json::from_str(&before.json).ok()? {
                    Letter::Halt { halt, open } => Some(Known { spot, halt: *halt, open }),
                    _ => None,
                }
            });
            Teller { place, mark: Mark::new(&format!("halt-{}", halt.latch.as_str()), halt.whom()) }
                .tell(&halt, open, known)
                .await
        }
    }
}

/// Marks what is ours: of this controller, kind and matter.
fn mark(place: &Place<'_>, kind: &str, about: &str) -> Mark {
    Mark::new(kind, &format!("{}/{about}", place.controller))
}

const fn state(mood: Mood) -> StatusState {
    match mood {
        Mood::Pending => StatusState::Pending,
        Mood::Success => StatusState::Success,
        Mood::Failure => StatusState::Failure,
        Mood::Error => StatusState::Error,
    }
}

/// Brings a comment up to date, or makes it.
async fn comment(
    service: &Service,
    repo: &Repo,
    known: Option<Spot>,
    number: u64,
    mark: &Mark,
    body: &str,
) -> Result<String, ForgeError> {
    if let Some(Spot::Comment { number: there, id }) = known
        && there == number
    {
        match service.client.edit_comment(repo, number, id, mark, body).await {
            // Somebody removed it: it is made anew.
            Err(ForgeError::NotFound { .. }) => {}
            edited => return edited.map(|()| Spot::Comment { number, id }.to_string()),
        }
    }
    let id = service.client.put_comment(repo, number, mark, body).await?;
    Ok(Spot::Comment { number, id }.to_string())
}

/// A notice that arrived before.
struct Known {
    spot: Spot,
    halt: Halt,
    open: bool,
}

/// Tells of one latch of one application.
struct Teller<'a> {
    place: &'a Place<'a>,
    mark: Mark,
}

impl Teller<'_> {
    async fn tell(&self, halt: &Halt, open: bool, known: Option<Known>) -> Result<Option<String>, ForgeError> {
        let current = known.filter(|known| known.open);
        if !open {
            // What was never told needs no end.
            let Some(known) = current else { return Ok(None) };
            return self.close(&known).await;
        }
        let pull = self.brought(halt.blamed()).await?;
        if let Some(known) = current {
            let stays = match (known.spot, &pull) {
                (Spot::Comment { number, .. }, Some(pull)) => pull.number == number,
                (Spot::Issue { .. }, None) => true,
                _ => known.halt.blamed() == halt.blamed(),
            };
            if stays {
                return self.at(known.spot, halt).await.map(Some);
            }
            // Another commit is to blame by now: it is told where that one came from.
            self.close(&known).await?;
        }
        match pull {
            Some(pull) => {
                let body = self.body(halt, Some(&pull)).await;
                let (service, repo) = (self.place.service, &self.place.repo);
                comment(service, repo, None, pull.number, &self.mark, &body).await.map(Some)
            }
            None => self.issue(halt, None).await.map(Some),
        }
    }

    /// Brings a notice up to date where it is.
    async fn at(&self, place: Spot, halt: &Halt) -> Result<String, ForgeError> {
        match place {
            Spot::Comment { number, .. } => {
                let pull = self.place.service.client.pull(&self.place.repo, number).await?;
                let body = self.body(halt, Some(&pull)).await;
                comment(self.place.service, &self.place.repo, Some(place), number, &self.mark, &body).await
            }
            Spot::Issue { number } => self.issue(halt, Some(number)).await,
        }
    }

    /// Finds the merged pull request that brought a commit.
    async fn brought(&self, commit: Option<&CommitId>) -> Result<Option<Pull>, ForgeError> {
        let Some(commit) = commit else { return Ok(None) };
        let pulls = match self.place.service.client.pulls_of(&self.place.repo, commit).await {
            Err(ForgeError::NotFound { .. }) => Vec::new(),
            pulls => pulls?,
        };
        let here = |pull: &Pull| pull.base == self.place.branch && matches!(pull.state, PullState::Merged { .. });
        Ok(pulls.into_iter().find(here))
    }

    async fn issue(&self, halt: &Halt, known: Option<u64>) -> Result<String, ForgeError> {
        let body = self.body(halt, None).await;
        let issue = Issue { title: &halt.title(), body: &body, open: true };
        let client = &self.place.service.client;
        let made = match client.put_issue(&self.place.repo, &self.mark, &issue, known).await {
            // Somebody removed it: it is made anew.
            Err(ForgeError::NotFound { .. }) if known.is_some() => {
                client.put_issue(&self.place.repo, &self.mark, &issue, None).await
            }
            made => made,
        }?;
        let number =
            made.ok_or_else(|| ForgeError::Unexpected { what: "an issue without a number".to_owned() })?.number;
        Ok(Spot::Issue { number }.to_string())
    }

    async fn close(&self, known: &Known) -> Result<Option<String>, ForgeError> {
        let body = halt::over(&known.halt, &known.halt.body(None, false));
        let gone = match known.spot {
            spot @ Spot::Comment { number, id } => {
                let edited =
                    self.place.service.client.edit_comment(&self.place.repo, number, id, &self.mark, &body).await;
                edited.map(|()| Some(spot.to_string()))
            }
            spot @ Spot::Issue { number } => {
                let issue = Issue { title: &known.halt.title(), body: &body, open: false };
                let put = self.place.service.client.put_issue(&self.place.repo, &self.mark, &issue, Some(number)).await;
                put.map(|_| Some(spot.to_string()))
            }
        };
        match gone {
            // There is nothing left to close.
            Err(ForgeError::NotFound { .. }) => Ok(None),
            other => other,
        }
    }

    async fn body(&self, halt: &Halt, pull: Option<&Pull>) -> String {
        let client = &self.place.service.client;
        let author = match (&halt.culprit, pull) {
            (Some(culprit), _) => match client.commit_author(&self.place.repo, &culprit.commit).await {
                Ok(Some(author)) => Some(author.login),
                // A mention is a courtesy: the notice does not wait for it.
                Ok(None) | Err(_) => pull.map(|pull| pull.author.login.clone()),
            },
            (None, _) => None,
        };
        let body = halt.body(author.as_deref(), self.place.service.comments);
        if body.len() <= client.body_limit() {
            return body;
        }
        Halt { operations: vec![format!("too much to show here: holdfast plan {}", code(&halt.app))], ..halt.clone() }
            .body(author.as_deref(), self.place.service.comments)
    }
}
