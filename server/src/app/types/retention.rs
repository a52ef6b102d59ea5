//! How long a tenant keeps what is its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;

/// For how long something is to be kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRetention {
    /// Such as `30d` or `48h`; a day at least.
    #[schemars(with = "words::KeepTime")]
    pub keep: String,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::Why>")]
    pub reason: Option<String>,
}

/// For how long something is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Kept")]
pub struct KeptView {
    /// What.
    #[schemars(with = "words::TenantScope")]
    pub scope: String,
    /// For how long.
    pub keep: String,
    /// The tenant has said so itself; otherwise the configuration does.
    pub own: bool,
}
