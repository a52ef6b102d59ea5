//! How one run of a job ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What becomes of a job after a run. One function decides it: [`decide`](super::decide).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Completed,
    /// The attempt failed; another follows.
    Retry {
        /// When it may run again.
        at: Timestamp,
        /// What went wrong.
        reason: Reason,
    },
    /// Later, at no attempt's cost.
    Snooze {
        /// When it may run again.
        until: Timestamp,
        /// What it waits for.
        why: SnoozeReason,
    },
    /// For a person.
    Dead {
        /// What went wrong.
        reason: Reason,
    },
    /// A person cancelled it.
    Cancelled,
}

impl Outcome {
    /// The outcome's name in records and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retry { .. } => "retry",
            Self::Snooze { .. } => "snooze",
            Self::Dead { .. } => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a run failed, as it is kept and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Where it is filed.
    pub category: Category,
    /// The failure's class, as in [`ErrorClass::as_str`](super::ErrorClass::as_str).
    pub class: String,
    /// Words for a person.
    pub message: String,
}

/// What a snoozed job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnoozeReason {
    /// The platform's rate window.
    RateLimited,
    /// One of our own limits.
    Unavailable,
    /// Another job renews the account's tokens, or that failed and is tried again later.
    TokenRefresh,
    /// The worker is shutting down.
    Drain,
    /// A person must reconnect the account. The job is parked.
    NeedsReauth,
    /// No worker here knows the kind or its version. The job is parked.
    NewerWorker,
}

impl SnoozeReason {
    /// Every reason, for metrics that start at zero.
    pub const ALL: [Self; 6] = [
        Self::RateLimited,
        Self::Unavailable,
        Self::TokenRefresh,
        Self::Drain,
        Self::NeedsReauth,
        Self::NewerWorker,
    ];

    /// The reason's name in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::TokenRefresh => "token_refresh",
            Self::Drain => "drain",
            Self::NeedsReauth => "needs_reauth",
            Self::NewerWorker => "newer_worker",
        }
    }

    /// Whether the job leaves its queue until something outside changes.
    pub const fn parks(self) -> bool {
        matches!(self, Self::NeedsReauth | Self::NewerWorker)
    }
}

/// The heading under which a dead letter is filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Time ran out, every time.
    Timeout,
    /// The account's credentials.
    Auth,
    /// The platform failed.
    PlatformApi,
    /// The platform's limits left no time before the job expired.
    RateLimit,
    /// The request is wrong and stays wrong.
    Invalid,
    /// Perhaps done; only a person can tell.
    UnknownOutcome,
    /// It took its worker down, repeatedly.
    Poison,
    /// Its time passed before it could run.
    Expired,
    /// A job that it waited for did not complete.
    Parent,
    /// Our fault.
    Bug,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Auth,
        Self::PlatformApi,
        Self::RateLimit,
        Self::Invalid,
        Self::UnknownOutcome,
        Self::Poison,
        Self::Expired,
        Self::Parent,
        Self::Bug,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::PlatformApi => "platform_api",
            Self::RateLimit => "rate_limit",
            Self::Invalid => "invalid",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Poison => "poison",
            Self::Expired => "expired",
            Self::Parent => "parent",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no category.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no such category: use timeout, auth, platform_api, rate_limit, invalid, unknown_outcome, \
     poison, expired, parent or bug"
)]
pub struct UnknownCategory;

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(text: &str) -> Result<Self, UnknownCategory> {
        Self::ALL.into_iter().find(|category| category.as_str() == text).ok_or(UnknownCategory)
    }
}
