//! Commands in comments of a hosting service: what is one, and whose counts (`GUARDS.md` 5.4).
//!
//! Only a comment that was newly made for this and nothing else is a command: one that was edited, that quotes one or that
//! only looks like one is refused, and told so.

use std::sync::Arc;

use super::resource::Digest;

/// What the commands begin with.
const WORD: &str = "/holdfast";

/// A comment as the hosting service tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Its text.
    pub body: String,
    /// Whether a program wrote it.
    pub bot: bool,
    /// Whether it was changed since it was made.
    pub edited: bool,
}

/// What a comment asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Nothing of ours.
    Nothing,
    /// An approval of this digest, if its author may.
    Approve(Digest),
    /// Something of ours that does not count, and why.
    Refused(&'static str),
}

/// What every comment of holdfast's ends with the beginning of, whichever controller and account wrote it.
const MARK: &str = "<!-- holdfast:";

/// Says what a comment asks for.
pub fn hear(said: &Said) -> Heard {
    // Two controllers must not answer each other.
    if said.body.contains(MARK) {
        return Heard::Nothing;
    }
    let mut lines = lines(&said.body);
    let first = lines.clone().find(|line| !line.text.trim().is_empty());
    let parsed = match first {
        Some(line) if line.plain && is_command(line.text) => parse(line.text),
        _ if lines.any(|line| resembles(line.text)) => {
            Err("a command is the first line of a comment, as it is written here: not quoted, not in a block of code")
        }
        _ => return Heard::Nothing,
    };
    match parsed {
        Err(why) => Heard::Refused(why),
        Ok(_) if said.bot => Heard::Refused("a program's comment does not count: a person has to write it"),
        Ok(_) if said.edited => Heard::Refused("a comment that was edited does not count: write a new one"),
        Ok(digest) => Heard::Approve(digest),
    }
}

/// Names whoever commented, as policies do: `github:carol`, or `gitea:git.example.com/carol` where there are several services of a kind.
pub fn name(service: &str, host: Option<&str>, login: &str) -> Arc<str> {
    let host = host.map(|host| format!("{host}/")).unwrap_or_default();
    format!("{service}:{host}{}", login.to_ascii_lowercase()).into()
}

/// Tells whether a name is that of an account of a hosting service.
pub fn is_account(name: &str) -> bool {
    name.split_once(':').is_some_and(|(service, _)| matches!(service, "github" | "gitlab" | "gitea"))
}

/// A line of a comment.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    text: &'a str,
    /// Neither quoted nor code.
    plain: bool,
}

fn lines(body: &str) -> impl Iterator<Item = Line<'_>> + Clone {
    let mut fenced = false;
    body.lines().map(move |text| {
        let trimmed = text.trim_start();
        let fence = trimmed.starts_with("```") || trimmed.starts_with("~~~");
        fenced ^= fence;
        let indented = text.starts_with("    ") || text.starts_with('\t');
        Line { text, plain: !fenced && !fence && !indented && !trimmed.starts_with('>') }
    })
}

fn is_command(line: &str) -> bool {
    let word = line.trim().split_ascii_whitespace().next().unwrap_or_default();
    // GitLab would carry out what begins with a slash, so that what is copied from a comment there may begin with a backslash.
    word.strip_prefix('\\').unwrap_or(word) == WORD
}

/// Tells whether a line was maybe meant as a command: it names ours, or a digest after a slash.
fn resembles(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let digest = lower.split(|char: char| !char.is_ascii_hexdigit()).any(|word| word.len() == 64);
    let slash = |char: char| matches!(char, '/' | '\u{2044}' | '\u{2215}' | '\u{ff0f}' | '\u{29f8}');
    lower.contains(WORD) || (digest && lower.contains(slash))
}

fn parse(line: &str) -> Result<Digest, &'static str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        [_, "approve", digest] => {
            let spelt = if digest.starts_with("sha256:") { (*digest).to_owned() } else { format!("sha256:{digest}") };
            spelt
                .parse()
                .map_err(|_| "that is not a whole digest: copy all of it, 64 letters and digits after `sha256:`")
        }
        _ => Err("the command is `/holdfast approve DIGEST`, with nothing else on its line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "5d1e000000000000000000000000000000000000000000000000000000000abc";

    fn heard(body: &str) -> Heard {
        hear(&Said { body: body.to_owned(), bot: false, edited: false })
    }

    fn digest() -> Digest {
        format!("sha256:{HEX}").parse().expect("it is one")
    }

    #[test]
    fn a_comment_that_begins_with_the_command_is_one() {
        for body in [
            format!("/holdfast approve sha256:{HEX}"),
            format!("  /holdfast approve {HEX}\r\n"),
            format!("\\/holdfast approve sha256:{HEX}"),
            format!("\n\n/holdfast approve sha256:{HEX}\n\nThe base template really has to change."),
        ] {
            assert_eq!(heard(&body), Heard::Approve(digest()), "{body:?}");
        }
    }

    #[test]
    fn what_only_resembles_one_is_refused_and_said_so() {
        for body in [
            format!("> /holdfast approve sha256:{HEX}"),
            format!("I would not write\n/holdfast approve sha256:{HEX}"),
            format!("```\n/holdfast approve sha256:{HEX}\n```"),
            format!("    /holdfast approve sha256:{HEX}"),
            // A Cyrillic o, and a slash that is none.
            format!("/h\u{43e}ldfast approve sha256:{HEX}"),
            format!("\u{ff0f}holdfast approve sha256:{HEX}"),
            format!("/Holdfast approve sha256:{HEX}"),
            format!("/holdfastapprove sha256:{HEX}"),
            format!("/holdfast approve sha256:{HEX} please"),
            format!("/holdfast \u{430}pprove sha256:{HEX}"),
            "/holdfast approve sha256:5d1e".to_owned(),
            "/holdfast approve".to_owned(),
            "/holdfast".to_owned(),
        ] {
            assert!(matches!(heard(&body), Heard::Refused(_)), "{body:?}: {:?}", heard(&body));
        }
    }

    #[test]
    fn conversation_is_nothing() {
        for body in ["", "looks good", "is holdfast frozen?", "see https://example.com/a/b", &format!("{HEX} is it")] {
            assert_eq!(heard(body), Heard::Nothing, "{body:?}");
        }
    }

    #[test]
    fn accounts_are_told_from_addresses_and_those_of_two_services_from_each_other() {
        assert_eq!(&*name("github", None, "Carol"), "github:carol");
        assert_eq!(&*name("gitea", Some("git.example.com"), "carol"), "gitea:git.example.com/carol");
        assert!(is_account("gitea:carol") && is_account("github:x"));
        assert!(!is_account("local:carol") && !is_account("carol@acme.example") && !is_account("SHA256:abc"));
    }

    #[test]
    fn what_another_controller_says_is_not_answered() {
        let body = format!("Not approved: the command is `/holdfast approve {HEX}`\n\n<!-- holdfast:reply:7 -->");
        assert_eq!(heard(&body), Heard::Nothing);
    }

    #[test]
    fn neither_a_program_nor_an_edited_comment_approves() {
        let body = format!("/holdfast approve {HEX}");
        for (bot, edited) in [(true, false), (false, true), (true, true)] {
            assert!(matches!(hear(&Said { body: body.clone(), bot, edited }), Heard::Refused(_)));
        }
        assert_eq!(hear(&Said { body: "thanks".to_owned(), bot: true, edited: true }), Heard::Nothing);
    }
}
