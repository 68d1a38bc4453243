//! Heads that a hosting service keeps for its pull requests, and the hints that lead to them.
//!
//! A hint carries no trust: whatever it leads to is verified as if somebody had guessed it.

use std::fmt;

/// What a pull request proposes, by the name that the hosting service keeps it under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Head {
    /// Of a pull request (GitHub, Gitea, Forgejo): `refs/pull/7/head`.
    Pull(u64),
    /// Of a merge request (GitLab): `refs/merge-requests/7/head`.
    Request(u64),
}

impl Head {
    /// Returns the name that the hosting service has for it.
    pub fn remote(self) -> String {
        match self {
            Self::Pull(number) => format!("refs/pull/{number}/head"),
            Self::Request(number) => format!("refs/merge-requests/{number}/head"),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull(number) => write!(f, "#{number}"),
            Self::Request(number) => write!(f, "!{number}"),
        }
    }
}

/// A message names few pull requests; more would only be more to fetch.
const HINTS_MAX: usize = 3;

/// Finds the pull requests that a commit's message names in the ways of hosting services, the likeliest first: `(#7)` in the
/// subject, `Merge pull request #7`, `Reviewed-on: …/pulls/7`, `See merge request group/project!7`.
///
/// Whoever writes a message can name any: see above.
pub fn hints(message: &str) -> Vec<Head> {
    let mut found = Vec::new();
    let mut lines = message.lines();
    let subject = lines.next().unwrap_or_default();
    // A revert quotes what it reverts, and has its own number after that.
    found.extend(subject.rmatch_indices("(#").filter_map(|(at, _)| closed(&subject[at + 2..])).map(Head::Pull));
    found.extend(subject.strip_prefix("Merge pull request #").and_then(leading).map(Head::Pull));
    for line in lines.map(str::trim) {
        let reviewed = line.strip_prefix("Reviewed-on: ").and_then(|url| url.rsplit_once("/pulls/"));
        found.extend(reviewed.and_then(|(_, rest)| leading(rest)).map(Head::Pull));
        let seen = line.strip_prefix("See merge request ").and_then(|name| name.rsplit_once('!'));
        found.extend(seen.and_then(|(_, rest)| leading(rest)).map(Head::Request));
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|head| seen.insert(*head));
    found.truncate(HINTS_MAX);
    found
}

/// Reads a number that ends in a bracket.
fn closed(text: &str) -> Option<u64> {
    let (digits, _) = text.split_once(')')?;
    number(digits)
}

/// Reads a number at the beginning, up to anything that is no digit.
fn leading(text: &str) -> Option<u64> {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let goes_on = text[end..].starts_with(|char: char| char.is_alphanumeric() || char == '_' || char == '-');
    if goes_on { None } else { number(&text[..end]) }
}

/// Reads a number as services write them: no sign, no leading zero, of a sane size.
fn number(digits: &str) -> Option<u64> {
    let sane =
        (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if sane { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_hosting_services_name_their_pull_request() {
        for (message, heads) in [
            ("Add a host (#12)\n\n* one\n* two (#11)\n", vec![Head::Pull(12)]),
            ("Merge pull request #12 from acme/feature\n\nAdd a host\n", vec![Head::Pull(12)]),
            (
                "Merge pull request 'Add a host' (#12) from feature into main\n\nReviewed-on: https://git.acme.example/acme/fleet/pulls/12\n",
                vec![Head::Pull(12)],
            ),
            ("Add a host\n\nReviewed-on: https://git.acme.example/acme/fleet/pulls/12\n", vec![Head::Pull(12)]),
            ("Merge branch 'f' into 'main'\n\nAdd\n\nSee merge request acme/fleet!12\n", vec![Head::Request(12)]),
            ("Revert \"Add a host (#11)\" (#12)\n", vec![Head::Pull(12), Head::Pull(11)]),
        ] {
            assert_eq!(hints(message), heads, "{message}");
        }
    }

    #[test]
    fn whatever_else_a_message_says_is_no_hint() {
        for message in [
            "",
            "Add a host #12",
            "Add a host (#012)",
            "Add a host (#)",
            "Add a host (#12",
            "Add a host (#-1)",
            "Add a host (#1234567890)",
            "Add a host (#12\u{0663})",
            "Add\n\nfixes (#12)",
            "Merge pull request #12a",
            "Add\n\nReviewed-on: https://git.acme.example/acme/fleet/pulls/",
            "Add\n\nSee merge request acme/fleet!x",
        ] {
            assert_eq!(hints(message), [], "{message}");
        }
        let many: String = (1..50).map(|n| format!("(#{n})")).collect();
        assert_eq!(hints(&many), [Head::Pull(49), Head::Pull(48), Head::Pull(47)]);
    }
}
