//! What the worker counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::{Counter, Histogram};
use tokio_util::sync::CancellationToken;

use super::inflight::InFlight;
use super::registry::Registry;
use crate::job::{Category, Kind, Outcome, Queue, SnoozeReason};
use crate::telemetry::metrics::{
    DEAD_LETTERED, JOB_ATTEMPTS, JOB_RETRIES, JOB_RUN, JOB_TOTAL, JOB_WAIT, JOBS_SNOOZED,
    LEASES_LOST, LONGEST_RUN, Metric, OUTCOMES, STALE_SETTLES, WORKER_SLOTS,
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
    retries: HashMap<&'static str, Counter>,
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
            let kind = [spec.kind.as_str()];
            let meter = KindMeter {
                wait: JOB_WAIT.spread(&kind),
                run: JOB_RUN.spread(&kind),
                total: JOB_TOTAL.spread(&kind),
            };
            (spec.kind.clone(), meter)
        });
        Self {
            queues: registry.queues().map(|queue| (queue.clone(), queue_meter(queue))).collect(),
            kinds: kinds.collect(),
            leases_lost: LEASES_LOST.count(&[]),
            stale_settles: STALE_SETTLES.count(&[]),
        }
    }

    /// The attempt of this number ended.
    pub(super) fn attempt(&self, queue: &Queue, number: u32, outcome: &Outcome) {
        let Some(meter) = self.queues.get(queue) else { return };
        if let Some(attempts) = meter.attempts.get(outcome.as_str()) {
            attempts.increment(1);
        }
        if number > 1
            && let Some(retries) = meter.retries.get(outcome.as_str())
        {
            retries.increment(1);
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

/// Counts busy and free slots until `stop`, and times the longest run. Slots of one process' workers
/// add up; the longest run is that of them all.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) async fn watch_slots(
    inflight: Arc<InFlight>,
    concurrency: usize,
    stop: CancellationToken,
) {
    let busy_slots = WORKER_SLOTS.level(&["busy"]);
    let free_slots = WORKER_SLOTS.level(&["free"]);
    let longest = LONGEST_RUN.level(&[]);
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
        longest.set(inflight.longest_run_of_all().as_secs_f64());
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
    let (kind, name) = (queue.kind(), queue.as_str());
    let by_outcome = |metric: Metric| {
        let counter = |outcome| (outcome, metric.count(&[name, kind.as_str(), outcome]));
        OUTCOMES.into_iter().map(counter).collect()
    };
    let dead = |category: Category| {
        (category, DEAD_LETTERED.count(&[name, kind.as_str(), category.as_str()]))
    };
    let snoozed = |why: SnoozeReason| (why, JOBS_SNOOZED.count(&[name, why.as_str()]));
    QueueMeter {
        attempts: by_outcome(JOB_ATTEMPTS),
        retries: by_outcome(JOB_RETRIES),
        dead: Category::ALL.into_iter().map(dead).collect(),
        snoozed: SnoozeReason::ALL.into_iter().map(snoozed).collect(),
    }
}
