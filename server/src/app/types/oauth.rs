//! Connecting an account over OAuth.

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::words;
use crate::app::accounts::{BASE_URL_BYTES_MAX, IDENTIFIER_BYTES_MAX};
use crate::app::oauth::{CODE_BYTES_MAX, WORDS_CHARS_MAX};

/// An account to begin connecting.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartOAuth {
    /// Where its server is, if the platform has several.
    #[serde(default)]
    #[schemars(url, length(max = BASE_URL_BYTES_MAX))]
    pub base_url: Option<String>,
    /// The account to connect again: then no other can be.
    #[serde(default)]
    pub connector_id: Option<Uuid>,
    /// Where on the account posts go, if the platform does not say or there are several.
    #[serde(default)]
    #[schemars(length(min = 1, max = IDENTIFIER_BYTES_MAX))]
    pub target: Option<String>,
    /// Why, for the audit.
    #[serde(default)]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// An account that is about to be connected.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OAuthStarted {
    /// Where its owner consents: send their browser there.
    #[schemars(url)]
    pub authorize_url: String,
    /// Within how many seconds they must come back.
    pub expires_in: u64,
}

/// What a platform answers a browser that comes back, as the query of its address. What else stands
/// there is ignored.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct OAuthAnswer {
    /// What the browser set out with.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(max = WORDS_CHARS_MAX), extend("format" = "password"))]
    pub state: Option<SecretString>,
    /// What is exchanged for tokens.
    #[serde(default)]
    #[schemars(with = "Option<String>", length(max = CODE_BYTES_MAX), extend("format" = "password"))]
    pub code: Option<SecretString>,
    /// The server that answers (RFC 9207).
    #[serde(default)]
    #[schemars(length(max = WORDS_CHARS_MAX))]
    pub iss: Option<String>,
    /// Why there is no code.
    #[serde(default)]
    #[schemars(length(max = WORDS_CHARS_MAX))]
    pub error: Option<String>,
    /// The same in words.
    #[serde(default)]
    #[schemars(length(max = WORDS_CHARS_MAX))]
    pub error_description: Option<String>,
}
