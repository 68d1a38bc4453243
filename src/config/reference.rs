//! The configuration's reference, made from the schema and from the defaults themselves so that it cannot drift.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value};

use super::raw::print_duration;
use super::schema::{APPLICATION, CONTROLLER};
use crate::core::guards::{
    DriftPolicies, DriftPolicy, FleetGuards, Groups, Growth, Guards, Limit, Mode, ObserveFor, OnPoison,
};

/// Returns the reference of every field, as Markdown.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\nOne file or a directory of `*.yaml`, documents separated by `---`. Unknown fields are refused. Relative paths are \
         relative to the file that names them. A duration is days, hours, minutes and seconds, largest first: `7d`, `1h30m`, `30s`.\n",
    );
    for (kind, schema) in [("Controller", &*CONTROLLER), ("Application", &*APPLICATION)] {
        let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
        let about = text(schema.as_value(), "description");
        let _ = write!(out, "\n## {kind}\n\n{about}\n\n| field | value | what it does |\n|---|---|---|\n");
        fields(&mut out, &definitions, schema.as_value(), "");
    }
    out.push_str("\n## Guards and their defaults\n\n");
    out.push_str(&guard_table_markdown());
    out
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Writes a row for each field, and for the fields inside it.
fn fields(out: &mut String, definitions: &Map<String, Value>, schema: &Value, above: &str) {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let mut kinds = Vec::new();
        kinds_of(definitions, field, &mut kinds);
        let spelled: Vec<String> = kinds.iter().map(|kind| spell(definitions, kind)).collect();
        let needed = if required.contains(&name.as_str()) { " **Required.**" } else { "" };
        let about = one_line(text(field, "description"));
        let _ = writeln!(out, "| `{path}` | {} | {about}{needed} |", unique(spelled).join(", "));
        for kind in kinds {
            let (inner, path) = match kind.get("items") {
                Some(items) => (resolve(definitions, items), format!("{path}[]")),
                None => (kind, path.clone()),
            };
            // Limits are everywhere; their parts are described once, below.
            if text(kind, "type") != "string" && !is_limit(inner) {
                fields(out, definitions, inner, &path);
            }
        }
    }
}

fn is_limit(schema: &Value) -> bool {
    schema.get("properties").is_some_and(|known| known.get("atMost").is_some())
}

fn resolve<'a>(definitions: &'a Map<String, Value>, schema: &'a Value) -> &'a Value {
    match text(schema, "$ref").strip_prefix("#/$defs/") {
        Some(name) => definitions.get(name).unwrap_or(schema),
        None => schema,
    }
}

/// Lists what may stand at a place, references and unions opened.
fn kinds_of<'a>(definitions: &'a Map<String, Value>, schema: &'a Value, kinds: &mut Vec<&'a Value>) {
    let schema = resolve(definitions, schema);
    match ["anyOf", "oneOf"].iter().find_map(|union| schema.get(union)?.as_array()) {
        Some(parts) => parts.iter().for_each(|part| kinds_of(definitions, part, kinds)),
        None => kinds.push(schema),
    }
}

fn spell(definitions: &Map<String, Value>, schema: &Value) -> String {
    let words =
        schema.get("const").into_iter().chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
    let words: Vec<String> = words.filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
    if !words.is_empty() {
        return words.join(", ");
    }
    match (text(schema, "type"), text(schema, "title")) {
        ("string", "") => "text".to_owned(),
        ("string", title) => title.to_owned(),
        ("boolean", _) => "`true`, `false`".to_owned(),
        ("integer", _) => "number".to_owned(),
        ("array", _) => {
            let mut kinds = Vec::new();
            kinds_of(definitions, schema.get("items").unwrap_or(&Value::Null), &mut kinds);
            let inner = unique(kinds.iter().map(|kind| spell(definitions, kind)).collect());
            format!("list of {}", inner.join(", "))
        }
        _ if is_limit(schema) => "limit".to_owned(),
        _ => "mapping".to_owned(),
    }
}

fn unique(mut spelled: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    spelled.retain(|kind| seen.insert(kind.clone()));
    spelled
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Returns the guards' parameters with their defaults, as a Markdown table.
pub fn guard_table_markdown() -> String {
    let definitions = APPLICATION.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let about = |definition: &str, name: &str| {
        let field =
            definitions.get(definition).and_then(|schema| schema.get("properties")).and_then(|known| known.get(name));
        one_line(field.map_or("", |field| text(field, "description")))
    };
    let mut out = String::from("| parameter | default | what it does |\n|---|---|---|\n");
    let spec = APPLICATION.pointer("/properties/spec").map(|schema| resolve(&definitions, schema));
    let spec = spec.and_then(|schema| schema.get("properties"));
    for (name, default) in spec_defaults(&Guards::default()) {
        let what = spec.and_then(|known| known.get(name)).map_or("", |field| text(field, "description"));
        // The description ends with the default for the reference; here it has a column.
        let what = one_line(what.split(" Default `").next().unwrap_or(what));
        let _ = writeln!(out, "| `{name}` | {default} | {what} |");
    }
    for (name, default) in guard_defaults(&Guards::default()) {
        let _ = writeln!(out, "| `guards.{name}` | {default} | {} |", about("RawGuards", name));
    }
    for (name, default) in drift_defaults(&DriftPolicies::default()) {
        let _ = writeln!(out, "| `drift.{name}` | {default} | {} |", about("RawDrift", name));
    }
    let FleetGuards { change, delete } = FleetGuards::default();
    let _ = writeln!(
        out,
        "| `fleet.change` (Controller) | {} | Updates and deletions over all applications of one repository, bumps apart. |",
        limit(change)
    );
    let _ = writeln!(
        out,
        "| `fleet.delete` (Controller) | {} | Deletions over all applications of one repository. |",
        limit(delete)
    );
    out.push_str(
        "\nA limit is the largest allowed value: `max(over, percent of N)`, at most `atMost`. Either part at zero makes it zero; a bare number is that \
         limit whatever N is; off is written `disabled`. Parts, windows and fields that are not written keep their defaults.\n",
    );
    out
}

fn spec_defaults(guards: &Guards) -> Vec<(&'static str, String)> {
    let mode = match guards.mode {
        Mode::Observe => "observe",
        Mode::Converge => "converge",
    };
    vec![("mode", code(mode)), ("interval", time(guards.interval))]
}

fn guard_defaults(guards: &Guards) -> Vec<(&'static str, String)> {
    let Guards {
        mode: _,
        interval: _,
        empty_desired_halts,
        delete_halt,
        change_halt,
        bump_halt,
        growth_halt,
        group_halt,
        drift_halt,
        protected,
        protected_defaults,
        window_deletes,
        window_changes,
        write_cap,
        delete_cap,
        rate,
        backoff_initial,
        backoff_max,
        failures,
        fight,
        settle,
        approval_ttl,
        on_poison,
        observe_for,
        local_approval,
        solo,
        spare_undeclared: _,
        drift: _,
    } = guards;
    let growth = growth_halt
        .map(|Growth { factor, from, creates }| format!("{{factor: {factor}, from: {from}, creates: {creates}}}"));
    let groups = group_halt.map(|Groups { groups, from }| format!("{{groups: {groups}, from: {from}}}"));
    let windows = format!("{{deletes: {}, changes: {}}}", spans(window_deletes), spans(window_changes));
    let backoff = format!("{{initial: {}, max: {}}}", print_duration(*backoff_initial), print_duration(*backoff_max));
    let rate = match rate {
        None => "the target's: directory none, others `{perSecond: 5, burst: 10}`".to_owned(),
        Some(None) => code("disabled"),
        Some(Some(rate)) => code(&format!("{{perSecond: {}, burst: {}}}", rate.per_second, rate.burst)),
    };
    let observe = match observe_for {
        ObserveFor::Cycles(1) => code("1 cycle"),
        ObserveFor::Cycles(cycles) => code(&format!("{cycles} cycles")),
        ObserveFor::Time(duration) => time(*duration),
    };
    let on_poison = match on_poison {
        OnPoison::Hold => "hold",
        OnPoison::LastGood => "last_good",
    };
    let protected =
        if protected.is_empty() { "nothing besides the target's own".to_owned() } else { protected.join(", ") };
    vec![
        ("emptyDesired", code(if *empty_desired_halts { "halt" } else { "allow" })),
        ("deleteHalt", limit(*delete_halt)),
        ("changeHalt", limit(*change_halt)),
        ("bumpHalt", limit(*bump_halt)),
        ("growthHalt", code(growth.as_deref().unwrap_or("disabled"))),
        ("groupHalt", code(groups.as_deref().unwrap_or("disabled"))),
        ("driftHalt", limit(*drift_halt)),
        ("protected", protected),
        ("protectedDefaults", code(&protected_defaults.to_string())),
        ("window", code(&windows)),
        ("writeCap", limit(*write_cap)),
        ("deleteCap", limit(*delete_cap)),
        ("rate", rate),
        ("settle", time(*settle)),
        ("fight", code(&spans(fight))),
        ("failures", code(&failures.to_string())),
        ("backoff", code(&backoff)),
        ("approvalTtl", time(*approval_ttl)),
        ("onPoison", code(on_poison)),
        ("observeFor", observe),
        ("localApproval", code(&local_approval.to_string())),
        ("solo", code(&solo.to_string())),
    ]
}

fn drift_defaults(drift: &DriftPolicies) -> Vec<(&'static str, String)> {
    let DriftPolicies { missing, tamper, emergency, routine, grace, ignore: _ } = drift;
    let policy = |policy: &DriftPolicy| match policy {
        DriftPolicy::Revert => code("revert"),
        DriftPolicy::Adopt => code("adopt"),
        DriftPolicy::Escalate { revert_after: None } => code("escalate"),
        DriftPolicy::Escalate { revert_after: Some(after) } => {
            code(&format!("{{escalate: {{revertAfter: {}}}}}", print_duration(*after)))
        }
    };
    vec![
        ("missing", policy(missing)),
        ("tamper", policy(tamper)),
        ("emergency", policy(emergency)),
        ("routine", policy(routine)),
        ("grace", time(*grace)),
        ("ignore", "nothing".to_owned()),
    ]
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn time(duration: Duration) -> String {
    code(&print_duration(duration))
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::Disabled => code("disabled"),
        Limit::Fixed(fixed) => code(&fixed.to_string()),
        Limit::Relative { over, percent, at_most: None } => code(&format!("{{over: {over}, percent: {percent}}}")),
        Limit::Relative { over, percent, at_most: Some(most) } => {
            code(&format!("{{over: {over}, percent: {percent}, atMost: {most}}}"))
        }
    }
}

fn spans(windows: &BTreeMap<Duration, u32>) -> String {
    let spelled: Vec<String> =
        windows.iter().map(|(window, number)| format!("{}: {number}", print_duration(*window))).collect();
    format!("{{{}}}", spelled.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use std::path::Path;

    #[test]
    fn every_guard_that_can_be_written_is_in_the_table() {
        let table = guard_table_markdown();
        let definitions = APPLICATION.get("$defs").unwrap();
        for (definition, prefix) in [("RawGuards", "guards"), ("RawDrift", "drift")] {
            for name in definitions[definition]["properties"].as_object().unwrap().keys() {
                assert!(table.contains(&format!("| `{prefix}.{name}` |")), "{prefix}.{name}");
            }
        }
        assert!(!table.contains("|  |"), "a cell is empty:\n{table}");
        insta::assert_snapshot!(table);
    }

    #[test]
    fn defaults_that_are_written_out_are_the_defaults() {
        let mut text = "apiVersion: holdfast.dev/v1alpha1\nkind: Application\nmetadata: {name: web}\nspec:\n  source: {url: a.git}\n  target: {directory: {root: /srv/web}}\n".to_owned();
        let defaults = Guards::default();
        let plain = |(name, default): &(&str, String)| {
            default
                .strip_prefix('`')
                .and_then(|default| default.strip_suffix('`'))
                .map(|default| format!("{name}: {default}\n"))
        };
        spec_defaults(&defaults).iter().filter_map(plain).for_each(|line| text += &format!("  {line}"));
        text += "  guards:\n";
        guard_defaults(&defaults)
            .iter()
            .filter_map(plain)
            .filter(|line| !line.starts_with("rate"))
            .for_each(|line| text += &format!("    {line}"));
        text += "  drift:\n";
        drift_defaults(&defaults.drift).iter().filter_map(plain).for_each(|line| text += &format!("    {line}"));
        let config = load_text(Path::new("/x/holdfast.yaml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(config.applications[0].guards, Guards { spare_undeclared: true, ..defaults });
    }

    #[test]
    fn the_reference_names_nested_fields() {
        let reference = reference_markdown();
        for field in [
            "spec.webhooks.github.secretFile",
            "spec.source.credentials.tokenFile",
            "spec.target.directory.reload[].run",
            "spec.drift.ignore[].paths",
            "spec.drift.emergency.escalate.revertAfter",
        ] {
            assert!(reference.contains(&format!("| `{field}` |")), "{field} is missing:\n{reference}");
        }
        insta::assert_snapshot!(reference);
    }
}
