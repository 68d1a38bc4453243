//! Status, plan and drift as text for people: what is stopped and what is not, why in numbers, who, and what to type.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::controller::report::{CommitStatus, Drifted, LatchStatus, Status, operations};
use crate::core::plan::Magnitude;
use crate::core::reason::Reason;
use crate::core::resource::Leftover;
use crate::core::state::LatchName;

/// How many lines of a list are printed before the rest is counted.
const SHOWN: usize = 20;

/// How many lines of operations are printed before the rest is counted.
const LINES: usize = 40;

/// Whether colours are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Whether standard output is a terminal that takes colours.
    pub colour: bool,
}

impl Style {
    /// Puts text in a colour, where there are colours.
    pub(super) fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Prints the status of one application.
pub fn status(status: &Status, now: Timestamp, style: Style) -> String {
    let mut out = String::new();
    let word = word(status);
    let colour = match word {
        "ok" => "32",
        "observing" => "36",
        "FROZEN" => "34",
        _ => "31",
    };
    // Padded before it is painted: a colour takes no room.
    let (name, shown) = (format!("{:<8}", status.name), format!("{word:<8}"));
    let _ = write!(out, "{} {} ", style.paint("1", &name), style.paint(colour, &shown));
    if status.latches.is_empty() {
        let _ = writeln!(out, "{} · {}", position(status), pulse(status, now));
    } else {
        let _ = writeln!(out, "{}", withheld(status));
    }
    for latch in &status.latches {
        latch_lines(&mut out, latch, now, style);
    }
    if let Some(plan) = &status.plan {
        if let Some(culprit) = &plan.culprit {
            let _ = writeln!(out, "        commit {}", commit_line(culprit));
        } else if let Some(verdict) = &plan.verdict {
            let _ = writeln!(
                out,
                "        {verdict}: no commit crosses a limit alone; {} contribute",
                plan.contributors.len()
            );
            for contributor in plan.contributors.iter().take(3) {
                let _ = writeln!(out, "          {}", commit_line(contributor));
            }
        }
        for (shape, count) in shapes(status).into_iter().take(3) {
            let _ = writeln!(out, "        {count} of {} have one shape:  {shape}", plan.operations.len());
        }
    }
    if !status.latches.is_empty() {
        let _ = writeln!(out, "      {}", position(status));
        let _ = writeln!(out, "      {}", pulse(status, now));
    }
    body(&mut out, status);
    ways_out(&mut out, status);
    out
}

fn word(status: &Status) -> &'static str {
    let has = |name| status.latches.iter().any(|latch| latch.name == name);
    if has(LatchName::Freeze) {
        "FROZEN"
    } else if status.latches.iter().all(|latch| latch.name == LatchName::Observe) && !status.latches.is_empty() {
        "observing"
    } else if status.latches.is_empty() {
        "ok"
    } else {
        "HALTED"
    }
}

fn withheld(status: &Status) -> String {
    let stopped = |on: bool, what: &str| if on { format!("{what} goes on") } else { format!("{what} stopped") };
    let writes = status.writes;
    format!("{} · {} · detection goes on", stopped(writes.promotion, "promotion"), stopped(writes.healing, "healing"))
}

/// Spells a time with its zone, and with its date unless that is today.
fn clock(at: Timestamp, now: Timestamp) -> String {
    let today = at.strftime("%F").to_string() == now.strftime("%F").to_string();
    at.strftime(if today { "%H:%M UTC" } else { "%F %H:%M UTC" }).to_string()
}

/// Says which commit it stands on.
fn position(status: &Status) -> String {
    let source = &status.source;
    let now = status.last_cycle.started;
    let at = match (&source.converged, source.converged_at) {
        (Some(commit), Some(at)) if status.latches.is_empty() => {
            format!("converged {} {}", commit.short(), clock(at, now))
        }
        (Some(commit), Some(at)) => format!("still on {} (converged {})", commit.short(), clock(at, now)),
        (Some(commit), None) => format!("on {}", commit.short()),
        (None, _) => "nothing converged yet".to_owned(),
    };
    let behind = match source.behind {
        0 => String::new(),
        1 => " · 1 commit behind".to_owned(),
        behind => format!(" · {behind} commits behind"),
    };
    format!("{at} · {} resources{behind}", status.inventory)
}

/// Says what drifts, and how fresh that is.
fn pulse(status: &Status, now: Timestamp) -> String {
    let drift = &status.drift;
    let total = drift.total();
    let drift = if total == 0 {
        "no drift".to_owned()
    } else {
        let classes =
            drift.by_class.iter().map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ");
        format!("drift {total} ({classes})")
    };
    let whole = if status.last_cycle.complete { "" } else { ", not everything was read" };
    let ago = age(now, status.last_cycle.started);
    format!("{drift} · last cycle {ago} ago, {:.1} s{whole}", status.last_cycle.seconds)
}

fn latch_lines(out: &mut String, latch: &LatchStatus, now: Timestamp, style: Style) {
    let name = style.paint("1;31", latch.name.as_str());
    let since = clock(latch.since, now);
    let mut reasons = latch.reasons.iter();
    let first = reasons.next().map(|reason| reason.message.as_str()).unwrap_or_default();
    let _ = writeln!(out, "  {name}  since {since} ({}): {first}", age(now, latch.since));
    for reason in reasons.take(SHOWN) {
        let _ = writeln!(out, "        {}", reason.message);
    }
}

fn commit_line(commit: &CommitStatus) -> String {
    let signer = commit.signer.as_ref().map(|signer| format!(", signed by {signer}")).unwrap_or_default();
    format!(
        "{} {:?} by {}{signer}: {} resources",
        commit.commit.short(),
        commit.subject,
        commit.author,
        commit.magnitude
    )
}

/// Counts the operations of each shape that at least two share, the most frequent first.
fn shapes(status: &Status) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for shape in status.plan.iter().flat_map(|plan| &plan.operations).filter_map(|operation| operation.shape.as_deref())
    {
        *counts.entry(shape.to_owned()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

fn body(out: &mut String, status: &Status) {
    if let Some(rollout) = &status.rollout {
        let by = rollout.approved_by.as_ref().map(|by| format!(" · approved by {by}")).unwrap_or_default();
        let _ = writeln!(out, "      rolling out {} of {}{by}", rollout.done, rollout.total);
    }
    for parked in status.parked.iter().take(SHOWN) {
        let _ = writeln!(out, "      parked  {} of {}: {}", parked.effect, parked.resource, parked.message);
        let _ = writeln!(out, "              holdfast approve {} {}", status.name, parked.digest);
    }
    if let Some(configuration) = &status.configuration {
        let _ = writeln!(
            out,
            "      the configuration loosens {}; until it is approved the stricter one governs",
            configuration.loosened.join(", ")
        );
        let _ = writeln!(out, "              holdfast approve {} {}", status.name, configuration.digest);
    }
    for drifted in status.drift.resources.iter().filter(|drifted| drifted.answer != "reverted").take(5) {
        let _ = writeln!(out, "      drift   {} ({}): {}", drifted.resource, drifted.class, drifted.answer);
    }
    // What only waits for a stopped promotion, or for its turn in a rollout, is counted above.
    let waits = |reason: &str| reason == "pending" && (!status.writes.promotion || status.rollout.is_some());
    for failing in status.failing.iter().filter(|failing| !waits(&failing.reason)).take(5) {
        let _ = writeln!(out, "      failing {}: {} ({} attempts)", failing.resource, failing.reason, failing.attempts);
    }
    for commit in &status.skipped {
        let _ =
            writeln!(out, "      skipped {}: a later commit took it back before anything was written", commit.short());
    }
    if let Some(why) = &status.unwatched {
        let _ = writeln!(out, "      not watched, so changes are seen by the interval's cycles alone: {why}");
    }
    if let Some(error) = &status.source.error {
        let _ = writeln!(out, "      the repository could not be read: {error}");
    }
}

/// Says what to type, and where to read more: a page per latch.
fn ways_out(out: &mut String, status: &Status) {
    let mut way = |label: &str, what: &str| {
        let _ = writeln!(out, "      {label:<21} {what}");
    };
    for latch in &status.latches {
        match latch.name {
            LatchName::Plan => {
                if let Some(digest) = latch.digest {
                    way("to let it go", "a listed person who did not write it:");
                    // Alone on its line, so that it can be copied from a narrow terminal too.
                    way("", &format!("holdfast approve {} {digest}", status.name));
                }
                if let Some(culprit) = status.plan.as_ref().and_then(|plan| plan.culprit.as_ref()) {
                    let revert = culprit.revert();
                    way("to take it back", &format!("{revert} && git push     (a return to a good state is not held)"));
                } else if latch.reasons.iter().any(Reason::is_reconfiguration) {
                    way("to take it back", "the configuration, and the program that renders, as they were");
                } else if let Some(converged) = &status.source.converged {
                    // No single commit is to blame: everything since is taken back, merges too.
                    way("to take it back", "all of it, to where it converged (a return to a good state is not held):");
                    let restore = format!("git restore --source={} --staged --worktree :/", converged.short());
                    way("", &format!("{restore} && git commit && git push"));
                }
                way("to stop healing too", &format!("holdfast freeze {} --reason \"…\"", status.name));
            }
            LatchName::Observe => way("to let it write", &latch.clear),
            name => way(&format!("to clear {}", name.as_str()), &latch.clear),
        }
    }
    let pages: Vec<String> = status.latches.iter().map(|latch| page(latch.name)).collect();
    if !pages.is_empty() {
        way("more", &format!("holdfast plan {} · {}", status.name, pages.join(" · ")));
    }
}

/// Names the page of the runbook that is about a latch.
pub(super) fn page(latch: LatchName) -> String {
    format!("docs/runbook/{}.md", latch.as_str().to_lowercase())
}

/// Prints the plan of one application.
pub fn plan(status: &Status, style: Style) -> String {
    let mut out = String::new();
    let name = style.paint("1", &status.name);
    let stops = status.latches.iter().filter(|latch| latch.name != LatchName::Observe);
    let stops: Vec<&LatchStatus> = stops.filter(|latch| &*latch.scope != "healing").collect();
    let plan = status.plan.as_ref().filter(|plan| !plan.operations.is_empty());
    let verdict = if stops.iter().any(|latch| latch.name == LatchName::Plan) {
        "would HALT".to_owned()
    } else if let Some(first) = stops.first() {
        format!("held by {}", first.name.as_str())
    } else if status.latches.iter().any(|latch| latch.name == LatchName::Observe) {
        "passes, and is not written while it observes".to_owned()
    } else {
        "passes".to_owned()
    };
    match plan {
        Some(plan) => {
            let _ = writeln!(out, "{name}  {verdict}: {}, of {}", effects(&plan.magnitude), status.inventory);
        }
        None if stops.is_empty() => {
            let _ = writeln!(out, "{name}  nothing to change");
        }
        None => {
            let _ = writeln!(out, "{name}  {verdict}: nothing is planned");
        }
    }
    for latch in &stops {
        for reason in latch.reasons.iter().take(SHOWN) {
            let _ = writeln!(out, "  {}: {}", reason.code, reason.message);
        }
    }
    let Some(plan) = plan else { return out };
    commits(&mut out, &plan.commits);
    let _ = writeln!(out, "  operations:");
    for line in operations::lines(&plan.operations, true, LINES) {
        let _ = writeln!(out, "    {line}");
    }
    let _ = writeln!(out, "  digest {}\n  before a merge, its change: {}", plan.digest, plan.change);
    out
}

/// Lists the commits of a range: of a long one those that somebody has to look at, and the newest.
fn commits(out: &mut String, commits: &[CommitStatus]) {
    let notable = |commit: &CommitStatus| !commit.crosses.is_empty() || &*commit.verdict != "verified";
    let newest = commits.len().saturating_sub(SHOWN);
    let listed = commits.iter().enumerate().filter(|(at, commit)| *at >= newest || notable(commit));
    let listed: Vec<&CommitStatus> = listed.map(|(_, commit)| commit).collect();
    let listed = &listed[listed.len().saturating_sub(SHOWN * 2)..];
    if !listed.is_empty() {
        let _ = writeln!(out, "  commits, oldest first:");
    }
    if commits.len() > listed.len() {
        let _ = writeln!(out, "    … {} are not shown; --output json lists more", commits.len() - listed.len());
    }
    for commit in listed {
        let crosses =
            if commit.crosses.is_empty() { String::new() } else { format!("  << {}", commit.crosses.join(", ")) };
        let _ = writeln!(
            out,
            "    {}  +{} ~{} -{}  {:<12} {:?} {}{crosses}",
            commit.commit.short(),
            commit.creates,
            commit.updates,
            commit.deletes,
            commit.verdict,
            commit.subject,
            commit.author
        );
    }
}

/// Spells effects in numbers, those that there are.
pub(super) fn effects(magnitude: &Magnitude) -> String {
    let Magnitude { creates, updates, deletes, bumps, inert } = magnitude;
    let parts =
        [(creates, "create"), (updates, "update"), (deletes, "delete"), (bumps, "version bump"), (inert, "inert")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "no effect".to_owned() } else { parts.join(" · ") }
}

/// Prints the drift of one application.
pub fn drift(found: &Drifted, now: Timestamp, style: Style) -> String {
    let mut out = String::new();
    let drift = &found.drift;
    let total = drift.total();
    let name = style.paint("1", &found.name);
    if total == 0 {
        let _ = writeln!(out, "{name}  no drift, {} resources", found.inventory);
    } else {
        let (missing, changed, extra) = (drift.missing, drift.changed, drift.extra);
        let _ = writeln!(out, "{name}  {total} drifted: {missing} missing, {changed} changed, {extra} extra");
    }
    for why in found.unread.iter().take(SHOWN) {
        let _ = writeln!(out, "  not everything could be read: {why}");
    }
    for handed in &drift.handed_over {
        let who = |left: &Leftover| left.owners.iter().map(|owner| &*owner.name).collect::<Vec<_>>().join(", ");
        for left in &handed.leftover {
            let _ =
                writeln!(out, "  {}  {} is not declared any longer; {} does", handed.resource, left.path, who(left));
        }
    }
    for drifted in &drift.resources {
        let by = drifted.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "  {}  {} for {}{by}: {}",
            drifted.resource,
            drifted.class,
            age(now, drifted.since),
            drifted.answer
        );
        for change in drifted.diff.iter().take(10) {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
            let _ =
                writeln!(out, "      {}  accepted {} -> live {}", change.path, value(&change.new), value(&change.old));
        }
    }
    out
}

/// Spells how long ago something was.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
