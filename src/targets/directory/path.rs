//! Which identities are paths below a root, and which names below it are ours.

use std::borrow::Cow;

use crate::core::resource::Id;
use crate::core::spelling::bytes_from_id;

/// The anchor's name in the root (`GUARDS.md` 9).
pub(super) const ANCHOR: &str = ".holdfast";
/// How every temporary name begins.
pub(super) const TEMPORARY: &str = ".holdfast-tmp-";

/// Says why an identity names no file below a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPath {
    #[error(transparent)]
    Spelling(#[from] crate::core::spelling::NotAPath),
    #[error("the path has an empty, `.` or `..` part, or a NUL byte")]
    Part,
    #[error("the name is reserved for holdfast's own files")]
    Reserved,
}

/// Returns the path's bytes, checked: relative, without empty, `.` and `..` parts, none of them ours.
pub(super) fn path_of(id: &Id) -> Result<Cow<'_, [u8]>, BadPath> {
    let plain = id.as_str().bytes().all(|byte| byte != b'\\' && (byte == b' ' || byte.is_ascii_graphic()));
    let path = if plain { Cow::Borrowed(id.as_str().as_bytes()) } else { Cow::Owned(bytes_from_id(id)?) };
    for (at, part) in path.split(|byte| *byte == b'/').enumerate() {
        if matches!(part, b"" | b"." | b"..") || part.contains(&0) {
            return Err(BadPath::Part);
        }
        if is_ours(part, at == 0) {
            return Err(BadPath::Reserved);
        }
    }
    Ok(path)
}

/// Tells whether a name is one of ours; the anchor only is in the root.
pub(super) fn is_ours(name: &[u8], in_root: bool) -> bool {
    (in_root && name == ANCHOR.as_bytes()) || name.starts_with(TEMPORARY.as_bytes())
}

/// Splits a path into its directory, empty for the root, and its last part.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Returns the part of `path` below `above`, if `above` is one of its directories or itself.
pub(super) fn below<'a>(path: &'a [u8], above: &[u8]) -> Option<&'a [u8]> {
    if above.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(above)? {
        b"" => Some(b""),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_paths_of_others_are_paths() {
        for good in ["a", "a/b", "a/.holdfast", "...", ".hidden", "a b/ü", "a\\xff"] {
            assert!(path_of(&Id::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/../b", "./a", "a\\x00b", "\\x2fa"] {
            assert!(matches!(path_of(&Id::new(bad)), Err(BadPath::Part | BadPath::Spelling(_))), "{bad}");
        }
        for ours in [".holdfast", ".holdfast/a", ".holdfast-tmp-1", "a/.holdfast-tmp-1", "a/.holdfast-tmp-1/b"] {
            assert_eq!(path_of(&Id::new(ours)), Err(BadPath::Reserved), "{ours}");
        }
    }

    #[test]
    fn below_respects_the_parts_of_a_path() {
        assert_eq!(below(b"a/b", b""), Some(b"a/b".as_slice()));
        assert_eq!(below(b"a/b", b"a"), Some(b"b".as_slice()));
        assert_eq!(below(b"a/b", b"a/b"), Some(b"".as_slice()));
        assert_eq!(below(b"ab/c", b"a"), None);
        assert_eq!(split(b"a/b/c"), (b"a/b".as_slice(), b"c".as_slice()));
        assert_eq!(split(b"c"), (b"".as_slice(), b"c".as_slice()));
    }
}
