//! How accounts are synchronised.

use std::time::Duration;

use serde::Deserialize;

use super::values;

/// How accounts are synchronised.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syncing {
    /// The period in which each account is synchronised; zero for none.
    #[serde(deserialize_with = "values::duration")]
    pub every: Duration,
    /// A walk reads on so long before the newest post of the walk before.
    #[serde(deserialize_with = "values::duration")]
    pub look_back: Duration,
}
