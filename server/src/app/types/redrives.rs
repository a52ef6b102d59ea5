//! Redrives that go on in the background.

use postworks::job::Timestamp;
use postworks::ledger::RedriveState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::words;

/// A redrive in the background.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Redrive")]
pub struct RedriveView {
    /// The redrive.
    pub id: Uuid,
    /// Whether it goes on.
    #[schemars(with = "words::RedriveState")]
    pub state: RedriveState,
    /// Who began it.
    pub actor: String,
    /// Which letters, in words.
    pub subject: String,
    /// Why.
    pub why: Option<String>,
    /// So many are put back first.
    pub canary: Option<u32>,
    /// At most so many a second.
    pub rate: Option<u32>,
    /// Letters that fitted when it began.
    pub matched: u64,
    /// Put back so far.
    pub put_back: u64,
    /// Completed: what they were to do was done.
    pub done: u64,
    /// Left: perhaps done.
    pub unknown: u64,
    /// Left: something newer made them needless.
    pub superseded: u64,
    /// What became of those it put back, cause by cause.
    pub causes: Vec<CauseView>,
    /// When it began.
    #[schemars(with = "words::Time")]
    pub started_at: Timestamp,
    /// When it ended.
    #[schemars(with = "Option<words::Time>")]
    pub ended_at: Option<Timestamp>,
    /// Why it left letters alone.
    pub stopped_why: Option<String>,
}

/// What became of the jobs of one cause that a redrive put back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RedriveCause")]
pub struct CauseView {
    /// The cause of which they had died.
    pub fingerprint: String,
    /// So many were put back.
    pub put_back: u64,
    /// So many have not ended yet.
    pub underway: u64,
    /// So many died of the same cause again.
    pub returned: u64,
}
