//! When the reaper may believe what it sees.
//!
//! - A worker without a connection is gone, unless ours broke a moment ago: then everybody's did,
//!   and they are on their way back.
//! - A lease past its deadline has expired, unless its holder could not renew it because the broker
//!   was away, or the broker's clock jumped. Two clocks tell: the broker's, which the deadlines are
//!   written by, and ours, which only goes forward.

use std::time::Duration;

use tokio::time::Instant;

use crate::broker::Pulse;
use crate::job::Timestamp;

/// Workers whose connections broke are back within this: the slowest waits for its reaper's next
/// look, its retry, and the pause between attempts to connect.
const RECONNECTED: Duration = Duration::from_secs(2);
/// Leases are renewed this much after their time at the latest, on a machine that is busy.
const RENEWED: Duration = Duration::from_secs(1);

/// What the reaper knows of clock and connection.
pub(super) struct Calm {
    lease: Duration,
    /// After an interruption, every lease of a living worker is renewed within this.
    renewed: Duration,
    /// The broker's time, and ours before and after it was asked.
    last: Option<(Timestamp, Instant, Instant)>,
    /// Until then deadlines may have been written by another time.
    restless_until: Instant,
}

impl Calm {
    pub(super) fn new(lease: Duration, renew: Duration, now: Instant) -> Self {
        let renewed = renew + RENEWED;
        // We do not know what happened before.
        Self { lease, renewed, last: None, restless_until: now + renewed }
    }

    /// Takes note of a pulse that was asked for and answered at these times; answers how far the
    /// broker's clock jumped, forward or back, if it did.
    pub(super) fn notice(
        &mut self,
        pulse: &Pulse,
        asked: Instant,
        answered: Instant,
    ) -> Option<Duration> {
        let (then, asked_before, answered_before) =
            self.last.replace((pulse.now, asked, answered))?;
        // Between the two looks at the broker's clock passed at least and at most:
        let least = millis(asked.saturating_duration_since(answered_before));
        let most = millis(answered.saturating_duration_since(asked_before));
        let passed = pulse.now.as_millis().saturating_sub(then.as_millis());
        let jump = (passed - most).max(least - passed).max(0);
        // Over a long time clocks drift, which is no jump.
        if jump <= millis(self.lease / 2) + most / 10 {
            return None;
        }
        self.restless_until = answered + self.lease;
        Some(Duration::from_millis(jump.unsigned_abs()))
    }

    /// Whether a worker without a connection is gone.
    pub(super) fn trusts_connections(&self, pulse: &Pulse) -> bool {
        pulse.unbroken >= RECONNECTED
    }

    /// Whether a lease past its deadline has expired.
    pub(super) fn trusts_deadlines(&self, pulse: &Pulse, now: Instant) -> bool {
        pulse.unbroken >= self.renewed && now >= self.restless_until
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);
    const RENEW: Duration = Duration::from_secs(2);
    const LOOK: Duration = Duration::from_secs(1);

    /// A look a second for so many seconds; what the broker's clock says at each.
    fn jumps(start: Instant, told_ms: &[i64]) -> (Calm, Vec<u64>) {
        let mut calm = Calm::new(LEASE, RENEW, start);
        let mut jumps = Vec::new();
        for (n, ms) in told_ms.iter().enumerate() {
            let at = start + LOOK * u32::try_from(n).unwrap();
            if let Some(jump) = calm.notice(&pulse(*ms), at, at) {
                jumps.push(jump.as_secs());
            }
        }
        (calm, jumps)
    }

    fn pulse(ms: i64) -> Pulse {
        Pulse { now: Timestamp::from_millis(ms), unbroken: Duration::MAX }
    }

    #[test]
    fn an_hour_forward_or_back_is_a_jump_and_drift_is_none() {
        let start = Instant::now();
        assert_eq!(jumps(start, &[0, 1_000, 3_602_000, 3_603_000]).1, [3_600]);
        assert_eq!(jumps(start, &[9_000_000, 9_001_000, 5_402_000]).1, [3_600]);
        assert!(jumps(start, &[0, 1_050, 1_900, 3_100, 5_000]).1.is_empty());
    }

    #[test]
    fn after_a_jump_no_lease_expires_for_as_long_as_one_lasts() {
        let start = Instant::now();
        let (calm, _) = jumps(start, &[0, 1_000, 3_602_000]);
        let jumped = start + 2 * LOOK;
        assert!(!calm.trusts_deadlines(&pulse(0), jumped + LEASE - LOOK));
        assert!(calm.trusts_deadlines(&pulse(0), jumped + LEASE));
        assert!(calm.trusts_connections(&pulse(0)), "connections have no clock");
    }

    #[test]
    fn a_slow_answer_or_a_long_pause_is_no_jump() {
        let start = Instant::now();
        let mut calm = Calm::new(LEASE, RENEW, start);
        // Told at once, and the answer was under way for eight seconds.
        assert_eq!(calm.notice(&pulse(0), start, start + 8 * LOOK), None);
        assert_eq!(calm.notice(&pulse(8_000), start + 8 * LOOK, start + 8 * LOOK), None);
        assert_eq!(
            calm.notice(&pulse(3_700_000), start + 3_608 * LOOK, start + 3_608 * LOOK),
            None
        );
    }

    #[test]
    fn nothing_is_believed_right_after_a_break_or_the_start() {
        let start = Instant::now();
        let calm = Calm::new(LEASE, RENEW, start);
        assert!(!calm.trusts_deadlines(&pulse(0), start + RENEW));
        let later = start + LEASE;
        assert!(calm.trusts_deadlines(&pulse(0), later));
        let broken = |unbroken| Pulse { unbroken, ..pulse(0) };
        assert!(!calm.trusts_connections(&broken(LOOK)));
        assert!(calm.trusts_connections(&broken(RECONNECTED)));
        assert!(!calm.trusts_deadlines(&broken(RECONNECTED), later));
        assert!(calm.trusts_deadlines(&broken(RENEW + RENEWED), later));
    }
}
