//! The words and the decisions: what a job is, what can happen to it, when it runs again.
//!
//! Everything here is pure: no IO, no clock, no randomness of its own. Time and jitter are
//! passed in.

mod catalog;
mod envelope;
mod error;
pub mod family;
mod field;
mod hold;
mod id;
mod kinds;
mod name;
mod outcome;
mod quota;
mod redact;
mod request;
mod retry;
pub mod schedule;
mod spec;
mod state;
mod stored;
mod tenant;
mod time;
mod trace;
mod turn;
mod unique;

pub use catalog::{Catalog, CatalogError};
pub use envelope::{DecodeError, ENVELOPE_BYTES_MAX, Envelope};
pub use error::{ErrorClass, JobError, RateScope};
pub use field::{FieldError, did_you_mean};
pub use hold::Hold;
pub use id::{IdSource, JobId, Token, WorkerId};
pub use kinds::{
    CleanupScope, ConnectorSync, DataCleanup, PostPublication, SyncStream, TokenRefresh,
};
pub use name::{InvalidName, Kind, Queue, QueuePattern};
pub use outcome::{Category, Outcome, Reason, SnoozeReason};
pub use quota::{Flow, InvalidQuota, Quota, RESERVE_PERCENT_MAX};
pub use request::{
    AHEAD_MAX, InvalidRequest, MAX_ATTEMPTS_MAX, NewJob, PRIORITY_S_MAX, Request, RequestPolicy,
    UNIQUE_KEY_BYTES_MAX,
};
pub use retry::{Attempt, RetryPolicy, decide};
pub(crate) use spec::decode_args;
pub use spec::{Durability, Job, KindSpec};
pub use state::State;
pub use tenant::Tenant;
pub use time::{InvalidTimestamp, Timestamp};
pub use trace::{InvalidTraceParent, TraceParent};
pub use turn::Turn;
pub(crate) use turn::{due_ms, place_ms};
pub use unique::{
    DEBOUNCE_MAX, DEBOUNCE_MIN, Edit, UNIQUE_FOR_MAX, UNIQUE_FOR_MIN, UniqueUntil, Uniqueness,
};
