//! Paces single writes: so many a second, with bursts, over the clock that a test can move (`GUARDS.md` 8, `rate`).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::MachineClock;
use crate::core::guards::Rate;

/// The longest sleep before the clock is read again: a test may move it, and an end may be asked for.
const SLICE: Duration = Duration::from_millis(50);

/// The machine's uptime as governor's clock.
#[derive(Clone, Copy, Debug, Default)]
struct Uptime;

impl Clock for Uptime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(MachineClock::read().uptime_ms).unwrap_or(0))
    }
}

type Limiter<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<Duration>>;

/// Lets writes of one application through at its rate, and notices when somebody asks for another look at the tip.
#[derive(Default)]
pub struct Pacer {
    limiter: Option<(Rate, Limiter<Uptime>)>,
    nudges: Option<Arc<AtomicU64>>,
    seen: u64,
}

impl Pacer {
    /// Listens to nudges from now on.
    pub fn listen(&mut self, nudges: Arc<AtomicU64>) {
        self.seen = nudges.load(Ordering::Relaxed);
        self.nudges = Some(nudges);
    }

    /// Tells whether a nudge came since this was last asked.
    pub fn nudged(&mut self) -> bool {
        let Some(nudges) = &self.nudges else { return false };
        let now = nudges.load(Ordering::Relaxed);
        std::mem::replace(&mut self.seen, now) != now
    }

    /// Waits for the rate's leave for one write; returns whether the write may be made.
    ///
    /// A rate of zero never lets one through, nor does an end of the controller.
    pub fn admit(&mut self, rate: Option<Rate>, stop: &AtomicBool) -> bool {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        let Some(rate) = rate else { return true };
        let Some(limiter) = self.limiter(rate) else { return false };
        loop {
            let wait = wait(limiter, &Uptime);
            if wait.is_zero() {
                return true;
            }
            std::thread::sleep(wait.min(SLICE));
            if stop.load(Ordering::Relaxed) {
                return false;
            }
        }
    }

    /// Returns the limiter of a rate, a new one when the rate is another; `None` for a rate of zero.
    fn limiter(&mut self, rate: Rate) -> Option<&Limiter<Uptime>> {
        if self.limiter.as_ref().is_none_or(|(known, _)| *known != rate) {
            self.limiter = Some((rate, limiter(rate, Uptime)?));
        }
        self.limiter.as_ref().map(|(_, limiter)| limiter)
    }
}

fn limiter<C: Clock<Instant = Duration>>(rate: Rate, clock: C) -> Option<Limiter<C>> {
    let quota = Quota::per_second(NonZeroU32::new(rate.per_second)?).allow_burst(NonZeroU32::new(rate.burst)?);
    Some(RateLimiter::direct_with_clock(quota, clock))
}

/// Takes one leave, or returns how long it is until there is one.
fn wait<C: Clock<Instant = Duration>>(limiter: &Limiter<C>, clock: &C) -> Duration {
    match limiter.check() {
        Ok(()) => Duration::ZERO,
        Err(not_until) => not_until.earliest_possible().duration_since(clock.now()).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Hand(Arc<Mutex<Duration>>);

    impl Clock for Hand {
        type Instant = Duration;

        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let clock = Hand::default();
        let limiter = limiter(rate(2, 3), clock.clone()).unwrap();
        let mut waited = Duration::ZERO;
        for _ in 0..9 {
            let mut wait = wait(&limiter, &clock);
            while !wait.is_zero() {
                waited += wait;
                *clock.0.lock().unwrap() += wait;
                wait = super::wait(&limiter, &clock);
            }
        }
        assert_eq!(waited, Duration::from_secs(3), "six after the burst of three, two a second");
    }

    #[test]
    fn zero_lets_nothing_through_and_none_everything() {
        let (mut pacer, stop) = (Pacer::default(), AtomicBool::new(false));
        assert!(!pacer.admit(Some(rate(0, 5)), &stop));
        assert!(!pacer.admit(Some(rate(5, 0)), &stop));
        assert!((0..1000).all(|_| pacer.admit(None, &stop)));
        assert!(pacer.admit(Some(rate(5, 1)), &stop));
        stop.store(true, Ordering::Relaxed);
        assert!(!pacer.admit(None, &stop) && !pacer.admit(Some(rate(5, 1)), &stop));
    }

    #[test]
    fn each_nudge_is_noticed_once() {
        let (mut pacer, nudges) = (Pacer::default(), Arc::new(AtomicU64::new(7)));
        assert!(!pacer.nudged());
        pacer.listen(nudges.clone());
        assert!(!pacer.nudged());
        nudges.fetch_add(2, Ordering::Relaxed);
        assert!(pacer.nudged() && !pacer.nudged());
    }
}
