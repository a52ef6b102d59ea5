//! Accounts whose tokens are to be renewed ahead of their end, and those for which that is late.

use std::time::Duration;

use postworks::job::{NewJob, Tenant, Timestamp};
use postworks::ledger::{Db, Recorded, SqlLedger, Tx};
use postworks::{on_db, on_tx};
use uuid::Uuid;

use super::{Error, Store, time};

/// Most accounts that are taken at a time.
pub const DUE_MAX: u32 = 100;

/// An account whose tokens are to be renewed.
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

impl Store {
    /// Takes accounts of these platforms that are due within `ahead`, those first that are so for
    /// longest, and records the job that `make` makes for each. None of them is due again before
    /// `again_after` has passed, whatever becomes of the job; new tokens make a plan of their own. No other caller
    /// gets the same accounts, and none waits for another.
    pub async fn take_due(
        &self,
        platforms: &[&str],
        ahead: Duration,
        again_after: Duration,
        make: impl Fn(&Due) -> Result<NewJob, Error>,
    ) -> Result<TakenDue, Error> {
        let mut tx = self.db.begin().await?;
        let due = self.due(&mut tx, platforms, self.now().after(ahead)).await?;
        if due.is_empty() {
            return Ok(TakenDue::default());
        }
        self.put_off_due(&mut tx, &due, again_after).await?;
        let jobs = due.iter().map(make).collect::<Result<Vec<NewJob>, Error>>()?;
        let recorded = SqlLedger::enqueue_in(&mut tx, &jobs).await?;
        tx.commit().await?;
        Ok(TakenDue { accounts: due.len(), made: Recorded::made(&jobs, &recorded) })
    }

    async fn due(
        &self,
        tx: &mut Tx,
        platforms: &[&str],
        until: Timestamp,
    ) -> Result<Vec<Due>, Error> {
        macro_rules! select {
            ($tenant:literal, $platforms:literal, $lock:literal) => {
                concat!(
                    "SELECT t.connector_id, c.platform, t.refresh_due_at, ",
                    $tenant,
                    " FROM connector_tokens t JOIN connectors c ON c.id = t.connector_id \
                     WHERE t.refresh_due_at <= $1 AND c.state = 'active' AND c.platform IN (",
                    $platforms,
                    ") ORDER BY t.refresh_due_at LIMIT $3",
                    $lock
                )
            };
        }
        let sql = match &self.db {
            Db::Postgres(_) => select!(
                "c.tenant_id",
                "SELECT jsonb_array_elements_text($2::jsonb)",
                " FOR UPDATE OF t SKIP LOCKED"
            ),
            // One process has the file, and one transaction at a time writes.
            Db::Sqlite(_) => select!(
                "x'00000000000000000000000000000001'",
                "SELECT value FROM json_each($2)",
                ""
            ),
        };
        let rows: Vec<(Uuid, String, i64, Uuid)> = on_tx!(tx, conn => sqlx::query_as(sql)
            .bind(until.as_millis())
            .bind(serde_json::json!(platforms).to_string())
            .bind(i64::from(DUE_MAX))
            .fetch_all(conn)
            .await)?;
        let due = |(connector_id, platform, at, tenant)| {
            let (tenant, at) = (Tenant::from_uuid(tenant), time(at));
            Due { connector_id, platform, tenant, at }
        };
        Ok(rows.into_iter().map(due).collect())
    }

    async fn put_off_due(&self, tx: &mut Tx, due: &[Due], span: Duration) -> Result<(), Error> {
        let until = self.now().after(span).as_millis();
        on_tx!(tx, conn => {
            let mut query =
                sqlx::QueryBuilder::new("UPDATE connector_tokens SET refresh_due_at = ");
            query.push_bind(until).push(" WHERE connector_id IN (");
            let mut list = query.separated(", ");
            for account in due {
                list.push_bind(account.connector_id);
            }
            query.push(")").build().execute(conn).await.map(drop)
        })?;
        Ok(())
    }

    /// How many accounts of each platform that work have tokens which end soon, or have ended, and
    /// should have been renewed by now.
    pub async fn late_tokens(&self) -> Result<Vec<(String, u64)>, Error> {
        const SQL: &str = "SELECT c.platform, count(*) FROM connector_tokens t \
             JOIN connectors c ON c.id = t.connector_id \
             WHERE t.refresh_late_at <= $1 AND c.state = 'active' GROUP BY c.platform";
        let rows: Vec<(String, i64)> = on_db!(&self.db, pool => {
            sqlx::query_as(SQL).bind(self.now().as_millis()).fetch_all(pool).await
        })?;
        let count = |(platform, count)| (platform, u64::try_from(count).unwrap_or(0));
        Ok(rows.into_iter().map(count).collect())
    }
}
