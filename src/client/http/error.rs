//! What a producer may be told, by what it can do about it.

use std::time::Duration;

use crate::job::FieldError;

/// Why a call over HTTP did not end well. No text here ever holds the API key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address or the key is none: nothing was sent.
    #[error("{0}")]
    Setup(String),
    /// The request is wrong and was not done: mend it, and send it under another key.
    #[error("{}", invalid(.detail, .errors))]
    Invalid {
        /// What is wrong, in words.
        detail: String,
        /// Every wrong field, as in `/args/connector_id`, of a bulk `/jobs/3/args/connector_id`;
        /// none where it is the request as a whole.
        errors: Vec<FieldError>,
    },
    /// The API wants a key, or does not know this one.
    #[error("the API does not know who asks: {0}")]
    Unauthorized(String),
    /// The key's role or tenant may not.
    #[error("the API does not allow it: {0}")]
    Forbidden(String),
    /// There is no such thing, or it is another tenant's.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things are: a job that has ended cannot be cancelled.
    #[error("{0}")]
    Conflict(String),
    /// The API takes no more work, or lacks a store, and surely did nothing.
    #[error("the API is busy, retry in {} s: {cause}", .retry_after.as_secs())]
    Busy {
        /// When to ask again, at the earliest.
        retry_after: Duration,
        /// Which bound was reached.
        cause: String,
    },
    /// This client asks too often; nothing was done.
    #[error("asked too often, retry in {} s: {detail}", .retry_after.as_secs())]
    RateLimited {
        /// When to ask again, at the earliest.
        retry_after: Duration,
        /// Which rate was reached.
        detail: String,
    },
    /// The API cannot be reached, or cannot answer; nothing was done.
    #[error("{0}")]
    Unavailable(String),
    /// Nobody knows whether it was done: a request may have reached the API, and no answer came
    /// back in time.
    #[error("{}", unsure(.key.as_deref(), .why))]
    Unsure {
        /// Of an enqueue: the key to repeat it with, by [`HttpProducer::keyed`](super::HttpProducer::keyed),
        /// for a day, also from another process. Of a cancellation none: it may simply be repeated.
        key: Option<String>,
        /// What the last attempt met.
        #[source]
        why: Box<Self>,
    },
    /// What answers there is no Postworks API.
    #[error("{0}")]
    Protocol(String),
}

impl Error {
    /// Whether it tells of the request as such, and would tell the same of the same request sent
    /// before: then an attempt whose answer got lost was refused as well.
    pub(super) const fn is_about_request(&self) -> bool {
        matches!(self, Self::Invalid { .. })
    }

    /// One wrong field.
    pub(super) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let errors = vec![FieldError::new(field, message)];
        Self::Invalid { detail: "the request is wrong".to_owned(), errors }
    }
}

fn invalid(detail: &str, errors: &[FieldError]) -> String {
    if errors.is_empty() {
        return detail.to_owned();
    }
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn unsure(key: Option<&str>, why: &Error) -> String {
    let words = match key {
        Some(key) => format!(
            "it may have been accepted; the same request under the same key, `keyed({key:?})`, is \
             done once within a day"
        ),
        None => "it may have been done, and may be repeated".to_owned(),
    };
    format!("no answer came in time: {words} (last: {why})")
}
