//! Commits and tags as Git stores them, taken apart: the facts, and what was signed.
//!
//! Read here rather than by gix because what is signed must be exactly what Git signs, and because two readers that
//! disagree about a damaged commit are how unsigned content is smuggled in. Anything out of order is an error.

use gix::bstr::ByteSlice;
use jiff::Timestamp;

use crate::core::commit::{CommitId, Ident, Signature};
use crate::core::spelling::is_printable;

/// Does the cryptography on behalf of whoever knows the keys.
pub trait SignatureCheck {
    /// Says what `signature`, as the object carries it, is worth for `payload`.
    fn check(&self, payload: &[u8], signature: &[u8]) -> Signature;
}

impl<F: Fn(&[u8], &[u8]) -> Signature> SignatureCheck for F {
    fn check(&self, payload: &[u8], signature: &[u8]) -> Signature {
        self(payload, signature)
    }
}

/// A commit's headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawCommit {
    pub(super) tree: String,
    pub(super) parents: Vec<CommitId>,
    pub(super) author: Ident,
    pub(super) committer: Ident,
    pub(super) committed: Timestamp,
    pub(super) subject: String,
    pub(super) signed: Signed,
}

/// A tag's headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawTag {
    pub(super) object: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) tagger: Ident,
    pub(super) tagged: Timestamp,
    pub(super) signed: Signed,
}

/// What of an object is signed, and by what.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signed {
    Not,
    Once {
        payload: Vec<u8>,
        signature: Vec<u8>,
    },
    /// Git would join them into one; nobody signs like that.
    Several,
}

impl Signed {
    pub(super) fn judge(&self, check: &dyn SignatureCheck) -> Signature {
        match self {
            Self::Not => Signature::Unsigned,
            Self::Once { payload, signature } => check.check(payload, signature),
            Self::Several => Signature::Bad { why: "the commit has more than one signature".into() },
        }
    }
}

/// Longer subjects say nothing more in a list.
const SUBJECT_MAX: usize = 200;

/// Reads a commit; an error says what is wrong with it.
pub(super) fn commit(raw: &[u8]) -> Result<RawCommit, &'static str> {
    let (head, message) = split(raw)?;
    let mut lines = head.lines_with_terminator().peekable();
    let tree = id(field(lines.next(), b"tree ").ok_or("its first line is not its tree")?)?;
    let mut parents = Vec::new();
    while let Some(line) = lines.next_if(|line| line.starts_with(b"parent ")) {
        parents.push(CommitId::new(id(field(Some(line), b"parent ").ok_or("a parent is no id")?)?));
    }
    let (author, _) = ident(field(lines.next(), b"author ").ok_or("its author is not where it should be")?);
    let (committer, committed) =
        ident(field(lines.next(), b"committer ").ok_or("its committer is not where it should be")?);
    if lines
        .any(|line| [b"tree ".as_slice(), b"parent ", b"author ", b"committer "].iter().any(|h| line.starts_with(h)))
    {
        return Err("a header that belongs there once is there twice");
    }
    let subject = message.lines().next().unwrap_or_default().to_str_lossy();
    let subject: String = subject.chars().filter(|c| is_printable(*c)).take(SUBJECT_MAX).collect();
    Ok(RawCommit {
        tree,
        parents,
        author,
        committer,
        committed,
        subject: subject.trim().into(),
        signed: signed(raw, head.len()),
    })
}

/// Splits headers (with their last newline) from the message.
fn split(raw: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    match raw.find(b"\n\n") {
        Some(at) => Ok((&raw[..=at], &raw[at + 2..])),
        None if raw.ends_with(b"\n") => Ok((raw, &[])),
        None => Err("its headers do not end"),
    }
}

fn field<'a>(line: Option<&'a [u8]>, header: &[u8]) -> Option<&'a [u8]> {
    line?.strip_prefix(header)?.strip_suffix(b"\n")
}

fn id(hex: &[u8]) -> Result<String, &'static str> {
    let ok = hex.len() == 40 && hex.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    if ok { Ok(String::from_utf8_lossy(hex).into_owned()) } else { Err("an id is not 40 hexadecimal digits") }
}

/// Takes signatures out of a commit, as Git does: of `gpgsig` and its continuation lines, less `gpgsig-sha256`, which
/// signs the same commit in another object format and is part of neither.
fn signed(raw: &[u8], head: usize) -> Signed {
    let (mut payload, mut signature, mut count) = (Vec::with_capacity(raw.len()), Vec::new(), 0);
    // Which header a continuation line continues.
    let (mut in_signature, mut in_other) = (false, false);
    for line in raw[..head].lines_with_terminator() {
        if line.starts_with(b" ") && (in_signature || in_other) {
            if in_signature {
                signature.extend_from_slice(&line[1..]);
            }
            continue;
        }
        in_signature = line.starts_with(b"gpgsig ");
        in_other = line.starts_with(b"gpgsig-sha256 ");
        if in_signature {
            count += 1;
            signature.extend_from_slice(&line[b"gpgsig ".len()..]);
        } else if !in_other {
            payload.extend_from_slice(line);
        }
    }
    payload.extend_from_slice(&raw[head..]);
    match count {
        0 => Signed::Not,
        1 => Signed::Once { payload, signature },
        _ => Signed::Several,
    }
}

/// The lines with which a signature begins, as Git knows them.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// Reads an annotated tag; an error says what is wrong with it.
pub(super) fn tag(raw: &[u8]) -> Result<RawTag, &'static str> {
    let (head, message) = split(raw)?;
    let mut lines = head.lines_with_terminator();
    let object = id(field(lines.next(), b"object ").ok_or("its first line is not its object")?)?;
    let text = |field: Option<&[u8]>, why| field.and_then(|f| f.to_str().ok()).map(String::from).ok_or(why);
    let kind = text(field(lines.next(), b"type "), "it has no type")?;
    let name = text(field(lines.next(), b"tag "), "it has no name, or one that is not UTF-8")?;
    let (tagger, tagged) = ident(field(lines.next(), b"tagger ").ok_or("it has no tagger")?);
    let start = raw.len() - message.len();
    let mut at = start;
    let mut begins = Vec::new();
    for line in message.lines_with_terminator() {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            begins.push(at);
        }
        at += line.len();
    }
    let signed = match *begins {
        [] => Signed::Not,
        [begin] => Signed::Once { payload: raw[..begin].into(), signature: raw[begin..].into() },
        [..] => Signed::Several,
    };
    Ok(RawTag { object, kind, name, tagger, tagged, signed })
}

/// Reads `Name <address> seconds zone`, as leniently as Git; a date that is none is the epoch, as it is for Git.
fn ident(line: &[u8]) -> (Ident, Timestamp) {
    let open = line.find_byte(b'<').unwrap_or(line.len());
    let name = &line[..open];
    let rest = line.get(open + 1..).unwrap_or_default();
    let email = &rest[..rest.find_byte(b'>').unwrap_or(rest.len())];
    let date = line.rfind_byte(b'>').and_then(|at| line.get(at + 1..)).unwrap_or_default();
    let seconds = date.to_str().ok().and_then(|date| date.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    (Ident { name: shown(name.trim()), email: shown(email.trim()) }, time)
}

/// Invisible characters are shown as such rather than dropped: dropping could turn one address into another.
fn shown(bytes: &[u8]) -> String {
    bytes.to_str_lossy().chars().map(|c| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn raw(extra: &str) -> String {
        format!(
            "tree {TREE}\nparent {TREE}\nauthor A <a@x> 1 +0000\ncommitter C <c@x> 1700000000 +0100\n{extra}\nsubject\n\nbody\n"
        )
    }

    #[test]
    fn headers_are_read() {
        let commit = commit(raw("").as_bytes()).unwrap();
        assert_eq!((commit.author.email.as_str(), commit.committer.name.as_str()), ("a@x", "C"));
        assert_eq!(commit.committed.as_second(), 1_700_000_000);
        assert_eq!((commit.subject.as_str(), commit.parents.len()), ("subject", 1));
        assert_eq!(commit.signed, Signed::Not);
    }

    #[test]
    fn the_payload_is_the_commit_less_its_signatures() {
        let both = raw("gpgsig -----BEGIN\n abc\n -----END\ngpgsig-sha256 other\n more\nencoding latin1\n");
        let Signed::Once { payload, signature } = commit(both.as_bytes()).unwrap().signed else {
            panic!("signed once")
        };
        assert_eq!(payload, raw("encoding latin1\n").as_bytes());
        assert_eq!(signature, b"-----BEGIN\nabc\n-----END\n");
    }

    #[test]
    fn a_signature_for_the_other_object_format_is_none_for_this() {
        assert_eq!(commit(raw("gpgsig-sha256 a\n b\n").as_bytes()).unwrap().signed, Signed::Not);
    }

    #[test]
    fn two_signatures_are_bad() {
        let twice = commit(raw("gpgsig a\ngpgsig b\n").as_bytes()).unwrap();
        let good = |_: &[u8], _: &[u8]| Signature::UnknownKey { key: "k".into() };
        assert!(matches!(twice.signed.judge(&good), Signature::Bad { .. }));
    }

    #[test]
    fn a_signature_in_the_message_is_none() {
        let text = raw("").replace("body", "gpgsig -----BEGIN SSH SIGNATURE-----");
        assert_eq!(commit(text.as_bytes()).unwrap().signed, Signed::Not);
    }

    #[test]
    fn headers_out_of_order_or_twice_are_refused() {
        for text in [
            raw("parent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"),
            raw("committer D <d@x> 1 +0000\n"),
            raw("").replace("tree ", "tre "),
            raw("").replace(TREE, "4b825"),
            "tree x".into(),
        ] {
            assert!(commit(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_that_are_none_are_the_epoch() {
        for date in ["", "x", "99999999999999999999 +0000", "99999999999999 +0000"] {
            let text = raw("").replace("1700000000 +0100", date);
            assert_eq!(commit(text.as_bytes()).unwrap().committed, Timestamp::UNIX_EPOCH, "{date}");
        }
    }

    #[test]
    fn an_address_cannot_hide_characters() {
        let text = raw("").replace("a@x", "al\u{200b}ice@x");
        assert_eq!(commit(text.as_bytes()).unwrap().author.email, "al\u{fffd}ice@x");
    }

    #[test]
    fn a_tag_is_split_at_its_signature() {
        let head = format!("object {TREE}\ntype commit\ntag holdfast-approve/x\ntagger T <t@x> 5 +0000\n\nyes\n");
        let text = format!("{head}-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n");
        let tag = tag(text.as_bytes()).unwrap();
        assert_eq!(
            (tag.name.as_str(), tag.kind.as_str(), tag.tagger.email.as_str()),
            ("holdfast-approve/x", "commit", "t@x")
        );
        let Signed::Once { payload, signature } = tag.signed else { panic!("signed once") };
        assert_eq!((payload.len(), signature.len()), (head.len(), text.len() - head.len()));
    }
}
