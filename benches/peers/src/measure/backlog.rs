//! How many jobs of a backlog one worker process runs a second, and what that costs.

use std::time::Duration;

use anyhow::Result;

use super::{Found, NOT_THERE, Plan};
use crate::metrics::{
    BULK, BYTES_LEFT, BYTES_QUEUED, COMMANDS_WORK, CPU_POSTGRES, CPU_PROGRAMS, CPU_REDIS, JOBS_5MS,
    NOOP, RSS_BUSY,
};
use crate::protocol::Order;
use crate::stage::{LIMIT, Load, Stage};
use crate::systems::System;

/// Places of a worker whose jobs take their time.
const PLACES: usize = 100;
const TAKES: Duration = Duration::from_millis(5);

/// Drains a backlog of jobs that do nothing.
pub(super) async fn drain(system: &'static System, plan: &Plan) -> Result<Found> {
    let jobs = plan.backlog.min(system.backlog_max);
    let load = Load { concurrency: system.concurrency, jobs, ..Load::default() };
    let stage = Stage::new(system, load).await?;
    let empty = stage.redis_bytes()?;
    let mut crew = stage.crew().await?;
    let (redis, postgres) = (stage.redis_cpu()?, stage.postgres_cpu()?);
    let mut found = Found::default();

    let cpu = crew.producer.cpu()?;
    let seconds = crew.producer.enqueue(stage.fill(jobs), LIMIT).await?;
    let cpu_producer = crew.producer.cpu()? - cpu;
    let rate = system.bulk.then(|| jobs as f64 / seconds);
    found.figure_or(BULK, rate, "has no call that enqueues many jobs");
    let queued = each(stage.redis_bytes()?, empty, jobs);
    found.figure_or(BYTES_QUEUED, queued, NOT_THERE);

    stage.hire(&mut crew).await?;
    let (commands, cpu) = (stage.commands()?, crew.worker().cpu()?);
    crew.worker().order(Order::Go).await?;
    let (seconds, _) = crew.worker().until_all(LIMIT).await?;
    found.figure(NOOP, jobs as f64 / seconds);
    found.figure_or(COMMANDS_WORK, each(stage.commands()?, commands, jobs), NOT_THERE);
    let cpu_worker = crew.worker().cpu()? - cpu;
    let thousands = jobs as f64 / 1_000.0;
    found.figure(CPU_PROGRAMS, (cpu_producer + cpu_worker) / thousands);
    let redis = stage.redis_cpu()?.zip(redis).map(|(after, before)| (after - before) / thousands);
    found.figure_or(CPU_REDIS, redis, NOT_THERE);
    let postgres =
        stage.postgres_cpu()?.zip(postgres).map(|(after, before)| (after - before) / thousands);
    found.figure_or(CPU_POSTGRES, postgres, NOT_THERE);
    found.figure(RSS_BUSY, crew.worker().memory()?.peak);

    // What only a living worker needs is none of the jobs'.
    let (producer, worker) = crew.part();
    worker.kill().await?;
    if let Some(producer) = producer {
        producer.kill().await?;
    }
    found.figure_or(BYTES_LEFT, each(stage.redis_bytes_at_rest().await?, empty, jobs), NOT_THERE);
    Ok(found)
}

/// Drains a backlog of jobs that wait for something else for 5 ms.
pub(super) async fn jobs(system: &'static System, plan: &Plan) -> Result<Found> {
    let jobs = plan.jobs_5ms.min(system.backlog_max);
    let load = Load { concurrency: PLACES, sleep: TAKES, jobs, ..Load::default() };
    let stage = Stage::new(system, load).await?;
    let mut crew = stage.crew().await?;
    crew.producer.enqueue(stage.fill(jobs), LIMIT).await?;
    stage.hire(&mut crew).await?;
    crew.worker().order(Order::Go).await?;
    let (seconds, _) = crew.worker().until_all(LIMIT).await?;
    let mut found = Found::default();
    found.figure(JOBS_5MS, jobs as f64 / seconds);
    Ok(found)
}

fn each(after: Option<f64>, before: Option<f64>, jobs: usize) -> Option<f64> {
    after.zip(before).map(|(after, before)| (after - before) / jobs as f64)
}
