//! The keys that accounts' secrets are sealed with.

use postworks::job::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A key, without the key itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// Accounts whose secrets it has sealed.
    pub rows: u64,
    /// Nodes that live and have it.
    pub nodes: u64,
    /// Of these, the ones that seal with it.
    pub sealing: u64,
    /// When a node had it first; null if none has yet.
    pub first_seen: Option<Timestamp>,
    /// Since when nothing is sealed with it any more.
    pub retired_at: Option<Timestamp>,
    /// Whether it may be taken out of every ring.
    pub may_go: bool,
    /// Why not, if it may not.
    pub needed: Option<String>,
}

/// What became of a rotation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeysRotated {
    /// The key that seals now.
    pub key: String,
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// Accounts whose secrets other keys had sealed.
    pub matched: u64,
    /// So many of them were sealed anew.
    pub resealed: u64,
    /// Accounts whose secrets other keys have sealed all the same.
    pub left: u64,
    /// Accounts whose secrets do not open: they have to be connected again.
    pub damaged: Vec<Uuid>,
    /// Keys that were retired.
    pub retired: Vec<String>,
}

/// What was given up with a lost key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyGivenUp {
    /// The key.
    pub id: String,
    /// Whether this is only what would be given up.
    pub dry_run: bool,
    /// Accounts that a person has to connect again.
    pub accounts: u64,
}
