//! How many jobs one process enqueues a second when it has many callers.

use anyhow::Result;

use super::{Found, NOT_THERE, Plan};
use crate::metrics::{COMMANDS_ENQUEUE, SINGLE};
use crate::protocol::Order;
use crate::stage::{IN_FLIGHT, LIMIT, Load, Stage};
use crate::systems::System;

/// Jobs before those that count: connections are open then, and code that is compiled as it runs is.
const WARM: usize = 500;

pub(super) async fn measure(system: &'static System, plan: &Plan) -> Result<Found> {
    let load = Load { concurrency: IN_FLIGHT, ..Load::default() };
    let stage = Stage::new(system, load).await?;
    let mut producer = stage.crew().await?.producer;
    producer.enqueue(Order::Single { jobs: WARM, in_flight: IN_FLIGHT }, LIMIT).await?;
    let before = stage.commands()?;
    let order = Order::Single { jobs: plan.single, in_flight: IN_FLIGHT };
    let seconds = producer.enqueue(order, LIMIT).await?;
    let mut found = Found::default();
    found.figure(SINGLE, plan.single as f64 / seconds);
    let commands = stage.commands()?.zip(before).map(|(after, before)| after - before);
    let each = commands.map(|commands| commands / plan.single as f64);
    found.figure_or(COMMANDS_ENQUEUE, each, NOT_THERE);
    Ok(found)
}
