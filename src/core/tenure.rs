//! Which replica owns a repository, and who holds the Lease that lets it write (`DESIGN.md`, State).
//!
//! Repositories, not applications, are given to replicas: the fleet guard needs one judge (`GUARDS.md` 5.6). The Lease keeps
//! two processes of one replica apart; what a paused one still believes is stopped by the anchor (`GUARDS.md` 9).

use std::sync::Arc;

use super::resource::Digest;

/// How long a Lease holds without being renewed, in milliseconds: short enough that a replacement starts soon, long enough
/// for an API server that restarts.
pub const DURATION_MS: i64 = 15_000;

/// How often it is renewed, in milliseconds: three tries within its duration.
pub const RENEW_MS: i64 = 4_000;

/// How long after its last renewal a holder trusts it, in milliseconds: another one waits a third longer than this.
pub const TRUST_MS: i64 = 10_000;

/// Tells which of `replicas` owns a repository.
///
/// By the highest hash of pair (rendezvous): another number of replicas moves the fewest repositories.
pub fn owner(repository: &str, replicas: u32) -> u32 {
    let weight = |replica: &u32| Digest::of_parts([repository.as_bytes(), &replica.to_be_bytes()]).to_string();
    (0..replicas.max(1)).max_by_key(weight).unwrap_or(0)
}

/// Returns a replica's number, which a StatefulSet puts at the end of its pods' names.
pub fn ordinal(pod: &str) -> Option<u32> {
    pod.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

/// A Lease as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Who holds it; empty when it was given back.
    pub holder: Arc<str>,
    /// The version that is replaced.
    pub version: Arc<str>,
    /// How long it holds, in milliseconds.
    pub duration_ms: i64,
}

/// What to do about the Lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// There is none.
    Create,
    /// Nobody holds it any more.
    Take,
    /// It is ours.
    Renew,
    /// Another one holds it.
    Wait,
}

/// Somebody who wants the Lease.
#[derive(Clone, Debug)]
pub struct Candidate {
    me: Arc<str>,
    /// The version of another one's Lease, and since when it is seen unchanged.
    unchanged: Option<(Arc<str>, i64)>,
}

impl Candidate {
    /// Makes a candidate under a name that no other process has.
    pub const fn new(me: Arc<str>) -> Self {
        Self { me, unchanged: None }
    }

    /// Says what to do, at an uptime in milliseconds. Another one's clock is never compared with ours: its Lease is over
    /// once we saw it unchanged for its whole duration.
    pub fn next(&mut self, seen: Option<&Seen>, now_ms: i64) -> Move {
        let Some(seen) = seen else {
            self.unchanged = None;
            return Move::Create;
        };
        if seen.holder == self.me {
            self.unchanged = None;
            return Move::Renew;
        }
        if seen.holder.is_empty() {
            return Move::Take;
        }
        match &self.unchanged {
            Some((version, since)) if *version == seen.version => {
                if now_ms - since >= seen.duration_ms.max(DURATION_MS) { Move::Take } else { Move::Wait }
            }
            _ => {
                self.unchanged = Some((seen.version.clone(), now_ms));
                Move::Wait
            }
        }
    }
}

/// Tells whether a Lease that was last renewed at an uptime may be trusted at another.
pub const fn trusted(renewed_ms: i64, now_ms: i64) -> bool {
    now_ms - renewed_ms < TRUST_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repository_has_one_owner_and_another_replica_moves_only_what_it_takes() {
        let urls: Vec<String> = (0..400).map(|at| format!("https://git.example.com/acme/{at}.git")).collect();
        let mut counts = [0_u32; 4];
        for url in &urls {
            let (three, four) = (owner(url, 3), owner(url, 4));
            assert!(three < 3 && four < 4);
            assert!(four == three || four == 3, "{url} moved from {three} to {four}");
            counts[four as usize] += 1;
        }
        assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
        assert_eq!((owner("x", 0), owner("x", 1)), (0, 0));
        assert_eq!((ordinal("holdfast-12"), ordinal("holdfast"), ordinal("holdfast-x")), (Some(12), None, None));
    }

    fn seen(holder: &str, version: &str) -> Seen {
        Seen { holder: holder.into(), version: version.into(), duration_ms: DURATION_MS }
    }

    #[test]
    fn a_lease_is_taken_only_after_it_was_seen_unchanged_for_its_duration() {
        let mut candidate = Candidate::new("b".into());
        assert_eq!(candidate.next(None, 0), Move::Create);
        assert_eq!(candidate.next(Some(&seen("a", "1")), 0), Move::Wait);
        assert_eq!(candidate.next(Some(&seen("a", "1")), DURATION_MS - 1), Move::Wait);
        assert_eq!(candidate.next(Some(&seen("a", "2")), DURATION_MS), Move::Wait, "it was renewed");
        assert_eq!(candidate.next(Some(&seen("a", "2")), 2 * DURATION_MS - 1), Move::Wait);
        assert_eq!(candidate.next(Some(&seen("a", "2")), 2 * DURATION_MS), Move::Take);
        assert_eq!(candidate.next(Some(&seen("", "3")), 2 * DURATION_MS), Move::Take, "it was given back");
        assert_eq!(candidate.next(Some(&seen("b", "4")), 2 * DURATION_MS), Move::Renew);
    }

    #[test]
    fn a_holder_stops_trusting_before_anybody_may_take_over() {
        const { assert!(TRUST_MS < DURATION_MS && 2 * RENEW_MS < TRUST_MS) };
        assert!(trusted(1000, 1000 + TRUST_MS - 1) && !trusted(1000, 1000 + TRUST_MS));
    }
}
