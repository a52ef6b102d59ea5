//! What a worker costs that has nothing to do.

use std::time::Duration;

use anyhow::Result;

use super::{Found, NOT_THERE, Plan};
use crate::metrics::{IDLE_COMMANDS, IDLE_CPU, RSS_IDLE};
use crate::protocol::Order;
use crate::stage::{Load, Stage};
use crate::systems::System;

/// Places of the worker.
const PLACES: usize = 100;
/// What every start costs is over then.
const SETTLED: Duration = Duration::from_secs(3);

pub(super) async fn measure(system: &'static System, plan: &Plan) -> Result<Found> {
    let load = Load { concurrency: PLACES, ..Load::default() };
    let stage = Stage::new(system, load).await?;
    let mut worker = stage.worker().await?;
    worker.order(Order::Go).await?;
    tokio::time::sleep(SETTLED).await;
    let (commands, threads) = (stage.commands()?, worker.threads()?);
    tokio::time::sleep(plan.idle).await;
    let seconds = plan.idle.as_secs_f64();
    let mut found = Found::default();
    let commands =
        stage.commands()?.zip(commands).map(|(after, before)| (after - before) / seconds);
    found.figure_or(IDLE_COMMANDS, commands, NOT_THERE);
    found.figure(IDLE_CPU, worker.threads()?.since(&threads) / seconds * 100.0);
    found.figure(RSS_IDLE, worker.memory()?.now);
    Ok(found)
}
