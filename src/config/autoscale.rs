//! How many workers there should be.

use std::time::Duration;

use serde::Deserialize;

use super::values;

/// How many workers there should be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autoscale {
    /// Never fewer.
    pub min_workers: u32,
    /// Never more; `None` for one a processor where workers are processes of this machine, and else
    /// for no bound of ours.
    #[serde(deserialize_with = "values::number_or_none")]
    pub max_workers: Option<u32>,
    /// The part of their slots that should be busy, in percent.
    pub utilisation_percent: u32,
    /// The time in which what waits should be done.
    #[serde(deserialize_with = "values::duration")]
    pub drain_within: Duration,
    /// More jobs waiting than this are too many, whatever the rest says.
    pub depth: u32,
    /// A job that waits longer waits too long, whatever the rest says.
    #[serde(deserialize_with = "values::duration")]
    pub wait: Duration,
    /// How long fewer must have been enough before there are fewer.
    #[serde(deserialize_with = "values::duration")]
    pub cooldown: Duration,
    /// How often the load is looked at.
    #[serde(deserialize_with = "values::duration")]
    pub every: Duration,
}
