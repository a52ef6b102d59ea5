//! When things are due: arrivals that nobody coordinates, at a rate that rises, stays and falls.
//!
//! Gaps are exponential, as between requests of many people who know nothing of each other. All of
//! it follows from the seed, and nothing from how fast the system answers.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// How the rate goes: up in a straight line, on, and down in a straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Arrivals a second while it stays.
    pub(crate) rate: f64,
    /// How long it rises, and falls.
    pub(crate) ramp: Duration,
    /// How long it stays.
    pub(crate) sustain: Duration,
}

impl Shape {
    /// The same rate all the time.
    pub(crate) fn flat(rate: f64, span: Duration) -> Self {
        Self { rate, ramp: Duration::ZERO, sustain: span }
    }

    /// From the first arrival to the last, about.
    pub(crate) fn span(&self) -> Duration {
        self.ramp * 2 + self.sustain
    }

    /// How many arrivals there will be, on average.
    #[cfg(test)]
    fn expected(&self) -> f64 {
        self.rate * (self.ramp.as_secs_f64() + self.sustain.as_secs_f64())
    }

    /// When the `nth` arrival of an even stream would come, in seconds: where the area below the
    /// rate is `n`.
    fn at(&self, n: f64) -> Option<f64> {
        let (ramp, sustain) = (self.ramp.as_secs_f64(), self.sustain.as_secs_f64());
        let (rising, staying) = (self.rate * ramp / 2.0, self.rate * sustain);
        if n < rising {
            Some((2.0 * ramp * n / self.rate).sqrt())
        } else if n < rising + staying {
            Some(ramp + (n - rising) / self.rate)
        } else {
            // The fall is the rise, backwards.
            let left = 2.0 * rising + staying - n;
            (left > 0.0).then(|| 2.0 * ramp + sustain - (2.0 * ramp * left / self.rate).sqrt())
        }
    }
}

/// The times of arrivals since the beginning, in order.
#[derive(Debug)]
pub(crate) struct Arrivals {
    shape: Shape,
    dice: StdRng,
    area: f64,
}

impl Arrivals {
    /// Those that follow from the seed.
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, dice: StdRng::seed_from_u64(seed), area: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // `random` yields [0, 1), and the logarithm of 0 is none.
        self.area -= (1.0 - self.dice.random::<f64>()).ln();
        self.shape.at(self.area).map(Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape =
        Shape { rate: 1_000.0, ramp: Duration::from_secs(10), sustain: Duration::from_secs(20) };

    #[test]
    fn the_same_seed_asks_for_the_same() {
        let arrivals = |seed| Arrivals::new(SHAPE, seed).collect::<Vec<_>>();
        assert_eq!(arrivals(7), arrivals(7));
        assert_ne!(arrivals(7), arrivals(8));
    }

    #[test]
    fn the_rate_rises_stays_and_falls() {
        let times: Vec<f64> = Arrivals::new(SHAPE, 1).map(|at| at.as_secs_f64()).collect();
        assert!(times.is_sorted());
        assert!(times[times.len() - 1] < 40.0);
        let between =
            |from: f64, to: f64| times.iter().filter(|at| (from..to).contains(*at)).count() as f64;
        // Poisson: five standard deviations of counts of thousands.
        let close = |count: f64, expected: f64| {
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{count}, not {expected}");
        };
        close(times.len() as f64, SHAPE.expected());
        close(between(0.0, 5.0), 1_250.0);
        close(between(5.0, 10.0), 3_750.0);
        close(between(10.0, 30.0), 20_000.0);
        close(between(35.0, 40.0), 1_250.0);
    }

    #[test]
    fn gaps_are_those_of_callers_who_know_nothing_of_each_other() {
        let times: Vec<f64> = Arrivals::new(Shape::flat(1_000.0, Duration::from_secs(30)), 3)
            .map(|at| at.as_secs_f64())
            .collect();
        let longer = times.windows(2).filter(|pair| pair[1] - pair[0] > 0.001).count();
        let share = longer as f64 / (times.len() - 1) as f64;
        // Of exponential gaps 1/e are longer than their mean.
        assert!((share - (-1.0_f64).exp()).abs() < 0.02, "{share}");
    }
}
