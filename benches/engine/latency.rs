//! How soon a job starts after it was enqueued, at a moderate rate.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use postworks::testing::postgres_server::PostgresServer;
use tokio::time::{Instant, MissedTickBehavior};

use crate::Plan;
use crate::report::Report;
use crate::world::{BOTH, World, name};

/// Jobs that arrive a second, whatever becomes of those before.
const RATE: u32 = 500;

/// Sends at a fixed rate. A job's time counts from when its enqueue was called, commit included.
pub(crate) async fn measure(postgres: &PostgresServer, plan: &Plan, report: &mut Report) {
    for durability in BOTH {
        let jobs = RATE as usize * usize::try_from(plan.latency_for.as_secs()).unwrap();
        let world = Arc::new(World::new(postgres, jobs).await);
        let working = world.start_worker();
        // Past the relay's first sweep and everybody's first connection.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut arrivals = tokio::time::interval_at(Instant::now(), Duration::from_secs(1) / RATE);
        arrivals.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sending = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            arrivals.tick().await;
            let job = world.job(durability);
            let world = Arc::clone(&world);
            sending.push(tokio::spawn(async move {
                let called = Instant::now();
                world.producer.enqueue(vec![job]).await.expect("the job is accepted");
                called.elapsed()
            }));
        }
        let mut accepted = Histogram::<u64>::new(3).unwrap();
        for sent in sending {
            let took = sent.await.expect("no caller fails").as_micros();
            accepted.record(u64::try_from(took).unwrap().max(1)).unwrap();
        }
        world.until_settled(jobs).await;
        let mut times = Histogram::<u64>::new(3).unwrap();
        for latency in world.seen.latencies() {
            times.record(latency.max(1)).unwrap();
        }
        let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1_000.0;
        let line = |what: &str| format!("start at {RATE} jobs/s, {}, {what}", name(durability));
        report.figure("latency", &line("p50"), ms(0.5), "ms");
        report.at_most("latency", &line("p99"), ms(0.99), "ms", 5.0);
        let commit_ms = accepted.value_at_quantile(0.99) as f64 / 1_000.0;
        report.note(format!(
            "{}: {commit_ms:.2} ms of it until accepted; the slowest {:.1} ms",
            line("p99"),
            ms(1.0)
        ));
        working.drain().await;
    }
}
