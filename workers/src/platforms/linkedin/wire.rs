//! What goes over the wire to and from LinkedIn's versioned REST API, after its pages "Posts API",
//! "Images API", "MultiImage API", "Social Metadata API" and "Organization Lookup".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of a new post.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewPost<'a> {
    pub(super) author: &'a str,
    pub(super) commentary: String,
    pub(super) visibility: &'static str,
    pub(super) distribution: Distribution,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Content<'a>>,
    pub(super) lifecycle_state: &'static str,
    pub(super) is_reshare_disabled_by_author: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Distribution {
    pub(super) feed_distribution: &'static str,
    pub(super) target_entities: [(); 0],
    pub(super) third_party_distribution_channels: [(); 0],
}

impl Distribution {
    /// As every post of an account that is meant for all who follow it.
    pub(super) const MAIN_FEED: Self = Self {
        feed_distribution: "MAIN_FEED",
        target_entities: [],
        third_party_distribution_channels: [],
    };
}

/// What a post has beside its text: one of these.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Content<'a> {
    Media(Media<'a>),
    MultiImage { images: Vec<Media<'a>> },
    Article(Article<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Media<'a> {
    pub(super) id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) alt_text: &'a str,
}

/// A link's card. LinkedIn does not look at the page itself.
#[derive(Serialize)]
pub(super) struct Article<'a> {
    pub(super) source: &'a str,
    pub(super) title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
}

/// The body of `initializeUpload`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewImage<'a> {
    pub(super) initialize_upload_request: Owner<'a>,
}

#[derive(Serialize)]
pub(super) struct Owner<'a> {
    pub(super) owner: &'a str,
}

/// The answer to it.
#[derive(Deserialize)]
pub(super) struct Initialized {
    pub(super) value: Upload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    pub(super) upload_url: String,
    pub(super) image: String,
}

/// How far an image is.
#[derive(Deserialize)]
pub(super) struct ImageState {
    pub(super) status: Option<String>,
}

/// A list of posts, or of other things.
#[derive(Deserialize)]
pub(super) struct Elements<T> {
    pub(super) elements: Vec<T>,
}

/// A post as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Post {
    pub(super) id: String,
    pub(super) commentary: Option<String>,
    /// Milliseconds since 1970, as the other.
    pub(super) published_at: Option<i64>,
    pub(super) created_at: Option<i64>,
}

/// How many reacted to posts and commented on them, by the posts' URNs.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) results: BTreeMap<String, Social>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Social {
    #[serde(default)]
    pub(super) reaction_summaries: BTreeMap<String, Reactions>,
    pub(super) comment_summary: Option<Comments>,
}

#[derive(Deserialize)]
pub(super) struct Reactions {
    pub(super) count: u64,
}

#[derive(Deserialize)]
pub(super) struct Comments {
    pub(super) count: u64,
}

/// What an organisation says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Organisation {
    pub(super) localized_name: Option<String>,
    pub(super) localized_description: Option<String>,
}

/// How many follow it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkSize {
    pub(super) first_degree_size: Option<u64>,
}

/// Who a member is, by OpenID Connect.
#[derive(Deserialize)]
pub(super) struct Member {
    pub(super) sub: String,
    pub(super) name: Option<String>,
}
