//! The HTTP API and its callers.

use super::{Label, Metric, Values, Writer};

/// Up to the request timeout, 30 s.
const HTTP_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const METHODS: &[&str] = &["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "other"];
/// What may keep work out.
const BOUNDS: &[&str] = &["depth", "oldest", "redis_memory", "postgres_wait"];
/// The same, and too many requests at once.
const REFUSED_BY: &[&str] = &["depth", "oldest", "redis_memory", "postgres_wait", "in_flight"];

/// How long requests to the API took.
pub const HTTP_REQUEST_DURATION: Metric = Metric::histogram(
    Writer::Api,
    "postworks_http_request_duration_seconds",
    HTTP_BUCKETS,
    &[
        Label::of("route", Values::Routes),
        Label::words("method", METHODS),
        Label::of("status", Values::Statuses),
    ],
    "How long requests to the API took, in seconds.",
);
/// Requests for work that were refused for now.
pub const ADMISSION_REFUSED: Metric = Metric::counter(
    Writer::Api,
    "postworks_admission_refused_total",
    &[Label::words("reason", REFUSED_BY)],
    "Requests for work that were refused for now.",
);
/// Whether a bound keeps work out.
pub const ADMISSION_STATE: Metric = Metric::gauge(
    Writer::Api,
    "postworks_admission_state",
    &[Label::words("reason", BOUNDS)],
    "Whether a bound keeps work out: 0 no, 1 yes, 2 also urgent work.",
);
/// Requests of clients that asked too often.
pub const RATE_LIMITED: Metric = Metric::counter(
    Writer::Api,
    "postworks_rate_limited_total",
    &[],
    "Requests of clients that asked too often.",
);
/// Answers of `/health`: `hit` if one was fresh enough, `miss` if the stores were asked.
pub const HEALTH_CACHE: Metric = Metric::counter(
    Writer::Process,
    "postworks_health_cache_total",
    &[Label::words("result", &["hit", "miss"])],
    "Answers of /health, by whether one was fresh enough.",
);

/// Workers that there should be.
pub const AUTOSCALE_DESIRED_WORKERS: Metric = Metric::gauge(
    Writer::Api,
    "postworks_autoscale_desired_workers",
    &[],
    "Workers that there should be, by [autoscale].",
);
/// Workers that there are.
pub const AUTOSCALE_RUNNING_WORKERS: Metric = Metric::gauge(
    Writer::Api,
    "postworks_autoscale_running_workers",
    &[],
    "Workers that there are.",
);

pub(super) const ALL: &[Metric] = &[
    HTTP_REQUEST_DURATION,
    ADMISSION_REFUSED,
    ADMISSION_STATE,
    RATE_LIMITED,
    HEALTH_CACHE,
    AUTOSCALE_DESIRED_WORKERS,
    AUTOSCALE_RUNNING_WORKERS,
];
