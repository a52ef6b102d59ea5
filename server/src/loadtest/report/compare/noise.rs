//! Whether two figures differ by more than two runs of the same thing do.

use crate::loadtest::findings::{Direction, Timing};

/// Runs of the same thing differ by this in the median and in single figures.
const BAND: f64 = 0.10;
/// And by this at the 99th percentile, which few of them decide.
const BAND_TAIL: f64 = 0.25;
/// Less than this is nothing, in ms.
const MS: f64 = 0.1;
/// And less than this, in bytes: what is divided among many jobs may be a part of one.
const BYTES: f64 = 1.0;
/// A median of fewer says little.
const COUNT_P50: u64 = 20;
/// Ten are above the 99th percentile of so many.
const COUNT_P99: u64 = 1_000;
/// Parts of one that fail more or less.
const FAILED: f64 = 0.001;

/// What the constants above say, in words.
pub(super) const RULE: &str = "Within noise is what two runs of the same thing differ by: 10 % of a \
                               median or a single figure, 25 % of a p99, and however small they \
                               are 0.1 ms or 1 byte; of failures, 0.1 % of all. A median of fewer \
                               than 20 and a p99 of fewer than 1,000 are not judged.";

/// What B is, seen from A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// On the good side, beyond noise.
    Better,
    /// On the bad side, beyond noise.
    Worse,
    /// One of its figures is better, another worse.
    Mixed,
    /// Too near to tell.
    Noise,
    /// Beyond noise, and neither side is good.
    Differs,
    /// Counted too seldom.
    TooFew,
    /// There is nothing to compare with.
    OnlyOne,
}

impl Change {
    /// The word in the table.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Mixed => "mixed",
            Self::Noise => "within noise",
            Self::Differs => "different",
            Self::TooFew => "too few",
            Self::OnlyOne => "in one only",
        }
    }
}

/// A timing by its median, its 99th percentile and its failures.
pub(super) fn of_timing(a: &Timing, b: &Timing) -> Change {
    let few = a.count.min(b.count);
    let mut changes = Vec::new();
    if few >= COUNT_P50 {
        changes.push(change(a.p50_ms, b.p50_ms, BAND, MS, Some(Direction::AtMost)));
    }
    if few >= COUNT_P99 {
        changes.push(change(a.p99_ms, b.p99_ms, BAND_TAIL, MS, Some(Direction::AtMost)));
    }
    let failed = |timing: &Timing| timing.failed as f64 / timing.count.max(1) as f64;
    changes.push(match failed(b) - failed(a) {
        more if more > FAILED => Change::Worse,
        less if less < -FAILED => Change::Better,
        _ if changes.is_empty() => Change::TooFew,
        _ => Change::Noise,
    });
    match (changes.contains(&Change::Better), changes.contains(&Change::Worse)) {
        (true, true) => Change::Mixed,
        (true, false) => Change::Better,
        (false, true) => Change::Worse,
        (false, false) => changes[0],
    }
}

/// A single figure, of which `good` says which side is better.
pub(super) fn of_figure(a: f64, b: f64, unit: &str, good: Option<Direction>) -> Change {
    let nothing = match unit {
        "ms" => MS,
        "s" => MS / 1000.0,
        "bytes" => BYTES,
        _ => 0.0,
    };
    change(a, b, BAND, nothing, good)
}

fn change(a: f64, b: f64, band: f64, nothing: f64, good: Option<Direction>) -> Change {
    // Memory that was given back is a figure below 0.
    if (a - b).abs() <= nothing.max(band * a.abs().min(b.abs())) {
        return Change::Noise;
    }
    match good {
        None => Change::Differs,
        Some(Direction::AtMost) if b < a => Change::Better,
        Some(Direction::AtLeast) if b > a => Change::Better,
        Some(_) => Change::Worse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(count: u64, failed: u64, p50_ms: f64, p99_ms: f64) -> Timing {
        let (group, name) = ("query".to_owned(), "SELECT".to_owned());
        let (mean_ms, p95_ms, p999_ms, max_ms) = (p50_ms, p99_ms, p99_ms, p99_ms);
        let is_sum = false;
        Timing {
            group,
            name,
            is_sum,
            count,
            failed,
            mean_ms,
            p50_ms,
            p95_ms,
            p99_ms,
            p999_ms,
            max_ms,
        }
    }

    #[test]
    fn a_timing_changes_when_its_median_tail_or_failures_do() {
        let before = timing(5_000, 0, 10.0, 40.0);
        let of = |after: &Timing| of_timing(&before, after);
        assert_eq!(of(&timing(5_000, 0, 10.9, 49.0)), Change::Noise);
        assert_eq!(of(&timing(5_000, 0, 12.0, 40.0)), Change::Worse);
        assert_eq!(of(&timing(5_000, 0, 8.0, 40.0)), Change::Better);
        assert_eq!(of(&timing(5_000, 0, 10.0, 60.0)), Change::Worse);
        assert_eq!(of(&timing(5_000, 0, 8.0, 60.0)), Change::Mixed);
        assert_eq!(of(&timing(5_000, 50, 10.0, 40.0)), Change::Worse, "one in a hundred fails");
        assert_eq!(of(&timing(500, 0, 10.0, 90.0)), Change::Noise, "five decide the p99");
        assert_eq!(of(&timing(5, 0, 90.0, 90.0)), Change::TooFew);
        let fast = timing(5_000, 0, 0.10, 0.12);
        assert_eq!(of_timing(&fast, &timing(5_000, 0, 0.19, 0.2)), Change::Noise, "under 0.1 ms");
    }

    #[test]
    fn a_figure_is_better_on_its_good_side() {
        let less = |a, b, unit| of_figure(a, b, unit, Some(Direction::AtMost));
        let more = |a, b, unit| of_figure(a, b, unit, Some(Direction::AtLeast));
        let neither = |a, b, unit| of_figure(a, b, unit, None);
        assert_eq!(more(1_000.0, 2_000.0, "1/s"), Change::Better);
        assert_eq!(less(1.0, 2.0, "1/s"), Change::Worse);
        assert_eq!(less(350.0, 700.0, "bytes"), Change::Worse);
        assert_eq!(less(350.0, 360.0, "bytes"), Change::Noise);
        assert_eq!(neither(50.0, 90.0, "%"), Change::Differs);
        assert_eq!(less(0.0, 1.0, "jobs"), Change::Worse);
        assert_eq!(less(0.0, 0.0, "jobs"), Change::Noise);
        assert_eq!(neither(-1.0, 1.0, "%"), Change::Differs);
        assert_eq!(less(0.02, 0.05, "bytes"), Change::Noise, "under a byte");
        assert_eq!(less(-5_000.0, -5_100.0, "bytes"), Change::Noise);
        assert_eq!(less(-5_000.0, -9_000.0, "bytes"), Change::Better);
    }
}
