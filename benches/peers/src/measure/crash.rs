//! What becomes of the jobs that run when their worker is killed.
//!
//! Another worker is ready to start, and starts when the first is dead; one without servers starts
//! as a new process on the same folder. Time counts from the kill to the last start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Found, Plan};
use crate::metrics::{LOST, RECOVERY, TWICE};
use crate::protocol::{Event, Order};
use crate::stage::{LIMIT, Load, Stage};
use crate::systems::System;

/// Jobs that run at the same time, and all that there are.
const JOBS: usize = 50;
/// Long enough for all to run at the same time.
const TAKES: Duration = Duration::from_secs(4);

pub(super) async fn measure(system: &'static System, plan: &Plan) -> Result<Found> {
    let load = Load { concurrency: JOBS, sleep: TAKES, journal: true, ..Load::default() };
    let stage = Stage::new(system, load).await?;
    let mut crew = stage.crew().await?;
    crew.producer.enqueue(stage.fill(JOBS), LIMIT).await?;
    stage.hire(&mut crew).await?;
    crew.worker().order(Order::Go).await?;
    let mut other = if system.two_processes { Some(stage.worker().await?) } else { None };
    for _ in 0..JOBS {
        crew.worker().until(LIMIT, started).await?;
    }

    let killed = Instant::now();
    let mut ended = Ended::default();
    // A producer of its own stays, as it would.
    let (_producer, worker) = crew.part();
    let said = worker.kill().await?;
    ended.note(&said);
    ensure!(ended.counts.is_empty(), "not all jobs ran when the worker was killed");
    let mut other = match other.take() {
        Some(other) => other,
        None => stage.worker().await?,
    };
    other.order(Order::Go).await?;

    let patience = system.patience.min(plan.patience);
    let mut again = BTreeSet::new();
    let mut last = Duration::ZERO;
    while again.len() < JOBS {
        let left = patience.saturating_sub(killed.elapsed());
        let Ok(job) = other.until(left, started).await else { break };
        again.insert(job);
        last = killed.elapsed();
    }
    // Those that run again end; none of them may end once more.
    let expected = again.len();
    for _ in 0..expected {
        let job = other.until(LIMIT, finished).await?;
        *ended.counts.entry(job).or_default() += 1;
    }
    ended.note(&other.kill().await?);

    let mut found = Found::default();
    if again.len() == JOBS {
        found.figure(RECOVERY, last.as_secs_f64());
    } else {
        found.gap(RECOVERY, format!("not within {} s", patience.as_secs()));
    }
    if patience == system.patience || again.len() == JOBS {
        found.figure(LOST, (JOBS - ended.counts.len()) as f64);
    } else {
        found.gap(LOST, format!("not known after {} s", patience.as_secs()));
    }
    found.figure(TWICE, ended.counts.values().filter(|count| **count > 1).count() as f64);
    Ok(found)
}

/// How often each job ended.
#[derive(Default)]
struct Ended {
    counts: BTreeMap<u64, usize>,
}

impl Ended {
    fn note(&mut self, said: &[Event]) {
        for job in said.iter().filter_map(finished) {
            *self.counts.entry(job).or_default() += 1;
        }
    }
}

fn started(event: &Event) -> Option<u64> {
    match event {
        Event::Started { job } => Some(*job),
        _ => None,
    }
}

fn finished(event: &Event) -> Option<u64> {
    match event {
        Event::Finished { job } => Some(*job),
        _ => None,
    }
}
