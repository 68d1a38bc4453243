//! Verifies SSHSIG signatures (PROTOCOL.sshsig) as Git makes them.

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use super::allowed_signers::{AllowedKey, NAMESPACE};
use super::bad;
use super::revocations::Revocations;
use crate::core::commit::{Revocation, Scheme, Signature};

/// Shorter keys are refused, as OpenSSH does today.
const RSA_BITS_MIN: usize = 2048;

/// Says what a signature is worth.
pub(super) fn check(payload: &[u8], signature: &[u8], known: &[AllowedKey], revocations: &Revocations) -> Signature {
    let signature = match SshSig::from_pem(signature.trim_ascii()) {
        Ok(signature) => signature,
        Err(error) => return bad(format!("the SSH signature cannot be read, or is by a certificate: {error}")),
    };
    if signature.namespace() != NAMESPACE {
        return bad(format!("the signature is for {:?} and not for Git", signature.namespace()));
    }
    let data = signature.public_key();
    if let Some(why) = refused(data, &signature.algorithm()) {
        return bad(why);
    }
    // Cryptography first: a key's name is only worth something once it is known to have signed this.
    if PublicKey::from(data.clone()).verify(NAMESPACE, payload, &signature).is_err() {
        return bad("the signature is not of this content by the key that it names");
    }
    let key = data.fingerprint(HashAlg::Sha256).to_string().into();
    let grants: Vec<_> = known.iter().filter(|known| known.key == *data).map(|known| known.grant.clone()).collect();
    let revocation = revocations.of(data);
    // A key that is only named as taken back is known, as that: nobody may vouch for it.
    if grants.is_empty() && revocation != Revocation::Revoked {
        return Signature::UnknownKey { key };
    }
    Signature::Good { scheme: Scheme::Ssh, key, grants, revocation }
}

fn refused(key: &KeyData, algorithm: &Algorithm) -> Option<String> {
    if matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Some("the signature uses SHA-1".to_owned());
    }
    let modulus = key.rsa()?.n.as_positive_bytes().unwrap_or_default();
    let zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = modulus.len() * 8 - zeros;
    (bits < RSA_BITS_MIN).then(|| format!("the RSA key has {bits} bits, fewer than {RSA_BITS_MIN}"))
}
