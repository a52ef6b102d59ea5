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
