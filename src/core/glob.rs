//! Globs over identities and application names: `*` stops at a slash, `**` does not, `?` is one character.
//!
//! A pattern without a slash matches any trailing component, as in `.gitignore`: `sudoers*` matches `etc/sudoers.d`.

/// Tells whether a pattern matches an identity.
pub fn matches(pattern: &str, text: &str) -> bool {
    if whole(pattern.as_bytes(), text.as_bytes()) {
        return true;
    }
    !pattern.contains('/')
        && text.match_indices('/').any(|(at, _)| whole(pattern.as_bytes(), &text.as_bytes()[at + 1..]))
}

/// Tells whether a pattern matches the text as a whole. Linear in memory, quadratic in time at worst.
fn whole(pattern: &[u8], text: &[u8]) -> bool {
    // reach[j]: pattern[..i] matches text[..j].
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    let mut i = 0;
    while i < pattern.len() {
        let double = pattern[i..].starts_with(b"**");
        match pattern[i] {
            b'*' => {
                for j in 1..=text.len() {
                    reach[j] |= reach[j - 1] && (double || text[j - 1] != b'/');
                }
                i += 1 + usize::from(double);
            }
            single => {
                for j in (1..=text.len()).rev() {
                    let here = text[j - 1];
                    reach[j] = reach[j - 1] && (single == here || (single == b'?' && here != b'/'));
                }
                reach[0] = false;
                i += 1;
            }
        }
    }
    reach[text.len()]
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs() {
        assert!(matches("*.conf", "nginx.conf"));
        assert!(matches("*.conf", "a/b/nginx.conf"));
        assert!(!matches("*.conf", "nginx.conf.bak"));
        assert!(matches("a/*", "a/b"));
        assert!(!matches("a/*", "a/b/c"));
        assert!(matches("a/**", "a/b/c"));
        assert!(matches("**", "a/b/c"));
        assert!(matches("sudoers*", "etc/sudoers"));
        assert!(matches("?b", "ab"));
        assert!(!matches("", "a"));
        assert!(matches("a**b", "a/x/b"));
    }
}
