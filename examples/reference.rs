//! Prints a part of the documentation that is made from the program itself: `docs/generate` puts it into `docs/`.

use std::fmt::Write as _;

use serde_json::Value;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let text = match name.as_str() {
        "configuration" => holdfast::config::reference_markdown(),
        "guards" => holdfast::config::guard_table_markdown(),
        "schema" => format!("{:#}\n", holdfast::config::schema()),
        "crd" => holdfast::cluster::crd::definition_yaml(),
        "cli" => cli(),
        "kubectl" => plugin(),
        "chart" => chart(),
        "metrics" => holdfast::controller::metrics::reference_markdown(),
        _ => {
            eprintln!("usage: reference configuration|guards|schema|crd|cli|kubectl|chart|metrics");
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

/// Returns the reference of the plug-in for kubectl.
fn plugin() -> String {
    let mut command = <holdfast::cli::kubectl::args::Plugin as clap::CommandFactory>::command().term_width(100);
    command.build();
    let mut out =
        String::from("# kubectl holdfast\n\nThe program itself, installed as `kubectl-holdfast` in the search path.\n");
    let _ = write!(out, "\n## kubectl holdfast\n\n```text\n{}\n```\n", help(&mut command));
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let _ = write!(out, "\n## kubectl holdfast {name}\n\n```text\n{}\n```\n", help(command));
    }
    out
}

/// Returns the reference of the chart's values: what its schema says, and the defaults of `values.yaml`.
fn chart() -> String {
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/holdfast");
    let read = |name: &str| std::fs::read_to_string(chart.join(name)).expect("the chart is there");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("the schema is JSON");
    let values: Value = serde_yaml::from_str(&read("values.yaml")).expect("the values are YAML");
    let mut out = String::from(
        "# Values of the chart\n\nMade from `charts/holdfast/values.schema.json` and `values.yaml`.\n\n| value | default | what it does |\n|---|---|---|\n",
    );
    describe(&schema, Some(&values), "", &mut out);
    out
}

/// Describes the values below a place, as its schema names them.
fn describe(schema: &Value, values: Option<&Value>, at: &str, out: &mut String) {
    let known = schema["properties"].as_object();
    for name in values.and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
        let described = known.is_none_or(|known| known.contains_key(name));
        assert!(described, "values.yaml has {at}{name}, and values.schema.json has not");
    }
    for (name, field) in known.into_iter().flatten().filter(|(name, _)| !at.is_empty() || *name != "global") {
        let value = values.and_then(|values| values.get(name));
        let about = field["description"].as_str().unwrap_or_else(|| panic!("{at}{name} is not described"));
        let place = format!("{at}{name}");
        let nested = field["properties"].is_object();
        let default = match value {
            Some(_) if nested => String::new(),
            Some(value) => format!("`{value}`"),
            None => String::new(),
        };
        let _ = writeln!(out, "| `{place}` | {default} | {about} |");
        if nested {
            assert!(at.contains("[]") || value.is_some(), "values.yaml lacks {place}");
            describe(field, value, &format!("{place}."), out);
        } else if field["items"]["properties"].is_object() {
            describe(&field["items"], None, &format!("{place}[]."), out);
        } else {
            assert!(at.contains("[]") || value.is_some(), "values.yaml lacks {place}");
        }
    }
}

fn help(command: &mut clap::Command) -> String {
    let text = command.render_long_help().to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
