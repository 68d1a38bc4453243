//! Status, plan and drift as text for people: what is stopped and what is not, why in numbers, who, and what to type.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::controller::report::{CommitStatus, LatchStatus, Status};
use crate::core::state::LatchName;

/// How many lines of a list are printed before the rest is counted.
const SHOWN: usize = 20;

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
    let name = style.paint("1", &status.name);
    let halts: Vec<&LatchStatus> = status.latches.iter().collect();
    let word = word(status);
    let colour = match word {
        "ok" => "32",
        "observing" => "36",
        "frozen" => "34",
        _ => "31",
    };
    let _ = write!(out, "{name:<8} {}", style.paint(colour, word));
    if halts.is_empty() {
        let _ = writeln!(out, "       {}", summary(status, now));
    } else {
        let _ = writeln!(out, "   {}", withheld(status));
    }
    for latch in &halts {
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
    if !halts.is_empty() {
        let _ = writeln!(out, "      {}", summary(status, now));
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

fn summary(status: &Status, now: Timestamp) -> String {
    let source = &status.source;
    let at = match (&source.converged, source.converged_at) {
        (Some(commit), Some(at)) if status.latches.is_empty() => {
            format!("converged {} {}", commit.short(), at.strftime("%H:%M"))
        }
        (Some(commit), Some(at)) => format!("still on {} (converged {})", commit.short(), at.strftime("%H:%M")),
        (Some(commit), None) => format!("on {}", commit.short()),
        (None, _) => "nothing converged yet".to_owned(),
    };
    let drift = &status.drift;
    let total = drift.missing + drift.changed + drift.extra;
    let drift = if total == 0 {
        "no drift".to_owned()
    } else {
        let classes =
            drift.by_class.iter().map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ");
        format!("drift {total} ({classes})")
    };
    let behind = if source.behind > 0 { format!(" · {} commits behind", source.behind) } else { String::new() };
    let ago = age(now, status.last_cycle.started);
    format!(
        "{at} · {} resources · {drift}{behind} · last cycle {ago} ago, {:.1} s",
        status.inventory, status.last_cycle.seconds
    )
}

fn latch_lines(out: &mut String, latch: &LatchStatus, now: Timestamp, style: Style) {
    let name = style.paint("1;31", latch.name.as_str());
    let since = latch.since.strftime("%H:%M");
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
    // What only waits for a stopped promotion is counted above, with the reason for which it waits.
    let waits = |reason: &str| reason == "pending" && !status.writes.promotion;
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

fn ways_out(out: &mut String, status: &Status) {
    for latch in &status.latches {
        let _ = match latch.name {
            LatchName::Plan => {
                if let Some(digest) = latch.digest {
                    let _ = writeln!(
                        out,
                        "      to let it go    a listed person who did not write it:  holdfast approve {} {digest}",
                        status.name
                    );
                }
                if let Some(culprit) = status.plan.as_ref().and_then(|plan| plan.culprit.as_ref()) {
                    let short = culprit.commit.short();
                    let _ = writeln!(
                        out,
                        "      to take it back git revert {short} && git push          (a return to a good state is not held)"
                    );
                }
                writeln!(out, "      to stop healing too   holdfast freeze {} --reason \"…\"", status.name)
            }
            LatchName::Observe => writeln!(out, "      {:<15} {}", "to let it write", latch.clear),
            name => writeln!(out, "      {:<15} {}", format!("to clear {}", name.as_str()), latch.clear),
        };
    }
    if let Some(first) = status.latches.iter().find(|latch| latch.name != LatchName::Observe) {
        let page = first.name.as_str().to_lowercase();
        let _ = writeln!(out, "      more   holdfast plan {} · docs/runbook/{page}.md", status.name);
    }
}

/// Prints the plan of one application.
pub fn plan(status: &Status, style: Style) -> String {
    let mut out = String::new();
    let Some(plan) = status.plan.as_ref().filter(|plan| !plan.operations.is_empty()) else {
        let _ = writeln!(out, "{}  nothing to change", style.paint("1", &status.name));
        return out;
    };
    let m = &plan.magnitude;
    let held = status.latches.iter().find(|latch| latch.name == LatchName::Plan);
    let verdict = if held.is_some() { "would HALT" } else { "passes" };
    let _ = writeln!(
        out,
        "{}  {verdict}: {} create · {} update · {} delete · {} version bumps · {} inert, of {}",
        style.paint("1", &status.name),
        m.creates,
        m.updates,
        m.deletes,
        m.bumps,
        m.inert,
        status.inventory
    );
    for reason in held.iter().flat_map(|latch| &latch.reasons) {
        let _ = writeln!(out, "  {}: {}", reason.code, reason.message);
    }
    if !plan.commits.is_empty() {
        let _ = writeln!(out, "  commits, oldest first:");
        for commit in &plan.commits {
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
    let _ = writeln!(out, "  operations:");
    for operation in plan.operations.iter().take(SHOWN * 2) {
        let _ = writeln!(out, "    {:<6} {}", operation.effect, operation.resource);
        for change in operation.diff.iter().take(5) {
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
            let _ = writeln!(out, "             {}  {} -> {}", change.path, value(&change.old), value(&change.new));
        }
    }
    let total = m.creates + m.updates + m.deletes + m.bumps + m.inert;
    if plan.operations.len() > SHOWN * 2 {
        let _ = writeln!(out, "    … {total} in all; --output json lists more");
    }
    let _ = writeln!(out, "  digest {}   (before a merge: {})", plan.digest, plan.change);
    out
}

/// Prints the drift of one application.
pub fn drift(status: &Status, now: Timestamp, style: Style) -> String {
    let mut out = String::new();
    let drift = &status.drift;
    let total = drift.missing + drift.changed + drift.extra;
    let _ = writeln!(
        out,
        "{}  {total} drifted: {} missing, {} changed, {} extra",
        style.paint("1", &status.name),
        drift.missing,
        drift.changed,
        drift.extra
    );
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
