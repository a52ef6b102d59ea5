//! The configuration: one validated value, read once at start and passed down.
//!
//! Defaults (`config/default.toml`, embedded) < a file < the environment < flags. Every fault is
//! reported at once, with its place. Secrets and addresses of servers are no part of it: they
//! come from the environment alone ([`Environment`]).

mod admission;
mod autoscale;
mod check;
mod environment;
mod error;
mod keys;
mod layers;
mod oauth;
mod quotas;
mod syncing;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};
use url::Url;

use crate::gate::breaker;
use crate::job::{Catalog, Durability, Kind, Queue, QueuePattern};

pub use admission::Admission;
pub use autoscale::Autoscale;
pub use environment::{Environment, StoreUrls, without_password};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use keys::MasterKey;
use layers::Layers;
pub use layers::Sources;
pub use oauth::{ClientAuth, OAuth};
pub use quotas::{OptionalQuota, Percent, PlatformQuotas};
pub use syncing::Syncing;
pub use values::{ByteSize, parse_duration, parse_listen, parse_number};

/// The defaults, with a comment on every key.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Everything that can be set, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP API.
    pub api: Api,
    /// Workers.
    pub worker: Worker,
    /// The broker.
    pub broker: Broker,
    /// The ledger.
    pub ledger: Ledger,
    /// Leases.
    pub lease: Lease,
    /// Retries of every kind.
    pub retry: Retry,
    /// Circuit breakers.
    pub breaker: Breaker,
    /// When the API takes no more work.
    pub admission: Admission,
    /// How many workers there should be.
    pub autoscale: Autoscale,
    /// Kinds by name.
    pub kinds: BTreeMap<String, KindPolicy>,
    /// Platforms by name.
    pub platforms: BTreeMap<String, Platform>,
    /// How accounts are synchronised.
    pub sync: Syncing,
    /// How long ended rows are kept.
    pub retention: Retention,
    #[serde(skip)]
    values: Table,
    #[serde(skip)]
    origins: BTreeMap<String, Origin>,
}

/// The HTTP API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Where it listens.
    #[serde(deserialize_with = "values::listen")]
    pub listen: SocketAddr,
    /// Where others find it: a host, or a host and a port; `None` for where it listens.
    #[serde(deserialize_with = "values::text_or_none")]
    pub advertise: Option<String>,
    /// Where browsers find it; `None` for where it listens, if that is on loopback.
    #[serde(deserialize_with = "values::url_or_none")]
    pub public_url: Option<Url>,
    /// Whether callers must prove who they are; `None` leaves it to whether there are servers.
    #[serde(deserialize_with = "values::switch_or_none")]
    pub auth: Option<bool>,
    /// The longest body.
    pub body_limit: ByteSize,
    /// The longest body of a bulk enqueue.
    pub bulk_body_limit: ByteSize,
    /// The longest image.
    pub media_limit: ByteSize,
    /// The longest a request may take.
    #[serde(deserialize_with = "values::duration")]
    pub request_timeout: Duration,
    /// The longest that a request's head, or the next request, may take to arrive.
    #[serde(deserialize_with = "values::duration")]
    pub head_timeout: Duration,
    /// Requests under way at once.
    pub requests_max: u32,
    /// Requests a second that each client may make on average; 0 for any number.
    pub rate_limit: u32,
    /// Requests that a client may make at one stroke.
    pub rate_burst: u32,
}

/// Workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// The queues served.
    #[serde(deserialize_with = "values::patterns")]
    pub queues: Vec<QueuePattern>,
    /// Jobs that run at the same time.
    pub concurrency: u32,
    /// How long jobs may take to finish after a signal.
    #[serde(deserialize_with = "values::duration")]
    pub grace: Duration,
    /// Where the health pages are, if anywhere.
    #[serde(deserialize_with = "values::listen_or_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// Where others find these: a host, or a host and a port; `None` for where they are.
    #[serde(deserialize_with = "values::text_or_none")]
    pub advertise: Option<String>,
}

/// The broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Starts every key.
    pub prefix: String,
    /// Jobs of a queue that wait in the broker.
    pub window: u32,
}

/// The ledger.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Connections, a process.
    pub pool_size: u32,
    /// How long to wait for one.
    #[serde(deserialize_with = "values::duration")]
    pub acquire_timeout: Duration,
}

/// Leases.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// How long a silent worker keeps its jobs.
    #[serde(deserialize_with = "values::duration")]
    pub duration: Duration,
    /// How often a lease is renewed.
    #[serde(deserialize_with = "values::duration")]
    pub renew: Duration,
}

/// Retries of every kind; `None` leaves each kind its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The bound after the first failure.
    #[serde(deserialize_with = "values::duration_or_none")]
    pub base: Option<Duration>,
    /// What the bound doubles up to.
    #[serde(deserialize_with = "values::duration_or_none")]
    pub cap: Option<Duration>,
    /// How long a job waits for a person to connect its account again, at least.
    #[serde(deserialize_with = "values::duration")]
    pub reauth_wait: Duration,
}

/// Circuit breakers, one for each queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Fewer calls in ten seconds prove nothing.
    pub calls_min: u32,
    /// From this share of bad calls on one opens, in percent.
    pub bad_percent: u32,
    /// A call that takes longer is bad.
    #[serde(deserialize_with = "values::duration")]
    pub slow: Duration,
    /// How long one stays open at first.
    #[serde(deserialize_with = "values::duration")]
    pub cooldown: Duration,
    /// And at most.
    #[serde(deserialize_with = "values::duration")]
    pub cooldown_max: Duration,
}

impl Breaker {
    /// The same for the workers.
    pub fn settings(&self) -> breaker::Settings {
        let Self { calls_min, bad_percent, slow, cooldown, cooldown_max } = *self;
        breaker::Settings { calls_min, bad_percent, slow, cooldown, cooldown_max }
    }
}

/// How a kind's jobs are run; `None` leaves what the kind says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindPolicy {
    /// How long one attempt may take.
    #[serde(default, deserialize_with = "values::duration_or_none")]
    pub timeout: Option<Duration>,
    /// Attempts in all.
    pub max_attempts: Option<u32>,
    /// How long after its time a job is still of use.
    #[serde(default, deserialize_with = "values::duration_or_none")]
    pub expires_after: Option<Duration>,
    /// Where jobs are recorded.
    pub durability: Option<Durability>,
    /// Places of a worker that each of the kind's queues may have.
    #[serde(default, deserialize_with = "values::number_or_none")]
    pub slots: Option<u32>,
}

/// A platform.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Whether accounts on it may be connected and its jobs run.
    pub enabled: bool,
    /// Places of a worker that each of the platform's queues may have.
    #[serde(default, deserialize_with = "values::number_or_none")]
    pub slots: Option<u32>,
    /// The calls that all workers together may make.
    #[serde(default)]
    pub quotas: PlatformQuotas,
    /// How its accounts are connected, if with OAuth 2.0.
    #[serde(default)]
    pub oauth: OAuth,
}

/// How long ended rows are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Completed and cancelled jobs.
    #[serde(deserialize_with = "values::duration")]
    pub jobs: Duration,
    /// Dead letters.
    #[serde(deserialize_with = "values::duration")]
    pub dead_letters: Duration,
    /// Posts fetched from platforms.
    #[serde(deserialize_with = "values::duration")]
    pub remote_posts: Duration,
    /// Readings of the numbers of posts.
    #[serde(deserialize_with = "values::duration")]
    pub metrics: Duration,
    /// Ended publications.
    #[serde(deserialize_with = "values::duration")]
    pub publications: Duration,
    /// What operators did.
    #[serde(deserialize_with = "values::duration")]
    pub audit: Duration,
    /// Ended redrives.
    #[serde(deserialize_with = "values::duration")]
    pub redrives: Duration,
    /// What happened to accounts.
    #[serde(deserialize_with = "values::duration")]
    pub events: Duration,
    /// Images that no post has, counted from when they were last uploaded.
    #[serde(deserialize_with = "values::duration")]
    pub media: Duration,
    /// When what is too old is deleted, in UTC; `None` for never by itself.
    #[serde(deserialize_with = "values::text_or_none")]
    pub cleanup: Option<String>,
    /// Rows deleted at a time.
    pub batch: u32,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every fault found.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let broken =
            |message: String| ConfigErrors(vec![ConfigError::new("", Origin::Default, message)]);
        let defaults: Table =
            DEFAULTS.parse().map_err(|error: toml::de::Error| broken(error.to_string()))?;
        let mut layers = Layers::new(defaults, sources);
        let config = loop {
            let values = Value::Table(layers.values.clone());
            match serde_path_to_error::deserialize::<_, Self>(values) {
                Ok(config) => break config,
                Err(error) => {
                    let path = error.path().to_string();
                    let message = error.into_inner().message().to_owned();
                    // Each turn takes one value away, so this ends.
                    let Some((key, origin)) = layers.reset(&path) else {
                        return Err(broken(format!("{path}: {message}")));
                    };
                    layers.faults.push(ConfigError::new(key, origin, message));
                }
            }
        };
        let mut faults = std::mem::take(&mut layers.faults);
        faults.extend(check::check(&config).into_iter().map(|(key, message)| {
            let origin = layers.origin(&key);
            ConfigError::new(key, origin, message)
        }));
        if !faults.is_empty() {
            return Err(ConfigErrors(faults));
        }
        Ok(Self { values: layers.values, origins: layers.origins, ..config })
    }

    /// The values in effect as TOML; those that are no defaults say where they come from.
    pub fn print(&self) -> String {
        let mut text = String::new();
        self.print_table(&mut text, &mut Vec::new(), &self.values);
        text
    }

    /// The values in effect.
    pub fn values(&self) -> &Table {
        &self.values
    }

    /// Changes the kinds as `[kinds]` and `[retry]` say.
    pub fn apply(&self, catalog: &mut Catalog) {
        let kinds: Vec<Kind> = catalog.iter().map(|spec| spec.kind.clone()).collect();
        for kind in kinds {
            let Some(spec) = catalog.get_mut(&kind) else { continue };
            spec.retry.base = self.retry.base.unwrap_or(spec.retry.base);
            spec.retry.cap = self.retry.cap.unwrap_or(spec.retry.cap);
            spec.reauth_wait = self.retry.reauth_wait;
            let Some(policy) = self.kinds.get(kind.as_str()) else { continue };
            spec.timeout = policy.timeout.unwrap_or(spec.timeout);
            spec.retry.max_attempts = policy.max_attempts.unwrap_or(spec.retry.max_attempts);
            spec.expires_after = policy.expires_after.unwrap_or(spec.expires_after);
            spec.durability = policy.durability.unwrap_or(spec.durability);
        }
    }

    /// The queues that may have no more than so many places of a worker, as `[kinds]` and
    /// `[platforms]` say; of two limits the smaller holds.
    pub fn slots(&self, queues: &[Queue]) -> HashMap<Queue, usize> {
        let limit = |queue: &Queue| {
            let kind = self.kinds.get(queue.kind().as_str()).and_then(|kind| kind.slots);
            let platform = queue.platform().and_then(|name| self.platforms.get(name)?.slots);
            kind.into_iter().chain(platform).min()
        };
        let limited =
            queues.iter().filter_map(|queue| Some((queue.clone(), limit(queue)? as usize)));
        limited.collect()
    }

    /// Whether the API's callers must prove who they are: as `POSTWORKS_AUTH` says, else
    /// `api.auth`, else if the program is not embedded.
    pub fn auth(&self, environment: &Environment) -> bool {
        environment.auth.or(self.api.auth).unwrap_or(environment.stores.is_some())
    }

    /// Whether accounts on a platform may be connected, and its jobs run.
    pub fn platform_enabled(&self, name: &str) -> bool {
        self.platforms.get(name).is_none_or(|platform| platform.enabled)
    }

    /// Whether workers may serve a queue: its platform, if it has one, is not switched off.
    pub fn serves(&self, queue: &Queue) -> bool {
        queue.platform().is_none_or(|name| self.platform_enabled(name))
    }

    fn print_table(&self, text: &mut String, path: &mut Vec<String>, table: &Table) {
        use std::fmt::Write as _;
        let inner = |value: &&Value| value.is_table();
        if !path.is_empty() && (table.is_empty() || !table.values().all(|value| inner(&value))) {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{}]", path.join("."));
        }
        for (name, value) in table.iter().filter(|(_, value)| !inner(value)) {
            let key = format!("{}.{name}", path.join("."));
            let _ = match self.origins.get(&key) {
                Some(origin) => writeln!(text, "{name} = {value}  # {origin}"),
                None => writeln!(text, "{name} = {value}"),
            };
        }
        for (name, value) in table {
            if let Value::Table(inner) = value {
                path.push(name.clone());
                self.print_table(text, path, inner);
                path.pop();
            }
        }
    }
}

#[cfg(test)]
mod oauth_tests;
#[cfg(test)]
mod tests;
