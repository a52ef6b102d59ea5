//! Why somebody is not let in.

use std::time::Duration;

use postworks::job::FieldError;
use postworks_workers::store;

use crate::app;

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was sent proves nothing: wrong, old, revoked or nothing we know.
    #[error("{0}")]
    Refused(&'static str),
    /// Too many wrong passwords for this account.
    #[error("too many wrong passwords for this account")]
    TooMany {
        /// When the next attempt is heard.
        wait: Duration,
    },
    /// So many passwords are being checked that this one would wait too long.
    #[error("too many logins are under way")]
    Busy,
    /// What was sent has no proper form.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// The tables or keys that it takes are not there.
    #[error(transparent)]
    App(#[from] app::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::App(error.into())
    }
}

impl Error {
    /// One wrong field.
    pub(super) fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }
}
