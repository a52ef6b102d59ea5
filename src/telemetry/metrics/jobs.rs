//! What becomes of jobs.

use super::{BREAKER, KIND, Label, Metric, QUEUE, Writer, words};
use crate::broker::Position;
use crate::job::{Category, SnoozeReason};

/// What [`Outcome::as_str`](crate::job::Outcome::as_str) can say.
pub(crate) const OUTCOMES: [&str; 5] = ["completed", "retry", "snooze", "dead", "cancelled"];

const OUTCOME: Label = Label::words("outcome", &OUTCOMES);

/// From a wake-up of a few milliseconds to a backlog of hours.
const WAIT_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// From an empty handler to the longest default timeout, 300 s.
const RUN_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// A job that was put off for a day is still told from one that took an hour.
const TOTAL_BUCKETS: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0];

/// Jobs recorded.
pub const JOBS_ENQUEUED: Metric = Metric::counter(
    Writer::Process,
    "postworks_jobs_enqueued_total",
    &[QUEUE, KIND],
    "Jobs recorded.",
);
/// Runs that ended.
pub const JOB_ATTEMPTS: Metric = Metric::counter(
    Writer::Worker,
    "postworks_job_attempts_total",
    &[QUEUE, KIND, OUTCOME],
    "Runs that ended.",
);
/// Runs that ended and were not their job's first.
pub const JOB_RETRIES: Metric = Metric::counter(
    Writer::Worker,
    "postworks_job_retries_total",
    &[QUEUE, KIND, OUTCOME],
    "Runs that ended and were not their job's first attempt.",
);
/// Jobs that went to a person.
pub const DEAD_LETTERED: Metric = Metric::counter(
    Writer::Worker,
    "postworks_dead_lettered_total",
    &[QUEUE, KIND, Label::words("category", words!(Category))],
    "Jobs that went to a person.",
);
/// Runs put off at no attempt's cost.
pub const JOBS_SNOOZED: Metric = Metric::counter(
    Writer::Worker,
    "postworks_jobs_snoozed_total",
    &[QUEUE, Label::words("reason", words!(SnoozeReason))],
    "Runs put off at no attempt's cost.",
);
/// Jobs taken back from workers that vanished.
pub const JOBS_RECLAIMED: Metric = Metric::counter(
    Writer::Process,
    "postworks_jobs_reclaimed_total",
    &[],
    "Jobs taken back from workers that vanished.",
);
/// Leases this process lost while its handler ran.
pub const LEASES_LOST: Metric = Metric::counter(
    Writer::Worker,
    "postworks_leases_lost_total",
    &[],
    "Leases lost while the handler ran.",
);
/// Outcomes that did not count, because the job was somebody else's by then.
pub const STALE_SETTLES: Metric = Metric::counter(
    Writer::Worker,
    "postworks_stale_settles_total",
    &[],
    "Outcomes that did not count: the job was another claim's by then.",
);
/// Jobs that the broker should have held and did not.
pub const RELAY_PUSHED: Metric = Metric::counter(
    Writer::Process,
    "postworks_relay_pushed_total",
    &[],
    "Jobs that the relay pushed, since the broker did not hold them.",
);
/// Changes of a circuit breaker, with the state it went to.
pub const BREAKER_TRANSITIONS: Metric = Metric::counter(
    Writer::Process,
    "postworks_breaker_transitions_total",
    &[BREAKER, Label::words("to", words!(Position))],
    "Changes of a circuit breaker.",
);
/// What operators did with dead letters.
pub const DLQ_ACTIONS: Metric = Metric::counter(
    Writer::Process,
    "postworks_dlq_actions_total",
    &[Label::words("action", &["retry", "discard", "export"])],
    "Dead letters that operators put back, discarded or exported through this process.",
);
/// From when a job was due to when it started.
pub const JOB_WAIT: Metric = Metric::histogram(
    Writer::Worker,
    "postworks_job_wait_seconds",
    WAIT_BUCKETS,
    &[KIND],
    "From when a job was due to when it started, in seconds.",
);
/// How long a run took.
pub const JOB_RUN: Metric = Metric::histogram(
    Writer::Worker,
    "postworks_job_run_seconds",
    RUN_BUCKETS,
    &[KIND],
    "How long a run took, in seconds.",
);
/// From when a job was enqueued to when it ended.
pub const JOB_TOTAL: Metric = Metric::histogram(
    Writer::Worker,
    "postworks_job_total_seconds",
    TOTAL_BUCKETS,
    &[KIND],
    "From when a job was enqueued to when it ended, in seconds.",
);

pub(super) const ALL: &[Metric] = &[
    JOBS_ENQUEUED,
    JOB_ATTEMPTS,
    JOB_RETRIES,
    DEAD_LETTERED,
    JOBS_SNOOZED,
    JOBS_RECLAIMED,
    LEASES_LOST,
    STALE_SETTLES,
    RELAY_PUSHED,
    BREAKER_TRANSITIONS,
    DLQ_ACTIONS,
    JOB_WAIT,
    JOB_RUN,
    JOB_TOTAL,
];
