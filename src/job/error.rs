//! What can go wrong with a job, sorted by the one question that matters: may it run again, when,
//! and could it already have happened?

use std::sync::Arc;

use super::redact::redacted;
use super::{Category, SnoozeReason, Timestamp};

/// What a platform's "too many requests" is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RateScope {
    /// One account.
    #[default]
    Account,
    /// Our app: every account of the platform.
    App,
    /// This kind of request, whatever the account.
    Endpoint,
}

/// The class of a failure. The platform client that saw the answer chooses it; nobody guesses
/// again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Surely not applied: the request never left (DNS, refused, no connection free).
    NotSent,
    /// The platform said "later"; nothing was applied.
    Transient,
    /// Perhaps applied: timeout or reset after sending, 5xx on a change.
    Unknown {
        /// Whether sending the same again is harmless, because the platform knows the key.
        repeatable: bool,
    },
    /// Told to wait.
    RateLimited {
        /// Not before this.
        until: Timestamp,
        /// Who has to wait.
        scope: RateScope,
    },
    /// The token was too old, and refreshing it once within the attempt did not help.
    AuthExpired,
    /// A person must reconnect the account.
    AuthRevoked,
    /// Wrong and will stay wrong.
    Invalid,
    /// Its time is over, and it was not done.
    Expired,
    /// Our own limits refused.
    Unavailable {
        /// Not before this.
        until: Timestamp,
    },
    /// Our code is wrong: a panic, undecodable arguments, a broken invariant.
    Bug,
}

impl ErrorClass {
    /// The class's name in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Transient => "transient",
            Self::Unknown { .. } => "unknown",
            Self::RateLimited { .. } => "rate_limited",
            Self::AuthExpired => "auth_expired",
            Self::AuthRevoked => "auth_revoked",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Unavailable { .. } => "unavailable",
            Self::Bug => "bug",
        }
    }

    /// The dead-letter category of a failure of this class that was not a timeout.
    const fn category(self) -> Category {
        match self {
            Self::NotSent | Self::Transient | Self::Unavailable { .. } => Category::PlatformApi,
            Self::Unknown { .. } => Category::UnknownOutcome,
            Self::RateLimited { .. } => Category::RateLimit,
            Self::AuthExpired | Self::AuthRevoked => Category::Auth,
            Self::Invalid => Category::Invalid,
            Self::Expired => Category::Expired,
            Self::Bug => Category::Bug,
        }
    }
}

/// A failed attempt: its class, and words for a person.
///
/// The message is kept in the ledger and shown to operators; it must hold no secret.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    class: ErrorClass,
    category: Category,
    waits_for: SnoozeReason,
    message: String,
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl JobError {
    /// Longest message kept, in bytes.
    pub const MESSAGE_BYTES_MAX: usize = 2_000;

    /// A failure of `class`; what looks like a secret is taken out, an overlong message is cut.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        let mut message = redacted(&message.into());
        if message.len() > Self::MESSAGE_BYTES_MAX {
            let cut = message.floor_char_boundary(Self::MESSAGE_BYTES_MAX);
            message.truncate(cut);
            message.push('…');
        }
        let waits_for = SnoozeReason::Unavailable;
        Self { class, category: class.category(), waits_for, message, source: None }
    }

    /// A failure whose cause was that time ran out.
    pub fn timed_out(class: ErrorClass, message: impl Into<String>) -> Self {
        let category = match class {
            ErrorClass::Unknown { repeatable: false } => Category::UnknownOutcome,
            _ => Category::Timeout,
        };
        Self { category, ..Self::new(class, message) }
    }

    /// The same failure with its cause.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same failure, and what the job waits for if its class is
    /// [`Unavailable`](ErrorClass::Unavailable). Unless this says so, one of our own limits.
    #[must_use]
    pub fn waiting_for(mut self, what: SnoozeReason) -> Self {
        self.waits_for = what;
        self
    }

    /// What the job waits for if the class is [`Unavailable`](ErrorClass::Unavailable).
    pub fn waits_for(&self) -> SnoozeReason {
        self.waits_for
    }

    /// The failure's class.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// Where a dead letter of this failure is filed.
    pub fn category(&self) -> Category {
        self.category
    }

    /// The message and, after it, the chain of causes.
    pub fn chain(&self) -> String {
        use std::error::Error as _;
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        let mut text = redacted(&text);
        text.truncate(text.floor_char_boundary(Self::MESSAGE_BYTES_MAX));
        text
    }
}
