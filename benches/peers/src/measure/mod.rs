//! The measurements. Each has servers and processes of its own, and a time limit on every wait.

mod backlog;
mod crash;
mod enqueue;
mod idle;
mod latency;
mod limit;

use std::time::Duration;

use anyhow::Result;

use crate::metrics::{self, Group};
use crate::systems::{Rank, System};

pub(crate) use limit::redis_benchmark;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Jobs that are enqueued one by one.
    pub(crate) single: usize,
    /// Jobs of the backlog that does nothing.
    pub(crate) backlog: usize,
    /// Jobs of 5 ms.
    pub(crate) jobs_5ms: usize,
    /// Seconds of each rate.
    pub(crate) rate_s: usize,
    /// How long nothing happens.
    pub(crate) idle: Duration,
    /// Longest wait for the jobs of a killed worker, whatever the system's own patience is.
    pub(crate) patience: Duration,
}

/// Why there is no figure of a server that a system does not use.
pub(crate) const NOT_THERE: &str = "it has no such server";

/// What the table is made from.
pub(crate) const FULL: Plan = Plan {
    single: 20_000,
    backlog: 50_000,
    jobs_5ms: 10_000,
    rate_s: 10,
    idle: Duration::from_secs(10),
    patience: Duration::from_secs(600),
};

/// To see that everything works; says little.
pub(crate) const QUICK: Plan = Plan {
    single: 2_000,
    backlog: 5_000,
    jobs_5ms: 1_000,
    rate_s: 1,
    idle: Duration::from_secs(2),
    patience: Duration::from_secs(5),
};

/// Figures of one measurement, by the keys of their metrics, and why others are missing.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) figures: Vec<(&'static str, f64)>,
    pub(crate) gaps: Vec<(&'static str, String)>,
}

impl Found {
    fn figure(&mut self, key: &'static str, value: f64) {
        self.figures.push((key, value));
    }

    fn gap(&mut self, key: &'static str, why: impl Into<String>) {
        self.gaps.push((key, why.into()));
    }

    /// A figure, or that the system does not have that.
    fn figure_or(&mut self, key: &'static str, value: Option<f64>, why: &str) {
        match value {
            Some(value) => self.figure(key, value),
            None => self.gap(key, why),
        }
    }
}

/// Why a figure of a group is not there for a system at all.
pub(crate) fn why_not(system: &System, group: Group) -> Option<&'static str> {
    let scripts_only = matches!(group, Group::Jobs | Group::Latency | Group::Idle | Group::Crash);
    (system.rank == Rank::Limit && scripts_only)
        .then_some("a loop over a backlog: it runs nothing at the same time, waits for nothing and recovers nothing")
}

/// Measures one group of figures of a system, once. What fails is a gap with its reason.
pub(crate) async fn measure(system: &'static System, group: Group, plan: &Plan) -> Found {
    if let Some(why) = why_not(system, group) {
        let gaps = metrics::of(group).into_iter().map(|key| (key, why.to_owned())).collect();
        return Found { gaps, ..Found::default() };
    }
    let found = Box::pin(attempt(system, group, plan)).await;
    found.unwrap_or_else(|error| {
        let why = format!("{error:#}");
        eprintln!("  {} {}: {why}", system.id, group.name());
        let gaps = metrics::of(group).into_iter().map(|key| (key, why.clone())).collect();
        Found { gaps, ..Found::default() }
    })
}

async fn attempt(system: &'static System, group: Group, plan: &Plan) -> Result<Found> {
    match group {
        Group::Enqueue => enqueue::measure(system, plan).await,
        Group::Drain => backlog::drain(system, plan).await,
        Group::Jobs => backlog::jobs(system, plan).await,
        Group::Latency => latency::measure(system, plan).await,
        Group::Idle => idle::measure(system, plan).await,
        Group::Crash => crash::measure(system, plan).await,
    }
}
