//! The keys of a place: what they take, and their removal.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, cmd};
use secrecy::{ExposeSecret as _, SecretString};

use super::{NAME, Place, Unusable};

/// Longest wait for a connection, or an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys a step of a walk looks at.
const STEP: usize = 1_000;
/// The keys of a queue that hold its jobs; the others are as large whatever goes through it.
const OF_JOBS: [&str; 5] = [":jobs", ":ready", ":delayed", ":leases", ":quarantine"];

const UNUSABLE: Unusable = Unusable("Redis cannot be used: check REDIS_URL");

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
    // The library's own words may hold the address.
    let client = Client::open(redis.expose_secret()).map_err(|_| UNUSABLE)?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.context(UNUSABLE)
}

/// A line of INFO.
pub(crate) fn line<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Looks whether a server that others use can bear a load test, and whether its user may do what one
/// does beside what Postworks itself does; leaves no key.
///
/// # Errors
/// It cannot be reached, or used; the message says why.
pub(super) async fn try_out(redis: &SecretString) -> anyhow::Result<()> {
    let mut redis = connect(redis).await?;
    let info: String = cmd("INFO").query_async(&mut redis).await.context(UNUSABLE)?;
    let limit = line(&info, "maxmemory").unwrap_or("0");
    let policy = line(&info, "maxmemory_policy").unwrap_or("unknown");
    if limit != "0" && policy != "noeviction" {
        return Err(anyhow!(
            "with {policy} and a maxmemory of {limit} bytes it would give up other people's keys for \
             those of a load test: CONFIG SET maxmemory-policy noeviction, or name another server"
        )
        .context(UNUSABLE));
    }
    let key = format!("{NAME}_{:016x}:try", rand::random::<u64>());
    let pattern = format!("{key}*");
    let mut refused = Vec::new();
    for words in [
        &["SET", &key, "1", "PX", "60000"][..],
        &["SCAN", "0", "MATCH", &pattern, "COUNT", "1"],
        &["MEMORY", "USAGE", &key],
        &["UNLINK", &key],
    ] {
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        let answer: RedisResult<redis::Value> = command.query_async(&mut redis).await;
        refused.extend(answer.err().map(|error| format!("{}: {error}", words[0])));
    }
    if refused.is_empty() {
        return Ok(());
    }
    let refused = refused.join("; ");
    Err(anyhow!(
        "a load test makes keys {NAME}_*, looks how large they are, and removes them, and is refused \
         that ({refused}): let its user, with ~{NAME}_* +@all, or name another server"
    )
    .context(UNUSABLE))
}

/// The server's version, and what it keeps on disk.
pub(super) async fn about(redis: &SecretString) -> anyhow::Result<String> {
    let mut redis = connect(redis).await?;
    let info: String = cmd("INFO").query_async(&mut redis).await?;
    let valkey = line(&info, "valkey_version").map(|version| format!("Valkey {version}"));
    let version = line(&info, "redis_version").unwrap_or("unknown");
    let setting = async |redis: &mut MultiplexedConnection, name: &str| {
        let pair: RedisResult<Vec<String>> =
            cmd("CONFIG").arg("GET").arg(name).query_async(redis).await;
        match pair.ok().and_then(|pair| pair.get(1).cloned()) {
            Some(value) if value.is_empty() => "none".to_owned(),
            Some(value) => value,
            // CONFIG may be forbidden on a given server.
            None => "unknown".to_owned(),
        }
    };
    let mut facts = vec![valkey.unwrap_or_else(|| version.to_owned())];
    for name in ["appendonly", "appendfsync", "save", "maxmemory-policy"] {
        let value = setting(&mut redis, name).await;
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

#[cfg(test)]
mod tests {
    use postworks::testing::redis_server::RedisServer;

    use super::*;

    async fn refusal(redis: &RedisServer, login: &str) -> Option<String> {
        let url = SecretString::from(format!("{}{login}", redis.url()));
        try_out(&url).await.err().map(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_server_that_would_give_up_other_peoples_keys_is_refused() {
        let redis = RedisServer::start();
        for (limit, policy, fits) in [
            ("0", "allkeys-lru", true),
            ("1gb", "noeviction", true),
            ("1gb", "allkeys-lru", false),
            ("1gb", "volatile-ttl", false),
        ] {
            redis.command(&format!("CONFIG SET maxmemory {limit} maxmemory-policy {policy}"));
            let refused = refusal(&redis, "").await;
            assert_eq!(refused.is_none(), fits, "{limit} {policy}: {refused:?}");
            let words = refused.unwrap_or_default();
            assert!(fits || words.contains("would give up other people's keys"), "{words}");
        }
        assert_eq!(redis.command("DBSIZE"), ":0");
    }

    #[tokio::test]
    async fn a_user_who_may_not_do_what_a_load_test_does_is_told_what_is_missing() {
        let redis = RedisServer::start();
        let ann = "?user=ann&pass=secret";
        redis.command("ACL SETUSER ann on >secret ~* &* +@all -scan -memory");
        let words = refusal(&redis, ann).await.unwrap();
        assert!(words.contains("SCAN: ") && words.contains("MEMORY: "), "{words}");
        assert!(!words.contains("SET: ") && !words.contains("UNLINK: "), "{words}");
        assert!(!words.contains("secret"), "{words}");
        redis.command("ACL SETUSER ann resetkeys ~postworks:* +@all");
        let words = refusal(&redis, ann).await.unwrap();
        assert!(words.contains("SET: ") && words.contains("~postworks_loadtest_*"), "{words}");
        redis.command("ACL SETUSER ann ~postworks_loadtest_* +@all");
        assert_eq!(refusal(&redis, ann).await, None);
        assert_eq!(redis.command("DBSIZE"), ":0");
    }

    #[tokio::test]
    async fn what_a_server_does_not_tell_is_unknown() {
        let redis = RedisServer::start();
        let told = |login| about_of(&redis, login);
        assert!(told("").await.contains("appendonly no, appendfsync everysec, save none"));
        redis.command("ACL SETUSER ann on >secret ~* &* +@all -config");
        let told = told("?user=ann&pass=secret").await;
        assert!(told.contains("appendonly unknown") && told.contains("save unknown"), "{told}");
    }

    async fn about_of(redis: &RedisServer, login: &str) -> String {
        about(&SecretString::from(format!("{}{login}", redis.url()))).await.unwrap()
    }
}
