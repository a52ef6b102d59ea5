//! A job as the broker holds it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Durability, JobId, Kind, NewJob, Tenant, Timestamp, TraceParent};

/// Longest envelope that is written or read: the API's 64 KiB of arguments and room for the rest.
pub const ENVELOPE_BYTES_MAX: usize = 96 * 1024;

/// The envelope format this program writes. It reads every format from 1 on, for ever.
const FORMAT: u8 = 1;

/// A job as the broker holds it. The ledger's row is the record; this is enough to run it.
///
/// Field names on the wire are short since millions of them lie in memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(rename = "v")]
    format: u8,
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Kind,
    /// The version of its arguments.
    #[serde(rename = "kv")]
    pub kind_version: u16,
    /// Its arguments, as they came.
    pub args: Box<RawValue>,
    /// Attempts that have failed so far.
    #[serde(rename = "a", default, skip_serializing_if = "is_zero")]
    pub failed_attempts: u32,
    /// Attempts in all.
    #[serde(rename = "m")]
    pub max_attempts: u32,
    /// Head start over jobs that became ready at the same time, in seconds.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    pub priority_s: u32,
    /// When it may run.
    #[serde(rename = "run", with = "millis")]
    pub run_at: Timestamp,
    /// When it was enqueued.
    #[serde(rename = "born", with = "millis")]
    pub created_at: Timestamp,
    /// It is of no use after this.
    #[serde(rename = "exp", with = "millis")]
    pub expires_at: Timestamp,
    /// Where it is recorded.
    #[serde(rename = "d", default = "ledger", skip_serializing_if = "is_ledger")]
    pub durability: Durability,
    /// The account whose jobs wait together.
    #[serde(rename = "acct", default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Uuid>,
    /// Whose it is. The house's say nothing, as all did before there were others.
    #[serde(rename = "t", default, skip_serializing_if = "Tenant::is_default")]
    pub tenant: Tenant,
    /// The trace of whoever enqueued it.
    #[serde(rename = "tp", default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceParent>,
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
            format: FORMAT,
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
        })
    }

    /// The envelope as it is stored.
    pub fn encode(&self) -> String {
        // Serialising this type cannot fail: no map keys, no foreign Serialize, all names plain.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a stored envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        match serde_json::from_slice::<Self>(bytes) {
            Ok(envelope) if envelope.format <= FORMAT => Ok(envelope),
            // A newer format may have other fields, too.
            read => match serde_json::from_slice(bytes) {
                Ok(Head { format }) if format > u64::from(FORMAT) => {
                    Err(DecodeError::Newer(format))
                }
                _ => Ok(read?),
            },
        }
    }

    /// The same job, to run at another time.
    #[must_use]
    pub fn due_at(mut self, run_at: Timestamp) -> Self {
        self.run_at = run_at;
        self
    }

    /// The number of the attempt that runs now; 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.failed_attempts.saturating_add(1)
    }
}

/// What every format has: its number.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "v")]
    format: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn ledger() -> Durability {
    Durability::Ledger
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_ledger(durability: &Durability) -> bool {
    *durability == Durability::Ledger
}

/// Times inside an envelope are numbers: shorter than RFC 3339, and the broker sorts by them.
mod millis {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        time.as_millis().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Kept for ever: what programs already running have written must decode.
    const FORMAT_1: &str = include_str!("fixtures/envelope_1.json").trim_ascii_end();

    #[test]
    fn an_envelope_of_every_format_ever_written_still_decodes() {
        let envelope = Envelope::decode(FORMAT_1.as_bytes()).unwrap();
        assert_eq!(envelope.attempt(), 3);
        assert_eq!(envelope.durability, Durability::Ledger);
        assert_eq!(envelope.encode(), FORMAT_1, "and is written the same way today");
    }

    #[test]
    fn a_newer_format_is_told_from_garbage() {
        let newer = FORMAT_1.replacen("\"v\":1", "\"v\":2", 1);
        assert!(matches!(Envelope::decode(newer.as_bytes()), Err(DecodeError::Newer(2))));
        for other in [r#"{"v":2,"job":"elsewhere"}"#, r#"{"id":{"new":1},"v":2}"#] {
            assert!(matches!(Envelope::decode(other.as_bytes()), Err(DecodeError::Newer(2))));
        }
        let far = br#"{"v":70000}"#;
        assert!(matches!(Envelope::decode(far), Err(DecodeError::Newer(70_000))));
        let old = br#"{"v":1,"job":"elsewhere"}"#;
        assert!(matches!(Envelope::decode(old), Err(DecodeError::Malformed(_))));
        assert!(matches!(Envelope::decode(b"garbage"), Err(DecodeError::Malformed(_))));
        let long = vec![b' '; ENVELOPE_BYTES_MAX + 1];
        assert!(matches!(Envelope::decode(&long), Err(DecodeError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Envelope::decode(&bytes);
        }

        #[test]
        fn an_envelope_cut_anywhere_is_refused(at in 0..FORMAT_1.len()) {
            prop_assert!(Envelope::decode(&FORMAT_1.as_bytes()[..at]).is_err());
        }
    }
}
