//! Users, API keys, and what a login takes and gives.

use std::fmt;

use postworks::job::Timestamp;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::{EMAIL_BYTES_MAX, PASSWORD_BYTES_MAX};

/// A person who may ask the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserView {
    /// The person's id.
    pub id: Uuid,
    /// The name of the tenant whose rows the person sees.
    pub tenant: String,
    /// In small letters.
    pub email: String,
    /// `readonly`, `producer`, `operator` or `admin`.
    pub role: String,
    /// When the person was entered.
    pub created_at: Timestamp,
    /// Since when the person may do nothing.
    pub disabled_at: Option<Timestamp>,
}

/// A key that programs ask the API with, without the key itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ApiKeyView {
    /// Its id.
    pub id: Uuid,
    /// The name of the tenant whose rows it shows.
    pub tenant: String,
    /// What it is for.
    pub name: Option<String>,
    /// `readonly`, `producer`, `operator` or `admin`.
    pub role: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is of no use.
    pub revoked_at: Option<Timestamp>,
}

/// A new key, told this once.
#[derive(Clone, Serialize)]
pub struct ApiKeyMade {
    /// Its id.
    pub id: Uuid,
    /// The key itself.
    pub key: String,
    /// `readonly`, `producer`, `operator` or `admin`.
    pub role: String,
}

/// Without the key.
impl fmt::Debug for ApiKeyMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyMade").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a login takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's email.
    #[schemars(email, length(max = EMAIL_BYTES_MAX))]
    pub email: String,
    /// The password.
    #[schemars(with = "String", length(max = PASSWORD_BYTES_MAX), extend("format" = "password"))]
    pub password: SecretString,
}

/// What a refresh takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The token that came with the last answer.
    #[schemars(with = "String", extend("format" = "password"))]
    pub refresh_token: SecretString,
}

/// What a login or a refresh is answered with.
#[derive(Serialize, JsonSchema)]
pub struct Tokens<'a> {
    /// Goes with every request, as `Authorization: Bearer`.
    #[schemars(extend("format" = "password"))]
    pub access_token: &'a str,
    /// Gets the next pair, once.
    #[schemars(extend("format" = "password"))]
    pub refresh_token: &'a str,
    /// How long the access token is good, in seconds.
    pub expires_in: u64,
}
