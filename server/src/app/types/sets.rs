//! Publication sets: the publications of one request.

use postworks::job::{JobId, State, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Plan, words};

/// A job that is made with a set and runs once all of its publications have ended, however they did:
/// its handler sees how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedCallback {
    /// The kind's name.
    #[schemars(with = "words::KnownKind")]
    pub kind: String,
    /// The arguments; none if absent.
    #[serde(default = "super::jobs::no_args")]
    #[schemars(with = "words::Args")]
    pub args: Box<RawValue>,
}

/// A publication set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PublicationSet")]
pub struct SetView {
    /// The set.
    pub id: Uuid,
    /// The post.
    pub post_id: Uuid,
    /// `open`, until each of its publications has ended; then `completed`, `partly` or `failed`.
    #[schemars(with = "words::SetState")]
    pub state: String,
    /// One for each account.
    pub publications: Vec<SetMember>,
    /// The job that runs when they have ended.
    pub callback: Option<CallbackView>,
    /// When it was asked for.
    #[schemars(with = "words::Time")]
    pub created_at: Timestamp,
    /// When the last of its publications ended.
    #[schemars(with = "Option<words::Time>")]
    pub finished_at: Option<Timestamp>,
}

/// A publication of a set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PublicationOfSet")]
pub struct SetMember {
    /// The publication.
    pub id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// `scheduled`, `sending`, `published` or `failed`.
    #[schemars(with = "words::PublicationState")]
    pub state: String,
    /// Where people see it.
    pub remote_url: Option<String>,
    /// The job that publishes.
    #[schemars(with = "Uuid")]
    pub job_id: JobId,
    /// Its state, where `ready` stands for delayed and running, too; null if it is gone.
    #[schemars(with = "Option<words::State>")]
    pub job_state: Option<State>,
    /// Why its job is dead.
    pub reason: Option<String>,
}

/// The callback of a set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CallbackOfSet")]
pub struct CallbackView {
    /// The job: the last one, if the set was retried.
    #[schemars(with = "Uuid")]
    pub job_id: JobId,
    /// Its state, where `ready` stands for delayed and running, too; null if it is gone.
    #[schemars(with = "Option<words::State>")]
    pub state: Option<State>,
}

/// What became of cancelling a set.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct CancelledSet {
    /// Publications that will not be sent any more.
    pub cancelled: Vec<Uuid>,
    /// Publications that were left alone: a request is under way, or it is not known what became of
    /// one.
    pub sending: Vec<Uuid>,
    /// Publications that had ended.
    pub ended: Vec<Uuid>,
}

/// What became of putting a set's dead publications back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RetriedSet {
    /// What became of them.
    pub plan: Plan,
    /// The job that waits for them, in place of a callback that had run or still waited.
    #[schemars(with = "Option<Uuid>")]
    pub callback_job_id: Option<JobId>,
}
