//! Does the cryptography of signatures, and reads who is trusted: OpenSSH's files and OpenPGP keyrings.
//!
//! What is found are facts ([`crate::core::commit::Signature`]); whether a signer may, and when, is decided in
//! [`crate::core::trust`]. Nothing of the machine is asked: no agent, no keyring of a user, no program.

mod allowed_signers;
#[cfg(feature = "openpgp")]
mod openpgp;
mod revocations;
mod ssh;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::commit::{Revocation, Signature};
use allowed_signers::AllowedKey;
use revocations::Revocations;

/// Where trust is written, outside the tracked path (`GUARDS.md` 3.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyFiles {
    /// OpenSSH's `allowed_signers`.
    pub allowed_signers: Option<PathBuf>,
    /// OpenSSH's key revocation list, or public keys line by line.
    pub revocations: Option<PathBuf>,
    /// OpenPGP certificates, armored or not.
    pub keyring: Option<PathBuf>,
}

/// Why trust could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of `allowed_signers` is wrong.
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A keyring is wrong.
    #[error("{}: {why}", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Everybody who is trusted, read once.
#[derive(Debug, Default)]
pub struct Keys {
    ssh: Vec<AllowedKey>,
    revocations: Revocations,
    #[cfg(feature = "openpgp")]
    openpgp: openpgp::Keyring,
}

/// Larger files than this are no lists of people.
const FILE_MAX: u64 = 64 << 20;

impl Keys {
    /// Reads the configured files.
    ///
    /// A revocation list that cannot be read is no error here: every signature then says that nothing may be concluded
    /// ([`Revocation::Unreadable`]), so that the rest of the cycle goes on.
    ///
    /// # Errors
    /// When signers or keyring cannot be read, or a line of them not be followed.
    pub fn load(files: &KeyFiles) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        if let Some(path) = &files.allowed_signers {
            keys.ssh = allowed_signers::parse(&read(path)?).map_err(|(line, why)| KeysError::Line {
                path: path.clone(),
                line,
                why,
            })?;
        }
        if let Some(path) = &files.keyring {
            let wrong = |why| KeysError::Keyring { path: path.clone(), why };
            let bytes = read(path)?;
            #[cfg(feature = "openpgp")]
            {
                keys.openpgp = openpgp::Keyring::parse(&bytes).map_err(wrong)?;
            }
            #[cfg(not(feature = "openpgp"))]
            {
                drop(bytes);
                return Err(wrong("this program was built without OpenPGP".to_owned()));
            }
        }
        if let Some(path) = &files.revocations {
            let list = read(path).map_err(|error| error.to_string());
            keys.revocations = list
                .and_then(|bytes| Revocations::parse(&bytes).map_err(|why| format!("{}: {why}", path.display())))
                .unwrap_or_else(|why| Revocations::Unreadable(why.into()));
        }
        Ok(keys)
    }

    /// Counts the keys that are listed, OpenPGP certificates included.
    pub fn count(&self) -> usize {
        #[cfg(feature = "openpgp")]
        let certificates = self.openpgp.count();
        #[cfg(not(feature = "openpgp"))]
        let certificates = 0;
        self.ssh.len() + certificates
    }

    /// Tells whether a line of `allowed_signers` is about a principal, and whether it may sign commits.
    pub fn lists(&self, principal: &str) -> bool {
        let mut grants = self.ssh.iter().map(|allowed| &allowed.grant);
        grants.any(|grant| grant.namespace_allowed && crate::core::trust::pattern_list(&grant.principals, principal))
    }

    /// Returns why the revocation list cannot be read, if so.
    pub fn revocations_unreadable(&self) -> Option<&str> {
        match &self.revocations {
            Revocations::Unreadable(why) => Some(why),
            Revocations::List(_) => None,
        }
    }

    /// Tells whether a key, by its fingerprint as signatures carry it, was taken back since (`GUARDS.md` 2, SIGNATURE).
    /// A key that nothing names any more is not taken back by that.
    pub fn revocation(&self, fingerprint: &str) -> Revocation {
        if let Revocations::Unreadable(why) = &self.revocations {
            return Revocation::Unreadable(why.clone());
        }
        #[cfg(feature = "openpgp")]
        if self.openpgp.revoked(fingerprint) {
            return Revocation::Revoked;
        }
        self.revocations.by_fingerprint(fingerprint, &self.ssh)
    }

    /// Says what a signature, as a commit or tag carries it, is worth for a payload.
    pub fn check(&self, payload: &[u8], signature: &[u8]) -> Signature {
        let begins = |line: &str| signature.trim_ascii_start().starts_with(line.as_bytes());
        let found = if begins("-----BEGIN SSH SIGNATURE-----") {
            ssh::check(payload, signature, &self.ssh, &self.revocations)
        } else if begins("-----BEGIN PGP ") {
            self.check_openpgp(payload, signature)
        } else if begins("-----BEGIN SIGNED MESSAGE-----") {
            bad("X.509 signatures are not supported: sign with SSH or OpenPGP")
        } else {
            bad("it is neither an SSH nor an OpenPGP signature")
        };
        match (found, &self.revocations) {
            (Signature::Good { scheme, key, grants, .. }, Revocations::Unreadable(why)) => {
                Signature::Good { scheme, key, grants, revocation: Revocation::Unreadable(why.clone()) }
            }
            (found, _) => found,
        }
    }

    #[cfg(feature = "openpgp")]
    fn check_openpgp(&self, payload: &[u8], signature: &[u8]) -> Signature {
        self.openpgp.check(payload, signature)
    }

    #[cfg(not(feature = "openpgp"))]
    fn check_openpgp(&self, _payload: &[u8], _signature: &[u8]) -> Signature {
        bad("this program was built without OpenPGP")
    }
}

fn bad(why: impl Into<Arc<str>>) -> Signature {
    Signature::Bad { why: why.into() }
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    use std::io::Read as _;
    let failed = |source| KeysError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(failed(std::io::Error::other("it is larger than 64 MiB")));
    }
    Ok(bytes)
}
