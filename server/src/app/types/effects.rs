//! Effects whose outcome is not known.

use postworks::job::{JobId, State, Timestamp};
use postworks_workers::store::REMOTE_ID_BYTES_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::words;

/// A publication that may be out, which nobody knows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Effect")]
pub struct EffectView {
    /// The publication.
    pub id: Uuid,
    /// The job that publishes.
    #[schemars(with = "Uuid")]
    pub job_id: JobId,
    /// Where the job is in its life; null if it is deleted.
    #[schemars(with = "Option<words::State>")]
    pub job_state: Option<State>,
    /// The account.
    pub connector_id: Uuid,
    /// The account's platform.
    pub platform: String,
    /// The account's handle or address.
    pub identifier: String,
    /// When the first request may have left.
    #[schemars(with = "Option<words::Time>")]
    pub begun_at: Option<Timestamp>,
    /// When the last one had left, if it did.
    #[schemars(with = "Option<words::Time>")]
    pub send_by: Option<Timestamp>,
    /// The worker that sent the last one, if it did.
    pub worker: Option<String>,
    /// What the job's last failure was.
    pub error: Option<String>,
    /// What helps.
    pub needs: Needs,
}

/// What helps against not knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Nothing: its job finds out by itself.
    Nothing,
    /// Its job, which has ended: put back, it finds out.
    Retry,
    /// A person, who looks at the account.
    Person,
}

impl Needs {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Retry => "retry",
            Self::Person => "person",
        }
    }
}

/// What a person found out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveEffect {
    /// What it is.
    #[serde(rename = "as")]
    pub outcome: FoundOut,
    /// The platform's id of the post, if it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>", length(max = REMOTE_ID_BYTES_MAX))]
    pub remote_id: Option<String>,
    /// Put its dead job back at once, if it is absent.
    #[serde(default)]
    pub retry: bool,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// What a person found on the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundOut {
    /// The post is there.
    Published,
    /// It is not.
    Absent,
}

/// A publication that a person has settled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EffectResolved {
    /// The publication.
    pub id: Uuid,
    /// `published`, or `scheduled`: its job may send it again.
    #[schemars(with = "words::PublicationState")]
    pub state: String,
    /// The job that publishes.
    #[schemars(with = "Uuid")]
    pub job_id: JobId,
    /// Where the job is in its life; null if it is deleted.
    #[schemars(with = "Option<words::State>")]
    pub job_state: Option<State>,
}
