//! Reads what was taken back: OpenSSH's key revocation lists (PROTOCOL.krl), or public keys line by line.
//!
//! Anything that cannot be followed makes the whole list unreadable, which is a failure and not a warning.

use std::collections::HashSet;
use std::sync::Arc;

use gix::hash::{Kind, hasher};
use sha2::{Digest as _, Sha256};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey};

use super::allowed_signers::{AllowedKey, public_key};
use crate::core::commit::Revocation;

/// What was taken back.
#[derive(Debug)]
pub(super) enum Revocations {
    List(List),
    Unreadable(Arc<str>),
}

/// Keys, in each of the ways in which a list may name them.
#[derive(Debug, Default)]
pub(super) struct List {
    blobs: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::List(List::default())
    }
}

impl Revocations {
    /// Reads a list of either kind; an error is a lower-case fragment.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let list = match bytes.strip_prefix(MAGIC) {
            Some(rest) => krl(Reader(rest)).map_err(|why| format!("not a valid key revocation list: {why}"))?,
            None => lines(bytes)?,
        };
        Ok(Self::List(list))
    }

    /// Tells whether a key was taken back.
    pub(super) fn of(&self, key: &KeyData) -> Revocation {
        match self {
            Self::Unreadable(why) => Revocation::Unreadable(why.clone()),
            Self::List(list) => list.of(key),
        }
    }

    /// Tells whether the key with a fingerprint was taken back, also one that is no longer listed as a signer's.
    pub(super) fn by_fingerprint(&self, fingerprint: &str, known: &[AllowedKey]) -> Revocation {
        if let Some(known) =
            known.iter().find(|known| known.key.fingerprint(HashAlg::Sha256).to_string() == fingerprint)
        {
            return self.of(&known.key);
        }
        let Ok(fingerprint) = fingerprint.parse::<ssh_key::Fingerprint>() else { return Revocation::None };
        match self {
            Self::Unreadable(why) => Revocation::Unreadable(why.clone()),
            Self::List(list) => {
                let sum = fingerprint.as_bytes();
                let named = list.sha256.contains(sum) || list.blobs.iter().any(|blob| sha256(blob) == sum);
                if named { Revocation::Revoked } else { Revocation::None }
            }
        }
    }
}

impl List {
    fn of(&self, key: &KeyData) -> Revocation {
        // Keys that cannot be written cannot be looked up either.
        let Ok(blob) = PublicKey::from(key.clone()).to_bytes() else {
            return Revocation::Unreadable("the key cannot be encoded".into());
        };
        let named = self.blobs.contains(&blob)
            || self.sha256.contains(&sha256(&blob))
            || (!self.sha1.is_empty() && sha1(&blob).is_none_or(|sum| self.sha1.contains(&sum)));
        if named { Revocation::Revoked } else { Revocation::None }
    }
}

fn sha256(blob: &[u8]) -> Vec<u8> {
    Sha256::digest(blob).to_vec()
}

/// Old lists name keys so. A key made to collide has no fingerprint of this kind, and counts as taken back.
fn sha1(blob: &[u8]) -> Option<Vec<u8>> {
    let mut hasher = hasher(Kind::Sha1);
    hasher.update(blob);
    Some(hasher.try_finalize().ok()?.as_slice().to_vec())
}

fn lines(bytes: &[u8]) -> Result<List, String> {
    let mut list = List::default();
    let text = std::str::from_utf8(bytes).map_err(|_| "it is neither a key revocation list nor text".to_owned())?;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = public_key(line).map_err(|why| format!("line {}: {why}", n + 1))?;
        let blob = PublicKey::from(key).to_bytes().map_err(|error| format!("line {}: {error}", n + 1))?;
        list.blobs.insert(blob);
    }
    Ok(list)
}

const MAGIC: &[u8] = b"SSHKRL\n\0";

/// The only version there is.
const FORMAT: u32 = 1;

fn krl(mut reader: Reader<'_>) -> Result<List, String> {
    if reader.u32()? != FORMAT {
        return Err("its version is not known".to_owned());
    }
    // Its number, its date, and flags, of which none is defined.
    reader.take(24)?;
    let (_reserved, _comment) = (reader.string()?, reader.string()?);
    let mut list = List::default();
    while !reader.0.is_empty() {
        let kind = reader.u8()?;
        let body = Reader(reader.string()?);
        match kind {
            // Certificates by serial or id: none are accepted in the first place.
            1 => {}
            2 => collect(body, &mut list.blobs, None)?,
            3 => collect(body, &mut list.sha1, Some(20))?,
            // A signature over the list: the key, then the signature itself. The file is trusted for where it is.
            4 => drop(reader.string()?),
            5 => collect(body, &mut list.sha256, Some(32))?,
            255 => extension(body)?,
            other => return Err(format!("it has a section of the unknown kind {other}")),
        }
    }
    Ok(list)
}

fn collect(mut body: Reader<'_>, into: &mut HashSet<Vec<u8>>, length: Option<usize>) -> Result<(), String> {
    while !body.0.is_empty() {
        let item = body.string()?;
        if length.is_some_and(|length| item.len() != length) {
            return Err("a fingerprint has the wrong length".to_owned());
        }
        into.insert(item.to_vec());
    }
    Ok(())
}

fn extension(mut body: Reader<'_>) -> Result<(), String> {
    let (name, critical) = (body.string()?, body.u8()? != 0);
    match critical {
        true => Err(format!("it needs the unknown extension {:?}", String::from_utf8_lossy(name))),
        false => Ok(()),
    }
}

/// Reads SSH's wire format.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&mut self) -> Result<&'a [u8], String> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| "it is too long")?)
    }
}
