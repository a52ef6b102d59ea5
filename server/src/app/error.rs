//! Why the application said no, in terms that HTTP statuses and exit codes follow from.

use postworks::chore::DepthError;
use postworks::job::{FieldError, InvalidRequest};
use postworks::{broker, client, ledger};
use postworks_workers::secrets::SealError;
use postworks_workers::store;

/// Why the application said no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong; every fault found.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Who asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
    /// A platform did not answer, or not as it should: what was asked of it is to be begun anew.
    #[error("{0}")]
    Platform(String),
    /// A server we need is not there. Trying later helps.
    #[error("{what} is unavailable")]
    Unavailable {
        /// The server.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The ledger's answer got lost: what was asked was done or not.
    #[error("the ledger's answer got lost; what was asked may have been done")]
    Unsure(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This installation is not set up for it: tables or keys are missing.
    #[error("{0}")]
    NotSetUp(String),
    /// Our fault.
    #[error("something is broken in the server")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// One wrong field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }
}

impl From<ledger::Error> for Error {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::Unavailable(_) | ledger::Error::Refused(_) => {
                Self::Unavailable { what: "the ledger", source: Box::new(error) }
            }
            ledger::Error::Unsure(_) => Self::Unsure(Box::new(error)),
            ledger::Error::Parents(unfit) => Self::Invalid(
                unfit.iter().map(|one| FieldError::new("/after", one.words())).collect(),
            ),
            ledger::Error::Locked(_) => Self::Conflict(error.to_string()),
            ledger::Error::Migrations(_) => Self::NotSetUp(error.to_string()),
            ledger::Error::Url(_) | ledger::Error::Protocol(_) => Self::Broken(Box::new(error)),
        }
    }
}

impl From<broker::Error> for Error {
    fn from(error: broker::Error) -> Self {
        match error {
            broker::Error::Unavailable(_)
            | broker::Error::NodeAway(_)
            | broker::Error::Refused(_)
            | broker::Error::NeedsGeneration { .. } => {
                Self::Unavailable { what: "the broker", source: Box::new(error) }
            }
            broker::Error::Protocol(_) => Self::Broken(Box::new(error)),
        }
    }
}

impl From<DepthError> for Error {
    fn from(error: DepthError) -> Self {
        match error {
            DepthError::Broker(error) => error.into(),
            DepthError::Ledger(error) => error.into(),
        }
    }
}

impl From<client::Error> for Error {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Invalid(InvalidRequest(faults)) => Self::Invalid(faults),
            client::Error::Ledger(error) => error.into(),
            client::Error::Broker(error) => error.into(),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Fields(faults) => Self::Invalid(faults),
            store::Error::Database(error) => error.into(),
            store::Error::Sealed { source: source @ SealError::NoKeys, .. } => {
                Self::NotSetUp(source.to_string())
            }
            error @ store::Error::Sealed { source: SealError::Unproved, .. } => {
                Self::Unavailable { what: "the ledger", source: Box::new(error) }
            }
            error => Self::Broken(Box::new(error)),
        }
    }
}
