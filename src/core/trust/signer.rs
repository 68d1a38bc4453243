//! Whose signature it is, of all that the trust files let a key speak for.

use std::sync::Arc;

use jiff::Timestamp;

use super::SignatureCode;
use crate::core::approval::person;
use crate::core::commit::{Grant, Revocation, Signature};
use crate::core::guards::TrustPolicy;

/// What a commit or a tag claims.
pub(super) struct Claim<'a> {
    pub(super) signature: &'a Signature,
    /// The time that whoever signed wrote into it.
    pub(super) made: Timestamp,
    pub(super) first_seen: Timestamp,
    /// The address of the committer or tagger.
    pub(super) address: &'a str,
}

/// Whose signature would do.
#[derive(Clone, Copy)]
pub(super) enum Listed<'a> {
    /// Every principal of the trust files.
    Anybody,
    /// Those, by any of their names.
    Only(&'a [Arc<str>]),
}

/// Why a signature does not count; `why` follows after the commit or tag.
pub(super) struct Refused {
    pub(super) code: SignatureCode,
    pub(super) why: String,
}

/// Says who signed and with which key, if they may. With `same_address`, only whoever the claim says it was.
pub(super) fn signer(
    claim: &Claim<'_>,
    policy: &TrustPolicy,
    listed: Listed<'_>,
    same_address: bool,
) -> Result<(Arc<str>, Arc<str>), Refused> {
    let (key, grants, revocation) = match claim.signature {
        Signature::Unsigned => return Err(refused(SignatureCode::Unsigned, "is not signed".to_owned())),
        Signature::Bad { why } => {
            return Err(refused(SignatureCode::BadSignature, format!("has a signature that does not verify ({why})")));
        }
        Signature::UnknownKey { key } => {
            return Err(refused(SignatureCode::UnknownKey, format!("is signed by the unknown key {key}")));
        }
        Signature::Good { scheme: _, key, grants, revocation } => (key, grants, revocation),
    };
    match revocation {
        Revocation::None => {}
        Revocation::Revoked => {
            return Err(refused(SignatureCode::RevokedKey, format!("is signed by key {key}, which was revoked")));
        }
        Revocation::Unreadable(why) => {
            let why = format!("is signed by key {key}, and whether that was revoked cannot be read ({why})");
            return Err(refused(SignatureCode::RevocationsUnreadable, why));
        }
    }
    let mut worst: Option<Refused> = None;
    for grant in grants {
        match by_grant(claim, key, grant, policy, listed, same_address) {
            Ok(principal) => return Ok((principal, key.clone())),
            Err(new) if worst.as_ref().is_none_or(|old| nearness(new.code) > nearness(old.code)) => worst = Some(new),
            Err(_) => {}
        }
    }
    Err(worst.unwrap_or_else(|| {
        refused(SignatureCode::UnknownKey, format!("is signed by key {key}, which nothing configured names"))
    }))
}

fn refused(code: SignatureCode, why: String) -> Refused {
    Refused { code, why }
}

/// Of several lines for one key, the one that nearly allowed it explains most.
fn nearness(code: SignatureCode) -> u8 {
    match code {
        SignatureCode::ExpiredKey => 2,
        SignatureCode::PrincipalMismatch => 1,
        _ => 0,
    }
}

fn by_grant(
    claim: &Claim<'_>,
    key: &Arc<str>,
    grant: &Grant,
    policy: &TrustPolicy,
    listed: Listed<'_>,
    same_address: bool,
) -> Result<Arc<str>, Refused> {
    let whose = grant.principals.join(",");
    let not_allowed = |why: String| refused(SignatureCode::SignerNotAllowed, why);
    if !grant.namespace_allowed {
        return Err(not_allowed(format!(
            "is signed by {whose} (key {key}), whose key may not sign for Git (namespaces)"
        )));
    }
    let principal = speaks_for(grant, key, claim.address, policy, listed)
        .ok_or_else(|| not_allowed(format!("is signed by {whose} (key {key}), who is not listed")))?;
    if same_address && !(pattern_list(&grant.principals, claim.address) && may(claim.address, key, policy, listed)) {
        let why = format!("claims to be by {} and is signed by {whose} (key {key})", claim.address);
        return Err(refused(SignatureCode::PrincipalMismatch, why));
    }
    for (time, what) in [(claim.made, "it says it was made"), (claim.first_seen, "it was first seen")] {
        let problem = match (grant.valid_after, grant.valid_before) {
            (Some(after), _) if time < after => format!("is valid only from {after}"),
            (_, Some(before)) if time >= before => format!("was valid only until {before}"),
            _ => continue,
        };
        let why = format!("is signed by {whose}, whose key {key} {problem}, while {what} at {time}");
        return Err(refused(SignatureCode::ExpiredKey, why));
    }
    Ok(principal)
}

/// Names whom a key speaks for: the claimed address if it may, otherwise the first listed name, otherwise the line's own.
fn speaks_for(
    grant: &Grant,
    key: &Arc<str>,
    address: &str,
    policy: &TrustPolicy,
    listed: Listed<'_>,
) -> Option<Arc<str>> {
    if pattern_list(&grant.principals, address) && may(address, key, policy, listed) {
        return Some(address.into());
    }
    let literal = || grant.principals.iter().find(|principal| !principal.contains(['*', '?', '!']));
    let own = || literal().or(grant.principals.first()).map(|principal| principal.as_str().into());
    match listed {
        Listed::Anybody => own(),
        // By key, where the policy lists fingerprints; otherwise by any name of anybody listed.
        Listed::Only(names) => names.iter().find_map(|name| {
            if same_key(name, key) || aliases(policy, name).any(|alias| same_key(alias, key)) {
                return Some(name.clone());
            }
            let known = |alias: &&Arc<str>| pattern_list(&grant.principals, alias);
            Some(name).into_iter().chain(aliases(policy, name)).find(known).cloned()
        }),
    }
}

/// Tells whether a name (or its key) is listed, by itself or as the same person.
fn may(name: &str, key: &str, policy: &TrustPolicy, listed: Listed<'_>) -> bool {
    match listed {
        Listed::Anybody => true,
        Listed::Only(names) => {
            let who = person(policy, name);
            names.iter().any(|listed| same_key(listed, key) || person(policy, listed) == who)
        }
    }
}

/// Compares fingerprints: OpenSSH's are base64, OpenPGP's are hexadecimal in either case.
fn same_key(name: &str, key: &str) -> bool {
    name == key || (!key.contains(':') && name.eq_ignore_ascii_case(key))
}

/// Returns all names of the person behind a name.
fn aliases<'a>(policy: &'a TrustPolicy, name: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
    let who = person(policy, name);
    policy.people.iter().filter(move |(known, _)| known.as_ref() == who.as_ref()).flat_map(|(_, names)| names)
}

/// Tells whether a list of patterns holds a text, as OpenSSH has it: `*`, `?`, and a leading `!` that, if it matches,
/// refuses whatever else does.
pub fn pattern_list<P: AsRef<str>>(patterns: &[P], text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.as_ref().strip_prefix('!') {
            Some(pattern) if matches(pattern, text) => return false,
            Some(_) => {}
            None => found |= matches(pattern.as_ref(), text),
        }
    }
    found
}

/// Matches in quadratic time at worst: on a mismatch, only the latest `*` takes one more.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}
