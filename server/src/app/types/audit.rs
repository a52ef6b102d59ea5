//! What people did by hand.

use postworks::job::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::words;
use crate::app::paging::LIMIT_MAX;

/// Which of the operators' actions to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// Only this actor's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Name>")]
    pub actor: Option<String>,
    /// Only those of this action.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Name>")]
    pub action: Option<String>,
    /// Only those about this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Name>")]
    pub subject: Option<String>,
    /// Only those of this time or later: RFC 3339, or as in `2h` ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Moment>")]
    pub since: Option<String>,
    /// Only those before this time: RFC 3339, or as in `2h` ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Moment>")]
    pub until: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Cursor>")]
    pub cursor: Option<String>,
}

/// An operator's action.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub struct AuditView {
    /// The entry.
    pub id: Uuid,
    /// When it was begun.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// Who: `cli:user@host`, `user:email`, `apikey:id`, or `api` for whoever need not say.
    pub actor: String,
    /// What was done, as in `job.cancel`.
    pub action: String,
    /// To what: an id, a filter or a name.
    pub subject: String,
    /// What else there is to know: an object, words or null.
    #[schemars(with = "words::Detail")]
    pub detail: Value,
    /// The operator's own words.
    pub why: Option<String>,
    /// How many things it changed, or told of.
    pub count: u64,
}

/// Why an operator does something.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Why {
    /// The operator's own words, for the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}
