//! The pages' HTML. The order of facts is that of the command line's `status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::html::{Text, segment};
use super::status::{Commit, Failing, Journal, Latch, Leftover, Plan, Reason, Status, Statuses};

/// How often a page is loaded again, in seconds.
const REFRESH: u32 = 10;

/// How many rows of a list are shown before the rest is counted.
const SHOWN: usize = 50;

/// All applications; those that are stopped come first.
pub fn overview(statuses: &Statuses, now: Timestamp) -> String {
    let mut body = String::new();
    let mut applications: Vec<&Status> = statuses.applications.iter().collect();
    applications.sort_by_key(|status| (standing(status).order, &status.name));
    let stopped = applications.iter().filter(|status| standing(status).word == "HALTED").count();
    let line = match (applications.len(), stopped) {
        (0, _) => "no application has been looked at yet".to_owned(),
        (1, 0) => "1 application, not halted".to_owned(),
        (all, 0) => format!("{all} applications, none halted"),
        (1, _) => "1 application, halted".to_owned(),
        (all, stopped) => format!("{stopped} of {all} applications halted"),
    };
    for status in applications {
        let at = standing(status);
        let _ = write!(
            body,
            "<article class=\"{}\"><h2><a href=\"/applications/{}\">{}</a> <span class=\"word {}\">{}</span></h2>",
            at.class,
            segment(&status.name),
            Text(&status.name),
            at.class,
            at.word
        );
        if !status.latches.is_empty() {
            let _ = write!(body, "<p>{}</p>", withheld(status));
        }
        for latch in &status.latches {
            let first = latch.reasons.first().map(|reason| reason.message.as_str()).unwrap_or_default();
            let _ = write!(body, "<p><b>{}</b> {} {}</p>", Text(&latch.name), since(latch.since, now), Text(first));
        }
        let _ = write!(body, "<p class=\"dim\">{}</p></article>", Text(summary(status, now)));
    }
    page("holdfast", "holdfast", &line, &body, now)
}

/// One application.
pub fn application(status: &Status, journal: &Journal, now: Timestamp) -> String {
    let mut body = String::new();
    let at = standing(status);
    let _ = write!(
        body,
        "<article class=\"{}\"><h2><span class=\"word {}\">{}</span> {}</h2>",
        at.class,
        at.class,
        at.word,
        withheld(status)
    );
    for latch in &status.latches {
        latch_block(&mut body, latch, now);
    }
    if let Some(plan) = &status.plan {
        culprits(&mut body, plan);
    }
    let _ = write!(body, "<p class=\"dim\">{}</p></article>", Text(summary(status, now)));
    ways(&mut body, status);
    waiting(&mut body, status);
    drift(&mut body, status, now);
    handed_over(&mut body, status);
    failing(&mut body, status, now);
    if let Some(plan) = &status.plan {
        operations(&mut body, plan);
        commits(&mut body, plan);
    }
    history(&mut body, journal);
    let back = "<a href=\"/\">all applications</a>";
    let mut page = page(&format!("{} · holdfast", status.name), &status.name, "", &body, now);
    if let Some(place) = page.find("</header>") {
        page.insert_str(place, back);
    }
    page
}

/// A page that says why there is none.
pub fn failure(why: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>holdfast</title><link rel=\"stylesheet\" href=\"/style.css\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\"></head><body><header><h1>holdfast</h1></header><p>{}</p><p><a href=\"/\">all applications</a></p></body></html>",
        Text(why)
    )
}

fn page(title: &str, heading: &str, line: &str, body: &str, now: Timestamp) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH}\"><title>{}</title><link rel=\"stylesheet\" href=\"/style.css\"></head>\
         <body><header><h1>{}</h1><p>{}</p><p>{}</p></header>{body}</body></html>",
        Text(title),
        Text(heading),
        Text(line),
        Text(now.strftime("%Y-%m-%d %H:%M:%S UTC"))
    )
}

/// How an application stands, in a word.
struct Standing {
    word: &'static str,
    class: &'static str,
    order: u8,
}

fn standing(status: &Status) -> Standing {
    let has = |name: &str| status.latches.iter().any(|latch| latch.name == name);
    if has("FREEZE") {
        Standing { word: "FROZEN", class: "held", order: 1 }
    } else if status.latches.iter().any(|latch| latch.name != "OBSERVE") {
        Standing { word: "HALTED", class: "stopped", order: 0 }
    } else if !status.latches.is_empty() {
        Standing { word: "observing", class: "held", order: 3 }
    } else if status.failing.iter().any(|failing| !waits(status, failing)) || status.source.error.is_some() {
        Standing { word: "failing", class: "stopped", order: 2 }
    } else if status.rollout.is_some() {
        Standing { word: "rolling out", class: "fine", order: 4 }
    } else {
        Standing { word: "ok", class: "fine", order: 4 }
    }
}

/// Tells whether a resource only waits for its turn in a rollout.
fn waits(status: &Status, failing: &Failing) -> bool {
    status.rollout.is_some() && failing.reason == "pending"
}

fn withheld(status: &Status) -> String {
    let says = |on: bool, what: &str| if on { format!("{what} goes on") } else { format!("{what} stopped") };
    format!(
        "{} · {} · detection goes on",
        says(status.writes.promotion, "promotion"),
        says(status.writes.healing, "healing")
    )
}

fn summary(status: &Status, now: Timestamp) -> String {
    let source = &status.source;
    let at = match (&source.converged, source.converged_at) {
        (Some(commit), Some(at)) => format!("converged to {} {} ago", short(commit), age(at, now)),
        (Some(commit), None) => format!("on {}", short(commit)),
        (None, _) => "nothing converged yet".to_owned(),
    };
    let classes: Vec<String> = status.drift.by_class.iter().map(|(class, count)| format!("{count} {class}")).collect();
    let drift = match status.drift.total() {
        0 => "no drift".to_owned(),
        total => format!("drift {total} ({})", classes.join(", ")),
    };
    let behind = if source.behind > 0 { format!(" · {} commits behind", source.behind) } else { String::new() };
    let cycle = match &status.last_cycle {
        Some(cycle) => {
            let ago = cycle.started.map_or_else(String::new, |started| format!(" {} ago", age(started, now)));
            let whole = if cycle.complete { "" } else { ", incomplete" };
            format!(" · last cycle{ago}, {:.1} s{whole}", cycle.seconds)
        }
        None => String::new(),
    };
    let error =
        source.error.as_ref().map(|error| format!(" · the repository could not be read: {error}")).unwrap_or_default();
    format!("{at} · {} resources · {drift}{behind}{cycle}{error}", status.inventory)
}

fn latch_block(body: &mut String, latch: &Latch, now: Timestamp) {
    let _ = write!(body, "<h3>{} <span class=\"dim\">{}</span></h3>", Text(&latch.name), since(latch.since, now));
    for reason in latch.reasons.iter().take(SHOWN) {
        let _ = write!(body, "<p>{}{}</p>", Text(&reason.message), numbers(reason));
    }
    rest(body, latch.reasons.len(), "reasons");
}

fn numbers(reason: &Reason) -> String {
    let Reason { code, message: _, observed, limit, n } = reason;
    let part = |name: &str, value: &Option<u64>| value.map(|value| format!(" · {name} {value}")).unwrap_or_default();
    format!(
        " <span class=\"dim\"><code>{}</code>{}{}{}</span>",
        Text(code),
        part("found", observed),
        part("limit", limit),
        part("of", n)
    )
}

fn culprits(body: &mut String, plan: &Plan) {
    if let Some(culprit) = &plan.culprit {
        let _ = write!(body, "<p>commit {}</p>", commit_line(culprit));
    } else if let Some(verdict) = &plan.verdict {
        let _ = write!(
            body,
            "<p>{}: no commit crosses a limit alone; {} contribute</p>",
            Text(verdict),
            plan.contributors.len()
        );
        for commit in plan.contributors.iter().take(5) {
            let _ = write!(body, "<p>{}</p>", commit_line(commit));
        }
    }
    for (shape, count) in shapes(plan).into_iter().take(3) {
        let _ = write!(
            body,
            "<p>{count} of the {} have one shape: <code>{}</code></p>",
            plan.operations.len(),
            Text(shape)
        );
    }
}

fn commit_line(commit: &Commit) -> String {
    let signer = commit.signer.as_ref().map(|signer| format!(", signed by {}", Text(signer))).unwrap_or_default();
    format!(
        "<code>{}</code> “{}” by {}{signer}: {} resources",
        Text(short(&commit.commit)),
        Text(&commit.subject),
        Text(&commit.author),
        commit.magnitude
    )
}

fn shapes(plan: &Plan) -> Vec<(&str, usize)> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for shape in plan.operations.iter().filter_map(|operation| operation.shape.as_deref()) {
        *counts.entry(shape).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts
}

/// What to type.
fn ways(body: &mut String, status: &Status) {
    if status.latches.is_empty() {
        return;
    }
    body.push_str("<h2>What to do</h2><dl>");
    for latch in &status.latches {
        if latch.name == "PLAN" {
            if let Some(digest) = &latch.digest {
                row(
                    body,
                    "to let it go",
                    "a listed person who did not write it",
                    &format!("holdfast approve {} {digest}", status.name),
                );
            }
            if let Some(culprit) = status.plan.as_ref().and_then(|plan| plan.culprit.as_ref()) {
                row(
                    body,
                    "to take it back",
                    "a return to a good state is not held",
                    &format!(
                        "git revert {}{} && git push",
                        if culprit.merge { "-m 1 " } else { "" },
                        short(&culprit.commit)
                    ),
                );
            } else if latch.reasons.iter().any(Reason::is_reconfiguration) {
                let what = "the configuration, and the program that renders, as they were";
                let _ = write!(body, "<dt>to take it back</dt><dd>{}</dd>", Text(what));
            } else if let Some(converged) = &status.source.converged {
                let restore = format!("git restore --source={} --staged --worktree :/", short(converged));
                let why = "all of it, to where it converged: a return to a good state is not held";
                row(body, "to take it back", why, &format!("{restore} && git commit && git push"));
            }
        } else {
            let _ = write!(body, "<dt>to clear {}</dt><dd>{}</dd>", Text(&latch.name), Text(&latch.clear));
        }
    }
    if status.writes.healing || status.writes.promotion {
        row(body, "to stop everything", "", &format!("holdfast freeze {} --reason \"…\"", status.name));
    }
    body.push_str("</dl>");
}

fn row(body: &mut String, label: &str, who: &str, command: &str) {
    let who = if who.is_empty() { String::new() } else { format!("{}:", Text(who)) };
    let _ = write!(body, "<dt>{}</dt><dd>{who}<pre>{}</pre></dd>", Text(label), Text(command));
}

/// What waits for somebody, and what is under way.
fn waiting(body: &mut String, status: &Status) {
    if let Some(rollout) = &status.rollout {
        let by = rollout.approved_by.as_ref().map(|by| format!(" · approved by {}", Text(by))).unwrap_or_default();
        let _ = write!(body, "<h2>Rolling out</h2><p>{} of {}{by}</p>", rollout.done, rollout.total);
    }
    if let Some(configuration) = &status.configuration {
        let _ = write!(
            body,
            "<h2>Configuration</h2><p>It loosens {}; until that is approved the stricter one governs.</p><pre>{}</pre>",
            Text(configuration.loosened.join(", ")),
            Text(format!("holdfast approve {} {}", status.name, configuration.digest))
        );
    }
    if status.parked.is_empty() {
        return;
    }
    body.push_str("<h2>Parked until approved</h2>");
    for parked in status.parked.iter().take(SHOWN) {
        let message = if parked.message.is_empty() { &parked.reason } else { &parked.message };
        let _ = write!(
            body,
            "<p>{} of <code>{}</code>: {}</p><pre>{}</pre>",
            Text(if parked.effect.is_empty() { "change" } else { &parked.effect }),
            Text(&parked.resource),
            Text(message),
            Text(format!("holdfast approve {} {}", status.name, parked.digest))
        );
    }
    rest(body, status.parked.len(), "parked operations");
}

fn drift(body: &mut String, status: &Status, now: Timestamp) {
    if status.drift.total() == 0 {
        return;
    }
    let _ = write!(
        body,
        "<h2>Drift</h2><p>{} missing · {} changed · {} extra</p>",
        status.drift.missing, status.drift.changed, status.drift.extra
    );
    table(body, &["resource", "class", "since", "by", "what becomes of it"], &status.drift.resources, |drifted| {
        vec![
            format!("<code>{}</code>{}", Text(&drifted.resource), left_over(&drifted.leftover)),
            Text(&drifted.class).to_string(),
            drifted.since.map(|since| format!("{} ago", age(since, now))).unwrap_or_default(),
            Text(drifted.by.as_deref().unwrap_or_default()).to_string(),
            Text(&drifted.answer).to_string(),
        ]
    });
    rest(body, status.drift.resources.len(), "drifted resources");
}

/// What of a resource no commit declares any longer and is still there.
fn left_over(leftover: &[Leftover]) -> String {
    let one = |left: &Leftover| format!("<br>left over: <code>{}</code>", Text(&left.path));
    leftover.iter().take(SHOWN).map(one).collect()
}

/// What somebody else declares since no commit does: no drift.
fn handed_over(body: &mut String, status: &Status) {
    if status.drift.handed_over.is_empty() {
        return;
    }
    body.push_str("<h2>Handed over</h2>");
    table(body, &["resource", "not declared any longer", "declared by"], &status.drift.handed_over, |handed| {
        let each = |show: &dyn Fn(&Leftover) -> String| {
            handed.leftover.iter().take(SHOWN).map(show).collect::<Vec<_>>().join("<br>")
        };
        vec![
            format!("<code>{}</code>", Text(&handed.resource)),
            each(&|left| format!("<code>{}</code>", Text(&left.path))),
            each(&|left| Text(left.whose()).to_string()),
        ]
    });
    rest(body, status.drift.handed_over.len(), "resources");
}

fn failing(body: &mut String, status: &Status, now: Timestamp) {
    let failing: Vec<&Failing> = status.failing.iter().filter(|failing| !waits(status, failing)).collect();
    if failing.is_empty() {
        return;
    }
    body.push_str("<h2>Failing</h2>");
    table(body, &["resource", "since", "attempts", "next", "why"], &failing, |failing| {
        let next =
            failing.next.map(|next| if next > now { format!("in {}", age(now, next)) } else { "now".to_owned() });
        vec![
            format!("<code>{}</code>", Text(&failing.resource)),
            failing.since.map(|since| format!("{} ago", age(since, now))).unwrap_or_default(),
            failing.attempts.to_string(),
            next.unwrap_or_default(),
            Text(&failing.reason).to_string(),
        ]
    });
    rest(body, failing.len(), "failing resources");
}

fn operations(body: &mut String, plan: &Plan) {
    if plan.operations.is_empty() {
        return;
    }
    let _ = write!(
        body,
        "<h2>What would change</h2><p>{} create · {} update · {} delete · {} version bumps</p><p class=\"dim\">plan <code>{}</code></p>",
        plan.creates,
        plan.updates,
        plan.deletes,
        plan.bumps,
        Text(&plan.digest)
    );
    table(body, &["effect", "resource", "shape"], &plan.operations, |operation| {
        vec![
            Text(&operation.effect).to_string(),
            format!("<code>{}</code>", Text(&operation.resource)),
            format!("<code>{}</code>", Text(operation.shape.as_deref().unwrap_or_default())),
        ]
    });
    rest(body, plan.operations.len(), "operations");
}

fn commits(body: &mut String, plan: &Plan) {
    if plan.commits.is_empty() {
        return;
    }
    body.push_str("<h2>Commits, oldest first</h2>");
    table(body, &["commit", "create · update · delete", "verdict", "subject", "author"], &plan.commits, |commit| {
        vec![
            format!("<code>{}</code>", Text(short(&commit.commit))),
            format!("{} · {} · {}", commit.creates, commit.updates, commit.deletes),
            Text(&commit.verdict).to_string(),
            Text(&commit.subject).to_string(),
            Text(&commit.author).to_string(),
        ]
    });
    rest(body, plan.commits.len(), "commits");
}

fn history(body: &mut String, journal: &Journal) {
    if journal.history.is_empty() {
        return;
    }
    body.push_str("<h2>History, newest first</h2>");
    table(body, &["when (UTC)", "what", ""], &journal.history, |row| {
        let mut fact = row.fact.to_string();
        if let Some((end, _)) = fact.char_indices().nth(300) {
            fact.truncate(end);
            fact.push('…');
        }
        vec![
            row.at.map(|at| at.strftime("%m-%d %H:%M:%S").to_string()).unwrap_or_default(),
            Text(&row.kind).to_string(),
            format!("<code>{}</code>", Text(fact)),
        ]
    });
}

fn table<T>(body: &mut String, heads: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<String>) {
    body.push_str("<div class=\"wide\"><table><thead><tr>");
    for head in heads {
        let _ = write!(body, "<th>{}</th>", Text(head));
    }
    body.push_str("</tr></thead><tbody>");
    for row in rows.iter().take(SHOWN) {
        body.push_str("<tr>");
        for cell in cells(row) {
            let _ = write!(body, "<td>{cell}</td>");
        }
        body.push_str("</tr>");
    }
    body.push_str("</tbody></table></div>");
}

fn rest(body: &mut String, all: usize, what: &str) {
    if let Some(more) = all.checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = write!(body, "<p class=\"dim\">and {more} more {what}</p>");
    }
}

fn since(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map(|at| format!("since {} ({})", at.strftime("%H:%M UTC"), age(at, now))).unwrap_or_default()
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// Says how long it is from one time to another, in its largest unit; a clock that went back is now.
fn age(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
