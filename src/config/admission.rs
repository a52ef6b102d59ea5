//! The bounds from which on the API takes no more work.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::values;

/// From when on the API takes no more work; `None` for a bound that is switched off.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Jobs that are due and unclaimed, in all queues together.
    #[serde(deserialize_with = "count_or_none")]
    pub depth: Option<u32>,
    /// How long the oldest of them has waited.
    #[serde(deserialize_with = "values::duration_or_none")]
    pub oldest: Option<Duration>,
    /// The part of its memory that Redis uses, in percent.
    #[serde(deserialize_with = "percent_or_none")]
    pub redis_memory: Option<u32>,
    /// How long a request waits for a connection to PostgreSQL.
    #[serde(deserialize_with = "values::duration_or_none")]
    pub postgres_wait: Option<Duration>,
}

/// A whole number; 0 or `""` for none.
fn count_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    Ok(values::number_or_none(from)?.filter(|count| *count > 0))
}

/// A part such as `90%`, or `""`.
fn percent_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
    let percent = percent.filter(|percent| (1..=100).contains(percent));
    percent.map(Some).ok_or_else(|| {
        D::Error::custom(format!("{text:?} is no part such as \"90%\", from 1% to 100%"))
    })
}
