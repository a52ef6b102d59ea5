//! What callers send and get, as the public contract says; the HTTP API and the command line
//! share these types.

mod access;
mod accounts;
mod audit;
mod dead_letters;
mod effects;
mod events;
mod gates;
mod jobs;
mod keys;
mod moving;
mod oauth;
mod object;
mod posts;
mod redrives;
mod retention;
mod scaling;
mod schedules;
mod sets;
mod tenants;
pub(crate) mod words;

use postworks::job::Queue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access::*;
pub use accounts::*;
pub use audit::*;
pub use dead_letters::*;
pub use effects::*;
pub use events::*;
pub use gates::*;
pub use jobs::*;
pub use keys::*;
pub use moving::*;
pub use oauth::*;
pub(crate) use object::Object;
pub use posts::*;
pub use redrives::*;
pub use retention::*;
pub use scaling::*;
pub use schedules::*;
pub use sets::*;
pub use tenants::*;

use super::paging::LIMIT_MAX;

/// Which page of a list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Cursor>")]
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// What is on it, newest first.
    pub items: Vec<T>,
    /// The cursor of the next page, if there is one.
    #[schemars(with = "Option<words::Cursor>")]
    pub next: Option<String>,
}

/// A queue and what is in it. What waits and runs is null while the node of the broker that holds
/// the queue is away.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Queue")]
pub struct QueueView {
    /// The queue.
    #[schemars(with = "words::Queue")]
    pub queue: Queue,
    /// Due and unclaimed.
    pub ready: Option<u64>,
    /// Waiting for their time, as far as the broker holds them.
    pub delayed: Option<u64>,
    /// Running.
    pub running: Option<u64>,
    /// For a person.
    pub dead: u64,
    /// How long the oldest due job has waited.
    pub oldest_ready_age_seconds: Option<f64>,
    /// Who paused it, if it is paused.
    pub paused: Option<HolderView>,
}
