//! Every metric: its name, what it means, and the buckets of the histograms.
//!
//! Labels come from closed sets only, never an account or a job. Nothing else in the workspace
//! spells a metric's name.

use std::collections::BTreeMap;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram};

use crate::broker::Position;
use crate::job::{Category, Kind, NewJob, Queue, SnoozeReason};

/// Jobs recorded, by `queue` and `kind`.
pub const JOBS_ENQUEUED: &str = "postworks_jobs_enqueued_total";
/// Runs that ended, by `queue`, `kind` and `outcome`.
pub const JOB_ATTEMPTS: &str = "postworks_job_attempts_total";
/// Jobs that went to a person, by `queue`, `kind` and `category`.
pub const DEAD_LETTERED: &str = "postworks_dead_lettered_total";
/// Runs put off at no attempt's cost, by `queue` and `reason`.
pub const JOBS_SNOOZED: &str = "postworks_jobs_snoozed_total";
/// Jobs taken back from workers that vanished.
pub const JOBS_RECLAIMED: &str = "postworks_jobs_reclaimed_total";
/// Leases this process lost while its handler ran.
pub const LEASES_LOST: &str = "postworks_leases_lost_total";
/// Outcomes that did not count, because the job was somebody else's by then.
pub const STALE_SETTLES: &str = "postworks_stale_settles_total";
/// Changes of a circuit breaker, by `breaker` and the state it went `to`.
pub const BREAKER_TRANSITIONS: &str = "postworks_breaker_transitions_total";
/// Jobs in the broker, by `queue` and `state`.
pub const QUEUE_JOBS: &str = "postworks_queue_jobs";
/// How long the oldest due job has waited, by `queue`.
pub const QUEUE_OLDEST_READY_AGE: &str = "postworks_queue_oldest_ready_age_seconds";
/// Dead letters, by `queue` and `category`.
pub const DLQ_JOBS: &str = "postworks_dlq_jobs";
/// A circuit breaker's state, by `breaker`: 0 closed, 1 half-open, 2 open.
pub const BREAKER_STATE: &str = "postworks_breaker_state";
/// Slots of this worker, by `state`: busy or free.
pub const WORKER_SLOTS: &str = "postworks_worker_slots";
/// From when a job was due to when it started, by `kind`.
pub const JOB_WAIT: &str = "postworks_job_wait_seconds";
/// How long a run took, by `kind`.
pub const JOB_RUN: &str = "postworks_job_run_seconds";
/// From when a job was enqueued to when it ended, by `kind`.
pub const JOB_TOTAL: &str = "postworks_job_total_seconds";
/// How long requests to the API took, by `route`, `method` and `status`.
pub const HTTP_REQUEST_DURATION: &str = "postworks_http_request_duration_seconds";
/// Requests for work that were refused for now, by `reason`.
pub const ADMISSION_REFUSED: &str = "postworks_admission_refused_total";
/// Whether a bound keeps work out, by `reason`: 0 no, 1 yes, 2 also urgent work.
pub const ADMISSION_STATE: &str = "postworks_admission_state";
/// Workers that there should be.
pub const AUTOSCALE_DESIRED_WORKERS: &str = "postworks_autoscale_desired_workers";
/// Workers that there are.
pub const AUTOSCALE_RUNNING_WORKERS: &str = "postworks_autoscale_running_workers";
/// Requests of clients that asked too often.
pub const RATE_LIMITED: &str = "postworks_rate_limited_total";
/// Answers of `/health`, by `result`: `hit` if one was fresh enough, `miss` if the stores were asked.
pub const HEALTH_CACHE: &str = "postworks_health_cache_total";

const COUNTERS: [(&str, &str); 11] = [
    (JOBS_ENQUEUED, "Jobs recorded."),
    (JOB_ATTEMPTS, "Runs that ended."),
    (DEAD_LETTERED, "Jobs that went to a person."),
    (JOBS_SNOOZED, "Runs put off at no attempt's cost."),
    (JOBS_RECLAIMED, "Jobs taken back from workers that vanished."),
    (LEASES_LOST, "Leases lost while the handler ran."),
    (STALE_SETTLES, "Outcomes that did not count: the job was another claim's by then."),
    (BREAKER_TRANSITIONS, "Changes of a circuit breaker."),
    (ADMISSION_REFUSED, "Requests for work that were refused for now."),
    (RATE_LIMITED, "Requests of clients that asked too often."),
    (HEALTH_CACHE, "Answers of /health, by whether one was fresh enough."),
];

const GAUGES: [(&str, &str); 8] = [
    (QUEUE_JOBS, "Jobs in the broker."),
    (QUEUE_OLDEST_READY_AGE, "How long the oldest due job has waited, in seconds."),
    (DLQ_JOBS, "Dead letters."),
    (BREAKER_STATE, "A circuit breaker's state: 0 closed, 1 half-open, 2 open."),
    (WORKER_SLOTS, "Slots of this worker."),
    (AUTOSCALE_DESIRED_WORKERS, "Workers that there should be, by [autoscale]."),
    (AUTOSCALE_RUNNING_WORKERS, "Workers that there are."),
    (ADMISSION_STATE, "Whether a bound keeps work out: 0 no, 1 yes, 2 also urgent work."),
];

const HISTOGRAMS: [(&str, &str); 4] = [
    (JOB_WAIT, "From when a job was due to when it started, in seconds."),
    (JOB_RUN, "How long a run took, in seconds."),
    (JOB_TOTAL, "From when a job was enqueued to when it ended, in seconds."),
    (HTTP_REQUEST_DURATION, "How long requests to the API took, in seconds."),
];

/// What [`Outcome::as_str`](crate::job::Outcome::as_str) can say.
pub(crate) const OUTCOMES: [&str; 5] = ["completed", "retry", "snooze", "dead", "cancelled"];

/// From a wake-up of a few milliseconds to a backlog of hours.
const WAIT_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// From an empty handler to the longest default timeout, 300 s.
const RUN_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// A job that was put off for a day is still told from one that took an hour.
const TOTAL_BUCKETS: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0];
/// Up to the request timeout, 30 s.
const HTTP_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The buckets of every histogram, by name.
pub const BUCKETS: [(&str, &[f64]); 4] = [
    (JOB_WAIT, WAIT_BUCKETS),
    (JOB_RUN, RUN_BUCKETS),
    (JOB_TOTAL, TOTAL_BUCKETS),
    (HTTP_REQUEST_DURATION, HTTP_BUCKETS),
];

/// Tells the installed recorder what each metric means.
pub fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(name, text);
    }
    for (name, text) in GAUGES {
        describe_gauge!(name, text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(name, text);
    }
}

/// Starts the counters at zero, so that a first failure is a rise and not a series' birth.
pub fn start_at_zero(queues: &[(Queue, Kind)]) {
    for name in [JOBS_RECLAIMED, LEASES_LOST, STALE_SETTLES] {
        counter!(name).absolute(0);
    }
    for (queue, kind) in queues {
        let (queue, kind) = (queue.to_string(), kind.to_string());
        counter!(JOBS_ENQUEUED, "queue" => queue.clone(), "kind" => kind.clone()).absolute(0);
        for position in Position::ALL {
            counter!(BREAKER_TRANSITIONS, "breaker" => queue.clone(), "to" => position.as_str())
                .absolute(0);
        }
        for outcome in OUTCOMES {
            counter!(JOB_ATTEMPTS, "queue" => queue.clone(), "kind" => kind.clone(),
                "outcome" => outcome)
            .absolute(0);
        }
        for category in Category::ALL {
            counter!(DEAD_LETTERED, "queue" => queue.clone(), "kind" => kind.clone(),
                "category" => category.as_str())
            .absolute(0);
        }
        for reason in SnoozeReason::ALL {
            counter!(JOBS_SNOOZED, "queue" => queue.clone(), "reason" => reason.as_str())
                .absolute(0);
        }
    }
}

/// Counts jobs that were recorded.
pub(crate) fn count_enqueued(jobs: &[NewJob]) {
    let mut counts: BTreeMap<(&Queue, &Kind), u64> = BTreeMap::new();
    for job in jobs {
        *counts.entry((&job.queue, &job.kind)).or_default() += 1;
    }
    for ((queue, kind), count) in counts {
        let labels = [("queue", queue.to_string()), ("kind", kind.to_string())];
        counter!(JOBS_ENQUEUED, &labels).increment(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_prefix_and_the_ending_of_its_type() {
        for (name, _) in COUNTERS {
            assert!(name.starts_with("postworks_") && name.ends_with("_total"), "{name}");
        }
        for (name, _) in GAUGES {
            assert!(name.starts_with("postworks_") && !name.ends_with("_total"), "{name}");
        }
        for (name, _) in HISTOGRAMS {
            assert!(name.starts_with("postworks_") && name.ends_with("_seconds"), "{name}");
            assert!(BUCKETS.iter().any(|(other, _)| *other == name), "{name} has no buckets");
        }
        for (name, buckets) in BUCKETS {
            assert!(buckets.is_sorted(), "{name}");
        }
    }
}
