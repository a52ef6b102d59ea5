//! How often a post's numbers are read again: hourly while it is new, and ever less often.

use std::time::Duration;

use postworks::job::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Posts that are younger than the first are read again after the second; older ones never.
const STEPS: [(Duration, Duration); 3] =
    [(DAY, HOUR), (DAY.saturating_mul(7), HOUR.saturating_mul(6)), (DAY.saturating_mul(30), DAY)];

/// After how long the numbers of a post of this age are read again; `None` for never.
pub fn reread_after(age: Duration) -> Option<Duration> {
    STEPS.iter().find(|(younger_than, _)| age < *younger_than).map(|(_, after)| *after)
}

/// When the numbers of a post that was found now are first read; `None` for never. Of one whose time
/// is not known, as if it were new.
pub(super) fn first_reading(created_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let age = created_at.map_or(Duration::ZERO, |created_at| now.since(created_at));
    reread_after(age).map(|_| now)
}

/// When they are read again, after a reading now.
pub(super) fn next_reading(created_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    reread_after(now.since(created_at)).map(|after| now.after(after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_post_is_read_hourly_then_four_times_a_day_then_daily_then_never() {
        let hours = |age: u64| reread_after(HOUR * u32::try_from(age).unwrap());
        let hours = |age| hours(age).map(|after| after.as_secs() / 3_600);
        assert_eq!([0, 23].map(hours), [Some(1); 2]);
        assert_eq!([24, 24 * 7 - 1].map(hours), [Some(6); 2]);
        assert_eq!([24 * 7, 24 * 30 - 1].map(hours), [Some(24); 2]);
        assert_eq!([24 * 30, 24 * 3_000].map(hours), [None; 2]);
    }

    #[test]
    fn a_post_has_some_seventy_readings_in_its_life() {
        let made = Timestamp::from_millis(1_800_000_000_000);
        let next = |now: &Timestamp| next_reading(made, *now);
        let readings = std::iter::successors(first_reading(Some(made), made), next).count();
        assert_eq!(readings, 24 + 4 * 6 + 23 + 1);
    }

    proptest! {
        #[test]
        fn the_older_a_post_the_longer_the_pause(young in 0_u64..4_000_000, older in 0_u64..4_000_000) {
            let pause = |age| reread_after(Duration::from_secs(age)).unwrap_or(Duration::MAX);
            prop_assert!(pause(young) <= pause(young + older));
        }

        #[test]
        fn no_time_is_too_far_away(made: i64, now: i64) {
            let (made, now) = (Timestamp::from_millis(made), Timestamp::from_millis(now));
            if let Some(next) = next_reading(made, now) {
                prop_assert!(next >= now);
            }
        }
    }
}
