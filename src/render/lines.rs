//! Text without a known structure, compared by lines: those of one key are one value that changed.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::fields::escaped;

/// What is told of one difference: where, before, after.
type Tell<'a> = dyn FnMut(String, Option<&str>, Option<&str>) + 'a;

/// Comparing costs the product of lengths at worst; past this the parts are told as a whole.
const WORK_MAX: usize = 4_000_000;

/// Compares two texts and tells each difference: `/key` with the values of a line that has a key, else `/line N` of the
/// side that has the line (the newer where both do).
pub(super) fn compare(old: &str, new: &str, tell: &mut Tell<'_>) {
    let (olds, news): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = olds.iter().zip(&news).take_while(|(a, b)| a == b).count();
    let end = olds[start..].iter().rev().zip(news[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&olds[start..olds.len() - end], &news[start..news.len() - end]);
    if a.len().saturating_mul(b.len()) > WORK_MAX {
        let count = |lines: &[&str]| Some(format!("{} lines", lines.len()));
        tell(format!("/line {}", start + 1), count(a).as_deref(), count(b).as_deref());
        return;
    }
    for op in capture_diff_slices(Algorithm::Myers, a, b) {
        let (removed, added) = (op.old_range(), op.new_range());
        if !matches!(op, DiffOp::Equal { .. }) {
            let places = (start + removed.start, start + added.start);
            hunk(&a[removed], &b[added], places, tell);
        }
    }
}

/// Pairs the lines of one hunk by their keys, in order; then what is left by position, if neither has a key.
fn hunk(removed: &[&str], added: &[&str], places: (usize, usize), tell: &mut Tell<'_>) {
    let mut left: Vec<(usize, Option<(&str, &str)>)> = added.iter().map(|line| key(line)).enumerate().collect();
    for (at, line) in removed.iter().enumerate() {
        let own = key(line);
        let twin = left.iter().position(|(_, other)| match (own, other) {
            (Some((own, _)), Some((other, _))) => own == *other,
            (None, None) => true,
            _ => false,
        });
        let Some((place, other)) = twin.map(|twin| left.remove(twin)) else {
            one(own, line, places.0 + at, &mut |path, value| tell(path, Some(value), None));
            continue;
        };
        match (own, other) {
            (Some((key, old)), Some((_, new))) => tell(format!("/{}", escaped(key)), Some(old), Some(new)),
            _ => tell(format!("/line {}", places.1 + place + 1), Some(line.trim()), Some(added[place].trim())),
        }
    }
    for (place, other) in left {
        one(other, added[place], places.1 + place, &mut |path, value| tell(path, None, Some(value)));
    }
}

fn one(key: Option<(&str, &str)>, line: &str, at: usize, tell: &mut dyn FnMut(String, &str)) {
    match key {
        Some((key, value)) => tell(format!("/{}", escaped(key)), value),
        None => tell(format!("/line {}", at + 1), line.trim()),
    }
}

/// Splits `key value;`, `key = value`, `key: value` and `KEY=value`; comments, brackets and prose have no key.
fn key(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let end = line.find(|c: char| c.is_whitespace() || c == '=' || c == ':')?;
    let (key, rest) = line.split_at(end);
    let first = key.chars().next()?;
    let plain = key.chars().all(|c| c.is_alphanumeric() || "_-./\"'@$%".contains(c));
    if !(first.is_alphanumeric() || "_\"'$@%.-".contains(first)) || !plain || key.chars().all(|c| !c.is_alphanumeric())
    {
        return None;
    }
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    Some((key.trim_matches(['"', '\'']), value.trim().trim_end_matches(';').trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_the_usual_formats() {
        for (line, expected) in [
            ("  upstream 10.0.0.0/8;", Some(("upstream", "10.0.0.0/8"))),
            ("key = value", Some(("key", "value"))),
            ("key: value", Some(("key", "value"))),
            ("export KEY=a=b", Some(("KEY", "a=b"))),
            ("\"json\": 1,", Some(("json", "1,"))),
            ("# comment here", None),
            ("// comment here", None),
            ("}", None),
            ("[section]", None),
            ("word", None),
        ] {
            assert_eq!(key(line), expected, "{line}");
        }
    }
}
