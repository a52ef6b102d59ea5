//! How long a caller has an account's tokens to itself, and until when its request may leave.

use std::time::{Duration, Instant};

use postworks::job::Timestamp;

use crate::platforms::http::Timeouts;

/// A request leaves within this after its lease was asked for, or not at all.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
/// What the clocks of two machines may differ by.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10);

/// The right to send one request for an account's tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    until: Timestamp,
    asked_at: Instant,
}

impl Lease {
    /// How long a lease lasts: until the answer to a request that left as late as it may must have
    /// come, on the slowest of clocks. Nobody else sends the same token before.
    pub(super) fn length() -> Duration {
        LEAVES_WITHIN + Timeouts::default().total + CLOCKS_DIFFER
    }

    /// A lease that is asked for now, by both clocks.
    pub(super) fn from(now: Timestamp, asked_at: Instant) -> Self {
        Self { until: now.after(Self::length()), asked_at }
    }

    /// A lease that has ended already, and lets nobody send.
    pub(super) fn ended(now: Timestamp, asked_at: Instant) -> Self {
        Self { until: now, asked_at }
    }

    /// Nobody else may take it before this.
    pub(super) const fn until(self) -> Timestamp {
        self.until
    }

    /// Whether a request that leaves now is over before the lease is. The wall clock may have been
    /// set back, and the other one stands still while a machine sleeps.
    pub(super) fn lets_send(self, now: Timestamp, instant: Instant) -> bool {
        now < self.until.before(Timeouts::default().total)
            && instant.saturating_duration_since(self.asked_at) < LEAVES_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postworks::job::{Job as _, TokenRefresh};

    #[test]
    fn a_request_leaves_only_if_it_is_over_before_the_lease_is() {
        let (now, instant) = (Timestamp::from_millis(1_000_000), Instant::now());
        let lease = Lease::from(now, instant);
        let seconds = Duration::from_secs;
        let lets = |wall, monotonic| {
            lease.lets_send(now.after(seconds(wall)), instant + seconds(monotonic))
        };
        assert!(lets(0, 0) && lets(4, 4));
        assert!(!lets(4, 5), "the wall clock was set back, or runs slowly");
        assert!(!lets(15, 0), "the machine slept");
        let latest = now.after(LEAVES_WITHIN + CLOCKS_DIFFER + Timeouts::default().total);
        assert_eq!(lease.until(), latest);
    }

    #[test]
    fn a_refresh_that_waits_for_a_dead_workers_lease_fits_into_its_job() {
        assert!(TokenRefresh::TIMEOUT > Lease::length() + Timeouts::default().total);
    }
}
