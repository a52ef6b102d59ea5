//! Redis and PostgreSQL as this process meets them, and Redis itself.

use super::{Label, Metric, Writer, words};
use crate::broker::Operation;
use crate::job::CleanupScope;
use crate::ledger::Class;

/// From a local round trip to the longest wait for an answer.
const BROKER_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
/// From a look at one row to a sweep over a backlog.
const QUERY_BUCKETS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From a free connection to giving up.
const ACQUIRE_BUCKETS: &[f64] =
    &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0];

const OPERATION: Label = Label::words("operation", words!(Operation));
const CLASS: Label = Label::words("class", words!(Class));

/// How long calls to Redis took.
pub const BROKER_OPERATION: Metric = Metric::histogram(
    Writer::Process,
    "postworks_broker_operation_seconds",
    BROKER_BUCKETS,
    &[OPERATION],
    "How long calls to Redis took, one a batch, in seconds.",
);
/// Calls to Redis that failed.
pub const BROKER_ERRORS: Metric = Metric::counter(
    Writer::Process,
    "postworks_broker_errors_total",
    &[OPERATION],
    "Calls to Redis that failed.",
);
/// How long calls of the ledger took.
pub const DB_QUERY: Metric = Metric::histogram(
    Writer::Process,
    "postworks_db_query_seconds",
    QUERY_BUCKETS,
    &[CLASS],
    "How long calls of the ledger took, one a batch, with the wait for a connection, in seconds.",
);
/// Calls of the ledger that failed.
pub const DB_ERRORS: Metric = Metric::counter(
    Writer::Process,
    "postworks_db_errors_total",
    &[CLASS],
    "Calls of the ledger that failed.",
);
/// How long connections to PostgreSQL were waited for.
pub const DB_ACQUIRE: Metric = Metric::histogram(
    Writer::Process,
    "postworks_db_acquire_seconds",
    ACQUIRE_BUCKETS,
    &[],
    "How long a connection to PostgreSQL was waited for, in seconds.",
);
/// Connections to PostgreSQL that are open.
pub const DB_POOL_CONNECTIONS: Metric = Metric::gauge(
    Writer::Process,
    "postworks_db_pool_connections",
    &[Label::words("state", &["idle", "busy"])],
    "Connections to PostgreSQL that are open.",
);
/// Most connections to PostgreSQL.
pub const DB_POOL_MAX: Metric = Metric::gauge(
    Writer::Process,
    "postworks_db_pool_max",
    &[],
    "Most connections to PostgreSQL that this process opens.",
);
/// Rows that cleanups deleted.
pub const CLEANUP_ROWS: Metric = Metric::counter(
    Writer::Worker,
    "postworks_cleanup_rows_total",
    &[Label::words("scope", words!(CleanupScope))],
    "Rows that cleanups deleted, with dropped partitions or one by one.",
);
/// Memory of Redis.
pub const REDIS_MEMORY: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_redis_memory_bytes",
    &[Label::words("kind", &["used", "rss", "max"])],
    "Memory of Redis: used by its data, taken from the system, and allowed; no max is no limit. Of a Cluster, the fullest node's.",
);
/// How much more memory Redis takes than it uses.
pub const REDIS_FRAGMENTATION: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_redis_fragmentation_ratio",
    &[],
    "Memory that Redis takes from the system, divided by what its data use.",
);
/// Connections that Redis has.
pub const REDIS_CLIENTS: Metric = Metric::gauge(
    Writer::Collector,
    "postworks_redis_connected_clients",
    &[],
    "Connections that Redis has.",
);
/// Keys that Redis threw out.
pub const REDIS_EVICTED: Metric = Metric::counter(
    Writer::Collector,
    "postworks_redis_evicted_keys_total",
    &[],
    "Keys that Redis threw out for want of memory, since it was started.",
);

pub(super) const ALL: &[Metric] = &[
    BROKER_OPERATION,
    BROKER_ERRORS,
    DB_QUERY,
    DB_ERRORS,
    DB_ACQUIRE,
    DB_POOL_CONNECTIONS,
    DB_POOL_MAX,
    CLEANUP_ROWS,
    REDIS_MEMORY,
    REDIS_FRAGMENTATION,
    REDIS_CLIENTS,
    REDIS_EVICTED,
];
