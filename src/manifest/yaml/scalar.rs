//! What a scalar means.

use serde_json::{Number, Value};

/// A scalar that is not quoted, or that has a tag.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Larger than any of those.
    Uint(u64),
    Float(f64),
    Text(&'a str),
}

/// Tells what a plain scalar means: whatever looks like a number, a truth value or nothing is that.
pub(super) fn plain(text: &str) -> Scalar<'_> {
    let found = match text.as_bytes().first() {
        None => Some(Scalar::Null),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => named(text),
        Some(b'.') => named(text).or_else(|| without_separators(text).as_deref().and_then(float).map(Scalar::Float)),
        Some(b'0'..=b'9' | b'+' | b'-') => named(text).or_else(|| number(&text.replace('_', ""))),
        Some(_) => None,
    };
    found.unwrap_or(Scalar::Text(text))
}

fn named(text: &str) -> Option<Scalar<'static>> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// Takes out underscores between digits; there is no number where they are elsewhere.
fn without_separators(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let between = |(at, byte): (usize, &u8)| *byte != b'_' || digit(at.checked_sub(1)) && digit(Some(at + 1));
    bytes.iter().enumerate().all(between).then(|| text.replace('_', ""))
}

/// Reads a number without its underscores.
fn number(text: &str) -> Option<Scalar<'static>> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let (base, digits) = based(digits);
    // Another sign after the prefix is none; after that of binary numbers it is.
    let signed = |digits: &str, base| match digits.as_bytes().first() {
        Some(b'+' | b'-') | None => None,
        Some(_) => i128::from_str_radix(digits, base).ok().map(|number| if negative { -number } else { number }),
    };
    let whole = signed(digits, base).and_then(|number| match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Some(Scalar::Int(number)),
        (Err(_), Ok(number)) if !text.starts_with('+') => Some(Scalar::Uint(number)),
        _ => None,
    });
    let signed_binary =
        || text.strip_prefix("0b").and_then(|digits| i64::from_str_radix(digits, 2).ok()).map(Scalar::Int);
    whole.or_else(|| float(text).map(Scalar::Float)).or_else(signed_binary)
}

/// Takes the prefix of a base off.
fn based(digits: &str) -> (u32, &str) {
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    }
}

/// Reads a decimal number; one that no float can hold is none.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let spelt = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let raised = exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    let number: f64 = text.parse().ok().filter(|_| spelt && raised)?;
    number.is_finite().then_some(number)
}

/// Spells a float as JSON does: one without a fraction is a whole number. There is none for what is no number.
pub(super) fn float_value(number: f64) -> Option<Value> {
    if !number.is_finite() {
        return None;
    }
    let spelt = number.to_string();
    let whole = || spelt.parse::<i64>().ok().filter(|_| number.abs() < 1e21);
    Some(whole().map_or_else(|| Number::from_f64(number).map_or(Value::Null, Value::Number), Value::from))
}

/// Spells a whole number that is larger than any signed one: only a float holds it.
#[expect(clippy::cast_precision_loss, reason = "as the server rounds it")]
pub(super) fn uint_value(number: u64) -> Option<Value> {
    float_value(number as f64)
}
