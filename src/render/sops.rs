//! Objects that are encrypted with SOPS: decrypted in memory, one at a time, and never written.
//!
//! Their desired digest stays that of what is committed: a digest of a short secret would tell it to whoever tries all of
//! them. Whether they were altered is told by the signatures of commits, so that a kustomization may patch around them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::Problem;
use super::built::{Program, Programs};
use crate::core::resource::{Digest, Nature};
use crate::manifest::Object;

/// How objects are decrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sops {
    /// The program.
    pub program: Program,
    /// The file with the age identity.
    pub age_key_file: PathBuf,
}

/// What was decrypted, by the digest of what was committed.
#[derive(Default)]
pub(super) struct Decrypted(Mutex<HashMap<Digest, Object>>);

impl std::fmt::Debug for Decrypted {
    /// Shows nothing: contents are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decrypted")
    }
}

/// More than any application has; then it is decrypted anew.
const DECRYPTED_MAX: usize = 10_000;

/// How long one object may take.
const TIME: std::time::Duration = std::time::Duration::from_secs(30);

/// Decrypts what needs it.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'a> {
    pub(super) sops: Option<&'a Sops>,
    pub(super) known: &'a Decrypted,
    pub(super) namespace: &'a str,
}

impl Secrets<'_> {
    /// Returns an object as it is wanted: itself, or what it is decrypted to.
    pub(super) fn open(&self, object: Object) -> Result<Object, Problem> {
        if !object.encrypted {
            return Ok(object);
        }
        let sops = self.sops.ok_or_else(|| Problem::Encrypted(object.id.clone()))?;
        let known = || self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = known().get(&object.digest) {
            return Ok(opened.clone());
        }
        let failed = |why: String| Problem::Program(format!("decrypt {}: {why}", object.id));
        let dir = tempfile::Builder::new().prefix("holdfast-render-").tempdir();
        let dir = dir.map_err(|error| failed(format!("make a directory: {error}")))?;
        let arguments: [OsString; 7] =
            ["decrypt", "--ignore-mac", "--input-type", "json", "--output-type", "json", "/dev/stdin"].map(Into::into);
        let environment = [("SOPS_AGE_KEY_FILE", OsString::from(&sops.age_key_file))];
        let plain = Programs.talk(&sops.program, &arguments, dir.path(), TIME, &environment, &object.json);
        let plain = plain.map_err(|problem| match problem {
            Problem::Program(why) => failed(why),
            other => other,
        })?;
        // What does not parse is not shown: it may be the secret.
        let value: Value =
            serde_json::from_slice(&plain).map_err(|_| failed("what SOPS printed is no JSON".to_owned()))?;
        let opened = Object::new(value, self.namespace).map_err(|problem| failed(problem.to_string()))?;
        if opened.id != object.id || opened.encrypted {
            return Err(failed("it is another object once it is decrypted".to_owned()));
        }
        // Nothing of what is remembered or shown may be a digest of the secret.
        let nature = Nature { essence: None, ..(*opened.nature).clone() }.into();
        let opened = Object { digest: object.digest, nature, secret: true, ..opened };
        let mut known = known();
        if known.len() >= DECRYPTED_MAX {
            known.clear();
        }
        known.insert(object.digest, opened.clone());
        Ok(opened)
    }
}
