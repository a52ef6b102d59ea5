//! Whose a job is.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whose rows are whose. What belongs to one tenant, no other one sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(Uuid);

impl Tenant {
    /// The house: it is there from the start, and looks after the whole fleet.
    pub const DEFAULT: Self = Self(Uuid::from_u128(1));

    /// The tenant with this id.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// Its id.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Whether it is the house.
    pub fn is_default(&self) -> bool {
        *self == Self::DEFAULT
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
