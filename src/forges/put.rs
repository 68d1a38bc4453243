//! Notices of which there is one each, whatever is retried: looked for before they are made, and again before that is repeated.
//!
//! The number of one that was found or made is remembered, so that a change costs one request. Where a service did not say whether
//! it made one, the list is read at every change from then on, and what turned up late is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Client;
use super::error::ForgeError;
use super::mark::Mark;
use super::model::{Comment, Issue, IssueRef};
use super::repo::Repo;

/// The most notices whose numbers are remembered; then all are looked up again.
const MOST: usize = 10_000;

/// An issue of ours that is open.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    pub(super) number: u64,
    pub(super) url: String,
    pub(super) body: String,
}

impl Ours {
    pub(super) fn reference(self) -> IssueRef {
        IssueRef { number: self.number, url: self.url }
    }
}

/// Names a notice: where it is, below what, and its mark. Below nothing is an issue.
type Place = (Repo, Option<u64>, Mark);

/// The notices that are known.
#[derive(Debug, Default)]
pub(super) struct Notices {
    numbers: Mutex<BTreeMap<Place, u64>>,
    /// Those of which there may be one that nobody told us of.
    doubtful: Mutex<BTreeSet<Place>>,
}

impl Notices {
    fn numbers(&self) -> MutexGuard<'_, BTreeMap<Place, u64>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<Place>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of a notice, unless there may be another one.
    fn known(&self, place: &Place) -> Option<u64> {
        if self.doubtful().contains(place) { None } else { self.numbers().get(place).copied() }
    }

    fn learn(&self, place: &Place, number: u64) {
        let mut numbers = self.numbers();
        if numbers.len() >= MOST {
            numbers.clear();
        }
        numbers.insert(place.clone(), number);
    }

    fn forget(&self, place: &Place) {
        self.numbers().remove(place);
    }

    fn doubt(&self, place: &Place) {
        self.doubtful().insert(place.clone());
    }
}

impl Client {
    /// Makes our comment with this mark say this, or makes one.
    ///
    /// # Errors
    /// Why not. After [`ForgeError::Unknown`] it may be there; the next attempt finds it.
    pub async fn put_comment(&self, repo: &Repo, number: u64, mark: &Mark, body: &str) -> Result<u64, ForgeError> {
        let place = (repo.clone(), Some(number), mark.clone());
        let body = mark.on(body, self.body_limit());
        if let Some(id) = self.notices.known(&place) {
            match self.update_comment(repo, number, id, &body).await {
                // Somebody deleted it, and it is said again.
                Err(ForgeError::NotFound { .. }) => self.notices.forget(&place),
                other => return other.map(|()| id),
            }
        }
        if let Some(id) = self.update_found(&place, number, &body).await? {
            return Ok(id);
        }
        match self.create_comment(repo, number, &body).await {
            Ok(id) => {
                self.notices.learn(&place, id);
                Ok(id)
            }
            Err(unknown @ (ForgeError::Unknown { .. } | ForgeError::Unexpected { .. })) => {
                self.notices.doubt(&place);
                self.update_found(&place, number, &body).await?.ok_or(unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks for our comment, changes it, and takes away what there is besides it.
    async fn update_found(&self, place: &Place, number: u64, body: &str) -> Result<Option<u64>, ForgeError> {
        let (repo, _, mark) = place;
        let mut found = self.our_comments(repo, number, mark).await?.into_iter();
        let Some(first) = found.next() else { return Ok(None) };
        if first.body != body {
            self.update_comment(repo, number, first.id, body).await?;
        }
        for extra in found {
            tracing::warn!(%repo, number, id = extra.id, "a second copy of a comment is taken away");
            self.delete_comment(repo, number, extra.id).await?;
        }
        self.notices.learn(place, first.id);
        Ok(Some(first.id))
    }

    /// Returns our comments with a mark, the first one first.
    async fn our_comments(&self, repo: &Repo, number: u64, mark: &Mark) -> Result<Vec<Comment>, ForgeError> {
        let me = self.whoami(repo).await?.login;
        let mut all = self.comments(repo, number, None).await?;
        all.retain(|comment| comment.author.login.eq_ignore_ascii_case(&me) && comment.has(mark));
        all.sort_by_key(|comment| comment.id);
        Ok(all)
    }

    /// Returns our comment with a mark.
    ///
    /// # Errors
    /// Why it could not be looked for.
    pub async fn find_comment(&self, repo: &Repo, number: u64, mark: &Mark) -> Result<Option<Comment>, ForgeError> {
        Ok(self.our_comments(repo, number, mark).await?.into_iter().next())
    }

    /// Makes a comment of ours that is known say this.
    ///
    /// # Errors
    /// Why not; not found if somebody deleted it.
    pub async fn edit_comment(
        &self,
        repo: &Repo,
        number: u64,
        id: u64,
        mark: &Mark,
        body: &str,
    ) -> Result<(), ForgeError> {
        self.update_comment(repo, number, id, &mark.on(body, self.body_limit())).await
    }

    /// Makes our issue with this mark be so: the one of a number that is known, otherwise an open one with the mark, otherwise a
    /// new one, unless it shall be closed. `None` is that there is none to close.
    ///
    /// # Errors
    /// Why not. After [`ForgeError::Unknown`] it may be there; the next attempt finds it.
    pub async fn put_issue(
        &self,
        repo: &Repo,
        mark: &Mark,
        issue: &Issue<'_>,
        known: Option<u64>,
    ) -> Result<Option<IssueRef>, ForgeError> {
        let place = (repo.clone(), None, mark.clone());
        let body = mark.on(issue.body, self.body_limit());
        let issue = Issue { body: &body, ..*issue };
        let doubtful = self.notices.doubtful().contains(&place);
        if let Some(number) = known.or_else(|| self.notices.known(&place)) {
            match self.update_issue(repo, number, &issue).await {
                // Somebody deleted it, and it is said again.
                Err(ForgeError::NotFound { .. }) => self.notices.forget(&place),
                other => {
                    let done = other?;
                    if doubtful {
                        let found = self.our_issues(&place).await?;
                        self.close_others(&place, &found, done.number).await?;
                    }
                    return Ok(Some(done));
                }
            }
        }
        if let Some(done) = self.update_found_issue(&place, &issue).await? {
            return Ok(Some(done));
        }
        if !issue.open {
            return Ok(None);
        }
        match self.create_issue(repo, issue.title, &body).await {
            Ok(made) => {
                self.notices.learn(&place, made.number);
                Ok(Some(made))
            }
            Err(unknown @ (ForgeError::Unknown { .. } | ForgeError::Unexpected { .. })) => {
                self.notices.doubt(&place);
                self.update_found_issue(&place, &issue).await?.map(Some).ok_or(unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks for our issue, changes it, and closes what there is besides it.
    async fn update_found_issue(&self, place: &Place, issue: &Issue<'_>) -> Result<Option<IssueRef>, ForgeError> {
        let found = self.our_issues(place).await?;
        let Some(first) = found.first() else { return Ok(None) };
        let done = self.update_issue(&place.0, first.number, issue).await?;
        self.notices.learn(place, first.number);
        self.close_others(place, &found, first.number).await?;
        Ok(Some(done))
    }

    /// Closes what there is besides an issue: nothing can delete them.
    async fn close_others(&self, place: &Place, found: &[Ours], number: u64) -> Result<(), ForgeError> {
        for extra in found.iter().filter(|issue| issue.number != number) {
            tracing::warn!(repo = %place.0, number = extra.number, "a second copy of an issue is closed");
            let body = place.2.on(&format!("This is told in #{number}."), self.body_limit());
            let issue = Issue { title: "Told elsewhere", body: &body, open: false };
            self.update_issue(&place.0, extra.number, &issue).await?;
        }
        Ok(())
    }

    /// Returns our open issues with a mark, the first one first.
    async fn our_issues(&self, place: &Place) -> Result<Vec<Ours>, ForgeError> {
        let mut all = self.open_issues(&place.0).await?;
        all.retain(|issue| place.2.is_on(&issue.body));
        all.sort_by_key(|issue| issue.number);
        Ok(all)
    }
}
