//! The keys of a place: what they take, and their removal.

use std::time::Duration;

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Place, Unusable};

/// Longest wait for a connection, or an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys a step of a walk looks at.
const STEP: usize = 1_000;
/// The keys of a queue that hold its jobs; the others are as large whatever goes through it.
const OF_JOBS: [&str; 5] = [":jobs", ":ready", ":delayed", ":leases", ":quarantine"];

/// What a place's keys take, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// All.
    pub(crate) all: u64,
    /// Those that hold jobs.
    pub(crate) of_jobs: u64,
}

/// A connection.
///
/// # Errors
/// Redis cannot be reached, or refuses.
pub(crate) async fn connect(redis: &SecretString) -> anyhow::Result<MultiplexedConnection> {
    let fault = Unusable("Redis cannot be used: check REDIS_URL");
    // The library's own words may hold the address.
    let client = Client::open(redis.expose_secret()).map_err(|_| fault)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.context(fault)
}

/// A line of INFO.
pub(crate) fn line<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The server's version, and what it keeps on disk.
pub(super) async fn about(redis: &SecretString) -> anyhow::Result<String> {
    let mut redis = connect(redis).await?;
    let info: String = cmd("INFO").query_async(&mut redis).await?;
    let valkey = line(&info, "valkey_version").map(|version| format!("Valkey {version}"));
    let version = line(&info, "redis_version").unwrap_or("unknown");
    // CONFIG may be forbidden on a given server.
    let setting = async |redis: &mut MultiplexedConnection, name: &str| {
        let pair: Result<Vec<String>, _> =
            cmd("CONFIG").arg("GET").arg(name).query_async(redis).await;
        pair.ok().and_then(|pair| pair.get(1).cloned()).filter(|value| !value.is_empty())
    };
    let mut facts = vec![valkey.unwrap_or_else(|| version.to_owned())];
    for name in ["appendonly", "appendfsync", "save", "maxmemory-policy"] {
        let value = setting(&mut redis, name).await.unwrap_or_else(|| "none".to_owned());
        facts.push(format!("{name} {value}"));
    }
    Ok(facts.join(", "))
}

impl Place {
    /// What its keys take.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(crate) async fn held(&self) -> anyhow::Result<Held> {
        let mut redis = connect(&self.redis).await?;
        let mut held = Held::default();
        for key in keys(&mut redis, &self.prefix).await? {
            let bytes: Option<u64> = cmd("MEMORY")
                .arg("USAGE")
                .arg(&key)
                .arg("SAMPLES")
                .arg(0)
                .query_async(&mut redis)
                .await?;
            // One that went meanwhile has none.
            let bytes = bytes.unwrap_or(0);
            held.all += bytes;
            if OF_JOBS.iter().any(|part| key.ends_with(part)) {
                held.of_jobs += bytes;
            }
        }
        Ok(held)
    }
}

/// Removes a place's keys.
pub(super) async fn remove(place: &Place) -> anyhow::Result<()> {
    let mut redis = connect(&place.redis).await?;
    for some in keys(&mut redis, &place.prefix).await?.chunks(STEP) {
        cmd("UNLINK").arg(some).query_async::<()>(&mut redis).await?;
    }
    Ok(())
}

async fn keys(redis: &mut MultiplexedConnection, prefix: &str) -> anyhow::Result<Vec<String>> {
    let (mut found, mut cursor) = (Vec::new(), 0_u64);
    loop {
        let (next, some): (u64, Vec<String>) = cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}:*"))
            .arg("COUNT")
            .arg(STEP)
            .query_async(redis)
            .await?;
        found.extend(some);
        if next == 0 {
            found.sort_unstable();
            found.dedup();
            return Ok(found);
        }
        cursor = next;
    }
}
