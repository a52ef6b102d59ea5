//! A job that may take its worker down, for the worker that runs it and the tests that watch.

use std::time::Duration;

use postworks::job::{Job, RetryPolicy};
use serde::{Deserialize, Serialize};

/// What a job does to its worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Deed {
    /// Nothing, for so many milliseconds.
    Rest(u64),
    /// Takes a rest first, so that others are under way, and overflows the stack then.
    OverflowTheStack(u64),
    /// Blocks its thread and never lets go.
    BlockTheThread,
}

impl Job for Deed {
    const KIND: &'static str = "deed";
    const TIMEOUT: Duration = Duration::from_secs(30);
    const RETRY: RetryPolicy = RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(5),
        max_attempts: 3,
    };
}
