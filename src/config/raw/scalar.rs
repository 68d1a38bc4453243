//! The small values that documents are made of: durations, limits, windows, anything.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A duration as written, such as `3m`, `4h` or `1h30m`; parsed by [`parse_duration`].
#[derive(Deserialize, Debug, Clone)]
#[serde(transparent)]
pub struct RawDuration(pub String);

impl JsonSchema for RawDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a duration",
            "description": "Days, hours, minutes and seconds, largest first, such as `7d`, `1h30m` or `30s`.",
            "type": "string",
            "pattern": "^(\\d+d)?(\\d+h)?(\\d+m)?(\\d+s)?$",
            "examples": ["3m"],
        })
    }
}

/// The longest duration that is accepted: ten years. Far beyond any use, and far from where arithmetic on times fails.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

/// Reads a duration: days, hours, minutes and seconds, each at most once and the largest first.
///
/// # Errors
/// Says what is wrong with it, as a lower-case fragment.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];
    let wrong = || format!("`{text}` is not a duration");
    if text.is_empty() {
        return Err(wrong());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit"));
    }
    let mut seconds: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let unit = after.chars().next().ok_or_else(wrong)?;
        // Continuing where the last unit was found makes repeated and unordered units fail.
        let &(_, scale) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        seconds = number
            .checked_mul(scale)
            .and_then(|part| seconds.checked_add(part))
            .filter(|&sum| sum <= LONGEST)
            .ok_or_else(|| format!("`{text}` is longer than ten years"))?;
        rest = &after[unit.len_utf8()..];
    }
    Ok(Duration::from_secs(seconds))
}

/// Writes a duration as [`parse_duration`] reads it.
pub fn print_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in [("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)] {
        let number = rest / scale;
        // `24h` and `7d` are how people say it; a whole day alone stays in hours.
        if unit == "d" && (number < 2 || !rest.is_multiple_of(scale)) {
            continue;
        }
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
        rest -= number * scale;
    }
    text
}

/// The word that turns a guard off.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Disabled {
    /// Off.
    Disabled,
}

/// A number, or off.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(untagged)]
pub enum NumberOrDisabled {
    /// A number.
    Number(u32),
    /// Off.
    Off(Disabled),
}

/// A limit: a number, or parts, or `disabled`.
#[derive(Deserialize, JsonSchema, Debug, Clone)]
#[serde(untagged)]
pub enum RawLimit {
    /// The largest allowed value, whatever N is.
    Fixed(u32),
    /// Off.
    Off(Disabled),
    /// `max(over, percent of N)`, at most `atMost`; parts that are not written keep their default.
    Parts(RawLimitParts),
}

/// `max(over, percent of N)`, at most `atMost`. Either part at zero makes the limit zero.
#[derive(Deserialize, JsonSchema, Debug, Clone, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLimitParts {
    /// The absolute part.
    pub over: Option<u32>,
    /// The part in percent of N, rounded down; at most 100.
    pub percent: Option<u32>,
    /// An upper bound, or `disabled` for none.
    pub at_most: Option<NumberOrDisabled>,
}

/// Windows: a length to a number; an entry that is not written keeps its default, `disabled` takes one out.
#[derive(Deserialize, JsonSchema, Debug, Clone)]
#[serde(untagged)]
pub enum RawWindows {
    /// Off, all of them.
    Off(Disabled),
    /// A length such as `1h` to a number.
    Windows(BTreeMap<String, NumberOrDisabled>),
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in
            [("30s", 30), ("3m", 180), ("4h", 14_400), ("7d", 604_800), ("1h30m", 5400), ("1d1s", 86_401), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "3",
            "m",
            "3 m",
            "-3m",
            "3m1h",
            "3m3m",
            "1.5h",
            "3M",
            "3w",
            "3m ",
            "٣m",
            "99999999999999999999s",
            "4000d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["30s", "3m", "24h", "7d", "1h30m", "25h", "1h1s", "0s", "3650d"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(print_duration(duration), text);
        }
    }
}
