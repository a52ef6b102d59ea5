//! The bodies of requests and answers (X's OpenAPI document, 2.167). Two names of a thing are the one
//! that X's guides have and the one that its document has since August 2026.

use serde::{Deserialize, Serialize};

/// What an answer is in.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
}

/// `POST /2/tweets`.
#[derive(Serialize)]
pub(super) struct NewPost<'a> {
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media: Option<Media<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Reply<'a>>,
}

#[derive(Serialize)]
pub(super) struct Media<'a> {
    pub(super) media_ids: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Reply<'a> {
    pub(super) in_reply_to_tweet_id: &'a str,
}

#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) id: String,
}

/// `POST /2/media/upload`, in one request.
#[derive(Serialize)]
pub(super) struct NewMedia {
    /// In Base64.
    pub(super) media: String,
    pub(super) media_category: &'static str,
}

/// An upload, or how far it is.
#[derive(Deserialize)]
pub(super) struct Uploaded {
    pub(super) id: String,
    pub(super) expires_after_secs: Option<u64>,
    pub(super) processing_info: Option<Processing>,
}

#[derive(Deserialize)]
pub(super) struct Processing {
    #[serde(default)]
    pub(super) state: String,
    pub(super) check_after_secs: Option<u64>,
}

/// `POST /2/media/metadata`.
#[derive(Serialize)]
pub(super) struct Described<'a> {
    pub(super) id: &'a str,
    pub(super) metadata: Metadata<'a>,
}

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) alt_text: AltText<'a>,
}

#[derive(Serialize)]
pub(super) struct AltText<'a> {
    pub(super) text: &'a str,
}

/// A page of an account's posts. One without posts has no `data`.
#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) data: Vec<Post>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Deserialize, Default)]
pub(super) struct Meta {
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Post {
    pub(super) id: String,
    #[serde(default)]
    pub(super) text: String,
    pub(super) created_at: Option<String>,
    /// The post that the conversation began with: this one, if it answers none.
    pub(super) conversation_id: Option<String>,
    #[serde(default)]
    pub(super) entities: Entities,
    pub(super) public_metrics: Option<Metrics>,
}

impl Post {
    /// The post that it answers, as far as X tells: of an answer to an answer, the first one of their
    /// conversation.
    pub(super) fn answers(&self) -> Option<&str> {
        self.conversation_id.as_deref().filter(|first| *first != self.id)
    }
}

#[derive(Deserialize, Default)]
pub(super) struct Entities {
    pub(super) urls: Option<Vec<Address>>,
}

/// An address in a text, which has X's short one in its place.
#[derive(Deserialize)]
pub(super) struct Address {
    pub(super) url: Option<String>,
    pub(super) expanded_url: Option<String>,
    /// Only of those that stand for the post's own images.
    pub(super) media_key: Option<String>,
    pub(super) display_url: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Metrics {
    #[serde(alias = "repost_count")]
    pub(super) retweet_count: Option<i64>,
    pub(super) reply_count: Option<i64>,
    pub(super) like_count: Option<i64>,
    pub(super) impression_count: Option<i64>,
}

/// A number of X's, which its document allows to be negative: such a one is none, and no reason to read
/// nothing else.
pub(super) fn count(number: Option<i64>) -> Option<u64> {
    u64::try_from(number?).ok()
}

/// The account, of `GET /2/users/me`.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) public_metrics: Option<Followed>,
}

#[derive(Deserialize)]
pub(super) struct Followed {
    pub(super) followers_count: Option<i64>,
}
