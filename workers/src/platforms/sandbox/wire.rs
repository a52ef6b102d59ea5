//! What goes over the wire to and from the sandbox.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The form of `POST /oauth/token`.
#[derive(Serialize)]
pub(super) struct RefreshGrant<'a> {
    pub(super) grant_type: &'static str,
    pub(super) refresh_token: &'a str,
}

/// The answer to a grant (RFC 6749 §5.1).
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    pub(super) expires_in: Option<u64>,
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
