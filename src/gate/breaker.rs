//! When a circuit breaker opens and closes: one pure function, the same for every broker.
//!
//! A breaker stands for one platform and operation, which is a queue. It is the fleet's: every
//! worker adds up its calls in the broker, and whoever sees that the numbers call for a change
//! makes it, once, by the epoch.
//!
//! *Closed* → *open* when of at least [`Settings::calls_min`] calls in ten seconds a share of
//! [`Settings::bad_percent`] failed or were slow. After a cooldown, *half-open*: three probes, of
//! which two decide. Good, and it closes by way of a tenth and half of the calls it had; bad, and
//! the cooldown doubles.

use std::time::Duration;

use crate::broker::{Breaker, CALLS_OVER, Observed, PROBES, Phase, Position};
use crate::job::{Category, ErrorClass, JobError};

/// Of three probes two decide.
const PROBES_DECIDE: u32 = PROBES / 2 + 1;
/// A breaker that was closed for this many cooldowns forgets the last one.
const FORGETS_AFTER: u32 = 3;
/// It ramps up to at least so many calls a second.
const RATE_MIN: u32 = 10;

/// How sensitive breakers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Fewer calls in ten seconds prove nothing.
    pub calls_min: u32,
    /// From this share of bad calls on it opens, in percent, 1 to 100.
    pub bad_percent: u32,
    /// A run whose calls take longer is bad, even if it succeeds.
    pub slow: Duration,
    /// How long it stays open at first, give or take a tenth.
    pub cooldown: Duration,
    /// And at most.
    pub cooldown_max: Duration,
}

/// How long a run took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// From its start to its end.
    pub whole: Duration,
    /// How long of that it waited for the platform, if its handler says so.
    pub calling: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls_min: 20,
            bad_percent: 50,
            slow: Duration::from_secs(10),
            cooldown: Duration::from_secs(30),
            cooldown_max: Duration::from_secs(300),
        }
    }
}

impl Settings {
    /// Whether a run says something about the platform's health, and then whether that is bad.
    /// Its limits, an account's tokens, a wrong request or a fault of ours say nothing.
    pub fn is_bad(&self, result: Result<(), &JobError>, took: Took) -> Option<bool> {
        let calling = took.calling.unwrap_or(took.whole);
        match result {
            Ok(()) => Some(calling > self.slow),
            // Otherwise it was cut off while it waited for something of ours.
            Err(error) if error.category() == Category::Timeout => {
                (calling >= took.whole / 2).then_some(true)
            }
            Err(error) => match error.class() {
                ErrorClass::NotSent | ErrorClass::Transient | ErrorClass::Unknown { .. } => {
                    Some(true)
                }
                ErrorClass::RateLimited { .. }
                | ErrorClass::AuthExpired
                | ErrorClass::AuthRevoked
                | ErrorClass::Invalid
                | ErrorClass::Expired
                | ErrorClass::Unavailable { .. }
                | ErrorClass::Bug => None,
            },
        }
    }

    /// What the numbers call for; `None` if the breaker stays as it is. `jitter` is 0 to 1.
    pub fn judge(&self, seen: &Observed, jitter: f64) -> Option<Breaker> {
        let breaker = seen.gate.breaker;
        let good = seen.calls.saturating_sub(seen.bad);
        match (breaker.phase, breaker.position(seen.now)) {
            (Phase::Opened { .. }, Position::HalfOpen) => {
                if seen.bad >= PROBES_DECIDE {
                    let cooldown = breaker.cooldown.saturating_mul(2).min(self.cooldown_max);
                    Some(self.opened(seen, cooldown, breaker.rate, jitter))
                } else if good >= PROBES_DECIDE {
                    Some(Breaker { phase: Phase::Closing { since: seen.now }, ..breaker })
                } else {
                    None
                }
            }
            (Phase::Opened { .. }, _) => None,
            (Phase::Closing { .. }, Position::HalfOpen) => {
                let opens = seen.bad >= PROBES_DECIDE && self.is_too_bad(seen);
                opens.then(|| self.opened(seen, self.next_cooldown(seen), breaker.rate, jitter))
            }
            (Phase::Closing { .. } | Phase::Closed, _) => {
                let opens = seen.calls >= self.calls_min && self.is_too_bad(seen);
                let over = u32::try_from(CALLS_OVER.as_secs()).unwrap_or(u32::MAX);
                let rate = (seen.calls / over).max(RATE_MIN);
                opens.then(|| self.opened(seen, self.next_cooldown(seen), rate, jitter))
            }
        }
    }

    fn is_too_bad(&self, seen: &Observed) -> bool {
        u64::from(seen.bad) * 100 >= u64::from(seen.calls) * u64::from(self.bad_percent)
    }

    /// Longer than the last one, if that was lately.
    fn next_cooldown(&self, seen: &Observed) -> Duration {
        let Breaker { phase, cooldown, .. } = seen.gate.breaker;
        match phase {
            Phase::Closing { since } if seen.now.since(since) < cooldown * FORGETS_AFTER => {
                cooldown.saturating_mul(2).min(self.cooldown_max)
            }
            _ => self.cooldown,
        }
    }

    fn opened(&self, seen: &Observed, cooldown: Duration, rate: u32, jitter: f64) -> Breaker {
        let until = seen.now.after(cooldown.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)));
        Breaker { phase: Phase::Opened { until }, cooldown, rate, ..seen.gate.breaker }
    }
}

#[cfg(test)]
mod tests;
