//! Opens a node's stores, and finds the keys of its ring.

use std::path::Path;
use std::sync::Arc;

use postworks::broker::Broker;
use postworks::broker::memory::MemoryBroker;
use postworks::broker::redis::{RedisBroker, RedisOptions};
use postworks::clock::SystemClock;
use postworks::config::{Config, Environment, StoreUrls};
use postworks::job::WorkerId;
use postworks::ledger::{self, Db, PostgresOptions};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{Error, Node};
use crate::presence::host;
use crate::secrets::{KeyRing, KeyRingError};

/// The embedded ledger's file in the data folder.
const LEDGER_FILE: &str = "postworks.db";
/// The embedded key ring's file in the data folder.
const KEYS_FILE: &str = "keys";

/// Sees to it that the servers on this machine have keys: those of the environment, else a ring in
/// the data folder, which is made if it is missing.
///
/// # Errors
/// The file cannot be made or read.
pub fn provide_keys(environment: &Environment) -> Result<(), KeyRingError> {
    if !environment.keys.is_empty() {
        return Ok(());
    }
    let file = environment.data_dir.join(KEYS_FILE);
    KeyRing::load_or_create(&file)?;
    tracing::warn!(
        file = %file.display(),
        "POSTWORKS_KEYS is not set: accounts' tokens are sealed, and access tokens of the API \
         signed, with the ring in this file; nodes on other machines need the same keys, or they \
         can neither use the accounts nor know who was logged in here"
    );
    Ok(())
}

impl Node {
    /// A node with its ledger in `folder` and its broker in memory: one process, no service.
    ///
    /// # Errors
    /// See [`Error`]; [`ledger::Error::Locked`] if another process uses the folder.
    pub async fn embedded(
        folder: &Path,
        config: Config,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let fault = |source| Error::Folder { folder: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(fault)?;
        let db = Db::open_sqlite(&folder.join(LEDGER_FILE)).await.map_err(of_folder(folder))?;
        db.migrate().await.map_err(of_folder(folder))?;
        let keys = match KeyRing::of(environment) {
            Some(keys) => keys,
            None => KeyRing::load_or_create(&folder.join(KEYS_FILE))?,
        };
        let clock = SystemClock::shared();
        let broker: Arc<dyn Broker> = Arc::new(
            MemoryBroker::new(Arc::clone(&clock)).with_window(config.broker.window as usize),
        );
        Self::over(db, broker, worker_id(), keys, clock, config, environment)
    }

    /// A node on PostgreSQL and Redis. Opens no connection yet, so it starts before they do.
    ///
    /// Whoever handles accounts asks [`key_ids`](Self::key_ids) next: who only looks at
    /// jobs needs no keys.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn connected(
        urls: &StoreUrls,
        config: Config,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let options = PostgresOptions {
            connections_max: config.ledger.pool_size,
            reserved: config.ledger.pool_size * 2 / 5,
            acquire_timeout: config.ledger.acquire_timeout,
        };
        let db = Db::connect_postgres(urls.database.expose_secret(), &options)?;
        let file = environment.data_dir.join(KEYS_FILE);
        let keys = match KeyRing::of(environment) {
            Some(keys) => keys,
            None if file.exists() => KeyRing::load_or_create(&file)?,
            None => KeyRing::none(),
        };
        let id = worker_id();
        let options = RedisOptions::new(urls.redis.expose_secret(), id.clone())
            .with_prefix(config.broker.prefix.clone())
            .with_window(config.broker.window as usize);
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options)?);
        Self::over(db, broker, id, keys, SystemClock::shared(), config, environment)
    }
}

/// A file that cannot be used is the folder's fault: there is no server to look after.
fn of_folder(folder: &Path) -> impl Fn(ledger::Error) -> Error {
    move |error| match error {
        ledger::Error::Unavailable(source)
        | ledger::Error::Refused(source)
        | ledger::Error::Protocol(source) => {
            Error::Folder { folder: folder.to_owned(), source: std::io::Error::other(source) }
        }
        error => Error::Ledger(error),
    }
}

fn worker_id() -> WorkerId {
    WorkerId::new(&host(), std::process::id(), Uuid::new_v4())
}
