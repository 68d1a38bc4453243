//! How a directory's paths are spelt as identities, and how the digests of its files and links are made.
//!
//! Separate because the renderer (from a tree) and the directory target (from live files) must agree to the byte.

use super::resource::{Digest, Id};

/// Spells a path as an [`Id`]: bytes that are no printable UTF-8, and the backslash, become `\xNN`.
///
/// The spelling is injective, so that two files never share an identity.
pub fn id_from_bytes(path: &[u8]) -> Id {
    Id::new(spell(path))
}

/// Spells bytes for people and identities, as [`id_from_bytes`] does.
pub fn spell(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '\\' || !is_printable(char) {
                let mut buffer = [0; 4];
                escape(&mut out, char.encode_utf8(&mut buffer).as_bytes());
            } else {
                out.push(char);
            }
        }
        escape(&mut out, chunk.invalid());
    }
    out
}

/// Says why an identity is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the spelling of a path: {0:?}")]
pub struct NotAPath(pub String);

/// Returns the path that an identity spells.
///
/// # Errors
/// If the identity is not exactly what [`id_from_bytes`] makes of those bytes: a path has one spelling.
pub fn bytes_from_id(id: &Id) -> Result<Vec<u8>, NotAPath> {
    unspell(id.as_str()).ok_or_else(|| NotAPath(id.as_str().to_owned()))
}

fn unspell(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escaped) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let digits = escaped.strip_prefix("\\x")?.get(..2)?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = escaped.get(4..)?;
    }
    out.extend_from_slice(rest.as_bytes());
    // Only the canonical spelling is one: otherwise two identities would name one file.
    (spell(&out) == text).then_some(out)
}

/// Makes the digest of a file, desired or live: whether it may be executed, and its content as Git's blob id.
pub fn file_digest(executable: bool, blob: &[u8]) -> Digest {
    let mode: &[u8] = if executable { b"x" } else { b"-" };
    Digest::of_parts([b"file".as_slice(), mode, blob])
}

/// Makes the digest of a symbolic link, desired or live.
pub fn link_digest(target: &[u8]) -> Digest {
    Digest::of_parts([b"link".as_slice(), target])
}

fn escape(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push_str("\\x");
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Tells whether a character shows as what it is: neither control, nor invisible, nor turning the direction of text.
pub fn is_printable(char: char) -> bool {
    !char.is_control()
        && !matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_are_spelt_as_they_are() {
        assert_eq!(id_from_bytes("etc/nginx/größe 1.conf".as_bytes()).as_str(), "etc/nginx/größe 1.conf");
    }

    #[test]
    fn what_does_not_print_is_escaped() {
        assert_eq!(id_from_bytes(b"a\\b\n\xff\x7f").as_str(), "a\\x5cb\\x0a\\xff\\x7f");
        assert_eq!(id_from_bytes("x\u{202e}y".as_bytes()).as_str(), "x\\xe2\\x80\\xaey");
    }

    #[test]
    fn only_the_canonical_spelling_is_read_back() {
        for text in ["a\\", "a\\x", "a\\x4", "a\\y41", "a\\x41", "a\\x5C", "\\x\u{e9}"] {
            assert!(bytes_from_id(&Id::new(text)).is_err(), "{text}");
        }
        assert_eq!(bytes_from_id(&Id::new("a\\x5cb")), Ok(b"a\\b".to_vec()));
    }

    #[test]
    fn files_links_and_modes_never_share_a_digest() {
        let digests = [file_digest(true, b"abc"), file_digest(false, b"abc"), link_digest(b"abc")];
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
    }

    proptest! {
        #[test]
        fn every_path_survives_its_spelling(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(bytes_from_id(&id_from_bytes(&path)), Ok(path));
        }
    }
}
