//! Waiting times like a platform's: log-normal, given by their median and 99th percentile.

use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The longest wait a rule may ask for and a sample may reach; `hang` is for more.
const MAX_MS: f64 = 600_000.0;

/// The standard normal distribution's 99th percentile.
const Z99: f64 = 2.326_347_874_040_841;

/// The contract's example, for a field that is not given.
const DEFAULT_P50: f64 = 50.0;
const DEFAULT_P99: f64 = 400.0;

/// A latency's two percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(from = "LatencyIn")]
pub(in crate::sandbox) struct Latency {
    p50: f64,
    p99: f64,
}

/// The percentiles as a client sends them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencyIn {
    p50: Option<f64>,
    p99: Option<f64>,
}

impl From<LatencyIn> for Latency {
    fn from(input: LatencyIn) -> Self {
        let p50 = input.p50.unwrap_or(DEFAULT_P50);
        // A median alone may lie above the example's p99; it then has no spread.
        Self { p50, p99: input.p99.unwrap_or(DEFAULT_P99.max(p50)) }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self { p50: DEFAULT_P50, p99: DEFAULT_P99 }
    }
}

impl Latency {
    /// Says which field is impossible and why.
    pub(super) fn check(self) -> Result<(), (&'static str, String)> {
        if !(self.p50 > 0.0 && self.p50 <= MAX_MS) {
            return Err(("p50", format!("must be above 0 and at most {MAX_MS} ms")));
        }
        if !(self.p50..=MAX_MS).contains(&self.p99) {
            return Err(("p99", format!("must be between p50 and {MAX_MS} ms")));
        }
        Ok(())
    }

    /// Draws one waiting time.
    pub(super) fn sample(self, dice: &mut impl RngExt) -> Duration {
        let sigma = (self.p99 / self.p50).ln() / Z99;
        // Box-Muller: two uniform draws make a normal one. The first must not be 0, for its
        // logarithm's sake, and `random` yields [0, 1).
        let radius = (-2.0 * (1.0 - dice.random::<f64>()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * dice.random::<f64>()).cos();
        let ms = self.p50 * (sigma * normal).exp();
        Duration::from_secs_f64(ms.min(MAX_MS) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::Latency;

    #[test]
    fn samples_have_the_percentiles_that_were_asked_for() {
        let latency = Latency { p50: 50.0, p99: 400.0 };
        let mut dice = StdRng::seed_from_u64(1);
        let mut ms: Vec<f64> =
            (0..20_000).map(|_| latency.sample(&mut dice).as_secs_f64() * 1_000.0).collect();
        ms.sort_by(f64::total_cmp);
        let (p50, p99) = (ms[10_000], ms[19_800]);
        assert!((47.0..53.0).contains(&p50), "median {p50}");
        assert!((350.0..450.0).contains(&p99), "99th percentile {p99}");
    }

    #[test]
    fn without_spread_every_sample_is_the_median() {
        let latency = Latency { p50: 20.0, p99: 20.0 };
        let sample = latency.sample(&mut StdRng::seed_from_u64(3));
        assert_eq!(sample.as_millis(), 20);
    }
}
