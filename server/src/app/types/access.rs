//! Users, API keys, and what a login takes and gives.

use std::fmt;

use postworks::job::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's email.
    pub email: String,
    /// The password.
    pub password: SecretString,
}

/// What a refresh takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The token that came with the last answer.
    pub refresh_token: SecretString,
}
