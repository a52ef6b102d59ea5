//! Accounts and publications.

use postworks::job::{JobId, Timestamp, TraceParent};
use postworks_workers::store::{Late, REMOTE_ID_BYTES_MAX};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AskedCallback, MissedView, words};
use crate::app::accounts::{
    BASE_URL_BYTES_MAX, CONNECTORS_MAX, IDENTIFIER_BYTES_MAX, SECRET_BYTES_MAX,
};
use crate::app::paging::LIMIT_MAX;

/// An account to connect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddConnector {
    /// The platform's name.
    #[schemars(length(min = 1, max = IDENTIFIER_BYTES_MAX))]
    pub platform: String,
    /// Where its server is.
    #[schemars(url, length(max = BASE_URL_BYTES_MAX))]
    pub base_url: String,
    /// The handle or address.
    #[schemars(length(min = 1, max = IDENTIFIER_BYTES_MAX))]
    pub identifier: String,
    /// Where on the account posts go, on platforms where that is to be said: a room on Matrix, a page
    /// on Facebook.
    #[serde(default)]
    #[schemars(length(min = 1, max = IDENTIFIER_BYTES_MAX))]
    pub target: Option<String>,
    /// What proves that it is ours: an app password, a refresh token or a token that lasts.
    #[schemars(with = "String", length(min = 1, max = SECRET_BYTES_MAX), extend("format" = "password"))]
    pub secret: SecretString,
    /// Why, for the audit.
    #[serde(default)]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// Which accounts to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectorsQuery {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::ConnectorState>")]
    pub state: Option<String>,
    /// At most this many, 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    pub limit: Option<u32>,
    /// Where the page before ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Cursor>")]
    pub cursor: Option<String>,
}

/// An account that was disconnected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DisconnectedConnector")]
pub struct DisconnectedView {
    /// `disconnecting`, until its rows are gone.
    #[schemars(with = "words::ConnectorState")]
    pub state: String,
    /// Whether the platform took the tokens back just now; else they end there by themselves. Here
    /// they are gone either way. Null if the account was disconnected before.
    pub revoked: Option<bool>,
    /// How many jobs were cancelled just now.
    pub cancelled_jobs: u64,
}

/// A connected account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connector {
    /// Our id of it.
    pub id: Uuid,
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    #[schemars(url)]
    pub base_url: String,
    /// The handle or address.
    pub identifier: String,
    /// Where on the account posts go, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `active`, `needs_reauth` or `disconnecting`.
    #[schemars(with = "words::ConnectorState")]
    pub state: String,
    /// Why it needs a person.
    pub state_reason: Option<String>,
    /// How many jobs wait for a person to connect it again.
    #[serde(default)]
    pub waiting: u64,
    /// What cannot be fetched of it at the moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingStream>,
    /// When it was connected.
    #[schemars(with = "words::Time")]
    pub created_at: Timestamp,
}

/// A stream of an account that failed and has not come on since.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FailingStream {
    /// `posts`, `metrics` or `profile`.
    #[schemars(with = "words::SyncStream")]
    pub stream: String,
    /// How often it failed since it last came on.
    pub failures: u64,
    /// When it last failed.
    #[schemars(with = "words::Time")]
    pub failed_at: Timestamp,
    /// The last error's class, and what went wrong.
    pub last_error: String,
}

/// The id of something new.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The id.
    pub id: Uuid,
}

/// A post to publish.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The post.
    pub post_id: Uuid,
    /// The accounts.
    #[schemars(length(min = 1, max = CONNECTORS_MAX), extend("uniqueItems" = true))]
    pub connector_ids: Vec<Uuid>,
    /// When; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub at: Option<Timestamp>,
    /// Until when, later than `at`: the end of its window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub not_after: Option<Timestamp>,
    /// What becomes of it if it could not be sent until then: `skip` unless this says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::LatePolicy>")]
    pub late: Option<Late>,
    /// The platform's id of the post that it answers, on the one account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>", length(max = REMOTE_ID_BYTES_MAX))]
    pub reply_to: Option<String>,
    /// A publication on the same account that it answers, and waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Uuid>,
    /// A job that runs when all of the publications have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<AskedCallback>,
    /// The caller's trace: the header `traceparent`.
    #[serde(skip)]
    pub trace: Option<TraceParent>,
}

/// A publication that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AcceptedPublication")]
pub struct Accepted {
    /// The publication.
    pub id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// The job that publishes.
    #[schemars(with = "Uuid")]
    pub job_id: JobId,
}

/// The publications that were accepted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AcceptedPublications")]
pub struct Publications {
    /// The set that they belong to.
    pub set_id: Uuid,
    /// One for each account, in order.
    pub publications: Vec<Accepted>,
}

/// One post on one account.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Publication {
    /// The publication.
    pub id: Uuid,
    /// `scheduled`, `sending`, `published` or `failed`.
    #[schemars(with = "words::PublicationState")]
    pub state: String,
    /// The platform's id of the post.
    pub remote_id: Option<String>,
    /// Where people see it.
    pub remote_url: Option<String>,
    /// The post.
    pub post_id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// The job that publishes.
    #[schemars(with = "Uuid")]
    pub job_id: JobId,
    /// When it is to be published, not before.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// Until when, if it has a window.
    #[schemars(with = "Option<words::Time>")]
    pub not_after: Option<Timestamp>,
    /// What becomes of it once its window is over.
    #[schemars(with = "Option<words::LatePolicy>")]
    pub late: Option<Late>,
    /// That it missed its window: then it is `failed`, or was sent late.
    pub missed: Option<MissedView>,
    /// The platform's id of the post that it answers, if it answers one and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The publication that it answers, if it answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<Uuid>,
    /// The post's revision that it sends, once that is fixed, and if it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
}
