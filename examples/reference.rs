//! Prints a part of the documentation that is made from the program itself: `docs/generate` puts it into `docs/`.

use std::fmt::Write as _;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let text = match name.as_str() {
        "configuration" => holdfast::config::reference_markdown(),
        "guards" => holdfast::config::guard_table_markdown(),
        "schema" => format!("{:#}\n", holdfast::config::schema()),
        "crd" => holdfast::cluster::crd::definition_yaml(),
        "cli" => cli(),
        "metrics" => holdfast::controller::metrics::reference_markdown(),
        _ => {
            eprintln!("usage: reference configuration|guards|schema|crd|cli|metrics");
            std::process::exit(64);
        }
    };
    println!("{}", text.trim_end());
}

/// Returns the reference of the command line, one section per command.
fn cli() -> String {
    let mut command = holdfast::cli::command().term_width(100);
    command.build();
    let mut out =
        String::from("# Command line\n\nExit codes: 0 done; 1 error; 64 wrong usage; 65 invalid configuration. ");
    out.push_str("With `plan --exit-code`: 0 nothing to do, 2 changes or drift, 3 would halt.\n");
    let _ = write!(out, "\n## holdfast\n\n```text\n{}\n```\n", help(&mut command));
    let mut commands: Vec<_> = command.get_subcommands_mut().collect();
    commands.retain(|command| command.get_name() != "help");
    for command in commands {
        let name = command.get_name().to_owned();
        let _ = write!(out, "\n## holdfast {name}\n\n```text\n{}\n```\n", help(command));
    }
    out
}

fn help(command: &mut clap::Command) -> String {
    let text = command.render_long_help().to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
