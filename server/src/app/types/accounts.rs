//! Accounts, posts and publications.

use postworks::job::{JobId, Timestamp, TraceParent};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An account to connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddConnector {
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: String,
    /// The handle or address.
    pub identifier: String,
    /// What proves that it is ours: an app password or a refresh token.
    pub secret: SecretString,
    /// Why, for the audit.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A connected account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connector {
    /// Our id of it.
    pub id: Uuid,
    /// The platform's name.
    pub platform: String,
    /// Where its server is.
    pub base_url: String,
    /// The handle or address.
    pub identifier: String,
    /// `active` or `needs_reauth`.
    pub state: String,
    /// Why it needs a person.
    pub state_reason: Option<String>,
    /// When it was connected.
    pub created_at: Timestamp,
}

/// A post to keep.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPost {
    /// Its text.
    pub text: String,
}

/// A post.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Post {
    /// The post.
    pub id: Uuid,
    /// Its text.
    pub text: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// The id of something new.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Created {
    /// The id.
    pub id: Uuid,
}

/// A post to publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The post.
    pub post_id: Uuid,
    /// The accounts.
    pub connector_ids: Vec<Uuid>,
    /// When; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The caller's trace: the header `traceparent`.
    #[serde(skip)]
    pub trace: Option<TraceParent>,
}

/// A publication that was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Accepted {
    /// The publication.
    pub id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// The job that publishes.
    pub job_id: JobId,
}

/// The publications that were accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publications {
    /// One for each account, in order.
    pub publications: Vec<Accepted>,
}

/// One post on one account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publication {
    /// The publication.
    pub id: Uuid,
    /// `scheduled`, `sending`, `published` or `failed`.
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
    pub job_id: JobId,
}
