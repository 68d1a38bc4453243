//! What may be a secret, by its name or its look; better one value too many than one in a pull request's comment.

use crate::core::spelling::is_printable;

/// Longer values are cut: people read these, machines compare digests.
const VALUE_MAX: usize = 200;

/// Words in a name that make its value a secret.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "signingkey",
    "encryptionkey",
    "authkey",
    "masterkey",
    "authorization",
    "cookie",
    "connectionstring",
    "dsn",
    "htpasswd",
    "pwd",
    "psk",
];

/// Files that are secrets as a whole.
const FILES: &[&str] =
    &["shadow", "gshadow", "htpasswd", "netrc", "pgpass", "id_rsa", "id_ed25519", "id_ecdsa", "id_dsa"];
const EXTENSIONS: &[&str] = &[".key", ".p12", ".pfx", ".jks", ".keytab", ".kdbx", ".age"];

/// How values begin that are secrets whatever they are called.
const BEGINNINGS: &[&str] = &[
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "ASIA",
    "eyJhbGci",
    "AGE-SECRET-KEY-",
    "sk_live_",
];

/// Tells whether a name (a key, a JSON pointer, a path) says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    WORDS.iter().any(|word| plain.contains(word))
}

/// Tells whether a whole file is a secret, by its path or a private key in it.
pub(super) fn is_secret_file(path: &str, content: &[u8]) -> bool {
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or_default();
    let named = FILES.iter().any(|file| name.trim_start_matches('.') == *file)
        || EXTENSIONS.iter().any(|extension| name.ends_with(extension))
        || is_secret_name(path);
    let begin = content.windows(11).any(|window| window == b"PRIVATE KEY");
    named || begin
}

/// Tells whether a value looks like a secret.
pub(super) fn is_secret_value(value: &str) -> bool {
    let userinfo = value.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    userinfo || BEGINNINGS.iter().any(|beginning| value.contains(beginning)) || is_secret_assignment(value)
}

/// A longer value may have a name and its secret inside: `--password=x`, `Bearer x`, `token: x`.
fn is_secret_assignment(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    if lower.contains("bearer ") {
        return true;
    }
    value
        .split([' ', ',', ';', '&', '?', '\t', '"', '\''])
        .any(|word| word.split_once(['=', ':']).is_some_and(|(name, rest)| !rest.is_empty() && is_secret_name(name)))
}

/// Stands for a secret: that it is there, and how long, so that a change from something to nothing is still seen.
pub(super) fn redacted(value: &str) -> String {
    format!("(redacted, {} bytes)", value.len())
}

/// Makes a value showable: printable, and not too long.
pub(super) fn shown(value: &str) -> String {
    let mut out: String = value
        .chars()
        .take(VALUE_MAX)
        .map(|c| {
            if is_printable(c) {
                c
            } else if c == '\n' || c == '\t' {
                ' '
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect();
    if value.chars().nth(VALUE_MAX).is_some() {
        out = out.chars().take(VALUE_MAX - 1).chain(['…']).collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets_however_they_are_written() {
        for name in ["DB_PASSWORD", "/spec/apiKey", "api-key", "private_key", "/data/clientSecret", "auth.token", "PWD"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["/spec/replicas", "key", "image", "upstream", "author", "listen"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn values_tell_secrets_by_their_look() {
        for value in ["postgres://u:p@db/x", "ghp_abc", "run --password=x", "Authorization: Bearer abc", "a?token=x"] {
            assert!(is_secret_value(value), "{value}");
        }
        for value in ["https://host/a@b:c", "10.0.0.0/8", "nginx:1.27", "git@host:a.git"] {
            assert!(!is_secret_value(value), "{value}");
        }
    }

    #[test]
    fn some_files_are_secrets_as_a_whole() {
        assert!(is_secret_file("ssh/ssh_host_ed25519.key", b""));
        assert!(is_secret_file("etc/shadow", b""));
        assert!(is_secret_file("a.conf", b"x\n-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(!is_secret_file("nginx/nginx.conf", b"ssl_certificate a.pem;"));
    }
}
