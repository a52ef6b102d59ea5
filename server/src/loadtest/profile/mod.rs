//! How much is asked for, for how long, and of what system: a profile.

mod read;

use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub(crate) use read::{Invalid, of_toml, read};

use super::schedule::Shape;

/// A profile. A scenario without a section is not run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Profile {
    /// `smoke`, `reference`, or the file: as it was asked for.
    #[serde(skip)]
    pub(crate) name: String,
    /// Of all that it says, with what it leaves to `smoke`.
    #[serde(skip)]
    pub(crate) digest: String,
    pub(crate) system: System,
    pub(crate) platform: Platform,
    pub(crate) plan: Plan,
    pub(crate) database: Option<Statements>,
    pub(crate) queue: Option<Jobs>,
    pub(crate) redis: Option<Calls>,
    pub(crate) api: Option<Calls>,
    pub(crate) failover: Option<Failover>,
    pub(crate) breaking_point: Option<BreakingPoint>,
}

/// The processes under test.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct System {
    pub(crate) workers: u32,
    /// Places of each.
    pub(crate) concurrency: u32,
    pub(crate) accounts: u32,
}

/// The platform that jobs talk to.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Platform {
    #[serde(deserialize_with = "span")]
    pub(crate) publish_p50: Duration,
    #[serde(deserialize_with = "span")]
    pub(crate) publish_p99: Duration,
    #[serde(deserialize_with = "span")]
    pub(crate) refresh_p50: Duration,
    #[serde(deserialize_with = "span")]
    pub(crate) refresh_p99: Duration,
    #[serde(deserialize_with = "span")]
    pub(crate) list_p50: Duration,
    #[serde(deserialize_with = "span")]
    pub(crate) list_p99: Duration,
    pub(crate) transient_percent: f64,
    pub(crate) limited_percent: f64,
    pub(crate) permanent_percent: f64,
}

/// What the capacity plan goes by.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Plan {
    /// Jobs a second.
    pub(crate) projected_peak: f64,
    pub(crate) monthly_growth_percent: f64,
}

/// The scenario `database`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Statements {
    pub(crate) rate: f64,
    pub(crate) connections: u32,
    #[serde(deserialize_with = "span")]
    ramp: Duration,
    #[serde(deserialize_with = "span")]
    sustain: Duration,
}

/// The scenario `queue`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Jobs {
    pub(crate) rate: f64,
    #[serde(deserialize_with = "span")]
    ramp: Duration,
    #[serde(deserialize_with = "span")]
    sustain: Duration,
}

/// The scenarios `redis` and `api`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Calls {
    pub(crate) rate: f64,
    pub(crate) connections: u32,
    #[serde(deserialize_with = "span")]
    sustain: Duration,
}

/// The scenario `failover`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Failover {
    pub(crate) pool_callers: u32,
    pub(crate) pool_connections: u32,
    #[serde(deserialize_with = "span")]
    pub(crate) pool_hold: Duration,
    pub(crate) rate: f64,
    #[serde(deserialize_with = "span")]
    pub(crate) apart: Duration,
    pub(crate) pending: u32,
}

/// The scenario `breaking-point`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct BreakingPoint {
    #[serde(deserialize_with = "span")]
    pub(crate) slo_p99: Duration,
    pub(crate) from: f64,
    pub(crate) to: f64,
    #[serde(deserialize_with = "span")]
    pub(crate) step: Duration,
    pub(crate) precision_percent: f64,
}

impl Profile {
    /// Every stretch of time of the scenarios, with its setting.
    fn spans(&self) -> Vec<(&'static str, Duration)> {
        let mut spans = Vec::new();
        if let Some(part) = &self.database {
            spans.extend([("database.ramp", part.ramp), ("database.sustain", part.sustain)]);
        }
        if let Some(part) = &self.queue {
            spans.extend([("queue.ramp", part.ramp), ("queue.sustain", part.sustain)]);
        }
        spans.extend(self.redis.iter().map(|part| ("redis.sustain", part.sustain)));
        spans.extend(self.api.iter().map(|part| ("api.sustain", part.sustain)));
        if let Some(part) = &self.failover {
            spans.extend([("failover.pool_hold", part.pool_hold), ("failover.apart", part.apart)]);
        }
        if let Some(part) = &self.breaking_point {
            spans.extend([
                ("breaking_point.slo_p99", part.slo_p99),
                ("breaking_point.step", part.step),
            ]);
        }
        spans
    }
}

impl Statements {
    pub(crate) fn shape(&self) -> Shape {
        Shape { rate: self.rate, ramp: self.ramp, sustain: self.sustain }
    }
}

impl Jobs {
    pub(crate) fn shape(&self) -> Shape {
        Shape { rate: self.rate, ramp: self.ramp, sustain: self.sustain }
    }
}

impl Calls {
    pub(crate) fn shape(&self) -> Shape {
        Shape::flat(self.rate, self.sustain)
    }
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    postworks::config::parse_duration(&text).map_err(serde::de::Error::custom)
}
