//! Who may read, and who may write.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, FORWARDED, HOST};
use axum::http::{HeaderMap, HeaderName};

use super::backend::Caller;
use super::secrets::{Secret, SecretFile, matching};

/// Headers by which a proxy says that it asks for somebody else; then being on this machine proves nothing.
const PROXIED: [HeaderName; 4] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Why a request may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// It carries no token, or a wrong one.
    Token,
    /// No token is configured, so nobody can.
    NoTokens,
}

/// Tells whether a request may read: from this machine, or with a token.
///
/// From this machine means that the peer is, that no proxy stands between, and that it is called by a name of this machine: a
/// page elsewhere can make a browser here send requests under another name, and must not read the answers.
pub fn read(peer: SocketAddr, headers: &HeaderMap, tokens: Option<&SecretFile>) -> Result<(), Denied> {
    if let Some(given) = bearer(headers).or_else(|| basic(headers)) {
        return token(tokens, &given).map(|_| ());
    }
    let proxied = PROXIED.iter().any(|header| headers.contains_key(header));
    if peer.ip().to_canonical().is_loopback() && !proxied && named_as_here(headers) {
        return Ok(());
    }
    Err(if tokens.is_some() { Denied::Token } else { Denied::NoTokens })
}

/// Tells whose token a request to write carries.
///
/// Only a bearer token counts: a browser attaches a password that it remembers to requests that another page made.
pub fn write(headers: &HeaderMap, tokens: Option<&SecretFile>) -> Result<Caller, Denied> {
    let Some(given) = bearer(headers) else {
        return Err(if tokens.is_some() { Denied::Token } else { Denied::NoTokens });
    };
    let owner = token(tokens, &given)?;
    Ok(owner.map_or(Caller::Operator, Caller::Principal))
}

fn token(tokens: Option<&SecretFile>, given: &str) -> Result<Option<String>, Denied> {
    let tokens = tokens.ok_or(Denied::NoTokens)?.current();
    let found: Option<&Secret> = matching(&tokens, |secret| secret.equals(given));
    found.map(|secret| secret.owner.clone()).ok_or(Denied::Token)
}

/// The header of a token where `Authorization` belongs to a proxy: the API server's takes it for itself. No browser attaches it
/// by itself.
const TOKEN: HeaderName = HeaderName::from_static("x-holdfast-token");

fn bearer(headers: &HeaderMap) -> Option<String> {
    let own = || headers.get(TOKEN).and_then(|token| token.to_str().ok()).map(str::trim);
    credentials(headers, "bearer").or_else(own).map(str::to_owned)
}

/// Reads the password of a basic authorization, as browsers ask for it.
fn basic(headers: &HeaderMap) -> Option<String> {
    let decoded = base64(credentials(headers, "basic")?)?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(password.to_owned())
}

fn credentials<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let (scheme, rest) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim())
}

fn named_as_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Decodes base64 (RFC 4648), padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn tokens() -> (tempfile::TempDir, SecretFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "operator\nbob@acme.example bobs\n").unwrap();
        let file = SecretFile::tokens(&path);
        (dir, file)
    }

    #[test]
    fn reading_is_open_here_and_needs_the_token_elsewhere() {
        let (_dir, tokens) = tokens();
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let elsewhere: SocketAddr = "192.0.2.1:1".parse().unwrap();
        let read = |peer, pairs: &[(&'static str, &str)]| read(peer, &headers(pairs), Some(&tokens));
        for host in ["localhost", "LOCALHOST:8686", "127.0.0.1:8686", "[::1]:8686"] {
            assert_eq!(read(here, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "evil.example:8686", "127.0.0.1.evil.example", "192.0.2.1"] {
            assert_eq!(read(here, &[("host", host)]), Err(Denied::Token), "{host}");
        }
        assert_eq!(read(here, &[]), Err(Denied::Token), "nobody said by which name");
        assert_eq!(read(here, &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")]), Err(Denied::Token));
        assert_eq!(read(elsewhere, &[("host", "localhost")]), Err(Denied::Token));
        assert_eq!(read(elsewhere, &[("authorization", "Bearer operator")]), Ok(()));
        assert_eq!(read(elsewhere, &[("authorization", "bearer bobs")]), Ok(()));
        // `anybody:operator` and `x:wrong`.
        assert_eq!(read(elsewhere, &[("authorization", "Basic YW55Ym9keTpvcGVyYXRvcg==")]), Ok(()));
        assert_eq!(read(elsewhere, &[("authorization", "Basic eDp3cm9uZw==")]), Err(Denied::Token));
        assert_eq!(read(here, &[("host", "localhost"), ("authorization", "Bearer wrong")]), Err(Denied::Token));
        assert_eq!(super::read(elsewhere, &HeaderMap::new(), None), Err(Denied::NoTokens));
    }

    #[test]
    fn writing_needs_a_bearer_token_everywhere() {
        let (_dir, tokens) = tokens();
        let write = |pairs: &[(&'static str, &str)]| write(&headers(pairs), Some(&tokens));
        assert_eq!(write(&[("authorization", "Bearer operator")]), Ok(Caller::Operator));
        assert_eq!(write(&[("authorization", "Bearer bobs")]), Ok(Caller::Principal("bob@acme.example".to_owned())));
        assert_eq!(write(&[("authorization", "Basic YW55Ym9keTpvcGVyYXRvcg==")]), Err(Denied::Token));
        assert_eq!(write(&[("host", "localhost")]), Err(Denied::Token));
        assert_eq!(super::write(&headers(&[("authorization", "Bearer operator")]), None), Err(Denied::NoTokens));
    }

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8", b"fo"), ("Zm9v", b"foo"), ("//79", b"\xff\xfe\xfd")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64("a b"), None);
    }
}
