//! Schedules that the program makes by itself.

use super::schedules::insert_schedule;
use crate::job::Tenant;
use crate::ledger::{Class, Error, Schedule, Schedules};
use crate::on_tx;

impl Schedules {
    /// Makes a built-in schedule, or changes its times to these; its pause stays as it is. Any number
    /// of nodes may, at once. Answers false if somebody's own schedule has the name.
    ///
    /// # Errors
    /// The database's.
    pub async fn keep_built_in(&self, new: &Schedule) -> Result<bool, Error> {
        const CHANGE: &str = "UPDATE schedules SET cron = $3, zone = $4, jitter_ms = $5, \
             next_at = CASE WHEN paused_at IS NULL THEN $6 END \
             WHERE tenant_id = $1 AND name = $2 AND built_in \
             AND (cron <> $3 OR zone <> $4 OR jitter_ms <> $5)";
        const OURS: &str =
            "SELECT count(*) FROM schedules WHERE tenant_id = $1 AND name = $2 AND built_in";
        let keep = async {
            let mut tx = self.db.begin().await?;
            insert_schedule(&mut tx, new).await?;
            on_tx!(&mut tx, conn => sqlx::query(CHANGE)
                .bind(new.tenant.as_uuid())
                .bind(&new.name)
                .bind(&new.cron)
                .bind(&new.zone)
                .bind(i64::try_from(new.jitter.as_millis()).unwrap_or(i64::MAX))
                .bind(new.next_at.map(crate::job::Timestamp::as_millis))
                .execute(conn)
                .await
                .map(drop))?;
            let ours: i64 = on_tx!(&mut tx, conn => sqlx::query_scalar(OURS)
                .bind(new.tenant.as_uuid())
                .bind(&new.name)
                .fetch_one(conn)
                .await)?;
            tx.commit().await?;
            Ok(ours > 0)
        };
        self.timed(Class::Admin, keep).await
    }

    /// Takes a built-in schedule away, if it is there: the configuration wants none.
    ///
    /// # Errors
    /// The database's.
    pub async fn drop_built_in(&self, tenant: Tenant, name: &str) -> Result<(), Error> {
        const SQL: &str = "DELETE FROM schedules WHERE tenant_id = $1 AND name = $2 AND built_in";
        let take = async {
            let mut tx = self.db.begin().await?;
            on_tx!(&mut tx, conn => sqlx::query(SQL)
                .bind(tenant.as_uuid())
                .bind(name)
                .execute(conn)
                .await
                .map(drop))?;
            tx.commit().await
        };
        self.timed(Class::Admin, take).await
    }
}
