//! A row of the journal as text for people: what happened, to what, and why.

use jiff::Timestamp;
use serde_json::Value;

/// How long a line may get before it is cut; `--output json` has it whole.
const LONGEST: usize = 160;

/// What says most about a fact, in the order in which it is told.
const TOLD: [&str; 20] = [
    "verb",
    "id",
    "latch",
    "bar",
    "commit",
    "digest",
    "change",
    "message",
    "why",
    "how",
    "reason",
    "by",
    "purpose",
    "size",
    "total",
    "index",
    "skipped",
    "unhealthy",
    "seconds",
    "kind",
];

/// Spells a row, with its end of line.
pub(super) fn row(at: Timestamp, app: &str, seq: u64, kind: &str, told: &Value) -> String {
    format!("{}  {app:<8} {seq:>6}  {kind:<16} {}\n", at.strftime("%Y-%m-%d %H:%M:%SZ"), fact(told))
}

/// Spells a fact.
fn fact(fact: &Value) -> String {
    let Some(fields) = fact.as_object() else { return String::new() };
    let mut parts = Vec::new();
    for name in TOLD {
        let Some(value) = fields.get(name) else { continue };
        let value = match name {
            "index" | "total" | "size" | "seconds" => format!("{name} {}", plain(value)),
            "by" => format!("by {}", plain(value)),
            "purpose" => format!("({})", plain(value)),
            _ => plain(value),
        };
        if !value.is_empty() {
            parts.push(value);
        }
    }
    // A bar's reasons; and what stands one level down: a latch's reasons, an approval, a rollout, a hold.
    parts.extend(first_reason(fields.get("reasons")));
    for (name, value) in fields.iter().filter(|(_, value)| value.is_object()) {
        parts.extend(inner(name, value));
    }
    let text = parts.join("  ");
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

fn inner(name: &str, value: &Value) -> Vec<String> {
    let said = |field: &str| value.get(field).map(plain).filter(|text| !text.is_empty());
    match name {
        "approval" => {
            [said("digest"), said("by").map(|by| format!("by {by}")), said("via").map(|via| format!("({via})"))]
                .into_iter()
                .flatten()
                .collect()
        }
        "rollout" => {
            [said("commit"), said("total").map(|total| format!("{total} operations"))].into_iter().flatten().collect()
        }
        "hold" => [said("reason"), said("by").map(|by| format!("by {by}"))].into_iter().flatten().collect(),
        "breaker" => said("reason").or_else(|| said("why")).into_iter().collect(),
        _ => first_reason(value.get("reasons")).into_iter().collect(),
    }
}

fn first_reason(reasons: Option<&Value>) -> Option<String> {
    reasons?.as_array()?.iter().find_map(|reason| reason.get("message")).map(plain)
}

/// Spells a value without quotes, commits and digests as far as people read them.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            text[..7].to_owned()
        }
        Value::String(text) if text.len() == 71 && text.starts_with("sha256:") => format!("{}…", &text[..19]),
        Value::String(text) => text.replace(char::is_control, " "),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Object(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fact;

    #[test]
    fn a_write_says_what_and_which_and_why_and_no_more() {
        let digest = format!("sha256:{}", "7c9e899bea2e1267".repeat(4));
        let wrote = json!({ "fact": "wrote", "purpose": "heal", "index": 0, "id": "h55.conf", "verb": "create",
            "effect": "create", "accepted": { "desired": digest } });
        assert_eq!(fact(&wrote), "create  h55.conf  (heal)  index 0");
        let commit = "417c7050123456789012345678901234567890ab";
        assert_eq!(fact(&json!({ "fact": "poisoned", "commit": commit })), "417c705");
        let approved =
            json!({ "fact": "approved", "approval": { "digest": digest, "by": "bob@acme.example", "via": "tag" } });
        assert_eq!(fact(&approved), "sha256:7c9e899bea2e…  by bob@acme.example  (tag)");
    }

    #[test]
    fn a_latch_says_its_first_reason_and_nothing_breaks_the_line() {
        let latched = json!({ "fact": "latched", "latch": "PLAN",
            "state": { "reasons": [{ "code": "change_halt", "message": "42 of\n60 would\u{1b} change" }] } });
        assert_eq!(fact(&latched), "PLAN  42 of 60 would  change");
        let barred =
            json!({ "fact": "barred", "bar": "RENDER", "reasons": [{ "code": "fetch", "message": "no route" }] });
        assert_eq!(fact(&barred), "RENDER  no route");
        let long = json!({ "fact": "noticed", "message": "x".repeat(500) });
        assert_eq!(fact(&long).chars().count(), super::LONGEST + 1);
    }
}
