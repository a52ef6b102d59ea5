//! How soon a job starts after its enqueue was called, at rates that every system bears.

use anyhow::Result;

use super::{Found, Plan};
use crate::metrics::{START_500, START_1000};
use crate::protocol::Order;
use crate::ratios::quantile;
use crate::stage::{LIMIT, Load, Stage};
use crate::systems::System;

/// Places of the worker.
const PLACES: usize = 100;
/// Jobs before those that count: past everybody's first connection.
const WARM: usize = 100;

pub(super) async fn measure(system: &'static System, plan: &Plan) -> Result<Found> {
    let mut found = Found::default();
    for (rate, mixed, keys) in [(500, false, START_500), (1_000, true, START_1000)] {
        let jobs = rate as usize * plan.rate_s;
        let load = Load {
            concurrency: PLACES,
            jobs: WARM + jobs,
            mixed,
            latencies: true,
            ..Load::default()
        };
        let stage = Stage::new(system, load).await?;
        let mut crew = stage.crew().await?;
        stage.hire(&mut crew).await?;
        crew.worker().order(Order::Go).await?;
        for order in
            [Order::Pace { rate: 100, jobs: WARM, mixed }, Order::Pace { rate, jobs, mixed }]
        {
            crew.producer.enqueue(order, LIMIT).await?;
        }
        let (_, mut latencies) = crew.worker().until_all(LIMIT).await?;
        let counted = &mut latencies[WARM..];
        counted.sort_unstable();
        for (key, at) in keys.into_iter().zip([0.5, 0.99, 1.0]) {
            found.figure(key, quantile(counted, at) as f64 / 1_000.0);
        }
    }
    Ok(found)
}
