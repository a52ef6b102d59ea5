//! What a process says of itself, for as long as it lives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::job::Queue;

/// Most processes that a roster tells of.
pub const ROSTER_MAX: usize = 10_000;

/// What a process says of itself. It says it again and again; one that falls silent is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// What it is: `api`, `worker`, or `up` for both.
    pub role: String,
    /// Where its metrics are, as `host:port`; `None` if nowhere.
    pub metrics: Option<String>,
    /// Jobs that it can run at the same time; 0 if it runs none.
    pub slots: u32,
    /// The queues whose jobs it runs, and how long these took lately.
    pub queues: BTreeMap<Queue, Ran>,
}

/// Runs of late. What is long ago counts less and less, runs and seconds alike, so that a sum over
/// processes is dominated by those that work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ran {
    /// How many ended.
    pub runs: f64,
    /// How long these took, in seconds.
    pub seconds: f64,
}

impl Ran {
    /// How long a run is remembered, on average: `runs` divided by this are runs a second. Short, so that
    /// a rate that falls is soon seen to; the mean lasts for as long as nothing runs.
    pub const MEMORY_SECONDS: f64 = 20.0;

    /// One more run.
    pub fn add(&mut self, seconds: f64) {
        self.runs += 1.0;
        self.seconds += seconds;
    }

    /// Lets `seconds` go by.
    pub fn fade(&mut self, seconds: f64) {
        let left = (-seconds.max(0.0) / Self::MEMORY_SECONDS).exp();
        self.runs *= left;
        self.seconds *= left;
    }
}

impl std::ops::AddAssign for Ran {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.seconds += other.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_outlives_the_runs_and_the_rate_does_not() {
        let mut ran = Ran::default();
        for _ in 0..600 {
            ran.fade(0.1);
            ran.add(0.2);
        }
        // Ten a second, seen for a minute.
        let rate = ran.runs / Ran::MEMORY_SECONDS;
        assert!((9.0..10.0).contains(&rate), "{rate}");
        ran.fade(600.0);
        assert!(ran.runs / Ran::MEMORY_SECONDS < 0.001);
        assert!((ran.seconds / ran.runs - 0.2).abs() < 1e-9);
    }
}
