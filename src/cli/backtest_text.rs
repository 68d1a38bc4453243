//! A backtest as text for people: how many pushes would have been held, which, and what another threshold had done.

use std::fmt::Write as _;

use super::text::Style;
use crate::controller::backtest::{Other, Part, PushReport, Report, Summary};
use crate::core::commit::CommitId;

/// How many pushes are listed before the rest is counted.
const SHOWN: usize = 50;

/// How much of a subject is shown.
const SUBJECT: usize = 44;

/// What a backtest was about.
pub(super) struct Head<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) repository: &'a str,
    pub(super) path: &'a str,
    pub(super) guards: &'a str,
}

/// Prints a backtest.
pub(super) fn print(head: &Head<'_>, report: &Report, style: Style) -> String {
    let mut out = String::new();
    let summary = &report.summary;
    let name = head.name.map(|name| format!("{}  ", style.paint("1", name))).unwrap_or_default();
    let path = if head.path == "." { String::new() } else { format!(", path {}", head.path) };
    let _ = writeln!(
        out,
        "{name}repository {}{path}, {} of {}, with {}",
        head.repository,
        count(summary.pushes, "push", "pushes"),
        span(summary),
        head.guards
    );
    if report.cut_off {
        let _ = writeln!(out, "  the clone is shallow: what was before is not known; `git fetch --unshallow` gets it");
    }
    if report.without_content > 0 {
        let _ = writeln!(
            out,
            "  the clone lacks the content of {}: they are judged by their names and ids, as no version bumps",
            count(report.without_content, "file", "files")
        );
    }
    totals(&mut out, summary);
    if summary.pushes == 0 {
        let _ = writeln!(out, "  nothing was pushed in that time: go further back with --since or --last");
    } else if summary.unchanged == summary.pushes {
        let _ = writeln!(out, "  none of them changes anything there: is the path right? (--path, or source.path)");
    }
    let held: Vec<&PushReport> = report.pushes.iter().rev().filter(|push| push.is_held()).collect();
    if !held.is_empty() {
        out.push('\n');
        table(&mut out, &held);
    }
    if let Some(other) = &summary.other {
        another(&mut out, other, summary);
    }
    out
}

fn totals(out: &mut String, summary: &Summary) {
    let codes: Vec<String> = {
        let mut codes: Vec<_> = summary.by_code.iter().collect();
        codes.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        codes.into_iter().map(|(code, count)| format!("{count} {code}")).collect()
    };
    let parked = match summary.parked {
        0 => String::new(),
        parked => format!("(and {} parked)", count(parked, "deletion", "deletions")),
    };
    let width = thousands(summary.pushes).len();
    let unchanged = match summary.unchanged {
        0 => String::new(),
        unchanged => format!("{} of them change nothing here", thousands(unchanged)),
    };
    let _ = writeln!(out, "{}", line("passed", summary.passed, summary.pushes, width, &[unchanged]));
    let _ =
        writeln!(out, "{}", line("would have held", summary.held, summary.pushes, width, &[codes.join(" · "), parked]));
    if summary.held > 0 {
        let _ = writeln!(out, "  of these, reverted within a day: {}", summary.reverted_within_day);
    }
}

fn line(what: &str, part: usize, whole: usize, width: usize, more: &[String]) -> String {
    let mut line = format!("  {what:<15} {:>width$}  {}", thousands(part), percent(part, whole));
    for more in more.iter().filter(|more| !more.is_empty()) {
        let _ = write!(line, "      {more}");
    }
    line
}

fn table(out: &mut String, held: &[&PushReport]) {
    let rows: Vec<[String; 6]> = held.iter().take(SHOWN).map(|push| row(push)).collect();
    let width = |at: usize| rows.iter().map(|row: &[String; 6]| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in &rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    if held.len() > SHOWN {
        let _ = writeln!(out, "  … and {} more; --output json lists all", thousands(held.len() - SHOWN));
    }
    out.push('\n');
}

/// Date and commit, magnitude, code, subject, author, and what else is worth knowing.
fn row(push: &PushReport) -> [String; 6] {
    let (commit, subject, author) = match &push.culprit {
        Some(Part { commit, author, subject, .. }) => (commit, subject, author),
        None => (&push.commit, &push.subject, &push.author),
    };
    let mut notes = Vec::new();
    match push.culprit {
        Some(_) if push.commits > 1 => notes.push(format!("one of {} commits", push.commits)),
        None if push.contributors.len() > 1 => {
            notes.push(format!("accumulation of {} commits", push.contributors.len()))
        }
        _ => {}
    }
    if push.shape.is_some() {
        notes.push("one shape".to_owned());
    }
    if push.reverted_within_day {
        notes.push("reverted".to_owned());
    }
    [
        format!("{}  {}", push.at.strftime("%Y-%m-%d"), commit.short()),
        magnitude(push),
        push.codes.first().map_or_else(String::new, ToString::to_string),
        format!("{:?}", short(subject)),
        author.clone(),
        notes.join(" · "),
    ]
}

fn magnitude(push: &PushReport) -> String {
    let code = push.codes.first().map_or("", |code| &**code);
    let (sign, count) = match code {
        "render" => return "does not render".to_owned(),
        "growth_halt" => ('+', push.creates),
        "bump_halt" => ('^', push.bumps),
        "change_halt" => ('~', push.updates + push.deletes),
        // What the window held together with this push: often much more than the push itself.
        "window" => {
            let window = push.reasons.iter().find(|reason| &*reason.code == "window");
            let deletions = window.is_some_and(|reason| reason.message.contains(" deleted "));
            let count = window.and_then(|reason| reason.observed).unwrap_or(push.updates + push.deletes);
            (if deletions { '-' } else { '~' }, count)
        }
        _ => ('-', push.deletes),
    };
    format!("{sign}{count} of {}", push.n)
}

fn another(out: &mut String, other: &Other, summary: &Summary) {
    let _ = write!(out, "  {} would have ", other.with);
    match (other.let_through.len(), other.also_held.len()) {
        (0, 0) if summary.held == 0 => out.push_str("held nothing either"),
        (0, 0) => out.push_str("held the same"),
        (fewer, 0) => {
            let _ = write!(out, "held {fewer} fewer, and let {} through", list(&other.let_through));
        }
        (0, more) => {
            let _ = write!(out, "held {more} more: {}", list(&other.also_held));
        }
        (..) => {
            let (through, held) = (list(&other.let_through), list(&other.also_held));
            let _ = write!(out, "let {through} through, and held {held} instead");
        }
    }
    out.push('\n');
}

fn list(commits: &[CommitId]) -> String {
    let mut text = commits.iter().take(3).map(CommitId::short).collect::<Vec<_>>().join(", ");
    if commits.len() > 3 {
        let _ = write!(text, " and {} more", commits.len() - 3);
    }
    text
}

fn short(subject: &str) -> String {
    if subject.chars().count() <= SUBJECT {
        return subject.to_owned();
    }
    subject.chars().take(SUBJECT - 1).chain(['…']).collect()
}

fn count(number: usize, one: &str, several: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { several })
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Rounds half up, in hundredths; nothing is none, and less than a hundredth is not nothing.
fn percent(part: usize, whole: usize) -> String {
    let hundredths = if whole == 0 { 0 } else { (part * 20_000 + whole) / (whole * 2) };
    let text = match hundredths {
        0 if part > 0 => "<0.01 %".to_owned(),
        hundredths => format!("{}.{:02} %", hundredths / 100, hundredths % 100),
    };
    format!("{text:>8}")
}

/// Spells how much time the pushes took.
fn span(summary: &Summary) -> String {
    let (Some(from), Some(to)) = (summary.from, summary.to) else { return "no time".to_owned() };
    let days = usize::try_from(to.duration_since(from).as_hours() / 24).unwrap_or(0);
    match days {
        0..=1 => "a day".to_owned(),
        2..60 => format!("{days} days"),
        60..730 => format!("{} months", (days * 10 + 152) / 304),
        _ => format!("{} years", (days * 10 / 365 + 5) / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 7, 999, 1000, 2914, 1_234_567].map(thousands), ["0", "7", "999", "1,000", "2,914", "1,234,567"]);
        assert_eq!(percent(2901, 2914).trim(), "99.55 %");
        assert_eq!(percent(13, 2914).trim(), "0.45 %");
        assert_eq!(
            [percent(0, 5), percent(1, 1_000_000), percent(0, 0)].map(|p| p.trim().to_owned()),
            ["0.00 %", "<0.01 %", "0.00 %"]
        );
    }

    #[test]
    fn time_is_spelt_roughly() {
        let of = |days: i64| {
            let at = |day: i64| jiff::Timestamp::from_second(1_600_000_000 + day * 86_400).ok();
            span(&Summary { from: at(0), to: at(days), ..Summary::default() })
        };
        assert_eq!(
            [0, 1, 2, 59, 60, 365, 730, 1095].map(of),
            ["a day", "a day", "2 days", "59 days", "2 months", "12 months", "2 years", "3 years"]
        );
    }
}
