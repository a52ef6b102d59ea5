//! Servers of the load test's own: started with it, gone with it, and its to stop and wipe.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};

use postworks::testing::postgres_server::PostgresServer;
use postworks::testing::redis_server::RedisServer;

/// A machine without the programs.
#[derive(Debug, thiserror::Error)]
#[error("no {0} is installed here to start for the test")]
pub(crate) struct NotInstalled(pub(crate) &'static str);

/// The servers.
#[derive(Debug)]
pub(crate) struct Private {
    redis: Mutex<RedisServer>,
    postgres: PostgresServer,
}

impl Private {
    pub(super) async fn launch() -> anyhow::Result<Self> {
        if !RedisServer::is_installed() {
            return Err(NotInstalled("Redis or Valkey").into());
        }
        if !PostgresServer::is_installed() {
            return Err(NotInstalled("PostgreSQL").into());
        }
        // What goes wrong beyond that is told by panicking, as tests want it.
        let redis = tokio::task::spawn_blocking(RedisServer::start_measured).await;
        let redis = redis.map_err(|error| did_not_start("Redis", error))?;
        let postgres = tokio::spawn(PostgresServer::launch_bare()).await;
        let postgres = postgres.map_err(|error| did_not_start("PostgreSQL", error))?;
        Ok(Self { redis: Mutex::new(redis), postgres })
    }

    pub(super) fn database(&self) -> String {
        self.postgres.url("postgres")
    }

    pub(super) fn redis_url(&self) -> String {
        self.with_redis(|redis| redis.url())
    }

    /// The process ids of Redis and of PostgreSQL; of one that is down none.
    pub(crate) fn pids(&self) -> [Vec<i32>; 2] {
        let redis = self.with_redis(|redis| redis.is_running().then(|| redis.pid()));
        let redis = redis.and_then(|pid| i32::try_from(pid).ok());
        [redis.into_iter().collect(), self.postgres.pids()]
    }

    /// Stops Redis in good order, and starts it again with what it has on disk.
    ///
    /// # Errors
    /// It does not start again.
    pub(crate) fn restart_redis(&self) -> anyhow::Result<()> {
        told("Redis did not start again", || self.with_redis(RedisServer::restart))
    }

    /// Kills Redis, and starts it again with nothing.
    ///
    /// # Errors
    /// It does not start again.
    pub(crate) fn wipe_redis(&self) -> anyhow::Result<()> {
        told("Redis did not start again", || self.with_redis(RedisServer::wipe))
    }

    /// A server's start and end block the thread.
    fn with_redis<T>(&self, act: impl FnOnce(&mut RedisServer) -> T) -> T {
        tokio::task::block_in_place(|| {
            act(&mut self.redis.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

/// Servers for tests tell by panicking what goes wrong, which must not cost the report.
fn told<T>(what: &str, act: impl FnOnce() -> T) -> anyhow::Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(act))
        .map_err(|panic| anyhow::anyhow!("the private {what}: {}", words_of(panic.as_ref())))
}

fn did_not_start(server: &str, error: tokio::task::JoinError) -> anyhow::Error {
    let words = match error.try_into_panic() {
        Ok(panic) => words_of(panic.as_ref()),
        Err(error) => error.to_string(),
    };
    anyhow::anyhow!("a private {server} did not start: {words}")
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_come_back_is_an_error_in_words() {
        let port = 6379;
        let error = told("Redis did not start again", || panic!("port {port} is taken"));
        let error = error.map(|(): ()| ()).unwrap_err().to_string();
        assert_eq!(error, "the private Redis did not start again: port 6379 is taken");
    }
}
