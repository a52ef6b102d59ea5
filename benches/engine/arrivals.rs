//! Jobs that arrive at a fixed rate, whatever becomes of those before.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use postworks::job::NewJob;
use tokio::time::{Instant, MissedTickBehavior};

use crate::world::World;

/// Jobs that arrive a second.
pub(crate) const RATE: u32 = 500;

/// Enqueues so many jobs, each at its moment; answers how long each caller waited until its job was
/// accepted.
pub(crate) async fn arrive(
    world: &Arc<World>,
    jobs: usize,
    job: impl Fn() -> NewJob,
) -> Histogram<u64> {
    let mut arrivals = tokio::time::interval_at(Instant::now(), Duration::from_secs(1) / RATE);
    arrivals.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sending = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        arrivals.tick().await;
        let (job, world) = (job(), Arc::clone(world));
        sending.push(tokio::spawn(async move {
            let called = Instant::now();
            world.producer.enqueue(vec![job]).await.expect("the job is accepted");
            called.elapsed()
        }));
    }
    let mut accepted = Histogram::new(3).unwrap();
    for sent in sending {
        let took = sent.await.expect("no caller fails").as_micros();
        accepted.record(u64::try_from(took).unwrap().max(1)).unwrap();
    }
    accepted
}

/// How long after their time the jobs started that ran.
pub(crate) fn starts(world: &World) -> Histogram<u64> {
    let mut starts = Histogram::new(3).unwrap();
    for latency in world.seen.latencies() {
        starts.record(latency.max(1)).unwrap();
    }
    starts
}

/// A quantile, in milliseconds.
pub(crate) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}
