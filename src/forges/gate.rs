//! When a service wants to be left alone: nothing is sent until then.
//!
//! GitHub writes `x-ratelimit-*`, GitLab `RateLimit-*`, whatever stands before either `Retry-After`. A limit without a time (GitHub's
//! secondary ones) is waited out for a minute, and twice as long each time that it is met again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

use super::error::ForgeError;

/// The longest that a service may keep us away: its windows are an hour, and clocks differ.
const LONGEST: i64 = 3660;

/// How long a limit without a time is waited out at first, as GitHub asks.
const FIRST: i64 = 60;

/// A number from here on is a point in time, below it a number of seconds.
const EPOCHS: i64 = 1_000_000_000;

/// What each account was told; accounts of one service have limits of their own.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<BTreeMap<String, Held>>);

#[derive(Debug, Default)]
struct Held {
    until: Option<Timestamp>,
    /// Limits without a time in a row.
    strikes: u32,
}

impl Gate {
    /// Lets a request pass, or says until when none does.
    pub(super) fn pass(&self, account: &str, now: Timestamp) -> Result<(), ForgeError> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get(account).and_then(|held| held.until) {
            Some(until) if now < until => Err(ForgeError::RateLimited { until }),
            _ => Ok(()),
        }
    }

    /// Takes up what an answer says about limits; returns until when, if the answer is nothing else.
    pub(super) fn heard(
        &self,
        account: &str,
        status: u16,
        headers: &HeaderMap,
        message: &str,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.entry(account.to_owned()).or_default();
        let told = Told::of(headers);
        let refused = match status {
            429 => true,
            403 => told.spent || told.wait.is_some() || is_about_limits(message),
            503 => told.wait.is_some(),
            _ => false,
        };
        if !refused {
            if status < 400 {
                held.strikes = 0;
            }
            if told.spent
                && let Some(reset) = told.reset
            {
                held.until = later(now, reset);
            }
            return None;
        }
        let seconds = match told.wait.or(if told.spent { told.reset } else { None }) {
            Some(seconds) => seconds,
            None => {
                held.strikes = held.strikes.saturating_add(1);
                FIRST.saturating_mul(1 << held.strikes.saturating_sub(1).min(10))
            }
        };
        held.until = later(now, seconds);
        held.until
    }
}

/// What an answer's headers say, in seconds from now.
struct Told {
    /// Whether nothing is left of what may be asked.
    spent: bool,
    reset: Option<i64>,
    wait: Option<i64>,
}

impl Told {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let number = |names: [&str; 2]| names.iter().find_map(|name| text(name)?.parse::<i64>().ok());
        let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_second());
        // Against the service's own clock, since ours may be wrong.
        let there = text("date").and_then(date);
        let until = |second: i64| there.map(|there| second.saturating_sub(there));
        let relative = |number: i64| if number < EPOCHS { Some(number) } else { until(number) };
        Self {
            spent: number(["x-ratelimit-remaining", "ratelimit-remaining"]) == Some(0),
            reset: number(["x-ratelimit-reset", "ratelimit-reset"]).and_then(relative),
            wait: text("retry-after").and_then(|wait| wait.parse().ok().or_else(|| until(date(wait)?))),
        }
    }
}

/// GitHub's secondary limits are a 403 that only its text tells from a missing right.
fn is_about_limits(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("rate limit") || message.contains("abuse detection")
}

fn later(now: Timestamp, seconds: i64) -> Option<Timestamp> {
    now.checked_add(SignedDuration::from_secs(seconds.clamp(1, LONGEST))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Returns for how many seconds an answer keeps us away.
    fn wait(gate: &Gate, status: u16, pairs: &[(&'static str, &str)], message: &str) -> Option<i64> {
        gate.heard("", status, &headers(pairs), message, at(0)).map(|until| until.as_second() - at(0).as_second())
    }

    #[test]
    fn every_way_to_say_it_is_understood() {
        let date = ("date", "Fri, 15 Jan 2027 08:00:00 GMT");
        for (status, pairs, message, expected) in [
            (429, &[("retry-after", "7")][..], "", Some(7)),
            (403, &[("retry-after", "30")], "You have exceeded a secondary rate limit", Some(30)),
            (429, &[("retry-after", "Fri, 15 Jan 2027 08:00:09 GMT"), date], "", Some(9)),
            (403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000600"), date], "", Some(600)),
            (429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "1800000060"), date], "", Some(60)),
            (429, &[("ratelimit-remaining", "0"), ("ratelimit-reset", "15")], "", Some(15)),
            (503, &[("retry-after", "120")], "", Some(120)),
            // No service keeps us away for good, and none lets us ask at once.
            (429, &[("retry-after", "99999999")], "", Some(LONGEST)),
            (429, &[("retry-after", "-5")], "", Some(1)),
            // These are something else.
            (403, &[], "Resource not accessible by integration", None),
            (403, &[("x-ratelimit-remaining", "4999"), ("x-ratelimit-reset", "1800000600")], "", None),
            (503, &[], "", None),
            (500, &[("retry-after", "5")], "", None),
        ] {
            assert_eq!(wait(&Gate::default(), status, pairs, message), expected, "{status} {pairs:?}");
        }
    }

    #[test]
    fn a_limit_without_a_time_is_waited_out_longer_each_time() {
        let gate = Gate::default();
        let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes";
        let waits: Vec<Option<i64>> = (0..8).map(|_| wait(&gate, 403, &[], secondary)).collect();
        let expected = [60, 120, 240, 480, 960, 1920, LONGEST, LONGEST].map(Some);
        assert_eq!(waits, expected);
        assert_eq!(wait(&gate, 200, &[], ""), None);
        assert_eq!(wait(&gate, 403, &[], secondary), Some(60), "an answer in between begins anew");
    }

    #[test]
    fn nothing_passes_until_then_and_only_that_account_waits() {
        let gate = Gate::default();
        let spent = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1800000100"),
            ("date", "Fri, 15 Jan 2027 08:00:00 GMT"),
        ];
        // The answer itself is a good one: only the next would be refused.
        assert_eq!(wait(&gate, 200, &spent, ""), None);
        assert_eq!(gate.pass("", at(99)), Err(ForgeError::RateLimited { until: at(100) }));
        assert_eq!(gate.pass("", at(100)), Ok(()));
        assert_eq!(gate.pass("another", at(0)), Ok(()));
    }
}
