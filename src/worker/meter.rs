//! What the worker counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Histogram, counter, gauge, histogram};
use tokio_util::sync::CancellationToken;

use super::inflight::InFlight;
use super::registry::Registry;
use crate::job::{Category, Kind, Outcome, Queue, SnoozeReason};
use crate::telemetry::metrics::{
    DEAD_LETTERED, JOB_ATTEMPTS, JOB_RUN, JOB_TOTAL, JOB_WAIT, JOBS_SNOOZED, LEASES_LOST, OUTCOMES,
    STALE_SETTLES, WORKER_SLOTS,
};

/// The worker's metrics, looked up once: a name and its labels are not hashed for every job.
pub(super) struct Meter {
    queues: HashMap<Queue, QueueMeter>,
    kinds: HashMap<Kind, KindMeter>,
    leases_lost: Counter,
    stale_settles: Counter,
}

struct QueueMeter {
    attempts: HashMap<&'static str, Counter>,
    dead: HashMap<Category, Counter>,
    snoozed: HashMap<SnoozeReason, Counter>,
}

struct KindMeter {
    wait: Histogram,
    run: Histogram,
    total: Histogram,
}

impl Meter {
    /// The metrics of every queue and kind, all starting at zero.
    pub(super) fn new(registry: &Registry) -> Self {
        let kinds = registry.catalog().iter().map(|spec| {
            let kind = spec.kind.to_string();
            let meter = KindMeter {
                wait: histogram!(JOB_WAIT, "kind" => kind.clone()),
                run: histogram!(JOB_RUN, "kind" => kind.clone()),
                total: histogram!(JOB_TOTAL, "kind" => kind),
            };
            (spec.kind.clone(), meter)
        });
        Self {
            queues: registry.queues().map(|queue| (queue.clone(), queue_meter(queue))).collect(),
            kinds: kinds.collect(),
            leases_lost: counter!(LEASES_LOST),
            stale_settles: counter!(STALE_SETTLES),
        }
    }

    /// An attempt ended.
    pub(super) fn attempt(&self, queue: &Queue, outcome: &Outcome) {
        let Some(meter) = self.queues.get(queue) else { return };
        if let Some(attempts) = meter.attempts.get(outcome.as_str()) {
            attempts.increment(1);
        }
        if let Outcome::Snooze { why, .. } = outcome
            && let Some(snoozed) = meter.snoozed.get(why)
        {
            snoozed.increment(1);
        }
    }

    /// A job was recorded as dead, whether it ran or not.
    pub(super) fn dead(&self, queue: &Queue, category: Category) {
        if let Some(dead) = self.queues.get(queue).and_then(|meter| meter.dead.get(&category)) {
            dead.increment(1);
        }
    }

    /// How long a job waited after it was due, and how long its handler ran.
    pub(super) fn times(&self, kind: &Kind, wait: Duration, run: Duration) {
        if let Some(meter) = self.kinds.get(kind) {
            meter.wait.record(wait.as_secs_f64());
            meter.run.record(run.as_secs_f64());
        }
    }

    /// A job ended, so long after it was enqueued.
    pub(super) fn total(&self, kind: &Kind, total: Duration) {
        if let Some(meter) = self.kinds.get(kind) {
            meter.total.record(total.as_secs_f64());
        }
    }

    pub(super) fn leases_lost(&self, count: usize) {
        self.leases_lost.increment(count as u64);
    }

    pub(super) fn stale_settle(&self) {
        self.stale_settles.increment(1);
    }
}

/// How often the slots are counted.
const SLOTS_EVERY: Duration = Duration::from_secs(1);

/// Counts busy and free slots until `stop`. Workers of one process add up.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) async fn watch_slots(
    inflight: Arc<InFlight>,
    concurrency: usize,
    stop: CancellationToken,
) {
    let busy_slots = gauge!(WORKER_SLOTS, "state" => "busy");
    let free_slots = gauge!(WORKER_SLOTS, "state" => "free");
    free_slots.increment(concurrency as f64);
    let mut counted = 0;
    loop {
        let stopped = stop.is_cancelled();
        let running = inflight.active().saturating_sub(inflight.buffered());
        let busy = if stopped { 0 } else { running.min(concurrency) };
        let change = busy as f64 - counted as f64;
        busy_slots.increment(change);
        free_slots.decrement(change);
        counted = busy;
        if stopped {
            free_slots.decrement(concurrency as f64);
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(SLOTS_EVERY) => {}
        }
    }
}

fn queue_meter(queue: &Queue) -> QueueMeter {
    let kind = queue.as_str().split('.').next().unwrap_or_default().to_owned();
    let name = queue.to_string();
    QueueMeter {
        attempts: OUTCOMES
            .into_iter()
            .map(|outcome| {
                let counter = counter!(
                    JOB_ATTEMPTS,
                    "queue" => name.clone(), "kind" => kind.clone(), "outcome" => outcome
                );
                (outcome, counter)
            })
            .collect(),
        dead: Category::ALL
            .into_iter()
            .map(|category| {
                let counter = counter!(
                    DEAD_LETTERED,
                    "queue" => name.clone(), "kind" => kind.clone(),
                    "category" => category.as_str()
                );
                (category, counter)
            })
            .collect(),
        snoozed: SnoozeReason::ALL
            .into_iter()
            .map(|why| {
                let counter = counter!(
                    JOBS_SNOOZED,
                    "queue" => name.clone(), "reason" => why.as_str()
                );
                (why, counter)
            })
            .collect(),
    }
}
