//! What a failure of our own rows means for the job that met it.

use std::time::Duration;

use postworks::job::{ErrorClass, JobError, Timestamp};
use postworks::ledger;

use super::Error;
use crate::secrets::SealError;

/// A database that was gone is asked again after this.
const DATABASE_WAIT: Duration = Duration::from_secs(2);
/// A job whose account's key is missing here may meet a worker that has it, or one that was
/// started again with it.
const KEY_WAIT: Duration = Duration::from_secs(30);

impl Error {
    /// The failure as a job's. Our own outage burns no attempts and is no platform's fault.
    pub fn into_job_error(self, now: Timestamp) -> JobError {
        let class = match &self {
            Self::Database(ledger::Error::Protocol(_)) | Self::Corrupt(_) => ErrorClass::Bug,
            Self::Database(_) => ErrorClass::Unavailable { until: now.after(DATABASE_WAIT) },
            Self::Sealed { source: SealError::Unproved, .. } => {
                ErrorClass::Unavailable { until: now.after(DATABASE_WAIT) }
            }
            Self::Sealed { source: SealError::MissingKey(_) | SealError::NoKeys, .. } => {
                ErrorClass::Unavailable { until: now.after(KEY_WAIT) }
            }
            Self::Sealed { .. } => ErrorClass::Bug,
            Self::Fields(_) => ErrorClass::Invalid,
        };
        JobError::new(class, "our own records").because(self)
    }
}
