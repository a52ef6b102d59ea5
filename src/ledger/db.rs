//! One handle for both databases, so that one SQL text serves both where it can.
//!
//! PostgreSQL and SQLite both accept `$1` placeholders; ids are `Uuid` (16 bytes in either) and
//! times are milliseconds in a BIGINT. [`on_db!`](crate::on_db) runs a read and
//! [`on_tx!`](crate::on_tx) a statement of a transaction, with the same body for each database.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use tokio::sync::Notify;

use super::meter::Meter;
use super::outage::Place;
use super::{Error, GuardedPool, SqliteFile};
use crate::job::Tenant;

/// A database: PostgreSQL, or the embedded SQLite file.
///
/// Cheap to clone. Reads go through [`on_db!`](crate::on_db); every change goes through
/// [`Db::begin`], since SQLite has exactly one connection that may write.
#[derive(Debug, Clone)]
pub enum Db {
    /// A pool of connections to PostgreSQL.
    Postgres(GuardedPool),
    /// The embedded file.
    Sqlite(SqliteFile),
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Open, and nobody's.
    pub idle: u32,
    /// Open, and somebody's.
    pub busy: u32,
    /// Most that are open.
    pub max: u32,
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub enum Tx {
    /// On PostgreSQL.
    Postgres(PostgresTx),
    /// On SQLite's writer.
    Sqlite(Transaction<'static, Sqlite>),
}

/// A transaction on PostgreSQL: its connection.
#[derive(Debug)]
pub struct PostgresTx {
    tx: Transaction<'static, Postgres>,
    /// After the transaction: what rolls back still has its connection.
    _place: Place,
}

/// The connection of a transaction, ours or a caller's own.
#[derive(Debug)]
pub(super) enum Session<'a> {
    Postgres(&'a mut PgConnection),
    Sqlite(&'a mut SqliteConnection),
}

impl Deref for PostgresTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for PostgresTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

impl Db {
    /// Starts a transaction that may write.
    ///
    /// On SQLite this waits for the writer, and takes the write lock at once, so that no
    /// statement later finds the database busy.
    pub async fn begin(&self) -> Result<Tx, Error> {
        Ok(match self {
            Self::Postgres(pool) => {
                let place = pool.watch(pool.place()).await?;
                let tx = pool.watch(pool.begin()).await?;
                Tx::Postgres(PostgresTx { tx, _place: place })
            }
            Self::Sqlite(file) => Tx::Sqlite(file.writer().begin_with("BEGIN IMMEDIATE").await?),
        })
    }

    pub(super) fn meter(&self) -> &Meter {
        match self {
            Self::Postgres(pool) => pool.meter(),
            Self::Sqlite(file) => file.meter(),
        }
    }

    /// Told when a job that others wait for has ended through these connections.
    pub(super) fn ends(&self) -> &Arc<Notify> {
        match self {
            Self::Postgres(pool) => pool.ends(),
            Self::Sqlite(file) => file.ends(),
        }
    }

    /// Makes a call of several statements; gives it up if PostgreSQL goes away meanwhile.
    pub(super) async fn watch<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self {
            Self::Postgres(pool) => pool.watch(call).await,
            Self::Sqlite(_) => call.await,
        }
    }

    /// The same database for callers that must not queue behind the others: as many connections
    /// are kept free for them as was said when it was connected.
    #[must_use]
    pub fn reserved(&self) -> Self {
        match self {
            Self::Postgres(pool) => Self::Postgres(pool.reserved()),
            Self::Sqlite(file) => Self::Sqlite(file.clone()),
        }
    }

    /// The same database as one tenant sees it: its own rows and no others. The embedded file has one
    /// tenant, who sees all there is.
    #[must_use]
    pub fn for_tenant(&self, tenant: Tenant) -> Self {
        match self {
            Self::Postgres(pool) => Self::Postgres(pool.for_tenant(tenant)),
            Self::Sqlite(file) => Self::Sqlite(file.clone()),
        }
    }

    /// Whose rows it shows, if not everybody's.
    pub(super) fn tenant(&self) -> Option<Tenant> {
        match self {
            Self::Postgres(pool) => pool.tenant(),
            Self::Sqlite(_) => None,
        }
    }

    /// How long a caller waits for a connection now; `None` for the embedded file, which has no
    /// server.
    ///
    /// # Errors
    /// No connection was had.
    pub async fn connection_wait(&self) -> Result<Option<Duration>, Error> {
        let Self::Postgres(pool) = self else { return Ok(None) };
        let asked = Instant::now();
        pool.call(async { pool.acquire().await.map(drop) }).await?;
        Ok(Some(asked.elapsed()))
    }

    /// How many connections to PostgreSQL are open and idle, open and in use, and may be open;
    /// `None` for the embedded file.
    pub fn connections(&self) -> Option<Connections> {
        let Self::Postgres(pool) = self else { return None };
        let pool = pool.connections();
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        let busy = pool.size().saturating_sub(idle);
        Some(Connections { idle, busy, max: pool.options().get_max_connections() })
    }

    /// Closes every connection, and releases the embedded file's lock once the last clone is
    /// gone.
    pub async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.connections().close().await,
            Self::Sqlite(file) => file.close().await,
        }
    }
}

impl Tx {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Postgres(tx) => Session::Postgres(tx),
            Self::Sqlite(tx) => Session::Sqlite(tx),
        }
    }

    /// Makes the transaction's changes durable.
    ///
    /// # Errors
    /// After [`Error::Unsure`] the outcome is unknown: the commit may have happened and its reply
    /// got lost. After any other error nothing was changed.
    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Postgres(tx) => tx.tx.commit().await.map_err(Error::of_commit)?,
            Self::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Undoes the transaction's changes, and waits until that is done.
    pub async fn rollback(self) -> Result<(), Error> {
        match self {
            Self::Postgres(tx) => tx.tx.rollback().await?,
            Self::Sqlite(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

/// Reads: `on_db!(&db, pool => sqlx::query_as(SQL).bind(id).fetch_one(pool).await)`.
///
/// The body is expanded once for each database, with the name bound to a connection, or on SQLite
/// to the readers' pool, which refuses every change.
#[macro_export]
macro_rules! on_db {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::ledger::Db::Postgres(postgres) => {
                let reads = async {
                    let mut reading = postgres.reading().await?;
                    let $pool = &mut *reading;
                    $body
                };
                postgres.call(reads).await
            }
            $crate::ledger::Db::Sqlite(file) => {
                let $pool = file.readers();
                $body
            }
        }
    };
}

/// A statement of a transaction: `on_tx!(&mut tx, conn => sqlx::query(SQL).execute(conn).await)`.
///
/// The body is expanded once for each database, with the name bound to `&mut` its connection.
#[macro_export]
macro_rules! on_tx {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::ledger::Tx::Postgres(postgres) => {
                let $conn = &mut **postgres;
                $body
            }
            $crate::ledger::Tx::Sqlite(sqlite) => {
                let $conn = &mut **sqlite;
                $body
            }
        }
    };
}
