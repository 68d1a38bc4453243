//! Spells what a directory and a tree have in common: a file's digest, a link's digest, a path as an [`Id`].
//!
//! Separate because the renderer and the directory target must agree byte for byte and may not import each other.

use crate::core::resource::{Digest, Id};

/// Returns the digest of a regular file, desired or live, from Git's object id of its content.
pub fn file_digest(executable: bool, oid: &[u8]) -> Digest {
    Digest::of_parts([b"file".as_slice(), if executable { b"x" } else { b"-" }, oid])
}

/// Returns the digest of a symbolic link, desired or live, from its target's bytes.
pub fn link_digest(target: &[u8]) -> Digest {
    Digest::of_parts([b"link".as_slice(), target])
}

/// Says why an identity is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the spelling of a path: {0:?}")]
pub struct NotAPath(pub String);

/// Spells the bytes of a path: printable UTF-8 as it is, every other byte and the backslash as `\xNN`.
///
/// Characters that hide or reorder their neighbours count as not printable, so that what is shown is what is there.
pub fn id_from_bytes(bytes: &[u8]) -> Id {
    use std::fmt::Write as _;
    let mut spelling = String::with_capacity(bytes.len());
    let escape = |spelling: &mut String, bytes: &[u8]| {
        for byte in bytes {
            write!(spelling, "\\x{byte:02x}").expect("writing to a String cannot fail");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() || hides(c) {
                escape(&mut spelling, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                spelling.push(c);
            }
        }
        escape(&mut spelling, chunk.invalid());
    }
    Id::new(spelling)
}

/// Returns the bytes of the path that an identity spells.
///
/// # Errors
/// If the identity is not exactly what [`id_from_bytes`] makes of those bytes: a path has one spelling.
pub fn bytes_from_id(id: &Id) -> Result<Vec<u8>, NotAPath> {
    let wrong = || NotAPath(id.as_str().to_owned());
    let mut bytes = Vec::with_capacity(id.as_str().len());
    let mut rest = id.as_str();
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = escaped.strip_prefix('x').and_then(|digits| digits.get(..2)).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &escaped[3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    if id_from_bytes(&bytes) == *id { Ok(bytes) } else { Err(wrong()) }
}

/// Tells whether a character shows as nothing, or changes the order in which its neighbours show.
const fn hides(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_spelling_and_comes_back() {
        let all: Vec<u8> = (1..=255).collect();
        for bytes in
            [all.as_slice(), b"a/b c", "größe/日本".as_bytes(), b"back\\slash", b"\xff\xfe", b"new\nline", b"\\x41"]
        {
            let id = id_from_bytes(bytes);
            assert!(id.as_str().chars().all(|c| !c.is_control()), "{id}");
            assert_eq!(bytes_from_id(&id).expect("own spelling"), bytes);
        }
        assert_eq!(id_from_bytes(b"a\\b\n\xff").as_str(), "a\\x5cb\\x0a\\xff");
        assert_eq!(id_from_bytes("a\u{202e}b".as_bytes()).as_str(), "a\\xe2\\x80\\xaeb");
    }

    #[test]
    fn a_second_spelling_of_a_path_is_refused() {
        for wrong in ["\\x41", "a\\", "a\\x4", "a\\xZZ", "a\\n", "\\xFF", "raw\nline", "\\x+1", "\\xé"] {
            assert!(bytes_from_id(&Id::new(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn type_and_executable_bit_tell_digests_apart() {
        let oid = [7; 20];
        let digests = [file_digest(false, &oid), file_digest(true, &oid), link_digest(&oid)];
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
        assert_eq!(digests[0], Digest::of_parts([b"file".as_slice(), b"-", &oid]));
    }
}
