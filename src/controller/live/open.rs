//! Opens the edges of an application.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::Live;
use super::merges::Merges;
use super::source::remote_of;
use crate::clock::MachineClock;
use crate::config::Application;
use crate::controller::incluster::right::Right;
use crate::controller::rate::Pacer;
use crate::controller::rendering;
use crate::git::Mirror;
use crate::targets::Target;

/// Why an application's edges could not be made.
#[derive(Debug, thiserror::Error)]
#[error("open {what} of application {app}: {why}")]
pub struct OpenError {
    app: Arc<str>,
    what: &'static str,
    why: String,
}

impl Live {
    /// Opens the edges of an application. Nothing is fetched or read yet.
    ///
    /// # Errors
    /// If the clone or the target cannot be used as configured.
    pub fn open(app: &Application, state_dir: &Path, stop: Arc<AtomicBool>) -> Result<Self, OpenError> {
        let fail = |what, why: String| OpenError { app: app.name.clone(), what, why };
        let remote = remote_of(app).map_err(|why| fail("the source", why))?;
        let mirror = Mirror::open(&crate::git::directory_for(state_dir, &remote.url))
            .map_err(|error| fail("the clone", error.to_string()))?;
        let renderer = rendering::renderer(app).map_err(|error| fail("the source path", error.to_string()))?;
        let cache = state_dir.join("cache").join(format!("{}.stat", app.name));
        let target =
            Target::open(&app.target, &app.name, &cache).map_err(|error| fail("the target", error.to_string()))?;
        Ok(Self {
            app: app.clone(),
            state_dir: state_dir.to_owned(),
            mirror,
            remote,
            renderer,
            target,
            session: None,
            keys: None,
            keys_error: None,
            snapshot: None,
            rev: None,
            proposed: None,
            fetched: None,
            fetched_at: None,
            merges: Merges::default(),
            pacer: Pacer::default(),
            stop,
            right: Right::default(),
            random: seed(),
        })
    }
}

fn seed() -> u64 {
    let wall = MachineClock::wall().as_nanosecond();
    u64::try_from(wall & i128::from(u64::MAX)).unwrap_or(1) ^ (u64::from(std::process::id()) << 32)
}
