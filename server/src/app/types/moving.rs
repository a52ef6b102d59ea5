//! Moving what is to be published to another time.

use postworks::job::Timestamp;
use postworks_workers::store::Late;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{Publication, words};

/// What is to become of a publication's times. What is left out stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MovePublication {
    /// When it is to be published, not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub at: Option<Timestamp>,
    /// Until when, later than `at`; null takes the window away.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub not_after: Option<Option<Timestamp>>,
    /// What becomes of it once its window is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::LatePolicy>")]
    pub late: Option<Late>,
    /// Why, for the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// Where a post's publications are to be moved. What is left out stays as it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovePost {
    /// When they are to be published, not before.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// Until when, later than `at`; null takes their windows away.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub not_after: Option<Option<Timestamp>>,
    /// What becomes of them once their window is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::LatePolicy>")]
    pub late: Option<Late>,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// What became of a post's publications.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MovedPost {
    /// Those that were moved, as they are now.
    pub moved: Vec<Publication>,
    /// Those that were not.
    pub not_moved: Vec<NotMovedView>,
}

/// A publication that was not moved.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NotMoved")]
pub struct NotMovedView {
    /// The publication.
    pub id: Uuid,
    /// The account.
    pub connector_id: Uuid,
    /// How far it is.
    #[schemars(with = "words::PublicationState")]
    pub state: String,
    /// Why it was not moved.
    pub why: String,
}

/// That a publication was late.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Missed")]
pub struct MissedView {
    /// When that was found.
    #[schemars(with = "words::Time")]
    pub at: Timestamp,
    /// Why, and what became of it.
    pub why: String,
}

/// A member that is there, be it null.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Timestamp>>, D::Error> {
    Option::<Timestamp>::deserialize(deserializer).map(Some)
}
