//! What freezes without the repository: the configuration, and a `FREEZE` in the state directory (`GUARDS.md` 4).

use std::path::Path;

use jiff::Timestamp;

use crate::config::{Application, Freeze};
use crate::core::freeze::{self, FreezeState, Parsed};
use crate::core::reason::Reason;

/// What was read of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// All freezes that are known then.
    pub state: FreezeState,
    /// What changed of them, for people.
    pub said: Option<String>,
    /// Why the state directory could not be read, if so: that freezes too.
    pub unread: Option<Reason>,
}

impl Local {
    /// Reads what freezes an application here, beside what is known; `now` is logical time.
    pub fn read(configured: Option<&Freeze>, state_dir: &Path, known: &FreezeState, now: Timestamp) -> Self {
        let mut local = Self { state: known.clone(), said: None, unread: None };
        match files(state_dir) {
            Ok(files) => local.take_up(local.state.with_state_dir(&files, now)),
            Err(error) => {
                let message =
                    format!("the state directory {} cannot be read for a FREEZE: {error}", state_dir.display());
                local.unread = Some(Reason::new("freeze", message));
            }
        }
        let configured = configured.map(|frozen| Parsed {
            reason: frozen.reason.clone(),
            owner: frozen.owner.clone(),
            until: frozen.until,
            ..Parsed::default()
        });
        local.take_up(local.state.with_config(configured.as_ref(), now));
        local
    }

    fn take_up(&mut self, changed: Option<(FreezeState, String)>) {
        let Some((state, said)) = changed else { return };
        self.state = state;
        self.said = Some(self.said.take().map_or(said.clone(), |before| format!("{before}; {said}")));
    }

    /// Returns why this machine freezes an application now.
    pub fn reasons(self, name: &str, now: Timestamp) -> Vec<Reason> {
        let active = self.state.active(name, now).into_iter().filter(|frozen| frozen.is_local());
        active.map(freeze::reason).chain(self.unread).collect()
    }
}

/// Reads every file that freezes, by name; one that cannot be read says nothing and so freezes all.
fn files(state_dir: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let entries = match std::fs::read_dir(state_dir) {
        // There is no controller and no ledger yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        if crate::core::tree::is_freeze(entry.file_name().as_encoded_bytes()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths.iter().map(|path| std::fs::read(path).unwrap_or_default()).collect())
}

/// Returns why this machine freezes an application now, beside what is known.
pub fn local_freezes(app: &Application, state_dir: &Path, known: &FreezeState, now: Timestamp) -> Vec<Reason> {
    Local::read(app.freeze.as_ref(), state_dir, known, now).reasons(&app.name, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn codes(local: Local, now: &str) -> Vec<String> {
        local.reasons("web", at(now)).into_iter().map(|reason| reason.message).collect()
    }

    #[test]
    fn a_state_directory_that_cannot_be_read_freezes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let none = FreezeState::default();
        let now = at("2026-01-01T00:00:00Z");
        assert!(codes(Local::read(None, &file, &none, now), "2026-01-01T00:00:00Z").is_empty(), "there is none yet");
        std::fs::write(&file, "no directory").unwrap();
        let said = codes(Local::read(None, &file, &none, now), "2026-01-01T00:00:00Z");
        assert!(said.len() == 1 && said[0].contains("cannot be read"), "{said:?}");
    }

    #[test]
    fn what_expires_is_followed_to_its_end_in_the_ledgers_time_and_a_past_end_is_a_mistake() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("freeze.yaml"), "until: 2026-01-01T01:00:00Z").unwrap();
        let configured = Freeze { until: Some(at("2026-01-01T02:00:00Z")), ..Freeze::default() };
        let read = |known: &FreezeState, now| Local::read(Some(&configured), dir.path(), known, at(now));
        let first = read(&FreezeState::default(), "2026-01-01T00:30:00Z");
        assert!(first.said.is_some());
        for (now, holding) in [("2026-01-01T00:59:00Z", 2), ("2026-01-01T01:30:00Z", 1), ("2026-01-01T02:00:00Z", 0)] {
            let again = read(&first.state, now);
            assert_eq!((&again.state, &again.said), (&first.state, &None));
            assert_eq!(codes(again, now).len(), holding, "{now}");
        }
        let late = codes(read(&FreezeState::default(), "2026-01-01T03:00:00Z"), "2026-01-01T03:00:00Z");
        assert!(late.len() == 2 && late.iter().all(|said| said.contains("already past")), "{late:?}");
    }
}
