//! Reads OpenSSH's `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS), strictly: a line that cannot be followed is an
//! error and not skipped, since whoever wrote it meant something.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

use crate::core::commit::Grant;
use crate::core::trust::pattern_list;

/// Git signs in this namespace.
pub(super) const NAMESPACE: &str = "git";

/// A line: a key and what it may do.
#[derive(Clone, Debug)]
pub(super) struct AllowedKey {
    pub(super) key: KeyData,
    pub(super) grant: Grant,
}

/// Reads the file; an error names the line, from 1.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<AllowedKey>, (usize, String)> {
    let mut keys = Vec::new();
    for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| (n + 1, "the line is not UTF-8".to_owned()))?;
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            keys.push(entry(line).map_err(|why| (n + 1, why))?);
        }
    }
    Ok(keys)
}

fn entry(line: &str) -> Result<AllowedKey, String> {
    let (principals, rest) = field(line)?;
    let principals: Vec<String> = unquoted(principals)?.split(',').map(String::from).collect();
    if principals.iter().any(|principal| principal.trim_start_matches('!').is_empty()) {
        return Err("a principal is empty".to_owned());
    }
    let mut grant = Grant { principals, valid_after: None, valid_before: None, namespace_allowed: true };
    if rest.is_empty() {
        return Err("there is no key after the principals".to_owned());
    }
    let (first, after) = field(rest)?;
    let key = if is_key_type(first) {
        rest
    } else {
        options(first, &mut grant)?;
        after
    };
    Ok(AllowedKey { key: public_key(key)?, grant })
}

/// Reads `type base64 [comment]`.
pub(super) fn public_key(text: &str) -> Result<KeyData, String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else {
        return Err("there is no public key where one should be".to_owned());
    };
    if kind.contains("-cert-v0") {
        return Err("certificates are not supported: list the key itself".to_owned());
    }
    let key = PublicKey::from_openssh(&format!("{kind} {key}")).map_err(|error| format!("the key: {error}"))?;
    Ok(key.key_data().clone())
}

/// Options never begin so, and every kind of key does.
fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "rsa-"].iter().any(|prefix| word.starts_with(prefix))
}

/// Splits at the first space outside quotes.
fn field(text: &str) -> Result<(&str, &str), String> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok((&text[..at], text[at..].trim_start())),
            _ => {}
        }
    }
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok((text, "")) }
}

fn unquoted(text: &str) -> Result<String, String> {
    let Some(inner) = text.strip_prefix('"') else {
        return match text.contains('"') {
            true => Err("a quote is in the middle of a word".to_owned()),
            false => Ok(text.to_owned()),
        };
    };
    let inner = inner.strip_suffix('"').ok_or("a quote is not closed")?;
    let inner = inner.replace("\\\"", "\u{0}");
    if inner.contains('"') {
        return Err("a quote is in the middle of a word".to_owned());
    }
    Ok(inner.replace('\u{0}', "\""))
}

fn options(text: &str, grant: &mut Grant) -> Result<(), String> {
    let mut seen: Vec<String> = Vec::new();
    for option in separated(text) {
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let name = name.to_ascii_lowercase();
        if seen.contains(&name) {
            return Err(format!("option {name} is there twice"));
        }
        let value = || unquoted(value.ok_or(format!("option {name} has no value"))?);
        match name.as_str() {
            "cert-authority" => {
                return Err("cert-authority is not supported: list the signers' keys themselves".to_owned());
            }
            "namespaces" => {
                let namespaces: Vec<String> = value()?.split(',').map(String::from).collect();
                grant.namespace_allowed = pattern_list(&namespaces, NAMESPACE);
            }
            "valid-after" => grant.valid_after = Some(time(&value()?)?),
            "valid-before" => grant.valid_before = Some(time(&value()?)?),
            _ => return Err(format!("there is no option {name:?}")),
        }
        seen.push(name);
    }
    match (grant.valid_after, grant.valid_before) {
        (Some(after), Some(before)) if after >= before => Err("valid-before is not after valid-after".to_owned()),
        _ => Ok(()),
    }
}

/// Splits at commas outside quotes.
fn separated(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Reads `YYYYMMDD[HHMM[SS]]`, of this machine's zone, or of UTC with `Z` after it.
fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time (YYYYMMDD or YYYYMMDDHHMM[SS], with Z for UTC)");
    let utc = text.strip_suffix('Z').or_else(|| text.strip_suffix("UTC"));
    let digits = utc.unwrap_or(text);
    let format = match digits.len() {
        8 => "%Y%m%d",
        12 => "%Y%m%d%H%M",
        14 => "%Y%m%d%H%M%S",
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let time = match digits.len() {
        8 => jiff::civil::Date::strptime(format, digits).map(|date| date.to_datetime(jiff::civil::Time::midnight())),
        _ => DateTime::strptime(format, digits),
    };
    let zone = if utc.is_some() { TimeZone::UTC } else { TimeZone::system() };
    time.and_then(|time| time.to_zoned(zone)).map(|zoned| zoned.timestamp()).map_err(|_| wrong())
}
