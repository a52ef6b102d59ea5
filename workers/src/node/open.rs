//! Opens a node's stores, and finds the keys of its ring.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
use crate::keys::may_make_up;
use crate::presence::host;
use crate::secrets::{KeyRing, KeyRingError};
use crate::store::{self, KeyBook, Store};

/// The embedded ledger's file in the data folder.
const LEDGER_FILE: &str = "postworks.db";
/// The embedded key ring's file in the data folder.
const KEYS_FILE: &str = "keys";

/// The longest that a node without keys waits for the ledger's word on others' keys.
const PATIENCE: Duration = Duration::from_secs(3);

impl Node {
    /// A node with its ledger in `folder` and its broker in memory: one process, no service.
    ///
    /// Without keys a ring is made up in the folder, unless accounts' secrets are sealed there with
    /// another one: then the node has none, and [`checkup`](crate::checkup) finds them missing.
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
        let file = folder.join(KEYS_FILE);
        let keys = match given(environment, &file)? {
            Some(keys) => keys,
            None => {
                let mut book = book_of(&db).await?;
                // The folder has one user at a time: whoever held keys here is gone.
                book.holders.clear();
                match may_make_up(&book) {
                    Ok(()) => KeyRing::load_or_create(&file)?,
                    Err(_) => KeyRing::none(),
                }
            }
        };
        let clock = SystemClock::shared();
        let broker: Arc<dyn Broker> = Arc::new(
            MemoryBroker::new(Arc::clone(&clock)).with_window(config.broker.window as usize),
        );
        Self::over(db, broker, worker_id(), keys, clock, config, environment)
    }

    /// A node on PostgreSQL and Redis, for who only looks, or brings its keys. Opens no connection
    /// yet, so it starts before they do.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn connected(
        urls: &StoreUrls,
        config: Config,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let db = connect(urls, &config)?;
        let keys = given(environment, &environment.data_dir.join(KEYS_FILE))?;
        Self::on_servers(db, urls, keys.unwrap_or_else(KeyRing::none), config, environment)
    }

    /// The same for a role, which handles accounts. Where nobody gave it keys, and nobody else has
    /// any, it makes up a ring in the data folder; if the ledger cannot be asked now, it is asked
    /// before the ring is used, see [`checkup`](crate::checkup).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn for_role(
        urls: &StoreUrls,
        config: Config,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let db = connect(urls, &config)?;
        let file = environment.data_dir.join(KEYS_FILE);
        if environment.keys.is_empty() && !file.exists() {
            match tokio::time::timeout(PATIENCE, book_of(&db)).await {
                Ok(Ok(book)) => may_make_up(&book)?,
                Ok(Err(error @ ledger::Error::Migrations(_))) => return Err(error.into()),
                // It is away.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let keys = match KeyRing::of(environment) {
            Some(keys) => keys,
            None => made_up(&file)?,
        };
        Self::on_servers(db, urls, keys, config, environment)
    }

    fn on_servers(
        db: Db,
        urls: &StoreUrls,
        keys: KeyRing,
        config: Config,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let id = worker_id();
        let options = RedisOptions::new(urls.redis.expose_secret(), id.clone())
            .with_prefix(config.broker.prefix.clone())
            .with_window(config.broker.window as usize);
        let broker: Arc<dyn Broker> = Arc::new(RedisBroker::connect(options)?);
        Self::over(db, broker, id, keys, SystemClock::shared(), config, environment)
    }
}

fn connect(urls: &StoreUrls, config: &Config) -> Result<Db, ledger::Error> {
    let options = PostgresOptions {
        connections_max: config.ledger.pool_size,
        reserved: config.ledger.pool_size * 2 / 5,
        acquire_timeout: config.ledger.acquire_timeout,
    };
    Db::connect_postgres(urls.database.expose_secret(), &options)
}

/// The keys that the environment gives, else those in the file.
fn given(environment: &Environment, file: &Path) -> Result<Option<KeyRing>, KeyRingError> {
    match KeyRing::of(environment) {
        Some(keys) => Ok(Some(keys)),
        None if file.exists() => KeyRing::load_or_create(file).map(Some),
        None => Ok(None),
    }
}

/// The ring in the file, which is made if it is missing.
fn made_up(file: &Path) -> Result<KeyRing, KeyRingError> {
    let keys = KeyRing::load_or_create(file)?;
    tracing::warn!(
        file = %file.display(),
        "POSTWORKS_KEYS is not set: accounts' tokens are sealed, and access tokens of the API \
         signed, with the ring in this file; nodes on other machines need the same keys, and do not \
         start without them"
    );
    Ok(keys)
}

/// What a ledger knows of keys, as nobody in particular sees it.
async fn book_of(db: &Db) -> Result<KeyBook, ledger::Error> {
    let store = Store::new(db.clone(), KeyRing::none(), SystemClock::shared());
    store.key_book().await.map_err(|error| match error {
        store::Error::Database(error) => error,
        error => ledger::Error::Migrations(error.to_string()),
    })
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
