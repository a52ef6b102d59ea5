//! Posts, what they hold, and their revisions.

use postworks::job::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::object::Object;
use super::words;
use crate::app::accounts::{BASE_URL_BYTES_MAX, TEXT_CHARS_MAX};
use crate::app::posts::{ALT_CHARS_MAX, DESCRIPTION_CHARS_MAX, IMAGES_MAX, TITLE_CHARS_MAX};

/// A post to keep.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPost {
    /// Its text; it may be empty if there is an image.
    #[serde(default)]
    #[schemars(with = "words::Name", length(max = TEXT_CHARS_MAX))]
    pub text: String,
    /// What stands over it, on platforms that have titles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>", length(max = TITLE_CHARS_MAX))]
    pub title: Option<String>,
    /// A page that it points to.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub link: Option<PostLink>,
    /// Images, in their order.
    #[serde(
        default,
        deserialize_with = "super::object::objects",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = IMAGES_MAX))]
    pub images: Vec<PostImage>,
}

/// A page that a post points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostLink {
    /// Its address: http or https.
    #[schemars(url, length(max = BASE_URL_BYTES_MAX))]
    pub url: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>", length(max = TITLE_CHARS_MAX))]
    pub title: Option<String>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>", length(max = DESCRIPTION_CHARS_MAX))]
    pub description: Option<String>,
}

/// An image of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostImage {
    /// What was uploaded.
    pub media_id: Uuid,
    /// What it shows, for those who do not see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(with = "words::Name", length(max = ALT_CHARS_MAX))]
    pub alt: String,
}

/// A post. What it does not have is left out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Post {
    /// The post.
    pub id: Uuid,
    /// Its text.
    pub text: String,
    /// What stands over it, on platforms that have titles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A page that it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<PostLink>,
    /// Images, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PostImage>,
    /// Which revision this is, if it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// When it was written.
    #[schemars(with = "words::Time")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Time>")]
    pub revised_at: Option<Timestamp>,
}

/// What is to become of a post. What is left out stays as it is; null takes a title or a link away.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevisePost {
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Name>", length(max = TEXT_CHARS_MAX))]
    pub text: Option<String>,
    /// What stands over it.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Words>", length(max = TITLE_CHARS_MAX))]
    pub title: Option<Option<String>>,
    /// A page that it points to.
    #[serde(deserialize_with = "given_object", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PostLink>")]
    pub link: Option<Option<PostLink>>,
    /// All its images, in their order.
    #[serde(deserialize_with = "objects", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = IMAGES_MAX))]
    pub images: Option<Vec<PostImage>>,
    /// Why, for the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// What became of a post's change.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RevisedPost {
    /// The post.
    pub id: Uuid,
    /// Which revision it is now.
    pub revision: i64,
    /// Publications that send this revision, unless there is another one before they are sent.
    pub takes: Vec<Uuid>,
    /// Publications that had begun, and keep what they have.
    pub keeps: Vec<KeptRevision>,
}

/// A publication that keeps an earlier revision of its post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptRevision {
    /// The publication.
    pub id: Uuid,
    /// The revision.
    pub revision: i64,
}

/// An image that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Media")]
pub struct MediaView {
    /// Its id.
    pub id: Uuid,
    /// What it is, as its bytes say.
    #[schemars(with = "words::ImageKind")]
    pub kind: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// A member that may be left out, and is an object otherwise, or null.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    let found: Option<Object<T>> = Option::deserialize(from)?;
    Ok(found.map(|Object(inner)| inner))
}

/// The same of a list of objects.
fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let found: Option<Vec<Object<T>>> = Option::deserialize(from)?;
    Ok(found.map(|list| list.into_iter().map(|Object(inner)| inner).collect()))
}

/// A member that is there, be it null.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

fn given_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    object(from).map(Some)
}
