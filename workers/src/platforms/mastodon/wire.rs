//! The bodies of requests and answers (docs.joinmastodon.org, `methods` and `entities`).

use serde::{Deserialize, Serialize};

/// `POST /api/v1/statuses`. Who may see it is what the account has for its default.
#[derive(Serialize)]
pub(super) struct NewStatus<'a> {
    pub(super) status: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) media_ids: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_reply_to_id: Option<&'a str>,
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub(super) id: String,
    pub(super) url: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) in_reply_to_id: Option<String>,
    /// HTML.
    #[serde(default)]
    pub(super) content: String,
    pub(super) favourites_count: Option<u64>,
    pub(super) reblogs_count: Option<u64>,
    pub(super) replies_count: Option<u64>,
}

/// An upload.
#[derive(Deserialize)]
pub(super) struct Attachment {
    pub(super) id: String,
}

/// The account that a token is of.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) followers_count: Option<u64>,
    pub(super) source: Option<Source>,
}

/// What the account's owner wrote.
#[derive(Deserialize)]
pub(super) struct Source {
    pub(super) note: Option<String>,
}
