//! How a rate grows by the month, and when that is.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Days of a mean month.
const MONTH_DAYS: f64 = 365.25 / 12.0;

/// Beyond this many months nobody plans.
const HORIZON: f64 = 120.0;

/// When something that grows reaches a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reached {
    /// It has.
    Already,
    /// In so many months.
    In(f64),
    /// Not within ten years, if it grows at all.
    Never,
}

/// When `peak`, which grows by `growth` (0.15: 15 %) each month, reaches `bound`.
pub(super) fn reaches(peak: f64, bound: f64, growth: f64) -> Reached {
    if peak >= bound {
        return Reached::Already;
    }
    let months = (bound / peak).ln() / (1.0 + growth).ln();
    match growth > 0.0 && months <= HORIZON {
        true => Reached::In(months),
        false => Reached::Never,
    }
}

/// What `peak` has grown to after so many months.
pub(super) fn after(peak: f64, growth: f64, months: f64) -> f64 {
    peak * (1.0 + growth).powf(months)
}

/// The day so many months after `started_at`; `None` if that is no time.
pub(super) fn day(started_at: &str, months: f64) -> Option<String> {
    let began: Timestamp = started_at.parse().ok()?;
    let whole = months.clamp(0.0, HORIZON);
    let date = began.to_zoned(TimeZone::UTC).date();
    // Whole months keep the day of the month.
    let date = date.checked_add((whole.floor() as i64).months()).ok()?;
    let days = (whole.fract() * MONTH_DAYS).round() as i64;
    Some(date.checked_add(days.days()).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn at_fifteen_percent_a_month_a_peak_doubles_in_five_months() {
        let Reached::In(months) = reaches(1_000.0, 2_000.0, 0.15) else { panic!() };
        assert!((months - 4.959).abs() < 0.001, "{months}");
        assert!((after(1_000.0, 0.15, 12.0) - 5_350.25).abs() < 0.01);
    }

    #[test]
    fn what_does_not_grow_never_gets_there() {
        assert_eq!(reaches(1_000.0, 1_000.0, 0.15), Reached::Already);
        assert_eq!(reaches(2_000.0, 1_000.0, 0.15), Reached::Already);
        for growth in [0.0, -0.1, 0.001, -1.0, f64::NAN] {
            assert_eq!(reaches(1_000.0, 2_000.0, growth), Reached::Never, "{growth}");
        }
        assert_eq!(reaches(0.0, 2_000.0, 0.15), Reached::Never);
    }

    #[test]
    fn months_are_days_of_the_calendar() {
        let day = |months| day("2026-11-29T23:30:00+02:00", months).unwrap();
        assert_eq!(
            [day(0.0), day(1.0), day(3.0), day(4.5)],
            ["2026-11-29", "2026-12-29", "2027-02-28", "2027-04-13"]
        );
        assert_eq!(super::day("yesterday", 1.0), None);
    }

    proptest! {
        #[test]
        fn the_peak_is_at_the_bound_when_it_is_said_to_be(
            peak in 0.1..1e6_f64, more in 1.01..1e4_f64, growth in 0.05..1.0_f64,
        ) {
            if let Reached::In(months) = reaches(peak, peak * more, growth) {
                let then = after(peak, growth, months);
                prop_assert!((then / (peak * more) - 1.0).abs() < 1e-6, "{then}");
            }
        }
    }
}
