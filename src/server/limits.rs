//! How much one source may ask, and how many connections it may hold.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::DefaultClock;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// Requests a second from one source elsewhere: a page reads one every ten seconds, a hosting service a few a push.
const ELSEWHERE: NonZeroU32 = NonZeroU32::new(50).expect("50 is not zero");

/// Requests a second from this machine: everything behind a proxy here, and whoever watches closely.
const HERE: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not zero");

/// How many seconds' worth may come at once.
const BURST: u32 = 4;

/// Connections at once, from everywhere.
pub const CONNECTIONS: usize = 512;

/// Connections at once from one source elsewhere, so that none can take them all.
const CONNECTIONS_ELSEWHERE: usize = 64;

/// Connections at once from this machine.
const CONNECTIONS_HERE: usize = 256;

/// How many sources are kept before those that asked nothing lately are forgotten.
const SOURCES_KEPT: usize = 4096;

/// Who asks, as far as limits go: one address, or one IPv6 network, since one customer has all of that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// This machine.
    Here,
    /// An address elsewhere.
    Elsewhere(IpAddr),
}

impl Source {
    /// Returns the source that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Here,
            IpAddr::V4(address) => Self::Elsewhere(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::Elsewhere(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }
}

type Limiter = RateLimiter<Source, DashMapStateStore<Source>, DefaultClock>;

/// Counts requests and connections by source.
#[derive(Debug)]
pub struct Limits {
    elsewhere: Limiter,
    here: Limiter,
    connections: Mutex<HashMap<Source, usize>>,
    connections_here: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(HERE, CONNECTIONS_HERE)
    }
}

impl Limits {
    /// Makes limits with others than usual for this machine.
    pub fn new(here: NonZeroU32, connections_here: usize) -> Self {
        let burst = NonZeroU32::new(BURST).unwrap_or(NonZeroU32::MIN);
        let limiter =
            |rate: NonZeroU32| RateLimiter::dashmap(Quota::per_second(rate).allow_burst(rate.saturating_mul(burst)));
        Self { elsewhere: limiter(ELSEWHERE), here: limiter(here), connections: Mutex::default(), connections_here }
    }

    /// Tells whether a source may ask once more now.
    pub fn allows(&self, source: Source) -> bool {
        let limiter = if source == Source::Here { &self.here } else { &self.elsewhere };
        if limiter.len() > SOURCES_KEPT {
            limiter.retain_recent();
        }
        limiter.check_key(&source).is_ok()
    }

    /// Takes one of a source's connections, if it has one left; it is given back when dropped.
    pub fn connect(self: &Arc<Self>, source: Source) -> Option<Connection> {
        let most = if source == Source::Here { self.connections_here } else { CONNECTIONS_ELSEWHERE };
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connections.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Connection { limits: self.clone(), source })
    }
}

/// A connection that counts.
#[derive(Debug)]
pub struct Connection {
    limits: Arc<Limits>,
    source: Source,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut connections = self.limits.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connections.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(address: &str) -> Source {
        Source::of(address.parse().unwrap())
    }

    #[test]
    fn sources_are_networks() {
        assert_eq!(elsewhere("127.8.9.1"), Source::Here);
        assert_eq!(elsewhere("::1"), Source::Here);
        assert_eq!(elsewhere("::ffff:127.0.0.1"), Source::Here, "an IPv4 loopback on an IPv6 socket");
        assert_eq!(elsewhere("2001:db8:1:2::1"), elsewhere("2001:db8:1:2:ffff::9"));
        assert_ne!(elsewhere("2001:db8:1:2::1"), elsewhere("2001:db8:1:3::1"));
        assert_ne!(elsewhere("192.0.2.1"), elsewhere("192.0.2.2"));
    }

    #[test]
    fn one_source_cannot_use_up_another_ones_share() {
        let limits = Limits::default();
        let (loud, quiet) = (elsewhere("192.0.2.1"), elsewhere("192.0.2.2"));
        let answered = (0..10_000).filter(|_| limits.allows(loud)).count();
        assert!(answered < 10_000, "nothing was limited");
        assert!(limits.allows(quiet));
    }

    #[test]
    fn connections_are_given_back() {
        let limits = Arc::new(Limits::default());
        let source = elsewhere("192.0.2.1");
        let mut held: Vec<Connection> = std::iter::from_fn(|| limits.connect(source)).take(10_000).collect();
        assert_eq!(held.len(), CONNECTIONS_ELSEWHERE);
        assert!(limits.connect(elsewhere("192.0.2.2")).is_some());
        held.pop();
        assert!(limits.connect(source).is_some());
        held.clear();
        assert!(limits.connections.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }
}
