//! The comment on a pull request: what its merge would change, and afterwards what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::markdown::{cell, code, cut, details, fenced, tag};
use super::outlook::{Outlook, Verdict};
use crate::controller::report::{CommitStatus, PlanStatus, Status, operations};
use crate::core::commit::CommitId;
use crate::core::state::LatchName;

/// How many lines of operations are shown of each application, as long as there is room.
const LINES: usize = 120;

/// How many commits are named.
const COMMITS: usize = 5;

/// How long the text of a commit status may be (GitHub's limit, the smallest).
const STATUS: usize = 140;

/// How a merge is judged.
#[derive(Clone, PartialEq, Debug)]
pub struct Basis {
    /// The pull request's head.
    pub head: CommitId,
    /// The branch's tip.
    pub tip: CommitId,
    /// When.
    pub at: Timestamp,
    /// Whether it comes from another repository: then no values are shown.
    pub fork: bool,
    /// Whether comments approve.
    pub comments: bool,
    /// The commits that the merge brings, the largest first, where one of them would halt.
    pub blamed: Vec<CommitStatus>,
}

/// Writes the comment, of at most so many bytes.
pub fn plan(outlooks: &[Outlook], basis: &Basis, most: usize) -> String {
    // Less is shown until it fits: lists are counted where they end, never cut.
    for lines in [LINES, 40, 12, 0] {
        let text = whole(outlooks, basis, lines);
        if text.len() <= most || lines == 0 {
            return text;
        }
    }
    String::new()
}

fn whole(outlooks: &[Outlook], basis: &Basis, lines: usize) -> String {
    let heads: Vec<String> =
        outlooks.iter().map(|outlook| format!("{} {}", code(&outlook.app), outlook.verdict.words())).collect();
    let mut out = format!("**holdfast** · {}\n\n", heads.join(" · "));
    out += &table(outlooks);
    for outlook in outlooks {
        out += &reasons(outlook, basis);
    }
    for outlook in outlooks.iter().filter(|_| lines > 0) {
        out += &operations_of(outlook, basis, lines);
    }
    out += &approving(outlooks, basis);
    out += &footer(outlooks, basis);
    out
}

fn table(outlooks: &[Outlook]) -> String {
    let mut out = "| | create | update | delete | this changes | limit |\n|---|--:|--:|--:|--:|--:|\n".to_owned();
    let mut any = false;
    for outlook in outlooks {
        let Some((status, plan)) = planned(outlook) else { continue };
        any = true;
        let magnitude = plan.magnitude;
        let changes = magnitude.changes();
        let n = status.inventory;
        let share = if n == 0 { String::new() } else { format!(" ({} %)", u64::from(changes) * 100 / u64::from(n)) };
        let bold = if outlook.verdict == Verdict::Halts { "**" } else { "" };
        let limit = outlook.limit.map_or_else(|| "off".to_owned(), |limit| limit.to_string());
        out += &format!(
            "| {bold}{}{bold} | {} | {} | {} | {bold}{changes} of {n}{share}{bold} | {limit} |\n",
            cell(&outlook.app),
            magnitude.creates,
            magnitude.updates + magnitude.bumps + magnitude.inert,
            magnitude.deletes,
        );
    }
    if any { out + "\n" } else { String::new() }
}

fn planned(outlook: &Outlook) -> Option<(&Status, &PlanStatus)> {
    let status = outlook.status.as_deref()?;
    Some((status, status.plan.as_ref().filter(|plan| !plan.operations.is_empty())?))
}

fn reasons(outlook: &Outlook, basis: &Basis) -> String {
    let mut out = String::new();
    if let Some(why) = &outlook.why {
        out += &format!("**{} {}:** {}\n", code(&outlook.app), outlook.verdict.short(), code(why));
        let status = outlook.status.as_deref();
        let latches = status.iter().flat_map(|status| &status.latches);
        let told = [LatchName::Plan, LatchName::Signature, LatchName::History, LatchName::Render];
        let rest = latches.filter(|latch| told.contains(&latch.name)).flat_map(|latch| &latch.reasons);
        for reason in rest.filter(|reason| reason.message != *why).take(COMMITS) {
            out += &format!("- {}\n", code(&reason.message));
        }
        if outlook.verdict == Verdict::Halts {
            out += &blamed(&basis.blamed);
        }
        out.push('\n');
    }
    for parked in outlook.status.iter().flat_map(|status| &status.parked).take(COMMITS) {
        let what = code(&format!("{} of {}", parked.effect, parked.resource));
        out += &format!("- {what} waits for an approval of its own: {}\n", code(&parked.message));
    }
    out
}

/// Names the commits of the pull request that bring it about.
fn blamed(commits: &[CommitStatus]) -> String {
    let crosses = |commit: &&CommitStatus| !commit.crosses.is_empty();
    let line = |commit: &CommitStatus| {
        let CommitStatus { commit: id, subject, author, magnitude, .. } = commit;
        format!("commit {} {} by {} changes {magnitude}", id.short(), code(subject), code(author))
    };
    match commits.iter().find(crosses) {
        Some(culprit) => format!("\nBy itself, {}.\n", line(culprit)),
        None if commits.is_empty() => String::new(),
        None => {
            let lines: Vec<String> =
                commits.iter().take(COMMITS).map(|commit| format!("- {}\n", line(commit))).collect();
            format!("\nNo commit crosses a limit alone; the largest are:\n{}", lines.concat())
        }
    }
}

fn operations_of(outlook: &Outlook, basis: &Basis, lines: usize) -> String {
    let Some((_, plan)) = planned(outlook) else { return String::new() };
    let listed = operations::lines(&plan.operations, !basis.fork, lines);
    let summary = format!("Operations of {} ({})", tag(&outlook.app), plan.operations.len());
    details(&summary, &fenced(&listed.join("\n")))
}

fn approving(outlooks: &[Outlook], basis: &Basis) -> String {
    let mut out = String::new();
    for outlook in outlooks.iter().filter(|outlook| outlook.verdict == Verdict::Halts) {
        let Some((status, plan)) = planned(outlook) else { continue };
        if out.is_empty() {
            out += "\n**If this is intended**, somebody listed who did not write it approves exactly this change, before or after the merge; also if it is squashed or rebased:\n\n";
        }
        let local = fenced(&format!("holdfast approve {} {}", status.name, plan.change));
        if basis.comments {
            // Alone in its block, so that it is copied by one click.
            out += &format!("As a comment here:\n\n{}", fenced(&format!("/holdfast approve {}", plan.change)));
            out += &format!("or on the controller's machine:\n\n{local}");
        } else {
            out += &local;
        }
    }
    out
}

fn footer(outlooks: &[Outlook], basis: &Basis) -> String {
    let mut facts = Vec::new();
    let verified =
        outlooks.iter().any(|outlook| matches!(outlook.verdict, Verdict::Passes | Verdict::Halts | Verdict::Idle));
    if verified && !outlooks.iter().any(|outlook| outlook.verdict == Verdict::Unverified) {
        facts.push("every commit verifies ✓".to_owned());
    }
    let mut standing: Vec<String> = Vec::new();
    for outlook in outlooks {
        for latch in outlook.standing() {
            let why = latch.reasons.first().map_or("", |reason| reason.message.as_str());
            standing.push(format!(
                "{} is held by {} now: {}",
                code(&outlook.app),
                latch.name.as_str(),
                code(&cut(why, 300))
            ));
        }
    }
    if standing.is_empty() {
        facts.push("nothing is frozen ✓".to_owned());
    }
    facts.extend(standing);
    if basis.fork {
        facts.push("from a fork: no values are shown".to_owned());
    }
    let (head, tip, at) = (basis.head.short(), basis.tip.short(), basis.at.strftime("%F %H:%M:%S UTC"));
    facts.push(format!("judged as the merge of {head} onto {tip}, against what was there at {at}"));
    format!("\n<sub>{}</sub>\n", facts.join(" · "))
}

/// Writes the text of the commit status of a head.
pub fn status(outlook: &Outlook) -> String {
    let short = outlook.verdict.short();
    let more = match (&outlook.why, planned(outlook)) {
        (Some(why), _) => format!(": {why}"),
        (None, Some((status, plan))) => {
            format!(": {} of {} resources change", plan.magnitude.changes(), status.inventory)
        }
        (None, None) => String::new(),
    };
    cut(&format!("{short}{more}"), STATUS)
}

/// What became of a merge in one application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase")]
pub enum Fate {
    /// Nothing has been done about it yet.
    Waiting {
        /// For what.
        why: String,
    },
    /// It is being written.
    Rolling {
        /// Operations done.
        done: u32,
        /// Operations in total.
        total: u32,
    },
    /// It is held.
    Halted {
        /// By which latch.
        latch: LatchName,
        /// Why.
        why: String,
    },
    /// A later commit took it back before anything was written.
    TakenBack,
    /// It is there.
    Converged {
        /// Seconds from the merge.
        after: i64,
    },
}

impl Fate {
    /// Reads it from a cycle's report, as far as it is not there yet.
    pub fn of(status: &Status) -> Self {
        if let Some(rollout) = &status.rollout {
            return Self::Rolling { done: rollout.done, total: rollout.total };
        }
        let withheld = status.latches.iter().filter(|latch| &*latch.scope != "healing");
        let worst = withheld.max_by_key(|latch| latch.name == LatchName::Plan);
        match worst {
            Some(latch) => {
                let why = latch.reasons.first().map_or_else(String::new, |reason| reason.message.clone());
                Self::Halted { latch: latch.name, why }
            }
            None => Self::Waiting { why: "for the next cycle".to_owned() },
        }
    }

    /// Tells whether nothing more is to be said.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Converged { .. } | Self::TakenBack)
    }

    fn words(&self) -> String {
        match self {
            Self::Waiting { why } => format!("waits {why}"),
            Self::Rolling { done, total } => format!("rolling out {done} of {total}"),
            Self::Halted { latch: LatchName::Freeze, why } => format!("waits, frozen: {}", code(&cut(why, 300))),
            Self::Halted { latch: LatchName::Observe, .. } => "is only observed, not written".to_owned(),
            Self::Halted { latch, why } => format!("**halted** ({}): {}", latch.as_str(), code(&cut(why, 300))),
            Self::TakenBack => "taken back before anything was written".to_owned(),
            Self::Converged { after } => format!("converged in {} ✓", span(*after)),
        }
    }
}

/// Writes the comment once the pull request is merged: what became of it, and what was said before.
pub fn after(commit: &CommitId, fates: &[(String, Fate)], before: &str) -> String {
    let heads: Vec<String> = fates.iter().map(|(app, fate)| format!("{} {}", code(app), fate.words())).collect();
    let head = format!("**holdfast** · merged as {} · {}\n\n", commit.short(), heads.join(" · "));
    head + &details("What was said before the merge", before)
}

fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
    }
}
