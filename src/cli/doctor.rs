//! `doctor`: what would keep the controller from working, and what to do about it.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::args::{Cli, Output};
use super::text::Style;
use super::{Done, ERROR, load, print_json, progress, style};
use crate::controller::doctor::{Check, Verdict, examine};

/// `doctor`: writes nothing.
pub(super) fn doctor(cli: &Cli) -> Done {
    let config = load(cli)?;
    let spinner = progress::spinner("looking at the configuration");
    let mut checks = vec![Check {
        check: "configuration",
        application: None,
        verdict: Verdict::Ok,
        place: config.applications.first().map(|app| app.origin.file.display().to_string()).unwrap_or_default(),
        message: match config.applications.len() {
            1 => "valid, with 1 application".to_owned(),
            several => format!("valid, with {several} applications"),
        },
        advice: String::new(),
    }];
    let pod = std::env::var("HOLDFAST_POD").ok();
    checks.extend(examine(&config, pod.as_deref(), &AtomicBool::new(false), &mut |what| {
        spinner.now(&format!("looking at {what}"))
    }));
    drop(spinner);
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (problems, warnings, ok) = (count(Verdict::Problem), count(Verdict::Warning), count(Verdict::Ok));
    if cli.output == Output::Json {
        print_json(&json!({ "checks": checks, "problems": problems, "warnings": warnings, "ok": ok }))?;
    } else {
        print!("{}", text(&checks, style(cli)));
        let plural =
            |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        println!("\n{}, {}, {ok} checks ok", plural(problems, "problem"), plural(warnings, "warning"));
    }
    Ok(if problems == 0 { ExitCode::SUCCESS } else { ExitCode::from(ERROR) })
}

/// Prints the checks of the process, then those of each application below its name.
fn text(checks: &[Check], style: Style) -> String {
    let mut out = String::new();
    let mut application: Option<&Arc<str>> = None;
    for check in checks {
        if check.application.as_ref() != application {
            application = check.application.as_ref();
            let _ = writeln!(out, "\n{}", style.paint("1", application.map_or("", |name| &**name)));
        }
        let (word, colour) = match check.verdict {
            Verdict::Ok => ("ok", "32"),
            Verdict::Warning => ("warning", "33"),
            Verdict::Problem => ("PROBLEM", "1;31"),
        };
        let place = if check.place.is_empty() || check.message.contains(&check.place) {
            String::new()
        } else {
            format!("{}: ", check.place)
        };
        let _ = writeln!(
            out,
            "  {} {:<13} {place}{}",
            style.paint(colour, &format!("{word:<8}")),
            check.check,
            check.message
        );
        if !check.advice.is_empty() {
            let _ = writeln!(out, "           {:<13} {} {}", "", style.paint("1", "→"), check.advice);
        }
    }
    out
}
