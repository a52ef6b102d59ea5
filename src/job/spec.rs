//! What a kind of job is.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{FieldError, InvalidName, Kind, RetryPolicy};

/// How long a job waits for a person to connect its account again: a weekend costs no posts.
const REAUTH_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where a kind's jobs are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Committed in the ledger before "accepted" is answered.
    Ledger,
    /// In the broker only: for jobs that a schedule makes again anyway. No effects, no unique
    /// keys; a death still writes a ledger row.
    Broker,
}

/// A kind of job: its arguments are the type, its constants the policy.
///
/// Arguments hold ids, not copies of rows: the row may change before the job runs.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind's stable name on the wire, in `snake_case`.
    const KIND: &'static str;
    /// The version of the arguments. A worker parks jobs of a version newer than it knows.
    const VERSION: u16 = 1;
    /// Former names that still decode.
    const ALIASES: &'static [&'static str] = &[];
    /// When failed attempts are repeated.
    const RETRY: RetryPolicy = RetryPolicy::DEFAULT;
    /// How long one attempt may take.
    const TIMEOUT: Duration = Duration::from_secs(30);
    /// How long after its time a job is still of use.
    const EXPIRES_AFTER: Duration = Duration::from_secs(24 * 3600);
    /// Where jobs of this kind are recorded unless the configuration says otherwise.
    const DURABILITY: Durability = Durability::Ledger;
    /// Whether a run changes something outside that must not happen twice.
    const EFFECT: bool = false;
    /// Whether any job of the kind for an account does all that an earlier one left undone, as a
    /// synchronisation does. A dead one is needless then once a later one has completed.
    const CATCHES_UP: bool = false;
    /// Whether a job waits while the platform wants its account left alone. What keeps the account
    /// usable must not: a window may outlast the account's tokens.
    const HEEDS_WINDOWS: bool = true;

    /// The account whose jobs wait together when a person must reconnect it.
    fn account(&self) -> Option<Uuid> {
        None
    }

    /// Checks what types cannot say; pointers are relative to the arguments, as in `/text`.
    fn check(&self) -> Result<(), Vec<FieldError>> {
        Ok(())
    }
}

/// What a caller must know of a job's arguments, found by decoding them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checked {
    pub(super) account: Option<Uuid>,
}

/// A kind's constants as a value, for callers that do not know the type.
#[derive(Debug, Clone)]
pub struct KindSpec {
    /// The kind's name.
    pub kind: Kind,
    /// Former names.
    pub aliases: &'static [&'static str],
    /// The version of the arguments this program knows.
    pub version: u16,
    /// When failed attempts are repeated.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long after its time a job is still of use.
    pub expires_after: Duration,
    /// How long a job waits for a person to connect its account again, at least.
    pub reauth_wait: Duration,
    /// Where jobs are recorded.
    pub durability: Durability,
    /// Whether a run changes something outside that must not happen twice.
    pub effect: bool,
    /// Whether any job of the kind for an account does what an earlier one left undone.
    pub catches_up: bool,
    /// Whether a job waits while the platform wants its account left alone.
    pub heeds_windows: bool,
    pub(super) check: fn(&str) -> Result<Checked, Vec<FieldError>>,
}

impl KindSpec {
    /// The constants of `J`.
    ///
    /// # Errors
    /// The kind's name does not fit; see [`Kind::parse`].
    pub fn of<J: Job>() -> Result<Self, InvalidName> {
        Ok(Self {
            kind: Kind::parse(J::KIND)?,
            aliases: J::ALIASES,
            version: J::VERSION,
            retry: J::RETRY,
            timeout: J::TIMEOUT,
            expires_after: J::EXPIRES_AFTER,
            reauth_wait: REAUTH_WAIT,
            durability: J::DURABILITY,
            effect: J::EFFECT,
            catches_up: J::CATCHES_UP,
            heeds_windows: J::HEEDS_WINDOWS,
            check: check::<J>,
        })
    }
}

/// Decodes arguments, naming the field that is wrong.
pub(crate) fn decode_args<J: Job>(args: &str) -> Result<J, FieldError> {
    let mut deserializer = serde_json::Deserializer::from_str(args);
    let job = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| FieldError::of_json(&error))?;
    deserializer.end().map_err(|_| FieldError::new("", "must be one JSON value"))?;
    Ok(job)
}

fn check<J: Job>(args: &str) -> Result<Checked, Vec<FieldError>> {
    let job: J = decode_args(args).map_err(|error| vec![error])?;
    job.check()?;
    Ok(Checked { account: job.account() })
}
