//! Medians, and how many times better one figure is than another.

use crate::metrics::Better;

/// Median, least and greatest of some runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) runs: usize,
}

/// The spread of some runs; of two in the middle their mean.
pub(crate) fn spread(runs: &[f64]) -> Option<Spread> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(Spread { median: f64::midpoint(*lower, *upper), least, most, runs: sorted.len() })
}

/// The value that `at` of all (0 to 1) are not above; 0 of none.
pub(crate) fn quantile(sorted: &[u64], at: f64) -> u64 {
    let place = (at * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}

/// How many times better `ours` is than `theirs`: over 1 is better. Nothing is a multiple of zero.
pub(crate) fn times_better(ours: f64, theirs: f64, better: Better) -> Option<f64> {
    let (over, under) = match better {
        Better::High => (ours, theirs),
        Better::Low => (theirs, ours),
    };
    (over > 0.0 && under > 0.0).then(|| over / under)
}

/// The best of some figures, with what it belongs to.
pub(crate) fn best<T>(figures: impl Iterator<Item = (T, f64)>, better: Better) -> Option<(T, f64)> {
    figures.reduce(|best, next| {
        let is_better = match better {
            Better::High => next.1 > best.1,
            Better::Low => next.1 < best.1,
        };
        if is_better { next } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let even = spread(&[4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!(even, Spread { median: 3.0, least: 1.0, most: 9.0, runs: 4 });
        assert_eq!(spread(&[5.0, 7.0, 6.0]).unwrap().median, 6.0);
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|at| quantile(&sorted, at)), [100, 198, 200]);
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!(quantile(&[7], 0.5), 7);
    }

    #[test]
    fn better_is_more_for_speeds_and_less_for_times() {
        assert_eq!(times_better(40.0, 10.0, Better::High), Some(4.0));
        assert_eq!(times_better(2.0, 10.0, Better::Low), Some(5.0));
        assert_eq!(times_better(20.0, 10.0, Better::Low), Some(0.5));
    }

    #[test]
    fn nothing_is_a_multiple_of_zero() {
        assert_eq!(times_better(0.0, 5.0, Better::Low), None);
        assert_eq!(times_better(5.0, 0.0, Better::Low), None);
    }

    #[test]
    fn the_best_is_the_first_of_equals() {
        let figures = [("a", 3.0), ("b", 5.0), ("c", 5.0)];
        assert_eq!(best(figures.into_iter(), Better::High), Some(("b", 5.0)));
        assert_eq!(best(figures.into_iter(), Better::Low), Some(("a", 3.0)));
        assert_eq!(best(std::iter::empty::<((), f64)>(), Better::Low), None);
    }
}
