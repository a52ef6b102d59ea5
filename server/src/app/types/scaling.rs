//! How many workers there are, and should be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;

/// Which queues to speak of.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscaleQuery {
    /// A queue, or the start of queues' names and a `*`; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<words::QueuePattern>")]
    pub queue: Option<String>,
}

/// How things are with some queues, for whoever starts their workers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Autoscale")]
pub struct AutoscaleView {
    /// Jobs that are due and unclaimed.
    pub ready: u64,
    /// How long the oldest of them has waited; null if none waits.
    pub oldest_age_seconds: Option<f64>,
    /// How long a run took lately; null if no worker that lives has run one.
    pub mean_run_seconds: Option<f64>,
    /// Slots that are busy with jobs of these queues.
    pub busy_slots: u64,
    /// Slots of the workers that serve one of these queues.
    pub slots: u64,
    /// These workers.
    pub workers: u32,
    /// How many there should be.
    pub desired_workers: u32,
}

/// Metrics pages with the same labels, as Prometheus' `http_sd_configs` reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrapeTargets {
    /// The pages, each as `host:port`.
    pub targets: Vec<String>,
    /// What they have in common.
    pub labels: BTreeMap<String, String>,
}
