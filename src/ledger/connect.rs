//! Opens databases, with the limits every session of ours has.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};
use tokio::sync::Notify;

use super::meter::Meter;
use super::{Db, Error, GuardedPool};

/// Connections that read the embedded file while its writer writes.
const SQLITE_READERS: u32 = 4;

/// Settings of every PostgreSQL session.
///
/// - A stopped worker must not hold its successor's rows: an idle transaction ends after 5 s,
///   and nobody waits longer than 2 s for a lock.
/// - A statement over arrays must not keep the plan it got while the table was empty: planning
///   again costs 0.1 ms a batch, a sequential scan of the job table costs seconds.
/// - Nor must it read the whole table for some hundred ids, as the planner likes to with the price
///   that a page out of turn had on turning disks (4.0): jobs were settled at half the speed.
///
/// They are set by a statement, one round trip a connection: as start-up options they would be
/// refused by `PgBouncer`.
const SESSION: &str = "SET statement_timeout = '30s'; \
     SET lock_timeout = '2s'; \
     SET idle_in_transaction_session_timeout = '5s'; \
     SET plan_cache_mode = 'force_custom_plan'; \
     SET random_page_cost = 1.1";

/// How to use PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Most connections this process opens. Mind the sum over all processes: a server allows
    /// 97 by default.
    pub connections_max: u32,
    /// How many of them are kept free for [`Db::reserved`]; 0 if nobody is to be preferred. At
    /// least one is left for everybody else.
    pub reserved: u32,
    /// How long a caller waits for a free connection, or for the server to accept one.
    pub acquire_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connections_max: 10, reserved: 0, acquire_timeout: Duration::from_secs(2) }
    }
}

/// The embedded file, held by this process alone.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    writer: SqlitePool,
    readers: SqlitePool,
    meter: Arc<Meter>,
    ends: Arc<Notify>,
    /// Releases the lock when the last clone is dropped, or the process dies.
    _lock: Arc<File>,
}

impl SqliteFile {
    pub(super) fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The connections that only read.
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn ends(&self) -> &Arc<Notify> {
        &self.ends
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Db {
    /// Prepares connections to PostgreSQL; opens none yet, so that a program can start before
    /// its database.
    ///
    /// # Errors
    /// [`Error::Url`] for an address that is none.
    pub fn connect_postgres(url: &str, options: &PostgresOptions) -> Result<Self, Error> {
        // Another scheme parses as well, and would then be tried with PostgreSQL's protocol.
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(Error::Url("it must start with postgres://".into()));
        }
        let connect = PgConnectOptions::from_str(url)
            .map_err(|error| Error::Url(error.to_string()))?
            .application_name("postworks")
            // Poolers between us and the server refuse start-up parameters that they do not know.
            .extra_float_digits(None)
            // A statement is logged by whoever knows what it was for.
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(options.acquire_timeout)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(connect);
        Ok(Self::Postgres(GuardedPool::new(pool, options)))
    }

    /// Opens the embedded file, making it if it is missing, and locks it for this process.
    ///
    /// Committed means on the disk: `synchronous=FULL` waits for the disk at every commit, so
    /// that a power cut loses no accepted job. (`NORMAL` would survive `kill -9` just as well,
    /// but a power cut could take the last commits.) Batches make up for the price.
    ///
    /// # Errors
    /// [`Error::Locked`] at once if another process has it open; [`Error::Refused`] if its folder
    /// is missing or may not be written.
    pub async fn open_sqlite(path: &Path) -> Result<Self, Error> {
        let lock = lock(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .disable_statement_logging();
        let forever = || {
            SqlitePoolOptions::new()
                .idle_timeout(None)
                .max_lifetime(None)
                .acquire_timeout(Duration::from_secs(10))
        };
        // The writer comes first: it makes the file and turns WAL on.
        let writer = forever().max_connections(1).connect_with(options.clone()).await?;
        let readers = forever()
            .max_connections(SQLITE_READERS)
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        let (meter, ends) = (Arc::new(Meter::new()), Arc::default());
        Ok(Self::Sqlite(SqliteFile { writer, readers, meter, ends, _lock: Arc::new(lock) }))
    }
}

/// Takes the lock file beside the database. The database itself cannot be locked: SQLite's own
/// locks on it end whenever any handle in the process is closed.
fn lock(path: &Path) -> Result<File, Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(beside))
        .map_err(|error| Error::Refused(sqlx::Error::Io(error)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(sqlx::Error::Io(error).into()),
    }
}
