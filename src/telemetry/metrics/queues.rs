//! What waits, runs and is dead: read by the collector, for the whole fleet.

use super::{BREAKER, Label, Metric, QUEUE, Writer, words};
use crate::job::Category;

const CATEGORY: Label = Label::words("category", words!(Category));

/// Jobs that wait or run.
pub const QUEUE_JOBS: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_queue_jobs",
    &[QUEUE, Label::words("state", &["ready", "delayed", "running"])],
    "Jobs that wait or run.",
);
/// How long the oldest due job has waited.
pub const QUEUE_OLDEST_READY_AGE: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_queue_oldest_ready_age_seconds",
    &[QUEUE],
    "How long the oldest due job has waited, in seconds.",
);
/// Whether a person has paused the queue.
pub const QUEUE_PAUSED: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_queue_paused",
    &[QUEUE],
    "Whether a person has paused the queue: 0 no, 1 yes.",
);
/// How long a platform's window still shuts the queue.
pub const QUEUE_WINDOW: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_queue_window_seconds",
    &[QUEUE],
    "How long a platform's window still shuts the queue, in seconds; 0 if none does.",
);
/// Workers that serve the queue.
pub const QUEUE_WORKERS: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_queue_workers",
    &[QUEUE],
    "Worker processes that are connected and serve the queue.",
);
/// How often the queue was opened anew.
pub const QUEUE_GENERATION: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_queue_generation",
    &[QUEUE],
    "The queue's generation: one more each time that its broker had lost its memory.",
);
/// A circuit breaker's state.
pub const BREAKER_STATE: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_breaker_state",
    &[BREAKER],
    "A circuit breaker's state: 0 closed, 1 half-open, 2 open.",
);
/// Dead letters.
pub const DLQ_JOBS: Metric =
    Metric::gauge(Writer::Collector, "postworks_dlq_jobs", &[QUEUE, CATEGORY], "Dead letters.");
/// How long the oldest dead letter has been dead.
pub const DLQ_OLDEST_AGE: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_dlq_oldest_age_seconds",
    &[QUEUE, CATEGORY],
    "How long the oldest dead letter has been dead, in seconds; 0 if there is none.",
);
/// How long a job has been missing in the broker.
pub const RELAY_LAG: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_relay_lag_seconds",
    &[],
    "How long the oldest job has been due that should be in the broker and is not, in seconds; 0 \
     if none is missing.",
);
/// How late schedules are.
pub const SCHEDULE_LAG: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_schedule_lag_seconds",
    &[],
    "How long the oldest schedule has been due whose job is not made, in seconds; 0 if there is none.",
);
/// When the collector last read everything.
pub const COLLECTOR_LAST_SUCCESS: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_collector_last_success_timestamp_seconds",
    &[],
    "When the collector last read everything, in seconds since 1970.",
);

pub(super) const ALL: &[Metric] = &[
    QUEUE_JOBS,
    QUEUE_OLDEST_READY_AGE,
    QUEUE_PAUSED,
    QUEUE_WINDOW,
    QUEUE_WORKERS,
    QUEUE_GENERATION,
    BREAKER_STATE,
    DLQ_JOBS,
    DLQ_OLDEST_AGE,
    RELAY_LAG,
    SCHEDULE_LAG,
    COLLECTOR_LAST_SUCCESS,
];
