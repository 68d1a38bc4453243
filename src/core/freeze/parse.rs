//! What a `FREEZE` says. Whatever cannot be followed freezes everything, without expiry, and says why.

use jiff::Timestamp;
use serde_yaml::{Mapping, Value};

use crate::core::spelling::is_printable;

/// A freeze says who and why; more than this is malformed.
const FREEZE_MAX: usize = 64 * 1024;

/// Longer texts say nothing more in a status line.
const TEXT_MAX: usize = 300;

/// What a freeze says, apart from where and when.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parsed {
    /// Why.
    pub reason: Option<String>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// When it ends by itself; `None` is never.
    pub until: Option<Timestamp>,
    /// Globs over application names; none means all.
    pub scope: Vec<String>,
    /// Why it freezes everything without expiry, if what was written could not be followed.
    pub note: Option<String>,
}

impl Parsed {
    /// Takes an end that is already past as a mistake: everything is frozen, without expiry.
    #[must_use]
    pub fn unless_past(self, now: Timestamp) -> Self {
        match self.until {
            Some(until) if until <= now => self.everything(format!("its `until` {until} was already past")),
            _ => self,
        }
    }

    fn everything(self, note: String) -> Self {
        Self { until: None, scope: Vec::new(), note: Some(note), ..self }
    }
}

/// Reads a freeze: nothing (freezes all), a text (the reason), or a mapping of `reason`, `owner`, `until` and `scope`.
pub fn parse(bytes: &[u8], now: Timestamp) -> Parsed {
    let nothing = Parsed::default();
    if bytes.len() > FREEZE_MAX {
        return nothing.everything("it is larger than 64 KiB".to_owned());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return nothing.everything("it is not UTF-8".to_owned());
    };
    match serde_yaml::from_str(text) {
        Ok(Value::Mapping(fields)) => mapping(&fields, now),
        Ok(Value::Sequence(_) | Value::Tagged(_)) => nothing.everything("it is neither text nor fields".to_owned()),
        // The text as it was written: numbers and dates are not to be respelt.
        Ok(Value::Null) => nothing,
        Ok(Value::String(reason)) => Parsed { reason: shown(&reason), ..nothing },
        Ok(Value::Bool(_) | Value::Number(_)) => Parsed { reason: shown(text), ..nothing },
        Err(error) => {
            let reason = text.lines().find_map(shown);
            Parsed { reason, ..nothing }.everything(format!("it is not valid YAML: {}", one_line(&error.to_string())))
        }
    }
}

fn mapping(fields: &Mapping, now: Timestamp) -> Parsed {
    let mut parsed = Parsed::default();
    let mut wrong = Vec::new();
    for (key, value) in fields {
        let done = match key.as_str() {
            Some("reason") => text(value).map(|reason| parsed.reason = reason),
            Some("owner") => text(value).map(|owner| parsed.owner = owner),
            Some("until") => until(value).map(|until| parsed.until = until),
            Some("scope") => scope(value).map(|scope| parsed.scope = scope),
            Some(other) => Err(format!("{:?} is no field of a freeze", one_line(other))),
            None => Err("a field's name is no text".to_owned()),
        };
        wrong.extend(done.err());
    }
    match wrong.is_empty() {
        true => parsed.unless_past(now),
        false => parsed.everything(wrong.join(", ")),
    }
}

fn text(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(shown(text)),
        _ => Err("its `reason` or `owner` is no text".to_owned()),
    }
}

fn until(value: &Value) -> Result<Option<Timestamp>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| {
            format!("its `until` {:?} is no RFC 3339 time with an offset (2026-12-24T18:00:00+01:00)", one_line(text))
        }),
        _ => Err("its `until` is no time".to_owned()),
    }
}

fn scope(value: &Value) -> Result<Vec<String>, String> {
    let wrong = || "its `scope` is no list of application names".to_owned();
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Sequence(names) => {
            let name = |name: &Value| name.as_str().and_then(shown).ok_or_else(wrong);
            names.iter().map(name).collect()
        }
        _ => Err(wrong()),
    }
}

/// Returns a text as it may be shown: anybody who can push chose it.
fn shown(text: &str) -> Option<String> {
    let line = one_line(text);
    (!line.is_empty()).then_some(line)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| is_printable(*c)).take(TEXT_MAX).collect()
}

/// Tells whether an edit freezes less than before, in time or in scope; one that cannot be told apart counts as less.
pub fn narrows(old: &Parsed, new: Option<&Parsed>) -> bool {
    let Some(new) = new else { return true };
    let sooner = match (old.until, new.until) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    };
    let all = |parsed: &Parsed| parsed.scope.is_empty() || parsed.scope.iter().any(|p| p == "*" || p == "**");
    let fewer = !all(new) && (all(old) || old.scope.iter().any(|pattern| !new.scope.contains(pattern)));
    sooner || fewer
}
