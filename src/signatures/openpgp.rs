//! Verifies OpenPGP signatures against configured certificates.
//!
//! Cryptography is apart from time: what an expired key signed while it was valid verifies here, and when the key was
//! valid goes into the grant. Digests, key sizes and binding signatures are judged by Sequoia's standard policy as of
//! today: a date that an attacker wrote brings no weak algorithm back.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use sequoia_openpgp::cert::prelude::*;
use sequoia_openpgp::packet::key::PublicParts;
use sequoia_openpgp::packet::{Packet, Signature as Packed};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::{HashAlgoSecurity, Policy as _, StandardPolicy};
use sequoia_openpgp::types::{RevocationStatus, RevocationType, SignatureType};
use sequoia_openpgp::{Fingerprint, PacketPile};

use super::bad;
use crate::core::commit::{Grant, Revocation, Scheme, Signature};

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Certificates of people who may be trusted.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    certs: Vec<Cert>,
}

impl Keyring {
    /// Reads certificates, binary or armored, in one block or several; an error is a lower-case fragment.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let blocks: Vec<&[u8]> = match std::str::from_utf8(bytes) {
            Ok(text) if text.contains(ARMOR) => {
                let starts: Vec<usize> = text.match_indices(ARMOR).map(|(at, _)| at).collect();
                let ends = starts.iter().skip(1).copied().chain([text.len()]);
                starts.iter().zip(ends).map(|(from, to)| &bytes[*from..to]).collect()
            }
            _ => vec![bytes],
        };
        let mut certs: Vec<Cert> = Vec::new();
        for block in blocks {
            for cert in CertParser::from_bytes(block).map_err(reads)? {
                let cert = cert.map_err(reads)?.strip_secret_key_material();
                match certs.iter_mut().find(|known| known.fingerprint() == cert.fingerprint()) {
                    // What is there twice counts as one: a revocation may be in either.
                    Some(known) => *known = known.clone().merge_public(cert).map_err(reads)?,
                    None => certs.push(cert),
                }
            }
        }
        if certs.is_empty() { Err("it holds no OpenPGP certificate".to_owned()) } else { Ok(Self { certs }) }
    }

    /// Counts the certificates.
    pub(super) fn count(&self) -> usize {
        self.certs.len()
    }

    /// Tells whether a key was taken back for good, by its own fingerprint or its certificate's.
    pub(super) fn revoked(&self, fingerprint: &str) -> bool {
        let policy = StandardPolicy::new();
        let is = |key: &ErasedKeyAmalgamation<'_, PublicParts>| {
            key.key().fingerprint().to_hex().eq_ignore_ascii_case(fingerprint)
        };
        self.certs.iter().any(|cert| cert.keys().any(|key| is(&key) && Taken::of(cert, &key, &policy).hard))
    }

    /// Says what a detached signature is worth for a payload.
    pub(super) fn check(&self, payload: &[u8], signature: &[u8]) -> Signature {
        let policy = StandardPolicy::new();
        let packed = match single(signature) {
            Ok(packed) => packed,
            Err(why) => return bad(why),
        };
        if let Err(why) = acceptable(&packed, &policy) {
            return bad(why);
        }
        let issuers = packed.get_issuers();
        let named = |key: &Fingerprint| {
            issuers.is_empty() || issuers.iter().any(|issuer| issuer.aliases(sequoia_openpgp::KeyHandle::from(key)))
        };
        let candidates: Vec<_> = self
            .certs
            .iter()
            .flat_map(|cert| cert.keys().map(move |key| (cert, key)))
            .filter(|(_, key)| named(&key.key().fingerprint()))
            .collect();
        if candidates.is_empty() {
            return match issuers.first() {
                Some(issuer) => Signature::UnknownKey { key: issuer.to_hex().into() },
                None => bad("the OpenPGP signature names no key, and there is no other"),
            };
        }
        let mut problem = "the OpenPGP signature is not of this content by the key that it names".to_owned();
        let mut found: Option<(Arc<str>, Vec<Grant>, bool)> = None;
        for (cert, key) in candidates {
            if !verifies(&packed, &key, payload) {
                continue;
            }
            match grant(cert, &key, &packed, &policy) {
                Ok((grant, hard)) => {
                    let name = || key.key().fingerprint().to_hex().into();
                    let (_, grants, revoked) = found.get_or_insert_with(|| (name(), Vec::new(), false));
                    grants.extend(grant);
                    *revoked |= hard;
                }
                Err(why) => problem = why,
            }
        }
        match found {
            Some((key, grants, revoked)) => {
                let revocation = if revoked { Revocation::Revoked } else { Revocation::None };
                Signature::Good { scheme: Scheme::Openpgp, key, grants, revocation }
            }
            None => bad(problem),
        }
    }
}

fn reads(error: impl std::fmt::Display) -> String {
    format!("not a readable OpenPGP certificate: {error:#}")
}

/// Reads the one signature there must be: with several, which one counts would be a matter of taste.
fn single(signature: &[u8]) -> Result<Packed, String> {
    let pile = PacketPile::from_bytes(signature).map_err(|e| format!("the OpenPGP signature cannot be read: {e:#}"))?;
    let mut packets = pile.into_children();
    match (packets.next(), packets.next()) {
        (Some(Packet::Signature(packed)), None) => Ok(packed),
        _ => Err("it is not one OpenPGP signature and nothing else".to_owned()),
    }
}

fn acceptable(packed: &Packed, policy: &StandardPolicy<'_>) -> Result<(), String> {
    if packed.typ() != SignatureType::Binary {
        return Err(format!("the OpenPGP signature is not one over content ({})", packed.typ()));
    }
    if packed.signature_creation_time().is_none() {
        return Err("the OpenPGP signature does not say when it was made".to_owned());
    }
    policy
        .signature(packed, HashAlgoSecurity::CollisionResistance)
        .map_err(|error| format!("the OpenPGP signature is refused ({}): {error:#}", packed.hash_algo()))
}

fn verifies(packed: &Packed, key: &ErasedKeyAmalgamation<'_, PublicParts>, payload: &[u8]) -> bool {
    let Ok(context) = packed.hash_algo().context() else { return false };
    let mut context = context.for_signature(packed.version());
    // From version 6 on, a salt comes before what is signed.
    if let Packed::V6(packed) = packed {
        context.update(packed.salt());
    }
    context.update(payload);
    packed.verify_hash(key.key(), context).is_ok()
}

/// How a key was taken back.
#[derive(Default)]
struct Taken {
    /// For every signature it ever made.
    hard: bool,
    /// From then on.
    soft: Option<SystemTime>,
}

impl Taken {
    /// Returns how a key was taken back, by itself or with its certificate.
    fn of(cert: &Cert, key: &ErasedKeyAmalgamation<'_, PublicParts>, policy: &StandardPolicy<'_>) -> Self {
        let name = key.key().fingerprint();
        let own = cert.keys().subkeys().filter(|subkey| subkey.key().fingerprint() == name);
        let mut taken = Self::default();
        for subkey in own {
            taken.add(subkey.revocation_status(policy, None));
        }
        taken.add(cert.revocation_status(policy, None));
        taken
    }

    fn add(&mut self, status: RevocationStatus<'_>) {
        match status {
            RevocationStatus::NotAsFarAsWeKnow => {}
            // By a third person, who may or may not have been asked to: taking back is believed.
            RevocationStatus::CouldBe(_) => self.hard = true,
            RevocationStatus::Revoked(signatures) => {
                for packed in signatures {
                    let kind = packed.reason_for_revocation().map(|(why, _)| why.revocation_type());
                    match (kind, packed.signature_creation_time()) {
                        (Some(RevocationType::Soft), Some(at)) => {
                            self.soft = Some(self.soft.map_or(at, |soft| soft.min(at)));
                        }
                        // No reason is the worst one.
                        _ => self.hard = true,
                    }
                }
            }
        }
    }
}

/// Says for whom a key speaks and when, and whether it was taken back; a key that was and that no policy admits any more
/// has no grant.
fn grant(
    cert: &Cert,
    key: &ErasedKeyAmalgamation<'_, PublicParts>,
    packed: &Packed,
    policy: &StandardPolicy<'_>,
) -> Result<(Option<Grant>, bool), String> {
    let taken = Taken::of(cert, key, policy);
    match valid(cert, key, policy) {
        Ok((principals, from, until)) => {
            let until = until.into_iter().chain(taken.soft).chain(packed.signature_expiration_time()).min();
            let grant = Grant {
                principals,
                valid_after: Some(time(from)),
                valid_before: until.map(time),
                namespace_allowed: true,
            };
            Ok((Some(grant), taken.hard))
        }
        Err(_) if taken.hard => Ok((None, true)),
        Err(why) => Err(why),
    }
}

/// Returns a signing key's principals, creation and expiry.
fn valid(
    cert: &Cert,
    key: &ErasedKeyAmalgamation<'_, PublicParts>,
    policy: &StandardPolicy<'_>,
) -> Result<(Vec<String>, SystemTime, Option<SystemTime>), String> {
    let name = key.key().fingerprint();
    let refused = |error: anyhow::Error| format!("the OpenPGP key {name} is refused: {error:#}");
    let key = key.clone().with_policy(policy, None).map_err(refused)?;
    if !key.for_signing() {
        return Err(format!("the OpenPGP key {name} is not for signing"));
    }
    let whole = cert.with_policy(policy, None).map_err(refused)?;
    let primary = whole.primary_key();
    let from = key.key().creation_time().max(primary.key().creation_time());
    let until = key.key_expiration_time().into_iter().chain(primary.key_expiration_time()).min();
    Ok((principals(&whole), from, until))
}

/// Returns the addresses of a certificate, and its own fingerprint, by which a policy may name it too.
///
/// Whoever holds the key chooses the addresses: none may act as a pattern.
fn principals(cert: &ValidCert<'_>) -> Vec<String> {
    let standing = |status: RevocationStatus<'_>| matches!(status, RevocationStatus::NotAsFarAsWeKnow);
    cert.userids()
        .filter(|user| standing(user.revocation_status()))
        .filter_map(|user| user.userid().email().ok().flatten().map(str::to_owned))
        .filter(|address| !address.contains(['*', '?', '!', ',']))
        .chain([cert.fingerprint().to_hex()])
        .collect()
}

/// Converts; what does not fit is so far off that the end of time says the same.
fn time(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}
