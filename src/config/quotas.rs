//! The quotas of platforms as they are written, and as workers keep them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::Config;
use crate::broker::Scope;
use crate::gate::quota::{QueueQuotas, Quotas};
use crate::job::{Flow, Queue, Quota, RESERVE_PERCENT_MAX};

/// The calls that all workers together may make to a platform.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformQuotas {
    /// In all.
    pub app: OptionalQuota,
    /// For each account.
    pub account: OptionalQuota,
    /// The part of each quota that is kept for urgent jobs.
    pub urgent_reserve: Percent,
    /// For each kind, all accounts together.
    pub endpoints: BTreeMap<String, OptionalQuota>,
}

/// A quota, written as `300/5m`, or none, written as nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OptionalQuota(pub Option<Quota>);

/// A part, written as `10%`; at most [`RESERVE_PERCENT_MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percent(pub u32);

impl<'de> Deserialize<'de> for OptionalQuota {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|quota| Self(Some(quota))).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse().ok());
        let percent = percent.filter(|percent| *percent <= RESERVE_PERCENT_MAX);
        percent.map(Self).ok_or_else(|| {
            let most = RESERVE_PERCENT_MAX;
            D::Error::custom(format!("{text:?} is no part such as \"10%\", from 0% to {most}%"))
        })
    }
}

impl PlatformQuotas {
    fn of(&self, queue: &Queue) -> QueueQuotas {
        let flow = |quota: OptionalQuota| -> Option<Flow> {
            quota.0.map(|quota| quota.flow(self.urgent_reserve.0))
        };
        let endpoint = self.endpoints.get(queue.kind().as_str()).copied();
        QueueQuotas {
            app: flow(self.app),
            account: flow(self.account),
            endpoint: flow(endpoint.unwrap_or_default()),
        }
    }
}

impl Config {
    /// The quota that a call of this queue's counts for in a scope, and the key that sets it.
    pub fn quota(&self, queue: &Queue, scope: &Scope) -> Option<(String, Quota)> {
        let platform = queue.platform()?;
        let quotas = &self.platforms.get(platform)?.quotas;
        let (name, quota) = match scope {
            Scope::App(_) => ("app".to_owned(), Some(quotas.app)),
            Scope::Account(_) => ("account".to_owned(), Some(quotas.account)),
            Scope::Endpoint(endpoint) => {
                let kind = endpoint.kind();
                (format!("endpoints.{kind}"), quotas.endpoints.get(kind.as_str()).copied())
            }
        };
        Some((format!("platforms.{platform}.quotas.{name}"), quota?.0?))
    }

    /// The quotas of these queues, as `[platforms]` says.
    pub fn quotas(&self, queues: &[Queue]) -> Quotas {
        let platform = |queue: &Queue| self.platforms.get(queue.platform()?);
        let limited = queues
            .iter()
            .filter_map(|queue| Some((queue.clone(), platform(queue)?.quotas.of(queue))));
        Quotas::new(limited)
    }
}
