//! Tenants.

use postworks::job::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantView {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When it was entered; of the one that is there from the start, 1970.
    pub created_at: Timestamp,
    /// Its dead letters, for a person: with `--tenant` the house sees them.
    pub dead: u64,
}
