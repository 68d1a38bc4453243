//! What a backtest found, as JSON has it, and how pushes add up to a summary.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Blame;
use crate::core::backtest::{Judged, Push};
use crate::core::commit::CommitId;
use crate::core::culprit::CommitEffect;
use crate::core::reason::Reason;

/// What the guards would have done.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The newest commit.
    pub tip: CommitId,
    /// Whether the clone is shallow, so that there was more before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut_off: bool,
    /// How many files' contents are missing from a partial clone.
    #[serde(skip_serializing_if = "is_none_missing")]
    pub without_content: usize,
    /// In numbers.
    pub summary: Summary,
    /// Each push, oldest first.
    pub pushes: Vec<PushReport>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_none_missing(count: &usize) -> bool {
    *count == 0
}

/// What the guards would have done, in numbers.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many pushes were judged.
    pub pushes: usize,
    /// How many of them change nothing that is desired here.
    pub unchanged: usize,
    /// How many pass.
    pub passed: usize,
    /// How many would have been held.
    pub held: usize,
    /// The same by the first limit that each crosses.
    pub by_code: BTreeMap<Arc<str>, usize>,
    /// How many deletions would have been parked.
    pub parked: usize,
    /// How many of what would have been held was taken back within a day.
    pub reverted_within_day: usize,
    /// How many of what passes was taken back within a day.
    pub passed_reverted_within_day: usize,
    /// When the first push landed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When the last one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// What other guards would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
}

/// What other guards would have done differently.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Other {
    /// What they are called.
    pub with: String,
    /// How many pushes they would have held.
    pub held: usize,
    /// The pushes that they would have let through.
    pub let_through: Vec<CommitId>,
    /// The pushes that only they would have held.
    pub also_held: Vec<CommitId>,
}

/// What the guards would have done on one push.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PushReport {
    /// Its newest commit.
    pub commit: CommitId,
    /// When it landed.
    pub at: Timestamp,
    /// Who its newest commit claims wrote it.
    pub author: String,
    /// The first line of that commit's message.
    pub subject: String,
    /// How many first-parent commits it has.
    pub commits: usize,
    /// What is new.
    pub creates: u32,
    /// What is changed.
    pub updates: u32,
    /// What is removed.
    pub deletes: u32,
    /// Version-only updates.
    pub bumps: u32,
    /// Deletions that would have been parked.
    pub parked: u32,
    /// How many resources there were.
    pub n: u32,
    /// `held` or `passed`.
    pub verdict: &'static str,
    /// Whether it leads back to a good state, and so is exempt from most limits.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub returns: bool,
    /// The limits that it crosses.
    pub codes: Vec<Arc<str>>,
    /// The same in numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// The commit of it that crosses a limit by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub culprit: Option<Part>,
    /// Where none does, the commits that contribute, the largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contributors: Vec<Part>,
    /// What nearly all of its operations have in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Arc<str>>,
    /// Whether a later push within a day led back to what was before.
    pub reverted_within_day: bool,
}

impl PushReport {
    /// Tells whether it would have been held.
    pub fn is_held(&self) -> bool {
        self.verdict == "held"
    }
}

/// One commit of a push that would have been held.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The commit.
    pub commit: CommitId,
    /// Who it claims wrote it.
    pub author: String,
    /// The first line of its message.
    pub subject: String,
    /// How much it changes, bumps included.
    pub magnitude: u32,
}

impl From<&CommitEffect> for Part {
    fn from(effect: &CommitEffect) -> Self {
        let CommitEffect { commit, author, subject, magnitude, .. } = effect;
        let magnitude = magnitude.rank();
        Self { commit: commit.clone(), author: author.clone(), subject: subject.clone(), magnitude }
    }
}

pub(super) fn report(push: &Push, judged: Judged, blame: Blame, back: bool) -> PushReport {
    let verdict = if judged.is_held() { "held" } else { "passed" };
    let Judged { reasons, magnitude, n, parked, returns, shape, before: _, after: _ } = judged;
    let mut codes: Vec<Arc<str>> = reasons.iter().map(|reason| reason.code.clone()).collect();
    codes.dedup();
    let tip = push.tip();
    PushReport {
        commit: tip.id.clone(),
        at: push.at,
        author: tip.author.name.clone(),
        subject: tip.subject.clone(),
        commits: push.commits.len(),
        creates: magnitude.creates,
        updates: magnitude.updates,
        deletes: magnitude.deletes,
        bumps: magnitude.bumps,
        parked,
        n,
        verdict,
        returns,
        codes,
        reasons,
        culprit: blame.culprit,
        contributors: blame.contributors,
        shape,
        reverted_within_day: back,
    }
}

impl Other {
    pub(super) fn new(with: &str) -> Self {
        Self { with: with.to_owned(), held: 0, let_through: Vec::new(), also_held: Vec::new() }
    }
}

impl Summary {
    pub(super) fn count(&mut self, push: &PushReport, unchanged: bool, other: bool) {
        self.pushes += 1;
        self.unchanged += usize::from(unchanged);
        self.parked += push.parked as usize;
        self.from.get_or_insert(push.at);
        self.to = Some(push.at);
        if push.is_held() {
            self.held += 1;
            self.reverted_within_day += usize::from(push.reverted_within_day);
            if let Some(code) = push.codes.first() {
                *self.by_code.entry(code.clone()).or_default() += 1;
            }
        } else {
            self.passed += 1;
            self.passed_reverted_within_day += usize::from(push.reverted_within_day);
        }
        let Some(with) = &mut self.other else { return };
        with.held += usize::from(other);
        match (push.is_held(), other) {
            (true, false) => with.let_through.push(push.commit.clone()),
            (false, true) => with.also_held.push(push.commit.clone()),
            _ => {}
        }
    }
}
