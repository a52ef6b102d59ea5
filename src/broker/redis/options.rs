//! How to reach Redis, and as whom.

use std::fmt;
use std::sync::Arc;

use crate::broker::WINDOW;
use crate::job::WorkerId;

/// How to reach Redis, and as whom.
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) worker: WorkerId,
    pub(super) window: usize,
    pub(super) skew_ms: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl RedisOptions {
    /// What every key starts with unless told otherwise.
    pub const PREFIX: &str = "postworks";

    /// Options for `url`: `redis://[user:password@]host[:port][/db]`, `unix:///path`, or one of
    /// sentinels or of a Cluster, as [`RedisAddress`](super::RedisAddress) reads it. Every connection is named after `worker`, so that others see whether it is alive.
    pub fn new(url: impl Into<String>, worker: WorkerId) -> Self {
        Self {
            url: url.into(),
            prefix: Self::PREFIX.to_owned(),
            worker,
            window: WINDOW,
            skew_ms: Arc::new(|| 0),
        }
    }

    /// Starts every key with `prefix`: 1 to 60 of letters, digits and `_-.:`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Lets so many jobs wait in each queue's window; the rest waits in the ledger. Best the same
    /// for every process: the smallest counts.
    #[must_use]
    pub fn with_window(mut self, jobs: usize) -> Self {
        self.window = jobs;
        self
    }

    /// Adds `skew_ms()` milliseconds to the time that Redis tells. For tests, which move time.
    #[must_use]
    pub fn with_skew(mut self, skew_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        self.skew_ms = Arc::new(skew_ms);
        self
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}
