//! What goes over the wire to and from the sandbox.

use serde::{Deserialize, Serialize};

/// The form of `POST /oauth/token`.
#[derive(Serialize)]
pub(super) struct RefreshGrant<'a> {
    pub(super) grant_type: &'static str,
    pub(super) refresh_token: &'a str,
}

/// The form of `POST /oauth/revoke`.
#[derive(Serialize)]
pub(super) struct Revocation<'a> {
    pub(super) token: &'a str,
    pub(super) token_type_hint: &'static str,
}

/// The body of `POST /posts`.
#[derive(Serialize)]
pub(super) struct NewPost<'a> {
    pub(super) text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_ref: Option<&'a str>,
}

/// The answer to `POST /posts`.
#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) id: String,
}

/// The answer to `GET /posts`.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) items: Vec<Item>,
    pub(super) next: Option<String>,
}

/// A post in a list.
#[derive(Deserialize)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) created_at: Option<String>,
}

/// The answer to `GET /posts/numbers`.
#[derive(Deserialize)]
pub(super) struct Figures {
    pub(super) items: Vec<Figure>,
}

/// What is counted of a post.
#[derive(Deserialize)]
pub(super) struct Figure {
    pub(super) id: String,
    pub(super) likes: Option<u64>,
    pub(super) reposts: Option<u64>,
    pub(super) replies: Option<u64>,
    pub(super) views: Option<u64>,
}

/// The answer to `GET /accounts/{account}`.
#[derive(Deserialize)]
pub(super) struct Person {
    pub(super) display_name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) followers: Option<u64>,
}
