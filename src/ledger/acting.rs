//! Transactions that act for one tenant: the database itself hides every other one's rows.
//!
//! Such a transaction runs as the role `postworks_tenant`, to which the policies of the tables show
//! the rows of the tenant that is set in it, and none if none is set. Role and tenant end with the
//! transaction, however it ends.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, SqlSafeStr as _, Transaction};

use super::GuardedPool;
use crate::job::Tenant;

/// What begins a transaction for a tenant: one round trip.
fn beginning(tenant: Tenant) -> String {
    format!("BEGIN; SET LOCAL ROLE postworks_tenant; SET LOCAL postworks.tenant = '{tenant}'")
}

/// Begins a transaction, for a tenant or for the engine.
///
/// In two steps, to tell the wait for a connection from the work on it. The second is what the
/// library's own `begin` does after the first, and not for everybody by its documentation.
pub(super) async fn begin(
    pool: &GuardedPool,
) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let Some(tenant) = pool.tenant() else {
        return Transaction::begin(pool.acquire().await?, None).await;
    };
    let (pool, sql) = (pool.clone(), AssertSqlSafe(beginning(tenant)).into_sql_str());
    // In a task of its own, since it must not be cut off: a connection whose BEGIN nobody waited for
    // would go back into the pool as it is, and the next one to use it would act for this tenant.
    let begun =
        tokio::spawn(async move { Transaction::begin(pool.acquire().await?, Some(sql)).await });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

/// A connection to read with. Of a tenant it is a transaction, which ends when this is dropped.
#[derive(Debug)]
pub struct Reading(Inner);

#[derive(Debug)]
enum Inner {
    Engine(PoolConnection<Postgres>),
    Tenant(Transaction<'static, Postgres>),
}

impl Reading {
    pub(super) async fn begin(pool: &GuardedPool) -> Result<Self, sqlx::Error> {
        Ok(Self(match pool.tenant() {
            None => Inner::Engine(pool.acquire().await?),
            Some(_) => Inner::Tenant(begin(pool).await?),
        }))
    }
}

impl Deref for Reading {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.0 {
            Inner::Engine(connection) => connection,
            Inner::Tenant(transaction) => transaction,
        }
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.0 {
            Inner::Engine(connection) => connection,
            Inner::Tenant(transaction) => transaction,
        }
    }
}
