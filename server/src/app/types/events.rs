//! What happened to accounts.

use postworks::job::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::words;
use crate::app::paging::LIMIT_MAX;

/// From where on to read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventsQuery {
    /// Only what happened after this event, which need not be there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
}

/// Some of what happened.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventFeed {
    /// Oldest first. None is left out, and none comes later in between.
    pub items: Vec<EventView>,
    /// The last event that the caller has now: what `after` is next time, also if nothing happened.
    pub next: Option<Uuid>,
    /// Whether there are more already.
    pub more: bool,
}

/// Something that happened to an account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct EventView {
    /// The event.
    pub id: Uuid,
    /// What happened.
    #[serde(rename = "type")]
    #[schemars(with = "words::EventKind")]
    pub kind: String,
    /// The account.
    pub subject: Uuid,
    /// When.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// `platform`, `identifier`, and a `reason` where there is one.
    #[schemars(with = "words::Object")]
    pub detail: Value,
}
