//! Redrives that go on in the background, and what was put back when.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::job::{Category, Tenant, Timestamp};

/// A time a dead job was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBackOnce {
    /// How often it had been put back then; 1 is the first time.
    pub n: u32,
    /// When.
    pub at: Timestamp,
    /// By which redrive, if one in the background did it.
    pub redrive: Option<Uuid>,
    /// When it had died.
    pub died_at: Timestamp,
    /// Of what.
    pub category: Category,
    /// Its cause.
    pub fingerprint: String,
    /// In words.
    pub message: String,
}

/// Where a redrive is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveState {
    /// It goes on.
    Running,
    /// Every letter was dealt with.
    Done,
    /// It left letters alone: by itself, or because a person said so.
    Stopped,
}

impl RedriveState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Running, Self::Done, Self::Stopped];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Stopped => "stopped",
        }
    }
}

/// A redrive in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Its id, which is that of its audit entry.
    pub id: Uuid,
    /// Whose letters it is about.
    pub tenant: Tenant,
    /// Who began it.
    pub actor: String,
    /// Which letters, in words.
    pub subject: String,
    /// Why.
    pub why: Option<String>,
    /// Which letters: JSON, the caller's own.
    pub filter: String,
    /// So many are put back first, and must end well.
    pub canary: Option<u32>,
    /// At most so many a second.
    pub rate: Option<u32>,
    /// Where it is in its life.
    pub state: RedriveState,
    /// How far it came: JSON, the caller's own.
    pub progress: String,
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
    /// When it began.
    pub started_at: Timestamp,
    /// When its last step was begun.
    pub step_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it left letters alone.
    pub stopped_why: Option<String>,
    /// Counts its changes.
    pub version: u64,
}

/// What became of the jobs of one cause that a redrive put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CauseCount {
    /// The cause of which they had died.
    pub fingerprint: String,
    /// So many were put back.
    pub put_back: u64,
    /// So many have not ended yet.
    pub underway: u64,
    /// So many died of the same cause again.
    pub returned: u64,
}
