//! Tests of the ledger on real files, with real processes that are really killed.

mod damage;
mod facts;
mod kill;
mod mail;
mod ordinary;

use std::path::Path;

use jiff::Timestamp;

use super::{Ledger, Mode};
use crate::core::commit::CommitId;
use crate::core::ledger::Fact;
use crate::core::resource::{Digest, Id, Nature};
use crate::core::state::{About, Accepted};

fn writer(dir: &Path) -> Ledger {
    Ledger::open(dir, Mode::Writer).expect("opens")
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn noticed(message: impl Into<String>) -> Fact {
    Fact::Noticed { kind: "test".into(), message: message.into() }
}

fn accepted(id: &str, commit: &str) -> Fact {
    let about = About {
        commit: CommitId::new(commit),
        origin: Some(format!("hosts/{id}").into()),
        nature: Nature { group: Some("hosts".into()), ..Nature::default() }.into(),
        created: Some(at(1_700_000_000)),
        rank: 3,
        fields: None,
    };
    let (desired, live) = (Digest::of_parts([id, commit]), Digest::of_parts([id]));
    let accepted = Accepted { desired, live, about: about.into() };
    Fact::Accepted { id: Id::new(id), accepted: accepted.into() }
}

fn converged(commit: &str) -> Fact {
    Fact::Converged {
        commit: CommitId::new(commit),
        desired: Digest::of_parts([commit]),
        good: true,
        seconds: Some(3),
        skipped: Vec::new(),
        left: Vec::new(),
    }
}
