//! What holdfast has to do with Git hosting services: it judges pull requests, tells of halts, and hears approvals.
//!
//! Apart from the loop, in threads of its own: a service that is down slows no cycle, and decides nothing. What is to be told
//! is queued in the ledger first, and looked for before it is told again.
//!
//! - [`place`]: which repositories are on which service.
//! - `pulls`, `outlook`: open pull requests judged, merged ones followed.
//! - [`halt`], `words`, `markdown`: the texts.
//! - [`letter`], `post`: what is queued, and how it arrives.
//! - `ear`: comments that approve.

mod ear;
pub mod halt;
pub mod letter;
mod markdown;
mod outlook;
pub mod place;
mod post;
pub mod pulls;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::runtime::Runtime;

use self::ear::Ear;
use self::place::{Place, Services};
use self::pulls::{LookError, Looker};
use super::alerting::Receivers;
use super::book::Stores;
use super::group::Common;
use super::incluster::right::Right;
use super::operate::Desk;
use super::serve::Current;
use super::wake::Wake;
use crate::clock::MachineClock;
use crate::config::Config;
use crate::core::hosting::Named;
use crate::forges::Pull;

/// How often the queue, and what cycles found, is looked at.
const POLL: Duration = Duration::from_millis(250);

/// How long a place whose service or repository failed is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// What asks and tells the hosting services.
pub struct Liaison {
    services: Services,
    config: Current,
    stores: Arc<Stores>,
    receivers: Arc<Receivers>,
    right: Right,
    runtime: Runtime,
}

/// What is known of a place from one look to the next.
struct Seen {
    due: Instant,
    nudges: Arc<AtomicU64>,
    nudged: u64,
    open: Vec<Pull>,
    /// When the reports were made that merged pull requests were followed by; none once there may be others to follow.
    followed: Option<Vec<Option<Timestamp>>>,
}

impl Liaison {
    /// Makes what asks the configured services; `None` where there are none.
    ///
    /// # Errors
    /// If no runtime can be made.
    pub fn new(config: &Current, common: &Common, receivers: &Arc<Receivers>) -> Result<Option<Self>, std::io::Error> {
        if common.services.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name("hosting")
            .enable_all()
            .build()?;
        let Common { services, stores, right, .. } = common.clone();
        Ok(Some(Self { services, config: config.clone(), stores, receivers: receivers.clone(), right, runtime }))
    }

    /// Tells, looks and listens until the controller ends.
    pub fn run<'scope>(&'scope self, scope: &'scope std::thread::Scope<'scope, '_>, wake: &'scope Wake) {
        scope.spawn(move || {
            while !wake.stopped() {
                self.post(&|| wake.stopped());
                std::thread::sleep(POLL);
            }
        });
        scope.spawn(move || {
            let mut seen = BTreeMap::new();
            while !wake.stopped() {
                self.look(&mut seen, wake);
                std::thread::sleep(POLL);
            }
        });
    }

    /// Does everything once, for a controller that ends after one cycle.
    pub fn once(&self, wake: &Wake) {
        self.look(&mut BTreeMap::new(), wake);
        self.post(&|| false);
    }

    fn post(&self, stopped: &(dyn Fn() -> bool + Sync)) {
        // Of several replicas one tells.
        if !self.right.held() {
            return;
        }
        let config = self.config.get();
        let places = place::all(&self.services, &config);
        let pass = post::pass(self.stores.current(), &places, stopped);
        let _ = self.runtime.block_on(unless(stopped, pass));
    }

    fn look(&self, seen: &mut BTreeMap<(String, String), Seen>, wake: &Wake) {
        if !self.right.held() {
            return;
        }
        let config = self.config.get();
        for place in place::all(&self.services, &config) {
            if wake.stopped() {
                return;
            }
            let of_place = seen.entry((place.key.clone(), place.branch.clone())).or_insert_with(|| Seen {
                due: Instant::now(),
                nudges: wake.overhear(place.urls().first().copied().unwrap_or_default()),
                nudged: 0,
                open: Vec::new(),
                followed: None,
            });
            self.at(&config, &place, of_place, wake);
        }
    }

    fn at(&self, config: &Config, place: &Place<'_>, seen: &mut Seen, wake: &Wake) {
        let ledger = self.stores.current();
        let urls = place.urls().into_iter().map(str::to_owned).collect();
        let repository = Named { urls, path: None };
        let looker = Looker { config, ledger, place, stop: &wake.stop, wake: &|| wake.only(&repository) };
        // What became of a merge is read from reports: without a new one there is nothing new to say.
        let reports: Option<Vec<_>> = place.apps.iter().map(|app| ledger.reported_at(&app.name).ok()).collect();
        if reports.is_none() || reports != seen.followed {
            seen.followed = reports;
            if let Err(error) = looker.follow() {
                seen.followed = None;
                tracing::warn!(repository = %place.repo, %error, "what became of merged pull requests could not be followed");
            }
        }
        let nudges = seen.nudges.load(Relaxed);
        if Instant::now() < seen.due && nudges == seen.nudged {
            return;
        }
        seen.nudged = nudges;
        seen.followed = None;
        let ear = Ear { desk: Desk { config, ledger, receivers: &self.receivers }, place };
        let look = async {
            looker.look(&mut seen.open).await?;
            ear.listen(&seen.open).await
        };
        let Some(done) = self.runtime.block_on(unless(&|| wake.stopped(), look)) else { return };
        let done: Result<(), LookError> = done;
        let interval = place.apps.iter().map(|app| app.guards.interval).min().unwrap_or(AFTER_FAILURE);
        seen.due = Instant::now()
            + match done {
                Ok(()) => interval,
                Err(error) => {
                    tracing::warn!(repository = %place.repo, %error, "pull requests could not be looked at");
                    let asked = match &error {
                        LookError::Forge(error) => error.retry_at(),
                        LookError::Store(_) | LookError::Git(_) => None,
                    };
                    let until = asked.map(|at| at.duration_since(MachineClock::wall()));
                    until.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default().max(AFTER_FAILURE)
                }
            };
    }
}

/// Waits for something unless the controller ends: whatever was under way then is looked for before it is asked for again.
async fn unless<T>(stopped: &(dyn Fn() -> bool + Sync), work: impl Future<Output = T>) -> Option<T> {
    let ended = async {
        while !stopped() {
            tokio::time::sleep(POLL).await;
        }
    };
    match futures::future::select(std::pin::pin!(work), std::pin::pin!(ended)).await {
        futures::future::Either::Left((done, _)) => Some(done),
        futures::future::Either::Right(_) => None,
    }
}
