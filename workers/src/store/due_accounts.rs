//! Accounts for which something is due, each had by one caller at a time.

use postworks::job::{NewJob, Tenant, Timestamp};
use postworks::ledger::{Db, Recorded, SqlLedger, Tx};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, time};

/// Most accounts that are taken at a time.
pub const DUE_MAX: u32 = 100;

/// An account for which something is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The account.
    pub connector_id: Uuid,
    /// Its platform's name.
    pub platform: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// Since when, or from when on.
    pub at: Timestamp,
}

/// What was taken of the accounts that are due.
#[derive(Debug, Clone, Default)]
pub struct TakenDue {
    /// So many accounts, at most [`DUE_MAX`].
    pub accounts: usize,
    /// The jobs that were recorded for them; the caller tells the broker. Fewer than accounts where
    /// a job of an earlier time still waits.
    pub made: Vec<NewJob>,
}

/// Asks for the accounts that are due, on either database.
pub(super) struct DueAccounts {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// The statements of a [`DueAccounts`]: the columns of account, platform and tenant, when it is due, the
/// tables and what holds of those that are meant, and which rows are locked.
macro_rules! due_accounts {
    (sql $account:literal, $platform:literal, $tenant:literal, $at:literal, $from:literal,
        $platforms:literal, $lock:literal) => {
        concat!(
            "SELECT ", $account, ", ", $platform, ", ", $at, ", ", $tenant, " FROM ", $from,
            " AND ", $at, " <= $1 AND ", $platform, " IN (SELECT ", $platforms, ") ORDER BY ", $at,
            " LIMIT $3 ", $lock
        )
    };
    ($account:literal, $platform:literal, $tenant:literal, $at:literal, $from:literal,
        $lock:literal) => {
        DueAccounts {
            postgres: due_accounts!(sql $account, $platform, $tenant, $at, $from,
                "jsonb_array_elements_text($2::jsonb)", $lock),
            // One process has the file, and one transaction at a time writes. It has one tenant.
            sqlite: due_accounts!(sql $account, $platform,
                "x'00000000000000000000000000000001'", $at, $from, "value FROM json_each($2)", ""),
        }
    };
}
pub(super) use due_accounts;

impl Store {
    /// Locks the accounts of these platforms that are due until then, those first that are so for
    /// longest. No other caller gets the same accounts, and none waits for another.
    pub(super) async fn lock_due(
        &self,
        accounts: &DueAccounts,
        platforms: &[&str],
        until: Timestamp,
    ) -> Result<(Tx, Vec<Due>), Error> {
        let mut tx = self.db.begin().await?;
        let sql = match &self.db {
            Db::Postgres(_) => accounts.postgres,
            Db::Sqlite(_) => accounts.sqlite,
        };
        let rows: Vec<(Uuid, String, i64, Uuid)> = on_tx!(&mut tx, conn => sqlx::query_as(sql)
            .bind(until.as_millis())
            .bind(serde_json::json!(platforms).to_string())
            .bind(i64::from(DUE_MAX))
            .fetch_all(conn)
            .await)?;
        let due = |(connector_id, platform, at, tenant)| {
            let (tenant, at) = (Tenant::from_uuid(tenant), time(at));
            Due { connector_id, platform, tenant, at }
        };
        Ok((tx, rows.into_iter().map(due).collect()))
    }

    /// Counts accounts by platform, as of then.
    pub(super) async fn count_due(
        &self,
        sql: &'static str,
        until: Timestamp,
    ) -> Result<Vec<(String, u64)>, Error> {
        let rows: Vec<(String, i64)> = on_db!(&self.db, pool => {
            sqlx::query_as(sql).bind(until.as_millis()).fetch_all(pool).await
        })?;
        Ok(rows.into_iter().map(|(platform, count)| (platform, count.unsigned_abs())).collect())
    }
}

/// Records the job that `make` makes for each of these, and lets them go.
pub(super) async fn record_due(
    mut tx: Tx,
    due: &[Due],
    make: impl Fn(&Due) -> Result<NewJob, Error>,
) -> Result<TakenDue, Error> {
    let jobs = due.iter().map(make).collect::<Result<Vec<NewJob>, Error>>()?;
    let recorded = SqlLedger::enqueue_in(&mut tx, &jobs).await?;
    tx.commit().await?;
    Ok(TakenDue { accounts: due.len(), made: Recorded::made(&jobs, &recorded) })
}
