//! A job as the broker holds it.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Durability, Edit, JobId, Kind, NewJob, Tenant, Timestamp, TraceParent, stored};

/// Longest envelope that is written or read: the API's 64 KiB of arguments and room for the rest.
pub const ENVELOPE_BYTES_MAX: usize = 96 * 1024;

/// A job as the broker holds it. The ledger's row is the record; this is enough to run it.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// The version of its arguments.
    pub kind_version: u16,
    /// Its arguments, as they came.
    pub args: Box<RawValue>,
    /// Attempts that have failed so far.
    pub failed_attempts: u32,
    /// Attempts in all.
    pub max_attempts: u32,
    /// Head start over jobs that became ready at the same time, in seconds.
    pub priority_s: u32,
    /// When it may run.
    pub run_at: Timestamp,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// It is of no use after this.
    pub expires_at: Timestamp,
    /// Where it is recorded.
    pub durability: Durability,
    /// The account whose jobs wait together.
    pub account: Option<Uuid>,
    /// Whose it is.
    pub tenant: Tenant,
    /// The trace of whoever enqueued it.
    pub trace: Option<TraceParent>,
    /// Every run of it begins with a stamp in the ledger, which frees its unique key
    /// ([`Uniqueness::ends_at_start`](super::Uniqueness::ends_at_start)) and knows its latest arguments.
    pub stamped_first: bool,
}

/// Bytes that hold no envelope this program can read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Too long to look at.
    #[error("envelope of {0} bytes; the most is {ENVELOPE_BYTES_MAX}")]
    TooLong(usize),
    /// No envelope at all.
    #[error("no envelope")]
    Malformed(#[from] serde_json::Error),
    /// A format of a newer program.
    #[error("envelope format {0} is newer than this program")]
    Newer(u64),
}

impl Envelope {
    /// The envelope of a job that was just recorded.
    ///
    /// # Errors
    /// The arguments are no JSON.
    pub fn of(job: &NewJob) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: job.id,
            kind: job.kind.clone(),
            kind_version: job.kind_version,
            args: RawValue::from_string(job.args.clone())?,
            failed_attempts: job.failed_attempts,
            max_attempts: job.max_attempts,
            priority_s: job.priority_s,
            run_at: job.run_at,
            created_at: job.created_at,
            expires_at: job.expires_at,
            durability: job.durability,
            account: job.account,
            tenant: job.tenant,
            trace: job.trace,
            stamped_first: job.uniqueness.ends_at_start(),
        })
    }

    /// The envelope as it is stored.
    pub fn encode(&self) -> String {
        // What is written is text: JSON of plain names.
        String::from_utf8(self.encode_after(String::new())).unwrap_or_default()
    }

    /// The envelope as it is stored, behind what stands before it there.
    pub(crate) fn encode_after(&self, header: String) -> Vec<u8> {
        stored::write(self, header)
    }

    /// Reads the stored envelope of a job.
    ///
    /// # Errors
    /// See [`DecodeError`]; another job's envelope is malformed.
    pub fn decode(id: JobId, bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        stored::read(id, bytes)
    }

    /// The same job, to run at another time.
    #[must_use]
    pub fn due_at(mut self, run_at: Timestamp) -> Self {
        self.run_at = run_at;
        self
    }

    /// The same job with what took the place of its arguments.
    ///
    /// # Errors
    /// The arguments are no JSON.
    pub fn edited(self, edit: Edit) -> Result<Self, serde_json::Error> {
        let Edit { args, kind_version, account, priority_s, expires_at } = edit;
        let args = RawValue::from_string(args)?;
        Ok(Self { args, kind_version, account, priority_s, expires_at, ..self })
    }

    /// The number of the attempt that runs now; 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.failed_attempts.saturating_add(1)
    }
}
