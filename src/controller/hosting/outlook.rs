//! What the merge of an open pull request would bring to one application.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::controller::report::{LatchStatus, Status};
use crate::core::guards::Guards;
use crate::core::state::LatchName;

/// What becomes of the merge, in the words that a commit status can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It changes nothing here.
    Idle,
    /// It would be promoted.
    Passes,
    /// A limit would be crossed.
    Halts,
    /// Its commits do not verify, or do not go on from what was verified.
    Unverified,
    /// It does not render.
    Unrendered,
    /// It cannot be merged as it is.
    Conflicts,
    /// It could not be judged.
    Unknown,
}

/// What the merge would bring to one application.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The application.
    pub app: Arc<str>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why it is no better, in a sentence.
    pub why: Option<String>,
    /// The judgement, where there is one.
    pub status: Option<Box<Status>>,
    /// How many changes may pass at once; none where that is not limited.
    pub limit: Option<u32>,
}

impl Outlook {
    /// Reads a judgement of the merge.
    pub fn judged(status: Status, guards: &Guards) -> Self {
        let because = |names: &[LatchName]| {
            let latch = status.latches.iter().find(|latch| names.contains(&latch.name));
            latch.map(|latch| latch.reasons.first().map_or_else(String::new, |reason| reason.message.clone()))
        };
        let bad = [
            (&[LatchName::Render][..], Verdict::Unrendered),
            (&[LatchName::Signature, LatchName::History], Verdict::Unverified),
            (&[LatchName::Plan], Verdict::Halts),
        ];
        let found = bad.into_iter().find_map(|(names, verdict)| Some((verdict, because(names)?)));
        let (verdict, why) = match (found, &status.source.error) {
            (Some((verdict, why)), _) => (verdict, Some(why)),
            (None, Some(error)) => (Verdict::Unknown, Some(error.clone())),
            (None, None) if status.plan.as_ref().is_none_or(|plan| plan.operations.is_empty()) => (Verdict::Idle, None),
            (None, None) => (Verdict::Passes, None),
        };
        let limit = guards.change_halt.at(status.inventory);
        Self { app: status.name.clone(), verdict, why, status: Some(Box::new(status)), limit }
    }

    /// Says that there is no judgement.
    pub fn without(app: Arc<str>, verdict: Verdict, why: impl Into<String>) -> Self {
        Self { app, verdict, why: Some(why.into()), status: None, limit: None }
    }

    /// Returns what withholds writes whatever the merge brings, freezes above all.
    pub fn standing(&self) -> impl Iterator<Item = &LatchStatus> {
        let latches = self.status.iter().flat_map(|status| &status.latches);
        latches.filter(|latch| {
            !matches!(latch.name, LatchName::Render | LatchName::Signature | LatchName::History | LatchName::Plan)
        })
    }
}

impl Verdict {
    /// Says it in the words of a heading.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Idle => "is not touched",
            Self::Passes => "passes",
            Self::Halts => "would **halt**",
            Self::Unverified => "does **not verify**",
            Self::Unrendered => "does **not render**",
            Self::Conflicts => "cannot be merged",
            Self::Unknown => "could not be judged",
        }
    }

    /// Says it in the words of a commit status.
    pub fn short(self) -> String {
        self.words().replace("**", "")
    }
}
