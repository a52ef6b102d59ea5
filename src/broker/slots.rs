//! The spacing of a queue's retries, as GCRA reckons it: one number, the time of the next free slot.

use std::time::Duration;

use crate::job::Timestamp;

/// Slots are never further apart, nor closer, than this says: a rate may come from a measurement.
const APART: (Duration, Duration) = (Duration::from_micros(10), Duration::from_secs(24 * 3_600));

/// How far apart slots are at so many a second.
pub(super) fn apart(per_second: f64) -> Duration {
    let seconds = 1.0 / per_second;
    if seconds.is_nan() || seconds < 0.0 {
        return APART.1;
    }
    Duration::try_from_secs_f64(seconds).unwrap_or(APART.1).clamp(APART.0, APART.1)
}

/// The slots of one queue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slots {
    /// When the next is free, in microseconds since 1970.
    free_from: i64,
}

impl Slots {
    /// Takes `count` slots that are `apart`; answers the time of the first.
    pub(super) fn take(&mut self, count: u32, apart: Duration, now: Timestamp) -> Timestamp {
        let first = self.free_from.max(now.as_millis().saturating_mul(1_000));
        let all = i64::try_from(apart.saturating_mul(count).as_micros()).unwrap_or(i64::MAX);
        self.free_from = first.saturating_add(all);
        // Up to the next millisecond: never early.
        Timestamp::from_millis(first.saturating_add(999) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The model: every slot that was ever taken, in a list.
        #[test]
        fn no_two_slots_are_closer_than_their_rate_allows_and_none_is_later_than_it_must(
            steps in proptest::collection::vec((0u64..5_000, 1u32..20, 1i64..400), 1..60),
        ) {
            let mut slots = Slots::default();
            let mut now = Timestamp::from_millis(1_772_357_400_000);
            let mut taken: Vec<(i64, i64)> = Vec::new();
            for (later, count, apart_ms) in steps {
                now = now.after(Duration::from_millis(later));
                let apart = Duration::from_millis(apart_ms.unsigned_abs());
                let first = slots.take(count, apart, now).as_millis();
                let free_from = taken.last().map_or(0, |(slot, apart)| slot + apart);
                prop_assert_eq!(first, free_from.max(now.as_millis()));
                taken.extend((0..i64::from(count)).map(|n| (first + n * apart_ms, apart_ms)));
            }
            prop_assert!(taken.windows(2).all(|pair| pair[1].0 >= pair[0].0 + pair[0].1));
        }
    }

    #[test]
    fn a_rate_that_makes_no_sense_is_a_slow_one() {
        for per_second in [0.0, -1.0, f64::NAN, 1e-30] {
            assert_eq!(apart(per_second), APART.1, "{per_second}");
        }
        assert_eq!(apart(f64::INFINITY), APART.0);
        assert_eq!(apart(5.0), Duration::from_millis(200));
    }
}
